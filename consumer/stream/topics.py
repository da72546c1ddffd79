"""Our topics: their names, how they are created, and whether existing ones fit."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from threading import Event
from types import MappingProxyType
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from consumer.leads.model import Table
from consumer.settings import KafkaSettings
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.topic_fit import REPAIR, lowered, too_few, uneven
from consumer.stream.trouble import Trouble

HEARTBEATS: Final = "heartbeats"
LANE_TOPICS: Final = (*(table.value for table in Table), HEARTBEATS)
"""The topics, without prefix, whose partitions of one number make up a lane."""
CHECKPOINTS: Final = "checkpoints"
CONVERSIONS: Final = "conversions"
"""Written by `reconciler serve` for others; the stream itself does without."""

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A row's two images with the longest reason that a TEXT column holds, escaped, many times over."""
log: Final = structlog.get_logger()

ANSWER_SECONDS: Final = 30.0
REACH_HINT: Final = "; check KAFKA_BOOTSTRAP_SERVERS and our rights there"
LOOK_SECONDS: Final = 1.0
"""How long one question waits for its answer before we look whether to stop."""


class Wanted(NamedTuple):
    """A topic as it has to be: `fixed` settings must be exactly these, `settings` are what it is created with.

    It is created with `chosen`, too, which is its owner's to change.
    """

    name: str
    partitions: int
    fixed: dict[str, str]
    settings: dict[str, str]
    chosen: Mapping[str, str] = MappingProxyType({})


