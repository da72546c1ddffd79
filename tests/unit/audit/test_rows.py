"""Rows and messages held against each other, without servers."""

from __future__ import annotations

import pytest

from consumer.audit.rows import (
    PART_BYTES,
    UNREAD,
    Lost,
    Mark,
    Message,
    Notice,
    PartComparison,
    Row,
    Spot,
    Sums,
    Undecided,
    Values,
    expected,
    folded,
)
from consumer.lane import lane_of

SPOT = Spot("binlog.000001", 4711, 0)
BEGUN = ("binlog.000001", 4700)
LANES = 4
HERE: Values = {"id": 1, "user_id": 7, "status": "open"}
CLOSED: Values = {**HERE, "status": "closed"}
MOVED: Values = {**HERE, "user_id": 8}


def row(before: Values | None, after: Values | None, spot: Spot = SPOT) -> Row:
    op = "c" if before is None else "d" if after is None else "u"
    return Row(spot, "claims", op, before, after, BEGUN, BEGUN)


def message(op: str, before: Values | None, after: Values | None, offset: int = 0) -> Message:
    return Message(SPOT, "claims", op, before, after, 3, offset)


def astray(op: str, before: Values | None, after: Values | None) -> Message:
    """A message where it does not belong, which is said of it already."""
    return Message(SPOT, "claims", op, before, after, 1, 0, is_misplaced=True)


def found(
    a_row: Row | None, *messages: Message, notices: tuple[Notice, ...] = (), lost: tuple[Lost, ...] = ()
) -> list[tuple[str, tuple[str, ...]]]:
    rows = {} if a_row is None else {SPOT: a_row}
    compared = PartComparison(LANES, notices, lost).compare(rows, {SPOT: list(messages)} if messages else {})
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
        (row(None, HERE), [astray("c", None, HERE), message("c", None, HERE)], []),
        (row(None, HERE), [astray("c", None, HERE), message("c", None, CLOSED)], [("different", ("status",))]),
        (row(None, HERE), [astray("c", None, HERE)], []),
        (None, [astray("c", None, HERE)], []),
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


OF_7 = lane_of(7, LANES)
ELSEWHERE = (OF_7 + 1) % LANES


@pytest.mark.parametrize(
    ("notice", "stands"),
    [
        (Notice(BEGUN, None, 7, OF_7), True),
        (Notice(BEGUN, None, None, OF_7), True),
        (Notice(SPOT[:2], 0, 7, OF_7), True),
        (Notice(BEGUN, None, 8, lane_of(8, LANES)), False),
        (Notice(BEGUN, None, None, ELSEWHERE), False),
        (Notice(("binlog.000001", 4600), None, 7, OF_7), False),
        (Notice(SPOT[:2], 1, 7, OF_7), False),
        (Notice(SPOT[:2], 0, 8, lane_of(8, LANES)), False),
    ],
)
def test_a_notice_stands_for_rows_of_its_own_user_or_lane_in_its_own_transaction(notice: Notice, stands: bool) -> None:
    assert (found(row(None, HERE), notices=(notice,)) == []) is stands


def requirement(row_number: int) -> Row:
    spot = SPOT._replace(row=row_number)
    return Row(spot, "claim_requirements", "c", None, {"id": "r", "claim_id": 3}, BEGUN, BEGUN)


@pytest.mark.parametrize(
    ("notices", "missing", "noticed", "unjudged"),
    [
        ([Notice(SPOT[:2], 0, 7, OF_7)], 1, 1, 0),
        ([Notice(BEGUN, None, None, lane) for lane in range(LANES)], 0, 2, 0),
        ([Notice(BEGUN, None, None, lane) for lane in range(LANES - 1)], 2, 0, 0),
        ([Notice(BEGUN, None, 7, OF_7)], 0, 0, 2),
    ],
)
def test_a_notice_stands_for_a_requirement_only_where_it_names_its_row_or_comes_in_every_lane(
    notices: list[Notice], missing: int, noticed: int, unjudged: int
) -> None:
    rows = {each.spot: each for each in (requirement(0), requirement(1))}
    compared = PartComparison(LANES, notices).compare(rows, {})
    assert (len(compared.differences), compared.noticed, compared.unjudged) == (missing, noticed, unjudged)


