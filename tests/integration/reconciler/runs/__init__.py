"""What runs against real servers: sweeps, verify, backfill, aging, attribution, and what they repair."""
