"""The processes at work, in PostgreSQL: each reports itself every few seconds, in a session of its own.

Nobody waits for it, and nothing but the status page looks at it: where PostgreSQL does not answer, the next time will
do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Self

import structlog

from consumer.process import NAME, Process, myself
from consumer.store import sql
from consumer.store.connection import Connection, classified, open_session

log = structlog.get_logger(__name__)

REPORT_SECONDS: Final = 15.0
"""How often a process reports itself."""
SILENT_SECONDS: Final = 60.0
"""A process that reported nothing for so long is not at work any more."""
LEAVE_SECONDS: Final = 1.0
"""How long one that ends tries to report that."""
KEPT_HOURS: Final = 24
"""How long one that ended without reporting it is kept."""


class KnownProcess(NamedTuple):
    """A process that reported itself, `silent` seconds ago by PostgreSQL's clock."""

    process: Process
    silent: float


def processes(connection: Connection) -> list[KnownProcess]:
    """Those that reported themselves lately, in order of kind and name."""
    return [KnownProcess(Process(*row), silent) for *row, silent in connection.execute(sql.PROCESSES)]


class Presence:
    """A context manager in which this process reports itself, from a thread of its own."""

    def __init__(self, conninfo: str, kind: str) -> None:
        self._conninfo = conninfo
        self._kind = kind
        self._stop = threading.Event()
        self._connection: Connection | None = None
        """The thread's own, kept while it lasts."""
        self._is_silent = False
        """Whether the last report failed; logged once."""
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be had: the page does without, and the work goes on
            self._log_failure(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._try(self._report)
                self._stop.wait(REPORT_SECONDS)
            self._try(self._forget)
        finally:
            self._close()

    def _report(self) -> None:
        self._execute(sql.REPORT_PROCESS, {**myself(self._kind)._asdict(), "hours": KEPT_HOURS})

    def _forget(self) -> None:
        self._execute(sql.FORGET_PROCESS, {"kind": self._kind, "name": NAME})

    def _execute(self, statement: str, parameters: dict[str, object]) -> None:
        with classified(self._conninfo):
            if self._connection is None:
                name = f"leadstream {self._kind}'s presence"
                self._connection = open_session(self._conninfo, name, autocommit=True, seconds=5)
            self._connection.execute(statement, parameters)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next time may do, and no work depends on it
            self._close()
            self._log_failure(error)
        else:
            self._is_silent = False

    def _log_failure(self, error: Exception) -> None:
        if not self._is_silent:
            self._is_silent = True
            log.warning("presence_not_recorded", reason=str(error), hint="the page lacks this process meanwhile")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
