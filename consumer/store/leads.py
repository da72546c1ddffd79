"""Leads in and out of PostgreSQL, in bulk: one transaction loads what a batch needs and writes what it decided.

Writers never deadlock with each other: a transaction takes lanes first, in their order, then locks the leads it knows
in user order (`load`), then adds the ones nobody knew in user order (`write`), and touches everything else of a lead
only while it holds that lead; what it asks to be read live comes last. Two writers that create the same lead at once
meet on its primary key: one of them gets TransactionConflict. Rows of the call centre are taken as `effects` says;
other programs that keep to this order never meet us in a deadlock, and where another order ends in one, somebody gets
TransactionConflict too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog

from consumer.lane import lane_of
from consumer.leads.left_behind import Arrival, LeftBehind
from consumer.leads.model import (
    NEVER,
    Claim,
    Conversion,
    Key,
    Lead,
    Missed,
    QueueChange,
    QueueType,
    Reason,
    Requirement,
    Rule,
    Stint,
)
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules
from consumer.settings import DEAD_LETTER_DAYS
from consumer.store import sql
from consumer.store.arrays import POSTGRES_EPOCH, bigints, booleans, integers, moments, texts, uuids
from consumer.store.call_centre import entries, tables
from consumer.store.call_centre.effects import conversion_id, insert_conversions, of_long_ago, write_effects
from consumer.store.call_centre.entries import EntryDrift
from consumer.store.columns import (
    claim_columns,
    closing_columns,
    key_columns,
    lead_columns,
    left_columns,
    left_of,
    requirement_columns,
    stint_columns,
)
from consumer.store.connection import Connection, Cursor, Rows, classified, connect, place, roll_back
from consumer.store.dead_letters import EXPIRED_AT_ONCE, DeadLetter, Unresolved, choose, columns, resolve
from consumer.store.errors import LaneTaken, NotPrepared
from consumer.store.lanes import LaneMove, LanePoint, LaneState
from consumer.store.rules import LOCK, InForce

_QUEUE_TYPES: Final[dict[str | None, QueueType | None]] = {None: None, **{name.value: name for name in QueueType}}
_RULES: Final[dict[str | None, Rule | None]] = {None: None, **{name.value: name for name in Rule}}
_user: Final = itemgetter(0)
log: Final = structlog.get_logger(__name__)
_NO_TEXTS: Final[frozenset[str]] = frozenset()

LATE: Final = "what belongs to a claim that came was left behind only later"

ASKED_FOR_BY: Final = "asked for by "
"""What the reason of a recheck begins with that a person or a program asked for; their name follows."""

BEFORE_ALL: Final = -(2**63)
"""Below every user's id."""

_LOAD_AT_ONCE: Final = 2_000
"""Leads per statement of a load: PostgreSQL reads the next ones while we build these."""


class Recheck(NamedTuple):
    """A lead that has to be read live; `attempts` have failed so far."""

    user_id: int
    reason: str
    attempts: int


class Present(NamedTuple):
    """Where a live read puts a lead whose lane has yet to pass `until_version`, the end of that read (µs)."""

    user_id: int
    queue_type: QueueType
    until_version: int


class _Shown(NamedTuple):
    """The queue that a lead is shown in by the present, when that was read (µs), and whether its lane has passed it."""

    queue_type: QueueType
    until_version: int
    is_passed: bool


class _Seen(NamedTuple):
    """What the call centre is to see of an outcome."""

    changes: Iterable[QueueChange]
    owed: Sequence[QueueChange] = ()
    """Changes of leads whose rows there another session holds."""
    held: Collection[int] = ()
    """Leads whose rows there another session holds."""
    passed: Collection[int] = ()
    """Leads that are no longer shown by the present."""
    restarted: Collection[int] = ()
    """Leads that stay shown by the present, while history has begun their score again."""


@dataclass(slots=True)
class _Turn:
    """Behind which user the next transaction looks for leads that are shown by the present."""

    shown_after: int = BEFORE_ALL


