"""A replay at its seams: who is due when, whom missed rows hold back, what ties and older rules come to."""

from __future__ import annotations

import pytest

from consumer.leads.ledger import replay
from consumer.leads.left_behind import CAME_EARLIER, INCOMPLETE, LeftBehind, of_claim, of_gone
from consumer.leads.model import (
    NEVER,
    Change,
    Claim,
    ClaimRow,
    Lead,
    Left,
    QueueType,
    Reason,
    Requirement,
    RequirementRow,
    Row,
    Rule,
    Stint,
    Table,
    Ties,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules

TABLES = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}
LANE = 10
"""Where the lane stands when a scene begins."""
MISSED = "columns without names"
MET = "met in the stream before anything was known of it"


def change(at: int, user_id: int, before: Row | None, after: Row | None, *, last: bool = True) -> Change:
    return Change(user_id, TABLES[type(after or before)], before, after, at, at, last)


def asked(user_id: int, status: str = "pending") -> RequirementRow:
    return RequirementRow(f"{user_id}00", f"{user_id}0", "payslip", status, None)


def handed_in(at: int, user_id: int = 1, *, last: bool = True) -> Change:
    return change(at, user_id, asked(user_id), asked(user_id, "approved"), last=last)


def sent_back(at: int, user_id: int = 1) -> Change:
    return change(at, user_id, asked(user_id, "approved"), asked(user_id))


def comes(at: int, user_id: int, *, status: str = "open", ties: Ties | None = None) -> Change:
    """The user's claim."""
    return change(at, user_id, None, ClaimRow(f"{user_id}0", user_id, status))._replace(ties=ties)


def beat(at: int) -> Change:
    return Change(-1, None, None, None, at, at, last=True)


def notice(at: int, *, last: bool = True) -> Change:
    """Rows were missed that are not known, whoever in the lane they belong to."""
    return Change(-1, None, None, None, at, at, last, recheck=MISSED)


def unread(at: int, user_id: int = 1, reason: str | None = "no such column", *, last: bool = True) -> Change:
    return Change(user_id, Table.USERS, None, None, at, at, last, recheck=reason)


def owing(*user_ids: int, **more: object) -> dict[int, Lead]:
    """Customers who signed and owe one document each, first seen at 5."""
    leads: dict[int, Lead] = {}
    for user_id in user_ids:
        rows: list[Row] = [UserRow(user_id, "s", True), ClaimRow(f"{user_id}0", user_id, "open"), asked(user_id)]
        replay([change(5, user_id, None, row, last=row is rows[-1]) for row in rows], leads, 0, Rules(), Outcome())
        for name, value in more.items():
            setattr(leads[user_id], name, value)
    return leads


def content(user_id: int = 2, **more: object) -> Lead:
    """A customer who signed and has no claim."""
    lead = Lead(user_id, True, True, "s", 5, changed_at=5, stint=1, queue_type=QueueType.NONE, opened_at=5)
    lead.rule = Rule.NOTHING_OWED
    for name, value in more.items():
        setattr(lead, name, value)
    return lead


def waiting(**until: int) -> dict[int, Lead]:
    """Customers (`u1=20`) who handed in at 15 what they owe, and wait to be judged until their lane has passed that."""
    leads = owing(*(int(name[1:]) for name in until))
    for lead, version in zip(leads.values(), until.values(), strict=True):
        lead.judge_after = version
        assert run([handed_in(15, lead.user_id)], leads).conversions == []
    return leads


def run(
    changes: list[Change],
    leads: dict[int, Lead],
    *,
    lane: int = LANE,
    rules: Rules | None = None,
    left: LeftBehind | None = None,
) -> Outcome:
    outcome = Outcome()
    replay(changes, leads, lane, rules or Rules(), outcome, (), left)
    return outcome


def paid(outcome: Outcome) -> list[int]:
    return [conversion.user_id for conversion in outcome.conversions]


def newer(file: RuleFile, at: int = 1000) -> Rules:
    """Rules adopted later than any lane here has come to, unless `at` says otherwise."""
    return Rules(file, version=2, adopted_at=at, earlier={1: Rules()})


