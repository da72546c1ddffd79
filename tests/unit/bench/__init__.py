"""The benchmarks' own parts: what turns figures into tables and verdicts."""
