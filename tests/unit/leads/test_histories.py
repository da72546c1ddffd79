"""Random histories: the ledger against the naive model, in any batches, with live reads at any moment."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from consumer.leads.drift import differences
from consumer.leads.model import Change, ClaimRow, Key, Lead, LiveState, RequirementRow, UserRow
from tests.unit.leads.company import MINUTE, SECOND, Company
from tests.unit.leads.histories import (
    RULES,
    USERS,
    WORDS,
    Transaction,
    busy_transactions,
    founding,
    happen_all,
    transactions,
)
from tests.unit.leads.memory_store import MemoryStore
from tests.unit.leads.naive_model import (
    NaiveRead,
    NaiveStint,
    State,
    is_one_of,
    queue_of,
    state_at,
    stints_of,
)

histories = st.lists(transactions, min_size=4, max_size=30)
chance = st.sampled_from((False, False, True))
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=8)
"""Sizes of batches, used over and over."""


def in_batches(books: MemoryStore, changes: list[Change], sizes: list[int]) -> None:
    """Replays changes cut after so many, and so many, anywhere."""
    start = number = 0
    while start < len(changes):
        size = sizes[number % len(sizes)]
        books.replay(changes[start : start + size])
        start += size
        number += 1


def as_naive(books: MemoryStore, user_id: int) -> list[NaiveStint]:
    """Our stints in the words of the naive model."""
    found = []
    for stint in books.stints_of(user_id):
        conversion = books.conversions.get((user_id, stint.number))
        assert (conversion is None) == (stint.conversion_type is None)
        assert stint.opened_reason is not None
        found.append(
            NaiveStint(
                stint.number,
                stint.queue_type.value,
                stint.opened_at,
                stint.opened_reason.value,
                stint.closed_at,
                stint.closed_reason.value if stint.closed_reason else None,
                conversion.conversion_type.value if conversion else None,
                stint.signature,
                conversion.requirements if conversion else (),
            )
        )
        if conversion is not None:
            assert conversion.converted_at == stint.closed_at
            assert conversion.previous_queue_type is stint.queue_type
    return found


def assert_gapless(books: MemoryStore) -> None:
    """Stints are numbered from 1, each opens when and why the one before closed, and one is open."""
    for user_id, lead in books.leads.items():
        stints = books.stints_of(user_id)
        assert [stint.number for stint in stints] == list(range(1, lead.stint + 1))
        if not stints:
            continue
        for before, after in pairwise(stints):
            assert before.closed_at == after.opened_at >= before.opened_at
            assert before.closed_reason is after.opened_reason
            assert before.queue_type is not after.queue_type
        assert stints[-1].closed_at is None
        assert (stints[-1].queue_type, stints[-1].opened_at) == (lead.queue_type, lead.opened_at)


def assert_paid_once(books: MemoryStore, company: Company) -> None:
    """No signature file is paid twice, and no requirement more often than it was settled."""
    signatures = Counter(
        (conversion.user_id, conversion.signature)
        for conversion in books.conversions.values()
        if conversion.signature is not None
    )
    assert all(count == 1 for count in signatures.values())
    settled: Counter[Key] = Counter()
    held: dict[Key, bool] = {}
    for change in company.stream:
        row = change.after or change.before
        if isinstance(row, RequirementRow):
            now = isinstance(change.after, RequirementRow) and is_one_of(change.after.status, WORDS.settled)
            settled[row.id] += now and not held.get(row.id, False)
            held[row.id] = now
    paid = Counter(id_ for conversion in books.conversions.values() for id_ in conversion.requirements)
    assert all(paid[id_] <= settled[id_] for id_ in paid)


@given(histories, cuts, st.booleans())
@example(
    [
        (1, (("touch", 1),)),
        (1, (("user", 1, None, 1),)),
        (1, (("claim", "11", 1, "open"),)),
        (1, (("user", 2, None, 1), ("claim", "11", 2, "open"), ("replace user", 2))),
    ],
    [1],
    False,
)
def test_any_history_in_any_batches_gives_what_the_naive_model_gives(
    history: list[Transaction], sizes: list[int], founded: bool
) -> None:
    company = Company()
    happen_all(company, [founding, *history] if founded else history, moves=True)
    books = MemoryStore(RULES)
    in_batches(books, company.stream, sizes)
    assert_gapless(books)
    for user_id in USERS:
        expected = stints_of(user_id, company.stream, WORDS)
        assert as_naive(books, user_id) == (expected or [])
        if expected is None and user_id in books.leads:
            assert user_id in books.rechecks
    event(f"conversions: {len(books.conversions)}")


@given(histories, cuts)
def test_the_batches_make_no_difference_to_what_is_kept(history: list[Transaction], sizes: list[int]) -> None:
    company = Company()
    happen_all(company, [founding, *history], moves=True)
    company.heartbeat()
    one, many = MemoryStore(RULES), MemoryStore(RULES)
    one.replay(company.stream)
    in_batches(many, company.stream, sizes)
    many.replay([])
    for books in (one, many):  # whether a score was reset before is of interest within one replay only
        books.conversions = {key: earned._replace(reset_at=None) for key, earned in books.conversions.items()}
    assert (one.leads, one.stints, one.conversions) == (many.leads, many.stints, many.conversions)
    assert one.lane_version == many.lane_version == company.version


@given(histories, histories, cuts, st.data())
def test_a_backfill_and_then_the_stream_from_any_moment_before_it_give_every_later_conversion(
    before: list[Transaction], after: list[Transaction], sizes: list[int], data: st.DataObject
) -> None:
    company = Company()
    happen_all(company, [founding, *before], moves=False)
    listening_from = data.draw(st.integers(0, len(company.stream)), label="the stream begins with change")
    reads = {user_id: company.read(user_id) for user_id in USERS if user_id in company.users}
    floor, read_version = company.now - MINUTE, company.version
    ended = company.now + data.draw(st.sampled_from((1, SECOND, 50 * SECOND)), label="the read took")
    happen_all(company, after, moves=False)
    company.heartbeat(after=2 * MINUTE)

    books = MemoryStore(RULES)
    for user_id, live in reads.items():
        books.repair(user_id, live, floor, ended)
    assert not books.conversions
    in_batches(books, company.stream[listening_from:], sizes)
    assert_gapless(books)
    for user_id in reads:
        read = NaiveRead(read_version, ended, floor)
        assert as_naive(books, user_id) == stints_of(user_id, company.stream, WORDS, read)


class Round(NamedTuple):
    """Transactions, some of the stream, a live read; more of both, and the read is merged now or a round later."""

    before: list[Transaction]
    streamed_before: int
    user_id: int
    read_takes: int
    after: list[Transaction]
    streamed_after: int
    lost: int
    merged_late: bool
    beat: int


def rounds(happening: st.SearchStrategy[Transaction], users: tuple[int, ...]) -> st.SearchStrategy[list[Round]]:
    """Some rounds of such transactions, in which some of these users are read."""
    few = st.lists(happening, max_size=4)
    return st.lists(
        st.builds(
            Round,
            before=few,
            streamed_before=st.sampled_from((0, 0, 0, 1, 2, 4, 1000)),
            user_id=st.sampled_from(users),
            read_takes=st.sampled_from((0, 1, SECOND, 90 * SECOND)),
            after=few,
            streamed_after=st.sampled_from((0, 0, 1, 2, 4, 1000)),
            lost=st.sampled_from((0, 0, 1, 3)),
            merged_late=st.booleans(),
            beat=st.sampled_from((0, 1, SECOND, 2 * MINUTE)),
        ),
        min_size=2,
        max_size=8,
    )


class Consumer:
    """Reads a company's stream piece by piece into books, or loses some of it."""

    def __init__(self, company: Company, books: MemoryStore) -> None:
        self.company = company
        self.books = books
        self._done = 0

    def take(self, count: int) -> None:
        """The next changes, in one batch."""
        self.books.replay(self._next(count))

    def lose(self, count: int) -> None:
        """The next changes do not arrive; that their transactions ended does."""
        self.books.replay([change._replace(table=None, before=None, after=None) for change in self._next(count)])

    def _next(self, count: int) -> list[Change]:
        changes = self.company.stream[self._done : self._done + count]
        self._done += len(changes)
        return changes


