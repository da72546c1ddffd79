"""Kills the reader at random moments and compares what lies in Kafka with the binlog, change by change.

By hand, for hundreds: `python -m tests.integration.reader.kills --kills 300`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from contextlib import closing
from itertools import pairwise
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from consumer.binlog.stream import BinlogStream
from consumer.mysql.session import Replica
from consumer.reader.claim_owners import Answer, ClaimOwners
from consumer.reader.reader import position
from consumer.reader.router import Router
from consumer.reader.sequencer import Sequencer
from consumer.settings import MySQLAddress
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.envelope import EnvelopeWriter
from tests.integration.reader.load import Load
from tests.integration.reader.world import LANES, Message, ReaderWorld, check_numbers, replay
from tests.support.processes import Process

READING = 0.85
"""How many of the kills are to meet a reader that has committed something; the others one that starts."""

Change = tuple[str, str, Any, Any]
"""Table, operation, and the row before and after."""


class Trial(NamedTuple):
    """What a trial came to; `advanced` are the kills before which the reader had committed something."""

    kills: int
    rows: int
    advanced: int


def kill_again_and_again(world: ReaderWorld, kills: int, seed: int, minutes: float = 60) -> Trial:
    """Kills under load, mostly within a second of reading, sometimes while it starts, and then compares.

    After so many minutes it kills no more.
    """
    ends = time.monotonic() + 60 * minutes
    dice = random.Random(seed)
    world.setup()
    start = world.checkpoints()[-1]
    load = Load(world, seed, sizes=(1, 1, 1, 2, 5, 60), pause_seconds=0.02)
    load.start()
    reached = [start]
    committed = Committed(world)
    try:
        while len(reached) <= kills and time.monotonic() < ends:
            reader = world.reader(READER_BATCH_ROWS="20")
            if dice.random() < READING:
                committed.wait_for_more(reader)  # however long that takes on a crowded machine
            time.sleep(dice.uniform(0, 1))
            reader.kill()
            reached.append(world.checkpoints()[-1])
    finally:
        load.end()
    compare(world, start, wait_for_end(world))
    messages = world.messages()
    advanced = sum(before != after for before, after in pairwise(reached))
    return Trial(len(reached) - 1, sum(message.value["op"] != "h" for message in messages), advanced)


class Committed:
    """How far the checkpoints reach."""

    def __init__(self, world: ReaderWorld) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": world.bootstrap, "group.id": "kills", "isolation.level": "read_committed"}
        )
        self._topic = TopicPartition(f"{world.name}.checkpoints", 0)

    def wait_for_more(self, reader: Process) -> None:
        """Until a checkpoint has been committed since the call."""
        end = self._end() + 1  # what a dead reader left open may be aborted in the meantime
        reader.until(lambda: self._end() > end, "something was committed")

    def _end(self) -> int:
        return int(self._consumer.get_watermark_offsets(self._topic, timeout=20)[1])


def wait_for_end(world: ReaderWorld) -> tuple[str, int]:
    """Lets a last reader come to where the binlog ends now, and returns where that is."""
    with closing(Replica(MySQLAddress(world.mysql_url))) as replica:
        end, server = replica.binlog_position(), replica.server()
    reader = world.reader().wait_for("reader_connected")

    def reached() -> bool:
        newest = world.checkpoints()[-1]
        return newest.server == server and (newest.file, newest.pos) >= end

    reader.until(reached, f"checkpoints reached {end}")
    assert reader.stop() == 0, reader.lines()
    return end


def compare(world: ReaderWorld, start: Checkpoint, end: tuple[str, int]) -> None:
    """Every change of the binlog is in Kafka once, the numbers have no gap, and the checkpoint says what there is."""
    messages = world.messages()
    check_numbers(messages)
    found = by_place(messages)
    expected = logged(world, start, end)
    assert found.keys() == expected.keys()
    assert found == expected
    for table, rows in replay(messages).items():
        assert rows == world.rows(table)
    newest = world.checkpoints()[-1]
    ends = [max((m.value["lane"]["seq"] for m in messages if m.lane == lane), default=0) for lane in range(LANES)]
    assert newest.next_seqs == [seq + 1 for seq in ends]
    assert newest.version == max(message.value["lane"]["version"] for message in messages)
    assert not newest.rows


def by_place(messages: list[Message]) -> dict[tuple[str, int], Change]:
    """Changes by transaction and their number in it. Fails where one lies there twice."""
    changes: dict[tuple[str, int], Change] = {}
    for message in messages:
        value = message.value
        if value["op"] != "h":
            place = (value["transaction"]["id"], value["transaction"]["total_order"])
            assert place not in changes, f"{place} was sent twice"
            changes[place] = (message.topic, value["op"], value["before"], value["after"])
    return changes


def logged(world: ReaderWorld, start: Checkpoint, end: tuple[str, int]) -> dict[tuple[str, int], Change]:
    """The same, straight from the binlog in one undisturbed go."""
    prefix, sent = "undisturbed", []
    sequencer = Sequencer(
        start,
        f"{prefix}.{{}}".format,
        EnvelopeWriter(prefix, start.flavor, world.name, start.epoch),
        lambda topic, value, key, lane: sent.append(
            Message(topic.removeprefix(f"{prefix}."), lane, str(key), json.loads(value))
        ),
    )
    router = Router(sequencer, ClaimOwners(1_000, lambda _: Answer({}, (0, 0))), lambda _: None)
    stream = BinlogStream(MySQLAddress(world.mysql_url), world.name, position(start), random.getrandbits(30), 0.2, 20)
    with closing(stream):
        stream.connect()
        while (stream.file, stream.pos) < end:
            router.feed(stream.read())
    return by_place(sent)


def main() -> None:
    """One long trial on the shared servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.getrandbits(30))
    parser.add_argument("--flavor", choices=["mysql", "mariadb"], default="mysql")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with ReaderWorld(options.flavor) as world:
        print(kill_again_and_again(world, options.kills, options.seed, options.minutes))


if __name__ == "__main__":
    main()