class LeadStore(AbstractContextManager["LeadStore"]):
    """One connection to PostgreSQL, opened when it is first needed and again after it broke.

    `lanes` is the number of lanes, `shadow` leaves the call centre's tables alone, `source` says in the table of stints
    who found out: what comes from the stream can be taken from there again, so its commits do not wait until they are
    on disk. The connection keeps settings and prepared statements, so a pooler between must pool sessions, not
    transactions. Not for use by several threads at once.
    """

    def __init__(
        self,
        conninfo: str,
        lanes: int,
        shadow: bool,
        source: Literal["stream", "sweep"],
        dead_letter_days: int = DEAD_LETTER_DAYS,
    ) -> None:
        self.lane_count: Final = lanes
        self.shadow: Final = shadow
        self.source: Final = source
        self._conninfo: Final = conninfo
        self.dead_letter_days: Final = dead_letter_days
        self._connection: Connection | None = None
        self._transactions = 0
        """Of this session."""
        self._add_conversions = ""
        self._in_force = InForce()
        self._emitted: dict[int, int] = {}
        """Rechecks that `due_rechecks` gave out, user → when they were asked for."""
        self._askers: dict[int, str] = {}
        """Of those, who asked for them, where somebody did."""
        self._turn: Final = _Turn()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session; an unfinished transaction is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self, *, past_held: bool = False, past_unseen: bool = False) -> Iterator[LeadTransaction]:
        """Everything inside is committed together at the end, or, on any exception, not at all.

        With `past_held`, rows of the call centre that another session holds are not waited for: what becomes of their
        leads is written, and seen there when that session is done. With `past_unseen` as well, so it is with leads that
        have no row there yet: somebody may be inserting it.
        The rules in force stay so until then: what it judges, it judges by `LeadTransaction.rules`.
        Raises TransactionConflict, RowLocked, StoreUnavailable, LaneTaken, NotPrepared (see `consumer.store.errors`).
        """
        connection = self._session()
        try:
            with classified(self._conninfo), connection.pipeline():
                self._transactions += 1
                if self._transactions.bit_count() == 1:  # the 1st, 2nd, 4th, 8th and so on: tables may have grown
                    connection.execute(sql.FORGET_PLANS)
                tx = LeadTransaction(self, connection, past_held=past_held, past_unseen=past_unseen)
                yield tx
                tx.confirm_lanes()
                tx.commit()
        except BaseException as error:
            roll_back(connection, error)
            tables.add_columns(connection, error)
            raise
        tx.committed()

    def lanes(self, lane_numbers: Iterable[int]) -> dict[int, LaneState]:
        """Where these lanes stand.

        Raises NotPrepared where one is missing or there are not as many as LANES says, StoreUnavailable.
        """
        wanted = sorted(set(lane_numbers))
        points = {lane: LanePoint(*point) for lane, *point in self._read(sql.LANE_POINTS)}
        count = len(points)
        if count and count != self.lane_count:
            raise NotPrepared(
                f"LANES is {self.lane_count}, but leadstream.lanes in {place(self._conninfo)} has {count};"
                f" set LANES={count} everywhere"
            )
        states = {lane: points[lane].state for lane in wanted if lane in points}
        missing = [str(lane) for lane in wanted if lane not in states]
        if missing:
            raise NotPrepared(
                f"lane {', '.join(missing)} is not in leadstream.lanes in {place(self._conninfo)}; "
                "run `consumer setup` with the same LANES everywhere"
            )
        return states

    def begin_stream(self, owner: str) -> None:
        """Lets everybody know that lanes which never moved are going to: this applier is there.

        What MySQL holds is from now on no longer all there is of what happened to somebody.
        Raises TransactionConflict, StoreUnavailable, NotPrepared.
        """
        self._read(sql.BEGIN_STREAM, owner=owner)

    def due_rechecks(self, limit: int) -> list[Recheck]:
        """Rechecks whose time has come, longest due first. Raises StoreUnavailable, NotPrepared."""
        rows = self._read(sql.DUE_RECHECKS, limit=limit)
        self._emitted.update((user_id, asked_at + POSTGRES_EPOCH) for user_id, _, _, asked_at in rows)
        due = [Recheck(user_id, reason, attempts) for user_id, reason, attempts, _ in rows]
        self._askers.update(
            (recheck.user_id, recheck.reason.removeprefix(ASKED_FOR_BY))
            for recheck in due
            if recheck.reason.startswith(ASKED_FOR_BY)
        )
        return due

    def take_askers(self) -> dict[str, int]:
        """Who asked for rechecks that `due_rechecks` gave out since the last call, and for how many customers."""
        asked, self._askers = Counter(self._askers.values()), {}
        return dict(asked)

    def held(self, user_ids: Iterable[int]) -> set[int]:
        """Those of whose rows at the call centre another session holds one at the moment. Raises as `transaction`."""
        wanted = sorted(user_ids)
        if self.shadow or not wanted:
            return set()
        return {user_id for (user_id,) in self._read(sql.HELD, user_id=bigints(wanted))}

    def _read(self, statement: str, **parameters: object) -> Rows:
        connection = self._session()
        try:
            with classified(self._conninfo):
                rows = connection.execute(statement, parameters, binary=True).fetchall()
                connection.commit()
        except BaseException as error:
            roll_back(connection, error)
            raise
        return rows

    def _session(self) -> Connection:
        if self._connection is None or self._connection.closed:
            more = [sql.STREAM_SESSION] if self.source == "stream" else []
            connection = connect(self._conninfo, f"leadstream {self.source}", more)
            if not self.shadow:
                with classified(self._conninfo):
                    self._add_conversions = tables.insert_conversions(connection)
                    connection.rollback()
            self._connection, self._transactions = connection, 0
        return self._connection


