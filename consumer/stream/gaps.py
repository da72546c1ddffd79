"""Numbers of a lane that can no longer arrive: retention, deleted records, a topic created anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer.stream.batches import PARTITIONS, Lane

PATIENCE_SECONDS: Final = 1.0
"""How long a number may be missing before the partitions' ends are asked for."""
ANSWER_SECONDS: Final = 10.0

log: Final = structlog.get_logger()


class Gaps:
    """Tells a number that is late from one that is lost.

    A partition of which something is held is past every smaller number. One of which nothing is held is past the gap as
    soon as we have read up to an end that was asked for after the gap was seen: what lies behind the gap was committed,
    so whatever belongs into the gap had been written by then.
    """

    def __init__(self, topics: Sequence[str], properties: Mapping[str, str]) -> None:
        """`topics` are the full names, in the order of a lane's partitions; `properties` are librdkafka's."""
        self._topics = topics
        self._admin = AdminClient({**properties, "log_level": "0"})
        self._reached: dict[tuple[int, int], int] = {}
        self._wanted: dict[int, list[int]] = {}

    def forget(self) -> None:
        """The lanes are read from other places now."""
        self._reached.clear()
        self._wanted.clear()

    def reached(self, lane: int, partition: int, offset: int) -> None:
        """We have read everything below `offset` of a lane's partition, and that was its end."""
        self._reached[lane, partition] = offset

    def lost(self, lane: Lane, now: float) -> int:
        """How many numbers before the next one held can no longer arrive; `now` is time.monotonic()."""
        merge = lane.merge
        if not len(merge) or merge.ready:
            lane.stalled_at = None
            self._wanted.pop(lane.number, None)
            return 0
        if lane.stalled_at is None:
            lane.stalled_at = now
        if now < lane.stalled_at + PATIENCE_SECONDS:
            return 0
        return merge.lost(self._past(lane.number) if merge.waits_for() else ())

    def _past(self, number: int) -> list[int]:
        wanted = self._wanted.get(number) or self._ends_of(number)
        if wanted is None:
            return []
        self._wanted[number] = wanted
        return [
            partition for partition in PARTITIONS if self._reached.get((number, partition), -1) >= wanted[partition]
        ]

    def _ends_of(self, number: int) -> list[int] | None:
        """Where the lane's partitions end right now, uncommitted messages included; None where Kafka does not say."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): latest for topic in self._topics}
        try:
            answers = self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_SECONDS
            )
            ends = {answer.topic: future.result().offset for answer, future in answers.items()}
        except KafkaException as error:
            log.warning("ends of partitions unknown", lane=number, detail=error.args[0].str())
            return None
        return [ends[topic] for topic in self._topics]
