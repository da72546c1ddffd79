"""Kafka transactions of the reader: rows and the checkpoint that covers them, all or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.settings import KafkaSettings
from consumer.stream import checkpoint
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import KEY
from consumer.stream.credentials import Credentials
from consumer.stream.errors import KafkaLost, KafkaRefused, ReaderFenced, TopicMismatch
from consumer.stream.presence import Headers, Presence
from consumer.stream.topics import CHECKPOINTS, MAX_MESSAGE_BYTES
from consumer.stream.trouble import Trouble

log = structlog.get_logger()

QUEUE_KILOBYTES: Final = 16 * 1024
"""Messages waiting for the broker; beyond, `send` waits, so memory stays flat however large a batch is."""
QUEUE_MESSAGES: Final = 200_000
ANSWER_SECONDS: Final = 2.0
"""How long one call waits for Kafka before it looks whether to stop."""

TUNING: Final = {
    "linger.ms": "100",  # fuller requests are less work for the broker; a commit sends at once whatever waits
    "compression.type": "lz4",
    "batch.size": "524288",
    "batch.num.messages": "10000",
    "message.max.bytes": str(MAX_MESSAGE_BYTES),
    "queue.buffering.max.kbytes": str(QUEUE_KILOBYTES),
    "queue.buffering.max.messages": str(QUEUE_MESSAGES),
    "transaction.timeout.ms": "300000",
    "log_level": "0",
}


FENCING: Final = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError._FATAL,
}
"""What Kafka says to the older of two readers, where it is fatal; `_FATAL` is any of these, when nothing more is said.

