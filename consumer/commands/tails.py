"""The newest committed messages of each partition of the lanes: where a stream stands whose checkpoint is lost."""

from __future__ import annotations

from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from consumer.settings import KafkaSettings
from consumer.stream.envelope import read_tail
from consumer.stream.errors import KafkaLost
from consumer.stream.partition import Partitions
from consumer.stream.topics import HEARTBEATS, LANE_TOPICS

ANSWER_SECONDS: Final = 30.0
FIRST_LOOK_BACK: Final = 64
"""Offsets read at first, from a partition's end; doubled until what is sought is among them."""
LONGEST_LOOK_BACK: Final = 65_536
"""Offsets in which a heartbeat that says where the stream stood is sought: there is one every two seconds or so."""


class Tail(NamedTuple):
    """A message at a partition's end; `transaction` and `order` are empty for heartbeats.

    `order` is the row's number in its transaction, `pos` of `file` where its event starts. A heartbeat that has a
    `server` says there where the stream stood; others have no position. `ts_us` and `version` are in µs; `sent_ms` is
    when the reader wrote it, by its own clock.
    """

    lane: int
    epoch: int
    seq: int
    version: int
    ts_us: int
    last: bool
    transaction: str
    order: int
    file: str
    pos: int
    server: str = ""
    database: str = ""
    sent_ms: int = 0


class PartitionEnds(NamedTuple):
    """The messages at the partitions' ends, and the partitions of rows in which nothing is left.

    Of these it is topic (without prefix), lane and the offset that comes next.
    """

    tails: list[Tail]
    empty: list[tuple[str, int, int]]


def ends(settings: KafkaSettings) -> PartitionEnds:
    """The newest message of ours in every partition that has one, and the newest heartbeats with a position.

    Raises KafkaLost.
    """
    found = PartitionEnds([], [])
    try:
        with Partitions(settings, "tails", ANSWER_SECONDS) as partitions:
            for topic in LANE_TOPICS:
                for lane in range(settings.lanes):
                    low, high = partitions.bounds(settings.topic(topic), lane)
                    if low < high:
                        there = settings.topic(topic), lane, low, high
                        found.tails.extend(_newest(partitions, *there, with_position=topic == HEARTBEATS))
                    elif topic != HEARTBEATS:
                        found.empty.append((topic, lane, high))
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {settings.kafka_bootstrap_servers} did not give us the newest changes ({error.args[0].str()})"
        ) from error
    return found


def _newest(partitions: Partitions, topic: str, lane: int, low: int, high: int, *, with_position: bool) -> list[Tail]:
    look_back = FIRST_LOOK_BACK
    while True:
        start = max(low, high - look_back)
        newest, stood = _newest_from(partitions, topic, lane, start, high)
        enough = newest is not None and (stood is not None or not with_position or look_back >= LONGEST_LOOK_BACK)
        if enough or start == low:
            return list(dict.fromkeys(tail for tail in (stood, newest) if tail is not None))
        look_back *= 2


def _newest_from(
    partitions: Partitions, topic: str, lane: int, start: int, high: int
) -> tuple[Tail | None, Tail | None]:
    """The newest message before `high` or later, and the newest heartbeat with a position; they may be the same."""
    newest = stood = None
    for message in partitions.messages(topic, lane, start, decided=high):
        found = as_tail(lane, message.value() or b"")
        newest = found or newest
        if found is not None and found.server:
            stood = found
    return newest, stood


def as_tail(lane: int, value: bytes) -> Tail | None:
    """A message of a lane; None where it is not one of the reader's."""
    try:
        message = read_tail(value)
    except ValueError:  # msgspec's errors, and UnicodeDecodeError
        return None
    source, place, transaction = message.source, message.lane, message.transaction
    return Tail(
        lane,
        place.epoch,
        place.seq,
        place.version,
        source.ts_us,
        place.last,
        transaction.id if transaction is not None else "",
        transaction.total_order if transaction is not None else 0,
        source.file,
        source.pos,
        source.server,
        source.db,
        message.ts_ms,
    )