class Witness:
    """Remembers every state a customer was ever in, between source transactions, and how far we got in them."""

    def __init__(self, company: Company, books: MemoryStore) -> None:
        self._company = company
        self._books = books
        self._states: dict[int, list[State]] = {user_id: [] for user_id in USERS}
        self._reached = dict.fromkeys(USERS, 0)

    def look(self) -> None:
        """To be called after every transaction."""
        for user_id, states in self._states.items():
            states.append((self._company.users.get(user_id), *self._company.owned_by(user_id)))

    def position(self, user_id: int) -> int:
        """The number of the present state."""
        return len(self._states[user_id]) - 1

    def reached(self, user_id: int, position: int) -> None:
        """We hold this state or a later one."""
        self._reached[user_id] = max(self._reached[user_id], position)

    def assert_real(self) -> None:
        """Every lead that is judged at every boundary is in a state that existed, none earlier than before."""
        for user_id, lead in self._books.leads.items():
            if lead.judge_after is None:
                states = self._states[user_id]
                reached = self._reached[user_id]
                while reached < len(states) and states[reached] != as_rows(lead):
                    reached += 1
                assert reached < len(states), "judged in a state that never existed, or not any more"
                self._reached[user_id] = reached


def as_rows(lead: Lead) -> State:
    """What we hold of a lead as MySQL's rows."""
    return (
        UserRow(lead.user_id, lead.signature, lead.enabled) if lead.exists else None,
        {id_: ClaimRow(id_, lead.user_id, claim.status) for id_, claim in lead.claims.items()},
        {
            id_: RequirementRow(id_, held.claim_id, held.type, held.status, held.reason)
            for id_, held in lead.requirements.items()
        },
    )


