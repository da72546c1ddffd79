"""The demo's own parts: what judges the pipeline is judged here."""
