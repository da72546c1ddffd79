"""Leads in and out of PostgreSQL, in bulk: one transaction loads what a batch needs and writes what it decided.

Writers never deadlock with each other: a transaction takes lanes first, then locks the leads it knows in user order
(`load`), then inserts the ones nobody knew in user order (`write`), and touches everything else of a lead only while
it holds that lead. Two writers that create the same lead at once meet on its primary key; one of them gets TryAgain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple, Self

import msgspec
import psycopg

from consumer.lane import lane_of
from consumer.leads.model import Claim, Lead, QueueType, Requirement, Rule, Stint
from consumer.leads.outcome import Outcome
from consumer.store import sql
from consumer.store.arrays import bigints, booleans, integers, moments, nested_bigints, nested_texts, texts
from consumer.store.connection import Connection, classified, connect, place
from consumer.store.effects import write_effects
from consumer.store.errors import LaneTaken, NotPrepared
from consumer.store.lanes import LaneMove, LaneState

_QUEUE_TYPES: Final[dict[str | None, QueueType | None]] = {None: None, **{name.value: name for name in QueueType}}
_RULES: Final[dict[str | None, Rule | None]] = {None: None, **{name.value: name for name in Rule}}


class Recheck(NamedTuple):
    """A lead that has to be read live; `attempts` have failed so far."""

    user_id: int
    reason: str
    attempts: int


class LeadStore:
    """One connection to PostgreSQL, opened when it is first needed and again after it broke.

    `lanes` is the number of lanes, `shadow` leaves the call centre's tables alone, `source` says in the table of stints
    who found out. Not for use by several threads at once.
    """

    def __init__(self, conninfo: str, lanes: int, shadow: bool, source: Literal["stream", "sweep"]) -> None:
        self.lane_count: Final = lanes
        self.shadow: Final = shadow
        self.source: Final = source
        self._conninfo: Final = conninfo
        self._connection: Connection | None = None
        self._handed_out: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session; an unfinished transaction is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[LeadTransaction]:
        """Everything inside is committed together at the end, or, on any exception, not at all.

        Raises TryAgain, StoreUnavailable, LaneTaken, NotPrepared (see `consumer.store.errors`).
        """
        connection = self._session()
        try:
            with classified(self._conninfo), connection.pipeline():
                tx = LeadTransaction(self, connection)
                yield tx
                tx._check_lanes()
                connection.commit()
        except BaseException:
            self._roll_back(connection)
            raise
        tx._settle()

    def lanes(self, lane_numbers: Iterable[int]) -> dict[int, LaneState]:
        """Where these lanes stand. Raises NotPrepared where one is missing, StoreUnavailable."""
        wanted = sorted(set(lane_numbers))
        rows = self._rows(sql.READ_LANES, {"lanes": integers(wanted)})
        states = {lane: LaneState(epoch, seq, version, offsets) for lane, epoch, seq, version, offsets in rows}
        missing = [str(lane) for lane in wanted if lane not in states]
        if missing:
            raise NotPrepared(
                f"lane {', '.join(missing)} is not in leadstream.lanes in {place(self._conninfo)}; "
                "run `consumer setup` with the same LANES everywhere"
            )
        return states

    def due_rechecks(self, limit: int) -> list[Recheck]:
        """Rechecks whose time has come, longest due first. Raises StoreUnavailable, NotPrepared."""
        rows = self._rows(sql.DUE_RECHECKS, {"limit": limit})
        self._handed_out.update((user_id, asked_at) for user_id, _, _, asked_at in rows)
        return [Recheck(user_id, reason, attempts) for user_id, reason, attempts, _ in rows]

    def _rows(self, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        connection = self._session()
        try:
            with classified(self._conninfo):
                rows = connection.execute(statement, parameters, binary=True).fetchall()
                connection.commit()
        except BaseException:
            self._roll_back(connection)
            raise
        return rows

    def _session(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._conninfo, f"leadstream {self.source}")
        return self._connection

    def _roll_back(self, connection: Connection) -> None:
        """Leaves the connection usable, or closed where it is not: the next use opens a new one."""
        try:
            connection.rollback()
        except psycopg.Error:
            connection.close()


class LeadTransaction:
    """What can be done inside `LeadStore.transaction`, in this order: take, pending, claim_owners, load, write."""

    def __init__(self, store: LeadStore, connection: Connection) -> None:
        self._store = store
        self._connection = connection
        self._known: dict[int, int] = {}
        self._asked: set[int] = set()
        self._moving: tuple[psycopg.Cursor[tuple[Any, ...]], list[int]] | None = None
        self._conversions: list[tuple[psycopg.Cursor[tuple[Any, ...]], int]] = []
        self._handled: list[int] = []
        self.conversions_added = 0
        """After the commit: conversions written by it."""
        self.conversions_there = 0
        """After the commit: conversions that were in the table already and stayed as they were."""

    def take(self, moves: Sequence[LaneMove]) -> None:
        """Moves lanes on by compare-and-set, and holds them until the end of the transaction.

        Raises LaneTaken, here or at the next call that waits for PostgreSQL, before anything is committed.
        """
        ordered = sorted(moves)
        cursor = self._execute(
            sql.MOVE_LANES,
            lanes=integers([move.lane for move in ordered]),
            epochs=integers([move.epoch for move in ordered]),
            expected=bigints([move.expected_seq for move in ordered]),
            new_epochs=integers([move.epoch if move.new_epoch is None else move.new_epoch for move in ordered]),
            next_seqs=bigints([move.next_seq for move in ordered]),
            versions=bigints([move.version for move in ordered]),
            offsets=texts([msgspec.json.encode(move.offsets).decode() for move in ordered]),
            owners=texts([move.owner for move in ordered]),
        )
        self._moving = cursor, [move.lane for move in ordered]

    def pending(self, lane_versions: Mapping[int, int], limit: int) -> list[int]:
        """Leads that can be judged once their lane has reached the version given, `limit` at most."""
        lanes = sorted(lane_versions)
        cursor = self._execute(
            sql.PENDING_LEADS,
            lanes=integers(lanes),
            versions=bigints([lane_versions[lane] for lane in lanes]),
            limit=limit,
        )
        return [user_id for (user_id,) in self._fetch(cursor)]

    def claim_owners(self, claim_ids: Iterable[int]) -> dict[int, int]:
        """claim → user, of the claims we hold."""
        wanted = sorted(set(claim_ids))
        return dict(self._fetch(self._execute(sql.CLAIM_OWNERS, claims=bigints(wanted)))) if wanted else {}

    def load(self, user_ids: Iterable[int]) -> dict[int, Lead]:
        """Locks these leads in user order and returns those that exist, whole; the others may be created by `write`.

        To be called once in a transaction: a second time the order of the locks would not hold.
        """
        wanted = sorted(set(user_ids))
        self._asked.update(wanted)
        if not wanted:
            return {}
        users = bigints(wanted)
        cursors = [
            self._execute(statement, users=users)
            for statement in (sql.LOCK_LEADS, sql.CLAIMS_OF, sql.REQUIREMENTS_OF)
        ]  # fmt: skip
        leads = {row[0]: _lead(row) for row in self._fetch(cursors[0])}
        for user_id, claim_id, status, version in self._fetch(cursors[1]):
            if user_id in leads:  # not one that another writer created since the statement before
                leads[user_id].claims[claim_id] = Claim(claim_id, status, version)
        for user_id, requirement_id, claim_id, kind, status, reason, version in self._fetch(cursors[2]):
            if user_id in leads:
                leads[user_id].requirements[requirement_id] = Requirement(
                    requirement_id, claim_id, kind, status, reason, version
                )
        self._known.update((lead.user_id, lead.stint) for lead in leads.values())
        return leads

    def write(self, outcome: Outcome) -> None:
        """Writes what a replay or a mend decided; every lead in it must have been asked for by `load`.

        A lead that `load` did not find is created; where another writer did that first, the transaction ends with
        TryAgain. Texts that PostgreSQL cannot hold are stored with U+FFFD for NUL and unpaired surrogates.
        """
        strangers = outcome.leads.keys() - self._asked
        if strangers:
            raise ValueError(f"lead {min(strangers)} is written but was not loaded in this transaction")
        self._write_leads(sql.ADD_LEADS, [lead for user, lead in outcome.leads.items() if user not in self._known])
        self._write_leads(sql.UPDATE_LEADS, [lead for user, lead in outcome.leads.items() if user in self._known])
        self._write_claims(outcome)
        self._write_requirements(outcome)
        self._write_stints(outcome)
        if not self._store.shadow:
            cursor = write_effects(self._connection, outcome)
            if cursor is not None:
                self._conversions.append((cursor, len(outcome.conversions)))
        self.queue_rechecks(outcome.rechecks)
        self._known.update((lead.user_id, lead.stint) for lead in outcome.leads.values())

    def queue_rechecks(self, reasons: Mapping[int, str]) -> None:
        """Asks for leads to be read live, user → reason; a lead asked for again stays one row and is due at once."""
        if reasons:
            users = sorted(reasons)
            self._execute(sql.QUEUE_RECHECKS, users=bigints(users), reasons=texts([reasons[user] for user in users]))

    def queue_lane_rechecks(self, lanes: Iterable[int], reason: str) -> int:
        """Asks for every lead of some lanes to be read live, after `write`; returns how many they are."""
        cursor = self._execute(sql.QUEUE_LANE_RECHECKS, lanes=integers(sorted(lanes)), reason=reason)
        ((count,),) = self._fetch(cursor)
        return int(count)

    def done_rechecks(self, user_ids: Iterable[int]) -> None:
        """Strikes off rechecks that `LeadStore.due_rechecks` handed out, unless they were asked for again since."""
        handed_out = self._store._handed_out
        done = sorted(set(user_ids) & handed_out.keys())
        if done:
            self._handled += done
            asked_at = moments([handed_out[user] for user in done])
            self._execute(sql.DONE_RECHECKS, users=bigints(done), asked_at=asked_at)

    def postpone_rechecks(self, user_ids: Iterable[int], error: str, seconds: float) -> None:
        """Notes one more failed attempt at these rechecks, to be repeated in so many seconds."""
        users = sorted(set(user_ids))
        if users:
            self._handled += users
            self._execute(sql.POSTPONE_RECHECKS, users=bigints(users), error=error, seconds=seconds)

    def _write_leads(self, statement: str, leads: list[Lead]) -> None:
        if not leads:
            return
        leads.sort(key=lambda lead: lead.user_id)
        lanes = self._store.lane_count
        self._execute(
            statement,
            users=bigints([lead.user_id for lead in leads]),
            lanes=integers([lane_of(lead.user_id, lanes) for lead in leads]),
            present=booleans([lead.exists for lead in leads]),
            enabled=booleans([lead.enabled for lead in leads]),
            signatures=texts([lead.signature for lead in leads]),
            versions=bigints([lead.version for lead in leads]),
            read_floors=bigints([lead.read_floor for lead in leads]),
            judge_after=bigints([lead.judge_after for lead in leads]),
            changed_at=moments([lead.changed_at or None for lead in leads]),
            stints=integers([lead.stint for lead in leads]),
            queue_types=texts([lead.queue_type for lead in leads]),
            rules=texts([lead.rule for lead in leads]),
            opened_at=moments([lead.opened_at or None for lead in leads]),
            outstanding_seen=texts([nested_bigints(lead.outstanding_seen) for lead in leads]),
            converted_signatures=texts([nested_texts(lead.converted_signatures) for lead in leads]),
        )

    def _write_claims(self, outcome: Outcome) -> None:
        held, gone = [], []
        for user_id, claim_id in sorted(outcome.claims):
            claim = outcome.leads[user_id].claims.get(claim_id)
            if claim is None:
                gone.append((user_id, claim_id))
            else:
                held.append((user_id, claim))
        if held:
            self._execute(
                sql.PUT_CLAIMS,
                users=bigints([user_id for user_id, _ in held]),
                ids=bigints([claim.id for _, claim in held]),
                statuses=texts([claim.status for _, claim in held]),
                versions=bigints([claim.version for _, claim in held]),
            )
        self._delete(sql.DELETE_CLAIMS, gone)

    def _write_requirements(self, outcome: Outcome) -> None:
        held, gone = [], []
        for user_id, requirement_id in sorted(outcome.requirements):
            requirement = outcome.leads[user_id].requirements.get(requirement_id)
            if requirement is None:
                gone.append((user_id, requirement_id))
            else:
                held.append((user_id, requirement))
        if held:
            self._execute(
                sql.PUT_REQUIREMENTS,
                users=bigints([user_id for user_id, _ in held]),
                ids=bigints([requirement.id for _, requirement in held]),
                claims=bigints([requirement.claim_id for _, requirement in held]),
                types=texts([requirement.type for _, requirement in held]),
                statuses=texts([requirement.status for _, requirement in held]),
                reasons=texts([requirement.reason for _, requirement in held]),
                versions=bigints([requirement.version for _, requirement in held]),
            )
        self._delete(sql.DELETE_REQUIREMENTS, gone)

    def _delete(self, statement: str, keys: list[tuple[int, int]]) -> None:
        if keys:
            self._execute(statement, users=bigints([user for user, _ in keys]), ids=bigints([key for _, key in keys]))

    def _write_stints(self, outcome: Outcome) -> None:
        """Closings first: at most one stint of a lead is open at any moment, and an index sees to it."""
        opened: list[Stint] = []
        closed: list[Stint] = []
        for (user_id, number), stint in sorted(outcome.stints.items()):
            (closed if number <= self._known.get(user_id, 0) else opened).append(stint)
        if closed:
            self._execute(sql.CLOSE_STINTS, source=self._store.source, **_closings(closed))
        if opened:
            self._execute(
                sql.ADD_STINTS,
                source=self._store.source,
                queue_types=texts([stint.queue_type for stint in opened]),
                opened_at=moments([stint.opened_at for stint in opened]),
                opened_reasons=texts([stint.opened_reason for stint in opened]),
                **_closings(opened),
            )

    def _execute(self, statement: str, **parameters: object) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.cursor(binary=True).execute(statement, parameters)

    def _fetch(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        self._check_lanes()
        return cursor.fetchall()

    def _check_lanes(self) -> None:
        if self._moving is not None:
            cursor, lanes = self._moving
            self._moving = None
            moved = {lane for (lane,) in cursor.fetchall()}
            if len(moved) < len(lanes):
                raise LaneTaken([lane for lane in lanes if lane not in moved])

    def _settle(self) -> None:
        """After the commit."""
        for cursor, given in self._conversions:
            self.conversions_added += max(cursor.rowcount, 0)
            self.conversions_there += given - max(cursor.rowcount, 0)
        for user_id in self._handled:
            self._store._handed_out.pop(user_id, None)


def _lead(row: tuple[Any, ...]) -> Lead:
    user, present, enabled, signature, version, floor, judge_after, changed, stint, queue, rule, opened, seen, won = row
    return Lead(
        user,
        present,
        enabled,
        signature,
        version,
        floor,
        judge_after,
        changed or 0,
        stint,
        _QUEUE_TYPES[queue],
        _RULES[rule],
        opened or 0,
        frozenset(seen or ()),
        frozenset(won or ()),
    )


def _closings(stints: list[Stint]) -> dict[str, object]:
    return {
        "users": bigints([stint.user_id for stint in stints]),
        "numbers": integers([stint.number for stint in stints]),
        "closed_at": moments([stint.closed_at for stint in stints]),
        "closed_reasons": texts([stint.closed_reason for stint in stints]),
        "conversion_types": texts([stint.conversion_type for stint in stints]),
        "signatures": texts([stint.signature for stint in stints]),
    }
