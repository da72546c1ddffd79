"""Orphans: changes whose user the reader could not tell, in the lane that can. And leads that PostgreSQL refused."""

from __future__ import annotations

from consumer.applier.batches import Batch, LaneBatch
from consumer.applier.replay import decide
from consumer.lane import lane_of
from consumer.leads.left_behind import LeftBehind, of_user
from consumer.leads.model import (
    NEVER,
    Change,
    Claim,
    ClaimRow,
    ConversionType,
    Key,
    Lead,
    Left,
    QueueType,
    Requirement,
    RequirementRow,
    Row,
    Rule,
    Table,
    Ties,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules
from consumer.stream.envelope import NOBODY

LANES = 3
USER = 8911
RULES = Rules()
OWED = RequirementRow("100", "10", "id", "requested", None)
APPROVED = OWED._replace(status="approved")
CLAIM = ClaimRow("10", USER, "open")
TABLES = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}


def owing() -> Lead:
    """A customer who signed and owes one document."""
    return Lead(
        USER,
        exists=True,
        signature="s1",
        stint=1,
        queue_type=QueueType.REQUIREMENTS_OUTSTANDING,
        rule=Rule.REQUIREMENT_OUTSTANDING,
        outstanding_seen=frozenset({"100"}),
        claims={"10": Claim("10", "open", 1)},
        requirements={"100": Requirement("100", "10", "id", "requested", None, 1)},
    )


def change(version: int, before: Row | None, after: Row | None, user_id: int = USER, *, last: bool = True) -> Change:
    return Change(user_id, TABLES[type(after or before)], before, after, version, version, last)


def orphan(version: int, before: Row | None, after: Row | None) -> Change:
    return change(version, before, after, NOBODY)


def outcome_of(lane: int, owners: list[tuple[Key, int]], *changes: Change) -> Outcome:
    user_ids = frozenset(one.user_id for one in changes if one.user_id != NOBODY)
    version = changes[-1].version
    part = LaneBatch(lane, 1, 1, 1 + len(changes), 0, version, {}, list(changes), user_ids, True, 0, (), {})
    leads = {USER: owing()} if owners or user_ids else {}
    return decide(Batch(1, [part], len(changes)), leads, (), owners, lanes=LANES, rules=RULES)


def test_an_orphan_is_judged_in_its_place_before_its_claim_goes() -> None:
    outcome = outcome_of(
        lane_of(USER, LANES),
        [("10", USER)],
        orphan(20, OWED, APPROVED),
        change(30, CLAIM, None),
        orphan(40, APPROVED, OWED),
    )
    (conversion,) = outcome.conversions
    assert conversion.conversion_type is ConversionType.REQUIREMENTS_COMPLETED
    assert conversion.converted_at == 20
    assert outcome.stints[USER, 2].closed_at is None
    assert outcome.skipped == {"orphan of another lane": 1}


def test_an_orphan_of_a_claim_that_moved_already_in_another_lane_is_judged_where_the_claim_still_is() -> None:
    owners = [("10", USER), *(("10", other) for other in range(20) if lane_of(other, LANES) != lane_of(USER, LANES))]
    outcome = outcome_of(lane_of(USER, LANES), owners, orphan(20, OWED, APPROVED), change(30, CLAIM, None))
    assert [conversion.converted_at for conversion in outcome.conversions] == [20]


def test_an_orphan_of_another_lane_is_passed_over_and_still_ends_its_transaction() -> None:
    lane = (lane_of(USER, LANES) + 1) % LANES
    outcome = outcome_of(lane, [("10", USER)], orphan(20, OWED, APPROVED))
    assert not outcome.leads
    assert not outcome.conversions
    assert outcome.skipped == {"orphan of another lane": 1}


def test_a_claim_created_earlier_in_the_batch_leads_to_its_user() -> None:
    created = change(20, None, ClaimRow("11", USER, "open"))
    outcome = outcome_of(lane_of(USER, LANES), [], created, orphan(30, None, OWED._replace(id="101", claim_id="11")))
    assert outcome.requirements == {(USER, "101")}


def test_a_deleted_customers_claims_lead_nowhere() -> None:
    deleted = change(20, UserRow(USER, "s1", True), None)
    outcome = outcome_of(lane_of(USER, LANES), [("10", USER)], deleted, orphan(30, OWED, APPROVED))
    assert not outcome.conversions
    assert outcome.skipped == {"orphan of another lane": 1}


def moved_to(new: int, left: LeftBehind, *changes: Change) -> Outcome:
    """What comes of changes behind that of a customer's id, which the claims follow."""
    lane = lane_of(USER, LANES)
    comes = change(20, None, UserRow(new, "s1", True), new)._replace(ties=Ties(was=USER))
    every = [*changes[:-1], comes, changes[-1]]
    user_ids = frozenset(one.user_id for one in every if one.user_id != NOBODY)
    part = LaneBatch(lane, 1, 1, 1 + len(every), 0, every[-1].version, {}, every, user_ids, True, 0, (), {})
    leads = {user_id: owing() for user_id in user_ids if user_id == USER}
    owners = [("10", USER)] if leads else []
    return decide(Batch(1, [part], len(every)), leads, (), owners, lanes=LANES, rules=RULES, left=left)


NEW = next(other for other in range(1, 100) if lane_of(other, LANES) == lane_of(USER, LANES))


def test_the_claims_of_a_customer_whose_id_changes_in_the_batch_lead_to_the_new_id() -> None:
    goes = change(20, UserRow(USER, "s1", True), None, last=False)._replace(ties=Ties(leaves=True))
    outcome = moved_to(NEW, {}, goes, orphan(30, OWED, APPROVED))
    assert [(one.user_id, one.converted_at) for one in outcome.conversions] == [(NEW, 30)]


