"""A look at everything every few seconds: what health, metrics and pre-call checks know without asking again."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import structlog

from consumer.measures import RECONCILER
from consumer.metrics import RECONNECTS
from consumer.mysql.errors import SourceError
from consumer.stopping import EssentialThread
from consumer.store import dead_letters, lookups
from consumer.store.errors import NotPrepared, StoreError
from consumer.store.lanes import LanePoint
from consumer.versions import moment
from reconciler.monitor.lags import Lags
from reconciler.monitor.today import SinceMidnight, since_midnight
from reconciler.names import RUN_NAMES, SWEEPS
from reconciler.postgres import Postgres, clock
from reconciler.replica import Known, ReplicaReads
from reconciler.runs.repair import why
from reconciler.runs.run_log import WHOLE
from reconciler.runs.sessions import Settings

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
LAG_SECONDS: Final = 2400.0
"""How often the replica is asked how far it is behind while all is well and nobody checks before a call."""
LAG_CHECKED_SECONDS: Final = 10.0
"""How often while somebody does, or while it is late or was away."""
UNANSWERED_SECONDS: Final = 60.0
"""PostgreSQL is away where a look has not ended for so long, though the connection stands: what was seen is old."""
RETENTION_SECONDS: Final = 21_600.0
"""How often the replica is asked how long it keeps its binlogs."""
LATE_SECONDS: Final = 30.0
"""A replica that is so far behind is watched closely."""
COUNT_SECONDS: Final = 60.0
"""How often queues are counted, which reads every lead."""

QUEUES: Final = """
SELECT queue_type, count(*),
       min(ARRAY[(extract(epoch FROM opened_at) * 1000000)::bigint, user_id]) FILTER (WHERE queue_type <> 'none'), now()
FROM leadstream.leads WHERE queue_type IS NOT NULL GROUP BY queue_type
"""
"""Leads in each queue, and since when (µs) who waits longest, in one go; of those in no queue nobody waits."""

LAST_RUNS: Final = f"""
SELECT run.name, run.started_at, coalesce(run.milliseconds, 0),
       coalesce((run.counts ->> 'first_seen')::int, 0),
       coalesce((SELECT sum(value::int) FROM jsonb_each_text(run.counts -> 'conversions')), 0)::int
FROM unnest(%s::text[]) AS wanted, LATERAL (
    SELECT * FROM leadstream.runs WHERE name = wanted AND outcome IN ('ok', 'refused') AND {WHOLE}
    ORDER BY started_at DESC LIMIT 1) AS run
"""  # noqa: S608 (words of ours)
"""The last successful run of each name."""

RUN_STATES: Final = f"""
SELECT wanted, ended.outcome, latest.started_at, latest.outcome = 'running', latest.cursor,
       latest.counts -> 'first_user', latest.counts -> 'last_user'
FROM unnest(%s::text[]) AS wanted
JOIN LATERAL (
    SELECT * FROM leadstream.runs WHERE name = wanted ORDER BY started_at DESC, id DESC LIMIT 1) AS latest ON true
LEFT JOIN LATERAL (
    SELECT * FROM leadstream.runs WHERE name = wanted AND outcome <> 'running' AND {WHOLE}
    ORDER BY started_at DESC, id DESC LIMIT 1) AS ended ON true
"""  # noqa: S608 (words of ours)
"""How the last run of each name ended, and the newest one, under way or not."""

VERIFIED: Final = f"""
SELECT kind.key, kind.value::bigint
FROM (SELECT counts FROM leadstream.runs WHERE name = 'verify' AND outcome IN ('ok', 'drift', 'refused') AND {WHOLE}
      ORDER BY started_at DESC, id DESC LIMIT 1) AS run, LATERAL jsonb_each_text(run.counts -> 'drift') AS kind
"""  # noqa: S608 (words of ours)
"""The kinds of drift that the last verify found which came to its end."""

AUDITED: Final = """
SELECT outcome = 'drift', started_at FROM leadstream.runs WHERE name = 'audit' AND outcome IN ('ok', 'drift')
ORDER BY started_at DESC, id DESC LIMIT 1
"""
"""Whether the last audit found differences that found anything out, and when: those that failed say nothing of them."""

STREAMED: Final = """
SELECT (SELECT count(*) FROM leadstream.stints
        WHERE number = 1 AND source = 'stream' AND opened_at >= now() - interval '1 hour'),
       (SELECT count(*) FROM leadstream.stints
        WHERE conversion_type IS NOT NULL AND source = 'stream' AND closed_at >= now() - interval '1 hour')
