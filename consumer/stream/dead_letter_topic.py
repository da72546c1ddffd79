"""The dead letters' topic as it has to be: it keeps what nobody has settled, whole and for ever."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from consumer.settings import KafkaSettings
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.topics import ANSWER_SECONDS, DEAD_LETTERS, JOURNAL, MAX_LETTER_BYTES


def repair(settings: KafkaSettings) -> list[str]:
    """Gives a journal of dead letters that an older release created the settings of `JOURNAL`; its name if it did.

    Raises KafkaLost, and TopicMismatch where we have no right to do so.
    """
    admin = AdminClient({**settings.librdkafka, "log_level": "0"})
    name = settings.topic(DEAD_LETTERS)
    resource = ConfigResource(ResourceType.TOPIC, name)
    try:
        described = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
        wrong = unfit({key: str(entry.value) for key, entry in described.items()})
        for key, value in wrong.items():
            entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            resource.add_incremental_config(entry)
        if wrong:
            admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            missing = ",".join(f"{key}={value}" for key, value in wrong.items())
            raise TopicMismatch(
                f"topic {name} would forget dead letters and we may not change that; run kafka-configs.sh --alter"
                f" --entity-type topics --entity-name {name} --add-config {missing}"
            ) from error
        raise KafkaLost(
            f"Kafka at {settings.kafka_bootstrap_servers} did not change {name} ({error.args[0].str()});"
            " run setup again"
        ) from error
    return [name] if wrong else []


def unfit(actual: Mapping[str, str]) -> dict[str, str]:
    """What a journal of dead letters with these settings must be changed to; larger messages than ours may stay."""
    key = "max.message.bytes"
    large_enough = int(actual.get(key, 0)) >= MAX_LETTER_BYTES
    return {
        name: value
        for name, value in JOURNAL.items()
        if actual.get(name) != value and not (name == key and large_enough)
    }
