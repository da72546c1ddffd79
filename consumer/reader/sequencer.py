"""Numbers on the way in: each lane counts its messages without gaps, over all topics.

The newest row of a source transaction in each lane is buffered until it is known whether another one follows, because
`lane.last` marks the last. A transaction may be cut anywhere (`cut`) and taken up again from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from zlib import crc32

import msgspec

from consumer.binlog.errors import BEGIN_ANEW
from consumer.lane import lane_of, lane_of_key
from consumer.leads.model import Table, Ties
from consumer.reader.commit_times import CommitTimes
from consumer.stream.checkpoint import Checkpoint, PreparedTransaction
from consumer.stream.envelope import (
    LAST,
    MORE,
    EnvelopeWriter,
    RowId,
    SingleRow,
    StreamPosition,
    ties_text,
    transaction_id,
)
from consumer.stream.errors import CheckpointUnreadable
from consumer.stream.topics import HEARTBEATS, MAX_MESSAGE_BYTES

MAX_TIME: Final = 2**63 - 1
_OVERHEAD: Final = 1024
"""Bytes that key, topic and what Kafka's client adds to a message may take."""
_BYTES_A_CHARACTER: Final = 4
"""The most that UTF-8 takes."""
_LIKELY: Final = ties_text(Ties(likely=True))

ASKED_KEPT: Final = 50_000
"""Users of one transaction who were asked to be read live, and are not asked for again."""

Oversized = Callable[[str, str, str, int, int, str], None]
"""Takes table, operation, file, position and number of a row that is too large for Kafka, and why it is."""

Send = Callable[[str, str | bytes, str | bytes, int], None]
"""Takes topic, value, key and partition of a message; never fails half-way."""