class TestWhenAWaitingLeadIsDue:
    @pytest.mark.parametrize("until", [{"u1": 20, "u2": 30}, {"u2": 20, "u1": 30}])
    def test_each_is_judged_when_the_lane_has_passed_its_own_version(self, until: dict[str, int]) -> None:
        leads = waiting(**until)
        first, second = leads
        assert paid(run([beat(19)], leads, lane=15)) == []
        assert paid(run([beat(25)], leads, lane=19)) == [first]
        assert paid(run([beat(30)], leads, lane=25)) == [second]

    def test_those_that_are_due_at_once_are_judged_in_the_order_of_what_they_waited_for(self) -> None:
        assert paid(run([beat(40)], waiting(u1=30, u2=20, u3=30), lane=15)) == [2, 1, 3]

    def test_one_whose_number_is_above_every_version_is_judged_in_its_turn(self) -> None:
        leads = waiting(u1=20, u1000=30)
        assert paid(run([beat(25), beat(35), beat(36)], leads, lane=15)) == [1, 1000]

    def test_the_very_next_version_is_not_in_what_it_is_judged_by(self) -> None:
        leads = waiting(u1=20)
        assert paid(run([sent_back(21)], leads, lane=15)) == [1]
        assert leads[1].queue_type is QueueType.REQUIREMENTS_OUTSTANDING

    def test_the_version_itself_is(self) -> None:
        leads = waiting(u1=20, u2=25)
        assert paid(run([sent_back(25, 2)], leads, lane=15)) == [1]

    def test_and_a_change_shortly_before_is(self) -> None:
        leads = waiting(u1=20, u2=25)
        assert paid(run([sent_back(24, 2), beat(25)], leads, lane=15)) == [1]

    def test_a_lead_whose_changes_end_inside_a_transaction_waits_for_the_transaction(self) -> None:
        leads, outcome = owing(1), Outcome()
        assert replay([handed_in(20, last=False)], leads, LANE, Rules(), outcome) == LANE
        assert (paid(outcome), leads[1].judge_after) == ([], 20)
        assert replay([beat(20)], leads, LANE, Rules(), outcome) == 20
        assert (paid(outcome), leads[1].judge_after) == ([1], None)

    def test_one_that_waits_for_more_already_waits_for_that(self) -> None:
        leads = owing(1, judge_after=30)
        run([handed_in(20, last=False)], leads)
        assert leads[1].judge_after == 30


class TestOlderRules:
    @pytest.mark.parametrize(
        ("changes", "lane", "at"),
        [
            pytest.param([beat(30)], LANE, LANE, id="where the lane stands"),
            pytest.param([beat(30)], 0, 30, id="a lane that begins: at its first change"),
            pytest.param([], 0, 1000, id="no stream: when the rules were adopted"),
        ],
    )
    def test_a_lead_is_brought_to_newer_rules_no_later_than_its_lane_has_come_to(
        self, changes: list[Change], lane: int, at: int
    ) -> None:
        outcome = run(changes, owing(1), lane=lane, rules=newer(RuleFile(settled=("approved", "pending"))))
        assert outcome.stints[1, 2] == Stint(1, 2, QueueType.NONE, at, Reason.RULES_CHANGED)

    def test_so_is_one_that_waited_after_it_was_judged_by_its_own(self) -> None:
        outcome = run([beat(20)], waiting(u1=20), lane=15, rules=newer(RuleFile(settled=("waived",))))
        assert outcome.stints[1, 1].closed_reason is Reason.REQUIREMENTS_COMPLETED
        assert outcome.stints[1, 3] == Stint(1, 3, QueueType.REQUIREMENTS_OUTSTANDING, 20, Reason.RULES_CHANGED)

    def test_so_is_a_user_who_is_inserted_after_a_live_read_found_none_and_another_was_asked_for(self) -> None:
        nobody = Lead(1, judge_after=NEVER, stint=1, queue_type=QueueType.NONE, rule=Rule.USER_GONE, opened_at=5)
        rows: list[Row] = [UserRow(1, "s", True), ClaimRow("10", 1, "open"), asked(1)]
        changes = [change(20, 1, None, row, last=row is rows[-1]) for row in rows]
        outcome = run(changes, {1: nobody}, rules=newer(RuleFile(settled=("approved", "pending"))))
        owed, over = outcome.stints[1, 2], outcome.stints[1, 3]
        assert (owed.queue_type, owed.opened_at) == (QueueType.REQUIREMENTS_OUTSTANDING, 20)
        assert owed.opened_reason is Reason.USER_RETURNED
        assert over == Stint(1, 3, QueueType.NONE, 21, Reason.RULES_CHANGED)  # after the stint before opened