"""
"""Users first seen and conversions of the last hour that came by the stream."""


class LongestWait(NamedTuple):
    """A customer who waits in a queue, and since when."""

    user_id: int
    since: datetime


class LastSuccess(NamedTuple):
    """The last successful run of a name: when it started, how long it took, what it brought."""

    started_at: datetime
    milliseconds: int
    first_seen: int
    conversions: int


class RunState(NamedTuple):
    """How the last run of a name ended, None where none did; when the newest one started, and whether it is under way.

    The last three say where a backfill begins, how far it has come and where it ends, by primary key.
    """

    outcome: str | None
    started_at: datetime
    running: bool
    cursor: int | None = None
    first_user: int | None = None
    last_user: int | None = None

    @property
    def share(self) -> float | None:
        """How much of its users a backfill has done, from 0 to 1; None where that is not recorded."""
        if self.cursor is None or self.first_user is None or self.last_user is None:
            return None
        users = self.last_user - self.first_user + 1
        return min(1.0, max(0.0, (self.cursor - self.first_user + 1) / users)) if users > 0 else 1.0


def is_made_up_for(failed_at: datetime, last_runs: Mapping[str, LastSuccess], *, is_due: bool) -> bool:
    """Whether rechecks that began then and failed were done by a sweep since: the job finds none due then, and records
    no run. `is_due`: some are due now."""
    return not is_due and any(last_runs[name].started_at > failed_at for name in SWEEPS if name in last_runs)


@dataclass(frozen=True)
class Snapshot:
    """What was seen last; None where that is not known. Lags in seconds."""

    store_up: bool = False
    store_error: str = "PostgreSQL has not been asked yet"
    store_failed: bool = False
    """It was asked and could not answer; a store that was not asked yet, or is not set up yet, has not failed."""
    replica_up: bool = False
    replica_error: str = "the replica has not been asked yet"
    replica_failed: bool = False
    lanes: Mapping[int, LanePoint] = field(default_factory=dict)
    rechecks_due: int | None = None
    rechecks_waiting: int | None = None
    rechecks_refused: int | None = None
    """Leads whose rows PostgreSQL refused, and that wait to be read live."""
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    """Messages that could not be applied and that nobody has resolved, by what is wrong with them."""
    last_runs: Mapping[str, LastSuccess] = field(default_factory=dict)
    runs: Mapping[str, RunState] = field(default_factory=dict)
    verify_drift: Mapping[str, int] = field(default_factory=dict)
    """What the last verify found that came to its end, by kind."""
    audit_differs: bool | None = None
    """Whether the last audit that found anything out found differences; None before anybody looked."""
    audited_at: datetime | None = None
    """When that one began."""
    replica_lag: float | None = None
    binlog_retention: float | None = None
    """For how long (s) the server keeps its binlogs; infinite where it never purges by itself."""
    queues: Mapping[str, int] = field(default_factory=dict)
    longest: Mapping[str, LongestWait] = field(default_factory=dict)
    """Of each queue, who waits longest in it."""
    counted_at: datetime | None = None
    """When the queues were counted."""
    streamed_users: int = 0
    streamed_conversions: int = 0
    today: SinceMidnight | None = None
    """What was brought and repaired since midnight."""


class ServerMonitor:
    """Two threads that ask the servers, one for each, so that neither waits for the other."""

    def __init__(self, settings: Settings, stop: Event, zone: ZoneInfo) -> None:
        """`zone` says whose midnight begins a day."""
        self._settings = settings
        self._zone = zone
        self._stop = stop
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self.known = Known()
        self._lag_wanted = True
        self._lag_asked = -LAG_SECONDS
        self._retention_asked = -RETENTION_SECONDS
        self._store_answered = time.monotonic()
        self._is_recording = True
        """Whether lag could be written the last time; logged once."""
        self._threads = [
            EssentialThread("watch store", self._watch_store, stop),
            EssentialThread("watch replica", self._watch_replica, stop),
        ]

    def start(self) -> None:
        """Begins to look."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits for the last look, after `stop` was set."""
        for thread in self._threads:
            thread.join()

    def want_lag(self) -> None:
        """Somebody needs to know soon how far the replica is behind."""
        self._lag_wanted = True

    def snapshot(self) -> Snapshot:
        """What was seen last."""
        seen, silent = self._snapshot, time.monotonic() - self._store_answered
        if not seen.store_up or silent < UNANSWERED_SECONDS:
            return seen
        error = f"PostgreSQL has not answered for {silent:.0f} s, though the connection stands; look at its server"
        return replace(seen, store_up=False, store_error=error, store_failed=True)

    def look_at_runs(self, postgres: Postgres) -> None:
        """Looks at the records of runs now: somebody asks for them. Raises StoreError."""
        with postgres.session() as connection:
            runs = {name: LastSuccess(*row) for name, *row in connection.execute(LAST_RUNS, [list(RUN_NAMES)])}
        self._see(last_runs=runs)

    def _watch_store(self) -> None:
        counted = -COUNT_SECONDS
        lags = Lags()
        with closing(Postgres(self._settings.database.conninfo)) as postgres:
            while not self._stop.is_set():
                try:
                    lags.measured(*self._look_at_store(postgres))
                    self._store_answered = time.monotonic()
                    if time.monotonic() - counted >= COUNT_SECONDS:
                        self._count(postgres)
                        counted = self._store_answered = time.monotonic()
                        self._record(lags, postgres)
                except (StoreError, psycopg.Error) as error:
                    self._log_away("postgres", error, self._snapshot.store_error)
                    RECONNECTS.labels(RECONCILER, "postgres").inc()
                    failed = not isinstance(error, NotPrepared)
                    self._see(store_up=False, store_error=why(error), store_failed=failed)
                    postgres.close()
                self._stop.wait(LOOK_SECONDS)

    def _watch_replica(self) -> None:
        address, seconds = self._settings.replica.address, self._settings.replica.replica_query_seconds
        with closing(ReplicaReads(address, seconds, 0.0, self._stop, known=self.known)) as replica:
            while not self._stop.is_set():
                self.look_at_replica(replica, time.monotonic())
                self._stop.wait(LOOK_SECONDS)

    def look_at_replica(self, replica: ReplicaReads, now: float) -> None:
        """Finds out whether the replica answers, without a statement, and from time to time how far it is behind.

        `now` is any clock's seconds that only goes forward.
        """
        pause = LAG_CHECKED_SECONDS if self._lag_wanted else LAG_SECONDS
        try:
            if now - self._lag_asked >= pause:
                self._lag_wanted = False
                self._lag_asked = now
                lag = replica.lag()
                self._lag_wanted |= (lag or 0.0) >= LATE_SECONDS
                self._see(replica_lag=lag)
            if now - self._retention_asked >= RETENTION_SECONDS:
                self._see(binlog_retention=replica.binlog_retention())
                self._retention_asked = now
            replica.ping()
            self._see(replica_up=True, replica_error="", replica_failed=False)
        except SourceError as error:
            self._log_away("mysql", error, self._snapshot.replica_error)
            RECONNECTS.labels(RECONCILER, "mysql").inc()
            self._see(replica_up=False, replica_error=str(error), replica_failed=True, replica_lag=None)
            self._lag_wanted, self._lag_asked = True, -LAG_SECONDS

    def _record(self, lags: Lags, postgres: Postgres) -> None:
        """Writes what was measured, where anything is written. That it cannot be is nothing that health is about."""
        if not self._settings.discovery.smart_discovery_enabled:
            return
        try:
            lags.write(postgres)
            self._is_recording = True
        except (StoreError, psycopg.Error) as error:
            if self._is_recording:
                log.warning("lag_not_recorded", reason=why(error), hint="the page lacks it meanwhile")
            self._is_recording = False

    def _look_at_store(self, postgres: Postgres) -> tuple[Mapping[int, LanePoint], datetime]:
        """Looks at what the stream and the runs changed; where the lanes stand, and when by PostgreSQL's clock."""
        lanes = postgres.lanes()
        with postgres.session() as connection:
            seen_at = clock(connection)
            rechecks = lookups.rechecks(connection)
            letters = dead_letters.counts(connection)
            states = {name: RunState(*state) for name, *state in connection.execute(RUN_STATES, [list(RUN_NAMES)])}
            drift = dict(connection.execute(VERIFIED).fetchall())
            differs, audited_at = connection.execute(AUDITED).fetchone() or (False, None)
        self.look_at_runs(postgres)
        missing = "" if lanes else "there are no lanes in leadstream.lanes yet; run `consumer setup`"
        self._see(
            store_up=bool(lanes), store_error=missing, store_failed=False,
            lanes=lanes, rechecks_due=rechecks.due, rechecks_waiting=rechecks.waiting,
            rechecks_refused=rechecks.refused, dead_letters=letters, runs=states, verify_drift=drift,
            audit_differs=differs, audited_at=audited_at,
        )  # fmt: skip
        return lanes, seen_at

    def _count(self, postgres: Postgres) -> None:
        with postgres.session() as connection:
            counted = connection.execute(QUEUES).fetchall()
            users, conversions = connection.execute(STREAMED).fetchone() or (0, 0)
        today = since_midnight(postgres, self._zone)
        self._see(
            queues={queue: count for queue, count, *_ in counted},
            longest={queue: LongestWait(first[1], moment(first[0])) for queue, _, first, _ in counted if first},
            counted_at=counted[0][3] if counted else datetime.now(UTC),
            streamed_users=users,
            streamed_conversions=conversions,
            today=today,
        )

    def _see(self, **seen: object) -> None:
        with self._lock:
            self._snapshot = replace(self._snapshot, **seen)  # type: ignore[arg-type]

    @staticmethod
    def _log_away(server: str, error: Exception, before: str) -> None:
        """Logs it where that is not what was the matter `before`."""
        if (reason := why(error)) != before:
            log.warning("server_away", server=server, reason=reason)
