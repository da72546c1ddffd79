"""Rows read from MySQL and rows read from the stream must be the same rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.capture import CAPTURED
from consumer.leads.model import ClaimRow, LiveState, RequirementRow, Table, UserRow
from consumer.mysql.errors import NotThere
from consumer.mysql.live_read import LiveLead, LiveRead, claim_row, live_read, read_leads, requirement_row, user_row
from consumer.mysql.schema import COLUMNS
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from consumer.stream.envelope import ClaimRequirements, Claims, Users

ids = st.integers(min_value=-(2**63), max_value=2**63 - 1)
keys = st.integers(min_value=-(2**63), max_value=2**64 - 1) | st.uuids().map(str) | st.text(min_size=1, max_size=20)
words = st.none() | st.text(max_size=20) | st.integers()


@given(ids, words, st.none() | st.booleans() | st.integers(min_value=0, max_value=1))
def test_a_user_is_the_same_whether_read_live_or_from_the_stream(
    user_id: int, signature: str | int | None, enabled: bool | int | None
) -> None:
    read = (
        None if signature == 0 or not str(signature).strip(" ") else signature
    )  # the query itself says NULL for what is no signature
    assert user_row(user_id, read, enabled) == Users(user_id, signature, enabled).row()


@given(keys, ids, words)
def test_a_claim_is_the_same_whether_read_live_or_from_the_stream(
    claim_id: int | str, user_id: int, status: str | int | None
) -> None:
    assert claim_row(str(claim_id), user_id, status) == Claims(claim_id, user_id, status).row()


@given(keys, keys, words, words, st.none() | st.text(max_size=20))
def test_a_requirement_is_the_same_whether_read_live_or_from_the_stream(
    requirement_id: int | str, claim_id: int | str, kind: str | int | None, status: str | int | None, reason: str | None
) -> None:
    streamed = ClaimRequirements(requirement_id, claim_id, kind, status, reason).row()
    assert requirement_row(str(requirement_id), str(claim_id), kind, status, reason) == streamed


def test_rows_find_their_customers_by_folded_ids_and_the_clock_stands_around_them() -> None:
    rows = [
        (0, 1_000, None, None, None, None, None, None),
        (1, 1, None, "f1", None, None, 1, 500),
        (2, "A1", 1, "open", None, None, None, None),
        (2, "b2", 2, None, None, None, None, 0),
        (3, "R9", "a1", 3, "pending", None, None, 700),
        (4, 2_000, None, None, None, None, None, None),
    ]
    read = live_read(rows, [1, 2, 3], {Table.CLAIMS: str.lower, Table.CLAIM_REQUIREMENTS: str.upper})
    assert (read.started, read.ended) == (1_000, 2_000)
    assert read.leads[1].state == LiveState(
        UserRow(1, "f1", True), [ClaimRow("a1", 1, "open")], [RequirementRow("R9", "a1", "3", "pending", None)]
    )
    created = {(Table.USERS, 1): 500, (Table.CLAIMS, "a1"): None, (Table.CLAIM_REQUIREMENTS, "R9"): 700}
    assert read.leads[1].created_at == created
    assert read.leads[2].state == LiveState(None, [ClaimRow("b2", 2, None)], [])
    assert read.leads[3] == LiveLead(None, {}, {}, {})


class Asked(Replica):
    """A replica whose tables change once while they are read; remembers what it was asked."""

    def __init__(self, changes: int) -> None:
        super().__init__(MySQLAddress("mysql://us:secret@replica:3306/company"))
        self.asked: list[str] = []
        self._changes = changes

    def query(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        if sql == COLUMNS:
            return [
                (table, column, "bigint", "bigint", None, None, "NO", None, "")
                for table, captured in CAPTURED.items()
                for column in captured.needed
            ]
        if "NOW(6)) * 1000000" in sql:
            return [(900,)]
        if "UNION ALL" not in sql:
            return []
        if self._changes:
            self._changes -= 1
            raise NotThere("Unknown column")
        return [(0, 1_000, *[None] * 6), (1, 7, None, None, None, None, 0, None), (4, 1_001, *[None] * 6)]


def test_a_read_for_once_looks_again_where_the_tables_changed_and_begins_before_its_snapshot() -> None:
    replica = Asked(1)
    read = read_leads(replica, [7])
    assert read == LiveRead(900, 1_001, {7: LiveLead(UserRow(7, None, False), {}, {}, {(Table.USERS, 7): None})})
    assert [sql.split()[0] for sql in replica.asked] == 2 * ["SELECT", "SELECT", "SET", "START", "SELECT"]
    with pytest.raises(NotThere):
        read_leads(Asked(2), [7])
