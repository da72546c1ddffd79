"""What is asked of a MySQL or MariaDB server, and what its answers come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from consumer.capture import CAPTURED
from consumer.doctor import mysql_facts
from consumer.doctor.mysql_facts import MySQLFacts, View
from consumer.local_time import Created
from consumer.mysql.errors import Refused
from consumer.settings import MySQLAddress
from tests.unit.doctor.test_mysql import COLUMNS, WELL

ADDRESS = MySQLAddress("mysql://leadstream:secret@replica:3306/company")
PARSE_ERROR = 1064


class Server:
    """A server that answers these statements, nothing to any other, and understands no SHOW but `shows`."""

    def __init__(self, answers: Mapping[str, list[tuple[Any, ...]]], shows: Mapping[str, dict[str, Any]]) -> None:
        self.answers = {mysql_facts.SESSION: [("us@%", "8.0.19", 0, 0, 0)], **answers}
        self.shows = shows
        self.asked: list[str] = []

    def query(self, sql: str, _: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        return self.answers.get(sql, [])

    def records(self, sql: str) -> list[dict[str, Any]]:
        if sql not in self.shows:
            raise Refused(f"near {sql}", code=PARSE_ERROR)
        return [self.shows[sql]] if self.shows[sql] else []

    def is_mariadb(self) -> bool:
        return False

    def value(self, _: str) -> str:
        return ""

    def command(self, *_: object) -> None:
        """Takes it."""


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The server that is there, one."""
    there: list[Server] = []

    @contextmanager
    def session(*_: object) -> Iterator[Server]:
        yield there[0]

    monkeypatch.setattr(mysql_facts, "_session", session)
    return there


def collected(sessions: list[Server], server: Server) -> MySQLFacts:
    sessions[:] = [server]
    return mysql_facts.collect(ADDRESS, 1.0)


@pytest.mark.parametrize(
    ("winter", "summer", "seconds"), [(0, 0, 0), (0, 3600, 3600), (3600, 0, 3600), (-18_000, -14_400, -18_000)]
)
def test_a_zone_that_is_utc_for_half_of_the_year_is_not_utc(
    sessions: list[Server], winter: int, summer: int, seconds: int
) -> None:
    answer = [("us@%", "8.4.3", 0, winter, summer)]
    assert collected(sessions, Server({mysql_facts.SESSION: answer}, {})).zone_seconds == seconds


def test_a_zone_that_the_server_does_not_know_is_none(sessions: list[Server]) -> None:
    answer = [("us@%", "8.4.3", 0, None, None)]
    assert collected(sessions, Server({mysql_facts.SESSION: answer}, {})).zone_seconds is None


@pytest.mark.parametrize("spelling", ["SHOW REPLICA STATUS", "SHOW ALL SLAVES STATUS", "SHOW SLAVE STATUS"])
def test_every_release_is_asked_how_far_it_is_behind_in_its_own_words(sessions: list[Server], spelling: str) -> None:
    """MySQL before 8.0.22 knows no replicas yet, and only MariaDB knows all slaves."""
    behind = {"Seconds_Behind_Master": 7}
    assert collected(sessions, Server({}, {spelling: behind})).replication == [behind]


def test_a_mariadb_that_follows_by_a_named_connection_follows_somebody(sessions: list[Server]) -> None:
    """SHOW REPLICA STATUS, which it understands, is about the connection without a name alone."""
    named: dict[str, Any] = {"Connection_name": "main", "Seconds_Behind_Master": 7}
    server = Server({}, {"SHOW REPLICA STATUS": {}, "SHOW ALL SLAVES STATUS": named, "SHOW SLAVE STATUS": {}})
    assert collected(sessions, server).replication == [named]


def test_a_view_in_the_place_of_a_table_is_told_from_one(sessions: list[Server]) -> None:
    facts = collected(sessions, Server({mysql_facts.QUERIES: [("Users",)]}, {}))
    assert facts.views["users"] is View.QUERY
    assert {view for table, view in facts.views.items() if table != "users"} == {View.WHOLE}


@pytest.mark.parametrize(
    ("missing", "asked"),
    [
        (None, {*CAPTURED}),
        (("users", "created_at"), {*CAPTURED} - {"users"}),
        (("claims", "user_id"), {"users"}),
        (("claims", "created_at"), {*CAPTURED} - {"claims"}),
        (("claim_requirements", "claim_id"), {"users", "claims"}),
    ],
)
def test_times_are_compared_without_the_tables_that_lack_what_they_are_found_by(
    sessions: list[Server], missing: tuple[str, str] | None, asked: set[str]
) -> None:
    """A column that we may not read has a check of its own, in whose place the server's refusal would stand."""
    columns = {
        table: {name: kind for name, kind in of_it.items() if (table, name) != missing}
        for table, of_it in COLUMNS.items()
    }
    server = Server({}, {})
    sessions[:] = [server]
    assert mysql_facts.created(ADDRESS, {5: 1.0}, replace(WELL, columns=columns), 1.0) == []
    (statement,) = server.asked
    assert {table for table in CAPTURED if f"SELECT '{table}'" in statement} == asked


def test_the_time_of_a_row_stands_beside_that_of_its_customer(sessions: list[Server]) -> None:
    sessions[:] = [
        Server({" UNION ALL ".join(mysql_facts.CREATED.values()): [("claims", 5, 90), ("users", 5, None)]}, {})
    ]
    assert mysql_facts.created(ADDRESS, {5: 100.0}, WELL, 1.0) == [Created("claims", 90.0, 100.0)]
