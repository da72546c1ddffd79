"""Random histories: the ledger against the naive model, in any batches, with live reads at any moment."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from consumer.leads.model import Change, LiveState, RequirementRow
from tests.unit.leads.books import Books
from tests.unit.leads.company import MINUTE, SECOND, Company
from tests.unit.leads.histories import RULES, USERS, WORDS, Transaction, founding, happen, happen_all, transactions
from tests.unit.leads.naive_model import (
    NaiveRead,
    NaiveStint,
    is_one_of,
    queue_of,
    state_at,
    stints_of,
)

histories = st.lists(transactions, min_size=4, max_size=30)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=8)
"""Sizes of batches, used over and over."""


def in_batches(books: Books, changes: list[Change], sizes: list[int]) -> None:
    """Replays changes cut after so many, and so many, anywhere."""
    start = number = 0
    while start < len(changes):
        size = sizes[number % len(sizes)]
        books.replay(changes[start : start + size])
        start += size
        number += 1


def as_naive(books: Books, user_id: int) -> list[NaiveStint]:
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


def assert_gapless(books: Books) -> None:
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


def assert_paid_once(books: Books, company: Company) -> None:
    """No signature file is paid twice, and no requirement more often than it was settled."""
    signatures = Counter(
        (conversion.user_id, conversion.signature)
        for conversion in books.conversions.values()
        if conversion.signature is not None
    )
    assert all(count == 1 for count in signatures.values())
    settled: Counter[int] = Counter()
    held: dict[int, bool] = {}
    for change in company.stream:
        row = change.after or change.before
        if isinstance(row, RequirementRow):
            now = isinstance(change.after, RequirementRow) and is_one_of(change.after.status, WORDS.settled)
            settled[row.id] += now and not held.get(row.id, False)
            held[row.id] = now
    paid = Counter(id_ for conversion in books.conversions.values() for id_ in conversion.requirements)
    assert all(paid[id_] <= settled[id_] for id_ in paid)


@given(histories, cuts, st.booleans())
def test_any_history_in_any_batches_gives_what_the_naive_model_gives(
    history: list[Transaction], sizes: list[int], founded: bool
) -> None:
    company = Company()
    happen_all(company, [founding, *history] if founded else history, moves=True)
    books = Books(RULES)
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
    one, many = Books(RULES), Books(RULES)
    one.replay(company.stream)
    in_batches(many, company.stream, sizes)
    many.replay([])
    for books in (one, many):  # whether a score was reset before is of interest within one replay only
        books.conversions = {key: earned._replace(after_reset=False) for key, earned in books.conversions.items()}
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

    books = Books(RULES)
    for user_id, live in reads.items():
        books.mend(user_id, live, floor, ended)
    assert not books.conversions
    in_batches(books, company.stream[listening_from:], sizes)
    assert_gapless(books)
    for user_id, live in reads.items():
        rows = [row for row in (live.user, *live.claims, *live.requirements) if row is not None]
        newest = max(row.updated_at for row in rows if row.updated_at is not None)
        read = NaiveRead(read_version, ended, newest)
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


few = st.lists(transactions, max_size=3)
rounds = st.lists(
    st.builds(
        Round,
        before=few,
        streamed_before=st.sampled_from((0, 1, 2, 4, 7, 1000)),
        user_id=st.sampled_from(USERS),
        read_takes=st.sampled_from((0, 1, SECOND, 90 * SECOND)),
        after=few,
        streamed_after=st.sampled_from((0, 1, 2, 4, 1000)),
        lost=st.sampled_from((0, 0, 1, 3)),
        merged_late=st.booleans(),
        beat=st.sampled_from((0, 1, SECOND, 2 * MINUTE)),
    ),
    min_size=1,
    max_size=7,
)


class Consumer:
    """Reads a company's stream piece by piece into books, or loses some of it."""

    def __init__(self, company: Company, books: Books) -> None:
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


@settings(max_examples=300)
@given(rounds, st.booleans())
def test_live_reads_at_any_moment_pay_nothing_twice_and_leave_everyone_in_the_right_queue(
    script: list[Round], lossy: bool
) -> None:
    company, books = Company(), Books(RULES)
    consumer = Consumer(company, books)
    happen(company, founding, moves=True)
    late: list[tuple[int, LiveState, int, int]] = []
    for turn in script:
        happen_all(company, turn.before, moves=True)
        consumer.take(turn.streamed_before)
        read = (turn.user_id, company.read(turn.user_id), company.now - MINUTE, company.now + turn.read_takes)
        happen_all(company, turn.after, moves=True)
        consumer.lose(turn.lost if lossy else 0)
        consumer.take(turn.streamed_after)
        for reading in [*late, *([] if turn.merged_late else [read])]:
            books.mend(*reading)
            assert_gapless(books)
        late = [read] if turn.merged_late else []
        company.heartbeat(after=turn.beat)
    company.heartbeat(after=3 * MINUTE)
    consumer.take(len(company.stream))
    for user_id in USERS if lossy else list(books.rechecks):
        books.mend(user_id, company.read(user_id), company.now - MINUTE, company.now)
    company.heartbeat(after=SECOND)
    consumer.take(1)
    assert not books.rechecks
    assert_gapless(books)
    assert_paid_once(books, company)
    for user_id, lead in books.leads.items():
        claims, requirements = company.owned_by(user_id)
        assert lead.judge_after is None
        assert lead.queue_type == queue_of((company.users.get(user_id), claims, requirements), WORDS)[0]
        assert {id_: claim.status for id_, claim in lead.claims.items()} == {
            id_: row.status for id_, row in claims.items()
        }
        assert {id_: (held.status, held.type, held.claim_id) for id_, held in lead.requirements.items()} == {
            id_: (row.status, row.type, row.claim_id) for id_, row in requirements.items()
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