class Sequencer:
    """Turns routed rows into numbered messages, and knows the checkpoint after each of them.

    `version` is that of the last completed source transaction or heartbeat; `in_transaction` says that a transaction
    was begun and not ended; `rows` counts its messages so far, those of before a restart included. `ts_us` dates the
    last transaction or heartbeat; `applied_us` is when the server that we read had it. `ahead_us` is how far versions
    were ahead of that server's clock at the last heartbeat: they never go back, as a clock may.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        topic: Callable[[str], str],
        writer: EnvelopeWriter,
        send: Send,
        times: CommitTimes | None = None,
        largest: int = MAX_MESSAGE_BYTES,
        oversized: Oversized = lambda *_: None,
    ) -> None:
        """`topic` gives the full names of our topics. Without `times`, every commit time is confirmed. `largest` is
        what Kafka's client takes as one message, in bytes; `oversized` gets each row that is larger: whom it
        belongs to is asked to be read live instead."""
        self.lanes = len(checkpoint.next_seqs)
        self.version = checkpoint.version
        self.ts_us = 0
        self.applied_us = 0
        self.ahead_us = 0
        self.rows = 0
        self.sent = 0
        """Messages handed to `send` since this object was made."""
        self.in_transaction = False
        self._checkpoint = checkpoint
        self._next_seqs = list(checkpoint.next_seqs)
        self._topics = {table.value: topic(table) for table in Table}
        self._heartbeats = topic(HEARTBEATS)
        self._writer = writer
        self._send = send
        self._times = times
        self._largest = largest - _OVERHEAD
        self._surely_fits = self._largest // _BYTES_A_CHARACTER
        self._oversized = oversized
        self._buffered: dict[int, tuple[str, str, str]] = {}
        self._open = set(checkpoint.lanes_open)
        self._skip = checkpoint.rows
        self._orders: dict[str, int] = {}
        self._asked: set[tuple[int | None, str]] = set()
        self.begun = "", 0
        """File and position where the transaction at hand starts."""
        self._begun_version = 0
        self._begun_gtid: str | None = None

    @property
    def may_rest(self) -> bool:
        """True between source transactions, where heartbeats may be sent."""
        return not self.in_transaction and not self._skip

    @property
    def skipping(self) -> bool:
        """True while the rows that come are in Kafka already."""
        return self.rows < self._skip

    def begin(self, gtid: str | None, server_id: int, file: str, pos: int, ts_us: int, applied_us: int = 0) -> None:
        """A source transaction starts at `pos` of `file`, committed at `ts_us`, on our server at `applied_us` (0: too).

        Raises CheckpointUnreadable where it is not the one that was cut.
        """
        if self._skip and transaction_id(gtid, file, pos) != self._checkpoint.unfinished:
            raise CheckpointUnreadable(
                f"{self._skip} rows of transaction {self._checkpoint.unfinished} are in Kafka, but the server continues"
                f" with {transaction_id(gtid, file, pos)}; read from the server of the checkpoint,"
                f" {self._checkpoint.server}, until it is through, or {BEGIN_ANEW}"
            )
        applied_us = applied_us or ts_us
        times = self._times
        if times is not None and (times.mariadb or ts_us > times.latest or applied_us > times.latest):
            ts_us, applied_us = times.confirmed(server_id, ts_us, applied_us, self.version)
        version = max(applied_us, self.version + 1)
        if self._skip and self._checkpoint.unfinished_version:
            version, ts_us = self._checkpoint.unfinished_version, self._checkpoint.unfinished_ts_us
        self._begun_version = version
        self._begun_gtid = gtid
        self.begun = file, pos
        self.ts_us = ts_us
        self.applied_us = applied_us or ts_us
        self.rows = 0
        self._orders.clear()
        self._asked.clear()
        self.in_transaction = True
        self._writer.transaction(gtid, server_id, file, pos, ts_us, version)

    def row(
        self,
        table: str,
        op: str,
        before: str | None,
        after: str | None,
        user_id: int | None,
        key: RowId,
        pos: int,
        row: int,
        moved: bool = False,
        ties: str = "",
    ) -> None:
        """One row of the lane that `key` belongs to: the user's id, or the row's own where it names nobody (None)."""
        self.rows = total_order = self.rows + 1
        orders = self._orders
        order = orders[table] = orders.get(table, 0) + 1
        if total_order <= self._skip:
            return
        key_text = f"{key}"
        lane = crc32(key_text.encode()) % self.lanes  # lane_of_key without its call; a test compares them
        seqs = self._next_seqs
        seq = seqs[lane]
        seqs[lane] = seq + 1
        buffered = self._buffered
        if lane in buffered:
            topic, value, buffered_key = buffered[lane]
            self._send(topic, value + MORE, buffered_key, lane)
            self.sent += 1
        value = self._writer.row(
            table,
            op,
            before,
            after,
            pos,
            row,
            total_order,
            order,
            seq,
            "null" if user_id is None else key_text,
            moved,
            ties,
        )
        if len(value) > self._surely_fits and self._is_oversized(value):
            self._report(table, op, self.begun[0], pos, row, value)
            notice = self._in_its_place(seq, table, pos, row, user_id)
            buffered[lane] = (self._heartbeats, notice, key_text)
        else:
            buffered[lane] = (self._topics[table], value, key_text)

    def unchanged(self, table: str) -> None:
        """One row that is not sent; it counts all the same, so that a transaction that was cut goes on where it was."""
        self.rows += 1
        self._orders[table] = self._orders.get(table, 0) + 1

    def _in_its_place(self, seq: int, table: str, pos: int, row: int, user_id: int | None) -> str:
        """A notice for a row that is too large to be sent."""
        return self._writer.recheck(
            seq,
            self._begun_version,
            self.ts_us,
            _too_large(table),
            user_id,
            blind=user_id is None,
            position=(self.begun[0], pos),
            row=row,
        )

    def _is_oversized(self, value: str) -> bool:
        return len(value.encode()) > self._largest

    def _report(self, table: str, op: str, file: str, pos: int, row: int, value: str) -> None:
        """Reports a row that is not sent; whoever it belongs to is asked to be read live under its number."""
        size = len(value.encode())
        limit = f"Kafka's client takes {self._largest} (message.max.bytes)"
        self._oversized(table, op, file, pos, row, f"{_too_large(table)}: {size} bytes, and {limit}")

    def next_place(self, key: RowId) -> tuple[int, int] | None:
        """Lane and number that `row` gives next to a row with this key; None where that has its number already."""
        if self.skipping:
            return None
        lane = lane_of_key(f"{key}".encode(), self.lanes)
        return lane, self._next_seqs[lane]

    def singles(self, rows: Iterable[SingleRow], users: Iterable[int]) -> None:
        """Source transactions of one row, whole, with their users: `begin`, `row` and `commit` in one.

        Only where `may_rest`. Many at once, because a call and the look-ups in `self` for each cost 0.4 µs a row.
        """
        version, lanes, seqs, sent, ts_us = self.version, self.lanes, self._next_seqs, 0, self.ts_us
        applied_us, times = self.applied_us, self._times
        latest = MAX_TIME if times is None else 0 if times.mariadb else times.latest
        topics, write, send, surely_fits = self._topics, self._writer.single, self._send, self._surely_fits
        for row, user_id in zip(rows, users, strict=True):
            ts_us = row[4]
            applied_us = row[15] or ts_us
            if ts_us > latest or applied_us > latest:
                ts_us, applied_us = times.confirmed(row[1], ts_us, applied_us, version)  # type: ignore[union-attr]
                latest = 0 if times.mariadb else times.latest  # type: ignore[union-attr]
                if ts_us != row[4]:
                    row = (*row[:4], ts_us, *row[5:])  # noqa: PLW2901
            version = applied_us if applied_us > version else version + 1
            key = f"{user_id}"
            lane = crc32(key.encode()) % lanes  # as in `row`
            seq = seqs[lane]
            seqs[lane] = seq + 1
            value = write(row, version, seq, key)
            if len(value) > surely_fits and self._is_oversized(value):
                self._report(row[5], row[6], row[2], row[13], 0, value)
                reason, position = _too_large(row[5]), (row[2], row[13])
                notice = self._writer.recheck(seq, version, ts_us, reason, user_id, position=position, row=0)
                send(self._heartbeats, notice + LAST, key, lane)
            else:
                send(topics[row[5]], value, key, lane)
            sent += 1
        self.version = version
        self.ts_us = ts_us
        self.applied_us = applied_us or ts_us
        self.rows = 1
        self.sent += sent

    def orphan(
        self,
        table: str,
        op: str,
        before: str | None,
        after: str | None,
        user_id: int | None,
        claim_id: RowId,
        pos: int,
        row: int,
    ) -> None:
        """One row whose user nobody can say for certain: in one lane, and as a notice in the others.

        Only the lane that holds the claim knows, and at that very place in its order; the others pass the notice over.
        The one lane is that of the likely user, who gets a notice too, and where there is none (None), the claim's.
        """
        self.rows = total_order = self.rows + 1
        order = self._orders[table] = self._orders.get(table, 0) + 1
        if total_order <= self._skip:
            return
        key = f"{claim_id if user_id is None else user_id}"
        own = lane_of_key(key.encode(), self.lanes)
        topic, named = self._topics[table], "null" if user_id is None else f"{user_id}"
        likely = "" if user_id is None else _LIKELY
        self._buffer(own, topic, key, (table, op, before, after, pos, row, total_order, order), named, likely)
        for lane in range(self.lanes):
            if lane != own or user_id is not None:
                notice = (table, "h", before, after, pos, row, total_order, order)
                self._buffer(lane, self._heartbeats, f"{lane}", notice, "null")

    def recheck(self, reason: str, *, blind: bool = True) -> None:
        """Asks every lane to have its leads read live, inside the transaction at hand; once for each reason there.

        With `blind`, nobody is judged before that: rows may have gone that nothing is known of.
        """
        if (None, reason) not in self._asked:
            self.rows += 1  # so that it is not sent again where the transaction was cut
            self._ask(reason, None, blind=blind)

    def unreadable(self, users: Iterable[int] | None, reason: str) -> None:
        """A row of the transaction at hand that cannot be read: these users, or with None all, are to be read live.

        Whoever they are, it counts as one row, because what is known of them may differ when the stream is read again.
        """
        self.rows += 1
        for user_id in (None,) if users is None else users:
            self._ask(reason, user_id, blind=user_id is None)

    def _ask(self, reason: str, user_id: int | None, *, blind: bool) -> None:
        """A notice to a user's lane or, without one, to every lane; once for each reason in the transaction at hand."""
        if (user_id, reason) in self._asked:
            return
        if len(self._asked) >= ASKED_KEPT:
            # Whoever is asked for twice is read twice; but `recheck` counts its rows by the notices to every lane.
            self._asked = {one for one in self._asked if one[0] is None}
        self._asked.add((user_id, reason))
        if self.rows <= self._skip:
            return
        for lane in range(self.lanes) if user_id is None else (lane_of(user_id, self.lanes),):
            seq, version, ts_us = self._numbered(lane), self._begun_version, self.ts_us
            notice = self._writer.recheck(seq, version, ts_us, reason, user_id, blind=blind, position=self.begun)
            self._buffered[lane] = (self._heartbeats, notice, f"{lane if user_id is None else user_id}")

    def recheck_all(self, reason: str, ts_us: int) -> None:
        """Asks the same between source transactions, when the server's clock showed `ts_us`."""
        self.version = max(ts_us, self.version + 1)
        self.ts_us = self.applied_us = ts_us
        for lane in range(self.lanes):
            notice = self._writer.recheck(self._numbered(lane), self.version, ts_us, reason, blind=True)
            self._send(self._heartbeats, notice + LAST, f"{lane}", lane)
            self.sent += 1

    def _buffer(
        self,
        lane: int,
        topic: str,
        key: str,
        content: tuple[str, str, str | None, str | None, int, int, int, int],
        user: str,
        ties: str = "",
    ) -> None:
        seq = self._numbered(lane)
        value = self._writer.row(*content, seq, user, False, ties)
        if len(value) > self._surely_fits and self._is_oversized(value):
            table, op, _, _, pos, row, _, _ = content
            if op != "h":  # else it is a copy of one that was reported
                self._report(table, op, self.begun[0], pos, row, value)
            topic = self._heartbeats
            value = self._in_its_place(seq, table, pos, row, None)
        self._buffered[lane] = (topic, value, key)

    def _numbered(self, lane: int) -> int:
        """The next number of a lane, after sending what is buffered there: another message follows it."""
        seq = self._next_seqs[lane]
        self._next_seqs[lane] = seq + 1
        if lane in self._buffered:
            topic, value, key = self._buffered[lane]
            self._send(topic, value + MORE, key, lane)
            self.sent += 1
        return seq

    def commit(self) -> None:
        """The source transaction ended: what is buffered goes out as the last of its lane."""
        buffered = self._buffered
        for lane, (topic, value, key) in buffered.items():
            self._send(topic, value + LAST, key, lane)
        self.sent += len(buffered)
        self.version = self._begun_version
        self.in_transaction = False
        self._skip = 0
        if self._open:
            self._beat(self._open.difference(buffered), self.version, self.applied_us)
            self._open.clear()
        buffered.clear()

    def cut(self) -> None:
        """Sends what is buffered without knowing more, so that a checkpoint inside the transaction may follow."""
        for lane, (topic, value, key) in self._buffered.items():
            self._send(topic, value + MORE, key, lane)
        self.sent += len(self._buffered)
        self._open.update(self._buffered)
        self._buffered.clear()

    def heartbeat(self, ts_us: int, stands: StreamPosition | None = None, age_seconds: float = 0.0) -> None:
        """Notifies every lane that all until `ts_us` on the server's clock was seen; 0: all until the last transaction.

        Only between source transactions. `stands` is where the stream is: behind all that was numbered. The clock was
        read so many seconds ago.
        """
        if ts_us:
            self.version = max(ts_us, self.version + 1)
            self.ahead_us = self.version - ts_us
            self.ts_us = self.applied_us = ts_us
            if self._times is not None:
                self._times.seen(ts_us, age_seconds)
        self._beat(range(self.lanes), self.version, self.applied_us or self.version, stands)

    def _beat(self, lanes: Iterable[int], version: int, ts_us: int, stands: StreamPosition | None = None) -> None:
        for lane in sorted(lanes):
            seq = self._next_seqs[lane]
            self._next_seqs[lane] = seq + 1
            self._send(self._heartbeats, self._writer.heartbeat(seq, version, ts_us, stands), f"{lane}", lane)
            self.sent += 1

    def checkpoint(
        self,
        server: str,
        gtid_set: str,
        file: str,
        pos: int,
        prepared: list[PreparedTransaction],
        file_begun: int = 0,
    ) -> Checkpoint:
        """The checkpoint that covers all rows so far, after `cut` where a transaction is open.

        The arguments are where the first source transaction starts that was not received whole, and when its file was
        begun.
        """
        inside = self.in_transaction
        unfinished, unfinished_version, unfinished_ts_us = self._unfinished()
        return msgspec.structs.replace(
            self._checkpoint,
            server=server,
            gtid_set=gtid_set,
            file=file,
            pos=pos,
            file_begun=file_begun,
            version=self.version,
            next_seqs=list(self._next_seqs),
            rows=max(self.rows, self._skip) if inside else self._skip,
            lanes_open=sorted(self._open),
            unfinished=unfinished,
            unfinished_version=unfinished_version,
            unfinished_ts_us=unfinished_ts_us,
            prepared=prepared,
        )

    def _unfinished(self) -> tuple[str, int, int]:
        """Id, version and commit time of the transaction that is in Kafka in part."""
        if self.in_transaction:
            place = transaction_id(self._begun_gtid, *self.begun)
            return place, self._begun_version, self.ts_us
        cut = self._checkpoint
        return (cut.unfinished, cut.unfinished_version, cut.unfinished_ts_us) if self._skip else ("", 0, 0)


def _too_large(table: str) -> str:
    return f"a row of {table} is larger than a message may be"
