"""Dead letters that an older release kept in a topic: `consumer setup` carries them over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from consumer.commands.older_dead_letters import TOPIC, carry_over
from tests.integration.applier.world import ApplierWorld

pytestmark = pytest.mark.servers


@pytest.fixture
def older(world: ApplierWorld) -> Iterator[ApplierWorld]:
    """A stream whose older release had the topic."""
    admin = AdminClient({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})
    name = world.kafka.topic(TOPIC)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    yield world
    admin.delete_topics([name])[name].result(30)


def write(world: ApplierWorld, headers: dict[str, str | bytes], value: bytes = b"?", key: bytes = b"5") -> None:
    """A message in the older release's topic."""
    producer = Producer({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})
    producer.produce(world.kafka.topic(TOPIC), value, key, headers=list(headers.items()))
    assert producer.flush(30) == 0


def place(world: ApplierWorld, offset: int) -> dict[str, str | bytes]:
    """The headers of a dead letter."""
    return {
        "reason": "undecodable", "detail": "no JSON", "topic": world.kafka.topic("users"), "partition": "0",
        "offset": str(offset),
    }  # fmt: skip


def carried(world: ApplierWorld) -> list[tuple[object, ...]]:
    """What the table holds."""
    return world.query("SELECT message_offset, reason, user_id, key, value FROM leadstream.dead_letters ORDER BY id")


def test_what_nobody_has_resolved_is_carried_over_once_with_its_bytes(older: ApplierWorld) -> None:
    for _ in range(2):  # an applier that died before its batch was committed wrote it again
        write(older, place(older, 7), b"\xff\x00")
        write(older, place(older, 8), key=b"x")
    assert carry_over(older.kafka, older.postgres_url) == [
        f"carried 2 dead letters over from topic {older.kafka.topic(TOPIC)}, which nothing uses any more"
    ]
    assert carried(older) == [(7, "undecodable", 5, b"5", b"\xff\x00"), (8, "undecodable", None, b"x", b"?")]
    assert carry_over(older.kafka, older.postgres_url) == []
    assert len(carried(older)) == 2


def test_what_was_resolved_there_is_not_carried_over(older: ApplierWorld) -> None:
    write(older, place(older, 7))
    write(older, place(older, 8))
    write(older, place(older, 9), b"old")
    write(older, place(older, 9), b"new")
    write(older, {"settles": f"{older.kafka.topic('users')}/0/7", "how": "discarded"})
    ((_, digest, _, _),) = [row for row in digests(older) if row[0] == 9 and row[3] == b"old"]
    write(older, {"settles": f"{older.kafka.topic('users')}/0/9", "how": "discarded", "digest": str(digest)})
    older.query("DELETE FROM leadstream.dead_letters RETURNING 1")
    carry_over(older.kafka, older.postgres_url)
    assert [(row[0], row[4]) for row in carried(older)] == [(8, b"?"), (9, b"new")]


def digests(world: ApplierWorld) -> list[tuple[object, ...]]:
    """Carries everything over to learn the digests."""
    carry_over(world.kafka, world.postgres_url)
    return world.query("SELECT message_offset, digest, key, value FROM leadstream.dead_letters")


def test_messages_there_that_are_no_dead_letters_are_in_nobodys_way(older: ApplierWorld) -> None:
    write(older, {})
    write(older, {"reason": "undecodable", "topic": "users", "partition": "first", "offset": "7"})
    write(older, {"reason": "undecodable", "topic": "users", "partition": "0", "offset": "-7"})
    write(older, place(older, 7))
    carry_over(older.kafka, older.postgres_url)
    assert [row[0] for row in carried(older)] == [7]


def test_a_stream_that_never_had_the_topic_has_nothing_to_carry_over(world: ApplierWorld) -> None:
    assert carry_over(world.kafka, world.postgres_url) == []
