"""What an applier works on: changes of some lanes, in order within each, and how far they move those lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consumer.leads.model import Change
from consumer.stream.envelope import NOBODY
from consumer.stream.lanes import LaneMerge
from consumer.stream.topics import LANE_TOPICS

PARTITIONS: Final = range(len(LANE_TOPICS))
"""A lane's partitions, one per topic, in the order of LANE_TOPICS."""


class LanePosition(Protocol):
    """Where a lane stands: its next number, version in µs, and per topic (without prefix) the next offset to read."""

    @property
    def epoch(self) -> int: ...
    @property
    def next_seq(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def offsets(self) -> Mapping[str, int]: ...


Positions = Callable[[Sequence[int]], Mapping[int, LanePosition]]
"""Where lanes stand in PostgreSQL, asked when they are assigned; raises what ends the process."""


@dataclass(slots=True, frozen=True)
class LaneBatch:
    """One lane's part of a batch: its changes in order, and the step that they move the lane.

    `expected_seq` and `version_before` are where the lane has to stand, `next_seq`, `version` (that of the last
    transaction completed within) and `offsets` where it stands afterwards. `lost` counts numbers that can no longer
    arrive. `user_ids` are those of `changes`; `orphaned` says that NOBODY is among the owners of rows.
    """

    lane: int
    epoch: int
    expected_seq: int
    next_seq: int
    version_before: int
    version: int
    offsets: Mapping[str, int]
    changes: list[Change]
    user_ids: frozenset[int]
    orphaned: bool
    lost: int


@dataclass(slots=True, frozen=True)
class Batch:
    """Changes of lanes that were assigned to us in `generation`; of another generation it must not be applied."""

    generation: int
    lanes: Sequence[LaneBatch]
    rows: int
    """Messages in it, heartbeats included."""

    @property
    def user_ids(self) -> set[int]:
        """Whose changes these are."""
        return set().union(*(lane.user_ids for lane in self.lanes))


class Lane:
    """An assigned lane: the merge of its partitions, and the part of the next batch that was popped so far."""

    __slots__ = (
        "_changes",
        "_expected_seq",
        "_lost",
        "_version_before",
        "epoch",
        "merge",
        "number",
        "stalled_at",
        "version",
    )

    def __init__(self, number: int, position: LanePosition, buffer: int) -> None:
        self.number = number
        self.epoch = position.epoch
        self.version = position.version
        self.merge: LaneMerge[Change] = LaneMerge(
            position.next_seq, [position.offsets.get(topic) for topic in LANE_TOPICS], buffer
        )
        self.stalled_at: float | None = None
        """Since when (time.monotonic) something is held and the next number is missing."""
        self._changes: list[Change] = []
        self._lost = 0
        self._expected_seq = position.next_seq
        self._version_before = position.version

    def gather(self, limit: int) -> tuple[int, bool]:
        """Pops up to `limit` changes into the next batch; how many, and whether any is the change of a row."""
        changes = self.merge.pop(limit)
        if not changes:
            return 0, False
        for change in reversed(changes):
            if change.last:
                self.version = change.version
                break
        self._changes += changes
        return len(changes), any(change.table is not None for change in changes)

    def skip(self, numbers: int) -> None:
        """Goes on behind `numbers` lost numbers."""
        self.merge.skip(numbers)
        self._lost += numbers

    def take(self) -> LaneBatch | None:
        """What was gathered since the last time; None where that is nothing."""
        changes = self._changes
        merge = self.merge
        if not changes and not self._lost:
            return None
        user_ids = {change.user_id for change in changes if change.table is not None}
        orphaned = NOBODY in user_ids
        user_ids.discard(NOBODY)
        batch = LaneBatch(
            self.number,
            self.epoch,
            self._expected_seq,
            merge.next_seq,
            self._version_before,
            self.version,
            {topic: offset for topic, offset in zip(LANE_TOPICS, merge.offsets, strict=True) if offset is not None},
            changes,
            frozenset(user_ids),
            orphaned,
            self._lost,
        )
        self._changes = []
        self._lost = 0
        self._expected_seq = merge.next_seq
        self._version_before = self.version
        return batch
