"""A reader takes over only from where it can go on, and only a reader that took over is a successor."""

from __future__ import annotations

import re
import signal
import time
from contextlib import closing
from urllib.parse import urlsplit

from confluent_kafka import Consumer, TopicPartition

from tests.integration.reader.world import LANES, ReaderWorld, check_numbers
from tests.support.waiting import until


def test_a_reader_that_cannot_log_in_leaves_the_one_at_work_alone(world: ReaderWorld) -> None:
    world.setup()
    first = world.reader().wait_for("reader_connected")
    url = urlsplit(world.mysql_url)
    wrong = url._replace(netloc=f"{url.username}:wrong@{url.hostname}:{url.port}").geturl()
    second = world.consumer("read", REPLICA_DATABASE_URL=wrong)
    assert second.returncode == 1
    assert "REPLICA_DATABASE_URL" in second.stderr
    world.execute("INSERT INTO users (id) VALUES (1)")
    check_numbers(world.finish(first, 1))
    assert len([line for line in first.lines() if line["event"] == "reader_connected"]) == 1


def test_another_database_of_the_same_server_is_refused_and_the_stream_unharmed(
    world: ReaderWorld, flavor: str
) -> None:
    world.setup()
    first = world.reader().wait_for("reader_connected")
    with ReaderWorld(flavor) as other:
        theirs = {"TOPIC_PREFIX": world.name}
        for command in ("setup", "read"):
            refused = other.consumer(command, **theirs)
            assert refused.returncode == 1, command
            sentence = f"the stream {world.name} is that of database {world.name}, and REPLICA_DATABASE_URL names"
            assert sentence in refused.stderr
        other.execute("INSERT INTO users (id) VALUES (70)")
        world.execute("INSERT INTO users (id) VALUES (1)")
        messages = world.finish(first, 1)
    check_numbers(messages)
    assert {message.value["after"]["id"] for message in messages if message.value["op"] != "h"} == {1}
    assert len([line for line in first.lines() if line["event"] == "reader_connected"]) == 1


def test_two_prefixes_follow_one_database(world: ReaderWorld) -> None:
    """Each from its own checkpoint, which says whose it is."""
    world.setup()
    prefix = f"{world.name}_2"
    assert world.consumer("setup", TOPIC_PREFIX=prefix).returncode == 0
    readers = world.reader(), world.reader(TOPIC_PREFIX=prefix)
    for reader in readers:
        reader.wait_for("reader_connected")
    world.execute("INSERT INTO users (id) VALUES (1)")
    world.finish(readers[0], 1)
    assert readers[1].poll() is None
    checkpoint = world.checkpoints()[-1]
    assert checkpoint.database == world.name
    assert re.fullmatch(r"[0-9a-f]{32}", checkpoint.reader)


def has_open_transaction(world: ReaderWorld) -> bool:
    """Whether rows of `users` lie in Kafka that are neither committed nor given up."""
    ends = []
    for level in ("read_committed", "read_uncommitted"):
        consumer = Consumer({"bootstrap.servers": world.bootstrap, "group.id": "ends", "isolation.level": level})
        with closing(consumer):
            places = [TopicPartition(f"{world.name}.users", lane) for lane in range(LANES)]
            ends.append([consumer.get_watermark_offsets(place, timeout=20)[1] for place in places])
    return ends[0] < ends[1]


def test_a_reader_that_stood_still_inside_a_kafka_transaction_goes_on_by_itself(world: ReaderWorld) -> None:
    """Kafka has ended its transaction and says that it was fenced, or takes nothing more; nobody else was there."""
    world.setup()
    reader = world.reader(KAFKA_TRANSACTION_TIMEOUT_MS="5000").wait_for("reader_connected")
    world.execute("INSERT INTO users (id) VALUES (1)")
    world.wait_for_rows(1)
    world.execute(
        "INSERT INTO users (email_address) SELECT 'x' FROM information_schema.columns a, information_schema.columns b"
        " LIMIT 150000"
    )

    def stopped_inside() -> bool:
        reader.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        reader.send_signal(signal.SIGSTOP)
        return has_open_transaction(world)

    until(stopped_inside, "it stood still inside a transaction")
    until(lambda: not has_open_transaction(world), "Kafka ended the transaction")
    reader.send_signal(signal.SIGCONT)
    messages = world.finish(reader, 150_001)
    assert [line for line in reader.lines() if "another reader" in str(line)] == []
    check_numbers(messages)
    assert len(messages) - sum(message.value["op"] == "h" for message in messages) == 150_001
