"""Partitions read outside any group: checkpoints, newest changes, foreign messages, an older release's dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from math import inf
from types import MappingProxyType
from typing import Final, Literal, get_args

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.settings import KafkaSettings
from consumer.stream.credentials import Credentials
from consumer.stream.errors import KafkaLost
from consumer.stream.trouble import SHORTEST_SECONDS, Trouble

Group = Literal["audit", "checkpoints", "dead-letters", "strays", "tails"]
"""What a reading is called in Kafka's ACLs, behind the prefix."""
GROUPS: Final[tuple[Group, ...]] = get_args(Group)


class Partitions(AbstractContextManager["Partitions"]):
    """Committed messages of single partitions; a context manager for one thread."""

    def __init__(
        self,
        settings: KafkaSettings,
        name: Group,
        answer_seconds: float,
        within: float | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`name` is what our rights in Kafka call this reading: a group `{prefix}.{name}` that nobody joins.

        `answer_seconds` is how long Kafka may take for the next message; `within` is in how many seconds of `bounds` a
        person wants what is there, or why not, and sooner where nothing listens. `more` are further properties of
        Kafka's client. Raises KafkaException where that refuses them.
        """
        self.trouble = Trouble()
        self._servers = settings.kafka_bootstrap_servers
        self._answer_seconds = answer_seconds
        self._within = within
        self._until = inf
        """By when (monotonic clock) that is."""
        self._credentials = Credentials(settings)
        self._consumer = Consumer(
            {
                "queued.max.messages.kbytes": "16384",
                **settings.librdkafka,
                "group.id": f"{settings.topic_prefix}.{name}",
                "isolation.level": "read_committed",
                "enable.auto.commit": "false",
                "enable.partition.eof": "true",
                "auto.offset.reset": "earliest",
                "log_level": "0",
                "error_cb": self.trouble,
                **more,
            }
        )

    @property
    def outdated(self) -> bool:
        """Whether our certificate was renewed since this was made, so that another one has to be."""
        return self._credentials.outdated

    def bounds(self, topic: str, partition: int = 0) -> tuple[int, int]:
        """The first offset that is there, and the one behind the last.

        Raises KafkaException, of LEADER_NOT_AVAILABLE where the partition has no leader at the moment: librdkafka says
        of such a one what it says of one that does not exist (rd_kafka_topic_partition_list_get_leaders in
        rdkafka_partition.c).
        """
        self._credentials.look(self._consumer)
        there = TopicPartition(topic, partition)

        def ask(seconds: float) -> tuple[int, int]:
            try:
                return self._consumer.get_watermark_offsets(there, timeout=seconds)
            except KafkaException as error:
                is_unknown = error.args[0].code() == KafkaError._UNKNOWN_PARTITION
                if is_unknown and self._exists(topic, partition, seconds):
                    raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)) from error
                raise

        if self._within is not None:
            self._until = time.monotonic() + self._within
            return self.trouble.ask(self._consumer, ask, self._within)
        try:
            found = ask(self._answer_seconds)
        except KafkaException:
            self._consumer.poll(0)  # hands over what the client has to say of it
            raise
        self.trouble.over()
        return found

    def _exists(self, topic: str, partition: int, seconds: float) -> bool:
        found = self._consumer.list_topics(topic, timeout=seconds).topics.get(topic)
        return found is not None and found.error is None and partition in found.partitions

    def offset_at(self, topic: str, partition: int, ms: int) -> int:
        """The first offset whose message was written at `ms` (since 1970) or later, or the end.

        Raises KafkaException.
        """
        (found,) = self._consumer.offsets_for_times(
            [TopicPartition(topic, partition, max(0, ms))], timeout=self._left()
        )
        if found.error is not None:
            raise KafkaException(found.error)
        return found.offset if found.offset >= 0 else self.bounds(topic, partition)[1]

    def messages(self, topic: str, partition: int, start: int, decided: int = 0) -> Iterator[Message]:
        """Messages from an offset on to the partition's end, once it is decided what of all before `decided` is there.

        A writer at work may keep the end away: whoever has seen enough stops asking. Raises KafkaLost where nothing
        comes, KafkaException where Kafka refuses.
        """
        self._consumer.assign([TopicPartition(topic, partition, start)])
        while True:
            seconds = self._left()
            message = self._consumer.poll(seconds)
            if message is None:
                raise KafkaLost(
                    f"Kafka at {self._servers} did not answer within {seconds:.0f} s ({topic}, partition {partition})"
                )
            error = message.error()
            if error is None:
                yield message
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            elif (message.offset() or 0) >= decided:
                return

    def _left(self) -> float:
        """How long (s) the next answer may take."""
        return max(SHORTEST_SECONDS, min(self._answer_seconds, self._until - time.monotonic()))

    def close(self) -> None:
        """Ends the connection."""
        self._consumer.close()

    def __exit__(self, *_: object) -> None:
        self.close()
