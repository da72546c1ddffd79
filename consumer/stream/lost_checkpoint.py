"""What a lost checkpoint said, as far as the lanes themselves say it: the messages in Kafka, and PostgreSQL's lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from consumer.stream.tails import Tail


class LanePoint(Protocol):
    """Where PostgreSQL is with a lane."""

    @property
    def epoch(self) -> int: ...
    @property
    def next_seq(self) -> int: ...
    @property
    def version(self) -> int: ...


class Reached(NamedTuple):
    """Where a stream stands: the epoch, each lane's next number, the newest version (µs)."""

    epoch: int
    next_seqs: list[int]
    version: int


class Newest(NamedTuple):
    """The newest source transaction in Kafka: `pos` of `file` is in it, `rows` counts its rows that are there.

    `lanes_open` are those in which its last row is not marked as such: empty where it is there as a whole.
    """

    id: str
    file: str
    pos: int
    version: int
    ts_us: int
    rows: int
    lanes_open: list[int]


def reached(found: Sequence[Tail], lanes: Mapping[int, LanePoint]) -> Reached:
    """Behind everything that is in Kafka and everything that PostgreSQL has; of another epoch nothing counts."""
    epoch = max((point.epoch for point in lanes.values()), default=1)
    ours = [tail for tail in found if tail.epoch == epoch]
    next_seqs = [lanes[lane].next_seq for lane in sorted(lanes)]
    for tail in ours:
        next_seqs[tail.lane] = max(next_seqs[tail.lane], tail.seq + 1)
    version = max([tail.version for tail in ours] + [point.version for point in lanes.values()])
    return Reached(epoch, next_seqs, version)


def are_whole(found: Sequence[Tail], lanes: Mapping[int, LanePoint]) -> bool:
    """Whether Kafka still has the newest message of every lane that PostgreSQL has applied something of."""
    newest_seqs = {lane: tail.seq for lane, tail in _newest_of_lanes(found, reached(found, lanes).epoch).items()}
    return all(point.next_seq <= newest_seqs.get(lane, 0) + 1 for lane, point in lanes.items())


def newest(found: Sequence[Tail], epoch: int) -> Newest | None:
    """The newest transaction of an epoch that has rows in Kafka; None where nothing does.

    A heartbeat behind it says nothing of where it stood in the binlog.
    """
    rows = [tail for tail in found if tail.epoch == epoch and tail.transaction]
    if not rows:
        return None
    version = max(tail.version for tail in rows)
    last = max((tail for tail in rows if tail.version == version), key=lambda tail: tail.order)
    whole = _newest_of_lanes(found, epoch)
    still = [lane for lane, tail in whole.items() if tail.version == version and not tail.last]
    return Newest(last.transaction, last.file, last.pos, version, last.ts_us, last.order, sorted(still))


def _newest_of_lanes(found: Sequence[Tail], epoch: int) -> dict[int, Tail]:
    newest_of: dict[int, Tail] = {}
    for tail in found:
        if tail.epoch == epoch and (tail.lane not in newest_of or tail.seq > newest_of[tail.lane].seq):
            newest_of[tail.lane] = tail
    return newest_of