def test_the_claims_that_were_left_for_an_id_lead_to_the_customer_who_comes_with_it() -> None:
    held = owing()
    left = {of_user(USER): Left(15, True, held.claims, held.requirements)}
    outcome = moved_to(NEW, left, orphan(30, OWED, APPROVED))
    assert [(one.user_id, one.converted_at) for one in outcome.conversions] == [(NEW, 30)]


def test_a_customer_whose_id_changes_and_for_whom_nothing_was_left_brings_no_claim() -> None:
    outcome = moved_to(NEW, {}, orphan(30, OWED, APPROVED))
    assert not outcome.conversions
    assert outcome.skipped == {"orphan of another lane": 1}


def test_orphans_find_their_leads_between_changes_of_all_kinds() -> None:
    signed = UserRow(USER, "s1", True)
    other = ClaimRow("11", USER, "open")
    outcome = outcome_of(
        lane_of(USER, LANES),
        [("10", USER)],
        change(12, signed, signed),
        change(14, None, RequirementRow("101", "11", "id", "approved", None)),
        change(16, other, None),
        orphan(20, OWED, APPROVED),
    )
    assert [conversion.converted_at for conversion in outcome.conversions] == [20]


def test_every_orphan_of_another_lane_is_counted() -> None:
    lane = (lane_of(USER, LANES) + 1) % LANES
    outcome = outcome_of(lane, [("10", USER)], orphan(20, OWED, APPROVED), orphan(30, APPROVED, OWED))
    assert outcome.skipped == {"orphan of another lane": 2}


def test_a_refused_lead_takes_its_changes_and_is_not_judged() -> None:
    lane = lane_of(USER, LANES)
    changes = [change(20, OWED, APPROVED)]
    part = LaneBatch(lane, 1, 1, 2, 0, 20, {}, changes, frozenset({USER}), False, 0, (), {5: "a letter"})
    outcome = decide(
        Batch(1, [part], 1), {USER: owing()}, (), (), lanes=LANES, rules=RULES, refused={USER: "it was refused"}
    )
    lead = outcome.leads[USER]
    assert (lead.judge_after, lead.requirements["100"].status) == (NEVER, "approved")
    assert not outcome.conversions
    assert not outcome.stints
    assert outcome.rechecks == {USER: "it was refused", 5: "a letter"}


def test_a_refused_lead_that_only_waited_to_be_judged_is_not_judged_either() -> None:
    waiting = owing()
    waiting.judge_after, waiting.changed_at = 10, 5
    waiting.requirements["100"].status = "approved"
    part = LaneBatch(lane_of(USER, LANES), 1, 1, 1, 15, 15, {}, [], frozenset(), False, 0, (), {})
    leads = {USER: waiting}
    outcome = decide(Batch(1, [part], 0), leads, (USER,), (), lanes=LANES, rules=RULES, refused={USER: "refused"})
    assert outcome.leads[USER].judge_after == NEVER
    assert not outcome.conversions


def test_a_refused_user_of_whom_nothing_is_held_stays_set_aside_when_its_row_arrives() -> None:
    part = LaneBatch(
        lane_of(USER, LANES), 1, 1, 2, 0, 20, {}, [change(20, None, UserRow(USER, None, True))], frozenset({USER}),
        False, 0, (), {},
    )  # fmt: skip
    outcome = decide(Batch(1, [part], 1), {}, (), (), lanes=LANES, rules=RULES, refused={USER: "refused"})
    lead = outcome.leads[USER]
    assert (lead.user_id, lead.exists, lead.judge_after, lead.stint) == (USER, True, NEVER, 0)
    assert not outcome.stints


def test_an_orphans_lead_that_was_loaded_for_it_is_judged_although_nothing_else_names_it() -> None:
    outcome = outcome_of(lane_of(USER, LANES), [("10", USER)], orphan(20, OWED, APPROVED))
    assert [conversion.user_id for conversion in outcome.conversions] == [USER]
    assert outcome.stints[USER, 1].closed_at == 20


def test_a_customer_whose_message_had_no_place_is_not_judged_until_a_live_read() -> None:
    lane = lane_of(USER, LANES)
    changes = [change(20, OWED, APPROVED)]
    part = LaneBatch(
        lane, 1, 1, 2, 0, 20, {}, changes, frozenset({USER}), False, 0, (), {USER: "x"}, unplaced={USER: "x", 5: "x"}
    )
    assert Batch(1, [part], 1).user_ids == {USER, 5}
    outcome = decide(Batch(1, [part], 1), {USER: owing()}, (), (), lanes=LANES, rules=RULES)
    assert outcome.leads[USER].judge_after == NEVER
    assert not outcome.conversions
    assert 5 not in outcome.leads, "of a customer whom we do not hold nothing has to be held back"


def test_who_has_a_message_of_unknown_place_is_read_live_with_all_that_the_batch_brought() -> None:
    lane = lane_of(USER, LANES)
    signed = change(20, UserRow(USER, "s1", True), UserRow(USER, "s2", True))
    part = LaneBatch(
        lane, 1, 1, 3, 0, 25, {}, [signed], frozenset({USER}), False, 0, (), {}, unplaced={USER: "its place is unknown"}
    )
    lead = owing()
    lead.read_floor, lead.changed_at = 7, 8
    outcome = decide(Batch(1, [part], 2), {USER: lead}, (), [], lanes=LANES, rules=RULES)
    assert (lead.judge_after, lead.read_floor, lead.changed_at) == (NEVER, 25, 25)
    assert set(outcome.leads) == {USER}
    assert outcome.conversions == []
    assert outcome.stints == {}
