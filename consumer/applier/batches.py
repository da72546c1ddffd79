"""What an applier works on: changes of some lanes, in order within each, and how far they move those lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from consumer.leads.left_behind import Arrival, arrival, names_in
from consumer.leads.model import OF_CLAIM, TABLES_OF_CLAIM, Change, Key, Missed
from consumer.store.dead_letters import DeadLetter
from consumer.stream.envelope import NOBODY

LOST: Final = "changes of this lane were lost in the stream"


@dataclass(slots=True, frozen=True)
class LaneBatch:
    """One lane's part of a batch: its changes in order, and the step that they move the lane.

    `expected_seq` and `version_before` are where the lane has to stand, `next_seq`, `version` (that of the last
    transaction completed within) and `offsets` where it stands afterwards. `user_ids` are those of `changes`;
    `orphaned` says that NOBODY is among the owners of rows. `lost` counts numbers that can no longer arrive and that no
    dead letter explains. `letters` are messages that were set aside, `rechecks` the users (→ reason) whom they concern,
    `unplaced` those of them whose message had no number and so no place among the changes.
    `recheck_all` are reasons to read every lead of the lane live; LOST among them stands among the changes (`missing`).
    `blind` says that changes are missing, whoever's they were.
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
    letters: Sequence[DeadLetter]
    rechecks: Mapping[int, str]
    recheck_all: frozenset[str] = frozenset()
    unplaced: Mapping[int, str] = field(default_factory=dict)
    blind: bool = False

    @property
    def missed(self) -> Missed:
        """What `recheck_all` means for the leads that are not in this batch.

        Nobody is whole where changes are missing whoever's they were, and where the transaction of which one was
        missed goes on behind this batch.
        """
        version, found, is_open, newest, at = self.version_before, False, False, 0, 0
        for change in self.changes:
            if change.table is None and change.recheck is not None:
                found = is_open = True
                newest, at = max(newest, change.version), max(at, change.at)
            if change.last:
                is_open = False
                version = version if found else max(version, change.version)
        return Missed(None if is_open or self.blind else version, newest - 1, at)


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
        return set().union(*(part.user_ids for part in self.lanes), *(part.unplaced for part in self.lanes))

    @property
    def versions(self) -> dict[int, int]:
        """lane → version that it has reached with this batch."""
        return {part.lane: part.version for part in self.lanes}

    @property
    def letters(self) -> list[DeadLetter]:
        """Messages to be set aside."""
        return [letter for part in self.lanes for letter in part.letters]

    @property
    def lane_rechecks(self) -> dict[str, list[int]]:
        """reason → lanes of which every lead has to be read live."""
        found: dict[str, list[int]] = {}
        for part in self.lanes:
            for reason in sorted(part.recheck_all.union((LOST,) * bool(part.lost))):
                found.setdefault(reason, []).append(part.lane)
        return found

    @property
    def missed(self) -> dict[int, Missed]:
        """Lanes of which somebody's changes were missed, and what that means for the lane's other leads."""
        return {part.lane: part.missed for part in self.lanes if part.recheck_all}

    @property
    def orphans(self) -> list[Change]:
        """Changes of rows whose user the reader could not find."""
        return [change for part in self.lanes if part.orphaned for change in part.changes if is_orphan(change)]

    @property
    def arrivals(self) -> list[Arrival]:
        """Claims that come from other lanes."""
        ties = (change for part in self.lanes for change in part.changes if change.ties is not None)
        return [found for change in ties if (found := arrival(change)) is not None]

    @property
    def left_names(self) -> set[str]:
        """Names under which something may have been left that these changes concern."""
        return {
            name
            for part in self.lanes
            for change in part.changes
            if change.ties is not None or (change.before is None and change.table not in TABLES_OF_CLAIM)
            for name in names_in(change)
        }


def missing(version: int, at: int) -> Change:
    """What stands in a lane where changes of it are lost, of this version and time (µs) at most."""
    return Change(NOBODY, None, None, None, version, at, last=True, moved=True, recheck=LOST)


def is_orphan(change: Change) -> bool:
    """Whether this is the change of a row whose user the reader could not find, while there may be one."""
    return change.user_id == NOBODY and change.table is not None and (change.ties is None or not change.ties.claimless)


def claim_of(orphan: Change) -> Key | None:
    """The claim that leads to an orphan's user; None: a claim without a user, which leads nowhere."""
    row = orphan.after or orphan.before
    return row.claim_id if isinstance(row, OF_CLAIM) else None
