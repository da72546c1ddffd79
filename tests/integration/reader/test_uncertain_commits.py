"""A commit of which Kafka says that there is nothing to commit, after it took long: the reader looks up what became of
it and goes on with another producer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.reader import reader
from consumer.reader.reader import Reader
from consumer.settings import KafkaSettings, ReaderSettings, ReplicaSettings, load
from consumer.stopping import Stop
from consumer.stream import producer
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import KafkaLost
from tests.integration.reader.world import ReaderWorld, check_numbers, replay
from tests.support.waiting import until

pytestmark = pytest.mark.servers

SECONDS = 60.0


@pytest.mark.parametrize("unanswered", [0, 2], ids=["looked up at once", "looked up in vain at first"])
@pytest.mark.parametrize("end", [Producer.commit_transaction, Producer.abort_transaction], ids=["done", "undone"])
def test_a_commit_whose_outcome_is_unknown_is_looked_up_and_nothing_is_lost_or_repeated(
    end: Callable[[Producer, float], None], unanswered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncertain = threading.Event()
    in_vain: list[str] = []

    class Forgetful(CheckpointLog):
        """Of which Kafka says nothing, as long as that is asked for."""

        def require(self) -> Checkpoint:
            if in_vain:
                raise KafkaLost(in_vain.pop())
            return super().require()

    class Unsure(Producer):
        """Real in all but one answer, which librdkafka calls fatal."""

        def commit_transaction(self, timeout: float = -1) -> None:
            if uncertain.is_set():
                in_vain.extend(["Kafka did not answer"] * unanswered)
                uncertain.clear()
                end(self, SECONDS)
                raise KafkaException(KafkaError(KafkaError.INVALID_TXN_STATE, "no such transaction", True))
            super().commit_transaction(timeout)

    with ReaderWorld("mysql") as world:
        world.setup()
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(producer, "Producer", Unsure)
        monkeypatch.setattr(reader, "CheckpointLog", Forgetful)
        stop = Stop()
        ours = Reader(load(ReplicaSettings), load(KafkaSettings), load(ReaderSettings), stop)
        thread = threading.Thread(target=ours.run, daemon=True)
        thread.start()
        try:
            world.execute("INSERT INTO users (id) VALUES (1), (2), (3)")
            world.wait_for_rows(3)
            uncertain.set()
            world.execute("INSERT INTO users (id) VALUES (4), (5), (6)", "DELETE FROM users WHERE id = 1")
            until(lambda: not uncertain.is_set() and not in_vain, "it was looked up")
            world.execute("INSERT INTO users (id) VALUES (7)")
            world.wait_for_rows(8)
        finally:
            stop.request()
            thread.join(SECONDS)
        assert not thread.is_alive()
        messages = world.messages()
        check_numbers(messages)
        assert sum(message.value["op"] != "h" for message in messages) == 8
        assert replay(messages)["users"] == world.rows("users")
