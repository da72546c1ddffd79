"""Compares what PostgreSQL holds with what must have happened.

Reads the tables as any program could: the schema `leadstream` and the call centre's three tables.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import namedtuple_row

from tests.demo.company import Address
from tests.demo.company_schema import COMPANY
from tests.demo.oracle import FAR, NONE, Oracle, Person, Span, Stay, Words
from tests.demo.shape import Shape, canonical
from tests.demo.transaction_log import Key

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS: Final = timedelta(microseconds=500)
"""As far as a timestamp(3) may be from what was written into it."""
_SHOWN: Final = 10


def micros(moment: datetime | None) -> int | None:
    """A moment (UTC where it has no zone) in µs since the epoch."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Clock:
    """How the server's clock stands to ours, and how fine it dates a commit; all in µs."""

    offset: int = 0
    slack: int = 2_000
    tick: int = 1

    def allows(self, span: Span, moment: int | None) -> bool:
        """Whether a commit within `span` of our clock may be dated `moment` by the server's."""
        if moment is None:
            return False
        low = (span.low + self.offset - self.slack) // self.tick * self.tick
        return low <= moment <= (span.high + self.offset + self.slack if span.high < FAR else FAR)


@dataclass
class Verdict:
    """The outcome of a comparison; `right` only when nothing at all differs."""

    customers: int = 0
    conversions: int = 0
    missing: int = 0
    double: int = 0
    wrong_queue: int = 0
    wrong: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """What else differs, by kind and user."""
    notes: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By user, what differs in words."""
    histories: dict[int, tuple[list[str], list[str]]] = field(default_factory=dict)
    """By user where something differs: the stints that must be, and those that are."""

    @property
    def right(self) -> bool:
        """Whether PostgreSQL holds exactly what happened."""
        return not (self.missing or self.double or self.wrong_queue or self.wrong or self.notes)

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        others = "".join(f", {len(users):,} with {kind}" for kind, users in sorted(self.wrong.items()))
        return (
            f"{self.customers:,} customers, {self.conversions:,} conversions: {self.missing:,} missing, "
            f"{self.double:,} double, {self.wrong_queue:,} in the wrong queue{others}"
        )

    def lines(self) -> Iterator[str]:
        """What differs, of ten customers."""
        for user in list(self.notes)[:_SHOWN]:
            yield f"user {user}: {'; '.join(self.notes[user])}"
            expected, found = self.histories.get(user, ([], []))
            yield from (f"    must be  {line}" for line in expected)
            yield from (f"    is       {line}" for line in found)
        if len(self.notes) > _SHOWN:
            yield f"… and {len(self.notes) - _SHOWN:,} customers more"


Document = tuple[str, str | None, str | None, str | None]
"""A requirement's claim, type, status and reason."""


@dataclass
class Found:
    """Everything PostgreSQL says of one user."""

    lead: Any = None
    stints: list[Any] = field(default_factory=list)
    conversions: list[Any] = field(default_factory=list)
    score: Any = None
    pending: list[str] = field(default_factory=list)
    claims: dict[str, str | None] = field(default_factory=dict)
    requirements: dict[str, Document] = field(default_factory=dict)


def compare(
    conninfo: str,
    oracle: Oracle,
    clock: Clock,
    *,
    other_writers: bool = False,
    settled: bool = True,
    left_behind: bool = False,
) -> Verdict:
    """Compares every customer. With `other_writers` the call centre's own columns may differ from ours.

    Where it is not `settled`, leads may wait for a stream that is away (`judge_after`). With `left_behind` the company
    has no foreign keys: rows of deleted customers, which are nobody's, may be held or not.

    Raises psycopg.Error where a table cannot be read.
    """
    found = _read(conninfo)
    verdict = Verdict(customers=len(oracle.people))
    for user in sorted(oracle.people.keys() | found.keys()):
        person = oracle.people.get(user)
        one = found.get(user, Found())
        if person is None:
            verdict.wrong["no such customer"][user] += 1
            verdict.notes[user].append("the company has no such customer")
            continue
        before = len(verdict.notes.get(user, ()))
        _compare_conversions(verdict, person, one, oracle.words)
        _compare_queue(verdict, person, one, oracle.words, other_writers)
        _compare_stints(verdict, person, one, clock)
        _compare_rows(verdict, person, one, settled, left_behind and not person.there)
        if len(verdict.notes.get(user, ())) > before:
            verdict.histories[user] = (
                [_expected_line(stay) for stay in person.stays],
                [_found_line(stint) for stint in one.stints],
            )
    return verdict


