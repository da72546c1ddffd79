"""Lanes that wait for others: a claim that moved comes after what its old lane has left for it.

Every change comes after an earlier one of the binlog, so of lanes that wait for each other one can always go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from consumer.applier.assigned_lane import Lane, Positions

log: Final = structlog.get_logger()

SOON_SECONDS: Final = 0.01
"""How soon PostgreSQL is asked again where other processes have the lanes: a batch of theirs takes about as long."""
ASK_SECONDS: Final = 0.1
"""How soon at most, where its answers bring nothing new: the pause doubles each time."""
STILL_SECONDS: Final = 900.0
"""A lane that has not moved for so long is waited for no longer: longer than PostgreSQL, Kafka or another applier may
be away, because whoever goes on without what was left loses what happened until the live read."""
STEP_SECONDS: Final = 1.0
"""So much at most counts as waiting from one look to the next; more is an outage, in which no lane moves."""


class OtherLanes:
    """Whether lanes have passed numbers: our own as far as they were emitted, others as PostgreSQL says."""

    def __init__(self, positions: Positions, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds and never goes back; tests have one of their own."""
        self.waiting: set[int] = set()
        """Lanes of ours that wait."""
        self._positions = positions
        self._clock = clock
        self._ask_at = 0.0
        self._pause = SOON_SECONDS
        self._looked_at = clock()
        self._waited = 0.0
        """Seconds of waiting since the start: without those in which a batch of ours, or PostgreSQL, held us up."""
        self._wanted: set[int] = set()
        self._reached: dict[int, tuple[int, int]] = {}
        """Epoch and next number of others' lanes, as PostgreSQL had them last."""
        self._since: dict[tuple[int, int], tuple[int, float]] = {}
        """For each lane and number waited for: how far the lane has come, and since when, in seconds waited."""

    def forget(self) -> None:
        """Lanes have changed hands."""
        self.waiting.clear()
        self._wanted.clear()
        self._reached.clear()
        self._since.clear()

    def look(self, *, busy: bool = False) -> None:
        """Asks PostgreSQL for the lanes that are waited for, unless it was asked just now. Raises what that raises.

        To be called again and again while lanes wait. `busy`: a batch of ours is being applied, so that our own lanes
        cannot move.
        """
        now = self._clock()
        if not busy:
            self._waited += min(now - self._looked_at, STEP_SECONDS)
        self._looked_at = now
        if self._wanted and now >= self._ask_at:
            found = {lane: (at.epoch, at.next_seq) for lane, at in self._positions(sorted(self._wanted)).items()}
            is_new = any(self._reached.get(lane) != reached for lane, reached in found.items())
            self._pause = SOON_SECONDS if is_new else min(2 * self._pause, ASK_SECONDS)
            self._ask_at = now + self._pause
            self._reached.update(found)
            self._wanted.clear()

    def may_go(self, lane: Lane, ours: Mapping[int, Lane]) -> bool:
        """Whether the next change of a lane is here, and what it comes after lies in an earlier batch."""
        while not lane.ready:
            waits_for = lane.waiting_for() if lane.merge.ready else None
            if waits_for is None:
                self.waiting.discard(lane.number)
                return False
            number, seq = waits_for
            passed = self.passed(number, seq, lane.epoch, ours[number].emitted if number in ours else None)
            if passed is None:
                self.waiting.add(lane.number)
                return False
            if not passed:
                log.warning(
                    "lane_stalled",
                    lane=number,
                    seq=seq,
                    hint=f"lane {lane.number} goes on without what it waited for; its lead is queued to be read live",
                )
            lane.wait_no_longer(late=not passed)
        self.waiting.discard(lane.number)
        return True

    def passed(self, lane: int, number: int, epoch: int, emitted: int | None) -> bool | None:
        """True where the lane has passed the number, None where it is to be waited for, False where it stands still.

        `emitted` is the next number of a lane of ours, None of others'.
        """
        reached = self._reached.get(lane, (0, 0)) if emitted is None else (epoch, emitted)
        waited_for = lane, number
        if reached > (epoch, number):
            self._since.pop(waited_for, None)
            return True
        if emitted is None:
            self._wanted.add(lane)
        seen, since = self._since.get(waited_for, (-1, self._waited))
        if seen != reached[1]:
            self._since[waited_for] = reached[1], self._waited
        elif self._waited - since >= STILL_SECONDS:
            del self._since[waited_for]
            return False
        return None
