"""Runs as they are recorded in `leadstream.runs`: the reconciler's, adoptions of rules, and audits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, NamedTuple
from zlib import crc32

from psycopg.types.json import Jsonb

from consumer.store import sql
from consumer.store.connection import Connection, classified, open_session
from consumer.versions import moment

LOCK_SPACE: Final = 0x1EAD
"""First key of the advisory locks of runs; the second is derived from a run's name."""

ABANDON: Final = (
    "UPDATE leadstream.runs SET outcome = 'aborted', finished_at = now() WHERE name = %s AND outcome = 'running'"
)
"""Closes records of runs whose process is gone: whoever holds the lock knows that nobody else runs."""

START: Final = """
INSERT INTO leadstream.runs (name, started_at, window_from, window_to, cursor, started_by)
VALUES (%s, now(), %s, %s, %s, %s) RETURNING id
"""
"""Records a run as it starts."""

SET_WINDOW: Final = "UPDATE leadstream.runs SET window_from = %s, window_to = %s WHERE id = %s"
"""What a run looks at."""

SET_CURSOR: Final = "UPDATE leadstream.runs SET cursor = %s WHERE id = %s"
"""How far a run has looked at a table by primary key."""

MOVE: Final = "UPDATE leadstream.runs SET cursor = %s, counts = %s, queries = %s, milliseconds = %s WHERE id = %s"
"""How far a run has come."""

FINISH: Final = """
UPDATE leadstream.runs
SET finished_at = now(), outcome = %s, counts = %s, queries = %s, milliseconds = %s, error = %s WHERE id = %s
"""
"""Records how a run ended."""


def lock_of(name: str) -> tuple[int, int]:
    """The advisory lock that a run of this name holds until it ends, so that no other one does."""
    return LOCK_SPACE, crc32(name.encode()) - 2**31


class Window(NamedTuple):
    """A span of the replica's time, in µs."""

    start: int
    end: int


class Run:
    """One run under way: says how far it is and how it ended."""

    def __init__(self, session: Callable[[], AbstractContextManager[Connection]], run_id: int) -> None:
        self.run_id = run_id
        self._session = session
        self._started = time.monotonic()

    @property
    def milliseconds(self) -> int:
        """How long it has taken so far."""
        return round((time.monotonic() - self._started) * 1000)

    def set_window(self, window: Window) -> None:
        """Records what span of time the run looks at."""
        with self._session() as connection:
            connection.execute(SET_WINDOW, [moment(window.start), moment(window.end), self.run_id])

    def set_cursor(self, cursor: int) -> None:
        """Records up to which primary key the run has looked at its table."""
        with self._session() as connection:
            connection.execute(SET_CURSOR, [cursor, self.run_id])

    def move(self, cursor: int, counts: Mapping[str, object], queries: int = 0) -> None:
        """Records how far the run has come, to be resumed there."""
        with self._session() as connection:
            connection.execute(MOVE, [cursor, Jsonb(counts), queries, self.milliseconds, self.run_id])

    def finish(self, outcome: str, counts: Mapping[str, object], queries: int = 0, error: str | None = None) -> None:
        """Records how it ended, as `reconciler.runs.sweeps.Report` has it."""
        with self._session() as connection:
            connection.execute(FINISH, [outcome, Jsonb(counts), queries, self.milliseconds, error, self.run_id])


def record_audit(
    conninfo: str,
    started: datetime,
    window: tuple[datetime, datetime],
    outcome: str,
    counts: Mapping[str, int],
    error: str | None,
) -> None:
    """Records an audit that ended now, as the reconciler's runs are, and forgets those older than 90 days.

    Raises StoreUnavailable and NotPrepared.
    """
    milliseconds = max(0, round((datetime.now(started.tzinfo) - started).total_seconds() * 1000))
    with classified(conninfo), open_session(conninfo, "leadstream audit", autocommit=True) as connection:
        connection.execute(sql.RECORD_AUDIT, [started, *window, outcome, Jsonb(dict(counts)), milliseconds, error])
        connection.execute(sql.FORGET_AUDITS)
