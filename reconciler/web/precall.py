"""The dialler's question before a call: where a customer belongs now, read live from the replica while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isinf
from typing import Final, TypeVar

import psycopg
import structlog

from consumer.explain import Explanation, Live, explain, lead_of, said_never, verdict
from consumer.lane import lane_of
from consumer.leads.drift import differences
from consumer.leads.model import NEVER, Lead, QueueType
from consumer.leads.rules import Rules
from consumer.mysql.errors import ConnectionLost, SourceError
from consumer.mysql.live_read import LiveRead
from consumer.store.conflicts import again_if_in_the_way
from consumer.store.errors import StoreError, StoreUnavailable
from consumer.store.leads import LeadStore
from consumer.store.lookups import Ahead, LeadRecord
from consumer.versions import moment
from reconciler import metrics
from reconciler.monitor.servers import ServerMonitor
from reconciler.postgres import Held, Postgres
from reconciler.replica import LagReading, ReplicaReads
from reconciler.runs.repair import ask_for_rechecks, why
from reconciler.runs.sessions import Settings
from reconciler.web.reads import Reads

T = TypeVar("T")

log = structlog.get_logger(__name__)

REPLICA_SESSIONS: Final = 4
STORE_SESSIONS: Final = 4
GRACE_SECONDS: Final = 1.0
"""How much longer than a statement may take the replica may say nothing."""
WARM_SECONDS: Final = 3.0
STRIKES: Final = 3
SILENT_SECONDS: Final = 1.0
REST_SECONDS: Final = 2.0
"""After so many failures in a row, and so long without an answer, the replica is left alone for so long."""
LAG_FRESH_SECONDS: Final = 60.0
"""For how long the lag counts that was seen last; the monitor looks again within seconds of the first check."""
QUEUED_AGAIN_SECONDS: Final = 30.0
"""A lead whose recheck was queued is not queued again for so long, however often it is asked for."""
REMEMBERED: Final = 10_000


class AnswerSource(StrEnum):
    """Where an answer comes from."""

    REPLICA = "replica"
    """Read live."""
    STATE = "state"
    """What we hold: the replica did not answer in time."""


class UnknownUser(Exception):
    """Neither MySQL nor we know the user."""


class NoSuchQueue(Exception):
    """No queue has this label or name."""


class NoAnswer(Exception):
    """Neither the replica nor PostgreSQL answered in time, or PostgreSQL alone would know whether to call."""


@dataclass(frozen=True)
class Precall:
    """The answer to one check. `as_of` is the time of the data, not of the answer; None where that is not known.

    `drift` are the kinds of difference between what MySQL has and what we hold.
    """

    user_id: int
    expected: QueueType
    queue_type: QueueType
    agrees: bool
    because: str
    source: AnswerSource
    as_of: datetime | None
    drift: list[str]
    recheck_queued: bool
    note: str | None


class PrecallService:
    """The answers about one customer, from both servers at once and within a deadline; for one event loop."""

    def __init__(self, settings: Settings, monitor: ServerMonitor, deadline_ms: int) -> None:
        self._rules: Rules | None = None
        """The rules as PostgreSQL had them last; None until it has answered."""
        self._writes = settings.discovery.smart_discovery_enabled
        self._monitor = monitor
        self._deadline = deadline_ms / 1000
        address, seconds = settings.replica.address, self._deadline
        self._live = Reads(
            "replica",
            [
                ReplicaReads(address, seconds, 0.0, None, max(1.0, seconds), GRACE_SECONDS, monitor.known)
                for _ in range(REPLICA_SESSIONS)
            ],
            _read_live,
        )
        conninfo = settings.database.conninfo
        sessions = [Postgres(conninfo, max(1.0, seconds)) for _ in range(STORE_SESSIONS)]
        self._held = Reads("store", sessions, self._read_store)
        self._records = Reads("records", [Postgres(conninfo, 5.0)], _read_records)
        store = LeadStore(conninfo, 1, settings.discovery.shadow_mode, "sweep")
        self._rechecks = Reads("rechecks", [store], _queue_rechecks)
        self._queued: dict[int, float] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._strikes = 0
        self._answered_at = self._rests_until = 0.0

    async def warm(self) -> None:
        """Opens the sessions that checks need, as far as the servers answer at once."""
        await asyncio.gather(self._live.warm(WARM_SECONDS), self._held.warm(WARM_SECONDS))

    def close(self) -> None:
        """Ends every session."""
        for reads in (self._live, self._held, self._records, self._rechecks):
            reads.close()

    async def precall(self, user_id: int, expected: str) -> Precall:
        """Whether a customer is where the dialler thinks, by label or name of a queue.

        Raises UnknownUser, NoSuchQueue and NoAnswer.
        """
        with metrics.PRECALL_SECONDS.time():
            answer = await self._precall(user_id, expected)
        metrics.PRECALLS.labels(answer.source.value, str(answer.agrees).lower()).inc()
        return answer

    async def explain(self, user_id: int) -> Explanation:
        """Everything about one customer. Raises UnknownUser and StoreError."""
        records, (live, away) = await asyncio.gather(self._records.read(user_id), self._read_live(user_id))
        held, rules = records[user_id]
        if live is None:
            if held.lead is None:
                raise UnknownUser(f"we hold nothing of user {user_id}, and {away}")
            return explain(held, None, rules, without_live=f"MySQL was not read: {away}.")
        state = live.leads[user_id]
        if held.lead is None and state.user is None:
            raise UnknownUser(f"there is no user {user_id} in MySQL, and never was one that we know")
        drift = _drift(held.lead, live, user_id, rules)
        now = Live(
            state.user is not None,
            verdict(lead_of(user_id, state.state), rules),
            self._as_of(live) or moment(live.ended),
            drift,
        )
        if drift:
            self._queue_recheck(user_id)
        return explain(held, now, rules)

    async def _precall(self, user_id: int, named: str) -> Precall:
        holding = asyncio.ensure_future(self._read_held(user_id))
        live, away = await self._read_live(user_id)
        held, store_away = await holding
        rules = self._rules if held is None else held.rules
        if rules is None:
            raise NoAnswer(f"{store_away}, so the rules in force are not known")
        expected = _queue(named, rules)
        lead = None if held is None else held.leads.get(user_id)
        outcome = None if held is None else held.outcomes.get(user_id)
        ahead = None if held is None else self._ahead(lead, held.shown.get(user_id))
        drift: list[str] = []
        note: str | None
        if live is not None:
            state = live.leads[user_id]
            if state.user is None and lead is None and store_away is None:
                raise UnknownUser(f"there is no user {user_id} in MySQL, and never was one that we know")
            if store_away is None:
                drift = _drift(lead, live, user_id, rules)
            now = verdict(lead_of(user_id, state.state), rules)
            queue_type, because = now.queue_type, now.because
            source, at, note = AnswerSource.REPLICA, self._as_of(live), self._note()
        elif store_away is not None:
            raise NoAnswer(f"{away}, and {store_away}")
        elif ahead is not None:
            queue_type, at, because = (
                ahead.queue_type,
                moment(ahead.until),
                "MySQL had them there when it was read last",
            )
            source, note = AnswerSource.STATE, f"This is what was read last: {away}."
        elif lead is None or lead.queue_type is None:
            raise UnknownUser(f"we hold nothing of user {user_id} that was ever judged, and {away}")
        else:
            own, queue_type, known_at = verdict(lead, rules), lead.queue_type, self._known_at(lead)
            because = own.because if own.queue_type is queue_type else "that is the open stint"
            at = moment(known_at) if known_at else None
            source, note = AnswerSource.STATE, f"This is what we hold: {away}."
        if said_never(outcome, rules):
            queue_type = QueueType.NONE
            because = f"the customer must not be called: the last call ended with {outcome}"
        queued = bool(drift) and self._queue_recheck(user_id)
        agrees = queue_type is expected
        if agrees and queue_type is not QueueType.NONE and store_away is not None and rules.never:
            raise NoAnswer(f"{store_away}, so nobody knows whether the customer must not be called")
        return Precall(user_id, expected, queue_type, agrees, because, source, at, drift, queued, note)

    async def _read_live(self, user_id: int) -> tuple[LiveRead | None, str]:
        """A live read, or why there is none."""
        now = time.monotonic()
        if now < self._rests_until:
            return None, "the replica did not answer just now and is left alone for a moment"
        try:
            live = await asyncio.wait_for(self._live.read(user_id), self._deadline)
        except TimeoutError:
            self._strike()
            return None, f"the replica did not answer within {self._deadline * 1000:.0f} ms"
        except SourceError as error:
            self._strike()
            log.warning("precall_incomplete", server="mysql", reason=str(error))
            return None, "the replica does not answer" if isinstance(error, ConnectionLost) else "the replica refuses"
        self._strikes, self._answered_at = 0, time.monotonic()
        return live, ""

    async def _read_held(self, user_id: int) -> tuple[Held | None, str | None]:
        """What we hold, or why we cannot say."""
        try:
            return await asyncio.wait_for(self._held.read(user_id), self._deadline), None
        except TimeoutError:
            return None, f"PostgreSQL did not answer within {self._deadline * 1000:.0f} ms"
        except (StoreError, psycopg.Error) as error:
            log.warning("precall_incomplete", server="postgres", reason=why(error))
            return None, "PostgreSQL does not answer"

    def _read_store(self, postgres: Postgres, user_ids: list[int]) -> Held:
        """Reads, and remembers the rules for as long as PostgreSQL may be away."""
        held = _twice(postgres, lambda: postgres.held(user_ids))
        self._rules = held.rules
        return held

    def _strike(self) -> None:
        self._strikes += 1
        now = time.monotonic()
        if self._strikes >= STRIKES and now - self._answered_at >= SILENT_SECONDS:
            self._rests_until = now + REST_SECONDS

    def _as_of(self, live: LiveRead) -> datetime | None:
        self._monitor.want_lag()
        return as_of(live.ended, self._monitor.known.lag, time.monotonic())

    def _note(self) -> str | None:
        lag = self._monitor.snapshot().replica_lag
        if lag is None or lag < 1:
            return None
        if isinf(lag):
            return "Replication on the replica stands still, so this may be old."
        return f"The replica is {lag:.0f} s behind its source."

    def _ahead(self, lead: Lead | None, shown: Ahead | None) -> Ahead | None:
        """Where agents see a lead by a live read that is newer than what we hold; None where they do not."""
        known_at = 0 if lead is None or lead.queue_type is None else self._known_at(lead)
        return None if shown is None or known_at >= shown.until else shown

    def _known_at(self, lead: Lead) -> int:
        """Up to when (µs) we know everything of a lead; 0 where changes of it may be missing for good."""
        if lead.judge_after == NEVER:
            return 0
        lanes = self._monitor.snapshot().lanes
        point = lanes.get(lane_of(lead.user_id, len(lanes))) if lanes else None
        return max(lead.read_floor, point.version if point else 0)

    def _queue_recheck(self, user_id: int) -> bool:
        """Queues a recheck in the background; says whether one is queued."""
        if not self._writes:
            return False
        now = time.monotonic()
        if now - self._queued.get(user_id, -QUEUED_AGAIN_SECONDS) < QUEUED_AGAIN_SECONDS:
            return True
        if len(self._queued) >= REMEMBERED:
            self._queued.clear()
        self._queued[user_id] = now
        metrics.PRECALL_DRIFT.inc()
        task = asyncio.create_task(self._write_recheck(user_id))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return True

    async def _write_recheck(self, user_id: int) -> None:
        try:
            await self._rechecks.read(user_id)
        except (StoreError, psycopg.Error) as error:
            self._queued.pop(user_id, None)
            log.warning("recheck_not_queued", reason=why(error))


def as_of(read_ended: int, lag: LagReading | None, now: float) -> datetime | None:
    """The time of the data of a live read: that of its end (µs), less the replica's lag.

    None where replication stands still, or the lag was seen so long before `now` that nobody knows.
    """
    if lag is None or lag.behind is None:
        return moment(read_ended)
    if isinf(lag.behind) or now - lag.at > LAG_FRESH_SECONDS:
        return None
    return moment(read_ended - round(lag.behind * 1_000_000))


def _queue(named: str, rules: Rules) -> QueueType:
    queue_type = rules.queue_labelled(named)
    if queue_type is None:
        labels = ", ".join(label for queue in QueueType if (label := rules.label(queue)) is not None)
        names = ", ".join(QueueType)
        raise NoSuchQueue(f"there is no queue {named!r}; expected is a label ({labels}) or a name ({names})")
    return queue_type


def _drift(lead: Lead | None, live: LiveRead, user_id: int, rules: Rules) -> list[str]:
    return sorted({difference.kind.value for difference in differences(lead, live.leads[user_id].state, rules)})


def _read_live(replica: ReplicaReads, user_ids: list[int]) -> LiveRead:
    return _twice(replica, lambda: replica.read_users(user_ids))


def _twice(session: ReplicaReads | Postgres, work: Callable[[], T]) -> T:
    """Does it once more on a new session where the one at hand had died meanwhile."""
    had_session = session.is_open()
    try:
        return work()
    except (ConnectionLost, StoreUnavailable):
        session.close()
        if not had_session:
            raise
    return work()


def _read_records(postgres: Postgres, user_ids: list[int]) -> Mapping[int, tuple[LeadRecord, Rules]]:
    def read() -> Mapping[int, tuple[LeadRecord, Rules]]:
        rules = postgres.rules()
        return {user_id: (postgres.lead_record(user_id), rules) for user_id in user_ids}

    return _twice(postgres, read)


def _queue_rechecks(store: LeadStore, user_ids: list[int]) -> None:
    again_if_in_the_way(ask_for_rechecks, store, user_ids, "a pre-call check saw that MySQL has something else")
