"""The topic of checkpoints is lost: `consumer setup --repair` finds the very place again, or says that it is gone."""

from __future__ import annotations

import re

import psycopg
import pytest
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.integration.doctor.conftest import findings
from tests.integration.reader.test_ways_on import SIGNED, UNSIGNED, read_live, rechecks
from tests.integration.reader.world import LANES, ReaderWorld, check_numbers
from tests.integration.stints import await_stints
from tests.servers import ensure
from tests.support.processes import Process
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.prepared]


def lose_checkpoints(world: ReaderWorld) -> None:
    """Deletes the topic, as an administrator might."""
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    topic = f"{world.name}.checkpoints"
    admin.delete_topics([topic])[topic].result(30)
    until(lambda: topic not in admin.list_topics(timeout=30).topics, "the topic was gone")


def repair(world: ReaderWorld) -> str:
    """What the command says that `consumer setup` names, which refuses by itself."""
    assert "consumer setup --repair" in findings(world.consumer("doctor", "--json"))["mysql position"]["hint"]
    refused = world.consumer("setup")
    assert refused.returncode == 1
    command = re.findall(r"consumer (setup --repair) ", refused.stderr)
    return world.setup(*command[0].split()[1:])


def test_the_reader_goes_on_exactly_where_it_was(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id) VALUES (1), (2)", "UPDATE users SET current_signature_file_id = 'S' WHERE id = 1"
        )
        await_stints(world, 1, SIGNED)
        await_stints(world, 2, UNSIGNED)
        (reader,) = world.readers
        reader.stop()
        lose_checkpoints(world)
        world.execute(
            "UPDATE users SET current_signature_file_id = NULL WHERE id = 1",
            "UPDATE users SET current_signature_file_id = 'S' WHERE id = 2",
            "UPDATE users SET current_signature_file_id = NULL WHERE id = 2",
            "INSERT INTO users (id) VALUES (3)",
        )
        assert "found the lost checkpoint again by" in repair(world)
        world.reader()
        await_stints(world, 1, [*SIGNED, ("unsigned_users", "signature_missing")])
        await_stints(world, 2, [*SIGNED, ("unsigned_users", "signature_missing")])
        await_stints(world, 3, UNSIGNED)
        assert "mysql position" not in findings(world.consumer("doctor", "--json"))
        assert "nothing changed" in world.setup("--repair")
    messages = world.messages()
    check_numbers(messages)
    assert sum(message.value["op"] != "h" for message in messages) == 7
    assert rechecks(world) == {}, "nobody had to be read live"


def kill_inside(world: ReaderWorld, reader: Process, count: int) -> None:
    """Ends a reader once more than so many messages of users are in Kafka, committed or not."""
    consumer = Consumer({"bootstrap.servers": world.bootstrap, "group.id": "watch"})
    lanes = [TopicPartition(f"{world.name}.users", lane) for lane in range(LANES)]

    def sent() -> int:
        return sum(consumer.get_watermark_offsets(lane, timeout=30)[1] for lane in lanes)

    try:
        reader.until(lambda: sent() >= count, f"{count} messages were sent", pause=0.0)
    finally:
        reader.kill()
        consumer.close()


def test_a_transaction_that_is_in_kafka_in_part_is_taken_up_again(world: ReaderWorld) -> None:
    count = 60_000
    world.setup()
    world.execute(*[f"INSERT INTO users (id) VALUES {','.join(f'({n})' for n in range(1, count + 1))}"])
    reader = world.reader(READER_BATCH_ROWS="200")
    kill_inside(world, reader, 1_000)
    sent = sum(message.value["op"] != "h" for message in world.messages())
    assert 0 < sent < count, "the transaction was through before the reader was killed"
    with psycopg.connect(world.postgres_url) as connection:  # as if an applier had begun
        connection.execute("UPDATE leadstream.lanes SET next_seq = 2")
    lose_checkpoints(world)
    assert "found the lost checkpoint again by transaction" in repair(world)
    messages = world.finish(world.reader(), count)
    check_numbers(messages)
    assert [
        m.value["transaction"]["total_order"]
        for m in sorted(
            (m for m in messages if m.value["op"] != "h"), key=lambda m: int(m.value["transaction"]["total_order"])
        )
    ] == list(range(1, count + 1))


def test_where_the_server_lost_the_place_too_the_reader_begins_at_the_present() -> None:
    with ensure(()).private_mysql() as server, ReaderWorld("mysql", server.url) as world, world.pipeline():
        world.execute("INSERT INTO users (id) VALUES (1), (2)")
        await_stints(world, 1, UNSIGNED)
        (reader,) = world.readers
        reader.stop()
        lose_checkpoints(world)
        world.execute(
            "UPDATE users SET current_signature_file_id = 'S' WHERE id = 1",
            "RESET BINARY LOGS AND GTIDS",
        )
        assert "every lead is queued to be read live" in repair(world)
        world.reader()
        read_live(world, 1, SIGNED)
        world.execute("UPDATE users SET current_signature_file_id = 'S' WHERE id = 2")
        await_stints(world, 2, SIGNED)


