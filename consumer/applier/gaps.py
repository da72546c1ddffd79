"""Numbers of a lane that can no longer arrive: retention, deleted records, a topic created anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer.applier.assigned_lane import PARTITIONS, Lane
from consumer.settings import KafkaSettings
from consumer.stream.credentials import Credentials

PATIENCE_SECONDS: Final = 1.0
"""How long a number may be missing before the partitions' ends are asked for."""
ANSWER_SECONDS: Final = 10.0

log: Final = structlog.get_logger()


Ends = Callable[[int], list[int] | None]
"""Where a lane's partitions end right now, uncommitted messages included; None where Kafka does not say."""


class _Gap:
    """A number that a lane waits for, since when (time.monotonic()), and the ends that partitions have to reach."""

    __slots__ = ("ends", "seq", "since")

    def __init__(self, seq: int, since: float) -> None:
        self.seq = seq
        self.since = since
        self.ends: list[int] | None = None


class Gaps:
    """Missing numbers of the lanes: late ones, or lost ones.

    A partition of which something is held is past every smaller number. One of which nothing is held is past the gap as
    soon as we have read up to an end that was asked for after this very gap was seen: what lies behind the gap was
    committed, so whatever belongs into the gap had been written by then. Ends asked for on behalf of an earlier gap say
    nothing: on a busy lane there is nearly always some gap.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._reached: dict[tuple[int, int], int] = {}
        self._gaps: dict[int, _Gap] = {}

    def forget(self) -> None:
        """The lanes are read from other places now."""
        self._reached.clear()
        self._gaps.clear()

    def reached(self, lane: int, partition: int, offset: int) -> None:
        """We have read everything below `offset` of a lane's partition, and that was its end."""
        self._reached[lane, partition] = offset

    def lost(self, lane: Lane, now: float) -> int:
        """How many numbers before the next one held can no longer arrive; `now` is time.monotonic()."""
        merge = lane.merge
        if not len(merge) or merge.ready:
            self._gaps.pop(lane.number, None)
            return 0
        gap = self._gaps.get(lane.number)
        if gap is None or gap.seq != merge.next_seq:
            gap = self._gaps[lane.number] = _Gap(merge.next_seq, now)
        if now < gap.since + PATIENCE_SECONDS:
            return 0
        return merge.lost(self._past(lane.number, gap) if merge.waits_for() else ())

    def _past(self, number: int, gap: _Gap) -> list[int]:
        if gap.ends is None:
            gap.ends = self._ends(number)
        if gap.ends is None:
            return []
        return [
            partition for partition in PARTITIONS if self._reached.get((number, partition), -1) >= gap.ends[partition]
        ]


def ends_in_kafka(topics: Sequence[str], settings: KafkaSettings) -> Ends:
    """Asks Kafka; `topics` are the full names, in the order of a lane's partitions."""
    credentials = Credentials(settings)
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]

    def ask(number: int) -> list[int] | None:
        credentials.look(admin)
        asked = {TopicPartition(topic, number): latest for topic in topics}
        try:
            answers = admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_SECONDS
            )
            ends = {answer.topic: future.result().offset for answer, future in answers.items()}
        except KafkaException as error:
            log.warning("partition_ends_unknown", lane=number, reason=error.args[0].str())
            return None
        return [ends[topic] for topic in topics]

    return ask
