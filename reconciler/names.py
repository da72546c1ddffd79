"""Names of runs and queues, as people ask for them and read them; apart, so that `--help` loads nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consumer.leads.model import QueueType

SWEEPS: Final = {"new-users": 0, "new-requirements": 15, "unsigned-conversions": 30, "requirements-conversions": 45}
"""The four sweeps and the minute of the hour of each."""
RECHECKS: Final = "rechecks"
STARTABLE: Final = (*SWEEPS, RECHECKS)
"""What `reconciler run` and the API start by its name."""
ATTRIBUTION: Final = "attribution"
RUN_NAMES: Final = (*STARTABLE, "verify", "backfill", "age", ATTRIBUTION, "audit")
"""Every run that is recorded, in the order people look for them; `audit` is what `consumer audit` records."""
QUEUES: Final[Mapping[QueueType, str]] = {
    QueueType.UNSIGNED_USERS: "Have not signed",
    QueueType.REQUIREMENTS_OUTSTANDING: "Owe documents",
    QueueType.NONE: "In no queue",
}
"""What people call those in each queue, on the page and on dashboards."""