class TestMissedRows:
    """Whom a notice holds back, with what reason, and which live reads are too old for them afterwards."""

    def held(self, leads: dict[int, Lead], outcome: Outcome) -> None:
        """User 1 waits for a live read that holds version 20, which is when what was missed happened at the latest."""
        lead = leads[1]
        assert (lead.judge_after, lead.read_floor, lead.changed_at) == (NEVER, 19, 20)
        assert outcome.rechecks == {1: MISSED}
        assert outcome.leads[1] is lead
        assert outcome.conversions == []

    def test_who_changed_before_it_in_its_transaction(self) -> None:
        leads = owing(1, 2)
        self.held(leads, run([handed_in(20, last=False), notice(20)], leads))

    def test_who_changes_after_it_in_its_transaction(self) -> None:
        leads = owing(1, 2)
        self.held(leads, run([notice(20, last=False), handed_in(20)], leads))

    def test_who_changed_before_it_in_another_replay(self) -> None:
        leads = owing(1, 2)
        run([handed_in(20, last=False)], leads)
        self.held(leads, run([notice(20)], leads))

    def test_everyone_where_the_replay_ends_before_its_transaction_does(self) -> None:
        leads, outcome = owing(1), Outcome()
        assert replay([notice(20, last=False)], leads, LANE, Rules(), outcome) == LANE
        self.held(leads, outcome)

    def test_who_was_cut_short_by_it(self) -> None:
        leads = owing(1)
        run([handed_in(15, last=False)], leads)
        self.held(leads, run([notice(20)], leads))

    def test_nobody_who_changes_in_the_next_transaction(self) -> None:
        leads = owing(1)
        outcome = run([notice(20, last=False), beat(20), handed_in(21)], leads)
        assert (paid(outcome), outcome.rechecks) == ([1], {})

    def test_nobody_who_was_judged_before_even_where_the_lane_begins_with_it(self) -> None:
        outcome = run([notice(20)], owing(1), lane=0)
        assert (outcome.rechecks, outcome.leads) == ({}, {})

    def test_nobody_after_one_of_a_transaction_that_the_lane_has_finished(self) -> None:
        leads = owing(1)
        outcome = run([notice(LANE, last=False), handed_in(20)], leads)
        assert (paid(outcome), outcome.rechecks) == ([1], {})

    def test_who_waits_for_a_live_read_already_for_one_from_before_would_lack_what_was_missed(self) -> None:
        leads = owing(1, judge_after=NEVER)
        self.held(leads, run([notice(20)], leads))

    def test_who_came_to_wait_for_one_in_the_same_replay(self) -> None:
        leads: dict[int, Lead] = {}
        self.held(leads, run([comes(15, 1), notice(20)], leads))

    def test_not_who_comes_to_wait_for_one_behind_it(self) -> None:
        leads: dict[int, Lead] = {}
        outcome = run([notice(20), comes(25, 1)], leads)
        assert (leads[1].read_floor, outcome.rechecks) == (0, {1: MET})

    def test_of_several_misses_in_a_transaction_the_last_is_told(self) -> None:
        outcome = run([notice(20, last=False), unread(20)], owing(1))
        assert outcome.rechecks == {1: "no such column"}
        outcome = run([unread(20, last=False), notice(20)], owing(1))
        assert outcome.rechecks == {1: MISSED}

    def test_a_row_that_could_not_be_read_for_no_reason_given_is_told_of_all_the_same(self) -> None:
        leads = owing(1)
        assert run([unread(20, reason=None)], leads).rechecks == {1: "a change could not be read"}
        assert (leads[1].judge_after, leads[1].read_floor, leads[1].changed_at) == (NEVER, 19, 20)


class TestTooLittleKnown:
    def test_who_is_met_by_anything_but_an_insert_is_told_of_as_met(self) -> None:
        leads: dict[int, Lead] = {}
        outcome = run([comes(20, 2)], leads)
        assert (leads[2].judge_after, outcome.rechecks) == (NEVER, {2: MET})
        assert outcome.leads == leads

    def test_who_is_inserted_after_a_claim_came_is_known_whole(self) -> None:
        leads: dict[int, Lead] = {}
        run([comes(20, 2)], leads)
        outcome = run([change(30, 2, None, UserRow(2, "s", True))], leads, lane=20)
        assert outcome.stints[2, 1] == Stint(2, 1, QueueType.NONE, 30, Reason.FIRST_SEEN)

    def test_not_where_the_claim_moved_in_from_nobody_knows_where(self) -> None:
        leads: dict[int, Lead] = {}
        outcome = run([comes(20, 2)._replace(moved=True)], leads)
        assert outcome.rechecks == {2: "user or claim moved in"}
        outcome = run([change(30, 2, None, UserRow(2, "s", True))], leads, lane=20)
        assert (leads[2].judge_after, leads[2].signature, outcome.stints) == (NEVER, "s", {})

    def test_nor_where_what_the_claim_left_is_not_whole(self) -> None:
        leads: dict[int, Lead] = {}
        outcome = run([comes(20, 2)], leads, left={of_claim("20"): Left(9, whole=False)})
        assert outcome.rechecks == {2: INCOMPLETE}
        outcome = run([change(30, 2, None, UserRow(2, "s", True))], leads, lane=20)
        assert (leads[2].judge_after, leads[2].signature, outcome.stints) == (NEVER, "s", {})

    def test_a_users_row_of_the_first_version_there_is_still_counts_behind_such_a_claim(self) -> None:
        leads: dict[int, Lead] = {}
        run([comes(1, 2)._replace(moved=True, last=False), change(1, 2, None, UserRow(2, "s", True))], leads, lane=0)
        assert (leads[2].exists, leads[2].judge_after) == (True, NEVER)