It says the same to a reader whose transaction it ended because that took longer than transaction.timeout.ms: only the
checkpoints show whether there is a successor.
"""
OLDER: Final = {KafkaError._FENCED, KafkaError._FATAL, KafkaError.PRODUCER_FENCED}
"""What it says to that one otherwise."""


class ReaderTransactions:
    """The transactional producer: `ready`, then `send` at will, then `commit`, again and again.

    `commit` works in the background, so that the binlog is read on meanwhile; `ready` waits for it and raises what
    went wrong. All methods raise ReaderFenced when another reader took over, KafkaLost for what trying again may
    repair, after `abort`, and TopicMismatch where Kafka takes only smaller messages. `committed` is the checkpoint of
    the last transaction known to be committed.

    Where `broken`, librdkafka gave the producer up: because another one fenced it, or Kafka ended its transaction, or
    because Kafka answers that there is no such transaction to end, as it may after a commit that took long
    (confluentinc/librdkafka, issues 3297, 4849); or our certificate was renewed, which it reads when a producer is
    made. Only `renew` helps then, and what was committed last has to be looked up. `largest` is what the client takes
    as one message, in bytes.
    """

    def __init__(self, settings: KafkaSettings, stopping: Callable[[], bool]) -> None:
        """`stopping` says that waiting for Kafka is no longer worth while."""
        self._servers = settings.kafka_bootstrap_servers
        self._prefix = settings.topic_prefix
        self._id = f"{self._prefix}.reader"
        self._stopping = stopping
        self._checkpoints = settings.topic(CHECKPOINTS)
        self._trouble = Trouble()
        self._settings = settings
        self._credentials = Credentials(settings)
        properties = self._properties()
        self._producer = Producer(properties)  # refuses settings that are none
        self.largest: Final = int(properties["message.max.bytes"])
        self._presence = Presence()
        self._produce = self._producer.produce
        self._fatal: KafkaError | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="kafka-commit")
        self._pending: Future[Checkpoint] | None = None
        self._open = False
        self.broken = False
        self.committed: Checkpoint | None = None
        self.commit_seconds: list[float] = []
        """How long commits took since this list was last emptied."""

    def _properties(self) -> dict[str, Any]:
        return {
            **TUNING, **self._settings.librdkafka, "transactional.id": self._id, "error_cb": self._trouble
        }  # fmt: skip

    def take_over(self) -> None:
        """Fences any older reader and waits until what it left open is decided."""
        self._insist(self._producer.init_transactions)

    def renew(self) -> None:
        """Another producer in place of a broken one; `take_over` comes next. Nothing is open, whatever was."""
        try:
            self.settle()
        except (KafkaLost, ReaderFenced) as error:
            log.info("commit_outcome_unknown", reason=str(error))
        self._drop()
        self._credentials = self._credentials.of_next_client()
        self._producer = Producer(self._properties())
        self._produce = self._producer.produce
        self._fatal = None
        self._open = self.broken = False

    def may_be_let_in(self) -> bool:
        """Whether Kafka, which refused one of our clients, may let us in yet: see `Credentials.may_help`."""
        return self._credentials.may_help(self._producer)

    def ready(self) -> None:
        """Waits for the last commit and opens the next transaction; nothing to do where one is open."""
        if self._open:
            return
        self.settle()
        self._credentials.look(self._producer)
        if self._credentials.outdated:
            self.broken = True
            raise KafkaLost("our certificate for Kafka was renewed, so its client is made anew")
        self._insist(lambda _seconds: self._producer.begin_transaction())
        self._open = True

    def send(self, topic: str, value: str | bytes, key: str | bytes, partition: int) -> None:
        """One message into the open transaction; waits where the queue is full."""
        try:
            self._produce(topic, value, key, partition)
        except BufferError:
            self._wait_and_send(topic, value, key, partition, [])
        except KafkaException as error:
            raise self._named(error) from error

    def _wait_and_send(
        self, topic: str, value: str | bytes, key: str | bytes, partition: int, headers: Headers
    ) -> None:
        while True:
            try:
                self._producer.poll(0.05)
                self._produce(topic, value, key, partition, headers=headers)
            except BufferError:
                if self._stopping():
                    raise KafkaLost(f"Kafka at {self._servers} takes no more messages") from None
            except KafkaException as error:
                raise self._named(error) from error
            else:
                return

    def commit(self, reached: Checkpoint) -> None:
        """Writes the checkpoint and begins to commit it together with everything sent since `ready`."""
        value, told = checkpoint.encode(reached), self._presence.headers()
        try:
            self._produce(self._checkpoints, value, KEY, 0, headers=told)
        except BufferError:
            self._wait_and_send(self._checkpoints, value, KEY, 0, told)
        except KafkaException as error:
            raise self._named(error) from error
        self._open = False
        self._pending = self._worker.submit(self._commit, reached)

    def _commit(self, reached: Checkpoint) -> Checkpoint:
        began = time.perf_counter()
        self._insist(self._producer.commit_transaction)
        self.commit_seconds.append(time.perf_counter() - began)
        return reached

    def settle(self) -> None:
        """Waits until the last commit is done."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._open = True
            self.committed = pending.result()
            self._open = False

    def assure(self) -> None:
        """Raises ReaderFenced where another reader took over: committing anew what is committed already shows it."""
        assert self.committed is not None
        self.ready()
        self.commit(self.committed)
        self.settle()

    def abort(self) -> bool:
        """Drops everything sent since the last commit that succeeded, so that it may be sent anew.

        True where there was a transaction to drop.
        """
        try:
            self.settle()
        except KafkaLost as error:
            log.info("commit_taken_back", reason=str(error))
        if not self._open:
            return False
        self._insist(self._producer.abort_transaction)
        self._open = False
        return True

    def close(self) -> None:
        """Ends the connection; an open transaction is taken back."""
        self._worker.shutdown(wait=True)
        if self._open or self._pending is not None:
            try:
                self._producer.abort_transaction(ANSWER_SECONDS)
            except KafkaException as error:
                log.info("transaction_left_open", reason=error.args[0].str())
        self._drop()

    def _drop(self) -> None:
        try:
            self._producer.purge()
            self._producer.flush(1.0)
        except KafkaException as error:  # one that was fenced in the middle of a batch refuses even this
            log.info("unsent_dropped", reason=error.args[0].str())

    def _insist(self, call: Callable[[float], object]) -> None:
        """Repeats what Kafka calls worth repeating; raises the rest by its name."""
        repeating = False
        while True:
            try:
                call(ANSWER_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable() or self._stopping():
                    raise self._named(error) from error
                self._listen()
                if self._trouble.is_refused:
                    if not self._credentials.may_help(self._producer):
                        raise self._named(error) from error
                    self._trouble.over()
                if not repeating:
                    repeating = True
                    log.warning("kafka_away", servers=self._servers, reason=self._trouble.why(error))
            else:
                if repeating:
                    log.info("kafka_answers_again", servers=self._servers)
                self._trouble.over()
                self._credentials.accepted()
                return

    def _named(self, error: KafkaException) -> KafkaLost | KafkaRefused | ReaderFenced | TopicMismatch:
        reason: KafkaError = error.args[0]
        if reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TopicMismatch(
                f"a topic of {self._prefix} takes only smaller messages than ours ({reason.str()});"
                f" consumer setup --repair sets max.message.bytes to {MAX_MESSAGE_BYTES} again"
            )
        if reason.code() == KafkaError._FATAL:
            reason = self._why() or reason
        elif reason.fatal():
            self._fatal = reason
        fenced = reason.code() in FENCING if reason.fatal() else reason.code() in OLDER
        self.broken = self.broken or reason.fatal() or fenced
        if fenced:
            return ReaderFenced(
                f"another reader took over {self._id} on {self._servers} ({reason.str()});"
                " run one reader per TOPIC_PREFIX"
            )
        return self._trouble.lost(self._servers, "take our changes", KafkaException(reason))

    def _why(self) -> KafkaError | None:
        """What was fatal: the client says so once, and afterwards only that it was."""
        if self._fatal is None:
            self._listen()
        return self._fatal

    def _listen(self) -> None:
        """Takes in what the client has to say of its connections, or of its end."""
        try:
            self._producer.poll(0)
        except KafkaException as error:
            self._fatal = error.args[0]
