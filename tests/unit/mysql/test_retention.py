"""How long a server keeps its binlogs."""

from __future__ import annotations

from math import inf

import pytest

from consumer.mysql.retention import retention_seconds


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"binlog_expire_logs_seconds": "3600"}, 3600),
        ({"binlog_expire_logs_seconds": "0", "expire_logs_days": "2"}, 172_800),
        ({"expire_logs_days": "0.000000"}, inf),
        ({"binlog_expire_logs_seconds": "3600", "binlog_expire_logs_auto_purge": "OFF"}, inf),
    ],
)
def test_how_long_a_server_keeps_binlogs_is_what_its_variables_say(variables: dict[str, str], seconds: float) -> None:
    assert retention_seconds(variables) == seconds