def compare_company(url: str, oracle: Oracle, shape: Shape = COMPANY) -> list[str]:
    """Sentences on customers whose rows in MySQL are not what the log says; a fault of the company, not of ours.

    Rows that belong to nobody are passed over. Raises pymysql.MySQLError where the tables cannot be read.
    """
    connection = Address.of(url).connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT id, current_signature_file_id, {shape.enabled.asked} FROM users")
        users = {row[0]: (shape.signature.read(row[1]), bool(row[2])) for row in cursor}
        cursor.execute("SELECT id, user_id, status FROM claims")
        claims = {canonical(row[0]): (row[1], row[2]) for row in cursor if row[1] in users}
        cursor.execute(
            "SELECT id, claim_id, type, status, claim_requirement_reason FROM claim_requirements"
            " WHERE claim_id IS NOT NULL"
        )
        documents = ((canonical(key), canonical(claim), *words) for key, claim, *words in cursor)
        requirements = {key: (claim, *words) for key, claim, *words in documents if claim in claims}
    there = [person for person in oracle.people.values() if person.there]
    expected: tuple[tuple[str, Mapping[Key, Any], Mapping[Key, Any]], ...] = (
        ("users", users, {person.id: (person.signature, person.enabled) for person in there}),
        ("claims", claims, {key: (one.id, case.status) for one in there for key, case in one.cases.items()}),
        (
            "claim_requirements",
            requirements,
            {
                key: (document.claim, document.type, document.status, document.reason)
                for one in there
                for case in one.cases.values()
                for key, document in case.documents.items()
            },
        ),
    )
    return [
        f"{table} {key}: MySQL holds {rows.get(key)}, the log says {logged.get(key)}"
        for table, rows, logged in expected
        for key in sorted(rows.keys() | logged.keys(), key=str)
        if rows.get(key) != logged.get(key)
    ]


def _read(conninfo: str) -> dict[int, Found]:
    found: dict[int, Found] = defaultdict(Found)
    with psycopg.connect(conninfo, row_factory=namedtuple_row) as connection:
        connection.execute("SET TIME ZONE 'UTC'")

        def rows(sql: LiteralString) -> Iterator[Any]:
            return iter(connection.execute(sql))

        for row in rows("SELECT user_id, queue_type, present, enabled, signature, judge_after FROM leadstream.leads"):
            found[row.user_id].lead = row
        for row in rows(
            "SELECT user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason, conversion_type,"
            " signature, source FROM leadstream.stints ORDER BY user_id, number"
        ):
            found[row.user_id].stints.append(row)
        for row in rows(
            "SELECT user_id, previous_queue_type, conversion_type, converted_at, signature_obtained FROM conversions"
            " ORDER BY converted_at"
        ):
            found[row.user_id].conversions.append(row)
        for row in rows("SELECT user_id, current_queue_type, is_active, last_outcome FROM user_call_scores"):
            found[row.user_id].score = row
        for row in rows("SELECT user_id, queue_type FROM call_queue WHERE status = 'pending'"):
            found[row.user_id].pending.append(row.queue_type)
        for row in rows("SELECT user_id, id, status FROM leadstream.claims"):
            found[row.user_id].claims[_text(row.id)] = row.status
        for row in rows("SELECT user_id, id, claim_id, type, status, reason FROM leadstream.requirements"):
            document = _text(row.claim_id), row.type, row.status, row.reason
            found[row.user_id].requirements[_text(row.id)] = document
    return found


def _text(key: object) -> str:
    """A row's id as text, in the one spelling that stands for all equal ones."""
    return str(canonical(key))


def _compare_conversions(verdict: Verdict, person: Person, found: Found, words: Words) -> None:
    expected = Counter(stay.conversion for stay in person.stays if stay.conversion)
    recorded = Counter(row.conversion_type for row in found.conversions)
    verdict.conversions += expected.total()
    verdict.missing += (expected - recorded).total()
    verdict.double += (recorded - expected).total()
    if expected != recorded:
        verdict.notes[person.id].append(f"conversions must be {dict(expected)}, are {dict(recorded)}")
    for row in found.conversions:
        twins = [
            words.label(stint.queue_type)
            for stint in found.stints
            if stint.conversion_type == row.conversion_type
            and stint.closed_at is not None
            and abs(stint.closed_at - row.converted_at.replace(tzinfo=UTC)) <= _MILLISECONDS
        ]
        if row.previous_queue_type not in twins:
            verdict.wrong["a conversion without its stint"][person.id] += 1
            verdict.notes[person.id].append(f"conversion {row} belongs to no stint")


def _compare_queue(verdict: Verdict, person: Person, found: Found, words: Words, other_writers: bool) -> None:
    problems = []
    never = found.score is not None and words.is_never(found.score.last_outcome)
    called = person.queue != NONE and not never
    label = words.label(person.queue if called else NONE)
    if found.lead is None or found.lead.queue_type != person.queue:
        problems.append(f"leads.queue_type is {found.lead.queue_type if found.lead else 'missing'}")
    if not other_writers:
        if found.score is None:
            problems.append("there is no row in user_call_scores")
        problems += _unlike(found, label, called=called)
    if problems:
        verdict.wrong_queue += 1
        whom = "must never be called and belongs" if never else "must be"
        verdict.notes[person.id].append(f"{whom} in {person.queue}: {', '.join(problems)}")