@settings(max_examples=300)
@given(st.one_of(rounds(transactions, USERS), rounds(busy_transactions, (1,)), rounds(busy_transactions, (1,))), chance)
def test_live_reads_at_any_moment_pay_nothing_twice_and_leave_everyone_in_the_right_queue(
    script: list[Round], lossy: bool
) -> None:
    company, books = Company(), MemoryStore(RULES)
    consumer, witness = Consumer(company, books), Witness(company, books)

    def happens(history: list[Transaction]) -> None:
        for transaction in history:
            happen_all(company, [transaction], moves=True)
            witness.look()

    def takes(count: int) -> None:
        consumer.take(count)
        if not lossy:
            witness.assert_real()

    happens([founding])
    takes(len(company.stream))
    late: list[tuple[int, LiveState, int, int, int]] = []
    for turn in script:
        happens(turn.before)
        takes(turn.streamed_before)
        read = (turn.user_id, company.read(turn.user_id), company.now - MINUTE, company.now + turn.read_takes)
        reads = [*late, (*read, witness.position(turn.user_id))]
        happens(turn.after)
        consumer.lose(turn.lost if lossy else 0)
        takes(turn.streamed_after)
        late = [reads.pop()] if turn.merged_late else []
        for user_id, live, floor, read_ended, position in reads:
            books.repair(user_id, live, floor, read_ended)
            assert_gapless(books)
            lead = books.leads[user_id]
            if lead.read_floor == floor and not differences(lead, live, RULES):  # it was taken, not overtaken
                witness.reached(user_id, position)
        company.heartbeat(after=turn.beat)
    company.heartbeat(after=3 * MINUTE)
    takes(len(company.stream))
    for user_id in USERS if lossy else list(books.rechecks):
        books.repair(user_id, company.read(user_id), company.now - MINUTE, company.now)
    company.heartbeat(after=SECOND)
    takes(1)
    assert not books.rechecks
    assert_gapless(books)
    assert_paid_once(books, company)
    for user_id, lead in books.leads.items():
        state = (company.users.get(user_id), *company.owned_by(user_id))
        assert as_rows(lead) == state
        assert lead.queue_type == queue_of(state, WORDS)[0]
        assert lead.judge_after is None


@settings(max_examples=300)
@given(rounds(transactions, USERS))
def test_a_safety_net_at_work_all_the_time_changes_no_history_that_the_stream_brings(script: list[Round]) -> None:
    """Repairs are made where the lane has passed the read (`reconciler.runs.repair`); the rest is only shown."""
    company, alone, both = Company(), MemoryStore(RULES), MemoryStore(RULES)
    consumers = Consumer(company, alone), Consumer(company, both)

    def takes(count: int) -> None:
        for consumer in consumers:
            consumer.take(count)

    happen_all(company, [founding], moves=False)
    company.heartbeat(after=2 * MINUTE)
    takes(len(company.stream))
    for turn in script:
        happen_all(company, turn.before, moves=False)
        takes(turn.streamed_before)
        live, floor, ended = company.read(turn.user_id), company.now - MINUTE, company.now + turn.read_takes
        happen_all(company, turn.after, moves=False)
        company.heartbeat(after=turn.beat)
        takes(turn.streamed_after)
        if both.lane_version >= ended:
            both.repair(turn.user_id, live, floor, ended)
    company.heartbeat(after=3 * MINUTE)
    takes(len(company.stream))
    assert both.stints == alone.stints
    assert {key: one._replace(reset_at=None) for key, one in both.conversions.items()} == {
        key: one._replace(reset_at=None) for key, one in alone.conversions.items()
    }


@given(histories)
def test_the_company_keeps_the_rows_that_its_stream_describes(history: list[Transaction]) -> None:
    company = Company()
    happen_all(company, [founding, *history], moves=False)
    for user_id in USERS:
        assert state_at(user_id, company.stream, company.version) == (
            company.users.get(user_id),
            *company.owned_by(user_id),
        )
