"""How long a MySQL or MariaDB server keeps its binlogs, as its variables say."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Final

VARIABLES: Final = ("binlog_expire_logs_seconds", "expire_logs_days", "binlog_expire_logs_auto_purge", "basedir")
"""What decides; servers leave out what they do not know."""
STATEMENT: Final = f"SHOW GLOBAL VARIABLES WHERE variable_name IN {VARIABLES!r}"
RDS_HOURS: Final = "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'"
"""What decides at Amazon, whatever the variables say (RDS' manual, mysql.rds_set_configuration): NULL, as it is until
somebody sets it, has a binlog purged as soon as RDS has no use for it."""
RDS_MOST_HOURS: Final = 168
"""The most that RDS takes (Aurora: 2160)."""
_RDS_FOLDER: Final = "/rdsdbbin"


def is_rds(variables: Mapping[str, str]) -> bool:
    """Whether the server is one of Amazon's, RDS or Aurora: by the folder that it is installed in."""
    return variables.get("basedir", "").startswith(_RDS_FOLDER)


def hours_of(value: Any) -> float:
    """Hours by what RDS_HOURS found: a number, a text of one, or None."""
    return float(value or 0)


def retention_seconds(variables: Mapping[str, str], rds_hours: float | None = None) -> float | None:
    """For how long (s) a binlog is kept after it was written last; infinite where the server never purges by itself.

    At Amazon `rds_hours` decides; None where that is not known. What is purged by hand or by size (MariaDB's
    max_binlog_total_size) is not in it.
    """
    if is_rds(variables):
        return None if rds_hours is None else rds_hours * 3600
    if variables.get("binlog_expire_logs_auto_purge", "ON") == "OFF":
        return inf
    seconds = float(variables.get("binlog_expire_logs_seconds", "0"))
    return seconds or 86_400 * float(variables.get("expire_logs_days", "0")) or inf
