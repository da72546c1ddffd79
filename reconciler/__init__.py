"""The safety net: sweeps, backfill, verify and pre-call checks, through the same ledger as the stream."""
