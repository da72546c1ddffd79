"""Versions held against a clock: a version is the commit time of a transaction, unless the server's clock was put back.

Versions never go back, so that they run ahead of a clock that did until it has caught up: until then they are numbers
and no times, and no comparison of the two means anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

AHEAD_SECONDS: Final = 10.0
"""Versions further ahead of the server's clock are no times. Clocks of servers, and of ours, differ by less."""


def ahead_seconds(version: int, clock: float) -> float:
    """How far a version (µs) is ahead of a clock (s since the epoch); 0 where that is no more than clocks differ."""
    ahead = version / 1e6 - clock
    return ahead if ahead > AHEAD_SECONDS else 0.0


def age(version: int, now: float) -> float | None:
    """How old (s) what a version (µs) stands for is; None where there is none, or where it is no time."""
    if not version or ahead_seconds(version, now):
        return None
    return max(0.0, now - version / 1e6)


def moment(microseconds: int) -> datetime:
    """A time in µs since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
