"""Design, section 3, from "A stint is one stay" on, and `judge_after` of section 4: what the stream brings about."""

from __future__ import annotations

from itertools import pairwise

import pytest

from consumer.leads.model import (
    NEVER,
    Change,
    ConversionType,
    Lead,
    QueueType,
    Reason,
    Rule,
    Stint,
    Table,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import Exclusion, RuleFile
from consumer.leads.rules import Rules
from tests.unit.leads.company import MINUTE, SECOND, START, Company
from tests.unit.leads.memory_store import MemoryStore

UNSIGNED, OUTSTANDING, NONE = QueueType.UNSIGNED_USERS, QueueType.REQUIREMENTS_OUTSTANDING, QueueType.NONE


class CompanyAndStore:
    """A company and its books, kept in step: every transaction arrives at once."""

    def __init__(self) -> None:
        self.company = Company()
        self.books = MemoryStore()
        self._taken = 0

    def catch_up(self) -> Outcome:
        """What the company did since the last time."""
        changes = self.company.stream[self._taken :]
        self._taken = len(self.company.stream)
        return self.books.replay(changes)

    @property
    def stints(self) -> list[Stint]:
        """Those of user 1."""
        return self.books.stints_of(1)

    @property
    def reasons(self) -> list[Reason | None]:
        """Why each stint of user 1 was opened."""
        return [stint.opened_reason for stint in self.stints]

    @property
    def conversions(self) -> list[tuple[int, ConversionType]]:
        """Those of user 1: stint and type."""
        return [(stint, conversion.conversion_type) for (_, stint), conversion in self.books.conversions.items()]


@pytest.fixture
def world() -> CompanyAndStore:
    return CompanyAndStore()


def unsigned(world: CompanyAndStore) -> None:
    """User 1 with an open claim and one document outstanding, unsigned."""
    with world.company.transaction():
        world.company.user(1)
        world.company.claim(11, 1)
        world.company.requirement(101, 11)
    world.catch_up()


def owing(world: CompanyAndStore) -> None:
    """User 1 with an open claim and one document outstanding, signed from the start."""
    with world.company.transaction():
        world.company.user(1, "file-1")
        world.company.claim(11, 1)
        world.company.requirement(101, 11)
    world.catch_up()


def content(world: CompanyAndStore) -> None:
    """User 1, signed, with an open claim and nothing outstanding, from the start."""
    with world.company.transaction():
        world.company.user(1, "file-1")
        world.company.claim(11, 1)
    world.catch_up()


class TestStints:
    def test_first_sight_of_a_new_user_opens_stint_1_where_the_state_belongs(self, world: CompanyAndStore) -> None:
        unsigned(world)
        at = world.company.now
        assert world.stints == [Stint(1, 1, UNSIGNED, at, Reason.FIRST_SEEN)]

    def test_first_sight_never_converts(self, world: CompanyAndStore) -> None:
        content(world)
        assert world.stints[0].queue_type is NONE
        assert world.conversions == []

    def test_no_queue_is_a_stint_too(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1, enabled=False)
        world.catch_up()
        assert [(stint.number, stint.queue_type, stint.closed_at) for stint in world.stints] == [(1, NONE, None)]

    def test_each_stint_opens_when_and_why_the_one_before_it_closes_and_one_is_open(
        self, world: CompanyAndStore
    ) -> None:
        unsigned(world)
        for signature in ("file-1", None, "file-2"):
            with world.company.transaction():
                world.company.user(1, signature)
            world.catch_up()
        stints = world.stints
        assert [stint.number for stint in stints] == [1, 2, 3, 4]
        for before, after in pairwise(stints):
            assert (before.closed_at, before.closed_reason) == (after.opened_at, after.opened_reason)
        assert [stint.closed_at is None for stint in stints] == [False, False, False, True]

    def test_stints_and_conversions_carry_the_commit_time_not_the_time_they_were_noticed(
        self, world: CompanyAndStore
    ) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        signed_at = world.company.now
        world.company.heartbeat(after=1000 * SECOND)
        world.catch_up()
        assert world.stints[0].closed_at == world.stints[1].opened_at == signed_at
        assert world.books.conversions[1, 1].converted_at == signed_at

    def test_a_change_that_leaves_the_queue_as_it_is_opens_nothing(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(102, 11)
        outcome = world.catch_up()
        assert len(world.stints) == 1
        assert not outcome.stints
        assert not outcome.queue_changes

    def test_a_row_whose_captured_columns_stay_the_same_writes_nothing(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        assert world.catch_up() == Outcome()

    def test_a_closed_stint_opened_earlier_is_written_without_its_opening_reason(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        outcome = world.catch_up()
        assert outcome.stints[1, 1].opened_reason is None
        assert outcome.stints[1, 2].opened_reason is Reason.SIGNATURE_OBTAINED

    def test_the_rule_that_keeps_a_lead_in_its_queue_is_kept_up_to_date(self, world: CompanyAndStore) -> None:
        content(world)
        with world.company.transaction():
            world.company.claim(11, 1, "cancelled")
        outcome = world.catch_up()
        assert world.books.leads[1].rule is Rule.CLAIMS_CLOSED
        assert not outcome.stints


class TestReasons:
    def test_user_deleted(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.delete_user(1)
        world.catch_up()
        assert world.reasons[1:] == [Reason.USER_DELETED]
        assert world.conversions == []

    def test_user_disabled_even_when_signing_in_the_same_moment(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1", enabled=False)
        world.catch_up()
        assert world.reasons[1:] == [Reason.USER_DISABLED]
        assert world.conversions == []

    def test_claims_closed_even_when_the_last_document_is_approved_in_the_same_moment(
        self, world: CompanyAndStore
    ) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
            world.company.claim(11, 1, "cancelled")
        world.catch_up()
        assert world.reasons[1:] == [Reason.CLAIMS_CLOSED]
        assert world.conversions == []

    def test_signature_removed_even_when_the_last_document_is_approved_in_the_same_moment(
        self, world: CompanyAndStore
    ) -> None:
        owing(world)
        with world.company.transaction():
            world.company.user(1, None)
            world.company.requirement(101, 11, "approved")
        world.catch_up()
        assert world.reasons[1:] == [Reason.SIGNATURE_REMOVED]
        assert world.stints[1].queue_type is UNSIGNED
        assert world.conversions == []

    def test_signature_obtained_into_requirements_outstanding(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.catch_up()
        assert world.reasons[1:] == [Reason.SIGNATURE_OBTAINED]
        assert world.stints[1].queue_type is OUTSTANDING
        assert world.conversions == [(1, ConversionType.SIGNATURE_OBTAINED)]
        conversion = world.books.conversions[1, 1]
        assert (conversion.previous_queue_type, conversion.signature) == (UNSIGNED, "file-1")
        assert (world.stints[0].conversion_type, world.stints[0].signature) == (
            ConversionType.SIGNATURE_OBTAINED,
            "file-1",
        )

    def test_signature_obtained_into_no_queue(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.catch_up()
        assert [stint.queue_type for stint in world.stints] == [UNSIGNED, NONE]
        assert world.conversions == [(1, ConversionType.SIGNATURE_OBTAINED)]

    def test_requirements_completed(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_COMPLETED]
        assert world.stints[1].queue_type is NONE
        conversion = world.books.conversions[1, 1]
        assert conversion.conversion_type is ConversionType.REQUIREMENTS_COMPLETED
        assert (conversion.previous_queue_type, conversion.requirements) == (OUTSTANDING, ("101",))

    def test_requirements_completed_by_one_settled_although_the_last_one_was_withdrawn(
        self, world: CompanyAndStore
    ) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(102, 11)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
        with world.company.transaction():
            world.company.delete_requirement(102)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_COMPLETED]
        assert world.books.conversions[1, 1].requirements == ("101",)

    def test_requirements_completed_names_every_requirement_settled_in_the_stint_and_no_other(
        self, world: CompanyAndStore
    ) -> None:
        with world.company.transaction():
            world.company.user(1, "file-1")
            world.company.claim(11, 1)
            world.company.requirement(104, 11, "approved")
            for id_ in (103, 101, 102):
                world.company.requirement(id_, 11)
        for id_ in (102, 101, 103):
            with world.company.transaction():
                world.company.requirement(id_, 11, "approved")
        world.catch_up()
        assert world.books.conversions[1, 1].requirements == ("101", "102", "103")

    def test_requirements_withdrawn_when_it_is_deleted(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.delete_requirement(101)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]
        assert world.conversions == []

    def test_requirements_withdrawn_when_its_claim_is_closed_and_another_is_open(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.claim(12, 1)
            world.company.claim(11, 1, "cancelled")
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]

    def test_requirements_withdrawn_when_it_is_settled_on_a_closed_claim(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.claim(12, 1)
            world.company.requirement(101, 11, "approved")
            world.company.claim(11, 1, "cancelled")
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]
        assert world.conversions == []

    def test_requirements_withdrawn_when_what_is_settled_now_was_settled_before_the_stint(
        self, world: CompanyAndStore
    ) -> None:
        content(world)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
        with world.company.transaction():
            world.company.requirement(102, 11)
        with world.company.transaction():
            world.company.delete_requirement(102)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENT_ADDED, Reason.REQUIREMENTS_WITHDRAWN]
        assert world.conversions == []

    def test_requirements_withdrawn_when_all_that_was_settled_is_of_a_type_that_never_counts(
        self, world: CompanyAndStore
    ) -> None:
        world.books.rules = Rules(RuleFile(excluded=(Exclusion("newsletter"),)))
        owing(world)
        with world.company.transaction():
            world.company.requirement(102, 11, type_="newsletter")
        with world.company.transaction():
            world.company.requirement(102, 11, "approved", type_="newsletter")
            world.company.delete_requirement(101)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]
        assert world.conversions == []

    def test_requirements_withdrawn_when_it_turns_into_one_of_a_type_that_never_counts(
        self, world: CompanyAndStore
    ) -> None:
        world.books.rules = Rules(RuleFile(excluded=(Exclusion("newsletter"),)))
        owing(world)
        with world.company.transaction():
            world.company.requirement(101, 11, type_="newsletter")
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]
        assert world.conversions == []

    def test_what_was_outstanding_only_inside_a_transaction_completes_nothing(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(102, 11)
            world.company.requirement(102, 11, "approved")
            world.company.delete_requirement(101)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]

    def test_what_was_outstanding_on_a_closed_claim_completes_when_it_is_settled_on_an_open_one(
        self, world: CompanyAndStore
    ) -> None:
        owing(world)
        with world.company.transaction():
            world.company.claim(12, 1, "cancelled")
            world.company.requirement(102, 12)
        with world.company.transaction():
            world.company.requirement(102, 12, "approved")
            world.company.claim(12, 1, "open")
            world.company.delete_requirement(101)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_COMPLETED]
        assert world.books.conversions[1, 1].requirements == ("102",)

    def test_a_requirement_counts_as_seen_only_in_its_own_stint(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.user(1, "file-1", enabled=False)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
            world.company.requirement(102, 11)
            world.company.user(1, "file-1")
        with world.company.transaction():
            world.company.delete_requirement(102)
        world.catch_up()
        assert world.reasons[1:] == [Reason.USER_DISABLED, Reason.USER_ENABLED, Reason.REQUIREMENTS_WITHDRAWN]
        assert world.conversions == []

    def test_requirement_added(self, world: CompanyAndStore) -> None:
        content(world)
        with world.company.transaction():
            world.company.requirement(101, 11)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENT_ADDED]

    def test_signature_missing(self, world: CompanyAndStore) -> None:
        content(world)
        with world.company.transaction():
            world.company.user(1, None)
        world.catch_up()
        assert world.reasons[1:] == [Reason.SIGNATURE_MISSING]
        assert world.stints[1].queue_type is UNSIGNED

    def test_claim_reopened(self, world: CompanyAndStore) -> None:
        owing(world)
        for status in ("cancelled", "open"):
            with world.company.transaction():
                world.company.claim(11, 1, status)
        world.catch_up()
        assert world.reasons[1:] == [Reason.CLAIMS_CLOSED, Reason.CLAIM_REOPENED]

    def test_user_enabled(self, world: CompanyAndStore) -> None:
        unsigned(world)
        for enabled in (False, True):
            with world.company.transaction():
                world.company.user(1, enabled=enabled)
        world.catch_up()
        assert world.reasons[1:] == [Reason.USER_DISABLED, Reason.USER_ENABLED]

    def test_user_returned(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.delete_user(1)
        with world.company.transaction():
            world.company.user(1)
        world.catch_up()
        assert world.reasons[1:] == [Reason.USER_DELETED, Reason.USER_RETURNED]

    def test_who_leaves_no_queue_leaves_it_for_the_rule_that_kept_them_there_last(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, enabled=False)
        with world.company.transaction():
            world.company.user(1)
            world.company.claim(11, 1, "cancelled")
        with world.company.transaction():
            world.company.claim(11, 1)
        world.catch_up()
        assert world.reasons[1:] == [Reason.USER_DISABLED, Reason.CLAIM_REOPENED]


class TestConversions:
    def test_the_same_signature_file_is_paid_once(self, world: CompanyAndStore) -> None:
        unsigned(world)
        for signature in ("file-1", None, "file-1"):
            with world.company.transaction():
                world.company.user(1, signature)
            world.catch_up()
        assert world.reasons[1:] == [Reason.SIGNATURE_OBTAINED, Reason.SIGNATURE_REMOVED, Reason.SIGNATURE_OBTAINED]
        assert world.conversions == [(1, ConversionType.SIGNATURE_OBTAINED)]
        assert (world.stints[2].conversion_type, world.stints[2].signature) == (None, None)

    def test_another_signature_file_is_paid_again(self, world: CompanyAndStore) -> None:
        unsigned(world)
        for signature in ("file-1", None, "file-2"):
            with world.company.transaction():
                world.company.user(1, signature)
            world.catch_up()
        assert [stint for stint, _ in world.conversions] == [1, 3]

    def test_a_signature_file_is_remembered_when_the_user_is_deleted_and_returns(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        with world.company.transaction():
            world.company.delete_user(1)
        with world.company.transaction():
            world.company.user(1)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.catch_up()
        assert [stint for stint, _ in world.conversions] == [1]

    def test_requirements_may_be_completed_once_in_every_stint(self, world: CompanyAndStore) -> None:
        owing(world)
        for status in ("approved", "rejected", "approved"):
            with world.company.transaction():
                world.company.requirement(101, 11, status)
        world.catch_up()
        assert world.conversions == [
            (1, ConversionType.REQUIREMENTS_COMPLETED),
            (3, ConversionType.REQUIREMENTS_COMPLETED),
        ]

    def test_approving_one_document_and_asking_for_another_in_one_transaction_is_not_a_conversion(
        self, world: CompanyAndStore
    ) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
            world.company.requirement(102, 11)
        world.catch_up()
        assert len(world.stints) == 1
        assert world.conversions == []

    def test_nor_is_it_when_a_batch_ends_between_the_two(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
            world.company.requirement(102, 11)
        approved, asked = world.company.stream[-2:]
        world.books.replay([approved])
        assert world.books.leads[1].judge_after == approved.version
        world.books.replay([asked])
        assert world.books.leads[1].judge_after is None
        assert len(world.stints) == 1


class TestDeletes:
    def test_a_deleted_user_takes_claims_and_requirements_along(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.delete_user(1)
        outcome = world.catch_up()
        lead = world.books.leads[1]
        assert (lead.exists, lead.claims, lead.requirements) == (False, {}, {})
        assert (outcome.claims, outcome.requirements) == ({(1, "11")}, {(1, "101")})

    def test_a_deleted_claim_takes_its_requirements_along_and_no_others(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.claim(12, 1)
            world.company.requirement(102, 12)
        with world.company.transaction():
            world.company.delete_claim(11)
        outcome = world.catch_up()
        assert world.books.leads[1].requirements.keys() == {"102"}
        assert (1, "101") in outcome.requirements

    def test_a_replaced_row_is_a_delete_and_an_insert_and_judged_once(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.delete_requirement(101)
            world.company.requirement(101, 11, "approved")
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_COMPLETED]


class TestWhatTheCallCentreIsTold:
    def test_first_sight_resets_nothing(self, world: CompanyAndStore) -> None:
        unsigned(world)
        told = world.books.told(1)
        assert (told.queue_type, told.first_sight, told.entered, told.left) == (UNSIGNED, True, False, frozenset())

    def test_a_move_into_a_queue_enters_it_and_says_what_was_left(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.catch_up()
        told = world.books.told(1)
        assert (told.queue_type, told.left, told.entered) == (OUTSTANDING, frozenset({UNSIGNED}), True)
        assert (told.first_sight, told.reason, told.at) == (False, Reason.SIGNATURE_OBTAINED, world.company.now)

    def test_a_move_out_of_all_queues_enters_none(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, enabled=False)
        world.catch_up()
        told = world.books.told(1)
        assert (told.queue_type, told.left, told.entered) == (NONE, frozenset({UNSIGNED}), False)

    def test_several_moves_in_one_batch_are_told_as_one(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
        world.catch_up()
        told = world.books.told(1)
        assert (told.queue_type, told.left, told.entered) == (NONE, frozenset({UNSIGNED, OUTSTANDING}), True)
        assert told.reason is Reason.REQUIREMENTS_COMPLETED

    def test_a_first_sight_and_a_move_in_one_batch_are_both_told(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1)
            world.company.claim(11, 1)
            world.company.requirement(101, 11)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.catch_up()
        told = world.books.told(1)
        assert (told.queue_type, told.first_sight, told.entered) == (OUTSTANDING, True, True)

    def test_a_conversion_says_when_the_score_was_reset_earlier_in_the_batch(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
        world.catch_up()
        signed, completed = world.books.conversions.values()
        assert (signed.reset_at, completed.reset_at) == (None, signed.converted_at)

    def test_a_first_sight_in_the_same_batch_has_reset_no_score(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.catch_up()
        assert [conversion.reset_at for conversion in world.books.conversions.values()] == [None]


class TestVersions:
    def test_a_row_is_written_only_over_an_older_version_of_itself(self, world: CompanyAndStore) -> None:
        owing(world)
        world.books.leads[1].requirements["101"].version = world.company.version + 10 * SECOND
        with world.company.transaction():
            world.company.requirement(101, 11, "approved")
        outcome = world.catch_up()
        assert outcome.skipped == {"older than what we hold": 1}
        assert len(world.stints) == 1

    def test_neither_is_one_deleted_that_is_newer(self, world: CompanyAndStore) -> None:
        owing(world)
        world.books.leads[1].claims["11"].version = world.company.version + 10 * SECOND
        with world.company.transaction():
            world.company.delete_claim(11)
        outcome = world.catch_up()
        assert outcome.skipped == {"older than what we hold": 1}
        assert world.books.leads[1].claims.keys() == {"11"}

    def test_the_lane_has_the_version_of_its_last_finished_transaction_or_heartbeat(
        self, world: CompanyAndStore
    ) -> None:
        assert world.books.replay([]) == Outcome()
        assert world.books.lane_version == 0
        with world.company.transaction():
            world.company.user(1)
        first = world.company.version
        with world.company.transaction():
            world.company.user(2)
            world.company.user(3)
        world.books.replay(world.company.stream[:2])
        assert world.books.lane_version == first
        world.books.replay(world.company.stream[2:])
        assert world.books.lane_version == world.company.version
        world.company.heartbeat(after=SECOND)
        world.books.replay(world.company.stream[-1:])
        assert world.books.lane_version == world.company.version > first

    def test_the_version_of_a_lane_never_goes_back(self, world: CompanyAndStore) -> None:
        world.books.lane_version = START + MINUTE
        with world.company.transaction():
            world.company.user(1)
        world.catch_up()
        assert world.books.lane_version == START + MINUTE


class TestJudgeAfter:
    def test_a_lead_takes_changes_but_is_judged_only_when_its_lane_has_passed(self, world: CompanyAndStore) -> None:
        unsigned(world)
        world.books.leads[1].judge_after = world.company.version + 10 * SECOND
        with world.company.transaction():
            world.company.user(1, "file-1")
        signed_at = world.company.now
        world.catch_up()
        assert world.books.leads[1].signature == "file-1"
        assert len(world.stints) == 1
        world.company.heartbeat(after=20 * SECOND)
        world.catch_up()
        assert world.conversions == [(1, ConversionType.SIGNATURE_OBTAINED)]
        assert world.stints[0].closed_at == signed_at
        assert world.books.leads[1].judge_after is None

    def test_it_is_judged_as_it_stood_then_before_a_later_change_is_applied(self, world: CompanyAndStore) -> None:
        unsigned(world)
        world.books.leads[1].judge_after = world.company.version + 10 * SECOND
        with world.company.transaction():
            world.company.user(1, "file-1")
        with world.company.transaction(after=20 * SECOND):
            world.company.user(1, None)
        world.catch_up()
        assert world.reasons[1:] == [Reason.SIGNATURE_OBTAINED, Reason.SIGNATURE_REMOVED]

    def test_a_lead_whose_lane_had_passed_already_is_judged_at_the_start_of_a_batch(
        self, world: CompanyAndStore
    ) -> None:
        unsigned(world)
        lead = world.books.leads[1]
        lead.judge_after, lead.signature, lead.changed_at = world.books.lane_version, "file-1", world.company.now
        world.books.replay([])
        assert world.conversions == [(1, ConversionType.SIGNATURE_OBTAINED)]

    def test_it_is_judged_by_the_end_of_the_very_transaction_it_waits_for(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
            world.company.user(2)
        first, second = world.company.stream[-2:]
        world.books.replay([first])
        assert len(world.stints) == 1
        world.books.replay([second])
        assert len(world.stints) == 2

    def test_a_heartbeat_with_the_transactions_own_version_ends_it_too(self, world: CompanyAndStore) -> None:
        unsigned(world)
        with world.company.transaction():
            world.company.user(1, "file-1")
        change = world.company.stream[-1]
        world.books.replay([change._replace(last=False)])
        assert len(world.stints) == 1
        world.books.replay([Change(0, None, None, None, change.version, change.at, last=True)])
        assert len(world.stints) == 2

    def test_a_new_user_whose_transaction_is_cut_is_seen_first_at_its_end(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1, "file-1")
            world.company.claim(11, 1)
            world.company.requirement(101, 11)
        for change in world.company.stream:
            world.books.replay([change])
        assert [(stint.queue_type, stint.opened_reason) for stint in world.stints] == [(OUTSTANDING, Reason.FIRST_SEEN)]
        assert world.books.rechecks == {}

    def test_a_lead_met_in_the_stream_before_anything_is_known_waits_for_a_recheck(
        self, world: CompanyAndStore
    ) -> None:
        with world.company.transaction():
            world.company.user(1)
            world.company.claim(11, 1)
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.books.replay(world.company.stream[-1:])
        lead = world.books.leads[1]
        assert (lead.judge_after, lead.stint, lead.signature) == (NEVER, 0, "file-1")
        assert world.books.rechecks.keys() == {1}
        assert world.stints == []

    def test_whatever_it_is_met_by(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1)
            world.company.claim(11, 1)
            world.company.requirement(101, 11)
        with world.company.transaction():
            world.company.delete_requirement(101)
        with world.company.transaction():
            world.company.delete_claim(11)
        with world.company.transaction():
            world.company.delete_user(1)
        for change in world.company.stream[1:]:
            books = MemoryStore()
            books.replay([change])
            assert books.leads[1].judge_after == NEVER
            assert books.rechecks.keys() == {1}

    def test_a_lead_that_was_met_before_it_was_inserted_is_judged_when_it_is(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(2)
            world.company.claim(11, 2)
            world.company.requirement(101, 11)
        requirement = world.company.stream[-1]
        with world.company.transaction():
            world.company.user(1)
        world.books.replay([requirement._replace(user_id=1)])
        assert world.books.leads[1].judge_after == NEVER
        world.books.replay(world.company.stream[3:])
        assert [(stint.user_id, stint.opened_reason) for stint in world.stints] == [(1, Reason.FIRST_SEEN)]

    def test_but_not_when_its_row_is_altered_for_its_claims_may_be_older_than_what_we_heard(
        self, world: CompanyAndStore
    ) -> None:
        with world.company.transaction():
            world.company.user(1)
            world.company.claim(11, 1)
        claim = world.company.stream[-1]
        with world.company.transaction():
            world.company.user(1, "file-1")
        world.books.replay([claim])
        world.books.replay(world.company.stream[2:])
        assert world.books.leads[1].judge_after == NEVER
        assert world.stints == []

    def test_nor_when_its_row_comes_back_after_we_had_one(self, world: CompanyAndStore) -> None:
        with world.company.transaction():
            world.company.user(1)
        with world.company.transaction():
            world.company.user(1, "file-1")
        with world.company.transaction():
            world.company.delete_user(1)
        with world.company.transaction():
            world.company.user(1)
        world.books.replay(world.company.stream[1:])
        assert world.books.leads[1].judge_after == NEVER
        assert world.stints == []

    def test_a_claim_that_moved_in_makes_its_lead_wait_for_a_recheck(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.user(2, "file-2")
        with world.company.transaction():
            world.company.claim(11, 2)
        world.catch_up()
        assert world.reasons[1:] == [Reason.REQUIREMENTS_WITHDRAWN]
        assert not world.books.leads[1].claims
        assert not world.books.leads[1].requirements
        assert world.books.leads[2].judge_after == NEVER
        assert world.books.leads[2].claims.keys() == {"11"}
        assert world.books.rechecks.keys() == {2}

    @pytest.mark.parametrize("claim_first", [False, True])
    def test_so_does_a_user_that_had_another_number_for_claims_may_have_come_untold(
        self, world: CompanyAndStore, claim_first: bool
    ) -> None:
        with world.company.transaction():
            if claim_first:  # a cascade that is logged stands before what it follows from
                world.company.claim(11, 5)
            world.company.user(5, "file-1")
        world.books.replay([change._replace(moved=True) for change in world.company.stream])
        assert world.books.leads[5].judge_after == NEVER
        assert world.books.rechecks.keys() == {5}
        assert world.stints == []

    def test_so_does_a_user_or_claim_that_was_deleted_and_inserted_in_one_transaction(
        self, world: CompanyAndStore
    ) -> None:
        owing(world)
        with world.company.transaction():
            world.company.delete_claim(11)
            world.company.claim(11, 1)
        deleted, inserted = world.company.stream[-2:]
        world.books.replay([deleted, inserted._replace(moved=True)])
        assert world.books.leads[1].judge_after == NEVER
        assert world.books.rechecks.keys() == {1}

    def test_even_where_it_was_to_be_judged_in_the_same_batch(self, world: CompanyAndStore) -> None:
        owing(world)
        with world.company.transaction():
            world.company.user(2, "file-2")
        world.catch_up()
        world.books.leads[2].judge_after = world.company.version + 10 * SECOND
        with world.company.transaction():
            world.company.claim(11, 2)
        world.company.heartbeat(after=20 * SECOND)
        world.catch_up()
        assert world.books.leads[2].judge_after == NEVER

    def test_changes_contained_in_a_live_read_are_skipped_but_still_end_their_transaction(
        self, world: CompanyAndStore
    ) -> None:
        unsigned(world)
        lead = world.books.leads[1]
        lead.read_floor, lead.judge_after = world.company.version + 10 * SECOND, world.company.version + SECOND
        with world.company.transaction():
            world.company.user(1, "file-1")
        outcome = world.catch_up()
        assert outcome.skipped == {"read live already": 1}
        assert world.books.leads[1].signature is None
        assert world.books.leads[1].judge_after is None


def test_a_lead_is_judged_on_its_own_rows_whatever_the_order_of_others_in_the_transaction() -> None:
    rows = [UserRow(id_, None, True) for id_ in (3, 1, 2)]
    changes = [Change(row.id, Table.USERS, None, row, START, START, last=row is rows[-1]) for row in rows]
    books = MemoryStore()
    books.replay(changes)
    assert all(isinstance(lead, Lead) and lead.queue_type is UNSIGNED for lead in books.leads.values())
    assert books.leads.keys() == {1, 2, 3}


def test_a_signature_file_is_paid_once_whatever_others_were_paid_since() -> None:
    company, books = Company(), MemoryStore()
    for signature in (None, "f1", None, "f2", None, "f1"):
        with company.transaction():
            company.user(1, signature)
    books.replay(company.stream)
    assert [conversion.signature for conversion in books.conversions.values()] == ["f1", "f2"]
    assert books.leads[1].converted_signatures == {"f1", "f2"}


def test_a_signature_file_that_postgresql_cannot_hold_is_paid_once() -> None:
    """It comes back with U+FFFD for NUL, and a unique index would refuse the customer for ever."""
    company, books = Company(), MemoryStore()
    for signature in (None, "f\0", None, "f\0"):
        with company.transaction():
            company.user(1, signature)
    books.replay(company.stream)
    assert [conversion.signature for conversion in books.conversions.values()] == ["f\ufffd"]
    assert books.leads[1].converted_signatures == {"f\ufffd"}


def test_documents_that_complete_together_are_named_in_the_order_of_their_numbers() -> None:
    company, books = Company(), MemoryStore()
    with company.transaction():
        company.user(1, "f1")
        company.claim(11, 1)
        for number in (9, 10, 100):
            company.requirement(number, 11)
    with company.transaction():
        for number in (100, 10, 9):
            company.requirement(number, 11, "approved")
    books.replay(company.stream)
    assert [conversion.requirements for conversion in books.conversions.values()] == [("9", "10", "100")]