def test_from_now_begins_anew_though_the_checkpoint_is_there(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute("INSERT INTO users (id) VALUES (1), (2)")
        await_stints(world, 1, UNSIGNED)
        (reader,) = world.readers
        reader.stop()
        world.execute("UPDATE users SET current_signature_file_id = 'S' WHERE id = 1")
        refused = world.consumer("setup", "--repair", "--from", "earliest")
        assert refused.returncode == 2
        assert "at the present only" in refused.stderr
        assert "begins anew at the server's present" in world.setup("--repair", "--from", "now")
        world.reader()
        read_live(world, 1, SIGNED)
        world.execute("UPDATE users SET current_signature_file_id = 'S' WHERE id = 2")
        await_stints(world, 2, SIGNED)
    check_numbers(world.messages())
    assert set(rechecks(world)) == {None}


def test_rows_that_went_from_kafka_are_not_sent_again(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id) VALUES (1)",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            "UPDATE users SET current_signature_file_id = 'S' WHERE id = 1",
        )
        await_stints(world, 1, SIGNED)
        (reader,) = world.readers
        beaten = len(world.messages())
        until(lambda: len(world.messages()) >= beaten + 2 * LANES, "every lane had two heartbeats more")
        reader.stop()
        forget(world, "users")
        lose_checkpoints(world)
        assert "found the lost checkpoint again by the newest heartbeat" in repair(world)
        world.reader()
        world.execute("INSERT INTO users (id) VALUES (3)")
        await_stints(world, 3, UNSIGNED)
        await_stints(world, 1, SIGNED)
    assert [message.value["op"] for message in world.messages() if message.topic == "users"] == ["c"]


def forget(world: ReaderWorld, topic: str) -> None:
    """Deletes what a topic has, as a short retention does."""
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    for future in admin.delete_records(
        [TopicPartition(f"{world.name}.{topic}", lane, OFFSET_END) for lane in range(LANES)]
    ).values():
        future.result(30)


def test_what_is_prepared_at_the_lost_place_is_known_when_it_is_decided(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute("INSERT INTO users (id) VALUES (1)")
        xid = f"'{world.name}'"  # the server's other users have theirs
        world.execute(f"XA START {xid}", "INSERT INTO users (id) VALUES (2)", f"XA END {xid}", f"XA PREPARE {xid}")
        world.execute("INSERT INTO users (id) VALUES (3)")
        await_stints(world, 3, UNSIGNED)
        (reader,) = world.readers
        reader.stop()
        lose_checkpoints(world)
        assert "found the lost checkpoint again" in repair(world)
        world.execute(f"XA COMMIT {xid}")
        world.reader()
        await_stints(world, 2, UNSIGNED)
    check_numbers(world.messages())
    assert rechecks(world) == {}, "nobody had to be read live"


def test_an_event_that_was_skipped_in_that_file_is_passed_again(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id) VALUES (1)",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r1', 10, 'pending')",
        )
        await_stints(world, 1, UNSIGNED)
        (reader,) = world.readers
        world.execute(
            "ALTER TABLE claim_requirements RENAME COLUMN claim_id TO claim",
            "UPDATE claim_requirements SET status = 'approved'",
            "ALTER TABLE claim_requirements RENAME COLUMN claim TO claim_id",
        )
        assert reader.wait() == 1
        command = re.findall(r"consumer (read --skip-event \S+:\d+) ", reader.lines()[-1]["reason"])
        reader = world.reader(*command[0].split()[1:])
        world.execute("INSERT INTO users (id) VALUES (2)")
        await_stints(world, 2, UNSIGNED)
        reader.stop()
        lose_checkpoints(world)
        assert "found the lost checkpoint again" in repair(world)
        world.reader()
        world.execute("INSERT INTO users (id) VALUES (3)")
        await_stints(world, 3, UNSIGNED)


def test_where_kafka_lost_what_is_applied_the_reader_gives_no_number_twice(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute("INSERT INTO users (id) VALUES (1), (2)")
        await_stints(world, 1, UNSIGNED)
        await_stints(world, 2, UNSIGNED)
        (reader,) = world.readers
        reader.stop()
        with psycopg.connect(world.postgres_url) as connection:  # as if Kafka had ten messages of each lane less
            lanes = connection.execute("UPDATE leadstream.lanes SET next_seq = next_seq + 10 RETURNING lane, next_seq")
            ahead: dict[int, int] = dict(lanes.fetchall())
        until(lambda: "kafka set back" in findings(world.consumer("doctor", "--json")), "the doctor noticed")
        world.execute("UPDATE users SET current_signature_file_id = 'S' WHERE id = 2")
        assert "Kafka lost messages that are applied" in world.setup("--repair")
        assert "nothing changed" in world.setup("--repair")
        assert "kafka set back" not in findings(world.consumer("doctor", "--json"))
        next_seqs = dict(enumerate(world.checkpoints()[-1].next_seqs))
        assert next_seqs.keys() == ahead.keys()
        assert all(next_seqs[lane] > seq for lane, seq in ahead.items())
        world.reader()
        world.execute("INSERT INTO users (id) VALUES (3)")
        await_stints(world, 3, UNSIGNED)
        read_live(world, 2, SIGNED)