class Before(NamedTuple):
    """What there is before a batch is applied."""

    waiting: list[int]
    """Leads that can be judged once their lanes have come as far as the batch."""
    owners: list[tuple[Key, int]]
    """(claim, user) of claims that we hold; one that moves has two users while one lane is ahead of the other."""
    left: LeftBehind
    """What was left behind under the names asked for."""
    held: set[Key]
    """Which of the claims that come from elsewhere are another lead's still: we missed that it lost them."""


class LeadTransaction:
    """What can be done inside `LeadStore.transaction`, in this order: take, before, load, write, and then rechecks;
    `rules` at any time. Made by `LeadStore` only."""

    def __init__(self, store: LeadStore, connection: Connection, *, past_held: bool, past_unseen: bool) -> None:
        self._connection = connection
        self._lanes = store.lane_count
        self._shadow = store.shadow
        self._source = store.source
        self._emitted = store._emitted
        self._turn = store._turn
        self.more_wait = False
        """Whether `before` found as many leads to be judged as it was to find."""
        self._past_held = past_held
        self._find_held = sql.HELD_OR_UNSEEN if past_unseen else sql.HELD
        self._dead_letter_days = store.dead_letter_days
        self._add_conversions = store._add_conversions
        self._asked: set[int] = set()
        self._stints: dict[int, int] = {}
        self._moving: tuple[Cursor, list[int]] | None = None
        self._conversions: list[tuple[Cursor, Outcome]] = []
        self._handled: set[int] = set()
        self._loaded: dict[int, Lead] = {}
        self._shown: dict[int, _Shown] = {}
        self.conversions_added = 0
        """After the commit: conversions that it added."""
        self.conversions_there = 0
        """After the commit: conversions that were in the table already and stayed as they were."""
        self._set_aside: tuple[Cursor, Cursor] | None = None
        self.dead_letters_added = 0
        """After the commit: dead letters that were not there before."""
        self.dead_letters_expired = 0
        """After the commit: dead letters that nobody had resolved until they were dropped for their age."""
        self._in_force = store._in_force
        self._rules: Rules | None = None
        self._execute(sql.HOLD_RULES, key=LOCK)
        self._rules_in_force = self._execute(sql.RULES_IN_FORCE)

    @property
    def rules(self) -> Rules:
        """The rules in force, which stay so until the transaction ends. Raises NotPrepared before `consumer setup`.

        Which they are travels with the first answer: to ask for them costs no round trip unless others are.
        """
        if self._rules is None:
            ((adoption,),) = self._fetch(self._rules_in_force)
            self._rules = self._in_force.at(adoption, lambda: self._fetch(self._execute(sql.READ_RULES)))
        return self._rules

    def lane_versions(self) -> dict[int, int]:
        """How far each lane has come (µs)."""
        return dict(self._fetch(self._execute(sql.LANE_VERSIONS)))

    def take(self, moves: Sequence[LaneMove]) -> None:
        """Moves lanes on by compare-and-set, and holds them until the end of the transaction.

        Raises LaneTaken, here or at the next call that waits for PostgreSQL, before anything is committed.
        """
        moves = sorted(moves, key=lambda move: move.lane)
        cursor = self._execute(
            sql.MOVE_LANES,
            lane=integers([move.lane for move in moves]),
            epoch=integers([move.epoch for move in moves]),
            expected_seq=bigints([move.expected_seq for move in moves]),
            next_seq=bigints([move.next_seq for move in moves]),
            version=bigints([move.version for move in moves]),
            offsets=texts([msgspec.json.encode(move.offsets).decode() for move in moves]),
            owner=texts([move.owner for move in moves]),
        )
        self._moving = cursor, [move.lane for move in moves]

    def before(
        self,
        lane_versions: Mapping[int, int],
        limit: int,
        claims: Iterable[Key] = (),
        names: Iterable[str] = (),
        arrivals: Collection[Arrival] = (),
    ) -> Before:
        """What there is before a batch is applied, in one round trip.

        `lane_versions` are what its lanes, which were taken before, will have reached. Of those that wait there `limit`
        at most are found, and as many of those that are shown by the present and whose lanes have passed what was read.
        These may have to stay shown, because somebody holds their rows: each call asks for the next ones.
        """
        waiting = self._ask_waiting(lane_versions, limit)
        wanted = sorted(set(claims))
        owners = self._execute(sql.CLAIM_OWNERS, id=texts(wanted)) if wanted else None
        called = sorted(set(names))
        left = self._execute(sql.LEFT_BEHIND, name=texts(called)) if called else None
        held = self._ask_held_before(arrivals) if arrivals else None
        return Before(
            self._waiting(waiting, limit),
            list(self._fetch(owners)) if owners else [],
            {name: left_of(version, content) for name, version, content in self._fetch(left)} if left else {},
            {claim for (claim,) in self._fetch(held)} if held else set(),
        )

    def _ask_waiting(self, lane_versions: Mapping[int, int], limit: int) -> tuple[Cursor, Cursor | None]:
        lanes = sorted(lane_versions)
        versions = bigints([lane_versions[lane] for lane in lanes])
        pending = self._execute(sql.PENDING_LEADS, lane=integers(lanes), version=versions, limit=limit)
        if self._shadow:
            return pending, None
        after = self._turn.shown_after
        return pending, self._execute(sql.SHOWN_PASSED, lane=integers(lanes), after=after, limit=limit)

    def _waiting(self, asked: tuple[Cursor, Cursor | None], limit: int) -> list[int]:
        pending, passed = asked
        users = [user_id for (user_id,) in self._fetch(pending)]
        self.more_wait = len(users) >= limit
        if passed is not None:
            shown = [user_id for (user_id,) in self._fetch(passed)]
            self._turn.shown_after = shown[-1] if len(shown) >= limit else BEFORE_ALL
            users += shown
        return users

    def _ask_held_before(self, arrivals: Collection[Arrival]) -> Cursor:
        ids, users, versions = zip(*arrivals, strict=True)
        return self._execute(sql.HELD_BEFORE, id=texts(ids), user_id=bigints(users), version=bigints(versions))

    def load(self, user_ids: Iterable[int]) -> dict[int, Lead]:
        """Locks these leads in user order and returns those that exist, whole; the others may be created by `write`.

        To be called once in a transaction: a second time the order of the locks would not hold.
        """
        wanted = sorted(set(user_ids))
        self._asked.update(wanted)
        leads = self._loaded
        rows: tuple[Rows, Rows, Rows] = [], [], []
        shown = None if self._shadow else self._execute(sql.SHOWN_OF, user_id=bigints(wanted))
        for start in range(0, len(wanted), _LOAD_AT_ONCE):
            some = bigints(wanted[start : start + _LOAD_AT_ONCE])
            cursors = [
                self._execute(statement, user_id=some)
                for statement in (sql.LOCK_LEADS, sql.CLAIMS_OF, sql.REQUIREMENTS_OF)
            ]
            _build(leads, *rows)
            rows = self._fetch(cursors[0]), self._fetch(cursors[1]), self._fetch(cursors[2])
        _build(leads, *rows)
        self._stints.update({user_id: lead.stint for user_id, lead in leads.items()})
        if shown is not None:
            self._shown = {
                user_id: _Shown(QueueType(queue_type), until_version, is_passed)
                for user_id, queue_type, until_version, is_passed in self._fetch(shown)
            }
        return leads

    def write(self, outcome: Outcome, settled: Collection[int] = ()) -> None:
        """Writes what a replay or a repair decided; every lead in it must have been asked for by `load`.

        A lead that `load` did not find is created; where another writer did that first, the transaction ends with
        TransactionConflict. In texts, NUL and unpaired surrogates become U+FFFD: PostgreSQL can hold neither.
        Of those `settled` the call centre sees at once what is written: their lanes were given up, and never pass.
        """
        if not self._asked.issuperset(outcome.leads):
            stranger = min(outcome.leads.keys() - self._asked)
            raise ValueError(f"lead {stranger} is written but was not loaded in this transaction")
        self._write_leads(outcome)
        self._write_claims(outcome)
        self._write_requirements(outcome)
        self._write_stints(outcome)
        self._write_left(outcome)
        if not self._shadow:
            seen = self._seen_by_callers(outcome, settled)
            once = self._source == "sweep" or self._is_replayed(outcome)
            cursor = self._write_effects(outcome.conversions, seen.changes, seen.held, seen.passed, once=once)
            if cursor is not None:
                self._conversions.append((cursor, outcome))
            self._owe(seen.owed, outcome)
            if seen.restarted:
                self._execute(sql.RESTART, user_id=bigints(sorted(seen.restarted)))
        self.queue_rechecks(outcome.rechecks)
        self._stints.update({user_id: lead.stint for user_id, lead in outcome.leads.items()})

    def _is_replayed(self, outcome: Outcome) -> bool:
        """Whether what the stream has earned may have been paid already, at another moment."""
        earned = of_long_ago(outcome.conversions, time.time_ns() // 1000)
        if not earned:
            return False
        stints = [outcome.stints.get((one.user_id, one.stint)) for one in earned]
        self._execute(sql.PLAN_FREELY)
        cursor = self._execute(
            sql.PAID_ALREADY,
            user_id=bigints([one.user_id for one in earned]),
            opened=moments([stint.opened_at if stint else None for stint in stints]),
            signature=texts([one.signature for one in earned]),
        )
        return self._fetch(cursor) == [(True,)]

    def _write_effects(
        self,
        conversions: Sequence[Conversion],
        changes: Iterable[QueueChange],
        held: Collection[int] = (),
        passed: Collection[int] = (),
        *,
        once: bool = False,
    ) -> Cursor | None:
        cursor = write_effects(
            self._connection, conversions, changes, self.rules, self._add_conversions, held, passed, once=once,
            by_read=self._source == "sweep",
        )  # fmt: skip
        if once and conversions:
            self._note_paid_before(conversions)
        return cursor

    def _note_paid_before(self, conversions: Sequence[Conversion]) -> None:
        """Marks the stints of conversions that are not in the call centre's table, because others stand for them."""
        self._execute(
            sql.PAID_BEFORE,
            user_id=bigints([one.user_id for one in conversions]),
            number=integers([one.stint for one in conversions]),
            id=uuids([id_of(one).bytes for one in conversions]),
        )

    def _seen_by_callers(self, outcome: Outcome, settled: Collection[int]) -> _Seen:
        """What the call centre is to see.

        It sees nothing of a past that its lane has yet to replay while the present is shown, and then where history
        has left the lead.
        """
        if not (self._shown or self._past_held):
            return _Seen(outcome.queue_changes.values())
        changes = dict(outcome.queue_changes)
        passed: set[int] = set()
        restarted: set[int] = set()
        for user_id, shown in self._shown.items():
            lead = outcome.leads.get(user_id) or self._loaded.get(user_id)
            if not (shown.is_passed or (user_id in settled and user_id in outcome.leads)):
                change = changes.pop(user_id, None)
                if change is not None and change.entered:
                    restarted.add(user_id)
            elif lead is not None and lead.queue_type is not None and lead.judge_after != NEVER:
                passed.add(user_id)
                again = self._is_restarted(outcome.queue_changes.get(user_id))
                entered = again or lead.queue_type is not shown.queue_type
                changes[user_id] = _whole_change(lead, lead.queue_type, entered=entered)
        converted = {conversion.user_id for conversion in outcome.conversions}
        held = self._held(converted.union(changes) if self._past_held else passed)
        owed = [changes.pop(user_id) for user_id in sorted(held.intersection(changes))]
        return _Seen(changes.values(), owed, held, passed - held, restarted)

    def _held(self, user_ids: Iterable[int]) -> set[int]:
        wanted = sorted(user_ids)
        if not wanted:
            return set()
        return {user for (user,) in self._fetch(self._execute(self._find_held, user_id=bigints(wanted)))}

    def _owe(self, owed: Sequence[QueueChange], outcome: Outcome) -> None:
        """Has the call centre see these later; a score that history has begun again meanwhile counts from 0."""
        if owed:
            self._execute(
                sql.OWE,
                user_id=bigints([change.user_id for change in owed]),
                lane=integers([lane_of(change.user_id, self._lanes) for change in owed]),
                queue_type=texts([QueueType.NONE if change.entered else change.queue_type for change in owed]),
                restarted=booleans([self._is_restarted(outcome.queue_changes.get(change.user_id)) for change in owed]),
            )

    def _is_restarted(self, change: QueueChange | None) -> bool:
        """Whether history has begun a score again that agents have not gone on with: they see an earlier queue.

        What a read finds is history of an unknown moment, and where agents see it already, they have gone on.
        """
        if change is None or not change.entered:
            return False
        shown = self._shown.get(change.user_id)
        return shown is None or (self._source == "stream" and change.at > shown.until_version)

    def show(self, presents: Iterable[Present]) -> int:
        """Shows leads that were asked for by `load` where a live read puts them, until their lanes have passed it.

        Stints, conversions and what we hold stay the stream's. Those that history has there already, those whose lanes
        have passed the read meanwhile, and those of whom somebody holds a row, are left alone; returns how many others
        there are.
        """
        ahead = self._ahead(presents)
        if self._past_held and not self._shadow:
            held = self._held(present.user_id for present in ahead)
            ahead = [present for present in ahead if present.user_id not in held]
        if ahead and not self._shadow:
            self._execute(
                sql.SHOW,
                user_id=bigints([present.user_id for present in ahead]),
                lane=integers([lane_of(present.user_id, self._lanes) for present in ahead]),
                queue_type=texts([present.queue_type for present in ahead]),
                until_version=bigints([present.until_version for present in ahead]),
            )
            self._write_effects([], [self._shown_change(present) for present in ahead])
        return len(ahead)

    def _ahead(self, presents: Iterable[Present]) -> list[Present]:
        ahead = sorted(present for present in presents if self._is_ahead(present))
        if all(present.user_id in self._shown for present in ahead):
            return ahead
        versions = self.lane_versions()
        return [
            present
            for present in ahead
            if present.user_id in self._shown
            or versions.get(lane_of(present.user_id, self._lanes), 0) < present.until_version
        ]

    def _is_ahead(self, present: Present) -> bool:
        lead = self._loaded.get(present.user_id)
        return present.user_id in self._shown or lead is None or lead.queue_type is not present.queue_type

    def _shown_change(self, present: Present) -> QueueChange:
        before = self._shown.get(present.user_id)
        lead = self._loaded.get(present.user_id)
        seen = before.queue_type if before else lead.queue_type if lead else None
        entered = seen is not present.queue_type and present.queue_type is not QueueType.NONE
        others = frozenset(QueueType) - {QueueType.NONE, present.queue_type}
        at = present.until_version
        return QueueChange(present.user_id, present.queue_type, others, entered, False, Reason.READ_LIVE, at)

    def repair_entries(self, user_ids: Iterable[int]) -> list[EntryDrift]:
        """Puts the call centre's entries right of leads that were asked for by `load`; returns what was wrong.

        Rows that another session holds are left for another time, and in shadow mode everything is.
        """
        users = set(user_ids)
        users -= self._held(users)
        if self._shadow or not users:
            return []
        self._execute(sql.PLAN_FREELY)
        rows = self._fetch(self._execute(entries.REPAIR, **entries.parameters(self.rules, users)))
        return [EntryDrift(*row) for row in rows]

    def set_aside(self, letters: Sequence[DeadLetter]) -> None:
        """Adds dead letters, and drops those that are older than the store keeps them."""
        if letters:
            added = self._execute(sql.ADD_DEAD_LETTERS, **columns(letters))
            expired = self._execute(sql.EXPIRE_DEAD_LETTERS, days=self._dead_letter_days, limit=EXPIRED_AT_ONCE)
            self._set_aside = added, expired

    def retry_dead_letters(self, numbers: Sequence[int] | None) -> list[Unresolved]:
        """Has the leads of dead letters read live, and resolves these; those that name no lead stay as they are.

        Returns all that were chosen; None chooses all. Raises NoSuchDeadLetter.
        """
        chosen = choose(self._connection, numbers)
        known = [letter for letter in chosen if letter.user_id is not None]
        self.queue_rechecks({
            letter.user_id: f"a dead letter was retried: {letter.reason}"
            for letter in known if letter.user_id is not None
        })  # fmt: skip
        resolve(self._connection, known, "retried")
        return chosen

    def queue_rechecks(self, reasons: Mapping[int, str]) -> None:
        """Asks for leads to be read live, user → reason; a lead asked for again stays one row and is due at once."""
        if reasons:
            users = sorted(reasons)
            reason = texts([reasons[user_id] for user_id in users])
            self._execute(sql.QUEUE_RECHECKS, user_id=bigints(users), reason=reason)

    def queue_lane_rechecks(self, lanes: Iterable[int], reason: str) -> int:
        """Asks for every lead of some lanes to be read live; returns how many they are."""
        cursor = self._execute(sql.QUEUE_LANE_RECHECKS, lane=integers(sorted(lanes)), reason=reason)
        return sum(count for (count,) in self._fetch(cursor))

    def defer_judgement(self, lanes: Mapping[int, Missed]) -> None:
        """Has leads of lanes read live before they are judged again, but for those that are written after this."""
        numbers = sorted(lanes)
        found = [lanes[lane] for lane in numbers]
        self._execute(
            sql.DEFER_JUDGEMENT,
            lane=integers(numbers),
            above=bigints([-1 if missed.whole_until is None else missed.whole_until for missed in found]),
            everybody=integers([lane for lane in numbers if lanes[lane].whole_until is None]),
            floor=bigints([missed.floor for missed in found]),
            at=moments([missed.at or None for missed in found]),
            never=NEVER,
        )

    def done_rechecks(self, user_ids: Iterable[int]) -> None:
        """Strikes off rechecks that `LeadStore.due_rechecks` gave out, unless they were asked for again since."""
        done = sorted(self._emitted.keys() & set(user_ids))
        if done:
            self._handled.update(done)
            asked_at = moments([self._emitted[user_id] for user_id in done])
            self._execute(sql.DONE_RECHECKS, user_id=bigints(done), asked_at=asked_at)

    def postpone_rechecks(self, user_ids: Iterable[int], error: str, seconds: float, *, doubled: bool = False) -> None:
        """Notes one more failed attempt at these rechecks, to be repeated in so many seconds, at most an hour.

        With `doubled`, every attempt before has doubled them.
        """
        users = sorted(set(user_ids))
        if users:
            self._handled.update(users)
            self._execute(sql.POSTPONE_RECHECKS, user_id=bigints(users), error=error, seconds=seconds, doubled=doubled)

    def check_deferred(self) -> None:
        """Has constraints that others made deferrable checked before the commit; the error comes with a later call."""
        self._execute(sql.CHECK_NOW)

    def confirm_lanes(self) -> None:
        """Waits until PostgreSQL has moved the lanes taken. Raises LaneTaken where it could not."""
        if self._moving is not None:
            cursor, lanes = self._moving
            self._moving = None
            moved = {lane for (lane,) in cursor.fetchall()}
            if len(moved) < len(lanes):
                raise LaneTaken([lane for lane in lanes if lane not in moved])

    def commit(self) -> None:
        """Commits, and waits once for that and all that was sent before it.

        psycopg 3.3 commits a pipeline without making sure that all of it was sent (`_sync_gen` in its
        `_pipeline_base.py`): behind more than the socket's buffers take, each end would wait for the other for ever.
        A query behind the commit has it read and send by turns; and no commit is tried where something before failed.
        """
        self._connection.cursor().execute(sql.COMMIT, prepare=False)
        self._execute(sql.NOTHING).fetchall()

    def committed(self) -> None:
        """Called by `LeadStore` after the commit."""
        for cursor, outcome in self._conversions:
            there: list[Conversion] = []
            if cursor.rowcount < len(outcome.conversions):
                added = {id_ for (id_,) in cursor.fetchall()}
                there = [one for one in outcome.conversions if id_of(one) not in added]
            self.conversions_added += len(outcome.conversions) - len(there)
            self.conversions_there += len(there)
            outcome.there.update((one.user_id, one.stint) for one in there)
            if there:
                self._log_others(there)
        for user_id in self._handled:
            self._emitted.pop(user_id, None)
        if self._set_aside is not None:
            added_letters, expired = self._set_aside
            self.dead_letters_added = len(added_letters.fetchall())
            ((_, self.dead_letters_expired),) = expired.fetchall()

    def _log_others(self, there: Sequence[Conversion]) -> None:
        """Logs conversions whose ids belong to other ones: they are recorded as stints, and not where they are paid."""
        try:
            found = self._connection.execute(sql.DIFFERING_CONVERSIONS, conversion_columns(there)).fetchall()
            self._connection.rollback()
        except psycopg.Error:
            self._connection.close()  # what is committed counts; verify looks again
            return
        others = [str(id_) for id_, is_there, is_same in found if is_there and not is_same]
        if others:
            log.error("conversion_id_taken", conversion_ids=others, hint="reconciler verify reports them")

    def publish(self, conversions: Sequence[Conversion]) -> int:
        """Adds conversions to the call centre's table that stints of leads asked for by `load` had long before.

        Returns how many were added; from then on `verify` holds these stints against that table.
        """
        if self._shadow or not conversions:
            return 0
        self._execute(sql.PLAN_FREELY)
        self._execute(sql.LOCK_SCORES, user_id=bigints(sorted({one.user_id for one in conversions})))
        statement = self._add_conversions
        cursor = insert_conversions(self._connection, statement, conversions, self.rules, once=True, late=True)
        self._note_paid_before(conversions)
        self._execute(
            sql.PUBLISHED,
            user_id=bigints([one.user_id for one in conversions]),
            number=integers([one.stint for one in conversions]),
        )
        return len(self._fetch(cursor))

    def _write_leads(self, outcome: Outcome) -> None:
        added: list[Lead] = []
        altered: list[Lead] = []
        for user_id in sorted(outcome.leads):
            (altered if user_id in self._stints else added).append(outcome.leads[user_id])
        if added:
            lanes = integers([lane_of(lead.user_id, self._lanes) for lead in added])
            self._execute(sql.ADD_LEADS, lane=lanes, **lead_columns(added))
        if altered:
            self._execute(sql.UPDATE_LEADS, **lead_columns(altered))

    def _write_claims(self, outcome: Outcome) -> None:
        keys = sorted(outcome.claims, key=_user)
        claims = [outcome.leads[user_id].claims.get(id_) for user_id, id_ in keys]
        held = [(key[0], claim) for key, claim in zip(keys, claims, strict=True) if claim is not None]
        gone = [key for key, claim in zip(keys, claims, strict=True) if claim is None]
        if held:
            self._execute(sql.PUT_CLAIMS, **claim_columns(held))
        if gone:
            self._execute(sql.DELETE_CLAIMS, **key_columns(gone))

    def _write_requirements(self, outcome: Outcome) -> None:
        keys = sorted(outcome.requirements, key=_user)
        rows = [outcome.leads[user_id].requirements.get(id_) for user_id, id_ in keys]
        held = [(key[0], requirement) for key, requirement in zip(keys, rows, strict=True) if requirement is not None]
        gone = [key for key, requirement in zip(keys, rows, strict=True) if requirement is None]
        if held:
            self._execute(sql.PUT_REQUIREMENTS, **requirement_columns(held))
        if gone:
            self._execute(sql.DELETE_REQUIREMENTS, **key_columns(gone))

    def _write_left(self, outcome: Outcome) -> None:
        kept = {name: left for name, left in outcome.left.items() if left}
        if kept:
            self._execute(sql.PUT_LEFT, reason=LATE, **left_columns(kept))
        if len(kept) < len(outcome.left):
            self._execute(sql.DELETE_LEFT, name=texts(sorted(outcome.left.keys() - kept.keys())))

    def _write_stints(self, outcome: Outcome) -> None:
        """Closings first: at most one stint of a lead is open at any moment, and an index sees to it."""
        added: list[Stint] = []
        closed: list[Stint] = []
        for user_id, number in sorted(outcome.stints, key=_user):
            was_open = number <= self._stints.get(user_id, 0)
            (closed if was_open else added).append(outcome.stints[user_id, number])
        if closed:
            self._execute(sql.CLOSE_STINTS, source=self._source, in_shadow=self._shadow, **closing_columns(closed))
        if added:
            self._execute(sql.ADD_STINTS, source=self._source, in_shadow=self._shadow, **stint_columns(added))

    def _execute(self, statement: str, **parameters: object) -> Cursor:
        return self._connection.cursor(binary=True).execute(statement, parameters)

    def _fetch(self, cursor: Cursor) -> Rows:
        self.confirm_lanes()
        return cursor.fetchall()


def id_of(conversion: Conversion) -> UUID:
    """The id that a conversion has in the call centre's table."""
    return conversion_id(conversion.user_id, conversion.conversion_type, conversion.converted_at)


def conversion_columns(conversions: Sequence[Conversion]) -> dict[str, object]:
    """What identifies conversions, as columns: for `sql.DIFFERING_CONVERSIONS`."""
    return {
        "id": uuids([id_of(one).bytes for one in conversions]),
        "user_id": bigints([one.user_id for one in conversions]),
        "type": texts([one.conversion_type for one in conversions]),
        "at": moments([one.converted_at for one in conversions]),
    }


def _whole_change(lead: Lead, queue_type: QueueType, *, entered: bool) -> QueueChange:
    """Where a lead is, with every other queue left, whoever put it there."""
    others = frozenset(QueueType) - {QueueType.NONE, queue_type}
    entered = entered and queue_type is not QueueType.NONE
    return QueueChange(lead.user_id, queue_type, others, entered, False, Reason.READ_LIVE, lead.opened_at)


def _build(leads: dict[int, Lead], lead_rows: Rows, claim_rows: Rows, requirement_rows: Rows) -> None:
    """Adds working copies to `leads`.

    Claims and requirements were read by later statements than the leads; where a lead was created by another writer in
    between, they are left out: `write` will find out.
    """
    for (
        user_id, exists, enabled, signature, version, read_floor, judge_after, changed_at, stint, queue_type, rule,
        opened_at, outstanding_seen, converted_signatures, rules_version,
    ) in lead_rows:  # fmt: skip
        leads[user_id] = Lead(
            user_id,
            exists,
            enabled,
            signature,
            version,
            read_floor,
            judge_after,
            0 if changed_at is None else changed_at + POSTGRES_EPOCH,
            stint,
            _QUEUE_TYPES[queue_type],
            _RULES[rule],
            0 if opened_at is None else opened_at + POSTGRES_EPOCH,
            _NO_TEXTS if outstanding_seen is None else frozenset(outstanding_seen),
            _NO_TEXTS if converted_signatures is None else frozenset(converted_signatures),
            {},
            {},
            rules_version,
        )
    for user_id, claim_id, status, version in claim_rows:
        lead = leads.get(user_id)
        if lead is not None:
            lead.claims[claim_id] = Claim(claim_id, status, version)
    for user_id, requirement_id, claim_id, kind, status, reason, version in requirement_rows:
        lead = leads.get(user_id)
        if lead is not None:
            lead.requirements[requirement_id] = Requirement(requirement_id, claim_id, kind, status, reason, version)
