"""What users and claims leave behind, where nobody knows it whole, and where others were quicker."""

from __future__ import annotations

from consumer.leads.ledger import replay
from consumer.leads.left_behind import (
    INCOMPLETE,
    MOST,
    Arrival,
    LeftBehind,
    arrival,
    claim_of,
    leave,
    miss,
    names_in,
    of_claim,
    of_gone,
    of_user,
    take_claimless,
    take_over,
)
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


USER = UserRow(1, "s", True)
ASKED = RequirementRow("100", "10", "payslip", "approved", None)


def test_only_a_claim_that_comes_after_others_arrives() -> None:
    after_others = Ties(after=((1, 5),))
    assert arrival(comes(ties=after_others)) == Arrival("10", 2, 9)
    assert arrival(comes(ties=Ties(was="11", after=((1, 5),)))) == Arrival("11", 2, 9)
    assert arrival(comes(ties=Ties(was="11"))) is None
    assert arrival(comes()) is None
    assert arrival(comes(ties=after_others)._replace(before=CLAIM)) is None
    assert arrival(Change(1, Table.USERS, None, USER, 9, 9, True, ties=after_others)) is None


def test_what_a_claim_left_that_another_lead_holds_still_is_not_known_whole() -> None:
    left: LeftBehind = {of_claim("12"): Left(1)}
    miss([Arrival("10", 2, 9), Arrival("11", 2, 9), Arrival("12", 2, 9)], {"10", "12"}, left)
    assert left == {of_claim("10"): Left(9, whole=False), of_claim("12"): Left(1)}


def test_what_has_to_be_at_hand_for_a_change() -> None:
    def user(before: UserRow | None, after: UserRow | None, ties: Ties | None = None) -> list[str]:
        return names_in(Change(1, Table.USERS, before, after, 9, 9, True, ties=ties))

    def asked(before: RequirementRow | None, after: RequirementRow | None, ties: Ties | None = None) -> list[str]:
        return names_in(Change(1, Table.CLAIM_REQUIREMENTS, before, after, 9, 9, True, ties=ties))

    assert names_in(comes()) == names_in(comes(ties=Ties())) == ["claim:10"]
    assert names_in(comes(ties=Ties(was=7))) == ["claim:10", "claim:7"]
    assert names_in(comes()._replace(before=CLAIM)) == []
    assert user(None, USER) == user(None, USER, Ties()) == ["gone:1"]
    assert user(None, USER, Ties(was=7)) == ["gone:1", "user:7"]
    assert user(USER, USER) == user(USER, None, STAYS) == []
    assert names_in(goes()) == ["claim:10"]
    assert names_in(goes()._replace(ties=Ties(unknown=True))) == []
    assert asked(None, ASKED, Ties(claimless=True)) == asked(ASKED, None, Ties(claimless=True)) == ["claim:10"]
    assert asked(None, ASKED) == asked(None, ASKED, Ties()) == []
    assert asked(None, ASKED._replace(claim_id=None), Ties(claimless=True)) == []


def left_by(change: Change, lead: Lead, left: LeftBehind | None = None) -> dict[str, Left]:
    """What a change leaves behind, before it is applied."""
    outcome, left = Outcome(), {} if left is None else left
    leave(change, lead, left, outcome)
    assert all(left[name] == now for name, now in outcome.left.items())
    return outcome.left


def user_goes(ties: Ties) -> Change:
    return Change(1, Table.USERS, USER, None, 9, 9, True, ties=ties)


def test_a_user_who_gets_another_id_leaves_claims_and_requirements() -> None:
    whole = Left(9, True, holder().claims, holder().requirements)
    assert left_by(user_goes(Ties(leaves=True)), holder()) == {"user:1": whole}
    assert left_by(user_goes(Ties(leaves=True)), holder(judge_after=NEVER)) == {
        "user:1": Left(9, False, whole.claims, whole.requirements)
    }
    assert left_by(user_goes(Ties(leaves=True)), holder(read_floor=9)) == {"user:1": Left(9, False)}
    assert left_by(user_goes(Ties(leaves=True)), holder(read_floor=8)) == {"user:1": whole}
    assert left_by(user_goes(STAYS), holder()) == left_by(user_goes(Ties()), holder()) == {}


