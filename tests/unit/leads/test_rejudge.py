"""Other rules adopted: nobody earns anything by it, and what happened before and after is judged as it should be."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from consumer.leads.ledger import rejudge_all
from consumer.leads.live_read import repair
from consumer.leads.model import NEVER, Change, ConversionType, QueueChange, QueueType, Reason, Rule
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import Exclusion, RuleFile
from consumer.leads.rules import Rules
from tests.unit.leads.company import MINUTE, SECOND, Company
from tests.unit.leads.histories import RULES, USERS, WORDS, Transaction, founding, happen_all, transactions
from tests.unit.leads.memory_store import MemoryStore
from tests.unit.leads.naive_model import (
    NaiveStint,
    NaiveWords,
    State,
    is_one_of,
    judged_moments,
    outstanding_in,
    queue_of,
    reason_for,
    settled_on_open_claims,
    state_at,
    user_signature,
)
from tests.unit.leads.test_histories import as_naive, assert_gapless, in_batches

OTHERS = (
    (
        RuleFile(closed=("open",), settled=("approved", "pending")),
        NaiveWords(("open",), ("approved", "pending"), ()),
    ),
    (
        RuleFile(closed=(), settled=("rejected",), excluded=(Exclusion("passport"),)),
        NaiveWords((), ("rejected",), ("passport",)),
    ),
    (RuleFile(closed=("cancelled",), settled=("waived",)), NaiveWords(("cancelled",), ("waived",), ())),
)


def adopted(books: MemoryStore, file: RuleFile, at: int) -> Rules:
    """The rules of a file as the next version of those in force."""
    old = books.rules
    return Rules(file, version=old.version + 1, adopted_at=at, earlier={**old.earlier, old.version: old})


def adopt(books: MemoryStore, file: RuleFile, at: int, *, eagerly: bool) -> Outcome:
    """Puts rules in force; where that is done eagerly, leads that do not wait are brought to them at once."""
    books.rules = adopted(books, file, at)
    outcome = Outcome()
    if eagerly:
        rejudge_all(deepcopy(list(books.leads.values())), books.lane_version, books.rules, outcome)
        books._write(outcome)
    return outcome


class TestOneCustomer:
    """A customer who signed, owes a document, and has one that was handed in."""

    @pytest.fixture
    def company(self) -> Company:
        company = Company()
        with company.transaction():
            company.user(1, "file-1")
            company.claim(11, 1)
            company.requirement(101, 11)
            company.requirement(102, 11, "waived")
        return company

    @pytest.fixture
    def books(self, company: Company) -> MemoryStore:
        books = MemoryStore()
        company.heartbeat(after=MINUTE)
        books.replay(company.stream)
        company.stream.clear()
        return books

    def test_documents_that_the_rules_settle_earn_nothing(self, books: MemoryStore, company: Company) -> None:
        adopt(books, RuleFile(settled=("approved", "pending", "waived")), company.now, eagerly=True)
        owed, over = books.stints_of(1)
        assert (owed.closed_reason, owed.conversion_type) == (Reason.RULES_CHANGED, None)
        assert (over.queue_type, over.opened_reason) == (QueueType.NONE, Reason.RULES_CHANGED)
        assert not books.conversions
        assert (owed.closed_at, over.opened_at) == (company.now, company.now)
        left = frozenset({QueueType.REQUIREMENTS_OUTSTANDING})
        assert books.told(1) == QueueChange(1, QueueType.NONE, left, False, False, Reason.RULES_CHANGED, company.now)

    def test_what_they_ask_for_completes_when_it_is_handed_in(self, books: MemoryStore, company: Company) -> None:
        with company.transaction():
            company.delete_requirement(101)
            company.requirement(102, 11, "approved")
        books.replay(company.stream)
        company.stream.clear()
        assert books.leads[1].queue_type is QueueType.NONE
        adopt(books, RuleFile(settled=("handed in",)), company.now, eagerly=True)
        left = frozenset({QueueType.NONE})
        asked = QueueType.REQUIREMENTS_OUTSTANDING
        at = company.now + 1  # after the stint before opened
        assert books.told(1) == QueueChange(1, asked, left, True, False, Reason.RULES_CHANGED, at)
        with company.transaction():
            company.requirement(102, 11, "handed in")
        earlier = len(books.conversions)
        books.replay(company.stream)
        assert [earned.requirements for earned in books.conversions.values()][earlier:] == [("102",)]

    def test_what_keeps_a_customer_in_none_is_what_the_new_rules_say(self, company: Company) -> None:
        books = MemoryStore(Rules(RuleFile(settled=("pending", "waived"))))
        books.replay(company.stream)
        company.stream.clear()
        assert (books.leads[1].queue_type, books.leads[1].rule) == (QueueType.NONE, Rule.NOTHING_OWED)
        outcome = adopt(books, RuleFile(closed=("open",)), company.now, eagerly=True)
        assert (books.leads[1].rule, outcome.stints, outcome.queue_changes) == (Rule.CLAIMS_CLOSED, {}, {})
        with company.transaction():
            company.claim(11, 1, "in court")
        books.replay(company.stream)
        assert books.stints_of(1)[-1].opened_reason is Reason.CLAIM_REOPENED

    def test_a_document_that_only_the_rules_settled_completes_nothing_later(
        self, books: MemoryStore, company: Company
    ) -> None:
        adopt(books, RuleFile(settled=("approved", "waived")), company.now, eagerly=True)
        with company.transaction():
            company.delete_requirement(101)
        books.replay(company.stream)
        assert books.stints_of(1)[0].closed_reason is Reason.REQUIREMENTS_WITHDRAWN
        assert not books.conversions

    def test_nor_does_one_that_only_the_rules_excluded(self, books: MemoryStore, company: Company) -> None:
        with company.transaction():
            company.requirement(103, 11, type_="newsletter")
        books.replay(company.stream)
        company.stream.clear()
        adopt(books, RuleFile(excluded=(Exclusion("newsletter"),)), company.now, eagerly=False)
        with company.transaction():
            company.requirement(103, 11, "approved", type_="newsletter")
            company.delete_requirement(101)
            company.delete_requirement(102)
        books.replay(company.stream)
        assert books.stints_of(1)[0].closed_reason is Reason.REQUIREMENTS_WITHDRAWN

    def test_nor_does_one_that_they_settled_while_it_did_not_count(self, company: Company) -> None:
        books = MemoryStore(Rules(RuleFile(excluded=(Exclusion("newsletter"),))))
        for type_ in ("passport", "newsletter"):
            with company.transaction():
                company.requirement(103, 11, "requested", type_=type_)
        books.replay(company.stream)
        company.stream.clear()
        file = RuleFile(settled=("approved", "requested"), excluded=(Exclusion("newsletter"),))
        adopt(books, file, company.now, eagerly=True)
        with company.transaction():
            company.delete_requirement(101)
            company.delete_requirement(102)
        books.replay(company.stream)
        assert books.stints_of(1)[0].closed_reason is Reason.REQUIREMENTS_WITHDRAWN

    def test_a_document_handed_in_after_that_does(self, books: MemoryStore, company: Company) -> None:
        adopt(books, RuleFile(settled=("approved", "waived")), company.now, eagerly=True)
        with company.transaction():
            company.requirement(101, 11, "approved")
        books.replay(company.stream)
        assert [earned.requirements for earned in books.conversions.values()] == [("101",)]

    def test_a_document_that_the_rules_ask_for_completes_when_it_is_handed_in(
        self, books: MemoryStore, company: Company
    ) -> None:
        adopt(books, RuleFile(settled=("handed in",)), company.now, eagerly=True)
        with company.transaction():
            company.requirement(101, 11, "handed in")
            company.requirement(102, 11, "handed in")
        books.replay(company.stream)
        assert [earned.requirements for earned in books.conversions.values()] == [("101", "102")]

    def test_rules_that_change_nothing_for_a_lead_leave_its_stint_alone(
        self, books: MemoryStore, company: Company
    ) -> None:
        before = books.stints_of(1)
        adopt(books, RuleFile(closed=("lost",)), company.now, eagerly=True)
        assert books.stints_of(1) == before
        assert books.leads[1].rules_version == 2
        assert not books.last.queue_changes

    def test_what_was_handed_in_before_rules_that_settle_nothing_new_still_completes(
        self, books: MemoryStore, company: Company
    ) -> None:
        with company.transaction():
            company.requirement(102, 11, "approved")
        books.replay(company.stream)
        company.stream.clear()
        adopt(books, RuleFile(closed=("lost",)), company.now, eagerly=True)
        with company.transaction():
            company.delete_requirement(101)
        books.replay(company.stream)
        assert [earned.requirements for earned in books.conversions.values()] == [("102",)]

    def test_so_does_what_was_gone_when_they_came_and_is_back(self, books: MemoryStore, company: Company) -> None:
        with company.transaction():
            company.delete_requirement(102)
        books.replay(company.stream)
        company.stream.clear()
        adopt(books, RuleFile(closed=("lost",)), company.now, eagerly=True)
        with company.transaction():
            company.requirement(102, 11, "approved")
            company.delete_requirement(101)
        books.replay(company.stream)
        assert [earned.requirements for earned in books.conversions.values()] == [("102",)]

    def test_the_stint_is_dated_by_the_adoption(self, books: MemoryStore, company: Company) -> None:
        at = company.now - SECOND // 2
        adopt(books, RuleFile(settled=("pending", "waived")), at, eagerly=True)
        assert books.stints_of(1)[1].opened_at == at

    def test_but_no_later_than_the_lane_has_come_to(self, books: MemoryStore, company: Company) -> None:
        adopt(books, RuleFile(settled=("pending", "waived")), company.now + MINUTE, eagerly=True)
        assert books.stints_of(1)[1].opened_at == books.lane_version
        with company.transaction():
            company.requirement(103, 11, "rejected")
        books.replay(company.stream)
        assert books.stints_of(1)[2].opened_at == company.now

    def test_but_always_after_the_stint_opened(self, books: MemoryStore, company: Company) -> None:
        adopt(books, RuleFile(settled=("pending", "waived")), company.now - 5 * MINUTE, eagerly=True)
        first, second = books.stints_of(1)
        assert second.opened_at == first.opened_at + 1

    def test_a_change_is_judged_by_the_new_rules_after_the_lead_was_brought_to_them(
        self, books: MemoryStore, company: Company
    ) -> None:
        adopt(books, RuleFile(settled=("approved", "waived")), company.now, eagerly=False)
        with company.transaction():
            company.requirement(101, 11, "waived")
        books.replay(company.stream)
        assert [stint.closed_reason for stint in books.stints_of(1)] == [Reason.REQUIREMENTS_COMPLETED, None]
        assert [earned.requirements for earned in books.conversions.values()] == [("101",)]

    def test_a_lead_that_waits_is_judged_by_its_old_rules_and_then_by_the_new_ones(
        self, books: MemoryStore, company: Company
    ) -> None:
        with company.transaction():
            company.requirement(101, 11, "approved")
            company.requirement(102, 11, "approved")
            company.requirement(103, 11, "approved")
        books.replay(company.stream[:1])  # the batch ends inside the transaction
        adopt(books, RuleFile(settled=("waived",)), company.now, eagerly=True)
        assert books.leads[1].rules_version == 1
        books.replay(company.stream[1:])
        assert [stint.closed_reason for stint in books.stints_of(1)] == [
            Reason.REQUIREMENTS_COMPLETED,
            Reason.RULES_CHANGED,
            None,
        ]
        assert [earned.conversion_type for earned in books.conversions.values()] == [
            ConversionType.REQUIREMENTS_COMPLETED
        ]
        assert books.leads[1].rules_version == 2

    def test_a_lead_first_judged_after_the_adoption_knows_no_other_rules(
        self, books: MemoryStore, company: Company
    ) -> None:
        adopt(books, RuleFile(settled=("pending",)), company.now, eagerly=True)
        with company.transaction():
            company.user(2, "file-2")
        books.replay(company.stream)
        assert books.leads[2].rules_version == 2
        assert len(books.stints_of(2)) == 1

    def test_a_live_read_is_held_against_the_state_by_the_new_rules(self, books: MemoryStore, company: Company) -> None:
        adopt(books, RuleFile(settled=("approved", "pending", "waived")), company.now, eagerly=False)
        read = company.read(1)
        books.repair(1, read, company.now + MINUTE, company.now + 2 * MINUTE)
        assert [stint.closed_reason for stint in books.stints_of(1)] == [Reason.RULES_CHANGED, None]
        assert not books.conversions

    def test_a_lead_that_waits_for_a_read_is_judged_by_its_old_rules_first(
        self, books: MemoryStore, company: Company
    ) -> None:
        books.leads[1].judge_after = NEVER
        with company.transaction():
            company.requirement(101, 11, "approved")
            company.requirement(102, 11, "approved")
        rules = adopted(books, RuleFile(settled=("waived",)), company.now)
        outcome, lead = Outcome(), deepcopy(books.leads[1])
        repair(lead, company.read(1), company.now + MINUTE, company.now + 2 * MINUTE, rules, outcome, company.now)
        assert [earned.conversion_type for earned in outcome.conversions] == [ConversionType.REQUIREMENTS_COMPLETED]
        assert outcome.stints[1, 3].opened_reason is Reason.RULES_CHANGED
        assert lead.rules_version == 2

    def test_and_by_the_new_ones_no_later_than_its_lane_has_come_to(self, books: MemoryStore, company: Company) -> None:
        books.leads[1].judge_after = NEVER
        with company.transaction():
            company.requirement(101, 11, "approved")
            company.requirement(102, 11, "approved")
        rules = adopted(books, RuleFile(settled=("waived",)), company.now + 10 * MINUTE)
        outcome, lead, until = Outcome(), deepcopy(books.leads[1]), company.now + 3 * MINUTE
        repair(lead, company.read(1), company.now + MINUTE, company.now + 2 * MINUTE, rules, outcome, until)
        assert (outcome.stints[1, 3].opened_reason, outcome.stints[1, 3].opened_at) == (Reason.RULES_CHANGED, until)

    def test_one_that_new_rules_leave_where_it_is_has_them_after_its_read(
        self, books: MemoryStore, company: Company
    ) -> None:
        books.leads[1].judge_after = NEVER
        adopt(books, RuleFile(closed=("lost",)), company.now, eagerly=True)
        assert books.leads[1].rules_version == 1
        books.repair(1, company.read(1), company.now + MINUTE, company.now + 2 * MINUTE)
        assert books.leads[1].rules_version == 2
        assert len(books.stints_of(1)) == 1

    def test_one_first_read_after_the_adoption_knows_no_other_rules(self, books: MemoryStore, company: Company) -> None:
        adopt(books, RuleFile(settled=("pending",)), company.now, eagerly=True)
        with company.transaction():
            company.user(2, "file-2")
            company.claim(12, 2)
            company.requirement(103, 12)
        books.repair(2, company.read(2), company.now - MINUTE, company.now)
        at = company.now - MINUTE
        assert [(stint.queue_type, stint.opened_at) for stint in books.stints_of(2)] == [(QueueType.NONE, at)]
        assert books.told(2) == QueueChange(2, QueueType.NONE, frozenset(), False, True, Reason.FIRST_SEEN, at)


def naively(user_id: int, history: list[Change], old: NaiveWords, new: NaiveWords, cut: int) -> list[NaiveStint] | None:
    """Every stint of a user, judged by old words up to a version and by new ones from then on."""
    moments = judged_moments(user_id, history, None)
    if moments is None:
        return None
    before = [(moment, old, False) for moment in moments if moment.upto <= cut]
    after = [(moment, new, False) for moment in moments if moment.upto > cut]
    between = [(before[-1][0], new, True)] if before else []
    stints: list[NaiveStint] = []
    seen: set[str] = set()
    previous_why = ""
    for moment, words, by_rules in [*before, *between, *after]:
        state = state_at(user_id, history, moment.upto)
        queue, why = queue_of(state, words)
        if not stints:
            stints.append(NaiveStint(1, queue, moment.at, "first_seen", None, None, None, None, ()))
            seen = outstanding_in(state, words)
        elif queue == stints[-1].queue:
            if by_rules:
                seen -= _done_by_rules(state, old, new)
            seen |= outstanding_in(state, words)
        else:
            completed = tuple(sorted(seen & settled_on_open_claims(state, words)))
            reason = "rules_changed" if by_rules else reason_for(stints[-1].queue, queue, why, previous_why, completed)
            paid = [stint.signature for stint in stints if stint.signature]
            conversion = signature = None
            if reason == "signature_obtained" and user_signature(state) not in paid:
                conversion, signature = reason, user_signature(state)
            elif reason == "requirements_completed":
                conversion = reason
            stints[-1] = stints[-1]._replace(
                closed_reason=reason,
                conversion=conversion,
                signature=signature,
                completed=completed if conversion == "requirements_completed" else (),
            )
            stints.append(NaiveStint(len(stints) + 1, queue, moment.at, reason, None, None, None, None, ()))
            seen = outstanding_in(state, words)
        previous_why = why
    return stints


def _done_by_rules(state: State, old: NaiveWords, new: NaiveWords) -> set[str]:
    settled_old, settled_new = (_settled(state, words) for words in (old, new))
    return (outstanding_in(state, old) - outstanding_in(state, new)) | (settled_new - settled_old)


def _settled(state: State, words: NaiveWords) -> set[str]:
    return {id_ for id_, row in state[2].items() if is_one_of(row.status, words.settled)}


def without_times(stints: list[NaiveStint]) -> list[NaiveStint]:
    """When a stint opened and closed is another test's."""
    return [stint._replace(opened_at=0, closed_at=None) for stint in stints]


