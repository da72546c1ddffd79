"""`consumer setup --repair`: a new start for a stream whose checkpoint is lost, or whose binlog cannot be read on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from consumer.binlog.position import Position
from consumer.binlog.stream import BinlogStream
from consumer.commands.lost_checkpoint import (
    LastKnown,
    Newest,
    StreamReached,
    beyond,
    is_set_back,
    known,
    reached,
)
from consumer.commands.lost_position import Stood, read_to
from consumer.commands.tails import ends
from consumer.mysql.errors import SourceError
from consumer.mysql.session import Replica, database_of, server_info
from consumer.process import own_server_id
from consumer.reader.reader import at_present
from consumer.settings import KafkaSettings, ReplicaSettings
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint, PreparedTransaction
from consumer.stream.checkpoint_log import CheckpointLog, demand_database
from consumer.stream.errors import TopicMismatch
from consumer.stream.producer import ReaderTransactions

REPAIRING: Final = "consumer setup --repair"
"""The name of this command where readers write theirs."""
LOST: Final = "the reader's checkpoint was lost, and where it stood is not known"
ANEW: Final = "the reader begins anew at the server's present"
SET_BACK: Final = "Kafka lost messages that are applied, and the reader would give their numbers to other changes"
HEARTBEAT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 60.0
"""How long a server may send nothing while its binlog is searched."""
SKIPS_AT_MOST: Final = 20
"""Events that cannot be read, of one search."""


def begin_again(
    replica: ReplicaSettings, kafka: KafkaSettings, lanes: Mapping[int, LaneState], *, anew: bool
) -> list[str]:
    """Writes a checkpoint where there is none, or with `anew` another one, and says what it is.

    Without `anew` it is the very one that was lost, found by what is in Kafka. Where that does not say it or the server
    no longer has the position, where the newest one is behind what is applied, and with `anew`, it is the server's
    present, and every lead is queued to be read live; whatever is in Kafka is applied before. `lanes` is where
    PostgreSQL is. Fences a reader that still runs.
    Raises TopicMismatch, WrongDatabase, KafkaLost, ReaderFenced, and what asking and reading the server raises; then
    nothing changed.
    """
    if sorted(lanes) != list(range(kafka.lanes)):
        raise TopicMismatch(f"LANES is {kafka.lanes}, but leadstream.lanes has {len(lanes)}; set LANES={len(lanes)}")
    last = _last(kafka)
    if not anew and last is not None and not is_set_back(last, lanes):
        return []
    with closing(ReaderTransactions(kafka, lambda: False)) as transactions:
        transactions.take_over()  # what an older reader left open is decided from here on
        last = _last(kafka)
        if last is not None and not anew and not is_set_back(last, lanes):
            return []
        found = ends(kafka)
        stands = reached(found.tails, lanes) if last is None else beyond(last, lanes)
        sought = None if anew or last is not None else known(found, lanes)
        stood = None if sought is None else _find(replica, kafka, sought)
        transactions.ready()
        if sought is not None and stood is not None:
            checkpoint = _where_it_stood(replica, stands, sought.transaction, stood)
            by = "the newest heartbeat" if sought.transaction is None else f"transaction {sought.transaction.id}"
            how = f"found the lost checkpoint again by {by}: the reader goes on at"
        else:
            why = ANEW if anew else LOST if last is None else SET_BACK
            checkpoint = _at_present(replica, kafka, stands, transactions, why)
            how = f"{why}; every lead is queued to be read live, and the reader goes on at"
        transactions.commit(checkpoint)
        transactions.await_commit()
    return [f"{how} {checkpoint.file}:{checkpoint.pos}"]


def _last(kafka: KafkaSettings) -> Checkpoint | None:
    with CheckpointLog(kafka) as checkpoints:
        return checkpoints.last()


def _find(replica: ReplicaSettings, kafka: KafkaSettings, sought: LastKnown) -> Stood | None:
    """The position in the server's binlog; None where it is not there. Raises WrongDatabase, SourceError.

    Read from the start of a file, because what is prepared there may be decided behind the position. Events that cannot
    be read are passed over, as somebody had the reader do.
    """
    with closing(Replica(replica.address, replica.replica_query_seconds)) as session:
        end = session.binlog_position()
        files = {str(row[0]) for row in session.query("SHOW BINARY LOGS")}
        server = session.server()
    database = replica.address.database
    if sought.database.casefold() != database.casefold():
        demand_database(sought.database, database, kafka.topic_prefix)
    if sought.first_file not in files or (sought.heartbeat is not None and sought.heartbeat.server != server):
        return None
    start = Position("", sought.first_file, 4)
    skipped: set[tuple[str, int]] = set()
    while True:
        stream = BinlogStream(
            replica.address,
            database,
            start,
            own_server_id(f"{kafka.topic_prefix}.{os.getpid()}"),  # the server ends whoever comes with a taken one
            HEARTBEAT_SECONDS,
            SILENCE_SECONDS,
            server,
            skipped=frozenset(skipped),
        )
        try:
            with stream:
                stream.connect()
                return read_to(stream, sought, end)
        except SourceError as error:
            if error.position is None or error.position in skipped or len(skipped) == SKIPS_AT_MOST:
                raise
            skipped.add(error.position)
            start = Position("", stream.file, stream.pos, stream.prepared())


def _where_it_stood(
    replica: ReplicaSettings, stands: StreamReached, transaction: Newest | None, found: Stood
) -> Checkpoint:
    """Between two transactions, or inside of the one that is in Kafka in part only."""
    info = server_info(replica.address)
    cut = transaction if transaction is not None and transaction.lanes_open else None
    return Checkpoint(
        epoch=stands.epoch,
        flavor=info.flavor,
        server=info.server,
        gtid_set="",  # learnt at the start of the next file
        file=found.file,
        pos=found.pos,
        version=stands.version if cut is None else cut.version - 1,
        next_seqs=stands.next_seqs,
        rows=0 if cut is None else cut.rows,
        lanes_open=[] if cut is None else cut.lanes_open,
        unfinished="" if cut is None else cut.id,
        unfinished_version=0 if cut is None else cut.version,
        unfinished_ts_us=0 if cut is None else cut.ts_us,
        prepared=[PreparedTransaction(group.xid, group.file, group.pos) for group in found.prepared],
        database=database_of(replica.address),
        reader=REPAIRING,
    )


def _at_present(
    replica: ReplicaSettings, kafka: KafkaSettings, stands: StreamReached, transactions: ReaderTransactions, reason: str
) -> Checkpoint:
    """The server's present; sends what has every lead read live."""
    with closing(Replica(replica.address, replica.replica_query_seconds)) as session:
        lost = Checkpoint(
            epoch=stands.epoch,
            flavor="mariadb" if session.is_mariadb() else "mysql",
            server="",
            gtid_set="",
            file="",
            pos=0,
            version=stands.version,
            next_seqs=stands.next_seqs,
            database=session.database(),
            reader=REPAIRING,
        )
        return at_present(lost, session, kafka, replica.address.database, transactions.send, reason)
