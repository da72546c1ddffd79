"""Topics that somebody changed, as they have to be again: partitions added, settings raised; nothing is lowered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

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

LOOK_SECONDS: Final = 0.1
"""Between two looks whether Kafka shows what it granted."""


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
    await_shown(
        lambda: [name for name, count in topics.partitions_of_lanes(settings).items() if count < most], "its partitions"
    )
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
        changed: dict[str, Mapping[str, str]] = {}
        for topic in needed:
            if topic.name in actual:
                found = actual[topic.name]
                wrong = {key: value for key, value in topic.fixed.items() if found.get(key) != value}
                wrong |= lowered(topic.settings, found)
                _alter(admin, topic.name, wrong, settings.kafka_bootstrap_servers)
                changed[topic.name] = wrong
                done += [f"topic {topic.name} has {key}={value} now" for key, value in wrong.items()]
        await_shown(lambda: _unlike(changed, topics.settings_of(admin, changed)), "its settings")
    return done


def _unlike(changed: Mapping[str, Mapping[str, str]], shown: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """The topics that do not show all the settings that they were given."""
    return [name for name, given in changed.items() if not given.items() <= shown[name].items()]


def await_shown(behind: Callable[[], list[str]], what: str, seconds: float = ANSWER_SECONDS) -> None:
    """Waits until no topic is `behind` any more: Kafka grants a change before its brokers know of it.

    Raises KafkaLost after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while names := behind():
        if time.monotonic() > deadline:
            raise KafkaLost(f"{', '.join(names)} did not get {what} in time; run setup again")
        time.sleep(LOOK_SECONDS)


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
