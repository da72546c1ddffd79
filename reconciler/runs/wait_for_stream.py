"""Waiting for the stream: has it passed what we read, or does it stand still?

Only where versions are times: a clock that was put back behind them says nothing of how far a lane has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import Final, NamedTuple

from consumer.store.lanes import LanePoint
from consumer.versions import ahead_seconds

_POLL_SECONDS: Final = 0.2


class Stopped(Exception):
    """The run was asked to stop."""


def lanes_ahead(lanes: Mapping[int, LanePoint], clock: int) -> float:
    """How far (s) the stream's versions are ahead of the server's clock (µs), which was put back; 0 where they are not.

    Until it has caught up no lane can be said to have passed a read, so nothing may be repaired by one.
    """
    return ahead_seconds(max((point.version for point in lanes.values()), default=0), clock / 1e6)


class Waited(NamedTuple):
    """Lanes that have not passed what was waited for: those that move but lag, and those that stand still."""

    lagging: set[int]
    still: set[int]


class LaneMonitor:
    """How far the lanes have come, looked at until they have passed or stand still.

    Remembers between calls since when each has been standing still.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[int, LanePoint]],
        still_seconds: float,
        patience_seconds: float,
        stop: Event,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """`still_seconds` without any movement mean that a lane stands still (RECHECK_WAIT_SECONDS), those before we
        looked included; `patience_seconds` is the longest wait for one that moves but lags."""
        self._read = read
        self._still = still_seconds
        self._patience = patience_seconds
        self._stop = stop
        self._poll = poll_seconds
        self._seen: dict[int, tuple[tuple[int, int] | None, float]] = {}

    def wait(self, marks: Mapping[int, int]) -> Waited:
        """Waits until each lane has passed its version (µs) or stands still.

        Where no applier is there and none comes while a lane would be standing still, there is no stream, and nothing
        to wait for; that takes its time, however short patience is. Raises Stopped.
        """
        deadline = time.monotonic() + self._patience
        while True:
            waited = self.look(marks)
            if not waited.lagging or (time.monotonic() >= deadline and has_begun(self._read())):
                return waited
            if self._stop.wait(self._poll):
                raise Stopped

    def look(self, marks: Mapping[int, int]) -> Waited:
        """Where lanes stand at the moment."""
        points = self._read()
        now = time.monotonic()
        for lane in {*points, *marks}:
            point = points.get(lane)
            position = None if point is None else (point.version, point.next_seq)
            if lane not in self._seen or self._seen[lane][0] != position:
                self._seen[lane] = position, now
        found = Waited(set(), set())
        for lane, mark in marks.items():
            point = points.get(lane)
            if point is None or point.version < mark:
                is_still = max(now - self._seen[lane][1], point.still if point else 0.0) >= self._still
                (found.still if is_still else found.lagging).add(lane)
        return found if found.lagging or has_begun(points) else Waited(set(), set())


def after_first_moves(
    read: Callable[[], Mapping[int, LanePoint]], seconds: float, stop: Event
) -> Mapping[int, LanePoint] | None:
    """Where lanes stand, once appliers that are there have moved every one; None where they have not after so long.

    Where none is there yet, there is nothing to wait for. Raises Stopped.
    """
    deadline = time.monotonic() + seconds
    while True:
        points = read()
        if not has_begun(points) or all(point.version for point in points.values()):
            return points
        if time.monotonic() >= deadline:
            return None
        if stop.wait(_POLL_SECONDS):
            raise Stopped


def has_begun(points: Mapping[int, LanePoint]) -> bool:
    """Whether there is a stream: an applier is or was there, or has moved a lane."""
    return any(point.owner is not None or point.version for point in points.values())
