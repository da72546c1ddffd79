"""What Kafka says of itself, of our topics and of what we may do there. Nothing is judged here."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from consumer.doctor.check import Unreachable
from consumer.settings import KafkaSettings
from consumer.stream.checkpoint import cut_off
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import StreamError
from consumer.stream.partition import GROUPS
from consumer.stream.producer import TUNING
from consumer.stream.topics import Wanted, lane_topics, wanted, wanted_by_setup
from consumer.stream.trouble import TLS, TLS_HINT, Trouble

API: Final = re.compile(r"ApiKey \S+ \((\d+)\) Versions \d+\.\.(\d+)")
"""How librdkafka logs what a broker understands, under `debug=feature`."""
GONE: Final = KafkaError.UNKNOWN_TOPIC_OR_PART
DENIED: Final = frozenset(
    (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    )
)


@dataclass(frozen=True)
class TopicFacts:
    """One topic. `operations` is what we may do with it; `settings` is empty where we may not ask for them."""

    partitions: int = 0
    replicas: int = 0
    """Copies that each partition is meant to have."""
    in_sync: int = 0
    """Copies of the worst partition that are up to date."""
    leaderless: int = 0
    operations: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KafkaFacts:
    """All that is judged. `hidden` are topics that exist or not: we may not ask; `topics` are those that exist.

    `versions` is the highest version of each request (by its number) that the broker understands.
    """

    place: str
    principal: str
    brokers: int
    versions: Mapping[int, int]
    topics: Mapping[str, TopicFacts]
    hidden: frozenset[str] = frozenset()
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What we may do with each group under which anything of ours reads."""
    transactions: str = ""
    """Why a transaction cannot be had; empty: it can."""
    lanes: int = 0
    """Lanes of the newest checkpoint; 0: there is none, or topics have as many partitions as LANES says anyway."""
    raising: str = ""
    """The command that raised the lanes and was cut off in the midst of it."""


class _Listener(logging.Handler):
    """What librdkafka's log says of the broker's requests."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[int, int] = {}
        self.last_error = ""

    def emit(self, record: logging.LogRecord) -> None:
        """One line of librdkafka's."""
        line = record.getMessage()
        found = API.search(line)
        if found:
            key, version = int(found[1]), int(found[2])
            self.versions[key] = min(version, self.versions.get(key, version))
        elif "FAIL" in line:
            self.last_error = line.rpartition("]: ")[2]


def collect(kafka: KafkaSettings, group: str, seconds: float, *, quick: bool = False) -> KafkaFacts:
    """Asks Kafka; no answer may take longer than `seconds`. `quick` asks for topics alone. Raises Unreachable."""
    logger, listener = logging.Logger("kafka"), _Listener()
    logger.addHandler(listener)
    place, trouble = kafka.kafka_bootstrap_servers, Trouble()

    def count(within: float) -> int:
        return len(admin.list_topics(wanted(kafka)[0].name, timeout=within).brokers)

    if quick:
        admin = AdminClient({**kafka.librdkafka, "log_level": "0"})
    else:
        options: dict[str, Any] = {"error_cb": trouble, "debug": "feature", "log_level": "6"}
        admin = AdminClient({**kafka.librdkafka, **options}, logger=logger)
    try:
        brokers = count(seconds) if quick else trouble.ask(admin, count, seconds)
        needed = wanted(kafka) if quick else wanted_by_setup(kafka)
        topics, hidden = _topics(admin, needed, seconds)
        lanes, raising = _checkpoint(kafka, topics)
        groups: Mapping[str, frozenset[str]] = {}
        transactions = ""
        if not quick:
            groups = _groups(admin, [group, *(kafka.topic(name) for name in GROUPS)], seconds)
            transactions = _transaction(kafka, seconds)
        admin.poll(0)
    except KafkaException as error:
        reason = error.args[0].str()
        admin.poll(0)  # hands over what was logged
        detail = f" ({listener.last_error})" if listener.last_error else ""
        detail += TLS_HINT if TLS.search(listener.last_error) else ""
        raise Unreachable(f"Kafka at {place} cannot be asked: {reason}{detail}") from error
    principal = f"User:{kafka.librdkafka.get('sasl.username') or 'ANONYMOUS'}"
    return KafkaFacts(
        place, principal, brokers, listener.versions, topics, hidden, groups, transactions, lanes, raising
    )


