"""What lies in Kafka, asked without reading it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.bench.history import TABLES


class Topics:
    """The topics of one run: how much arrived, and their removal."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.prefix = prefix
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": f"{prefix}.bench", "isolation.level": "read_committed"}
        )

    def create(self, names: Sequence[str], partitions: int) -> None:
        """Creates topics by their full names, for peers that do not create their own."""
        new = [NewTopic(name, num_partitions=partitions, replication_factor=1) for name in names]
        for future in self.admin.create_topics(new).values():
            future.result()

    def rows(self, topics: Sequence[str]) -> int:
        """Messages in those topics, by their end offsets (control records of transactions included)."""
        total = 0
        metadata = self.admin.list_topics(timeout=10)
        for topic in topics:
            if topic not in metadata.topics:
                continue
            for partition in metadata.topics[topic].partitions:
                total += self._end(topic, partition)
        return total

    def _end(self, topic: str, partition: int) -> int:
        """A partition's end offset; a topic created a moment ago has no leader yet, and nothing in it."""
        try:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):
                return 0
            raise
        return int(end)

    def checkpointed(self) -> dict[str, Any]:
        """Our reader's newest committed checkpoint, {} where there is none."""
        topic = TopicPartition(f"{self.prefix}.checkpoints", 0)
        try:
            low, high = self._consumer.get_watermark_offsets(topic, timeout=10)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                return {}
            raise
        self._consumer.assign([TopicPartition(topic.topic, 0, max(low, high - 8))])
        newest: Message | None = None
        while (message := self._consumer.poll(0.3)) is not None:
            if message.error() is None and message.key() == b"reader":
                newest = message
            if (message.offset() or 0) + 2 >= high:  # behind it stands its commit; a reader at work writes on and on
                break
        return cast(dict[str, Any], msgspec.json.decode(newest.value() or b"{}")) if newest else {}

    def remove(self) -> None:
        """Deletes every topic of the prefix."""
        mine = [name for name in self.admin.list_topics(timeout=10).topics if name.startswith(self.prefix + ".")]
        if mine:
            for future in self.admin.delete_topics(mine).values():
                future.result()
        self._consumer.close()


def table_topics(prefix: str, database: str = "") -> list[str]:
    """Our topics of the three tables; with a database, Debezium's."""
    return [".".join(part for part in (prefix, database, table) if part) for table in TABLES]
