"""Design, section 4 (`judge_after`) and 7: what a live read brings about, and how stream and read stay out of step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from consumer.leads.live_read import repair
from consumer.leads.model import (
    NEVER,
    Claim,
    ClaimRow,
    ConversionType,
    Lead,
    LiveState,
    QueueType,
    Reason,
    Requirement,
    RequirementRow,
    Rule,
    Stint,
    UserRow,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules
from tests.unit.leads.company import MINUTE, SECOND, START, Company
from tests.unit.leads.memory_store import MemoryStore

UNSIGNED, OUTSTANDING, NONE = QueueType.UNSIGNED_USERS, QueueType.REQUIREMENTS_OUTSTANDING, QueueType.NONE
LATER = START + 60 * MINUTE
"""When most of these reads end."""


def live(
    signature: str | None = "file-1",
    *,
    claims: Collection[int] = (11,),
    requirements: Mapping[int, str] = MappingProxyType({}),
) -> LiveState:
    """User 1 with open claims and requirements {id: status} on claim 11."""
    return LiveState(
        UserRow(1, signature, True),
        [ClaimRow(str(id_), 1, "open") for id_ in claims],
        [RequirementRow(str(id_), "11", "passport", status, "") for id_, status in requirements.items()],
    )


def repaired(*reads: LiveState) -> MemoryStore:
    """What is held after some reads, ten minutes apart, the last of which ended LATER; no stream in between."""
    books = MemoryStore()
    for number, read in enumerate(reads, start=1):
        ended = LATER - (len(reads) - number) * 10 * MINUTE
        books.repair(1, read, ended - MINUTE, ended)
    return books


class TestFirstSight:
    def test_the_state_is_taken_whole_and_judged_once_and_never_converts(self) -> None:
        books = repaired(live(requirements={101: "pending", 102: "approved"}))
        lead = books.leads[1]
        assert (lead.exists, lead.signature) == (True, "file-1")
        assert (set(lead.claims), set(lead.requirements)) == ({"11"}, {"101", "102"})
        assert books.stints_of(1) == [Stint(1, 1, OUTSTANDING, LATER - MINUTE, Reason.FIRST_SEEN)]
        assert not books.conversions

    def test_stint_1_opens_at_the_floor(self) -> None:
        assert repaired(live()).stints_of(1)[0].opened_at == LATER - MINUTE

    def test_a_user_who_is_gone_before_anything_was_known_belongs_in_no_queue(self) -> None:
        books = repaired(LiveState(None, (), ()))
        assert [(stint.queue_type, stint.opened_reason) for stint in books.stints_of(1)] == [(NONE, Reason.FIRST_SEEN)]

    def test_it_settles_a_lead_that_the_stream_met_before_anything_was_known(self) -> None:
        company, books = Company(), MemoryStore()
        with company.transaction():
            company.user(1)
            company.claim(11, 1)
        with company.transaction():
            company.user(1, "file-1")
        books.replay(company.stream[-1:])
        books.repair(1, company.read(1), company.now - MINUTE, company.now)
        assert books.leads[1].judge_after == company.now
        assert [stint.queue_type for stint in books.stints_of(1)] == [NONE]
        assert not books.conversions
        assert not books.rechecks


class TestKnownLead:
    def test_a_missed_signature_is_a_conversion_dated_by_the_read_that_found_it(self) -> None:
        conversion = repaired(live(None), live("file-1")).conversions[1, 1]
        assert conversion.conversion_type is ConversionType.SIGNATURE_OBTAINED
        assert conversion.converted_at == LATER

    def test_one_judgement_is_made_between_two_known_states(self) -> None:
        """The document was approved before the customer signed, and its row was touched once more later."""
        books = repaired(
            live(None, requirements={101: "pending"}),
            live("file-1", requirements={101: "approved"}),
        )
        assert [(stint.queue_type, stint.opened_at) for stint in books.stints_of(1)] == [
            (UNSIGNED, LATER - 11 * MINUTE),
            (NONE, LATER),
        ]
        assert [earned.conversion_type for earned in books.conversions.values()] == [ConversionType.SIGNATURE_OBTAINED]

    def test_what_postgresql_cannot_hold_of_a_text_is_no_difference(self) -> None:
        """A NUL is U+FFFD there, and the rows as the stream wrote them are newer than the read is sure to hold."""
        lead = Lead(
            1, exists=True, signature="f\ufffd", version=LATER, stint=1, queue_type=OUTSTANDING, opened_at=START
        )
        lead.claims["11"] = Claim("11", "o\ufffd", LATER)
        lead.requirements["101"] = Requirement("101", "11", "p\ufffd", "pending\ufffd", "\ufffd", LATER)
        read = LiveState(
            UserRow(1, "f\0", True),
            [ClaimRow("11", 1, "o\0")],
            [RequirementRow("101", "11", "p\0", "pending\0", "\0")],
        )
        outcome = Outcome()
        repair(lead, read, LATER - MINUTE, LATER, Rules(), outcome)
        assert not outcome.rechecks
        assert (outcome.claims, outcome.requirements) == (set(), set())
        assert outcome.leads[1].read_floor == LATER - MINUTE

    def test_rows_that_are_gone_are_part_of_the_same_judgement(self) -> None:
        books = repaired(
            live(requirements={101: "pending", 102: "pending"}),
            live(requirements={102: "approved"}),
        )
        assert [(stint.opened_reason, stint.opened_at) for stint in books.stints_of(1)[1:]] == [
            (Reason.REQUIREMENTS_COMPLETED, LATER)
        ]

    def test_a_user_who_is_gone_is_closed_when_the_read_ended(self) -> None:
        books = repaired(live(requirements={101: "pending"}), LiveState(None, (), ()))
        assert [(stint.opened_reason, stint.opened_at) for stint in books.stints_of(1)[1:]] == [
            (Reason.USER_DELETED, LATER)
        ]
        assert not books.leads[1].claims
        assert not books.leads[1].requirements

    def test_a_claim_that_is_gone_takes_its_requirements_along(self) -> None:
        books = repaired(live(requirements={101: "pending"}), live(claims=(12,)))
        assert books.leads[1].claims.keys() == {"12"}
        assert books.leads[1].requirements == {}
        assert books.stints_of(1)[1].opened_reason is Reason.REQUIREMENTS_WITHDRAWN

    def test_a_read_that_shows_nothing_new_changes_no_queue(self) -> None:
        books = repaired(live(None), live(None))
        assert not books.last.stints
        assert books.leads[1].read_floor == LATER - MINUTE

    def test_but_the_rules_may_have_changed(self) -> None:
        books = repaired(live(requirements={101: "waived"}))
        adopted = LATER + 2 * SECOND
        file = RuleFile(settled=("waived",))
        books.rules = Rules(file, version=2, adopted_at=adopted, earlier={1: books.rules})
        books.repair(1, live(requirements={101: "waived"}), LATER, LATER + MINUTE)
        assert books.stints_of(1)[1].opened_reason is Reason.RULES_CHANGED
        assert books.stints_of(1)[1].opened_at == adopted
        assert not books.conversions

    def test_newer_rules_are_applied_to_what_we_hold_before_what_the_read_shows(self) -> None:
        books = repaired(live(requirements={101: "waived"}))
        adopted = LATER + 2 * SECOND
        books.rules = Rules(RuleFile(settled=("waived",)), version=2, adopted_at=adopted, earlier={1: books.rules})
        ended = LATER + 2 * MINUTE
        read = live(requirements={101: "waived", 102: "pending"})
        books.repair(1, read, LATER + MINUTE, ended)
        assert [(stint.queue_type, stint.opened_at, stint.opened_reason) for stint in books.stints_of(1)[1:]] == [
            (NONE, adopted, Reason.RULES_CHANGED),
            (OUTSTANDING, ended, Reason.REQUIREMENT_ADDED),
        ]
        assert not books.conversions

    def test_what_only_newer_rules_settled_completes_nothing_that_a_read_shows(self) -> None:
        books = repaired(live(requirements={101: "pending", 102: "waived"}))
        file = RuleFile(settled=("approved", "waived"))
        books.rules = Rules(file, version=2, adopted_at=LATER + SECOND, earlier={1: books.rules})
        books.repair(1, live(requirements={102: "waived"}), LATER + MINUTE, LATER + 2 * MINUTE)
        assert books.stints_of(1)[0].closed_reason is Reason.REQUIREMENTS_WITHDRAWN
        assert not books.conversions

    def test_the_read_sets_the_floor_and_what_the_next_judgement_waits_for(self) -> None:
        lead = repaired(live(None)).leads[1]
        assert (lead.read_floor, lead.judge_after) == (LATER - MINUTE, LATER)

    def test_a_wait_for_a_later_version_goes_on(self) -> None:
        books = repaired(live(None))
        books.leads[1].judge_after = LATER + 10 * MINUTE
        books.repair(1, live(None), LATER, LATER + MINUTE)
        assert books.leads[1].judge_after == LATER + 10 * MINUTE


class TestReadAndStream:
    @pytest.fixture
    def company(self) -> Company:
        """User 1, signed, with one document outstanding, and nothing new for more than a minute."""
        company = Company()
        with company.transaction():
            company.user(1, "file-1")
            company.claim(11, 1)
            company.requirement(101, 11)
        company.heartbeat(after=2 * MINUTE)
        return company

    @pytest.fixture
    def books(self, company: Company) -> MemoryStore:
        books = MemoryStore()
        books.replay(company.stream)
        return books

    def test_what_was_repaired_is_not_recorded_again_when_the_stream_brings_it(
        self, company: Company, books: MemoryStore
    ) -> None:
        taken = len(company.stream)
        for status in ("rejected", "approved"):
            with company.transaction():
                company.requirement(101, 11, status)
        books.repair(1, company.read(1), company.now - MINUTE, company.now)
        assert books.conversions.keys() == {(1, 1)}
        company.heartbeat(after=SECOND)
        books.replay(company.stream[taken:])
        assert books.conversions.keys() == {(1, 1)}
        assert len(books.stints_of(1)) == 2
        assert books.leads[1].judge_after is None

    def test_what_was_under_way_during_the_read_is_still_taken_from_the_stream(
        self, company: Company, books: MemoryStore
    ) -> None:
        taken = len(company.stream)
        read = company.read(1)
        started = company.now
        with company.transaction():
            company.requirement(101, 11, "approved")
        books.repair(1, read, started - MINUTE, company.now)
        company.heartbeat(after=SECOND)
        books.replay(company.stream[taken:])
        assert books.conversions[1, 1].converted_at == company.now - SECOND

    def test_a_change_older_than_the_floor_is_skipped(self, company: Company) -> None:
        books = MemoryStore()
        books.repair(1, company.read(1), company.now + MINUTE, company.now + 2 * MINUTE)
        assert books.replay(company.stream).skipped == {"read live already": 3}

    def test_a_read_that_shows_nothing_but_what_the_stream_has_passed_leaves_every_judgement_to_it(
        self, company: Company, books: MemoryStore
    ) -> None:
        taken = len(company.stream)
        read, started = company.read(1), company.now
        with company.transaction():
            company.requirement(101, 11, "approved")
        books.replay(company.stream[taken:])
        books.repair(1, read, started - MINUTE, company.now + MINUTE)
        assert books.rechecks
        for document in (102, 103):
            for status in ("pending", "approved"):
                with company.transaction():
                    company.requirement(document, 11, status)
        assert company.now < started + MINUTE
        books.replay(company.stream[taken + 1 :])
        assert books.conversions.keys() == {(1, 1), (1, 3), (1, 5)}

    def test_a_row_that_the_stream_wrote_after_the_read_stays_and_the_judgement_waits(
        self, company: Company, books: MemoryStore
    ) -> None:
        read, started = company.read(1), company.now
        with company.transaction():
            company.requirement(101, 11, "approved")
        books.replay(company.stream[-1:])
        books.repair(1, read, started - MINUTE, started)
        assert books.leads[1].requirements["101"].status == "approved"
        assert len(books.stints_of(1)) == 2
        company.heartbeat()
        books.replay(company.stream[-1:])
        assert len(books.stints_of(1)) == 2

    def test_a_read_from_before_a_removal_in_the_stream_is_refused_and_asked_for_again(
        self, company: Company, books: MemoryStore
    ) -> None:
        read, started = company.read(1), company.now
        with company.transaction():
            company.delete_requirement(101)
        books.replay(company.stream[-1:])
        books.repair(1, read, started - MINUTE, started)
        assert books.leads[1].requirements == {}
        assert books.rechecks == {1: "what was read live had been overtaken by the stream"}
        books.repair(1, company.read(1), company.now, company.now + MINUTE)
        assert books.rechecks == {}

    def test_a_read_older_than_another_one_is_refused(self, company: Company, books: MemoryStore) -> None:
        read, started = company.read(1), company.now
        with company.transaction(after=10 * MINUTE):
            company.user(1, None)
        books.repair(1, company.read(1), company.now - MINUTE, company.now)
        books.repair(1, read, started - MINUTE, started)
        assert books.leads[1].signature is None
        assert books.rechecks.keys() == {1}

    def test_a_read_from_before_a_claim_moved_in_does_not_settle_its_new_lead(
        self, company: Company, books: MemoryStore
    ) -> None:
        with company.transaction():
            company.user(2, "file-2")
        read, started = company.read(2), company.now
        with company.transaction():
            company.claim(11, 2)
        books.replay(company.stream[-3:])
        books.repair(2, read, started - MINUTE, started)
        assert books.leads[2].judge_after == NEVER
        assert books.rechecks.keys() == {2}
        books.repair(2, company.read(2), company.now - MINUTE, company.now)
        assert books.leads[2].queue_type is OUTSTANDING
        assert books.rechecks == {}

    def test_a_read_in_the_middle_of_a_transaction_of_the_stream_is_judged_whole(
        self, company: Company, books: MemoryStore
    ) -> None:
        with company.transaction():
            company.requirement(101, 11, "approved")
            company.requirement(102, 11)
        approved, asked = company.stream[-2:]
        books.replay([approved])
        books.repair(1, company.read(1), company.now - MINUTE, company.now)
        assert len(books.stints_of(1)) == 1
        books.replay([asked])
        assert len(books.stints_of(1)) == 1
        assert books.leads[1].judge_after is None

    def test_a_moment_in_which_the_stream_had_gone_back_is_not_judged(
        self, company: Company, books: MemoryStore
    ) -> None:
        taken = len(company.stream)
        with company.transaction():
            company.requirement(101, 11, "rejected")
            company.requirement(102, 11, "approved")
        with company.transaction(after=5 * SECOND):
            company.requirement(101, 11, "approved")
            company.requirement(102, 11, "rejected")
        books.repair(1, company.read(1), company.now - MINUTE, company.now + MINUTE)
        books.replay(company.stream[taken : taken + 2])
        with company.transaction(after=5 * SECOND):
            company.requirement(102, 11, "rejected", reason="blurred")
        books.repair(1, company.read(1), company.now, company.now + MINUTE)
        assert len(books.stints_of(1)) == 1
        assert not books.conversions

    def test_an_overtaken_read_that_shows_nothing_new_asks_for_nothing(
        self, company: Company, books: MemoryStore
    ) -> None:
        started = company.now
        with company.transaction():
            company.delete_requirement(101)
        books.replay(company.stream[-1:])
        books.repair(1, company.read(1), started - MINUTE, company.now)
        assert books.rechecks == {}
        assert books.leads[1].read_floor > started - MINUTE

    def test_what_only_the_read_completes_is_dated_by_what_came_last(
        self, company: Company, books: MemoryStore
    ) -> None:
        with company.transaction():
            company.user(2, "file-2")
        with company.transaction():
            company.claim(11, 2)
        moved_at = company.now
        books.replay(company.stream[-3:])
        books.repair(2, company.read(2), company.now - MINUTE, company.now + 5 * SECOND)
        assert books.stints_of(2)[1].opened_at == moved_at

    def test_a_mixed_state_is_judged_only_when_the_stream_has_made_it_whole(
        self, company: Company, books: MemoryStore
    ) -> None:
        with company.transaction():
            company.requirement(102, 11, "approved")
        books.replay(company.stream[-1:])
        with company.transaction():
            company.requirement(101, 11, "approved")
            company.requirement(102, 11, "rejected")
        books.repair(1, company.read(1), company.now - MINUTE, company.now)
        held = {id_: requirement.status for id_, requirement in books.leads[1].requirements.items()}
        assert held == {"101": "approved", "102": "approved"}
        books.replay(company.stream[-2:])
        assert books.leads[1].judge_after is None
        assert len(books.stints_of(1)) == 1

    def test_what_waited_is_dated_by_the_change_that_the_stream_brought_although_the_read_had_it(
        self, company: Company, books: MemoryStore
    ) -> None:
        with company.transaction():
            company.claim(12, 1, "new")
        books.replay(company.stream[-1:])
        with company.transaction():
            company.claim(12, 1, "open")
        with company.transaction():
            company.requirement(101, 11, "approved")
        approved_at = company.now
        books.repair(1, company.read(1), company.now - MINUTE, company.now)
        assert not books.conversions
        company.heartbeat(after=SECOND)
        books.replay(company.stream[-3:])
        assert books.conversions[1, 1].converted_at == approved_at

    def test_a_stint_never_closes_before_it_opened(self, company: Company, books: MemoryStore) -> None:
        taken = len(company.stream)
        started = company.now
        with company.transaction():
            company.delete_requirement(101)
        books.repair(1, company.read(1), started, company.now + 10 * MINUTE)
        with company.transaction():
            company.user(1, None)
        company.heartbeat(after=20 * MINUTE)
        books.replay(company.stream[taken:])
        withdrawn, unsigned = books.stints_of(1)[1:]
        assert withdrawn.opened_at == started + SECOND + 10 * MINUTE
        assert withdrawn.closed_at == unsigned.opened_at == withdrawn.opened_at + 1


class TestFloors:
    """What a read holds for certain, to the microsecond, and what refuses it."""

    FLOOR = LATER - MINUTE

    def lead(self, **changed: Any) -> Lead:
        """Customer 1, unsigned, as the stream brought the row at START."""
        known = Lead(
            1, exists=True, version=START, changed_at=START, stint=1, queue_type=UNSIGNED, rule=Rule.NO_SIGNATURE,
            opened_at=START,
        )  # fmt: skip
        return replace(known, **changed)

    def repair(self, lead: Lead, read: LiveState) -> Outcome:
        outcome = Outcome()
        repair(lead, read, self.FLOOR, LATER, Rules(), outcome)
        return outcome

    def test_a_row_that_the_stream_wrote_at_the_floor_itself_is_taken_from_the_read(self) -> None:
        assert self.repair(self.lead(version=self.FLOOR), live("file-1", claims=())).conversions

    def test_a_read_no_older_than_the_one_before_is_taken(self) -> None:
        assert self.repair(self.lead(read_floor=self.FLOOR), live("file-1", claims=())).conversions
        refused = self.repair(self.lead(read_floor=self.FLOOR + 1), live("file-1", claims=()))
        assert not refused.conversions
        assert refused.rechecks.keys() == {1}

    @pytest.mark.parametrize(("changed_at", "judged_at"), [(START + 1, START + 1), (START, LATER), (START - 1, LATER)])
    def test_what_the_stream_left_unjudged_is_dated_by_its_change_unless_a_read_held_it(
        self, changed_at: int, judged_at: int
    ) -> None:
        waiting = self.lead(signature="file-1", judge_after=LATER - SECOND, changed_at=changed_at, read_floor=START)
        waiting.opened_at = START - MINUTE
        (conversion,) = self.repair(waiting, live("file-1", claims=())).conversions
        assert conversion.converted_at == judged_at

    def test_what_nothing_waits_for_is_dated_by_the_read(self) -> None:
        (conversion,) = self.repair(
            self.lead(signature="file-1", changed_at=START + 1, read_floor=START), live("file-1", claims=())
        ).conversions
        assert conversion.converted_at == LATER

    def test_a_lead_never_judged_is_asked_for_again_where_a_read_is_refused_though_it_shows_nothing_new(self) -> None:
        fresh = self.lead(stint=0, queue_type=None, rule=None, read_floor=self.FLOOR + 1)
        assert self.repair(fresh, live(None, claims=())).rechecks.keys() == {1}

    def test_so_is_one_that_waits_for_a_read(self) -> None:
        waiting = self.lead(judge_after=NEVER, read_floor=self.FLOOR + 1)
        assert self.repair(waiting, live(None, claims=())).rechecks.keys() == {1}
        assert waiting.judge_after == NEVER

    def test_a_lead_that_waits_for_a_read_is_not_settled_by_one_that_the_stream_overtook_in_part(self) -> None:
        claims = {"11": Claim("11", "cancelled", self.FLOOR + 1)}
        waiting = self.lead(judge_after=NEVER, claims=claims)
        outcome = self.repair(waiting, live("file-1"))
        assert outcome.rechecks.keys() == {1}
        assert (waiting.judge_after, waiting.signature) == (NEVER, None)

    def test_where_changes_wait_to_be_judged_what_the_read_adds_is_dated_by_the_read(self) -> None:
        waiting = self.lead(judge_after=START + MINUTE, changed_at=START + 1)
        (conversion,) = self.repair(waiting, live("file-1", claims=())).conversions
        assert conversion.converted_at == LATER
