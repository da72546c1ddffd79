"""Topics that somebody changed, as they have to be again: partitions added, settings raised; nothing is lowered."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from consumer.settings import KafkaSettings
from consumer.stream import topics
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.topic_fit import REPAIR, configure, lowered, too_few
from consumer.stream.topics import ANSWER_SECONDS


def widen(settings: KafkaSettings) -> list[str]:
    """Gives the lanes' topics the same number of partitions, LANES at least; says of which it gave some.

    Raises KafkaLost, KafkaRefused.
    """
    found = topics.partitions_of_lanes(settings)
    most = max([settings.lanes, *found.values()])
    names = [name for name, count in found.items() if count < most]
    if names:
        with topics.asking(settings, "add partitions", "; check our rights there and run setup again") as (admin, _):
            wider = [NewPartitions(name, most) for name in names]
            for future in admin.create_partitions(wider, request_timeout=ANSWER_SECONDS).values():
                future.result()
    deadline = time.monotonic() + ANSWER_SECONDS
    while behind := [name for name, count in topics.partitions_of_lanes(settings).items() if count < most]:
        if time.monotonic() > deadline:
            raise KafkaLost(f"{', '.join(behind)} did not get its partitions in time; run setup again")
        time.sleep(0.1)
    return [f"topic {name} has {most} partitions now" for name in names]


def repair(settings: KafkaSettings) -> list[str]:
    """Gives existing topics what they lack to lose no changes: partitions, as many as the others of the lanes have, and
    settings; a sentence for each thing done.

    Raises TopicMismatch where we have no right to, or where LANES is larger than all of them; KafkaLost, KafkaRefused.
    """
    needed = topics.wanted_by_setup(settings)
    done: list[str] = []
    with topics.asking(settings, "change our topics", f"{topics.REACH_HINT}, and run `{REPAIR}` again") as (admin, _):
        partitions = topics.partitions_of(admin, needed)
        sentence = too_few(topics.partitions_of_lanes(settings), settings.lanes)
        if sentence is not None:
            raise TopicMismatch(sentence)
        done += widen(settings)
        actual = topics.settings_of(admin, partitions)
        for topic in needed:
            if topic.name in actual:
                found = actual[topic.name]
                wrong = {key: value for key, value in topic.fixed.items() if found.get(key) != value}
                wrong |= lowered(topic.settings, found)
                _alter(admin, topic.name, wrong, settings.kafka_bootstrap_servers)
                done += [f"topic {topic.name} has {key}={value} now" for key, value in wrong.items()]
    return done


def _alter(admin: AdminClient, name: str, settings: Mapping[str, str], servers: str) -> None:
    """Sets settings of one topic. Raises TopicMismatch where we have no right to, KafkaException."""
    if not settings:
        return
    resource = ConfigResource(ResourceType.TOPIC, name)
    for key, value in settings.items():
        resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET))
    try:
        admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise
        raise TopicMismatch(
            f"we may not change the settings of topic {name}; allow us AlterConfigs on it, or run"
            f" `{configure(name, settings, servers)}`"
        ) from error
