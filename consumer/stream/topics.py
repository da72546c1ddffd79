"""Our topics: their names, how they are created, and whether existing ones fit."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from consumer.leads.model import Table
from consumer.settings import KafkaSettings
from consumer.stream.errors import KafkaLost, TopicMismatch

HEARTBEATS: Final = "heartbeats"
LANE_TOPICS: Final = (*(table.value for table in Table), HEARTBEATS)
"""The topics, without prefix, whose partitions of one number make up a lane."""
CHECKPOINTS: Final = "checkpoints"
DEAD_LETTERS: Final = "dead-letters"

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A row's two images with the longest reason that a TEXT column holds, escaped, many times over."""
MAX_LETTER_BYTES: Final = MAX_MESSAGE_BYTES + 64 * 1024
"""Every message that a lane's topic took, with the headers of a dead letter."""
JOURNAL: Final = {"retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": str(MAX_LETTER_BYTES)}
"""The dead letters': what nobody has settled is kept for ever, for it is the only copy."""
ANSWER_SECONDS: Final = 30.0


class Topics:
    """The names of our topics under one prefix; `of_table` maps a captured table to its topic."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.of_table = {str(table): self.name(table) for table in Table}

    def name(self, topic: str) -> str:
        """The full name of one of our topics."""
        return f"{self._prefix}.{topic}"


class Wanted(NamedTuple):
    """A topic as it has to be: `fixed` settings must be exactly these, `settings` are what it is created with."""

    name: str
    partitions: int
    fixed: dict[str, str]
    settings: dict[str, str]


def wanted(settings: KafkaSettings) -> list[Wanted]:
    """All our topics as this configuration needs them."""
    topics = Topics(settings.topic_prefix)
    retention = str(settings.topic_retention_hours * 3_600_000)
    changes = {"cleanup.policy": "delete"}
    kept = {"retention.ms": retention, "retention.bytes": "-1", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    compact = {"cleanup.policy": "compact"}
    # Every batch writes a checkpoint: small segments and eager cleaning keep the topic short.
    tidy = {"segment.ms": "600000", "segment.bytes": "16777216", "min.cleanable.dirty.ratio": "0.1"}
    return [
        *(Wanted(topics.name(name), settings.lanes, changes, kept) for name in LANE_TOPICS),
        Wanted(topics.name(CHECKPOINTS), 1, compact, tidy),
        Wanted(topics.name(DEAD_LETTERS), 1, changes, JOURNAL),
    ]


def prepare(settings: KafkaSettings) -> list[str]:
    """Creates what is missing and checks what is there; returns the names it created.

    Raises TopicMismatch where an existing topic does not fit, KafkaLost where Kafka does not answer.
    """
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    needed = wanted(settings)
    try:
        existing = _check(admin, needed, settings)
        missing = [topic for topic in needed if topic.name not in existing]
        if missing:
            _create(admin, missing, settings)
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {settings.kafka_bootstrap_servers} refused to create or describe our topics"
            f" ({error.args[0].str()}); check KAFKA_BOOTSTRAP_SERVERS and our rights there"
        ) from error
    return [topic.name for topic in missing]


def check(settings: KafkaSettings) -> list[str]:
    """Checks the topics that exist and returns the names of those that do not. Raises as `prepare`."""
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    needed = wanted(settings)
    try:
        existing = _check(admin, needed, settings)
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {settings.kafka_bootstrap_servers} did not describe our topics ({error.args[0].str()});"
            " check KAFKA_BOOTSTRAP_SERVERS and our rights there"
        ) from error
    return [topic.name for topic in needed if topic.name not in existing]


def narrow(settings: KafkaSettings) -> list[str]:
    """The lanes' topics that have fewer partitions than LANES. Raises KafkaLost."""
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    try:
        found = admin.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {settings.kafka_bootstrap_servers} did not describe our topics ({error.args[0].str()})"
        ) from error
    names = [settings.topic(name) for name in LANE_TOPICS]
    return [name for name in names if name in found and len(found[name].partitions) < settings.lanes]