def test_of_whom_nobody_knows_what_stays_something_may_have_been_left() -> None:
    unknown = Ties(unknown=True)
    assert left_by(user_goes(unknown), holder()) == {"gone:1": Left(9, whole=False)}
    assert left_by(goes()._replace(ties=unknown), holder()) == {"claim:10": Left(9, whole=False)}
    assert left_by(Change(1, Table.CLAIM_REQUIREMENTS, ASKED, None, 9, 9, True, ties=unknown), holder()) == {}


def test_a_claim_leaves_its_own_requirements_and_says_whether_these_are_all() -> None:
    other = Requirement("200", "20", "payslip", "pending", None, 5)
    lead = holder(requirements={"100": PENDING, "200": other})
    kept = {"100": PENDING}
    assert left_by(goes(), lead) == {"claim:10": Left(9, True, {}, kept)}
    assert left_by(goes(4), lead) == {"claim:10": Left(4, True, {}, kept)}
    for not_whole in (holder(judge_after=NEVER), holder(claims={}), holder(claims={"10": Claim("10", "open", 10)})):
        assert left_by(goes(), not_whole) == {"claim:10": Left(9, False, {}, kept)}
    assert left_by(goes(), holder(read_floor=9)) == {"claim:10": Left(9, False)}


def test_what_another_lane_has_left_later_under_the_same_claim_stays_beside_it() -> None:
    late, early = Requirement("300", "10", None, None, None, 12), Requirement("301", "10", None, None, None, 9)
    ahead = Left(12, True, {}, {"300": late, "301": early})
    both = {"100": PENDING, "300": late}
    assert left_by(goes(), holder(), {"claim:10": ahead}) == {"claim:10": Left(12, False, {}, both)}
    assert left_by(goes(12), holder(), {"claim:10": ahead}) == {"claim:10": Left(12, True, {}, {"100": PENDING})}


def taken(change: Change, lead: Lead, left: LeftBehind) -> tuple[bool, str | None]:
    outcome = Outcome()
    found = take_over(change, lead, left, outcome)
    assert all(left[name] == now for name, now in outcome.left.items())
    return found


def user_comes(version: int = 9, was: int | None = 1) -> Change:
    return Change(2, Table.USERS, None, UserRow(2, "s", True), version, version, True, ties=Ties(was=was))


def test_who_comes_with_another_id_gets_claims_and_requirements_as_they_stood() -> None:
    lead, left = Lead(2), {"user:1": Left(9, True, holder().claims, holder().requirements)}
    assert taken(user_comes(), lead, left) == (True, None)
    assert (lead.claims, lead.requirements) == (holder().claims, holder().requirements)
    assert left == {"user:1": Left(9)}
    assert taken(user_comes(), lead, left) == (False, None)


def test_what_is_not_whole_or_was_left_later_has_to_be_read() -> None:
    lead, left = Lead(2), {"user:1": Left(8, False, holder().claims, {})}
    assert taken(user_comes(), lead, left) == (True, INCOMPLETE)
    assert left == {"user:1": Left(9)}
    left = {"user:1": Left(10, True, holder().claims, {})}
    assert taken(user_comes(), Lead(2), left) == (False, INCOMPLETE)
    assert left["user:1"].claims
    left = {of_gone(2): Left(9, whole=False)}
    assert taken(user_comes(was=None), Lead(2), left) == (False, INCOMPLETE)
    assert left == {of_gone(2): Left(9)}
    both = {of_gone(2): Left(9, whole=False), "user:1": Left(9, True, holder().claims, {})}
    assert taken(user_comes(), Lead(2), both) == (True, INCOMPLETE)


