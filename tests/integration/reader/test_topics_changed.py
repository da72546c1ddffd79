"""Topics that an administrator changed: told by name with the command that helps, and nothing is lost or doubled."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from consumer.lane import lane_of
from consumer.stream.topics import LANE_TOPICS
from tests.integration.doctor.conftest import findings
from tests.integration.reader.world import LANES, ReaderWorld
from tests.support.processes import Process
from tests.support.waiting import until

pytestmark = pytest.mark.servers

MORE = 6
CUSTOMERS = range(1, 31)


@pytest.fixture
def world() -> Iterator[ReaderWorld]:
    with ReaderWorld("mysql") as ready:
        yield ready


@contextmanager
def appliers(world: ReaderWorld, count: int, **more: str) -> Iterator[list[Process]]:
    """So many of `consumer apply`, ended with the block."""
    processes = [world.applier(**more) for _ in range(count)]
    yield processes
    for process in processes:
        process.stop()


def lines(processes: list[Process], event: str) -> list[dict[str, Any]]:
    """What appliers logged under one name."""
    return [line for process in processes for line in process.lines() if line["event"] == event]


def query(world: ReaderWorld, statement: str) -> list[tuple[Any, ...]]:
    """Rows of one statement at the call centre."""
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def add_partitions(world: ReaderWorld, count: int, *names: str) -> None:
    """Gives topics so many partitions, as an administrator does."""
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    for future in admin.create_partitions([NewPartitions(f"{world.name}.{name}", count) for name in names]).values():
        future.result(30)

    def done() -> bool:
        found = admin.list_topics(timeout=10).topics
        return all(len(found[f"{world.name}.{name}"].partitions) == count for name in names)

    until(done, f"there were {count} partitions")


def command_in(sentence: str) -> list[str]:
    """The first command of ours that a sentence names, without its first word."""
    found = re.search(r"`consumer ([^`]+)`", sentence)
    assert found is not None, sentence
    return shlex.split(found[1])


def register(world: ReaderWorld, numbers: range) -> None:
    """Customers who have yet to sign."""
    world.execute(*(f"INSERT INTO users (id) VALUES ({number})" for number in numbers))


def sign(world: ReaderWorld, numbers: range) -> None:
    """They sign, one after the other."""
    world.execute(*(f"UPDATE users SET current_signature_file_id = 'S{n}' WHERE id = {n}" for n in numbers))


def signed(world: ReaderWorld) -> list[int]:
    """Whose signatures are paid, each as often as it is."""
    return [user_id for (user_id,) in query(world, "SELECT user_id FROM conversions ORDER BY 1")]


def await_leads(world: ReaderWorld, count: int) -> None:
    """Waits until we hold so many leads."""
    until(lambda: query(world, "SELECT count(*) FROM leadstream.leads") == [(count,)], f"there were {count} leads")


def await_signed(world: ReaderWorld, count: int) -> None:
    """Waits until so many signatures are paid."""
    until(lambda: len(signed(world)) >= count, f"{count} signatures were paid", seen=lambda: signed(world))


def waiting(world: ReaderWorld) -> int:
    """Messages that `consumer status` shows waiting."""
    return int(json.loads(world.consumer("status", "--json").stdout)["waiting"])


def warned(world: ReaderWorld, **more: str) -> dict[str, dict[str, Any]]:
    """What the doctor finds of Kafka, but for what one broker cannot help, and a reader that was stopped long ago."""
    found = findings(world.consumer("doctor", "--json", **more))
    others = ("kafka replication", "kafka reader")
    return {name: check for name, check in found.items() if name.startswith("kafka") and name not in others}


def test_partitions_added_to_one_topic_are_told_and_the_named_command_makes_all_work(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader().wait_for("reader_connected")
    with appliers(world, 1):
        register(world, CUSTOMERS)
        await_leads(world, len(CUSTOMERS))
    reader.stop()
    add_partitions(world, MORE, "users")
    found = warned(world)["kafka partitions"]
    assert (found["state"], found["hint"]) == ("failed", "consumer setup --repair")
    assert f"{world.name}.users has {MORE} partitions" in found["sentence"]
    assert f"{world.name}.heartbeats have {LANES} partitions" in found["sentence"]
    said = ""
    for command in ("read", "apply", "setup"):
        result = world.consumer(command)
        said = result.stderr
        assert result.returncode == 1, command
        assert f"{world.name}.users has {MORE} partitions" in said
        assert "consumer setup --repair" in said
        assert "TOPIC_PREFIX" not in said
    repaired = world.setup(*command_in(said)[1:])
    for name in LANE_TOPICS[1:]:
        assert f"topic {world.name}.{name} has {MORE} partitions now" in repaired
    found = warned(world)
    assert found.keys() == {"kafka partitions"}
    assert found["kafka partitions"]["state"] == "warning"
    assert f"consumer setup --lanes {MORE}" in found["kafka partitions"]["hint"]
    assert "nothing changed" in world.setup("--repair")

    world.reader().wait_for("reader_connected")
    with appliers(world, 3) as processes:
        sign(world, CUSTOMERS)
        await_signed(world, len(CUSTOMERS))
        register(world, range(101, 111))
        await_leads(world, len(CUSTOMERS) + 10)
    assert signed(world) == list(CUSTOMERS)
    assert query(world, "SELECT lane FROM leadstream.lanes ORDER BY 1") == [(lane,) for lane in range(LANES)]
    assert query(world, "SELECT count(*) FROM leadstream.rechecks") == [(0,)]
    held = {lane for line in lines(processes, "lanes_assigned") for lane in line["lanes"]}
    assert held == set(range(LANES))
    assert not [line for event in ("numbers_lost", "dead_letter_added") for line in lines(processes, event)]


def test_partitions_added_to_every_topic_stop_nothing_and_lanes_can_be_raised_into_them(world: ReaderWorld) -> None:
    world.setup()
    add_partitions(world, MORE, *LANE_TOPICS)
    add_partitions(world, 3, "checkpoints")
    found = warned(world)
    assert {name: check["state"] for name, check in found.items()} == {
        "kafka partitions": "warning",
        "kafka single partition": "warning",
    }
    assert f"{world.name}.checkpoints has 3 partitions" in found["kafka single partition"]["sentence"]
    assert "nothing changed" in world.setup()
    more = {"LANES": str(MORE)}
    for command in ("read", "apply", "setup"):
        assert f"LANES={LANES}" in world.consumer(command, **more).stderr
    reader = world.reader().wait_for("reader_connected")
    with appliers(world, 1):
        register(world, CUSTOMERS)
        await_leads(world, len(CUSTOMERS))

    sign(world, CUSTOMERS)
    until(lambda: waiting(world) > 0, "messages waited")
    refused = world.consumer("setup", "--lanes", str(MORE))
    assert refused.returncode == 1
    assert "are not applied yet" in refused.stderr
    assert reader.poll() is None, "what was refused has ended the reader"
    reader.stop()
    with appliers(world, 1):
        await_signed(world, len(CUSTOMERS))
        until(lambda: waiting(world) == 0, "no message waited")
    assert f"raised the lanes from {LANES} to {MORE}, epoch 2" in world.setup("--lanes", str(MORE))
    world.reader(**more).wait_for("reader_connected")
    with appliers(world, 1, **more):
        register(world, range(101, 131))
        sign(world, range(101, 131))
        await_signed(world, len(CUSTOMERS) + 30)
    assert signed(world) == [*CUSTOMERS, *range(101, 131)]
    assert query(world, "SELECT user_id FROM leadstream.rechecks") == []
    assert warned(world, **more).keys() == {"kafka single partition"}


def test_partitions_added_while_appliers_run_end_them_with_the_command_or_leave_them_at_work(
    world: ReaderWorld,
) -> None:
    often = {"KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS": "500"}
    world.setup()
    world.reader().wait_for("reader_connected")
    with appliers(world, 2, **often) as processes:
        register(world, CUSTOMERS)
        await_leads(world, len(CUSTOMERS))
        until(lambda: query(world, "SELECT count(DISTINCT owner) FROM leadstream.lanes") == [(2,)], "both had lanes")
        add_partitions(world, MORE, "users")
        until(lambda: any(process.poll() is not None for process in processes), "an applier ended")
    (ended, *_) = lines(processes, "command_failed")
    assert ended["kind"] in ("NotCoPartitioned", "TopicMismatch")
    assert f"{world.name}.users has {MORE} partitions" in ended["reason"]
    world.setup(*command_in(ended["reason"])[1:])
    with appliers(world, 2, **often) as processes:
        sign(world, CUSTOMERS)
        await_signed(world, len(CUSTOMERS))
        add_partitions(world, MORE + 2, *LANE_TOPICS)
        assigned = len(lines(processes, "lanes_assigned"))
        until(lambda: len(lines(processes, "lanes_assigned")) > assigned, "lanes were assigned again")
        register(world, range(101, 131))
        sign(world, range(101, 131))
        await_signed(world, len(CUSTOMERS) + 30)
    assert signed(world) == [*CUSTOMERS, *range(101, 131)]
    assert query(world, "SELECT count(*) FROM leadstream.rechecks") == [(0,)]


def test_retention_lowered_while_appliers_are_away_loses_what_kafka_deleted_and_a_live_read_brings_it_back(
    world: ReaderWorld,
) -> None:
    world.setup()
    reader = world.reader().wait_for("reader_connected")
    with appliers(world, 1):
        world.transaction(
            "INSERT INTO users (id, current_signature_file_id) VALUES (1, 'S')",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r1', 10, 'pending')",
        )
        until(lambda: stints(world, 1) == ["requirements_outstanding"], "a document was outstanding")
    mate = next(n for n in range(2, 100) if lane_of(n, LANES) == lane_of(1, LANES))
    world.execute(
        "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r2', 10, 'pending')",
        "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r3', 10, 'pending')",
    )
    world.wait_for_rows(5)
    world.alter_topic("claim_requirements", "retention.ms", "60000")
    world.alter_topic("claim_requirements", "retention.bytes", "1048576")
    world.alter_topic("users", "max.message.bytes", "1048588")
    gone = TopicPartition(f"{world.name}.claim_requirements", lane_of(1, LANES), -1)  # -1: all there is
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    admin.delete_records([gone])[gone].result(30)
    world.execute("UPDATE claim_requirements SET status = 'approved' WHERE id = 'r1'")
    world.execute(f"INSERT INTO users (id) VALUES ({mate})")
    world.wait_for_rows(3)

    found = warned(world)["kafka retention"]
    assert found["state"] == "failed"
    assert f"{world.name}.claim_requirements has retention.ms=60000, retention.bytes=1048576" in found["sentence"]
    assert f"--entity-name {world.name}.claim_requirements --add-config retention.ms=604800000" in found["hint"]
    refused = world.consumer("setup")
    assert refused.returncode == 1
    assert f"topic {world.name}.claim_requirements has retention.ms=60000" in refused.stderr
    reader.stop()
    reader = world.reader().wait_for("reader_connected")
    (line,) = [line for line in reader.lines() if line["event"] == "topic_setting_lowered"]
    assert (line["level"], line["hint"]) == ("warning", "consumer setup --repair")
    assert f"{world.name}.claim_requirements has retention.ms=60000" in line["reason"]
    with appliers(world, 1) as processes:
        until(lambda: stints(world, mate), "a later customer of the lane was seen")
        said = [line["reason"] for line in lines(processes, "topic_setting_lowered")]
        assert any(f"{world.name}.claim_requirements has retention.ms=60000" in reason for reason in said)
        assert any(f"{world.name}.users has max.message.bytes=1048588" in reason for reason in said)
        assert sum(line["count"] for line in lines(processes, "numbers_lost")) == 2
        assert stints(world, 1) == ["requirements_outstanding"], "judged on what is left of a loss"
        assert query(world, "SELECT count(*) FROM conversions") == [(0,)]
        repaired = world.setup(*command_in(refused.stderr)[1:])
        assert f"topic {world.name}.claim_requirements has retention.ms=604800000 now" in repaired
        assert f"topic {world.name}.claim_requirements has retention.bytes=-1 now" in repaired
        assert f"topic {world.name}.users has max.message.bytes=16777216 now" in repaired
        assert warned(world) == {}
        until(lambda: read_live(world), "everybody was read live", within=250, pause=2.0)
        assert stints(world, 1) == ["requirements_outstanding"]
        world.execute("UPDATE claim_requirements SET status = 'approved'")
        until(lambda: stints(world, 1) == ["requirements_outstanding", "none"], "nothing was outstanding")
    assert query(world, "SELECT user_id, conversion_type FROM conversions") == [(1, "requirements_completed")]
    verified = world.reconciler("verify")
    assert verified.returncode == 0, verified.stdout


def stints(world: ReaderWorld, user_id: int) -> list[str]:
    """The queues that a customer was in."""
    found = query(world, f"SELECT queue_type FROM leadstream.stints WHERE user_id = {user_id} ORDER BY number")
    return [queue for (queue,) in found]


def read_live(world: ReaderWorld) -> bool:
    """Whether nobody waits to be read live any more; rows that changed within the last minute are read again later."""
    result = world.reconciler("run", "new-users")
    assert result.returncode == 0, result.stderr
    return query(world, "SELECT count(*) FROM leadstream.leads WHERE judge_after IS NOT NULL") == [(0,)]


def test_a_topic_that_takes_smaller_messages_ends_the_reader_with_the_command_that_repairs_it(
    world: ReaderWorld,
) -> None:
    world.setup()
    world.execute(
        "INSERT INTO users (id) VALUES (1)", "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')"
    )
    world.alter_topic("claim_requirements", "max.message.bytes", "300")
    found = findings(world.consumer("doctor", "--json"))["kafka retention"]
    assert "max.message.bytes=16777216" in found["hint"]
    reader = world.reader()
    world.execute("INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r1', 10, 'pending')")
    assert reader.wait() == 1
    failed = reader.lines()[-1]
    assert failed["kind"] == "TopicMismatch"
    command = re.findall(r"consumer (setup --repair) ", failed["reason"])
    assert "max.message.bytes=16777216" in world.setup(*command[0].split()[1:])
    messages = world.finish(world.reader(), 3)
    assert [message.topic for message in messages if message.value["op"] != "h"].count("claim_requirements") == 1
