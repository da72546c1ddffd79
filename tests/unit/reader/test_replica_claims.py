"""Whose claims are, asked of a server whose table may have another key than it had, or than the stream has."""

from __future__ import annotations

from typing import Any, cast

import pytest

from consumer.binlog.events import Id
from consumer.mysql.session import Replica
from consumer.reader.claim_owners import ReplicaClaims


class Server:
    """Answers with the claim 7 of the user 70, as a column of that type has it."""

    def __init__(self, data_type: str) -> None:
        self.data_type = data_type
        self.asked: list[str] = []

    def query(self, sql: str, _arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        if "information_schema" in sql:
            return [("claims", "id", self.data_type, self.data_type, None, None, "NO", None, "")]
        self.asked.append(sql.partition(" IN ")[2])
        return [("7", 70)]

    def literal(self, text: str) -> str:
        return f"'{text}'"

    def is_mariadb(self) -> bool:
        return False

    def binlog_position(self) -> tuple[str, int]:
        return "b.000001", 4


@pytest.mark.parametrize("first", ["bigint", "varchar"])
@pytest.mark.parametrize("then", ["bigint", "varchar"])
@pytest.mark.parametrize("claim_id", [7, "7"])
def test_a_claim_is_found_whatever_type_its_id_had_before(first: str, then: str, claim_id: Id) -> None:
    server = Server(first)
    ask = ReplicaClaims(cast(Replica, server), 5.0)
    assert ask([7 if first == "bigint" else "7"]).users
    server.data_type = then
    assert ask([claim_id]).users == {claim_id: 70}


def test_an_id_that_the_column_cannot_hold_is_there_no_more_and_stops_nobody() -> None:
    server = Server("bigint")
    ask = ReplicaClaims(cast(Replica, server), 5.0)
    assert ask(["d5f7b8c0-5a0e-11ef-8000-000000000000", "7", "8", "٣"]).users == {"7": 70}
    assert server.asked == ["(7, 8)"]
    assert ask(["d5f7b8c0-5a0e-11ef-8000-000000000000"]).users == {}
    assert len(server.asked) == 1


def test_ids_of_another_type_have_the_table_looked_at_again() -> None:
    server = Server("bigint")
    ask = ReplicaClaims(cast(Replica, server), 5.0)
    ask([7])
    server.data_type = "varchar"
    ask(["x"])
    assert server.asked == ["(7)", "('x')"]
