"""What users and claims leave behind, where nobody knows it whole, and where others were quicker."""

from __future__ import annotations

from consumer.leads.ledger import replay
from consumer.leads.left_behind import INCOMPLETE, LeftBehind, claim_of, of_claim, of_user
from consumer.leads.model import (
    NEVER,
    Change,
    Claim,
    ClaimRow,
    Lead,
    Left,
    QueueType,
    Requirement,
    RequirementRow,
    Table,
    Ties,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules

STAYS = Ties(stays=True)
CLAIM = ClaimRow("10", 1, "open")
PENDING = Requirement("100", "10", "payslip", "pending", None, 5)


def holder(**more: object) -> Lead:
    """User 1, who holds the claim with one requirement."""
    lead = Lead(1, exists=True, signature="s", version=3)
    lead.claims = {"10": Claim("10", "open", 4)}
    lead.requirements = {"100": PENDING}
    for name, value in more.items():
        setattr(lead, name, value)
    return lead


def goes(version: int = 9) -> Change:
    return Change(1, Table.CLAIMS, CLAIM, None, version, version, True, ties=STAYS)


def comes(version: int = 9, user_id: int = 2, ties: Ties | None = None) -> Change:
    return Change(user_id, Table.CLAIMS, None, CLAIM._replace(user_id=user_id), version, version, True, ties=ties)


def after(change: Change, lead: Lead, left: LeftBehind) -> Outcome:
    outcome = Outcome()
    replay([change], {lead.user_id: lead}, 8, Rules(), outcome, (), left)
    return outcome


def test_a_claim_leaves_its_requirements_and_whoever_gets_it_takes_them_over_with_their_versions() -> None:
    left: LeftBehind = {}
    outcome = after(goes(), holder(), left)
    assert outcome.left == {of_claim("10"): Left(9, whole=True, requirements={"100": PENDING})}
    taker = Lead(2, exists=True, signature="s", version=3)
    outcome = after(comes(), taker, left)
    assert taker.requirements == {"100": PENDING}
    assert taker.judge_after is None
    assert not outcome.rechecks
    assert not outcome.left[of_claim("10")]


def test_what_is_not_known_whole_is_read_live() -> None:
    for giver in (holder(judge_after=NEVER), holder(read_floor=9), holder(claims={})):
        left: LeftBehind = {}
        after(goes(), giver, left)
        assert not left[of_claim("10")].whole
        taker = Lead(2, exists=True, signature="s", version=3)
        outcome = after(comes(), taker, left)
        assert outcome.rechecks == {2: INCOMPLETE}
        assert taker.judge_after == NEVER


def test_a_lane_that_was_quicker_keeps_what_it_has_brought_and_it_is_read_live() -> None:
    newer = Requirement("101", "10", "payslip", "pending", None, 12)
    left: LeftBehind = {of_claim("10"): Left(12, whole=True, requirements={"101": newer})}
    after(goes(), holder(), left)
    assert left[of_claim("10")] == Left(12, whole=False, requirements={"100": PENDING, "101": newer})


def test_what_was_left_later_under_the_same_id_is_not_taken_over_earlier() -> None:
    newer = Requirement("101", "10", "payslip", "pending", None, 12)
    left: LeftBehind = {of_claim("10"): Left(12, whole=True, requirements={"101": newer})}
    taker = Lead(2, exists=True, signature="s", version=3)
    outcome = after(comes(), taker, left)
    assert not taker.requirements
    assert not outcome.left
    assert taker.judge_after is None


def test_a_claim_with_another_id_takes_its_requirements_along() -> None:
    left: LeftBehind = {of_claim("9"): Left(9, whole=True, requirements={"100": PENDING})}
    taker = Lead(2, exists=True, signature="s", version=3)
    after(comes(ties=Ties(was=9)), taker, left)
    assert [asked.claim_id for asked in taker.requirements.values()] == ["10"]


def test_requirements_without_a_claim_are_kept_as_they_stand_until_it_comes() -> None:
    left: LeftBehind = {}
    row = RequirementRow("100", "10", "payslip", "pending", None)
    steps = [(None, row), (row, row._replace(status="approved")), (None, row._replace(id="101"))]
    steps += [(row._replace(id="101"), None)]  # type: ignore[list-item]
    for version, (before, now) in enumerate(steps, 1):
        change = Change(-1, Table.CLAIM_REQUIREMENTS, before, now, version, version, True, ties=Ties(claimless=True))
        replay([change], {}, version - 1, Rules(), Outcome(), (), left)
    assert {key: asked.status for key, asked in left[of_claim("10")].requirements.items()} == {"100": "approved"}


def test_who_returns_where_nobody_knows_what_stayed_is_read_live() -> None:
    lead, row = holder(stint=1, queue_type=QueueType.NONE), UserRow(1, "s", True)
    left: LeftBehind = {}
    gone = Change(1, Table.USERS, row, None, 9, 9, True, ties=Ties(unknown=True))
    after(gone, lead, left)
    assert not lead.claims
    outcome = after(Change(1, Table.USERS, None, row, 10, 10, True), lead, left)
    assert lead.judge_after == NEVER
    assert outcome.rechecks == {1: INCOMPLETE}


def test_who_comes_with_the_old_number_of_a_user_gets_nothing_of_what_the_new_number_takes() -> None:
    giver, row = holder(stint=1, queue_type=QueueType.NONE), UserRow(1, "s", True)
    left: LeftBehind = {}
    after(Change(1, Table.USERS, row, None, 9, 9, False, ties=Ties(leaves=True)), giver, left)
    after(Change(1, Table.USERS, None, row, 9, 9, True), giver, left)
    assert not giver.claims
    heir = Lead(2)
    after(Change(2, Table.USERS, None, row._replace(id=2), 9, 9, True, ties=Ties(was=1)), heir, left)
    assert heir.claims.keys() == {"10"}
    assert heir.requirements == {"100": PENDING}


def test_names_say_whether_a_claim_or_a_user_left_something() -> None:
    assert claim_of(of_claim("a:b")) == "a:b"
    assert claim_of(of_user(7)) is None
