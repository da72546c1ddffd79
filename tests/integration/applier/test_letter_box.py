"""The journal of dead letters in Kafka: what it keeps, for how long, and who finds what there."""

from __future__ import annotations

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from consumer.stream import journal, topics
from consumer.stream.topics import MAX_LETTER_BYTES
from tests.integration.applier.world import World

WEEK = 7 * 24 * 3_600_000


def settings(world: World) -> dict[str, str]:
    """What the journal's topic is set to."""
    resource = ConfigResource(ResourceType.TOPIC, world.kafka.topic("dead-letters"))
    client = admin(world)
    described = client.describe_configs([resource])[resource].result(30)
    return {name: str(entry.value) for name, entry in described.items()}


def admin(world: World) -> AdminClient:
    return AdminClient({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})


def change(world: World, **values: str) -> None:
    """Sets the journal's topic to other values."""
    resource = ConfigResource(ResourceType.TOPIC, world.kafka.topic("dead-letters"))
    for name, value in values.items():
        entry = ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        resource.add_incremental_config(entry)
    client = admin(world)
    client.incremental_alter_configs([resource])[resource].result(30)


def test_letters_are_kept_until_somebody_settles_them_however_long_changes_are_kept(world: World) -> None:
    found = settings(world)
    assert (found["retention.ms"], found["retention.bytes"]) == ("-1", "-1")
    assert int(found["max.message.bytes"]) == MAX_LETTER_BYTES


def test_setup_mends_a_journal_that_an_older_release_made_to_forget(world: World) -> None:
    change(world, retention_ms=str(WEEK), max_message_bytes=str(topics.MAX_MESSAGE_BYTES), segment_ms="3600000")
    assert journal.mend(world.kafka) == [world.kafka.topic("dead-letters")]
    found = settings(world)
    assert (found["retention.ms"], int(found["max.message.bytes"])) == ("-1", MAX_LETTER_BYTES)
    assert found["segment.ms"] == "3600000"
    assert journal.mend(world.kafka) == []
    assert topics.check(world.kafka) == []