def test_a_notice_stands_for_the_half_of_a_move_that_its_user_lost() -> None:
    gone = Notice(SPOT[:2], 0, 7, OF_7)
    assert found(row(HERE, MOVED), message("c", None, MOVED), notices=(gone,)) == []
    assert found(row(HERE, MOVED), message("d", HERE, None), notices=(gone,)) == [("missing", ())]
    assert found(row(HERE, MOVED), notices=(gone,)) == [("missing", ())]


def test_a_notice_that_names_a_row_stands_for_one_message_of_it() -> None:
    before: Values = {"id": "r", "claim_id": 3}
    after: Values = {"id": "r", "claim_id": 4}
    moved = Row(SPOT, "claim_requirements", "u", before, after, BEGUN, BEGUN)
    notice = Notice(SPOT[:2], 0, 7, OF_7)
    compared = PartComparison(LANES, [notice]).compare({SPOT: moved}, {})
    assert (compared.noticed, len(compared.differences)) == (1, 1)
    assert PartComparison(LANES, [notice, notice]).compare({SPOT: moved}, {}).differences == []


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        (Lost("claims", OF_7, None), False),
        (Lost("claims", OF_7, ("binlog.000001", 4711)), False),
        (Lost("claims", OF_7, ("binlog.000001", 4710)), True),
        (Lost("claims", ELSEWHERE, None), True),
        (Lost("users", OF_7, None), True),
        (Lost("", OF_7, None), False),
    ],
)
def test_what_kafka_may_have_deleted_is_not_missing(lost: Lost, missing: bool) -> None:
    assert (found(row(None, HERE), lost=(lost,)) == [("missing", ())]) is missing
    other = found(row(None, HERE), message("c", None, CLOSED), lost=(lost,))
    assert other == [("different", ("status",))]


@pytest.mark.parametrize(
    ("steps", "counts"),
    [
        ("1 2 commit", "12"),
        ("1 rollback 2 commit", "2"),
        ("1 savepoint:a 2 savepoint:b 3 undo:a 4 commit", "14"),
        ("1 savepoint:a 2 undo:a 3 undo:a 4 commit", "14"),
        ("1 savepoint:a 2 savepoint:a 3 undo:a commit", "12"),
        ("1 savepoint:a 2 savepoint:b 3 savepoint:a 4 undo:b 5 commit", "125"),
        ("savepoint:a 1 commit 2 commit", "12"),
    ],
)
def test_what_of_a_transaction_counts(steps: str, counts: str) -> None:
    undecided: Undecided[list[str]] = Undecided(list, list.extend)
    counted: list[str] = []
    for step in steps.split():
        if step.isdigit():
            undecided.newest.append(step)
        else:
            counted += undecided.mark(Mark(*step.split(":"))) or []
    assert "".join(counted) == counts


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


FOLDS = {"id": str.lower}


def of(name: str | None, status: str) -> Values | None:
    return None if name is None else {**HERE, "id": name, "status": status}


@pytest.mark.parametrize(
    ("before", "after", "op"), [(None, "CL-1", "c"), ("CL-1", "cl-1", "u"), ("CL-1", None, "d"), ("Cl-1", "cL-1", "u")]
)
def test_an_id_in_text_is_compared_in_the_one_spelling_that_messages_have(
    before: str | None, after: str | None, op: str
) -> None:
    there = row(of(before, "open"), of(after, "CLOSED"))
    told = message(op, of(before and "cl-1", "open"), of(after and "cl-1", "CLOSED"))
    assert found(folded(there, FOLDS), told) == []
    assert found(there, told) == [("different", ("id",))]


def test_other_ids_stay_as_they_are() -> None:
    others: list[Values] = [HERE, {**HERE, "id": UNREAD}, {**HERE, "id": None}, {"status": "open"}]
    for values in others:
        assert folded(row(None, values), FOLDS) == row(None, values)
    assert folded(row(HERE, CLOSED), {}) == row(HERE, CLOSED)
