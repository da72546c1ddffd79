"""How far a replica is behind, in the words of its release."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.mysql.errors import Refused
from consumer.settings import MySQLAddress
from reconciler.replica import ReplicaReads

NEWER = {
    "Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes", "Seconds_Behind_Source": 7,
    "Source_Log_File": "b.000002", "Read_Source_Log_Pos": 4, "Relay_Source_Log_File": "b.000002",
    "Exec_Source_Log_Pos": 4, "SQL_Delay": 0,
}  # fmt: skip
OLDER = {name.replace("Replica", "Slave").replace("Source", "Master"): value for name, value in NEWER.items()}


def lag(monkeypatch: pytest.MonkeyPatch, shows: dict[str, dict[str, Any]], code: int = 1064) -> float | None:
    """What is said by a server that understands nothing but `shows`."""
    replica = ReplicaReads(MySQLAddress("mysql://leadstream:secret@replica:3306/company"))

    def records(spelling: str) -> list[dict[str, Any]]:
        if spelling not in shows:
            raise Refused(f"near {spelling}", code=code)
        return [shows[spelling]]

    monkeypatch.setattr(replica, "_records", records)
    monkeypatch.setattr(replica, "is_open", lambda: True)
    return replica.lag()


def test_mysql_before_8_0_22_knows_no_replicas_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lag(monkeypatch, {"SHOW REPLICA STATUS": NEWER}) == 7
    assert lag(monkeypatch, {"SHOW SLAVE STATUS": OLDER}) == 7


def test_whatever_else_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused):
        lag(monkeypatch, {"SHOW SLAVE STATUS": OLDER}, code=1235)
    with pytest.raises(Refused):
        lag(monkeypatch, {})
