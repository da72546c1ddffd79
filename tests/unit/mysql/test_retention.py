"""How long a server keeps its binlogs."""

from __future__ import annotations

from math import inf

import pytest

from consumer.mysql.retention import hours_of, retention_seconds


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


@pytest.mark.parametrize(("value", "seconds"), [(None, 0), ("24", 86_400), (168, 604_800)])
@pytest.mark.parametrize("folder", ["/rdsdbbin/mysql/", "/rdsdbbin/oscar-8.0.mysql_aurora.3.04.1/"])
def test_amazons_servers_keep_binlogs_by_their_own_setting(folder: str, value: object, seconds: float) -> None:
    variables = {"binlog_expire_logs_seconds": "2592000", "basedir": folder}
    assert retention_seconds(variables, hours_of(value)) == seconds


def test_what_our_account_may_not_see_of_amazons_setting_is_not_guessed() -> None:
    assert retention_seconds({"binlog_expire_logs_seconds": "2592000", "basedir": "/rdsdbbin/mysql/"}) is None
