"""Damaged binlogs by the million: `make fuzz INPUTS=1000000`."""
