"""`consumer setup --repair`: a stream whose checkpoint is lost, or whose binlog cannot be read on, goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from consumer.binlog.connection import BinlogStream, Replica, server_info
from consumer.binlog.events import Begin, Commit, Single
from consumer.binlog.position import Position, place
from consumer.reader import own_server_id
from consumer.settings import KafkaSettings, ReplicaSettings
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.envelope import EnvelopeWriter, transaction_id
from consumer.stream.errors import TopicMismatch
from consumer.stream.lost_checkpoint import Newest, Reached, are_whole, newest, reached
from consumer.stream.numbering import Numbering
from consumer.stream.tails import tails
from consumer.stream.topics import Topics
from consumer.stream.transactions import ReaderTransactions

REPAIRING: Final = "consumer setup --repair"
"""The name of this command where readers write theirs."""
LOST: Final = "the reader's checkpoint was lost, and where it stood is not known"
ANEW: Final = "the reader begins anew at the server's present"
HEARTBEAT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 60.0
"""How long a server may send nothing while its binlog is searched."""


def begin_again(
    replica: ReplicaSettings, kafka: KafkaSettings, lanes: Mapping[int, LaneState], *, anew: bool
) -> list[str]:
    """Writes a checkpoint where there is none, or with `anew` another one, and says what it is.

    Without `anew` it is the very one that was lost, found by the newest transaction in Kafka. Where the server no
    longer has that, and with `anew`, it is the server's present, and every lead is queued to be read live; whatever is
    in Kafka is applied before. `lanes` is where PostgreSQL is. Fences a reader that still runs.
    Raises TopicMismatch, KafkaLost, ReaderFenced, and what asking and reading the server raises; then nothing changed.
    """
    if sorted(lanes) != list(range(kafka.lanes)):
        raise TopicMismatch(f"LANES is {kafka.lanes}, but leadstream.lanes has {len(lanes)}; set LANES={len(lanes)}")
    transactions = ReaderTransactions(kafka, threading.Event().is_set)
    try:
        transactions.take_over()  # what an older reader left open is decided from here on
        with CheckpointLog(kafka) as checkpoints:
            last = checkpoints.last()
        if last is not None and not anew:
            return []
        found = tails(kafka)
        stands = reached(found, lanes) if last is None else Reached(last.epoch, last.next_seqs, last.version)
        transaction = newest(found, stands.epoch) if not anew and are_whole(found, lanes) else None
        behind = None if transaction is None else _behind(replica, kafka, transaction)
        transactions.ready()
        if transaction is not None and behind is not None:
            checkpoint = _where_it_stood(replica, stands, transaction, behind)
            said = f"found the lost checkpoint again by transaction {transaction.id}: the reader goes on at"
        else:
            checkpoint = _at_present(replica, kafka, stands, transactions, ANEW if anew else LOST)
            said = f"{ANEW if anew else LOST}; every lead is queued to be read live, and the reader goes on at"
        transactions.commit(checkpoint)
        transactions.settle()
    finally:
        transactions.close()
    return [f"{said} {checkpoint.file}:{checkpoint.pos}"]


def _behind(replica: ReplicaSettings, kafka: KafkaSettings, wanted: Newest) -> tuple[Begin, Commit] | None:
    """Where a transaction starts and ends in the server's binlog; None where it is not there."""
    with closing(Replica(replica.address, replica.replica_query_seconds)) as session:
        end = session.binlog_place()
        files = {str(row[0]) for row in session.query("SHOW BINARY LOGS")}
    if wanted.file not in files or place(*end) <= place(wanted.file, wanted.pos):
        return None
    guest = own_server_id(
        f"{kafka.topic_prefix}.{os.getpid()}"
    )  # the server ends whoever comes with an id that is taken
    stream = BinlogStream(
        replica.address,
        replica.address.database,
        Position("", wanted.file, 4),
        guest,
        HEARTBEAT_SECONDS,
        SILENCE_SECONDS,
    )
    begin: Begin | None = None
    with closing(stream):
        stream.connect()
        while True:
            for event in stream.read():
                for part in event.parts() if isinstance(event, Single) else (event,):
                    if isinstance(part, Begin):
                        begin = part
                    elif isinstance(part, Commit) and begin is not None and _is(begin, wanted):
                        return begin, part
            if place(stream.file, stream.pos) > place(wanted.file, wanted.pos):
                return None


def _is(begin: Begin, wanted: Newest) -> bool:
    """Whether this is the transaction; a place alone might be another server's, of the same file name."""
    same = transaction_id(begin.gtid, begin.file, begin.pos) == wanted.id
    return same and (begin.gtid is not None or begin.ts_us == wanted.ts_us)


def _where_it_stood(replica: ReplicaSettings, stands: Reached, last: Newest, found: tuple[Begin, Commit]) -> Checkpoint:
    """Behind a transaction, or inside of it where only a part of it is in Kafka."""
    begin, commit = found
    info = server_info(replica.address)
    whole = not last.lanes_open
    return Checkpoint(
        epoch=stands.epoch,
        flavor=info.flavor,
        server=info.server,
        gtid_set="",  # learnt at the start of the next file
        file=commit.file if whole else begin.file,
        pos=commit.pos if whole else begin.pos,
        version=stands.version if whole else last.version - 1,
        next_seqs=stands.next_seqs,
        rows=0 if whole else last.rows,
        lanes_open=last.lanes_open,
        unfinished="" if whole else last.id,
        unfinished_version=0 if whole else last.version,
        unfinished_ts_us=0 if whole else last.ts_us,
        database=_database(replica),
        reader=REPAIRING,
    )


def _at_present(
    replica: ReplicaSettings, kafka: KafkaSettings, stands: Reached, transactions: ReaderTransactions, reason: str
) -> Checkpoint:
    """The server's present; sends what has every lead read live.

    The clock is read before the position: what a live read at that time shows, the stream repeats at most.
    """
    with closing(Replica(replica.address, replica.replica_query_seconds)) as session:
        now = session.clock_and_position()
    info = server_info(replica.address)
    database = _database(replica)
    present = Checkpoint(
        epoch=stands.epoch,
        flavor=info.flavor,
        server=info.server,
        gtid_set=now.gtid_set,
        file=now.file,
        pos=now.pos,
        version=stands.version,
        next_seqs=stands.next_seqs,
        database=database,
        reader=REPAIRING,
    )
    writer = EnvelopeWriter(kafka.topic_prefix, info.flavor, replica.address.database, stands.epoch)
    writer.clock(time.time_ns() // 1_000_000)
    numbering = Numbering(present, Topics(kafka.topic_prefix), writer, transactions.send)
    numbering.recheck_all(reason, now.ts_us)
    return numbering.checkpoint(info.server, now.gtid_set, now.file, now.pos, [])


def _database(replica: ReplicaSettings) -> str:
    with closing(Replica(replica.address, replica.replica_query_seconds)) as session:
        return session.database()
