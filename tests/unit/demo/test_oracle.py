"""The oracle against histories written by hand from design section 3."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.demo.company_schema import COMPANY
from tests.demo.former_schema import FORMER
from tests.demo.oracle import FAR, Exclusion, Oracle, Span, Words
from tests.demo.shape import Shape
from tests.demo.transaction_log import Step, Transaction

WORDS = Words(excluded=(Exclusion("photo"),))


def user(op: str, key: int = 1, **values: Any) -> Step:
    return Step("users", op, key, values)


def claim(op: str, key: int = 10, **values: Any) -> Step:
    return Step("claims", op, key, values)


def paper(op: str, key: int = 100, **values: Any) -> Step:
    return Step("claim_requirements", op, key, values)


NEW = user("c", signature=None, enabled=True)
SIGNED = user("c", signature="s1", enabled=True)
CLAIM = claim("c", user=1, status="open")
PAPER = paper("c", claim=10, type="id", status="requested")


def told(*transactions: list[Step], words: Words = WORDS) -> list[tuple[str, str | None, str | None]]:
    """The stints of user 1 as (queue, why it ended, conversion)."""
    oracle = Oracle(words)
    oracle.replay(
        Transaction(number, number * 10, number * 10 + 5, False, steps)
        for number, steps in enumerate(transactions, start=1)
    )
    stays = oracle.people[1].stays
    assert [stay.number for stay in stays] == list(range(1, len(stays) + 1))
    return [(stay.queue, stay.closed_reason, stay.conversion) for stay in stays]


def last_reason(*transactions: list[Step]) -> str | None:
    return told(*transactions)[-2][1]


def test_a_first_sight_opens_stint_one_and_never_converts() -> None:
    assert told([SIGNED, CLAIM, PAPER]) == [("requirements_outstanding", None, None)]
    assert told([NEW]) == [("unsigned_users", None, None)]
    assert told([SIGNED]) == [("none", None, None)]


def test_a_signature_converts_once_per_file() -> None:
    sign, unsign = [user("u", signature="s1")], [user("u", signature="")]
    assert told([NEW], sign, unsign, sign) == [
        ("unsigned_users", "signature_obtained", "signature_obtained"),
        ("none", "signature_missing", None),
        ("unsigned_users", "signature_obtained", None),
        ("none", None, None),
    ]
    assert told([NEW], sign, unsign, [user("u", signature="s2")])[2][2] == "signature_obtained"


def test_the_last_document_converts() -> None:
    assert told([SIGNED, CLAIM], [PAPER], [paper("u", status="APPROVED ")]) == [
        ("none", "requirement_added", None),
        ("requirements_outstanding", "requirements_completed", "requirements_completed"),
        ("none", None, None),
    ]


def test_approving_one_document_and_asking_for_another_at_once_is_no_conversion() -> None:
    other = paper("c", 101, claim=10, type="id", status=None)
    assert told([SIGNED, CLAIM, PAPER], [paper("u", status="approved"), other]) == [
        ("requirements_outstanding", None, None)
    ]


def test_a_document_approved_earlier_in_the_stint_converts_when_the_other_is_withdrawn() -> None:
    other = paper("c", 101, claim=10, type="id", status=None)
    history = [SIGNED, CLAIM, PAPER, other], [paper("u", status="approved")], [paper("d", 101)]
    assert told(*history)[0] == ("requirements_outstanding", "requirements_completed", "requirements_completed")


def test_a_document_that_was_never_outstanding_completes_nothing() -> None:
    settled = paper("c", 101, claim=10, type="id", status="approved")
    assert last_reason([SIGNED, CLAIM, PAPER, settled], [paper("d")]) == "requirements_withdrawn"


def test_a_document_approved_on_a_claim_that_is_closed_completes_nothing() -> None:
    second = claim("c", 11, user=1, status="open")
    closing = [paper("u", status="approved"), claim("u", status="cancelled")]
    assert last_reason([SIGNED, CLAIM, PAPER, second], closing) == "requirements_withdrawn"


def test_excluded_types_and_documents_of_closed_claims_put_nobody_into_a_queue() -> None:
    assert told([SIGNED, CLAIM, paper("c", claim=10, type="Photo", status=None)])[0][0] == "none"
    assert told([SIGNED, claim("c", user=1, status="Cancelled"), PAPER])[0][0] == "none"


def test_a_customer_whose_claims_are_all_closed_is_in_no_queue() -> None:
    cancel, reopen = [claim("u", status="cancelled")], [claim("u", status=None)]
    assert told([NEW, CLAIM], cancel, reopen) == [
        ("unsigned_users", "claims_closed", None),
        ("none", "claim_reopened", None),
        ("unsigned_users", None, None),
    ]


def test_a_signature_removed_ends_another_queue() -> None:
    assert last_reason([SIGNED, CLAIM, PAPER], [user("u", signature=None)]) == "signature_removed"


def test_disabling_and_enabling() -> None:
    off, on = [user("u", enabled=False)], [user("u", enabled=True)]
    assert told([NEW], off, on) == [
        ("unsigned_users", "user_disabled", None),
        ("none", "user_enabled", None),
        ("unsigned_users", None, None),
    ]


def test_signing_while_disabled_converts_nothing() -> None:
    history = [NEW], [user("u", enabled=False)], [user("u", signature="s1")], [user("u", enabled=True)]
    assert told(*history) == [("unsigned_users", "user_disabled", None), ("none", None, None)]


def test_a_deleted_customer_takes_claims_and_documents_along() -> None:
    assert told([SIGNED, CLAIM, PAPER], [user("d")], [SIGNED], [user("u", signature=None)]) == [
        ("requirements_outstanding", "user_deleted", None),
        ("none", "signature_missing", None),
        ("unsigned_users", None, None),
    ]
    assert last_reason([NEW], [user("d")], [NEW]) == "user_returned"


def test_a_deleted_claim_takes_its_documents_along() -> None:
    assert last_reason([SIGNED, CLAIM, PAPER], [claim("d")]) == "requirements_withdrawn"


def test_what_is_undone_within_a_transaction_never_was() -> None:
    assert told([NEW], [user("u", signature="s1"), user("u", signature=None)]) == [("unsigned_users", None, None)]


def test_a_document_that_gets_another_id_is_another_document() -> None:
    history = [SIGNED, CLAIM, PAPER], [paper("k", id=101)], [paper("u", 101, status="approved")]
    assert last_reason(*history) == "requirements_completed"
    at_once = [paper("u", status="approved"), paper("k", id=101)]
    assert last_reason([SIGNED, CLAIM, PAPER], at_once) == "requirements_withdrawn"


def test_a_claim_that_moves_takes_its_documents_to_the_other_customer() -> None:
    oracle = Oracle(WORDS)
    other = user("c", 2, signature="s2", enabled=True)
    oracle.play(Transaction(1, 10, 15, False, [SIGNED, CLAIM, PAPER, other]))
    oracle.play(Transaction(2, 20, 25, False, [claim("u", user=2)]))
    assert oracle.people[1].stays[0].closed_reason == "requirements_withdrawn"
    assert oracle.people[2].stays[0].closed_reason == "requirement_added"
    assert oracle.people[2].stays[1].opened == Span(20, 25)


def test_stints_carry_the_bounds_of_their_commits() -> None:
    oracle = Oracle(WORDS)
    oracle.play(Transaction(1, 0, 5, True, [NEW]))
    oracle.play(Transaction(2, 20, 25, False, [user("u", signature="s1")]))
    first, second = oracle.people[1].stays
    assert (first.opened, first.closed, second.opened) == (Span(0, FAR), Span(20, 25), Span(20, 25))


@pytest.mark.parametrize(
    ("kind", "status", "reason", "owed"),
    [
        ("bank_statement", "PENDING", None, True),
        ("bank_statement", "Pending  ", "base requirement for claim.", True),
        ("bank_statement", "submitted", None, False),
        ("bank_statement", "rejected", None, False),
        ("bank_statement", None, None, False),
        (None, "pending", None, True),
        ("Signature", "pending", None, False),
        ("letter_of_authority ", "pending", "anything", False),
        ("ID_document", "pending", "Base requirement for claim. ", False),
        ("id_document", "pending", "base requirement for claim", True),
        ("id_document", "pending", None, True),
    ],
)
def test_what_the_company_counts_as_owed(kind: str | None, status: str | None, reason: str | None, owed: bool) -> None:
    asked = paper("c", claim=10, type=kind, status=status, reason=reason)
    queue = "requirements_outstanding" if owed else "none"
    assert told([SIGNED, CLAIM, asked], words=COMPANY.words) == [(queue, None, None)]


def test_every_word_that_is_not_outstanding_settles_where_the_company_says_what_is_outstanding() -> None:
    asked = paper("c", claim=10, type="bank_statement", status="PENDING")
    for word, reason in (("submitted", "requirements_completed"), (None, "requirements_withdrawn")):
        history = [SIGNED, CLAIM, asked], [paper("u", status=word)]
        assert told(*history, words=COMPANY.words)[0][1] == reason


def test_a_document_whose_type_turns_out_not_to_count_is_withdrawn() -> None:
    asked = paper("c", claim=10, type="bank_statement", status="pending")
    history = [SIGNED, CLAIM, asked], [paper("u", type="cfa")]
    assert told(*history, words=COMPANY.words)[0][1] == "requirements_withdrawn"
    history = [SIGNED, CLAIM, asked], [paper("u", type="id_document", reason="base requirement for claim.")]
    assert told(*history, words=COMPANY.words)[0][1] == "requirements_withdrawn"


def test_queues_have_the_names_that_the_call_centre_gives_them() -> None:
    queues = ("unsigned_users", "requirements_outstanding", "none")
    assert [COMPANY.words.label(queue) for queue in queues] == ["unsigned_users", "outstanding_requests", None]
    assert [FORMER.words.label(queue) for queue in queues] == list(queues)


@pytest.mark.parametrize("shape", [COMPANY, FORMER], ids=lambda shape: shape.name)
def test_the_rules_file_says_what_the_oracle_says(shape: Shape) -> None:
    rules = tomllib.loads(shape.rules_file.read_text())
    words = shape.words
    queues = ("unsigned", "outstanding", "none")
    assert tuple(rules["queues"][name] or None for name in queues) == words.labels
    assert set(rules["claims"]["closed"]) == words.closed
    assert set(rules["calls"]["never"]) == words.never
    requirements = rules["requirements"]
    excluded = (Exclusion(one.get("type"), one.get("reason")) for one in requirements["excluded"])
    assert tuple(excluded) == words.excluded
    if words.outstanding is None:
        assert set(requirements["settled"]) == words.settled
        assert "outstanding" not in requirements
    else:
        assert set(requirements["outstanding"]) == words.outstanding
        assert "settled" not in requirements
