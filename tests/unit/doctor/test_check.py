"""What the doctor says of a server that it cannot ask."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.doctor import mysql_facts, postgres_facts
from consumer.doctor.check import Unreachable, away
from consumer.settings import DatabaseSettings, ReplicaSettings, load


def of_mysql() -> object:
    return mysql_facts.collect(load(ReplicaSettings).address, 1)


def of_postgres() -> object:
    return postgres_facts.collect(load(DatabaseSettings).conninfo, 1)


@pytest.mark.parametrize(
    ("setting", "command", "collect"),
    [
        ("REPLICA_DATABASE_URL", "REPLICA_PASSWORD_COMMAND", of_mysql),
        ("DATABASE_URL", "DATABASE_PASSWORD_COMMAND", of_postgres),
    ],
)
def test_a_command_that_prints_no_password_is_what_the_hint_is_about(
    monkeypatch: pytest.MonkeyPatch, setting: str, command: str, collect: Callable[[], object]
) -> None:
    scheme = "mysql" if collect is of_mysql else "postgresql"
    monkeypatch.setenv(setting, f"{scheme}://leadstream@127.0.0.1:1/leadstream")
    monkeypatch.setenv(command, "false")
    with pytest.raises(Unreachable, match=f"{command} ended with exit code 1") as found:
        collect()
    assert away("server", setting, found.value).hint.startswith("run that command by hand")


@pytest.mark.parametrize(
    ("refused", "hint"), [(True, "correct URL, or our account there"), (False, "start the server")]
)
def test_a_server_that_is_away_is_started_and_one_that_refuses_us_has_another_account(refused: bool, hint: str) -> None:
    assert away("server", "URL", Unreachable("it cannot be asked", refused=refused)).hint.startswith(hint)
