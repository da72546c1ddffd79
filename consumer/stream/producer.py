"""Kafka transactions of the reader: rows and the checkpoint that covers them, all or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.settings import KafkaSettings
from consumer.stream import checkpoint
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import KEY
from consumer.stream.credentials import Credentials
from consumer.stream.errors import KafkaLost, KafkaRefused, ReaderFenced, TopicMismatch
from consumer.stream.presence import Headers, ProcessHeader
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


class _Client:
    """One transactional producer of the reader, whose `id` fences every other one of that id."""

    def __init__(self, settings: KafkaSettings, id_: str) -> None:
        self.id: Final = id_
        self._settings: Final = settings
        self.trouble: Final = Trouble()
        self.credentials = Credentials(settings)
        self.producer = self._made()
        self.fatal: KafkaError | None = None

    def _made(self) -> Producer:
        own = {"transactional.id": self.id, "error_cb": self.trouble}
        return Producer({**TUNING, **self._settings.librdkafka, **own})  # refuses settings that are none

    def renew(self) -> None:
        """Another producer in this one's place."""
        self.drop()
        self.credentials = self.credentials.of_next_client()
        self.producer = self._made()
        self.fatal = None

    def drop(self) -> None:
        """Leaves the producer with nothing to send."""
        try:
            self.producer.purge()
            self.producer.flush(1.0)
        except KafkaException as error:  # one that was fenced in the middle of a batch refuses even this
            log.warning("messages_dropped", reason=error.args[0].str())

    def listen(self) -> None:
        """Takes in what the client has to say of its connections, or of its end."""
        try:
            self.producer.poll(0)
        except KafkaException as error:
            self.fatal = error.args[0]

    def why(self) -> KafkaError | None:
        """What was fatal: the client says so once, and afterwards only that it was."""
        if self.fatal is None:
            self.listen()
        return self.fatal


