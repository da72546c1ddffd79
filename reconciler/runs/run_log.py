"""Runs of the reconciler: recorded in `leadstream.runs`, and never two of the same name at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Final, NamedTuple

import structlog

from consumer.store import lanes as store_lanes
from consumer.store.errors import NotPrepared, RowLocked
from consumer.store.runs import ABANDON, START, Run, Window, lock_of
from consumer.versions import moment
from reconciler.names import RUN_NAMES
from reconciler.postgres import Postgres, microseconds

log = structlog.get_logger(__name__)

COMPLETE: Final = ("ok", "refused")
"""Outcomes of runs that came to their end; leads that PostgreSQL refused on the way have their rechecks."""
LOOK_SECONDS: Final = 0.5
"""How often whoever waits for a run looks whether it has ended."""

CURSOR_BEFORE: Final = """
SELECT cursor FROM leadstream.runs
WHERE name = %(name)s AND outcome IN ('ok', 'refused') AND cursor IS NOT NULL
  AND window_to <= %(time)s AND finished_at <= now() - make_interval(secs => %(ago)s)
ORDER BY window_to DESC LIMIT 1
"""
"""The primary key up to which the last run had looked whose window, and which itself, ended by then. Windows are times
of the replica and ends of runs those of PostgreSQL, whose clocks may differ: so for runs it is said how long ago."""

WINDOWS: Final = """
SELECT window_from, window_to FROM leadstream.runs
WHERE name = %s AND outcome IN ('ok', 'refused') AND window_from IS NOT NULL ORDER BY started_at DESC LIMIT 1000
"""
"""What was looked at, newest first."""

LAST: Final = """
SELECT started_at, outcome, cursor, window_from, window_to
FROM leadstream.runs WHERE name = %s ORDER BY started_at DESC, id DESC LIMIT 1
"""
"""The newest run of a name."""


WHOLE: Final = """
    NOT (outcome = 'ok' AND coalesce(counts ? 'sample', false)) AND NOT (name = 'verify' AND (
        outcome = 'stopped' OR outcome = 'ok' AND coalesce((counts ->> 'left_to_recheck')::bigint, 0) > 0))
"""
"""What a run is that answers for everybody: neither a sample in which nothing was wrong, nor a verify that was stopped,
or that could not confirm what seemed to differ, heals what was found before it."""

NEWEST: Final = f"""
SELECT run.name, run.outcome, run.started_at, run.finished_at, run.milliseconds, run.queries, run.counts, run.error,
       run.started_by
FROM unnest(%(names)s::text[]) AS wanted, LATERAL (
    SELECT * FROM leadstream.runs WHERE name = wanted AND (%(any)s OR {WHOLE})
    ORDER BY started_at DESC, id DESC LIMIT 1) AS run
"""  # noqa: S608 (words of ours)
"""The newest run of each name, under way or not, and whether or not it answers for everybody."""

FORGET: Final = """
DELETE FROM leadstream.runs WHERE name = %(name)s AND started_at < least(
    now() - make_interval(days => %(days)s),
    coalesce(
        (SELECT started_at FROM leadstream.runs
         WHERE name = %(name)s AND outcome IN ('ok', 'refused') ORDER BY started_at DESC LIMIT 1),
        (SELECT started_at FROM leadstream.runs WHERE name = %(name)s ORDER BY started_at DESC LIMIT 1)))