def _unlike(found: Found, label: str | None, *, called: bool) -> list[str]:
    """What differs in the call centre's rows of somebody who is to stand there under this label."""
    problems = []
    if found.score is not None and found.score.current_queue_type != label:
        problems.append(f"user_call_scores.current_queue_type is {found.score.current_queue_type}, not {label}")
    elif found.score is not None and found.score.is_active != called:
        problems.append(f"user_call_scores.is_active is {found.score.is_active}")
    if found.pending != ([label] if called else []):
        problems.append(f"call_queue's pending entries are {found.pending}")
    return problems


def compare_seen(conninfo: str, oracle: Oracle) -> Verdict:
    """Compares what the call centre sees of every customer with the present, whatever is held of the past.

    Conversions that are there must have happened; they may be missing. Raises psycopg.Error.
    """
    found, verdict = _read(conninfo), Verdict(customers=len(oracle.people))
    for user, person in sorted(oracle.people.items()):
        one = found.get(user, Found())
        expected = Counter(stay.conversion for stay in person.stays if stay.conversion)
        recorded = Counter(row.conversion_type for row in one.conversions)
        verdict.conversions += recorded.total()
        verdict.double += (recorded - expected).total()
        never = one.score is not None and oracle.words.is_never(one.score.last_outcome)
        called = person.queue != NONE and not never
        problems = _unlike(one, oracle.words.label(person.queue if called else NONE), called=called)
        if problems:
            verdict.wrong_queue += 1
            verdict.notes[user].append(f"must be seen in {person.queue}: {', '.join(problems)}")
    return verdict


def _compare_stints(verdict: Verdict, person: Person, found: Found, clock: Clock) -> None:
    expected = [_story(stay) for stay in person.stays]
    history = [
        (row.number, row.queue_type, row.opened_reason, row.closed_reason, row.conversion_type, row.signature)
        for row in found.stints
    ]
    if expected != history:
        verdict.wrong["a wrong history"][person.id] += 1
        verdict.notes[person.id].append("the stints differ")
        return
    late = []
    for stay, row in zip(person.stays, found.stints, strict=True):
        if not clock.allows(stay.opened, micros(row.opened_at)):
            late.append(f"stint {stay.number} opened at {row.opened_at}")
        if stay.closed is not None and not clock.allows(stay.closed, micros(row.closed_at)):
            late.append(f"stint {stay.number} closed at {row.closed_at}")
    for earlier, later in zip(found.stints, found.stints[1:], strict=False):
        if earlier.closed_at != later.opened_at:
            late.append(f"stint {later.number} opens at another moment than the one before it closes")
    if late:
        verdict.wrong["a wrong date"][person.id] += 1
        verdict.notes[person.id].append(f"not the commit's time: {', '.join(late)}")


def _compare_rows(verdict: Verdict, person: Person, found: Found, settled: bool, left_behind: bool) -> None:
    lead = found.lead
    claims = {str(key): case.status for key, case in person.cases.items()}
    requirements = {
        str(key): (str(document.claim), document.type, document.status, document.reason)
        for case in person.cases.values()
        for key, document in case.documents.items()
    }
    problems = []
    waits = settled and lead is not None and lead.judge_after is not None
    if lead is not None and (waits or lead.present != person.there):
        problems.append(f"present is {lead.present}, judge_after {lead.judge_after}")
    if lead is not None and person.there and (lead.enabled, lead.signature) != (person.enabled, person.signature):
        problems.append("another signature or state of the account")
    if found.claims != claims and not left_behind:
        problems.append(f"claims must be {claims}, are {found.claims}")
    if found.requirements != requirements and not left_behind:
        problems.append(f"requirements must be {requirements}, are {found.requirements}")
    if problems:
        verdict.wrong["other rows than the company's"][person.id] += 1
        verdict.notes[person.id].append("; ".join(problems))


def _story(stay: Stay) -> tuple[int, str, str, str | None, str | None, str | None]:
    return stay.number, stay.queue, stay.opened_reason, stay.closed_reason, stay.conversion, stay.signature


def _expected_line(stay: Stay) -> str:
    end = f"{stay.closed_reason} {stay.conversion or ''} {_clock(stay.opened)}"
    return f"{stay.number} {stay.queue} {stay.opened_reason} → {end}"


def _found_line(row: Any) -> str:
    return (
        f"{row.number} {row.queue_type} {row.opened_reason} → {row.closed_reason} {row.conversion_type or ''} "
        f"{row.opened_at:%H:%M:%S.%f} by {row.source}"
    )


def _clock(span: Span) -> str:
    if span.high >= FAR:
        return "later"
    return f"{_EPOCH + timedelta(microseconds=span.low):%H:%M:%S.%f}…{_EPOCH + timedelta(microseconds=span.high):%S.%f}"
