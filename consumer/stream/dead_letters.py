"""Messages that no applier can apply: kept as they came, with the reason and the place, in a topic of their own.

The topic is a journal: a letter is a message with the original key and value and the headers `reason`, `detail`,
`topic`, `partition` and `offset`. An applier that dies before its batch is committed meets the message again and writes
the same letter again, so a letter is told by its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.settings import KafkaSettings
from consumer.stream.envelope import lane_block
from consumer.stream.errors import KafkaLost, LettersRefused
from consumer.stream.topics import DEAD_LETTERS, HEARTBEATS, Topics

MOST_DIGITS: Final = 18
"""Of a key that is a user id and fits a bigint for sure."""
ANSWER_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 240.0
"""How long Kafka may refuse letters before we give up: less than max.poll.interval.ms, when the lanes would be lost."""
FIRST_PAUSE_SECONDS: Final = 0.05
KEPT_BYTES: Final = 1024 * 1024
"""What is kept at the most of a message that is too large for the topic: one that was compressed, or whose topic takes
larger messages than ours."""
MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
HOPELESS: Final = MISSING | {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
}
"""What trying again does not get over."""

_DEFAULTS: Final = {
    "client.id": "leadstream-dead-letters",
    "message.max.bytes": "1000000000",  # the topic decides, not we: what was compressed may unpack to more
    "compression.type": "lz4",
    "message.timeout.ms": "30000",
    "log_level": "0",
}

log: Final = structlog.get_logger()


class Defect(StrEnum):
    """Why a message cannot be applied."""

    UNDECODABLE = "undecodable"
    OTHER_EPOCH = "other_epoch"
    REPEATED_NUMBER = "repeated_number"
    SKIPPED_NUMBER = "skipped_number"


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
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")

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


def user_of(letter: Letter) -> int | None:
    """The user that a message is about, by its lane block or its key; None: nobody can say. A heartbeat is nobody's."""
    block = lane_block(letter.value)
    if block is not None:
        return block.user_id
    key = letter.key
    if key is None or not key.isdigit() or len(key) > MOST_DIGITS or letter.topic.endswith(f".{HEARTBEATS}"):
        return None
    return int(key)


class _Post(NamedTuple):
    """A letter to be sent, of which so many bytes of key and value are to be kept."""

    letter: Letter
    keep: int


class DeadLetters:
    """Writes letters; `settle` returns when all of them are safe in Kafka."""

    def __init__(self, settings: KafkaSettings, stopping: Callable[[], bool]) -> None:
        """`stopping` says that waiting for Kafka is no longer worth while."""
        self._topic = Topics(settings.topic_prefix).name(DEAD_LETTERS)
        self._servers = settings.kafka_bootstrap_servers
        self._stopping = stopping
        self._properties = {**_DEFAULTS, **settings.librdkafka, "enable.idempotence": "true"}
        self._producer: Producer | None = None
        self._unsent: list[_Post] = []
        self._refusal: KafkaError | None = None

    def put(self, letter: Letter) -> None:
        """Sends a letter, and says so in the log."""
        log.error(
            "dead_letter",
            reason=letter.reason,
            detail=letter.detail,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            hint="see `consumer dead-letters`",
        )
        self._unsent.append(_Post(letter, letter.size))

    def settle(self) -> bool:
        """Waits until every letter is in Kafka; False where the process is to stop before that.

        Raises LettersRefused where Kafka will never take them, KafkaLost where it did not within PATIENCE_SECONDS.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while self._unsent:
            sending, self._unsent = self._unsent, []
            producer = self._producer = self._producer or Producer(self._properties)
            for post in sending:
                self._send(producer, post)
            while producer.flush(ANSWER_SECONDS):
                if self._given_up(deadline):
                    return False
                log.warning("kafka_awaited", what="dead letters")
            if self._refusal is not None:
                raise LettersRefused(self._why(self._refusal))
            if self._unsent:
                if self._given_up(deadline):
                    return False
                time.sleep(pause)
                pause = min(2 * pause, ANSWER_SECONDS)
        return True

    def _given_up(self, deadline: float) -> bool:
        if not self._stopping() and time.monotonic() > deadline:
            raise KafkaLost(
                f"Kafka at {self._servers} did not take dead letters within {PATIENCE_SECONDS:.0f} s"
                f" ({self._topic}); look at its brokers"
            )
        return self._stopping()

    def _send(self, producer: Producer, post: _Post) -> None:
        letter = _kept(post.letter, post.keep)

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                self._failed(post, error)

        try:
            producer.produce(self._topic, letter.value, letter.key, 0, headers=letter.headers, on_delivery=delivered)
        except BufferError:
            self._unsent.append(post)
        except KafkaException as error:
            self._failed(post, error.args[0])

    def _failed(self, post: _Post, error: KafkaError) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and post.keep:
            self._unsent.append(post._replace(keep=min(KEPT_BYTES, post.keep // 2)))
            return
        if error.code() in HOPELESS or error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refusal = error
        elif error.fatal() or error.code() == KafkaError._FATAL:
            self._producer = None
        log.warning("dead_letter_not_written", reason=error.str(), offset=post.letter.offset)
        self._unsent.append(post)

    def _why(self, error: KafkaError) -> str:
        if error.code() in MISSING:
            return f"topic {self._topic} does not exist; run `consumer setup`"
        return (
            f"Kafka at {self._servers} refuses dead letters ({error.str()}); look at our rights on {self._topic}"
            " and at the topic's settings"
        )


def _kept(letter: Letter, keep: int) -> Letter:
    """The letter with the first `keep` bytes of its key and value, and a word on what is missing."""
    if keep >= letter.size:
        return letter
    key = None if letter.key is None else letter.key[:keep]
    value = None if letter.value is None else letter.value[: keep - len(key or b"")]
    return letter._replace(
        key=key, value=value, detail=f"{letter.detail}; of {letter.size} bytes the first {keep} are kept"
    )
