"""Numbers of a lane that can no longer arrive: retention, deleted records, a topic created anew."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from consumer.applier.assigned_lane import PARTITIONS, Lane
from consumer.stream.ends import Ends

PATIENCE_SECONDS: Final = 1.0
"""How long a number may be missing before the partitions' ends are asked for."""
FIRST_PAUSE_SECONDS: Final = 0.5
"""Until they are asked for once more where Kafka did not say; twice as long each time."""
LONGEST_PAUSE_SECONDS: Final = 10.0


class _Gap:
    """A number that a lane waits for, since when (time.monotonic()), and the ends that partitions have to reach."""

    __slots__ = ("ends", "seq", "since")

    def __init__(self, seq: int, since: float) -> None:
        self.seq = seq
        self.since = since
        self.ends: list[int] | None = None


class Gaps:
    """Missing numbers of the lanes: late ones, or lost ones.

    A partition of which something is held is past every smaller number. One of which nothing is held is past the gap as
    soon as we have read up to an end that was asked for after this very gap was seen: what lies behind the gap was
    committed, so whatever belongs into the gap had been written by then. Ends asked for on behalf of an earlier gap say
    nothing: on a busy lane there is nearly always some gap.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._reached: dict[tuple[int, int], int] = {}
        self._gaps: dict[int, _Gap] = {}
        self._ask_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._refused_at: dict[int, float] = {}

    def in_turn(self, lanes: Iterable[int]) -> list[int]:
        """Lanes in the order in which they are to be looked at: those of which Kafka did not say come last."""
        return sorted(lanes, key=lambda number: self._refused_at.get(number, 0.0))

    def forget(self) -> None:
        """The lanes are read from other places now."""
        self._refused_at.clear()
        self._reached.clear()
        self._gaps.clear()

    def reached(self, lane: int, partition: int, offset: int) -> None:
        """We have read everything below `offset` of a lane's partition, and that was its end."""
        self._reached[lane, partition] = offset

    def lost(self, lane: Lane, now: float) -> int:
        """How many numbers before the next one held can no longer arrive; `now` is time.monotonic()."""
        merge = lane.merge
        if not len(merge) or merge.ready:
            self._gaps.pop(lane.number, None)
            return 0
        gap = self._gaps.get(lane.number)
        if gap is None or gap.seq != merge.next_seq:
            gap = self._gaps[lane.number] = _Gap(merge.next_seq, now)
        if now < gap.since + PATIENCE_SECONDS:
            return 0
        return merge.lost(self._past(lane.number, gap, now) if merge.waits_for() else ())

    def _past(self, number: int, gap: _Gap, now: float) -> list[int]:
        if gap.ends is None:
            gap.ends = self._ask(number, now)
        if gap.ends is None:
            return []
        return [
            partition for partition in PARTITIONS if self._reached.get((number, partition), -1) >= gap.ends[partition]
        ]

    def _ask(self, number: int, now: float) -> list[int] | None:
        if now < self._ask_at:
            return None
        began = time.monotonic()
        ends = self._ends(number)
        if ends is None:
            now += time.monotonic() - began  # it may have been waited for longer than any pause
            self._refused_at[number] = now
            self._ask_at = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        else:
            self._refused_at.pop(number, None)
            self._pause = FIRST_PAUSE_SECONDS
        return ends
