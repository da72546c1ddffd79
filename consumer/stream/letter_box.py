"""The journal of dead letters, read as a whole: letters, less those that somebody has settled since.

A settlement is a message with the headers `settles` (`topic/partition/offset` of the letter) and `how`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from consumer.settings import KafkaSettings
from consumer.stream.dead_letters import Letter
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.topics import DEAD_LETTERS, Topics

ANSWER_SECONDS: Final = 10.0


class LetterBox:
    """A context manager. All methods raise KafkaLost, and TopicMismatch where the topic does not exist."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = Topics(settings.topic_prefix).name(DEAD_LETTERS)
        self._servers = settings.kafka_bootstrap_servers
        self._properties = {"log_level": "0", **settings.librdkafka}
        self._consumer = Consumer(
            {
                **self._properties,
                "group.id": f"{settings.topic_prefix}.dead-letters",
                "enable.auto.commit": "false",
                "enable.partition.eof": "true",
                "auto.offset.reset": "earliest",
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._consumer.close()

    def end(self) -> int:
        """The offset after the journal's last message: as long as it stays, so do the letters."""
        try:
            return self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=ANSWER_SECONDS)[1]
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            raise KafkaLost(f"Kafka at {self._servers} did not give us {self._topic} ({reason.str()})") from error

    def letters(self) -> dict[int, Letter]:
        """Letters that nobody has settled, by their number: the offset in the journal, oldest first."""
        found: dict[str, tuple[int, Letter]] = {}
        for message in self._messages():
            headers = _headers(message)
            if "settles" in headers:
                found.pop(headers["settles"], None)
            elif headers.keys() >= {"reason", "topic", "partition", "offset"}:
                letter = Letter(
                    headers["topic"],
                    int(headers["partition"]),
                    int(headers["offset"]),
                    message.key(),
                    message.value(),
                    headers["reason"],
                    headers.get("detail", ""),
                )
                found.setdefault(place(letter), (message.offset() or 0, letter))
        return dict(found.values())

    def settle(self, letters: Iterable[Letter], how: str) -> None:
        """Notes that nothing is left to be done about these."""
        producer = Producer({**self._properties, "enable.idempotence": "true"})
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        for letter in letters:
            headers: list[tuple[str, str | bytes | None]] = [("settles", place(letter)), ("how", how)]
            producer.produce(self._topic, headers=headers, on_delivery=delivered)
        unanswered = producer.flush(ANSWER_SECONDS)
        if unanswered or failures:
            reason = failures[0].str() if failures else "no answer"
            raise KafkaLost(f"Kafka at {self._servers} did not take a note for {self._topic} ({reason}); try again")

    def _messages(self) -> Iterable[Message]:
        self._consumer.assign([TopicPartition(self._topic, 0, 0)])
        while True:
            message = self._consumer.poll(ANSWER_SECONDS)
            if message is None:
                raise KafkaLost(
                    f"Kafka at {self._servers} did not answer within {ANSWER_SECONDS:.0f} s ({self._topic})"
                )
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicMismatch(f"topic {self._topic} does not exist; run `consumer setup`")
            elif error.fatal() or not error.retriable():
                raise KafkaLost(f"Kafka at {self._servers} did not give us {self._topic} ({error.str()})") from (
                    KafkaException(error)
                )


def place(letter: Letter) -> str:
    """Where a letter's message lies: what tells letters apart."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def _headers(message: Message) -> dict[str, str]:
    pairs: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    return {name: (value or b"").decode(errors="replace") for name, value in pairs}
