"""What Kafka says about numbers given out and about messages read once more."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.applier.foreign_messages import newest_in_kafka, originals_in_kafka
from consumer.store.dead_letters import Content
from consumer.stream.errors import NoCheckpoint
from tests.integration.applier.world import ApplierWorld, user

pytestmark = pytest.mark.servers


def test_a_checkpoint_that_is_written_but_not_decided_is_waited_for(world: ApplierWorld) -> None:
    """A commit may reach a lane before it reaches the checkpoints."""
    scribe, newest = world.scribe, newest_in_kafka(world.kafka)
    with scribe:
        scribe.beat()
    assert newest().next_seqs == [2] * world.lanes
    with ThreadPoolExecutor(1) as pool:
        with scribe:
            scribe.beat()
            scribe.write_checkpoint()
            answer = pool.submit(newest)
            time.sleep(1)
        assert answer.result(60).next_seqs == [3] * world.lanes


def test_a_stream_without_a_checkpoint_says_so(world: ApplierWorld) -> None:
    with pytest.raises(NoCheckpoint, match=r"\.checkpoints holds no checkpoint"):
        newest_in_kafka(world.kafka)()


def test_a_message_is_read_once_more_by_its_place_unless_it_is_gone(world: ApplierWorld) -> None:
    topic = world.kafka.topic("users")
    original = originals_in_kafka(world.kafka, [topic])
    with world.scribe as scribe:
        for value in (b"one", b"two"):
            scribe.raw(topic, value, 0, key=b"7")
    assert original(0, 0, 1) == Content(b"7", b"two")
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(1), 1))
    admin = AdminClient({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})
    for gone in admin.delete_records([TopicPartition(topic, 0, 1)]).values():
        gone.result(30)
    assert original(0, 0, 0) == Content(None, None)
    assert original(0, 0, 1) == Content(b"7", b"two")
