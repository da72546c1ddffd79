"""The journal of dead letters in Kafka: what it keeps, for how long, and who finds what there."""

from __future__ import annotations

import time
import tracemalloc
from threading import Event

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from consumer.stream import dead_letter_topic, topics
from consumer.stream.dead_letter_log import LetterBox
from consumer.stream.dead_letters import DeadLetters, Letter
from consumer.stream.topics import MAX_LETTER_BYTES
from tests.integration.applier.world import World

pytestmark = pytest.mark.servers

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


def post(world: World, *letters: Letter) -> None:
    """Sets messages aside as an applier does."""
    dead_letters = DeadLetters(world.kafka, Event().is_set)
    for letter in letters:
        dead_letters.put(letter)
    assert dead_letters.settle()


def letter(world: World, offset: int, value: bytes = b"?", key: bytes = b"5") -> Letter:
    return Letter(world.kafka.topic("users"), 0, offset, key, value, "undecodable", "no JSON")


def write(world: World, headers: dict[str, str], *, at: float | None = None) -> None:
    """A message in the journal that is not of our making, or of another time."""
    producer = Producer({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})
    producer.produce(
        world.kafka.topic("dead-letters"), b"?", headers=dict(headers), timestamp=int((at or time.time()) * 1000)
    )
    assert producer.flush(30) == 0


def test_letters_are_kept_until_somebody_settles_them_however_long_changes_are_kept(world: World) -> None:
    found = settings(world)
    assert (found["retention.ms"], found["retention.bytes"]) == ("-1", "-1")
    assert int(found["max.message.bytes"]) == MAX_LETTER_BYTES


def test_setup_repairs_a_journal_that_an_older_release_made_to_forget(world: World) -> None:
    change(world, retention_ms=str(WEEK), max_message_bytes=str(topics.MAX_MESSAGE_BYTES), segment_ms="3600000")
    assert dead_letter_topic.repair(world.kafka) == [world.kafka.topic("dead-letters")]
    found = settings(world)
    assert (found["retention.ms"], int(found["max.message.bytes"])) == ("-1", MAX_LETTER_BYTES)
    assert found["segment.ms"] == "3600000"
    assert dead_letter_topic.repair(world.kafka) == []
    assert topics.check(world.kafka) == ([], [])


def test_a_letter_is_found_with_its_place_its_user_and_its_bytes_and_once_however_often_it_was_written(
    world: World,
) -> None:
    for _ in range(2):
        post(world, letter(world, 7, b"\xff\x00"), letter(world, 8, key=b"x"))
    with LetterBox(world.kafka) as box:
        found = box.letters()
        assert [(entry.number, entry.offset, entry.user_id, entry.size) for entry in found.values()] == [
            (0, 7, 5, 3), (1, 8, None, 2)
        ]  # fmt: skip
        assert box.original(0) == letter(world, 7, b"\xff\x00")
        box.settle([found[0]], "discarded")
        assert list(box.letters()) == [1]


def test_a_message_of_a_topic_created_anew_is_a_letter_of_its_own_though_its_offset_was_given_out_before(
    world: World,
) -> None:
    post(world, letter(world, 7, b"old"))
    with LetterBox(world.kafka) as box:
        (old,) = box.letters().values()
        post(world, letter(world, 7, b"new"))
        assert [box.original(number).value for number in box.letters()] == [b"old", b"new"]
        box.settle([old], "discarded")
        assert [box.original(number).value for number in box.letters()] == [b"new"]


def test_what_an_older_release_settled_stays_settled(world: World) -> None:
    post(world, letter(world, 7))
    write(world, {"settles": f"{world.kafka.topic('users')}/0/7", "how": "discarded"})
    with LetterBox(world.kafka) as box:
        assert box.letters() == {}


def test_messages_in_the_journal_that_are_no_letters_are_in_nobodys_way(world: World) -> None:
    write(world, {})
    write(world, {"reason": "undecodable", "topic": "users", "partition": "first", "offset": "7"})
    write(world, {"reason": "undecodable", "topic": "users", "partition": "0", "offset": "-7"})
    post(world, letter(world, 7))
    with LetterBox(world.kafka) as box:
        assert [entry.offset for entry in box.letters().values()] == [7]


def test_counting_large_letters_takes_the_memory_of_one(world: World) -> None:
    post(world, *(letter(world, offset, bytes(1024 * 1024)) for offset in range(24)))
    with LetterBox(world.kafka) as box:
        tracemalloc.start()
        try:
            assert len(box.letters()) == 24
            assert tracemalloc.get_traced_memory()[1] < 6 * 1024 * 1024
        finally:
            tracemalloc.stop()


def test_more_letters_than_the_producers_queue_holds_are_settled_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(world, *(letter(world, offset) for offset in range(200)))
    monkeypatch.setenv("KAFKA_QUEUE_BUFFERING_MAX_MESSAGES", "10")
    with LetterBox(world.kafka) as box:
        box.settle(box.letters().values(), "discarded")
        assert box.letters() == {}


def test_settled_letters_are_dropped_when_changes_of_their_age_are_and_no_letter_that_is_not_settled(
    world: World,
) -> None:
    past = time.time() - 1.5 * WEEK / 1000
    ours = {"reason": "undecodable", "topic": world.kafka.topic("users"), "partition": "0"}
    for offset in range(4):
        write(world, {**ours, "offset": str(offset)}, at=past)
    post(world, letter(world, 4))
    with LetterBox(world.kafka) as box:
        found = box.letters()
        box.settle([found[0], found[1], found[3]], "discarded")
        assert list(box.letters()) == [2, 4]
        assert oldest(world) == 2
        box.settle([found[2]], "discarded")
        assert oldest(world) == 4
        assert list(box.letters()) == [4]


def oldest(world: World) -> int:
    """The first offset that the journal still has."""
    name = world.kafka.topic("dead-letters")
    client = admin(world)
    there = TopicPartition(name, 0)
    return int(client.list_offsets({there: OffsetSpec.earliest()})[there].result(30).offset)  # type: ignore[no-untyped-call]
