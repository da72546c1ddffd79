"""The comparison with the call centre's tables finds what it is there to find."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.demo.company_schema import COMPANY
from tests.demo.compare import Found, Verdict, _compare_queue
from tests.demo.former_schema import FORMER
from tests.demo.oracle import FAR, Person, Span, Stay
from tests.demo.shape import Shape

UNSIGNED, OUTSTANDING, NONE = "unsigned_users", "requirements_outstanding", "none"


def problems(
    shape: Shape, queue: str, label: str | None, active: bool, pending: list[str], outcome: str | None = None
) -> list[str]:
    """What is said of a customer who belongs in `queue` and has this in the call centre's tables."""
    person = Person(7, stays=[Stay(1, queue, Span(0, FAR), "first_seen")])
    score = SimpleNamespace(current_queue_type=label, is_active=active, last_outcome=outcome)
    found = Found(lead=SimpleNamespace(queue_type=queue), score=score, pending=pending)
    verdict = Verdict()
    _compare_queue(verdict, person, found, shape.words, other_writers=False)
    assert verdict.wrong_queue == len(verdict.notes[7])
    return verdict.notes[7]


@pytest.mark.parametrize(
    ("shape", "queue", "label", "active", "pending", "outcome"),
    [
        (COMPANY, OUTSTANDING, "outstanding_requests", True, ["outstanding_requests"], "no_answer"),
        (COMPANY, UNSIGNED, "unsigned_users", True, ["unsigned_users"], None),
        (COMPANY, NONE, None, False, [], None),
        (COMPANY, OUTSTANDING, None, False, [], "do_not_contact"),
        (COMPANY, NONE, None, False, [], "Do_Not_Contact "),
        (FORMER, OUTSTANDING, OUTSTANDING, True, [OUTSTANDING], None),
        (FORMER, NONE, "none", False, [], None),
        (FORMER, UNSIGNED, "none", False, [], "do_not_contact"),
    ],
)
def test_what_is_right_is_right(
    shape: Shape, queue: str, label: str | None, active: bool, pending: list[str], outcome: str | None
) -> None:
    assert problems(shape, queue, label, active, pending, outcome) == []


@pytest.mark.parametrize(
    ("queue", "label", "active", "pending", "outcome", "complaint"),
    [
        (OUTSTANDING, OUTSTANDING, True, ["outstanding_requests"], None, "current_queue_type is requirements_outst"),
        (OUTSTANDING, "outstanding_requests", False, ["outstanding_requests"], None, "is_active is False"),
        (OUTSTANDING, "outstanding_requests", True, [OUTSTANDING], None, "pending entries are ['requirements_outst"),
        (OUTSTANDING, "outstanding_requests", True, [], None, "pending entries are []"),
        (UNSIGNED, "unsigned_users", True, ["unsigned_users"] * 2, None, "pending entries are ['unsigned_users', '"),
        (NONE, "none", False, [], None, "current_queue_type is none, not None"),
        (NONE, None, True, [], None, "is_active is True"),
        (NONE, None, False, ["unsigned_users"], None, "pending entries are ['unsigned_users']"),
        (UNSIGNED, None, True, [], "do_not_contact", "must never be called"),
        (UNSIGNED, None, False, ["unsigned_users"], "do_not_contact", "must never be called"),
        (UNSIGNED, "unsigned_users", False, [], "DO_NOT_CONTACT", "must never be called"),
    ],
)
def test_what_is_wrong_is_said(
    queue: str, label: str | None, active: bool, pending: list[str], outcome: str | None, complaint: str
) -> None:
    (sentence,) = problems(COMPANY, queue, label, active, pending, outcome)
    assert complaint in sentence
