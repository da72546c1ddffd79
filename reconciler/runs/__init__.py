"""What the reconciler runs: sweeps, backfill, verify, aging, and the repair of what they find."""
