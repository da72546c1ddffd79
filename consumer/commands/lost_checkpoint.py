"""What a lost checkpoint said, as far as the lanes themselves say it: the messages in Kafka, and PostgreSQL's lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consumer.commands.tails import PartitionEnds, Tail
from consumer.store.lanes import LaneState, ahead_of
from consumer.stream.checkpoint import Checkpoint


class StreamReached(NamedTuple):
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


class LastKnown(NamedTuple):
    """Where the stream was for certain: at the newest heartbeat that says where, and behind a transaction.

    `transaction` is None where nothing came behind the heartbeat, `heartbeat` where none is in Kafka yet. `database`
    is the one whose changes these are, as the settings had it; `first_file` that of the binlog to seek in.
    """

    heartbeat: Tail | None
    transaction: Newest | None
    database: str
    first_file: str


def reached(found: Sequence[Tail], lanes: Mapping[int, LaneState]) -> StreamReached:
    """Behind everything that is in Kafka and everything that PostgreSQL has; of another epoch nothing counts."""
    epoch = max((point.epoch for point in lanes.values()), default=1)
    ours = [tail for tail in found if tail.epoch == epoch]
    next_seqs = [lanes[lane].next_seq for lane in sorted(lanes)]
    for tail in ours:
        next_seqs[tail.lane] = max(next_seqs[tail.lane], tail.seq + 1)
    version = max([tail.version for tail in ours] + [point.version for point in lanes.values()])
    return StreamReached(epoch, next_seqs, version)


def is_set_back(last: Checkpoint, lanes: Mapping[int, LaneState]) -> bool:
    """Whether PostgreSQL has applied messages of which the newest checkpoint knows nothing: Kafka lost its newest part,
    and with it numbers that the reader would give anew to other changes."""
    return bool(ahead_of(lanes, last.epoch, last.next_seqs))


def beyond(last: Checkpoint, lanes: Mapping[int, LaneState]) -> StreamReached:
    """Behind a checkpoint and behind everything that PostgreSQL has applied of its epoch."""
    ours = {lane: point for lane, point in lanes.items() if point.epoch == last.epoch}
    next_seqs = [max(seq, ours[lane].next_seq) if lane in ours else seq for lane, seq in enumerate(last.next_seqs)]
    return StreamReached(last.epoch, next_seqs, max([last.version, *(point.version for point in ours.values())]))


def known(found: PartitionEnds, lanes: Mapping[int, LaneState]) -> LastKnown | None:
    """Where the stream was at the end of what Kafka has; None where that cannot be said.

    It cannot where PostgreSQL applied more of a lane than Kafka has, nor where the newest message of all says nothing
    of its position: rows that came before it may have gone from a topic since, and would be sent once more. Nor where
    that is a transaction of which rows may have gone: a partition has nothing left, though it had something; or how
    many of its rows are there is not said, because a lane's part of it ends in a notice.
    """
    epoch = reached(found.tails, lanes).epoch
    ours = [tail for tail in found.tails if tail.epoch == epoch]
    if not _are_whole(ours, lanes):
        return None
    heartbeat = max((tail for tail in ours if tail.server), key=lambda tail: tail.version, default=None)
    transaction = _newest(ours)
    if heartbeat is not None and transaction is not None and transaction.version <= heartbeat.version:
        transaction = None
    position = transaction or heartbeat
    if position is None or any(tail.version > position.version for tail in ours):
        return None
    if transaction is not None:
        emptied = any(high or lanes[lane].offsets.get(topic) for topic, lane, high in found.empty)
        cut = [tail for tail in _newest_of_lanes(ours).values() if not tail.last]
        if emptied or not all(tail.transaction for tail in cut if tail.version == transaction.version):
            return None
    first_file = heartbeat.file if heartbeat is not None else position.file
    return LastKnown(heartbeat, transaction, max(tail.database for tail in ours), first_file)


def _are_whole(ours: Sequence[Tail], lanes: Mapping[int, LaneState]) -> bool:
    """Whether Kafka still has the newest message of every lane that PostgreSQL has applied something of."""
    newest_of = _newest_of_lanes(ours)
    return all(point.next_seq <= (newest_of[lane].seq if lane in newest_of else 0) + 1 for lane, point in lanes.items())


def _newest(ours: Sequence[Tail]) -> Newest | None:
    """The newest transaction that has rows in Kafka; None where nothing does."""
    rows = [tail for tail in ours if tail.transaction]
    if not rows:
        return None
    version = max(tail.version for tail in rows)
    last = max((tail for tail in rows if tail.version == version), key=lambda tail: tail.order)
    still = [lane for lane, tail in _newest_of_lanes(ours).items() if tail.version == version and not tail.last]
    return Newest(last.transaction, last.file, last.pos, version, last.ts_us, last.order, sorted(still))


def _newest_of_lanes(ours: Sequence[Tail]) -> dict[int, Tail]:
    return {tail.lane: tail for tail in sorted(ours, key=lambda tail: tail.seq)}
