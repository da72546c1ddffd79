"""Where the reader is, in one line of its log every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

SECONDS: Final = 10.0
"""How often that is logged."""

log: Final = structlog.get_logger()


class ReaderProgress:
    """The counts between two log lines, over any number of connections."""

    def __init__(self, behind: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        """`behind` gives how many seconds ago the server committed what was processed last."""
        self._behind = behind
        self._clock = clock
        self._since = clock()
        self._rows = self._hits = self._asked = self._queries = 0

    def add(self, rows: int, hits: int, asked: int, queries: int) -> None:
        """A batch: its rows, claims that were remembered, claims asked from the replica, and in how many queries."""
        self._rows += rows
        self._hits += hits
        self._asked += asked
        self._queries += queries

    def log_if_due(self, file: str, pos: int) -> None:
        """Logs where the stream is, when that is due."""
        seconds = self._clock() - self._since
        if seconds < SECONDS:
            return
        log.info(
            "reader_progressed",
            position=f"{file}:{pos}",
            rows_per_second=round(self._rows / seconds, 1),
            behind_seconds=round(self._behind(), 3),
            cache_hits=self._hits,
            claims_asked=self._asked,
            replica_lookups=self._queries,
        )
        self._since += seconds
        self._rows = self._hits = self._asked = self._queries = 0
