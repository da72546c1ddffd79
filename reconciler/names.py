"""Names of runs that are asked for by name; apart, so that `--help` loads nothing else."""

from __future__ import annotations

from typing import Final

SWEEPS: Final = ("new-users", "new-requirements", "unsigned-conversions", "requirements-conversions")
"""The four sweeps in the order of their minutes (:00, :15, :30, :45)."""
RECHECKS: Final = "rechecks"
STARTABLE: Final = (*SWEEPS, RECHECKS)
"""What `reconciler run` and the API start by its name."""
ATTRIBUTION: Final = "attribution"
RUN_NAMES: Final = (*STARTABLE, "verify", "backfill", "age", ATTRIBUTION, "audit")
"""Every run that is recorded, in the order people look for them; `audit` is what `consumer audit` records."""