class ReaderTransactions:
    """The reader's transactions in Kafka: `ready`, then `send` at will, then `commit`, again and again.

    `commit` works in the background, so that the binlog is read on meanwhile; `ready` waits for it and raises what
    went wrong. All methods raise ReaderFenced when another reader took over, KafkaLost for what trying again may
    repair, after `abort`, and TopicMismatch where Kafka takes only smaller messages. `committed` is the checkpoint of
    the last transaction known to be committed.

    Two producers take turns, with every commit. Kafka answers CONCURRENT_TRANSACTIONS to whoever begins a transaction
    while it still writes the markers of the one before under the same id, and librdkafka then waits 20 ms
    (rd_kafka_txn_handle_AddPartitionsToTxn in rdkafka_txnmgr.c).
    A transaction begins when the one before is known to be committed, so a partition holds them in their order, and
    what is read of it as committed ends before the first one that is not.

    Who takes over fences both ids, in their order, before it asks what was committed last, and its first transaction
    has the first id. So of two that take over at once, one loses that id and ends before it wrote anything, and the
    second id is used only by who held both when its first transaction was committed.

    Where `broken`, librdkafka gave a producer up: because another one fenced it, or Kafka ended its transaction, or
    because Kafka answers that there is no such transaction to end, as it may after a commit that took long
    (confluentinc/librdkafka, issues 3297, 4849); or our certificate was renewed, which it reads when a producer is
    made. Only `renew` helps then, and what was committed last has to be looked up. `largest` is what the client takes
    as one message, in bytes.
    """

    def __init__(self, settings: KafkaSettings, stopping: Callable[[], bool]) -> None:
        """`stopping` says that waiting for Kafka is no longer worth while."""
        self._servers = settings.kafka_bootstrap_servers
        self._prefix = settings.topic_prefix
        self._stopping = stopping
        self._checkpoints = settings.topic(CHECKPOINTS)
        self._clients: Final = [_Client(settings, f"{self._prefix}.{name}") for name in ("reader", "reader.2")]
        self._turn = 0
        self._produce = self._client.producer.produce
        self.largest: Final = int({**TUNING, **settings.librdkafka}["message.max.bytes"])
        self._header = ProcessHeader()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="kafka-commit")
        self._pending: Future[Checkpoint] | None = None
        self._open = False
        self.broken = False
        self.committed: Checkpoint | None = None
        self._commit_seconds: list[float] = []

    @property
    def _client(self) -> _Client:
        """Whose turn it is: of the transaction that is open or being committed, else of the next one."""
        return self._clients[self._turn]

    def _take_turn(self, turn: int) -> None:
        self._turn = turn
        self._produce = self._client.producer.produce

    def take_over(self) -> None:
        """Fences any older reader and waits until what it left open is decided."""
        for turn in range(len(self._clients)):
            self._take_turn(turn)
            self._insist(self._client.producer.init_transactions)
        self._take_turn(0)

    def renew(self) -> None:
        """Other producers in place of broken ones; `take_over` comes next. Nothing is open, whatever was."""
        try:
            self.await_commit()
        except (KafkaLost, ReaderFenced) as error:
            log.warning("commit_outcome_unknown", reason=str(error))
        for client in self._clients:
            client.renew()
        self._take_turn(0)
        self._open = self.broken = False

    def may_be_let_in(self) -> bool:
        """Whether Kafka, which refused one of our clients, may let us in yet: see `Credentials.may_help`."""
        return self._client.credentials.may_help(self._client.producer)

    def ready(self) -> None:
        """Waits for the last commit and opens the next transaction; nothing to do where one is open."""
        if self._open:
            return
        self.await_commit()
        client = self._client
        client.credentials.look(client.producer)
        if client.credentials.outdated:
            self.broken = True
            raise KafkaLost("our certificate for Kafka was renewed, so its client is made anew")
        self._insist(lambda _seconds: client.producer.begin_transaction())
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
                self._client.producer.poll(0.05)
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
        value, headers = checkpoint.encode(reached), self._header.headers()
        try:
            self._produce(self._checkpoints, value, KEY, 0, headers=headers)
        except BufferError:
            self._wait_and_send(self._checkpoints, value, KEY, 0, headers)
        except KafkaException as error:
            raise self._named(error) from error
        self._open = False
        self._pending = self._worker.submit(self._commit, reached)

    def taken_commit_seconds(self) -> list[float]:
        """How long each commit took since this was last called."""
        seconds, self._commit_seconds = self._commit_seconds, []
        return seconds

    def _commit(self, reached: Checkpoint) -> Checkpoint:
        began = time.perf_counter()
        self._insist(self._client.producer.commit_transaction)
        self._commit_seconds.append(time.perf_counter() - began)
        return reached

    def await_commit(self) -> None:
        """Waits until the last commit is done."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._open = True
            self.committed = pending.result()
            self._open = False
            self._take_turn((self._turn + 1) % len(self._clients))

    def assure(self) -> None:
        """Raises ReaderFenced where another reader took over: committing anew what is committed already shows it."""
        assert self.committed is not None
        for _ in self._clients:
            self.ready()
            self.commit(self.committed)
            self.await_commit()

    def abort(self) -> bool:
        """Drops everything sent since the last commit that succeeded, so that it may be sent anew.

        True where there was a transaction to drop.
        """
        try:
            self.await_commit()
        except KafkaLost as error:
            log.warning("commit_failed", reason=str(error))
        if not self._open:
            return False
        self._insist(self._client.producer.abort_transaction)
        self._open = False
        return True

    def close(self) -> None:
        """Ends the connection; an open transaction is taken back."""
        self._worker.shutdown(wait=True)
        if self._open or self._pending is not None:
            try:
                self._client.producer.abort_transaction(ANSWER_SECONDS)
            except KafkaException as error:
                log.warning("transaction_left_open", reason=error.args[0].str())
        for client in self._clients:
            client.drop()

    def _insist(self, call: Callable[[float], object]) -> None:
        """Repeats what Kafka calls worth repeating; raises the rest by its name."""
        client, repeating = self._client, False
        while True:
            try:
                call(ANSWER_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable() or self._stopping():
                    raise self._named(error) from error
                client.listen()
                if client.trouble.is_refused:
                    if not client.credentials.may_help(client.producer):
                        raise self._named(error) from error
                    client.trouble.over()
                if not repeating:
                    repeating = True
                    log.warning("server_away", server="kafka", address=self._servers, reason=client.trouble.why(error))
            else:
                if repeating:
                    log.info("server_back", server="kafka", address=self._servers)
                client.trouble.over()
                client.credentials.accepted()
                return

    def _named(self, error: KafkaException) -> KafkaLost | KafkaRefused | ReaderFenced | TopicMismatch:
        client, reason = self._client, error.args[0]
        if reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TopicMismatch(
                f"a topic of {self._prefix} takes only smaller messages than ours ({reason.str()});"
                f" consumer setup --repair sets max.message.bytes to {MAX_MESSAGE_BYTES} again"
            )
        if reason.code() == KafkaError._FATAL:
            reason = client.why() or reason
        elif reason.fatal():
            client.fatal = reason
        fenced = reason.code() in FENCING if reason.fatal() else reason.code() in OLDER
        self.broken = self.broken or reason.fatal() or fenced
        if fenced:
            return ReaderFenced(
                f"another reader took over {client.id} on {self._servers} ({reason.str()});"
                " run one reader per TOPIC_PREFIX"
            )
        return client.trouble.lost(self._servers, "take our changes", KafkaException(reason))
