"""Events for others, written to a topic of theirs: an idempotent producer that waits until Kafka has them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.settings import KafkaSettings
from consumer.stream.errors import KafkaLost, KafkaRefused, TopicMismatch
from consumer.stream.trouble import Trouble

ANSWER_SECONDS: Final = 30.0
"""How long Kafka may take for what was sent together."""
OURS: Final = {
    "enable.idempotence": "true",
    "acks": "all",
    "partitioner": "consistent",  # a customer's lane, so to speak: the same partition for ever
    "linger.ms": "5",
    "log_level": "0",
}
CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"


class Event(NamedTuple):
    """A message: whom it is about, and what happened, as CloudEvents has it."""

    key: str
    value: bytes


class EventProducer(AbstractContextManager["EventProducer"]):
    """A context manager for one thread and one topic. After an error it is of no more use."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        """Asks for the topic, which setup has made: a broker may make one of its own at the first message.

        Raises TopicMismatch, KafkaLost, KafkaRefused.
        """
        self._servers = settings.kafka_bootstrap_servers
        self._topic = topic
        self._trouble = Trouble()
        properties: dict[str, Any] = {
            **settings.librdkafka, **OURS, "message.timeout.ms": str(round(ANSWER_SECONDS * 1000)),
            "error_cb": self._trouble,
        }  # fmt: skip
        try:
            self._producer = Producer(properties)
            topics = self._producer.list_topics(timeout=ANSWER_SECONDS / 3).topics
        except KafkaException as error:
            raise self._lost(error) from error
        if topic not in topics:
            raise TopicMismatch(
                f"there is no topic {topic} on {self._servers}, or we may not see it; run `consumer setup` with"
                " PUBLISH_CONVERSIONS=true, then `consumer doctor`"
            )

    def __exit__(self, *_: object) -> None:
        self._producer.purge()
        self._producer.flush(1.0)

    def send(self, events: Sequence[Event]) -> None:
        """Returns when Kafka has all of them; in whatever order. Raises KafkaLost, KafkaRefused: some may be there."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        try:
            for event in events:
                self._producer.produce(
                    self._topic, event.value, event.key, headers={"content-type": CONTENT_TYPE}, on_delivery=delivered
                )
            left = self._producer.flush(ANSWER_SECONDS + 1)
        except KafkaException as error:
            raise self._lost(error) from error
        except BufferError as error:
            raise KafkaLost(f"Kafka at {self._servers} takes no more messages for {self._topic}") from error
        if failures:
            raise self._lost(KafkaException(failures[0]))
        if left:
            raise KafkaLost(f"Kafka at {self._servers} did not take messages for {self._topic} in {ANSWER_SECONDS:g} s")

    def _lost(self, error: KafkaException) -> KafkaLost | KafkaRefused:
        return self._trouble.lost(self._servers, f"take messages for {self._topic}", error)
