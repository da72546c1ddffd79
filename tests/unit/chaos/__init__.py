"""The storms' own parts: what judges is judged here."""
