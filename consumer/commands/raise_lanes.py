"""`consumer setup --lanes N`: more lanes for a stream that is drained, in an epoch of their own.

A user's lane depends on how many there are. So nothing of the old lanes may be under way: the reader rests between two
source transactions, and everything it wrote is applied. Then numbers begin anew at 1, under the next epoch; a message
of the old one can no longer be mistaken. The checkpoint comes last: whatever ends this before, setup can be run again,
and until then neither a reader nor an applier starts, with the old number of lanes or the new one.
"""

from __future__ import annotations

from contextlib import closing

import msgspec

from consumer.settings import DatabaseSettings, KafkaSettings
from consumer.store.schema.raise_lanes import NotDrained, refuse_unless_drained, relane
from consumer.stream import topic_repair
from consumer.stream.checkpoint import Checkpoint, cut_off, raising
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import TopicMismatch
from consumer.stream.producer import ReaderTransactions


def raise_lanes(kafka: KafkaSettings, database: DatabaseSettings) -> list[str]:
    """Raises the stream to `kafka.lanes` lanes and says so; an empty list where it has them, or no checkpoint yet.

    Raises NotDrained, TopicMismatch where there are more lanes already, KafkaLost, StoreError; then `consumer setup
    --lanes` can be repeated. A reader that still runs is fenced once the stream was found drained.
    """
    found = _newest(kafka)
    if found is None or len(found.next_seqs) == kafka.lanes:
        return []
    if len(found.next_seqs) > kafka.lanes:
        raise TopicMismatch(
            f"there are {len(found.next_seqs)} lanes, and Kafka's topics cannot lose partitions;"
            f" keep LANES={len(found.next_seqs)}, or begin anew with another TOPIC_PREFIX"
        )
    begun = cut_off(found)
    if begun is not None and begun != raising(kafka.lanes):
        raise TopicMismatch(f"raising the lanes was cut off before; run `{begun}` first")
    _refuse_unless_drained(found, kafka, database, begun=begun is not None)
    with closing(ReaderTransactions(kafka, lambda: False)) as transactions:
        transactions.take_over()
        last = _newest(kafka) or found
        _refuse_unless_drained(last, kafka, database, begun=cut_off(last) is not None)
        last = msgspec.structs.replace(last, reader=raising(kafka.lanes))
        transactions.ready()
        transactions.commit(last)  # a reader that is fenced knows by this that it has a successor
        transactions.await_commit()
        widened = topic_repair.widen(kafka)
        relane(database.conninfo, last.epoch, last.next_seqs, last.version, kafka.lanes)
        transactions.ready()
        transactions.commit(msgspec.structs.replace(last, epoch=last.epoch + 1, next_seqs=[1] * kafka.lanes))
        transactions.await_commit()
    return [
        *widened,
        f"raised the lanes from {len(last.next_seqs)} to {kafka.lanes}, epoch {last.epoch + 1};"
        f" start everything with LANES={kafka.lanes}",
    ]


def _newest(kafka: KafkaSettings) -> Checkpoint | None:
    with CheckpointLog(kafka) as checkpoints:
        return checkpoints.newest()


def _refuse_unless_drained(found: Checkpoint, kafka: KafkaSettings, database: DatabaseSettings, *, begun: bool) -> None:
    """Refuses while that leaves everything as it was; where an earlier attempt got further, PostgreSQL shows it."""
    if found.rows or found.lanes_open:
        raise NotDrained(
            "the reader stopped inside a large transaction; start it, stop it once `consumer status` shows that it has"
            " caught up, and try again"
        )
    refuse_unless_drained(database.conninfo, found.epoch, found.next_seqs, kafka.lanes, begun=begun)
