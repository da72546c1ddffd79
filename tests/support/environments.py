"""What our programs are told in tests: the one place that makes environments for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_OURS: Final = ("KAFKA_",)
"""Settings that a shell may have from `make servers-env`, and that are about servers other than a trial's own."""
_ROOT: Final = Path(__file__).parents[2]


def environment(
    *,
    mysql: str | None = None,
    postgres: str | None = None,
    kafka: str | None = None,
    prefix: str | None = None,
    lanes: int | None = None,
    **more: str,
) -> dict[str, str]:
    """This process's environment with a trial's servers, names and settings; what is None is left to the default."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    told = {
        "REPLICA_DATABASE_URL": mysql,
        "DATABASE_URL": postgres,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TOPIC_PREFIX": prefix,
        "LANES": None if lanes is None else str(lanes),
        "PYTHONUNBUFFERED": "1",
    }
    return inherited | {name: value for name, value in told.items() if value is not None} | more


def bare(**settings: str) -> dict[str, str]:
    """Nothing of this process's environment but where programs are found, and these settings."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), "TERM": "xterm", **settings}
