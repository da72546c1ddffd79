"""A commit of which Kafka says that there is nothing to commit, after it took long: the reader looks up what became of
it and goes on with another producer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.reader.reader import Reader
from consumer.settings import KafkaSettings, ReaderSettings, ReplicaSettings, load
from consumer.stopping import Stop
from consumer.stream import producer
from tests.integration.reader.world import World, check_numbers, replay

pytestmark = pytest.mark.servers

SECONDS = 60.0


@pytest.mark.parametrize("end", [Producer.commit_transaction, Producer.abort_transaction], ids=["done", "undone"])
def test_a_commit_whose_outcome_is_unknown_is_looked_up_and_nothing_is_lost_or_repeated(
    end: Callable[[Producer, float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    uncertain = threading.Event()

    class Unsure(Producer):
        """Real in all but one answer, which librdkafka calls fatal."""

        def commit_transaction(self, timeout: float = -1) -> None:
            if uncertain.is_set():
                uncertain.clear()
                end(self, SECONDS)
                raise KafkaException(KafkaError(KafkaError.INVALID_TXN_STATE, "no such transaction", True))
            super().commit_transaction(timeout)

    with World("mysql") as world:
        world.setup()
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(producer, "Producer", Unsure)
        stop = Stop()
        reader = Reader(load(ReplicaSettings), load(KafkaSettings), load(ReaderSettings), stop)
        thread = threading.Thread(target=reader.run, daemon=True)
        thread.start()
        try:
            world.execute("INSERT INTO users (id) VALUES (1), (2), (3)")
            world.wait_for_rows(3)
            uncertain.set()
            world.execute("INSERT INTO users (id) VALUES (4), (5), (6)", "DELETE FROM users WHERE id = 1")
            world.wait_for_rows(7)
        finally:
            stop.request()
            thread.join(SECONDS)
        assert not thread.is_alive()
        assert not uncertain.is_set()
        messages = world.messages()
        check_numbers(messages)
        assert sum(message.value["op"] != "h" for message in messages) == 7
        assert replay(messages)["users"] == world.rows("users")
