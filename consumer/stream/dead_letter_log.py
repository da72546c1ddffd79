"""The journal of dead letters, read as a whole: letters, less those that somebody has settled since.

A settlement is a message with the headers `settles` (`topic/partition/offset` of the letter), `digest` and `how`; one
without `digest`, as older releases wrote them, settles whatever lay in that place. What is settled stays as long as
changes do, then the journal is cut up to the oldest letter that is not.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Final, Self

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.settings import KafkaSettings
from consumer.stream.dead_letter_entries import Entry, entry_of, headers_of, letter_of
from consumer.stream.dead_letters import Letter
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.topics import DEAD_LETTERS, Topics

ANSWER_SECONDS: Final = 10.0

log: Final = structlog.get_logger()


class LetterBox:
    """A context manager. All methods raise KafkaLost, and TopicMismatch where the topic does not exist."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = Topics(settings.topic_prefix).name(DEAD_LETTERS)
        self._servers = settings.kafka_bootstrap_servers
        self._kept_ms = settings.topic_retention_hours * 3_600_000
        self._properties = {"log_level": "0", **settings.librdkafka}
        self._consumer = Consumer(
            {
                "queued.max.messages.kbytes": "16384",
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
        return self._ends()[1]

    def letters(self) -> dict[int, Entry]:
        """Letters that nobody has settled, by their number, oldest first."""
        return self._read()[0]

    def original(self, number: int) -> Letter:
        """A letter of `letters` with its bytes."""
        message = next(self._messages(number), None)
        letter = None if message is None or message.offset() != number else letter_of(message, headers_of(message))
        if letter is None:
            raise KafkaLost(f"letter {number} is no longer in {self._topic}; see `consumer dead-letters list`")
        return letter

    def settle(self, entries: Collection[Entry], how: str) -> None:
        """Notes that nothing is left to be done about these."""
        producer = Producer({**self._properties, "enable.idempotence": "true"})
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        for entry in entries:
            headers: list[tuple[str, str | bytes | None]] = [
                ("settles", entry.place), ("digest", entry.digest), ("how", how)
            ]  # fmt: skip
            while not self._noted(producer, headers, delivered):
                if not producer.poll(ANSWER_SECONDS):
                    raise self._not_taken("no answer")
        while unanswered := len(producer):
            if producer.flush(ANSWER_SECONDS) == unanswered:
                raise self._not_taken("no answer")
        if failures:
            raise self._not_taken(failures[0].str())
        if entries:
            self._cut()

    def _noted(self, producer: Producer, headers: list[tuple[str, str | bytes | None]], delivered: object) -> bool:
        try:
            producer.produce(self._topic, partition=0, headers=headers, on_delivery=delivered)  # type: ignore[arg-type]
        except BufferError:
            return False
        return True

    def _not_taken(self, reason: str) -> KafkaLost:
        return KafkaLost(f"Kafka at {self._servers} did not take a note for {self._topic} ({reason}); try again")

    def _cut(self) -> None:
        """Drops what is settled and old, where we have the right to."""
        open_letters, young = self._read()
        first = min([young, *open_letters])
        if first <= self._ends()[0]:
            return
        admin = AdminClient({**self._properties})
        there = TopicPartition(self._topic, 0, first)
        try:
            admin.delete_records([there], request_timeout=ANSWER_SECONDS)[there].result()
        except KafkaException as error:
            hint = f"where Kafka has ACLs, allow us Delete on {self._topic}"
            log.warning("resolved_letters_not_deleted", reason=error.args[0].str(), hint=hint)

    def _read(self) -> tuple[dict[int, Entry], int]:
        """Letters that nobody has settled, and the offset of the first message younger than changes are kept."""
        found: dict[str, dict[str, Entry]] = {}
        oldest = time.time() * 1000 - self._kept_ms
        young, after = None, 0
        for message in self._messages(0):
            headers = headers_of(message)
            offset: int = message.offset()  # type: ignore[assignment]
            after = offset + 1
            if young is None and message.timestamp()[1] >= oldest:
                young = offset
            if "settles" in headers:
                here = found.get(headers["settles"], {})
                for digest in [headers["digest"]] if "digest" in headers else list(here):
                    here.pop(digest, None)
            elif (letter := letter_of(message, headers)) is not None:
                entry = entry_of(offset, letter)
                found.setdefault(entry.place, {}).setdefault(entry.digest, entry)
        letters = sorted(entry for here in found.values() for entry in here.values())
        return {entry.number: entry for entry in letters}, after if young is None else young

    def _ends(self) -> tuple[int, int]:
        try:
            return self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=ANSWER_SECONDS)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            raise KafkaLost(f"Kafka at {self._servers} did not give us {self._topic} ({reason.str()})") from error

    def _messages(self, start: int) -> Iterator[Message]:
        self._consumer.assign([TopicPartition(self._topic, 0, start)])
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
