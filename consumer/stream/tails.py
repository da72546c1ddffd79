"""The newest committed message of each partition of the lanes: where a stream stands whose checkpoint is lost."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.settings import KafkaSettings
from consumer.stream.errors import KafkaLost
from consumer.stream.topics import LANE_TOPICS, Topics

ANSWER_SECONDS: Final = 30.0
FIRST_LOOK_BACK: Final = 64
"""Offsets read at first, from a partition's end; doubled until a message of ours is among them."""


class _Transaction(msgspec.Struct):
    id: str
    total_order: int


class _Source(msgspec.Struct):
    ts_us: int
    file: str = ""
    pos: int = 0


class _Lane(msgspec.Struct):
    epoch: int
    seq: Annotated[int, msgspec.Meta(ge=1)]
    version: int
    last: bool


class _Message(msgspec.Struct):
    source: _Source
    lane: _Lane
    transaction: _Transaction | None = None


class Tail(NamedTuple):
    """A partition's newest message; `transaction`, `order`, `file` and `pos` are empty for heartbeats.

    `order` is the row's number in its transaction, `pos` where its event starts; `ts_us` and `version` are in µs.
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


def tails(settings: KafkaSettings) -> list[Tail]:
    """The newest message of ours in every partition that has one. Raises KafkaLost."""
    consumer = Consumer(
        {
            **settings.librdkafka,
            "group.id": f"{settings.topic_prefix}.tails",
            "isolation.level": "read_committed",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "log_level": "0",
        }
    )
    names = Topics(settings.topic_prefix)
    try:
        found = [_tail(consumer, names.name(topic), lane) for topic in LANE_TOPICS for lane in range(settings.lanes)]
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {settings.kafka_bootstrap_servers} did not give us the newest changes ({error.args[0].str()})"
        ) from error
    finally:
        consumer.close()
    return [tail for tail in found if tail is not None]


def _tail(consumer: Consumer, topic: str, lane: int) -> Tail | None:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, lane), timeout=ANSWER_SECONDS)
    look_back = FIRST_LOOK_BACK
    while True:
        start = max(low, high - look_back)
        found = _newest_from(consumer, topic, lane, start)
        if found is not None or start == low:
            return found
        look_back *= 2


def _newest_from(consumer: Consumer, topic: str, lane: int, start: int) -> Tail | None:
    consumer.assign([TopicPartition(topic, lane, start)])
    newest = None
    while True:
        message = consumer.poll(ANSWER_SECONDS)
        if message is None:
            raise KafkaLost(f"Kafka did not answer within {ANSWER_SECONDS:.0f} s ({topic}[{lane}])")
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return newest
            raise KafkaException(error)
        newest = as_tail(lane, message.value() or b"") or newest


_decode: Final = msgspec.json.Decoder(_Message).decode


def as_tail(lane: int, value: bytes) -> Tail | None:
    """A message of a lane; None where it is not one of the reader's."""
    try:
        message = _decode(value)
    except (msgspec.DecodeError, msgspec.ValidationError):
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
    )
