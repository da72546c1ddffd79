"""Rows and messages held against each other, without servers."""

from __future__ import annotations

import pytest

from consumer.audit.rows import (
    PART_BYTES,
    UNREAD,
    Message,
    Notice,
    Row,
    Spot,
    Sums,
    Values,
    compare,
    expected,
)

SPOT = Spot("binlog.000001", 4711, 0)
HERE: Values = {"id": 1, "user_id": 7, "status": "open"}
CLOSED: Values = {**HERE, "status": "closed"}
MOVED: Values = {**HERE, "user_id": 8}


def row(before: Values | None, after: Values | None, spot: Spot = SPOT) -> Row:
    op = "c" if before is None else "d" if after is None else "u"
    return Row(spot, "claims", op, before, after, 1000)


def message(op: str, before: Values | None, after: Values | None, offset: int = 0) -> Message:
    return Message(SPOT, "claims", op, before, after, 3, offset)


def found(a_row: Row | None, *messages: Message, notices: tuple[Notice, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    rows = {} if a_row is None else {SPOT: a_row}
    compared = compare(rows, {SPOT: list(messages)} if messages else {}, notices, frozenset())
    return [(difference.what, difference.columns) for difference in compared.differences]


@pytest.mark.parametrize(
    ("a_row", "messages", "differences"),
    [
        (row(None, HERE), [message("c", None, HERE)], []),
        (row(HERE, CLOSED), [message("u", HERE, CLOSED)], []),
        (row(HERE, MOVED), [message("d", HERE, None), message("c", None, MOVED)], []),
        (row(HERE, MOVED), [message("d", HERE, None)], [("missing", ())]),
        (row(HERE, MOVED), [message("u", HERE, MOVED)], [("missing", ()), ("missing", ()), ("extra", ())]),
        (row(HERE, CLOSED), [message("d", HERE, None), message("c", None, CLOSED)], None),
        (row(None, HERE), [], [("missing", ())]),
        (row(None, HERE), [message("c", None, CLOSED)], [("different", ("status",))]),
        (row(HERE, CLOSED), [message("u", CLOSED, CLOSED)], [("different", ("status",))]),
        (row(None, HERE), [message("c", None, {**HERE, "more": 1})], [("different", ("more",))]),
        (row(None, HERE), [message("c", None, {"id": 1, "user_id": 7})], [("different", ("status",))]),
        (row(None, HERE), [message("c", None, HERE), message("c", None, HERE, 1)], [("twice", ())]),
        (None, [message("c", None, HERE)], [("extra", ())]),
        (row(None, {**HERE, "status": UNREAD}), [message("c", None, CLOSED)], []),
    ],
)
def test_each_kind_of_difference_has_its_word(
    a_row: Row | None, messages: list[Message], differences: list[tuple[str, tuple[str, ...]]] | None
) -> None:
    if differences is None:
        assert found(a_row, *messages)
    else:
        assert found(a_row, *messages) == differences


@pytest.mark.parametrize(
    ("notice", "stands"),
    [
        (Notice(1000, 7, "too large"), True),
        (Notice(1000, None, "skipped"), True),
        (Notice(1000, 8, "too large"), False),
        (Notice(900, 7, "too large"), False),
        (Notice(1100, 7, "too large"), False),
    ],
)
def test_a_notice_of_the_rows_own_user_and_time_stands_in_its_place(notice: Notice, stands: bool) -> None:
    assert (found(row(None, HERE), notices=(notice,)) == []) is stands


def test_parts_are_equal_whatever_the_order_and_differ_by_one_value() -> None:
    rows = [row(HERE, CLOSED, Spot("binlog.000001", pos, 0)) for pos in range(4, 3 * PART_BYTES, PART_BYTES // 4)]
    binlog, kafka = Sums(), None
    kafka = Sums(binlog.key)
    for each in rows:
        for image in expected(each):
            binlog.add(each.spot, each.table, image)
    for each in reversed(rows):
        kafka.add(each.spot, each.table, ("u", {**HERE}, {**CLOSED}))
    assert binlog.differing(kafka) == []
    kafka.add(rows[-1].spot, "claims", ("u", HERE, CLOSED))
    assert binlog.differing(kafka) == [("binlog.000001", 2)]
    other = Sums(binlog.key)
    for each in rows[:-1]:
        other.add(each.spot, each.table, ("u", HERE, CLOSED))
    other.add(rows[-1].spot, "claims", ("u", HERE, HERE))
    assert binlog.differing(other) == [("binlog.000001", 2)]
