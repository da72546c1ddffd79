"""Messages that no applier can apply: kept as they came, with the reason and the place, in a topic of their own.

The topic is a journal: a letter is a message with the original key and value and the headers `reason`, `detail`,
`topic`, `partition` and `offset`. An applier that dies before its batch is committed meets the message again and writes
the same letter again, so a letter is told by its place.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, Message, Producer

from consumer.settings import KafkaSettings
from consumer.stream.topics import DEAD_LETTERS, MAX_MESSAGE_BYTES, Topics

ANSWER_SECONDS: Final = 1.0
KEPT_BYTES: Final = 1024 * 1024
"""What is kept of a value that is too large for the topic with its headers."""

log: Final = structlog.get_logger()


class Defect(StrEnum):
    """Why a message cannot be applied."""

    UNDECODABLE = "undecodable"
    OTHER_EPOCH = "other_epoch"
    REPEATED_NUMBER = "repeated_number"


class Letter(NamedTuple):
    """A message set aside: `key` and `value` as they came, where it lies, and what is wrong with it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str

    @property
    def headers(self) -> list[tuple[str, str | bytes | None]]:
        """As Kafka carries them."""
        return [
            ("reason", self.reason.encode()),
            ("detail", self.detail.encode()),
            ("topic", self.topic.encode()),
            ("partition", b"%d" % self.partition),
            ("offset", b"%d" % self.offset),
        ]


class DeadLetters:
    """Writes letters; `settle` returns when all of them are safe in Kafka."""

    def __init__(self, settings: KafkaSettings, stopping: Callable[[], bool]) -> None:
        """`stopping` says that waiting for Kafka is no longer worth while."""
        self._topic = Topics(settings.topic_prefix).name(DEAD_LETTERS)
        self._stopping = stopping
        self._properties = {
            "message.max.bytes": str(MAX_MESSAGE_BYTES),
            "log_level": "3",
            **settings.librdkafka,
            "enable.idempotence": "true",
        }
        self._producer: Producer | None = None
        self._unsent: list[Letter] = []

    def put(self, letter: Letter) -> None:
        """Sends a letter, and says so in the log."""
        log.error(
            "dead letter",
            reason=letter.reason,
            detail=letter.detail,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            mend="see `consumer dead-letters`",
        )
        self._unsent.append(letter)

    def settle(self) -> bool:
        """Waits until every letter is in Kafka; False where the process is to stop before that."""
        if not self._unsent:
            return True
        producer = self._producer = self._producer or Producer(self._properties)
        while self._unsent and not self._stopping():
            sending, self._unsent = self._unsent, []
            for letter in sending:
                self._send(producer, letter)
            while producer.flush(ANSWER_SECONDS) and not self._stopping():
                log.warning("waiting for kafka", what="dead letters")
        return not self._unsent and not len(producer)

    def _send(self, producer: Producer, letter: Letter) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                return
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._unsent.append(_shortened(letter))
            else:
                log.warning("dead letter not written", reason=error.str(), offset=letter.offset)
                self._unsent.append(letter)

        try:
            producer.produce(self._topic, letter.value, letter.key, headers=letter.headers, on_delivery=delivered)
        except BufferError:
            self._unsent.append(letter)


def _shortened(letter: Letter) -> Letter:
    value = letter.value or b""
    detail = f"{letter.detail}; of {len(value)} bytes the first {KEPT_BYTES} are kept"
    return letter._replace(value=value[:KEPT_BYTES], detail=detail)