class TestTies:
    PENDING = Requirement("200", "20", "payslip", "pending", None, 7)

    def test_whom_a_row_likely_belongs_to_is_met_where_unknown_and_without_its_row(self) -> None:
        leads: dict[int, Lead] = {}
        outcome = run([handed_in(20, 2)._replace(ties=Ties(likely=True))], leads)
        assert leads == {2: Lead(2, judge_after=NEVER)}
        assert (outcome.rechecks, outcome.leads) == ({2: MET}, leads)

    def test_and_left_alone_where_known(self) -> None:
        leads = owing(1)
        outcome = run([handed_in(20)._replace(ties=Ties(likely=True))], leads)
        assert (leads, outcome) == (owing(1), Outcome())

    def test_requirements_of_nobodys_claim_are_kept_though_nothing_had_been_left(self) -> None:
        orphan = change(20, -1, None, asked(2))._replace(ties=Ties(claimless=True))
        leads: dict[int, Lead] = {}
        assert run([orphan], leads).left["claim:20"].requirements.keys() == {"200"}
        assert leads == {}

    def test_a_claim_takes_over_what_was_left_of_it_and_its_lead_is_judged_by_that(self) -> None:
        leads = {2: content()}
        outcome = run([comes(20, 2)], leads, left={of_claim("20"): Left(9, requirements={"200": self.PENDING})})
        assert outcome.stints[2, 2] == Stint(2, 2, QueueType.REQUIREMENTS_OUTSTANDING, 20, Reason.REQUIREMENT_ADDED)
        assert outcome.leads == leads

    def test_even_one_that_was_held_already(self) -> None:
        leads = {2: content(claims={"20": Claim("20", "open", 5)})}
        outcome = run([comes(20, 2)], leads, left={of_claim("20"): Left(9, requirements={"200": self.PENDING})})
        assert outcome.stints[2, 2] == Stint(2, 2, QueueType.REQUIREMENTS_OUTSTANDING, 20, Reason.REQUIREMENT_ADDED)
        assert outcome.leads == leads

    def test_so_does_that_of_a_lead_that_waits(self) -> None:
        leads = {2: content(judge_after=30)}
        outcome = run([comes(20, 2)], leads, left={of_claim("20"): Left(9, requirements={"200": self.PENDING})})
        assert leads[2].requirements == {"200": self.PENDING}
        assert (outcome.stints, outcome.leads) == ({}, leads)

    def test_a_claim_of_which_nothing_was_left_is_judged_by_itself_where_others_left_something(self) -> None:
        leads = {2: content()}
        outcome = run([comes(20, 2, status="cancelled")], leads, left={of_claim("30"): Left(9, whole=False)})
        assert leads[2].rule is Rule.CLAIMS_CLOSED
        assert outcome.rechecks == {}

    @pytest.mark.parametrize("sure", [True, False])
    def test_a_claim_that_came_after_its_requirements_is_judged_and_read_live_where_they_may_not_be_all(
        self, sure: bool
    ) -> None:
        leads = {2: content()}
        outcome = run([comes(20, 2, status="cancelled", ties=Ties(sure=sure))], leads)
        assert outcome.rechecks == ({} if sure else {2: CAME_EARLIER})
        assert (leads[2].rule, leads[2].judge_after) == (Rule.CLAIMS_CLOSED, None)

    def test_a_weightier_reason_to_read_it_live_stands(self) -> None:
        leads = {2: content()}
        outcome = run([comes(20, 2, ties=Ties(sure=False))._replace(moved=True)], leads)
        assert outcome.rechecks == {2: "user or claim moved in"}

    def test_a_requirement_takes_nothing_over(self) -> None:
        leads, left = owing(1), {of_gone(1): Left(9, whole=False)}
        outcome = run([change(20, 1, None, RequirementRow("101", "10", "passport", "pending", None))], leads, left=left)
        assert (outcome.rechecks, outcome.left) == ({}, {})
        assert left == {of_gone(1): Left(9, whole=False)}
        assert (leads[1].judge_after, sorted(leads[1].outstanding_seen)) == (None, ["100", "101"])


@pytest.mark.parametrize("blind", [True, False])
def test_who_waited_for_no_more_than_the_lane_has_passed_is_judged_before_a_notice_holds_anybody_back(
    blind: bool,
) -> None:
    leads = owing(1, judge_after=LANE - 2, changed_at=LANE - 3)
    leads[1].requirements["100"].status = "approved"
    outcome = run([notice(20)._replace(moved=blind)], leads)
    assert [(one.user_id, one.converted_at) for one in outcome.conversions] == [(1, LANE - 3)]
    assert (leads[1].judge_after == NEVER, outcome.rechecks == {1: MISSED}) == (blind, blind)