def wanted(settings: KafkaSettings) -> list[Wanted]:
    """The topics of the stream as this configuration needs them."""
    retention = str(settings.topic_retention_hours * 3_600_000)
    changes = {"cleanup.policy": "delete"}
    kept = {"retention.ms": retention, "retention.bytes": "-1", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    compact = {"cleanup.policy": "compact"}
    # Every batch writes a checkpoint: small segments and eager cleaning keep the topic short.
    tidy = {"segment.ms": "600000", "segment.bytes": "16777216", "min.cleanable.dirty.ratio": "0.1"}
    return [
        *(Wanted(name, settings.lanes, changes, kept) for name in lane_topics(settings)),
        Wanted(settings.topic(CHECKPOINTS), 1, compact, tidy),
    ]


def wanted_by_setup(settings: KafkaSettings) -> list[Wanted]:
    """All topics that setup makes and the doctor looks at: the stream's, and that of conversions where it is wanted.

    Conversions are few, and whoever pays by them may have been away for long: they are kept for ever.
    """
    if not settings.publish_conversions:
        return wanted(settings)
    kept = {"retention.ms": "-1", "retention.bytes": "-1"}
    delete = {"cleanup.policy": "delete"}
    return [*wanted(settings), Wanted(settings.topic(CONVERSIONS), settings.lanes, delete, {}, kept)]


def lane_topics(settings: KafkaSettings) -> list[str]:
    """The full names of the topics that make up the lanes, in the order of a lane's partitions."""
    return [settings.topic(name) for name in LANE_TOPICS]


def prepare(settings: KafkaSettings) -> list[str]:
    """Creates what is missing and checks what is there; returns the names it created.

    A broker may not know yet of what there is, as when it has just started, or another setup is at work: what turns
    out to be there is waited for, and checked. Raises TopicMismatch where an existing topic does not fit; KafkaLost,
    KafkaRefused.
    """
    needed = wanted_by_setup(settings)
    created: list[str] = []
    deadline = time.monotonic() + ANSWER_SECONDS
    with asking(settings, "create or describe our topics", REACH_HINT) as (admin, _):
        while True:
            missing = _missing(admin, needed, settings)
            made = _create(admin, missing, settings) if missing else []
            created += made
            unknown = [topic.name for topic in missing if topic.name not in made]
            if not unknown:
                return created
            if time.monotonic() >= deadline:
                raise KafkaLost(f"{', '.join(unknown)} exist, and brokers do not know of them yet; run setup again")
            time.sleep(LOOK_SECONDS / 4)


def _missing(admin: AdminClient, needed: list[Wanted], settings: KafkaSettings) -> list[Wanted]:
    """The topics that are not there, with as many partitions as the others of the lanes have.

    Raises TopicMismatch where one that is there does not fit, KafkaException.
    """
    partitions = partitions_of(admin, needed)
    _demand_partitions(partitions, settings)
    actual = settings_of(admin, partitions)
    _demand_settings(needed, actual)
    _demand_retention(needed, actual, settings)
    lanes = set(lane_topics(settings))
    most = max((count for name, count in partitions.items() if name in lanes), default=settings.lanes)
    return [
        topic._replace(partitions=most) if topic.name in lanes else topic
        for topic in needed
        if topic.name not in partitions
    ]


class Checked(NamedTuple):
    """What is not as it should be of topics that can be used: those `missing`, and settings that were `lowered`.

    `lowered` are a sentence for each setting that may lose changes.
    """

    missing: list[str]
    lowered: list[str]


def check(settings: KafkaSettings, stop: Event | None = None) -> Checked:
    """Checks the topics that exist. Raises as `prepare`, but not for settings that keep changes for too short a time.

    Whoever refuses to start for these only loses more. Once `stop` is set nobody waits for Kafka any longer.
    """
    needed = wanted(settings)
    with asking(settings, "describe our topics", REACH_HINT) as (admin, trouble):
        partitions = partitions_of(admin, needed, stop, trouble)
        _demand_partitions(partitions, settings)
        actual = settings_of(admin, partitions)
        _demand_settings(needed, actual)
    sentences = [
        f"topic {topic.name} has {key}={actual[topic.name].get(key)}, and is to have {value}"
        for topic in needed
        if topic.name in actual
        for key, value in lowered(topic.settings, actual[topic.name]).items()
    ]
    return Checked([topic.name for topic in needed if topic.name not in partitions], sentences)


def await_kafka(settings: KafkaSettings, stop: Event) -> None:
    """Waits for Kafka to answer anything, says why where it does not, and ends soon after `stop`.

    Raises KafkaLost, KafkaRefused.
    """
    with asking(settings, "answer", "; check KAFKA_BOOTSTRAP_SERVERS") as (admin, trouble):
        partitions_of(admin, [], stop, trouble)


def _of_lanes(partitions: Mapping[str, int], settings: KafkaSettings) -> dict[str, int]:
    return {name: partitions[name] for name in lane_topics(settings) if name in partitions}


def partitions_of_lanes(settings: KafkaSettings) -> dict[str, int]:
    """How many partitions the lanes' topics have, as far as they exist. Raises KafkaLost, KafkaRefused."""
    with asking(settings, "describe our topics") as (admin, _):
        return _of_lanes(partitions_of(admin, wanted(settings)), settings)


def retention_seconds(settings: KafkaSettings) -> float:
    """For how long (s) Kafka keeps what the lanes' topics hold, by the one that keeps it shortest; inf: for ever.

    Raises KafkaException, as where our account may not describe them.
    """
    admin, _ = client(settings)
    found = [int(topic.get("retention.ms") or -1) for topic in settings_of(admin, lane_topics(settings)).values()]
    return min(kept / 1000 if kept >= 0 else inf for kept in found)


def client(settings: KafkaSettings) -> tuple[AdminClient, Trouble]:
    """A client for topics, and what it says of its connections. Raises KafkaException where it refuses the settings."""
    trouble = Trouble()
    return AdminClient({**settings.librdkafka, "log_level": "0", "error_cb": trouble}), trouble  # type: ignore[dict-item]


@contextmanager
def asking(settings: KafkaSettings, what: str, hint: str = "") -> Iterator[tuple[AdminClient, Trouble]]:
    """As `client`; what it fails of is raised as KafkaLost or KafkaRefused: `what` is what Kafka did not do."""
    admin, trouble = client(settings)
    try:
        yield admin, trouble
    except KafkaException as error:
        admin.poll(0)  # hands over what the client has to say of it
        raise trouble.lost(settings.kafka_bootstrap_servers, what, error, hint) from error


def partitions_of(
    admin: AdminClient, needed: list[Wanted], stop: Event | None = None, trouble: Trouble | None = None
) -> dict[str, int]:
    """How many partitions our topics have, as far as they exist.

    Raises KafkaException, at once after `stop`, or where `trouble` says that Kafka does not let us in.
    """
    deadline, is_reported = time.monotonic() + ANSWER_SECONDS, False
    while True:
        try:
            found = admin.list_topics(timeout=LOOK_SECONDS).topics
            break
        except KafkaException as error:
            admin.poll(0)  # hands over what the client has to say of it
            if trouble is not None and trouble.is_refused:
                raise
            if trouble is not None and not is_reported:
                is_reported = True
                log.warning("server_away", server="kafka", reason=trouble.why(error), hint="waiting for it")
            if time.monotonic() >= deadline or (stop is not None and stop.wait(LOOK_SECONDS / 4)):
                raise
            time.sleep(LOOK_SECONDS / 4)
    return {topic.name: len(found[topic.name].partitions) for topic in needed if topic.name in found}


def settings_of(admin: AdminClient, names: Collection[str]) -> dict[str, dict[str, str | None]]:
    """The settings of topics that exist. Raises KafkaException."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=ANSWER_SECONDS) if resources else {}
    return {
        resource.name: {key: entry.value for key, entry in future.result().items()}
        for resource, future in answers.items()
    }


def _demand_partitions(partitions: Mapping[str, int], settings: KafkaSettings) -> None:
    found = _of_lanes(partitions, settings)
    sentence = too_few(found, settings.lanes) or uneven(found)
    if sentence is not None:
        raise TopicMismatch(sentence)


def _demand_settings(needed: list[Wanted], actual: Mapping[str, Mapping[str, str | None]]) -> None:
    for topic in needed:
        for key, value in topic.fixed.items():
            if topic.name in actual and actual[topic.name].get(key) != value:
                raise TopicMismatch(
                    f"topic {topic.name} has {key}={actual[topic.name].get(key)}, which would lose changes;"
                    f" run `{REPAIR}`, or set it to {value} with kafka-configs.sh --alter --add-config {key}={value}"
                )


def _demand_retention(
    needed: list[Wanted], actual: Mapping[str, Mapping[str, str | None]], settings: KafkaSettings
) -> None:
    for topic in needed:
        wrong = lowered(topic.settings, actual.get(topic.name, {}))
        if "retention.ms" in wrong:
            kept = int(actual[topic.name]["retention.ms"] or -1)
            raise TopicMismatch(
                f"topic {topic.name} has retention.ms={kept}, which keeps changes for {kept / 3_600_000:g} hours, and"
                f" TOPIC_RETENTION_HOURS is {settings.topic_retention_hours}; run `{REPAIR}`, or lower the setting"
            )


def _create(admin: AdminClient, missing: list[Wanted], settings: KafkaSettings) -> list[str]:
    """The names of those that it created: the others are there. Raises KafkaException."""
    replication = settings.topic_replication_factor
    copies = replication if replication > 0 else _default_replication(admin)
    # One copy may be missing without stopping us, but a write that only one broker has is not safe.
    in_sync = {"min.insync.replicas": str(copies - 1)} if copies > 2 else {}
    futures = admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions,
                replication,
                config={**topic.fixed, **topic.settings, **topic.chosen, **in_sync},
            )
            for topic in missing
        ],
        request_timeout=ANSWER_SECONDS,
        operation_timeout=ANSWER_SECONDS,
    )
    made = []
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            made.append(name)
    return made


def _default_replication(admin: AdminClient) -> int:
    """The broker's default.replication.factor; 1 where it does not say."""
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
