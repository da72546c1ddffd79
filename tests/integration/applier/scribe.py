"""Writes to the lanes' topics what a reader would write, without a MySQL: numbers, envelopes, Kafka transactions."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer
from msgspec import structs

from consumer.reader.sequencer import Sequencer
from consumer.settings import KafkaSettings
from consumer.stream.checkpoint import Checkpoint, encode
from consumer.stream.checkpoint_log import KEY
from consumer.stream.envelope import EnvelopeWriter
from consumer.stream.topics import CHECKPOINTS

Row = dict[str, Any]


class Scribe:
    """A context manager; every `with scribe.source_transaction()`-like call is one Kafka transaction unless `bulk`."""

    def __init__(self, kafka: KafkaSettings, epoch: int = 1, next_seqs: list[int] | None = None) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": kafka.kafka_bootstrap_servers,
                "transactional.id": f"{kafka.topic_prefix}.reader",
                "linger.ms": 5,
                "queue.buffering.max.messages": 2_000_000,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(30)
        self._checkpoints = kafka.topic(CHECKPOINTS)
        self._checkpoint = checkpoint = Checkpoint(
            epoch=epoch,
            flavor="mysql",
            server="",
            gtid_set="",
            file="binlog.000001",
            pos=4,
            version=0,
            next_seqs=next_seqs or [1] * kafka.lanes,
        )
        self._writer = EnvelopeWriter(kafka.topic_prefix, "mysql", "company", epoch)
        self.sequencer = Sequencer(checkpoint, kafka.topic, self._writer, self._send)
        self.next_seqs = list(checkpoint.next_seqs)
        """Per lane, the number after the last one that was given out."""
        self.withheld = 0
        """So many of the next messages are numbered, but never reach Kafka."""
        self._pos = 4
        self._open = False

    def __enter__(self) -> Self:
        self._producer.begin_transaction()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.write_checkpoint()
            self._producer.commit_transaction(30)
        else:
            self._producer.abort_transaction(30)

    def write_checkpoint(self) -> None:
        """What the reader writes last into every Kafka transaction."""
        version = max(self.sequencer.version, self.sequencer._begun_version)
        self._checkpoint = structs.replace(self._checkpoint, next_seqs=list(self.next_seqs), version=version)
        self._producer.produce(self._checkpoints, encode(self._checkpoint), KEY, 0)
        self._producer.flush(30)

    def transaction(self, *rows: tuple[str, Row | None, Row | None, int | None], at: int | None = None) -> int:
        """One source transaction of rows (table, before, after, user_id); returns its commit time in µs."""
        at = at or time.time_ns() // 1000
        self._pos += 100
        self.sequencer.begin(None, 1, "binlog.000001", self._pos, at)
        for row in rows:
            self.row(*row)
        self.sequencer.commit()
        return at

    def row(self, table: str, before: Row | None, after: Row | None, user_id: int | None) -> None:
        """One row of the source transaction that was begun."""
        row: Row = after or before or {}
        op = "c" if before is None else "d" if after is None else "u"
        old = None if before is None else json.dumps(before)
        new = None if after is None else json.dumps(after)
        if user_id is None and "claim_id" in row:
            self.sequencer.orphan(table, op, old, new, None, row["claim_id"], self._pos, self.sequencer.rows)
        else:
            key = row["id"] if user_id is None else user_id
            self.sequencer.row(table, op, old, new, user_id, key, self._pos, self.sequencer.rows)

    def beat(self) -> None:
        """A heartbeat in every lane."""
        self.sequencer.heartbeat(time.time_ns() // 1000)

    def raw(self, topic: str, value: bytes, partition: int, key: bytes = b"1") -> None:
        """Bytes as they are."""
        self._producer.produce(topic, value, key, partition)

    def _send(self, topic: str, value: str | bytes, key: str | bytes, partition: int) -> None:
        self.next_seqs[partition] += 1
        if self.withheld:
            self.withheld -= 1
            return
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return
