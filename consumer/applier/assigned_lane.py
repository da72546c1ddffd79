"""An assigned lane: its partitions merged into the binlog's order, and its part of the batch that comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from consumer.applier.batches import LOST, LaneBatch, missing
from consumer.applier.lane_merge import LaneMerge
from consumer.applier.unnumbered_messages import UnnumberedMessages
from consumer.leads.model import Change
from consumer.store.dead_letters import DeadLetter
from consumer.store.lanes import LaneState
from consumer.stream.envelope import NOBODY
from consumer.stream.topics import LANE_TOPICS

PARTITIONS: Final = range(len(LANE_TOPICS))
"""A lane's partitions, one per topic, in the order of LANE_TOPICS."""


Positions = Callable[[Sequence[int]], Mapping[int, LaneState]]
"""Where lanes stand in PostgreSQL, asked when they are assigned; raises what ends the process."""


class Lane:
    """An assigned lane: the merge of its partitions, and its part of the next batch.

    Two threads share it. One pushes into `merge`, sets messages aside and skips numbers as it likes; nothing of that is
    seen by the other, which takes batches, before `gather`. `gather` and `take` are called under a lock.
    """

    def __init__(self, number: int, position: LaneState, buffer: int) -> None:
        self.number = number
        self.epoch = position.epoch
        self.starts = [position.offsets.get(topic) for topic in LANE_TOPICS]
        """Per partition, the offset from which on nothing was read before; None: its beginning."""
        self.merge: LaneMerge[Change] = LaneMerge(position.next_seq, list(self.starts), buffer)
        self._waits: dict[int, list[tuple[int, int]]] = {}
        """Numbers that come after some of other lanes: which lanes, and their numbers."""
        self._late: set[int] = set()
        """Numbers whose waiting was given up: they are taken without what they waited for."""
        self.doubts: dict[int, Doubt] = {}
        """Messages held, by number, that the lane does not go on before somebody says who wrote them."""
        self.displaced: list[Doubt] = []
        """Those of them whose number another message has now; to be set aside before the lane goes on."""
        self._unnumbered = UnnumberedMessages()
        self._noted = _Notes()
        # What was gathered:
        self._changes: list[Change] = []
        self._user_ids: set[int] = set()
        self._recheck_all: set[str] = set()
        self._blind = False
        self._lost = False
        """Whether numbers are lost, and nothing stands yet in their place."""
        self._notes = _Notes()
        self._version = position.version
        self._newest = position.version
        """Version of the newest change that was gathered; at first, of the last whole transaction before."""
        self._lost_version = 0
        """That of the newest change that was lost and came nevertheless, while nothing stands in its place."""
        self._next_seq = position.next_seq
        self._offsets = list(self.starts)
        # Where the last batch ended:
        self._expected_seq = position.next_seq
        self._version_before = position.version

    def set_aside(self, letter: DeadLetter, user_id: int | None, *, unnumbered: tuple[int, int] | None = None) -> None:
        """Notes a message that the next batch makes a dead letter, and whom of this lane it concerns.

        `unnumbered` is its partition and offset where its number is missing in the lane, because it cannot be read;
        then its user is not judged from here on until a recheck.
        """
        self._noted.letters.append(letter)
        if unnumbered is not None:
            self._unnumbered.add(self.merge, *unnumbered)
        if user_id is not None:
            reason = f"a change in the stream was set aside: {letter.reason}"
            self._noted.rechecks[user_id] = reason
            if unnumbered is not None:
                self._noted.unplaced[user_id] = reason

    def comes_after(self, seq: int, others: Iterable[tuple[int, int]]) -> None:
        """Holds back a number, and all behind it, until other lanes have passed numbers of theirs: (lane, number)."""
        self._waits[seq] = list(others)

    def is_news(self, change: Change) -> bool:
        """Whether a change whose number was taken before is a later one than all that came with the lane's numbers."""
        is_heartbeat = change.table is None and change.recheck is None
        return change.version > self._newest and not is_heartbeat

    def lose(self, change: Change, latest: int) -> None:
        """Notes a change that cannot be applied, because another one had its number: the lane's leads are read live.

        `latest` is the newest version (µs) that there may be by now. A foreign message may have any: no read would ever
        hold it, and what comes before it would be passed over.
        """
        self._noted.lost += 1
        self._noted.lost_version = max(self._noted.lost_version, min(change.version, latest))

    def waiting_for(self) -> tuple[int, int] | None:
        """Another lane and its number that the next number of this one comes after."""
        waits = self._waits.get(self.merge.next_seq)
        return waits[-1] if waits else None

    def wait_no_longer(self, *, late: bool) -> None:
        """That lane has passed its number, or (`late`) is not waited for any more."""
        number = self.merge.next_seq
        waits = self._waits[number]
        waits.pop()
        if not waits:
            del self._waits[number]
        if late:
            self._late.add(number)

    @property
    def emitted(self) -> int:
        """All numbers before this one lie in batches that were taken."""
        return self._expected_seq

    @property
    def ready(self) -> bool:
        """Whether the next number is here and waits for nothing."""
        return self.merge.ready and not self.in_doubt and self.merge.next_seq not in self._waits

    @property
    def in_doubt(self) -> bool:
        """Whether it holds what somebody else may have written, so that it stands still."""
        return bool(self.doubts or self.displaced)

    def drop(self, seq: int) -> Change:
        """Takes out a message held, whose number is none of the lane's."""
        self._unnumbered.dropped(seq)
        self.doubts.pop(seq, None)
        self._waits.pop(seq, None)
        return self.merge.drop(seq)

    def believe(self, latest: int) -> None:
        """Doubts no longer what has no later version (µs) than this one, which a reader gave out."""
        self.doubts = {seq: doubt for seq, doubt in self.doubts.items() if doubt.change.version > latest}

    def push(self, doubt: Doubt) -> bool:
        """Gives a message that was displaced its number; False where another one has it."""
        if not self.merge.push(doubt.partition, doubt.seq, doubt.offset, doubt.change):
            return False
        ties = doubt.change.ties
        if ties is not None and ties.after:
            self.comes_after(doubt.seq, ties.after)
        return True

    def displace(self, seq: int) -> None:
        """Takes out a message held that is doubtful, for another one that has its number."""
        self.displaced.append(self.doubts[seq])
        self.drop(seq)

    def skip(self, numbers: int) -> int:
        """Goes on behind missing numbers; how many of them no dead letter explains: those are lost."""
        lost = numbers - self._unnumbered.explain(self.merge, numbers)
        self.merge.skip(numbers)
        self._noted.lost += lost
        return lost

    @property
    def set_aside_bytes(self) -> int:
        """Bytes of the dead letters that wait for the next batch."""
        return sum(len(letter.key or b"") + len(letter.value or b"") for letter in self._noted.letters)

    @property
    def remarkable(self) -> bool:
        """Whether there is something to report besides changes; not before what was displaced is set aside."""
        return bool(self._noted) and not self.displaced

    def gather(self, limit: int) -> tuple[int, bool]:
        """Pops up to `limit` changes into the next batch; how many, and whether any is the change of a row."""
        if self._unnumbered:
            self._unnumbered.find_ceilings(self.merge)
        if self._noted.lost:
            self._recheck_all.add(LOST)
            self._blind = self._lost = True
            self._lost_version = max(self._lost_version, self._noted.lost_version)
        changes = self._pop(limit)
        if self._lost and changes:  # what is lost was committed before what comes next
            self._put_lost(changes[0].version - 1, changes[0].at)
        if changes:
            self._newest = changes[-1].version
        for change in reversed(changes):
            if change.last:
                self._version = max(self._version, change.version)
                break
        self._changes += changes
        user_ids = {change.user_id for change in changes if change.table is not None}
        self._user_ids |= user_ids
        for change in changes:
            if change.recheck is not None and change.table is None:
                self._recheck_all.add(change.recheck)
                self._blind |= change.moved
        self._next_seq = self.merge.next_seq
        self._offsets = list(self.merge.offsets)
        if self._noted:
            self._notes.add(self._noted)
            self._noted = _Notes()
        return len(changes), bool(user_ids)

    def _pop(self, limit: int) -> list[Change]:
        """Up to `limit` changes, as far as none of them waits."""
        first = self.merge.next_seq
        if self._waits:
            self._waits = {seq: other for seq, other in self._waits.items() if seq >= first}
            limit = min(limit, min(self._waits, default=first + limit) - first)
        changes = self.merge.pop(limit)
        if self._late:
            for seq in self._late.intersection(range(first, first + len(changes))):
                changes[seq - first] = changes[seq - first]._replace(moved=True)
            self._late = {seq for seq in self._late if seq >= self.merge.next_seq}
        return changes

    def _put_lost(self, version: int, at: int) -> None:
        """Has something stand where changes are lost, of this version and time (µs) at most."""
        self._changes.append(missing(max(version, self._lost_version), max(at, self._lost_version)))
        self._lost, self._lost_version = False, 0

    def take(self) -> LaneBatch | None:
        """What was gathered since the last time; None where that is nothing."""
        changes, user_ids, notes = self._changes, self._user_ids, self._notes
        if not changes and not notes:
            return None
        if self._lost:
            self._put_lost(self._version, self._version)
        orphaned = NOBODY in user_ids
        user_ids.discard(NOBODY)
        batch = LaneBatch(
            self.number,
            self.epoch,
            self._expected_seq,
            self._next_seq,
            self._version_before,
            self._version,
            {topic: offset for topic, offset in zip(LANE_TOPICS, self._offsets, strict=True) if offset is not None},
            changes,
            frozenset(user_ids),
            orphaned,
            notes.lost,
            notes.letters,
            notes.rechecks,
            frozenset(self._recheck_all),
            notes.unplaced,
            self._blind,
        )
        self._changes = []
        self._user_ids = set()
        self._recheck_all = set()
        self._blind = False
        self._notes = _Notes()
        self._expected_seq = self._next_seq
        self._version_before = self._version
        return batch


class Doubt(NamedTuple):
    """A message whose version no reader may have given out: its number, its place, and what it says.

    `is_aside`: it cannot be read, and is a dead letter whoever wrote it.
    """

    seq: int
    partition: int
    offset: int
    change: Change
    is_aside: bool = False


@dataclass(slots=True)
class _Notes:
    """What there is to report of a lane besides changes."""

    lost: int = 0
    lost_version: int = 0
    letters: list[DeadLetter] = field(default_factory=list)
    rechecks: dict[int, str] = field(default_factory=dict)
    unplaced: dict[int, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.lost or self.letters)

    def add(self, other: _Notes) -> None:
        self.lost += other.lost
        self.lost_version = max(self.lost_version, other.lost_version)
        self.letters += other.letters
        self.rechecks.update(other.rechecks)
        self.unplaced.update(other.unplaced)
