"""More lanes for a stream in use: drained, stopped, `consumer setup --lanes`, and reader and applier started again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from consumer.commands import raise_lanes as raise_lanes_command
from consumer.commands.raise_lanes import raise_lanes
from consumer.commands.status import status
from consumer.lane import lane_of
from consumer.leads.model import NEVER
from consumer.reader.reader import Reader
from consumer.settings import DatabaseSettings, KafkaSettings, ReaderSettings, ReplicaSettings, load
from consumer.stopping import Stop
from consumer.store.schema.raise_lanes import NotDrained
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.errors import CheckpointUnreadable, TopicMismatch
from consumer.stream.producer import ReaderTransactions
from tests.integration.reader.world import LANES, ReaderWorld
from tests.support.processes import Process
from tests.support.waiting import until

pytestmark = pytest.mark.servers

MORE = 7
CUSTOMERS = range(1, 61)


def query(world: ReaderWorld, statement: str) -> list[tuple[Any, ...]]:
    """Rows of one statement at the call centre."""
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def settings(world: ReaderWorld, lanes: int) -> tuple[KafkaSettings, DatabaseSettings]:
    """What a process with this LANES would load."""
    kafka = KafkaSettings(kafka_bootstrap_servers=world.bootstrap, topic_prefix=world.name, lanes=lanes)
    return kafka, DatabaseSettings(database_url=SecretStr(world.postgres_url))


def waiting(world: ReaderWorld, lanes: int) -> int:
    """Messages that `consumer status` shows waiting."""
    return status(*settings(world, lanes)).waiting or 0


@contextmanager
def applier(world: ReaderWorld, lanes: int) -> Iterator[Process]:
    """`consumer apply`, ended with the block as an operator ends it."""
    process = world.applier(LANES=str(lanes))
    yield process
    process.check()
    process.stop()


def refused(world: ReaderWorld, *arguments: str, lanes: int) -> str:
    """What a command says that ends with 1."""
    said = world.consumer(*arguments, LANES=str(lanes))
    assert said.returncode == 1, said.stdout + said.stderr
    return said.stderr


def test_lanes_are_raised_once_the_stream_is_drained_and_nothing_is_lost_or_repeated() -> None:
    with ReaderWorld("mysql") as world:
        world.setup()
        reader = world.reader().wait_for("reader_connected")
        world.execute(*(f"INSERT INTO users (id) VALUES ({number})" for number in CUSTOMERS))

        def known() -> bool:
            return query(world, "SELECT count(*) FROM leadstream.leads") == [(len(CUSTOMERS),)]

        with applier(world, LANES) as first:
            until(known, "all were known")
            reader.stop()
            until(lambda: waiting(world, LANES) == 0, "no message waited")
            with pytest.raises(NotDrained, match="is still connected"):
                raise_lanes(*settings(world, MORE))

        reader = world.reader().wait_for("reader_connected")
        world.execute("INSERT INTO claims (id, user_id, status) VALUES (1, 1, 'open')")
        until(lambda: waiting(world, LANES) > 0, "a message waited")
        with pytest.raises(NotDrained, match="not applied yet"):
            raise_lanes(*settings(world, MORE))
        assert reader.poll() is None, "what was refused has ended the reader"
        with pytest.raises(TopicMismatch, match="cannot lose partitions"):
            raise_lanes(*settings(world, LANES - 1))
        reader.stop()
        with applier(world, LANES) as second:
            until(lambda: waiting(world, LANES) == 0, "no message waited")

        shown = "user_id, lane, queue_type, until_version"
        query(
            world, f"INSERT INTO leadstream.shown ({shown}) SELECT user_id, lane, 'none', {NEVER} FROM leadstream.leads"
        )
        done = world.setup("--lanes", str(MORE))
        moved = query(world, "DELETE FROM leadstream.shown RETURNING user_id, lane")
        assert sorted(moved) == [(user_id, lane_of(user_id, MORE)) for user_id in CUSTOMERS], "history is shown by it"
        assert f"raised the lanes from {LANES} to {MORE}, epoch 2; start everything with LANES={MORE}" in done
        assert raise_lanes(*settings(world, MORE)) == []
        for command in ("read", "apply"):
            assert f"LANES={MORE}" in refused(world, command, lanes=LANES)

        world.reader(LANES=str(MORE)).wait_for("reader_connected")
        world.execute(*(f"UPDATE users SET current_signature_file_id = {n} WHERE id = {n}" for n in CUSTOMERS))
        world.execute("INSERT INTO users (id) VALUES (1001), (1002), (1003)")
        with applier(world, MORE) as last:
            until(lambda: query(world, "SELECT count(*) FROM conversions") == [(len(CUSTOMERS),)], "all had signed")
            until(
                lambda: query(world, "SELECT count(*) FROM leadstream.leads") == [(len(CUSTOMERS) + 3,)],
                "the new were known",
            )
        leads = query(world, "SELECT user_id, lane, judge_after FROM leadstream.leads")
        assert leads == [(user_id, lane_of(user_id, MORE), None) for user_id, _, _ in leads]
        assert query(world, "SELECT DISTINCT epoch, count(*) FROM leadstream.lanes GROUP BY 1") == [(2, MORE)]
        assert query(world, "SELECT count(DISTINCT user_id), max(number) FROM leadstream.stints") == [
            (len(CUSTOMERS) + 3, 2)
        ]
        assert query(world, "SELECT count(*) FROM leadstream.rechecks") == [(0,)]
        assert not {"numbers_lost", "dead_letter_added", "lane_taken"} & {
            line["event"] for process in (first, second, last) for line in process.lines()
        }


def test_a_raising_that_was_cut_off_is_finished_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = ReaderTransactions.commit

    def cut_off(*_: object) -> int:
        raise OSError("cut off")

    def cut_off_at_the_end(transactions: ReaderTransactions, reached: Checkpoint) -> None:
        if reached.epoch > 1:
            cut_off()
        commit(transactions, reached)

    with ReaderWorld("mysql") as world:
        world.setup()
        kafka, database = settings(world, MORE)
        with monkeypatch.context() as cut:
            cut.setattr(raise_lanes_command, "relane", cut_off)
            with pytest.raises(OSError, match="cut off"):
                raise_lanes(kafka, database)
        for lanes in (LANES, MORE):
            assert f"consumer setup --lanes {MORE}" in refused(world, "read", lanes=lanes)
        with monkeypatch.context() as unexamined:  # as where Kafka is too slow to be examined before the start
            for name, value in world.environment().items():
                unexamined.setenv(name, value)
            reader = Reader(load(ReplicaSettings), load(KafkaSettings), load(ReaderSettings), Stop())
        with pytest.raises(CheckpointUnreadable, match=f"run `consumer setup --lanes {MORE}` again"):
            reader.run()
        with pytest.raises(TopicMismatch, match=f"run `consumer setup --lanes {MORE}` first"):
            raise_lanes(*settings(world, MORE + 1))
        with monkeypatch.context() as cut:
            cut.setattr(ReaderTransactions, "commit", cut_off_at_the_end)
            with pytest.raises(OSError, match="cut off"):
                raise_lanes(kafka, database)
        assert query(world, "SELECT DISTINCT epoch FROM leadstream.lanes") == [(2,)]
        assert raise_lanes(kafka, database)
        assert raise_lanes(kafka, database) == []
        assert [len(world.checkpoints()[-1].next_seqs), world.checkpoints()[-1].epoch] == [MORE, 2]
