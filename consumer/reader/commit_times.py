"""Commit times held against the server's clock before anything is dated or ordered by them.

MariaDB dates a transaction by its session's `timestamp`, which any client may set, and by when its statement began; a
replica's transactions carry the time of their source; any server's clock may be put back. So:

- A time further ahead of the server's clock than AHEAD_SECONDS is not confirmed: the transaction is dated like the one
  before it, or by the last heartbeat, and its version follows the last one.
- On MariaDB a transaction is never dated before the one before it that was made on the same server: the server
  committed them in this order. A replica that lags, by however much, is dated rightly: what counts is the order of what
  one server made.

What cannot be seen: a time that lies ahead of its position in the binlog but behind the server's clock, while the
reader catches up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

AHEAD_SECONDS: Final = 2
"""How far ahead of the server's clock a commit time may be: the clocks of a source and its replica differ a little."""
BEHIND_SECONDS: Final = 60
"""A correction of less than this is not reported: statements take their time, and are dated by their beginning."""
ASK_SECONDS: Final = 1.0
"""The clock is not asked for more often than this."""
SOURCES_KEPT: Final = 1000

_US: Final = 1_000_000


class Wrong(StrEnum):
    """What was wrong with a commit time."""

    AHEAD = "ahead"
    BEHIND = "behind"


Report = Callable[[Wrong, int, int], None]
"""Is handed what was wrong, the time that the binlog has, and the one that is taken instead (µs)."""


class CommitTimes:
    """Commit times as they may be confirmed; `latest` (µs) is the latest one that may be without asking the server."""

    def __init__(self, clock: Callable[[], int], report: Report, *, mariadb: bool) -> None:
        """`clock` asks the server what time it is (µs), and raises what asking raises."""
        self.latest = 0
        self.mariadb = mariadb
        self._ask = clock
        self._asked: float | None = None
        self._report = report
        self._last: dict[int, int] = {}
        """On MariaDB, the date of the last transaction that each server made."""

    def seen(self, clock_us: int, age_seconds: float = 0.0) -> None:
        """Takes note of what the server's clock showed so long ago.

        Later commits than that may have come meanwhile, and what is ahead of them is asked of the server all the same.
        """
        self.latest = clock_us + int((age_seconds + AHEAD_SECONDS) * _US)

    def confirmed(self, server_id: int, ts_us: int, applied_us: int, version: int) -> tuple[int, int]:
        """When a transaction is dated, and when it was applied on the server that we read; 0: after the last one.

        `version` is that of the transaction or heartbeat before it. Raises what asking for the clock raises.
        """
        if max(ts_us, applied_us) > self.latest and (
            self._asked is None or time.monotonic() - self._asked >= ASK_SECONDS
        ):
            self.seen(self._ask())
            self._asked = time.monotonic()
        latest = self.latest
        now = latest - AHEAD_SECONDS * _US
        date = ts_us
        if applied_us > latest:
            applied_us = 0
        last = min(self._last.get(server_id, 0), now) if self.mariadb else 0
        if ts_us > latest:
            date = applied_us or min(max(last, version) or now, now)
            self._report(Wrong.AHEAD, ts_us, date)
        elif ts_us < last:
            date = last
            if last - ts_us > BEHIND_SECONDS * _US:
                self._report(Wrong.BEHIND, ts_us, date)
        if self.mariadb:
            if len(self._last) >= SOURCES_KEPT:
                self._last.clear()
            self._last[server_id] = date
        return date, applied_us
