"""The two producers of a reader that take turns: whoever took over has both of them, or commits nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from threading import Event

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.audit.messages import Misplaced, Stream
from consumer.settings import KafkaSettings, load
from consumer.stream import producer
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import ReaderFenced
from consumer.stream.producer import ReaderTransactions
from tests.integration.reader.world import ReaderWorld
from tests.support.waiting import until

pytestmark = pytest.mark.servers

SECONDS = 60.0


@pytest.fixture
def world() -> Iterator[ReaderWorld]:
    with ReaderWorld("mysql") as made:
        made.setup()
        yield made


@pytest.fixture
def kafka(world: ReaderWorld, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    return load(KafkaSettings)


def last(kafka: KafkaSettings) -> Checkpoint:
    with CheckpointLog(kafka) as log:
        return log.require()


def committed_once(transactions: ReaderTransactions, reached: Checkpoint) -> None:
    transactions.ready()
    transactions.commit(reached)
    transactions.await_commit()


def never() -> bool:
    return False


def test_of_two_that_take_over_at_once_one_goes_on(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has fenced one id when the second fences both, and then it fences the other."""
    made: list[Producer] = []
    second_waits, second_may_go = Event(), Event()

    class Held(Producer):
        """Real, and the second one that is made waits before it fences."""

        def __init__(self, properties: dict[str, object]) -> None:
            super().__init__(properties)
            made.append(self)

        def init_transactions(self, timeout: float = -1) -> None:
            if self is made[1]:
                second_waits.set()
                assert second_may_go.wait(SECONDS)
            super().init_transactions(SECONDS)

    monkeypatch.setattr(producer, "Producer", Held)
    start = last(kafka)
    with closing(ReaderTransactions(kafka, never)) as one, closing(ReaderTransactions(kafka, never)) as other:
        thread = threading.Thread(target=one.take_over, daemon=True)
        thread.start()
        assert second_waits.wait(SECONDS)
        other.take_over()
        second_may_go.set()
        thread.join(SECONDS)
        with pytest.raises(ReaderFenced):
            committed_once(one, start)
        committed_once(other, start)
        with pytest.raises(ReaderFenced):
            committed_once(other, start)
        assert other.broken  # nobody else wrote anything, so it takes over once more
        other.renew()
        other.take_over()
        for _ in range(3):
            committed_once(other, start)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_is_open_at_either_turn_is_undone_by_who_takes_over(
    kafka: KafkaSettings, world: ReaderWorld, before: int
) -> None:
    start = last(kafka)
    with closing(ReaderTransactions(kafka, never)) as old, closing(ReaderTransactions(kafka, never)) as new:
        old.take_over()
        for _ in range(before):
            committed_once(old, start)
        old.ready()
        old.send(f"{world.name}.users", b"{}", b"1", 0)
        new.take_over()
        with pytest.raises(ReaderFenced):
            committed_once(old, start)
        for _ in range(2):
            committed_once(new, start)
        assert world.messages() == []


def test_an_audit_waits_for_what_is_not_decided_when_it_begins(kafka: KafkaSettings, world: ReaderWorld) -> None:
    """Its transaction may be one that a checkpoint has passed: a commit reaches one partition after the other."""
    start = last(kafka)
    with closing(ReaderTransactions(kafka, never)) as reader:
        reader.take_over()
        reader.ready()
        reader.send(f"{world.name}.users", b"{}", b"1", 0)
        users = TopicPartition(f"{world.name}.users", 0)
        uncommitted = {"bootstrap.servers": world.bootstrap, "group.id": "ends", "isolation.level": "read_uncommitted"}
        with closing(Consumer(uncommitted)) as consumer:
            until(lambda: consumer.get_watermark_offsets(users, timeout=20)[1] == 1, "the message lies in Kafka")
        with closing(Stream(kafka, start.epoch, start.database)) as stream:
            committing = threading.Timer(2.0, committed_once, (reader, start))
            committing.start()
            found = list(stream.rows(0))
            committing.join()
    assert [one.where for one in found if isinstance(one, Misplaced)] == ["users[0] offset 0"]
