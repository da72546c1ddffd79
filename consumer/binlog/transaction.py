"""The source transaction at hand, from its GTID to what ends it: savepoints, XA, and rows that wait for a decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import (
    Begin,
    Commit,
    Event,
    Rollback,
    RowChange,
    SchemaChange,
    Statement,
    UnreadableRow,
)
from consumer.binlog.files import Files
from consumer.binlog.gtid_event import STANDALONE, XA_PREPARE, Gtid
from consumer.binlog.position import PreparedGroup
from consumer.binlog.query_event import last_name, xid_of, xid_prepared

_new = tuple.__new__
_NONE: Final = -1
BUFFERED_KEPT: Final = 50_000
"""Rows that wait for a decision and lie in memory; of a transaction with more of them, everybody is read live where
they prove undone, or where an XA transaction proves committed."""


class PreparedFound(Exception):
    """An XA transaction that is prepared here, where only that was asked for."""


class _Prepared(NamedTuple):
    """Rows of an XA transaction that is prepared; `gtid` of its PREPARE is not counted as executed until its end."""

    rows: list[Event]
    gtid: Gtid
    file: str


class _Savepoint(NamedTuple):
    """How many events were buffered when it was set, and whether a Begin was emitted or buffered by then."""

    name: str
    buffered: int
    begun: bool


class Transaction:
    """What has come of a transaction, and where its events go: to `emit_to`, or to a buffer until it is decided.

    What ends it moves the position in `files` and counts its GTID there.
    """

    def __init__(self, files: Files, *, mariadb: bool) -> None:
        self.gtid: Gtid | None = None
        """None between transactions."""
        self.open = False
        """Whether it goes on until a COMMIT; otherwise its first statement is all of it."""
        self.begun = False
        """Whether its Begin was emitted (or must not be)."""
        self.emitted: list[Event] = []
        self.sink = self.emitted
        """Where its next event goes."""
        self.emit = self.sink.append
        """Puts it there: bound once, because large transactions call it for every row."""
        self.kept = BUFFERED_KEPT
        """More rows than these in `sink` may be too many of them (see `spill`)."""
        self._files = files
        self._mariadb = mariadb
        self._buffered: list[Event] | None = None
        """Rows that are not emitted yet: of an XA transaction, or since a savepoint."""
        self._savepoints: list[_Savepoint] = []
        self._spilled = False
        """Whether rows that waited were emitted, or of an XA transaction dropped, because they were too many."""
        self._xa = False
        """Whether it is an XA transaction, whose rows arrive now."""
        self._prepared: dict[str, _Prepared] = {}
        self._stops_at_prepared = False
        self._end_uncertain = _NONE
        """Where the transaction starts in which a statement was skipped that may have been its end."""

    def emit_to(self, events: list[Event]) -> None:
        """Emits events to this list from now on."""
        self.emitted = events
        self._buffer(self._buffered)

    def forget(self) -> None:
        """Nothing is at hand any more."""
        self.gtid = None
        self.open = False
        self.begun = False
        self._end_uncertain = _NONE
        if self._buffered is not None:
            self._buffer(None)
            self._savepoints.clear()
            self._spilled = False
            self._xa = False

    def spill(self) -> None:
        """Rows are about to come, and those that wait are too many: lets them go on, and forgets the savepoints.

        By the rows alone, wherever the server's bytes were cut: a transaction that is read again has to be the same.
        """
        if self._buffered is None:
            return
        self._spilled = True
        if not self._xa:
            self.emitted.extend(self._buffered)
            self._savepoints.clear()
        self._buffered.clear()

    def _buffer(self, buffered: list[Event] | None) -> None:
        self._buffered = buffered
        self.sink = self.emitted if buffered is None else buffered
        self.emit = self.sink.append

    # Begin, events, and the end.

    def start(self, gtid: Gtid, mariadb_flags: int | None) -> None:
        """A GTID event: a transaction starts, and the one at hand never ended."""
        if self.gtid is not None:
            self.abandon(gtid.pos)
        self.gtid = gtid
        if mariadb_flags is not None:
            self.open = not mariadb_flags & STANDALONE
            if mariadb_flags & XA_PREPARE:
                self._start_xa()

    def start_without_gtid(self, timestamp: int, server_id: int, pos: int) -> None:
        """An event that stands alone."""
        self.gtid = Gtid(None, 0, server_id, pos, timestamp * 1_000_000, timestamp * 1_000_000)

    def begin(self) -> None:
        """Emits its Begin, which its first change does."""
        self.sink.append(self._begin())
        self.begun = True

    def _begin(self) -> Begin:
        gtid = self.gtid
        assert gtid is not None
        _, _, server_id, pos, ts_us, applied_us = gtid
        files = self._files
        begin: Begin = _new(Begin, (files.name(gtid), server_id, files.current, pos, ts_us, applied_us))
        return begin

    def announce(self, events: Sequence[Statement | SchemaChange | UnreadableRow]) -> None:
        """Emits events of it, after its Begin."""
        if events and not self.begun:
            self.begin()
        self.sink.extend(events)

    def drop_rows(self, pos: int, first_row: int) -> None:
        """Takes back the rows of an event that proved damaged further on: none of it can be trusted."""
        sink = self.sink
        while (
            sink and isinstance(row := sink[-1], RowChange | UnreadableRow) and row.pos == pos and row.row >= first_row
        ):
            sink.pop()

    def drop_xa(self) -> None:
        """Takes back the rows of the XA transaction at hand, and is out of it."""
        self._buffer(None)
        self._savepoints.clear()
        self._xa = False
        self._spilled = False
        self.begun = False

    def commit(self, end: int) -> None:
        """It is committed, and the next starts at `end`. Raises UndecodableEvent."""
        gtid = self.gtid
        if gtid is None:
            raise UndecodableEvent("a commit outside a transaction")
        files = self._files
        end = files.complete(gtid, end)
        if self._buffered is not None:
            self.emitted.extend(self._buffered)
        files.count(gtid.source, gtid.server_id, gtid.number, gtid.number + 1)
        if self.begun:
            self.emitted.append(_new(Commit, (files.current, end)))
        self.forget()

    def abandon(self, end: int) -> None:
        """The server stopped while it wrote the transaction at hand, unless what ended it was skipped."""
        if self.gtid is not None and self._end_uncertain == self.gtid.pos:
            self.commit(end)
            return
        if self.begun and not self._xa:
            self.emitted.append(Rollback(self._files.current, end))
        self.forget()

    def skipped(self, end: int, *, ends: bool, may_end: bool) -> None:
        """An event of it was skipped that `ends` it, or `may_end` it unless something else does."""
        if ends:
            self.commit(end)
        elif may_end:
            self._end_uncertain = _NONE if self.gtid is None else self.gtid.pos

    # Statements.

    def control(self, words: Sequence[str], sql: str, start: int, end: int) -> bool:
        """Does what a statement means that begins with these words, if it is about the transaction itself."""
        verb = words[0]
        if verb == "BEGIN":
            self.open = True
        elif verb == "COMMIT":
            self.commit(end)
        elif verb == "ROLLBACK":
            if "TO" in words[1:3]:
                self._rollback_to(sql)
            else:
                self._rolled_back(start, end)
        elif verb == "SAVEPOINT":
            self._savepoint(sql)
        elif verb == "XA":
            self._xa_statement(words[1], sql, end)
        else:
            return False
        return True

    def _rolled_back(self, start: int, end: int) -> None:
        """A transaction that is logged though it was rolled back: it changed tables without transactions as well.

        Which of its rows stand is not said, so they are reported as a change that nobody can attribute, in a
        transaction of its own that lies at the ROLLBACK.
        """
        assert self.gtid is not None
        if self._buffered is not None:
            self._buffer(None)
            self.begun = self._spilled or self._savepoints[0].begun
        if self.begun:
            self.emitted.append(Rollback(self._files.current, end))
            self.gtid = self.gtid._replace(pos=start)
            self.begun = False
            self.announce([Statement(None, "ROLLBACK")])
        self.commit(end)

    def _savepoint(self, sql: str) -> None:
        """Rows after a savepoint are buffered: what a rollback to it undoes is logged all the same where it changed
        tables without transactions as well."""
        if not self._xa and self._buffered is None:
            self._buffer([])
        if self._buffered is not None:
            self._savepoints.append(_Savepoint(last_name(sql), len(self._buffered), self.begun))

    def _rollback_to(self, sql: str) -> None:
        name = last_name(sql)
        for at in reversed(range(len(self._savepoints))):
            savepoint = self._savepoints[at]
            if savepoint.name == name:
                assert self._buffered is not None
                undone = self._buffered[savepoint.buffered :]
                del self._buffered[savepoint.buffered :]
                self.begun = savepoint.begun
                del self._savepoints[at + 1 :]
                if undone and not self._xa:
                    self.announce(self._doubtful(undone))
                return
        if self._spilled and self._buffered is not None:
            undone = self._buffered.copy()
            self._buffered.clear()
            self._savepoints.clear()
            self.announce([*self._doubtful(undone), Statement(None, "ROLLBACK")])
            return
        raise UndecodableEvent(f"a rollback to a savepoint {name!r} that is not in this transaction")

    def _doubtful(self, undone: list[Event]) -> list[Statement | SchemaChange | UnreadableRow]:
        """What is left of rows that a savepoint undid: they stand where their table has no transactions, and which
        tables have none is not in the binlog."""
        found: list[Statement | SchemaChange | UnreadableRow] = []
        for event in undone:
            if isinstance(event, RowChange):
                table, op, _, _, before_id, before_ref, after_id, after_ref, pos, row, _ = event
                kept = op == "u" and before_ref == after_ref
                keys = before_id, before_ref, after_id, after_ref, kept
                found.append(UnreadableRow(table, op, *keys, self._files.current, pos, row, _UNDONE))
            elif isinstance(event, Statement | SchemaChange | UnreadableRow):
                found.append(event)
        return found

    # XA transactions.

    def prepared(self) -> tuple[PreparedGroup, ...]:
        """XA transactions that are prepared and undecided."""
        return tuple(PreparedGroup(xid, group.file, group.gtid.pos) for xid, group in self._prepared.items())

    def prepared_gtids(self) -> list[Gtid]:
        """How these start."""
        return [group.gtid for group in self._prepared.values()]

    def stop_at_prepared(self) -> None:
        """Makes the first XA transaction that is prepared end the reading, with PreparedFound."""
        self._stops_at_prepared = True

    def take_prepared(self, other: Transaction) -> None:
        """Takes over the prepared XA transactions that were read elsewhere."""
        self._prepared |= other._prepared

    def _start_xa(self) -> None:
        self._buffer([])
        self.begun = True  # its rows get the Begin of the transaction that decides them
        self.open = True
        self._xa = True

    def _xa_statement(self, verb: str, sql: str, end: int) -> None:
        if verb in ("START", "BEGIN"):
            self._start_xa()
        elif verb in ("COMMIT", "ROLLBACK"):
            self._xa_decided(xid_of(sql), verb, end)
        elif verb != "END":
            raise UndecodableEvent(f"XA {verb} is unknown")

    def xa_prepare(self, body: bytes, end: int) -> None:
        """XA PREPARE: the rows wait, and its GTID is not counted, so that a restart brings them again.

        Raises UndecodableEvent, PreparedFound.
        """
        if self.gtid is None or self._buffered is None:
            raise UndecodableEvent("an XA PREPARE outside an XA transaction")
        xid, one_phase = xid_prepared(body)
        rows: list[Event] = [Statement(None, "XA COMMIT")] if self._spilled else self._buffered
        gtid, files = self.gtid, self._files
        if one_phase:
            self.drop_xa()
            self._emit_whole(rows)
            self.commit(end)
            return
        self._prepared[xid] = _Prepared(rows, gtid, files.current)
        if self._stops_at_prepared:
            raise PreparedFound
        if self._mariadb:
            files.count(gtid.source, gtid.server_id, gtid.number, gtid.number + 1)
        files.file, files.pos = files.current, end
        self.forget()

    def _xa_decided(self, xid: str, verb: str, end: int) -> None:
        prepared = self._prepared.pop(xid, None)
        if prepared is None:
            if verb == "COMMIT":  # prepared before we began: nobody knows its rows any more
                self.announce([Statement(None, "XA COMMIT")])
        else:
            if verb == "COMMIT":
                assert self.gtid is not None
                self._emit_whole(_placed(prepared.rows, self.gtid.pos))
            if not self._mariadb:
                gtid = prepared.gtid
                self._files.count(gtid.source, gtid.server_id, gtid.number, gtid.number + 1)
        self.commit(end)

    def _emit_whole(self, rows: list[Event]) -> None:
        if rows:
            self.emitted.append(self._begin())
            self.emitted += rows
            self.begun = True


_UNDONE: Final = "a row that a logged ROLLBACK TO undid, unless its table has no transactions"


def _placed(rows: list[Event], pos: int) -> list[Event]:
    """Rows of an XA transaction, numbered where it is committed: they may lie in another file than that."""
    return [
        row._replace(pos=pos, row=number) if isinstance(row, RowChange | UnreadableRow) else row
        for number, row in enumerate(rows)
    ]
