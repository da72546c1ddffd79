"""The processes at work, in PostgreSQL: each tells of itself every few seconds, in a transaction of its own.

Nobody waits for it, and nothing but the status page looks at it: where PostgreSQL does not answer, the next time will
do.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple, Self

import psycopg
import structlog

from consumer.process import NAME, Process, myself
from consumer.store import sql
from consumer.store.connection import Connection, classified, open_session
from consumer.store.errors import StoreError

log = structlog.get_logger(__name__)

TELL_SECONDS: Final = 15.0
"""How often a process tells of itself."""
SILENT_SECONDS: Final = 60.0
"""After so long a process that told of itself is not at work any more."""
LEAVE_SECONDS: Final = 1.0
"""How long one that ends tries to say so."""
KEPT_HOURS: Final = 24
"""How long one that ended without a word is kept."""


class Known(NamedTuple):
    """A process that told of itself, `silent` seconds ago by PostgreSQL's clock."""

    process: Process
    silent: float


def processes(connection: Connection) -> list[Known]:
    """Those that told of themselves lately, in order of kind and name."""
    return [Known(Process(*row), silent) for *row, silent in connection.execute(sql.PROCESSES)]


class Presence:
    """A context manager in which this process tells of itself, from a thread of its own."""

    def __init__(self, conninfo: str, kind: str) -> None:
        self._conninfo = conninfo
        self._kind = kind
        self._stop = threading.Event()
        self._is_silent = False
        """Whether telling failed the last time; said once."""
        self._thread = threading.Thread(target=self._tell, name="presence", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LEAVE_SECONDS)

    def _tell(self) -> None:
        while not self._stop.is_set():
            told = {**myself(self._kind)._asdict(), "hours": KEPT_HOURS}
            self._execute(sql.TELL_PROCESS, told)
            self._stop.wait(TELL_SECONDS)
        self._execute(sql.FORGET_PROCESS, {"kind": self._kind, "name": NAME})

    def _execute(self, statement: str, parameters: dict[str, object]) -> None:
        try:
            with (
                classified(self._conninfo),
                open_session(self._conninfo, f"leadstream {self._kind}'s presence", seconds=5) as connection,
            ):
                connection.execute(statement, parameters)
        except (StoreError, psycopg.Error, ValueError) as error:
            if not self._is_silent:
                self._is_silent = True
                log.warning("presence_not_told", reason=str(error), hint="the page lacks this process meanwhile")
        else:
            self._is_silent = False