def _topics(
    admin: AdminClient, needed: Sequence[Wanted], seconds: float
) -> tuple[dict[str, TopicFacts], frozenset[str]]:
    names = [topic.name for topic in needed]
    described = admin.describe_topics(
        TopicCollection(names), include_authorized_operations=True, request_timeout=seconds
    )
    found: dict[str, Any] = {}
    hidden = set()
    for name, future in described.items():
        try:
            found[name] = future.result(seconds + 1)
        except KafkaException as error:
            if error.args[0].code() in DENIED:
                hidden.add(name)
            elif error.args[0].code() != GONE:
                raise
    settings = _settings(admin, list(found), seconds)
    return {name: _facts(topic, settings[name]) for name, topic in found.items()}, frozenset(hidden)


def _checkpoint(kafka: KafkaSettings, topics: Mapping[str, TopicFacts]) -> tuple[int, str]:
    """Lanes of the newest checkpoint and the command that was cut off raising them; asked only where it matters."""
    if all(topics[name].partitions == kafka.lanes for name in lane_topics(kafka) if name in topics):
        return 0, ""
    try:
        with CheckpointLog(kafka) as checkpoints:
            found = checkpoints.newest()
    except StreamError:
        return 0, ""
    return (0, "") if found is None else (len(found.next_seqs), cut_off(found) or "")


def _facts(topic: Any, settings: Mapping[str, str]) -> TopicFacts:
    return TopicFacts(
        partitions=len(topic.partitions),
        replicas=min(len(partition.replicas) for partition in topic.partitions),
        in_sync=min(len(partition.isr) for partition in topic.partitions),
        leaderless=sum(partition.leader is None for partition in topic.partitions),
        operations=frozenset(operation.name for operation in topic.authorized_operations or ()),
        settings=settings,
    )


def _settings(admin: AdminClient, names: list[str], seconds: float) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    found: dict[str, dict[str, str]] = {}
    for resource, future in admin.describe_configs(resources, request_timeout=seconds).items():
        try:
            found[resource.name] = {key: str(entry.value) for key, entry in future.result(seconds + 1).items()}
        except KafkaException as error:
            if error.args[0].code() not in DENIED:
                raise
            found[resource.name] = {}
    return found


def _groups(admin: AdminClient, groups: list[str], seconds: float) -> dict[str, frozenset[str]]:
    described = admin.describe_consumer_groups(groups, include_authorized_operations=True, request_timeout=seconds)
    return {name: _operations(future, seconds) for name, future in described.items()}


def _operations(group: Future[Any], seconds: float) -> frozenset[str]:
    """What we may do with a group, also with one that does not exist yet."""
    try:
        operations = group.result(seconds + 1).authorized_operations
    except KafkaException as error:
        if error.args[0].code() in DENIED:
            return frozenset()
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return frozenset({"READ"})
        raise
    return frozenset(operation.name for operation in operations or ())


def _transaction(kafka: KafkaSettings, seconds: float) -> str:
    """Prepares for transactions as the reader does, under an id of the doctor's own: the reader's would fence it."""
    settings = {**TUNING, **kafka.librdkafka, "log_level": "0", "transactional.id": f"{kafka.topic_prefix}.doctor"}
    producer, reason, until = Producer(settings), "", time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            producer.init_transactions(max(0.1, until - time.monotonic()))
        except KafkaException as error:
            reason = str(error.args[0].str())
            if not error.args[0].retriable():
                return reason
        else:
            return ""
    return reason
