"""Topics read from their beginning to where they end now, though somebody may go on writing to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.support.waiting import until

PATIENCE_SECONDS: Final = 60.0
_SHOWN: Final = 5
_LEADERLESS: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._TRANSPORT)
"""What a broker that has just been started says of its partitions, or nothing."""


def messages_of(
    properties: dict[str, Any], partitions: Iterable[tuple[str, int]], *, committed: bool = True
) -> Iterator[Message]:
    """Every message of these partitions up to the end that each has when this begins; `committed`: the committed ones.

    A partition to which heartbeats come more often than a fetch waits (0.5 s) never says that it is at its end, so the
    ends are asked for first. Raises TimeoutError where nothing comes, and KafkaException.
    """
    consumer = Consumer(
        {
            "group.id": "whole-topics",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 3,
            **properties,
        }
    )
    with closing(consumer):
        ends = {place: _end(consumer, *place) for place in partitions}
        unfinished = {place for place, end in ends.items() if end}
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in unfinished])
        while unfinished:
            message = consumer.poll(PATIENCE_SECONDS)
            if message is None:
                raise TimeoutError(
                    f"Kafka sends nothing more of {sorted(unfinished)[:_SHOWN]} for {PATIENCE_SECONDS:g} s"
                )
            error = message.error()
            place = str(message.topic()), int(message.partition() or 0)
            if error is None:
                offset = int(message.offset() or 0)
                if offset < ends[place]:
                    yield message
                if offset + 1 >= ends[place]:
                    unfinished.discard(place)
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(place)
            elif not error.retriable():
                raise KafkaException(error)


def partitions_of(properties: dict[str, Any], topics: Iterable[str]) -> list[tuple[str, int]]:
    """All partitions of some topics."""
    with closing(Consumer({"group.id": "whole-topics", "log_level": 3, **properties})) as consumer:
        known = consumer.list_topics(timeout=PATIENCE_SECONDS).topics
        return [(topic, number) for topic in topics for number in known[topic].partitions]


def _end(consumer: Consumer, topic: str, partition: int) -> int:
    """The offset behind a partition's last message that may be read; asked again while a broker starts to lead it."""

    def found() -> tuple[int, ...]:
        try:
            return (int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)[1]),)
        except KafkaException as error:
            if error.args[0].code() not in _LEADERLESS:
                raise
            return ()

    (end,) = until(found, f"a broker led {topic}/{partition}")
    return end
