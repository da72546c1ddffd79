"""Benchmarks: one history, every reader on the same machine in the same run, figures as JSON under `results`."""