"""
"""Runs of a name that nobody needs any more: too old, and from before its last successful one, or else its last one."""


class AlreadyRunning(Exception):
    """A run of the same name is under way elsewhere."""


class LanesChanged(NotPrepared):
    """The number of lanes is another than the one that this process began with, or is being changed."""


class NewestRun(NamedTuple):
    """The newest run of a name; `cursor` is how far it came."""

    started: int
    outcome: str
    cursor: int | None
    window: Window | None


@dataclass(frozen=True, slots=True)
class Record:
    """A run as it is recorded; `finished_at` and `milliseconds` are None where it is under way or was cut off.

    `started_by` is the name of a token, `schedule` or `command line`; None: an older release did not keep it.
    """

    name: str
    outcome: str
    started_at: datetime
    finished_at: datetime | None
    milliseconds: int | None
    queries: int
    counts: dict[str, object]
    error: str | None
    started_by: str | None = None


class Runs:
    """The records of all runs."""

    def __init__(
        self,
        postgres: Postgres,
        kept_days: int = 90,
        started_by: str | None = None,
        *,
        waits: float = 0.0,
        stop: Event | None = None,
        lanes: int | None = None,
    ) -> None:
        """Records older than `kept_days` are deleted when their name runs again, except those that are still needed.

        `started_by` is who starts runs here, and waits so many seconds for one of the same name, until `stop`. `lanes`
        is the number of lanes that they reckon with.
        """
        self.started_by = started_by
        self._waits = waits
        self._stop = stop or Event()
        self._lanes = lanes
        self.kept_days = kept_days
        self._postgres = postgres

    @property
    def is_to_stop(self) -> bool:
        """Whether whoever runs here was asked to stop."""
        return self._stop.is_set()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Holds the name: no other process runs the same meanwhile, and nobody changes the number of lanes.

        Raises AlreadyRunning where one still does, and LanesChanged where there are not as many lanes as runs here
        reckon with.
        """
        key = lock_of(name)
        until, is_waiting = time.monotonic() + self._waits, False
        while not self._hold(key):
            last = self.last(name)
            since = f" since {moment(last.started):%Y-%m-%d %H:%M:%S} UTC" if last else ""
            if self._stop.is_set() or time.monotonic() >= until:
                raise AlreadyRunning(f"{name} is running already{since}; wait for it to end, or stop it")
            if not is_waiting:
                is_waiting = True
                log.info("run_waiting", run=name, reason=f"it is running already{since}", wait_seconds=self._waits)
            self._stop.wait(LOOK_SECONDS)
        try:
            self._demand_lanes()
            with self._postgres.session() as connection:
                connection.execute(ABANDON, [name])
                connection.execute(FORGET, {"name": name, "days": self.kept_days})
            yield
        finally:
            if self._postgres.is_open():
                with self._postgres.session() as connection:
                    connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)

    def _demand_lanes(self) -> None:
        if self._lanes is None:
            return
        try:
            with self._postgres.session() as connection:
                store_lanes.wait_until_settled(connection)
                there = len(store_lanes.lanes(connection))
        except RowLocked as error:
            raise LanesChanged("the number of lanes is being changed; run it again when setup is done") from error
        if there != self._lanes:
            raise LanesChanged(
                f"there are {there} lanes now, and this process began with {self._lanes}; start it again"
            )

    def _hold(self, key: tuple[int, int]) -> bool:
        with self._postgres.session() as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()
        return row == (True,)

    def start(self, name: str, window: Window | None = None, cursor: int | None = None) -> Run:
        """Records that a run starts."""
        start, end = (moment(window.start), moment(window.end)) if window else (None, None)
        with self._postgres.session() as connection:
            row = connection.execute(START, [name, start, end, cursor, self.started_by]).fetchone()
        assert row is not None
        return Run(self._postgres.session, row[0])

    def last(self, name: str) -> NewestRun | None:
        """The newest run of a name."""
        with self._postgres.session() as connection:
            row = connection.execute(LAST, [name]).fetchone()
        if row is None:
            return None
        started, outcome, cursor, start, end = row
        window = None if start is None else Window(microseconds(start), microseconds(end))
        return NewestRun(microseconds(started), outcome, cursor, window)

    def newest(self, *, whole: bool = True) -> list[Record]:
        """The newest run of each name; with `whole` of those that answer for everybody."""
        with self._postgres.session() as connection:
            return [Record(*row) for row in connection.execute(NEWEST, {"names": list(RUN_NAMES), "any": not whole})]

    def cursor_before(self, name: str, time: int, now: int) -> int | None:
        """The primary key that a successful run had come to, which ended by `time` (µs), as its window did.

        `time` and `now` are of the replica's clock, whatever PostgreSQL's says.
        """
        asked = {"name": name, "time": moment(time), "ago": (now - time) / 1e6}
        with self._postgres.session() as connection:
            row = connection.execute(CURSOR_BEFORE, asked).fetchone()
        return None if row is None else int(row[0])

    def looked_at_until(self, name: str, lead: int = 0) -> int | None:
        """Up to when (µs) everything was looked at by successful runs of that name; None where there was none.

        A run answers for its window less the first `lead` (µs) of it.
        """
        with self._postgres.session() as connection:
            rows = connection.execute(WINDOWS, [name]).fetchall()
        return covered_until(Window(microseconds(start) + lead, microseconds(end)) for start, end in reversed(rows))


def covered_until(windows: Iterable[Window]) -> int | None:
    """Where the first gap begins that these windows leave, oldest first.

    A window somebody asked for by hand may begin later than the one before ended: what lies between was not looked at.
    One that begins after its own end covers nothing.
    """
    until: int | None = None
    for window in windows:
        if window.start <= (window.end if until is None else until):
            until = max(until or 0, window.end)
    return until