def widen(settings: KafkaSettings) -> list[str]:
    """Gives the lanes' topics as many partitions as LANES says; the names of those that had fewer. Raises KafkaLost."""
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    names = narrow(settings)
    if names:
        try:
            futures = admin.create_partitions([NewPartitions(name, settings.lanes) for name in names])
            for future in futures.values():
                future.result(ANSWER_SECONDS)
        except KafkaException as error:
            raise KafkaLost(
                f"Kafka at {settings.kafka_bootstrap_servers} refused to add partitions ({error.args[0].str()});"
                " check our rights there and run setup again"
            ) from error
    deadline = time.monotonic() + ANSWER_SECONDS
    while behind := narrow(settings):
        if time.monotonic() > deadline:
            raise KafkaLost(f"{', '.join(behind)} did not get its partitions in time; run setup again")
        time.sleep(0.1)
    return names


def _check(admin: AdminClient, needed: list[Wanted], settings: KafkaSettings) -> set[str]:
    partitions = {
        name: len(topic.partitions) for name, topic in admin.list_topics(timeout=ANSWER_SECONDS).topics.items()
    }
    found = [topic for topic in needed if topic.name in partitions]
    for topic in found:
        if partitions[topic.name] != topic.partitions:
            raise TopicMismatch(
                f"topic {topic.name} has {partitions[topic.name]} partitions and needs {topic.partitions};"
                f" set LANES={partitions[topic.name]} or use another TOPIC_PREFIX"
                if topic.partitions == settings.lanes
                else f"topic {topic.name} has {partitions[topic.name]} partitions and needs 1; use another TOPIC_PREFIX"
            )
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in found]
    answers = admin.describe_configs(resources, request_timeout=ANSWER_SECONDS) if resources else {}
    actual = {
        resource.name: {key: entry.value for key, entry in future.result().items()}
        for resource, future in answers.items()
    }
    for topic in found:
        for key, value in topic.fixed.items():
            if actual[topic.name].get(key) != value:
                raise TopicMismatch(
                    f"topic {topic.name} has {key}={actual[topic.name].get(key)}, which would lose changes;"
                    f" set it to {value} with kafka-configs.sh --alter --add-config {key}={value}"
                )
        _check_retention(topic, actual[topic.name], settings)
    return {topic.name for topic in found}


def _check_retention(topic: Wanted, actual: dict[str, str | None], settings: KafkaSettings) -> None:
    if "retention.ms" not in topic.settings:
        return
    kept = int(actual.get("retention.ms") or -1)
    if 0 <= kept < int(topic.settings["retention.ms"]):
        raise TopicMismatch(
            f"topic {topic.name} keeps changes for {kept // 3_600_000} hours and TOPIC_RETENTION_HOURS is"
            f" {settings.topic_retention_hours}; lower the setting or raise retention.ms with kafka-configs.sh --alter"
        )


def _create(admin: AdminClient, missing: list[Wanted], settings: KafkaSettings) -> None:
    replication = settings.topic_replication_factor
    copies = replication if replication > 0 else _default_replication(admin)
    # One copy may be missing without stopping us, but a write that only one broker has is not safe.
    in_sync = {"min.insync.replicas": str(copies - 1)} if copies > 2 else {}
    futures = admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replication, config={**topic.fixed, **topic.settings, **in_sync})
            for topic in missing
        ],
        request_timeout=ANSWER_SECONDS,
        operation_timeout=ANSWER_SECONDS,
    )
    for future in futures.values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _default_replication(admin: AdminClient) -> int:
    """The broker's default.replication.factor; 1 where it does not tell."""
    cluster = admin.list_topics(timeout=ANSWER_SECONDS)
    resource = ConfigResource(ResourceType.BROKER, str(next(iter(cluster.brokers))))
    try:
        described = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            raise
        return 1
    entry = described.get("default.replication.factor")
    return int(entry.value) if entry is not None and entry.value else 1