@given(
    st.lists(transactions, min_size=2, max_size=15),
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.sampled_from(OTHERS),
    st.booleans(),
    st.data(),
)
def test_any_history_is_judged_by_the_old_rules_up_to_an_adoption_anywhere_and_by_the_new_ones_after_it(
    history: list[Transaction],
    sizes: list[int],
    others: tuple[RuleFile, NaiveWords],
    eagerly: bool,
    data: st.DataObject,
) -> None:
    company = Company()
    happen_all(company, [founding, *history], moves=False)
    company.heartbeat()
    books, (file, words) = MemoryStore(RULES), others
    place = data.draw(st.integers(1, len(company.stream) - 1), label="changes before the adoption")
    in_batches(books, company.stream[:place], sizes)
    earned = dict(books.conversions)
    cuts = {
        user_id: max(books.lane_version, lead.judge_after or 0) for user_id, lead in books.leads.items() if lead.stint
    }
    outcome = adopt(books, file, books.lane_version, eagerly=eagerly)
    assert not outcome.conversions
    assert books.conversions == earned
    in_batches(books, company.stream[place:], sizes)
    last = Outcome()
    rejudge_all(deepcopy(list(books.leads.values())), books.lane_version, books.rules, last)
    assert not last.conversions
    books._write(last)
    assert_gapless(books)
    for user_id in USERS:
        expected = naively(user_id, company.stream, WORDS, words, cuts.get(user_id, -1))
        assert without_times(as_naive(books, user_id)) == without_times(expected or [])
    changed = sum(stint.opened_reason is Reason.RULES_CHANGED for stint in books.stints.values())
    event(f"moved by the rules: {changed}, conversions: {len(books.conversions)}")
