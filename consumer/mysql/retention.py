"""How long a MySQL or MariaDB server keeps its binlogs, as its variables say."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

VARIABLES: Final = ("binlog_expire_logs_seconds", "expire_logs_days", "binlog_expire_logs_auto_purge")
"""What decides; servers leave out what they do not know."""
STATEMENT: Final = f"SHOW GLOBAL VARIABLES WHERE variable_name IN {VARIABLES!r}"


def retention_seconds(variables: Mapping[str, str]) -> float:
    """For how long (s) a binlog is kept after it was written last; infinite where the server never purges by itself.

    What is purged by hand, by size (MariaDB's max_binlog_total_size) or by a provider's own setting is not in it.
    """
    if variables.get("binlog_expire_logs_auto_purge", "ON") == "OFF":
        return inf
    seconds = float(variables.get("binlog_expire_logs_seconds", "0"))
    return seconds or 86_400 * float(variables.get("expire_logs_days", "0")) or inf
