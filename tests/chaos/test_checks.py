"""The judges of a trial find what they are there to find."""

from __future__ import annotations

import pytest

from tests.chaos.dialler import Judge
from tests.chaos.topics import Numbered, check_lane


def row(seq: int, version: int, *, last: bool, pos: int | None = None) -> Numbered:
    place = ("binlog.000001", version if pos is None else pos, seq, "u", True, True)
    return Numbered(seq, version, last, f"uuid:{version}", place)


def beat(seq: int, version: int) -> Numbered:
    return Numbered(seq, version, True, None, ("", 0, 0, "h", False, False))


RIGHT = [row(1, 10, last=False), row(2, 10, last=True), beat(3, 12), row(4, 20, last=False), beat(5, 20)]


def test_a_lane_without_gaps_whose_transactions_end_is_right() -> None:
    assert list(check_lane(RIGHT)) == []


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ([RIGHT[0], RIGHT[2]], "number 3 stands where 2 should"),
        ([RIGHT[0], RIGHT[0], RIGHT[1]], "number 1 stands where 2 should"),
        ([RIGHT[0]], "version 10: rows [] of 1 are marked as the last"),
        ([RIGHT[1]._replace(seq=1), RIGHT[1]], "version 10: rows [0, 1] of 2 are marked as the last"),
        ([row(1, 10, last=True), row(2, 9, last=True)], "number 2 has version 9 after 10"),
        ([RIGHT[0], RIGHT[0]._replace(seq=2, version=11, last=True)], "number 2 repeats the row at"),
    ],
)
def test_gaps_repeats_and_missing_ends_are_found(wrong: list[Numbered], complaint: str) -> None:
    assert any(complaint in problem for problem in check_lane(wrong)), list(check_lane(wrong))


SCORE = {
    "user_id": 1,
    "current_queue_type": "none",
    "is_active": False,
    "current_score": 7,
    "total_attempts": 1,
    "last_reset_date": None,
}
ENTRY = {"id": "e", "user_id": 1, "queue_type": "unsigned_users", "status": "pending", "assigned_to_agent_id": None}


@pytest.mark.parametrize(
    ("what", "before", "after", "complaint"),
    [
        ("user_call_scores UPDATE", SCORE, SCORE | {"total_attempts": 0}, "overwrote ['total_attempts']"),
        ("user_call_scores UPDATE", SCORE, SCORE | {"current_score": 0}, "overwrote ['current_score']"),
        ("user_call_scores DELETE", SCORE, None, "none of our business"),
        ("call_queue UPDATE", ENTRY | {"status": "assigned"}, ENTRY | {"status": "closed"}, "status assigned → closed"),
        ("call_queue INSERT", None, ENTRY, "there was a pending entry already"),
        ("conversions UPDATE", {"user_id": 1}, {"user_id": 1}, "none of our business"),
    ],
)
def test_writes_beyond_the_design_are_found(
    what: str, before: dict[str, object] | None, after: dict[str, object] | None, complaint: str
) -> None:
    judge = Judge()
    judge.take("call_queue", None, ENTRY)
    judge.look(what, before, after)
    assert complaint in judge.problems[0]