def test_what_was_read_live_takes_nothing_over_and_uses_it_up() -> None:
    lead, left = Lead(2, read_floor=9), {"user:1": Left(9, True, holder().claims, holder().requirements)}
    assert taken(user_comes(), lead, left) == (False, None)
    assert (lead.claims, lead.requirements, left) == ({}, {}, {"user:1": Left(9)})
    lead, left = Lead(2, read_floor=9), {"claim:10": Left(9, True, {}, {"100": PENDING})}
    assert taken(comes(), lead, left) == (False, None)
    assert (lead.requirements, left) == ({}, {"claim:10": Left(9)})


def test_a_claim_takes_over_what_was_left_under_both_of_its_ids() -> None:
    lead = Lead(2)
    left = {"claim:10": Left(9, True, {}, {"100": PENDING}), "claim:7": Left(8, False, {}, {})}
    left["claim:7"].requirements["70"] = Requirement("70", "7", None, "approved", None, 3)
    assert taken(comes(ties=Ties(was=7)), lead, left) == (True, INCOMPLETE)
    assert lead.requirements == {"100": PENDING, "70": Requirement("70", "10", None, "approved", None, 3)}
    assert left == {"claim:10": Left(9), "claim:7": Left(9)}
    assert taken(comes(ties=Ties(was=7)), lead, left) == (False, None)


def test_what_was_left_later_is_a_later_claims_unless_some_of_it_is_older() -> None:
    late = Requirement("300", "10", None, None, None, 10)
    assert taken(comes(), Lead(2), {"claim:10": Left(10, True, {}, {"300": late})}) == (False, None)
    assert taken(comes(), Lead(2), {"claim:10": Left(10, False, {}, {"300": late})}) == (False, INCOMPLETE)
    assert taken(comes(10), Lead(2), {"claim:10": Left(11, True, {}, {"300": late})}) == (False, INCOMPLETE)


def claimless(
    before: RequirementRow | ClaimRow | None, after: RequirementRow | ClaimRow | None, version: int
) -> Change:
    row = after or before
    table = Table.CLAIMS if isinstance(row, ClaimRow) else Table.CLAIM_REQUIREMENTS
    return Change(0, table, before, after, version, version, True, ties=Ties(claimless=True))


def test_a_requirement_of_nobodys_claim_is_kept_in_its_newest_version() -> None:
    left: LeftBehind = {}
    for before, after, version in ((None, ASKED, 9), (ASKED, ASKED._replace(status="lost"), 8), (None, ASKED, 9)):
        take_claimless(claimless(before, after, version), left, Outcome())
        assert left == {
            "claim:10": Left(9, True, {}, {"100": Requirement("100", "10", "payslip", "approved", None, 9)})
        }
    take_claimless(claimless(ASKED, None, 8), left, Outcome())
    assert left["claim:10"].requirements
    outcome = Outcome()
    take_claimless(claimless(ASKED, None, 10), left, outcome)
    assert left == outcome.left == {"claim:10": Left(10)}
    take_claimless(claimless(None, ASKED._replace(claim_id=None), 11), left, Outcome())
    assert left == {"claim:10": Left(10)}


def test_nobodys_claim_goes_with_all_that_was_left_of_it() -> None:
    left: LeftBehind = {"claim:10": Left(5, False, {}, {"100": PENDING})}
    outcome = Outcome()
    take_claimless(claimless(CLAIM, None, 9), left, outcome)
    assert left == outcome.left == {"claim:10": Left(9)}


def test_of_more_requirements_of_a_claim_that_nobody_has_than_are_kept_none_are_and_who_gets_it_is_read_live() -> None:
    left: LeftBehind = {}
    for number in range(MOST):
        take_claimless(claimless(None, ASKED._replace(id=str(number)), number + 1), left, Outcome())
    assert (len(left["claim:10"].requirements), left["claim:10"].whole) == (MOST, True)
    outcome = Outcome()
    take_claimless(claimless(None, ASKED._replace(id=str(MOST)), MOST + 1), left, outcome)
    assert left == outcome.left == {"claim:10": Left(MOST + 1, whole=False)}
    take_claimless(claimless(None, ASKED._replace(id="again"), MOST + 2), left, Outcome())
    taker = Lead(2, exists=True, signature="s", version=3)
    assert after(comes(MOST + 3), taker, left).rechecks == {2: INCOMPLETE}
