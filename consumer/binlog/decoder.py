"""Row changes out of binlog events: the reader's hot path, without any I/O.

`BinlogDecoder.decode` is given whatever the receive buffer holds and cuts packets and events out of it by index, in one
loop that calls one method an event. Most transactions never get there: see `templates`.
Formats: MySQL's "Replication protocol" pages and `libs/mysql/binlog/event/`, MariaDB's `sql/log_event.h`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple

import zstandard

from consumer.binlog.constants import (
    CRC_OF_CHECKED,
    DELETES,
    EXPLICIT,
    FRAME,
    HEADER,
    INSERTS,
    UPDATES,
    EventType,
    event_name,
    frame_header,
)
from consumer.binlog.errors import BinlogCorrupt, UndecodableEvent, refused
from consumer.binlog.events import Begin, Event, Heartbeat, Rotate, RowChange, SchemaChange, Statement, UnreadableRow
from consumer.binlog.files import Files
from consumer.binlog.gtid_event import MARIADB_FLAGS_AT, MARIADB_GTIDS, MYSQL_GTIDS, read_gtid
from consumer.binlog.payload import PLAIN, inflate, pieces
from consumer.binlog.position import Position, PreparedGroup
from consumer.binlog.query_event import LOAD_HEAD, QUERY_HEAD, is_begin, logged_statement
from consumer.binlog.rows import DAMAGE, NO_KEYS, Fold, RowsEvent, TableDecoder
from consumer.binlog.statements import Scope, effects, leading_words
from consumer.binlog.table_map import parse, table_name
from consumer.binlog.templates import Templates
from consumer.binlog.transaction import Transaction
from consumer.capture import CAPTURED
from consumer.mysql.errors import ConnectionLost, PreconditionFailed, SourceError

_E = EventType

_ARTIFICIAL: Final = 0x20
_IGNORABLE: Final = 0x80
_MAPS_KEPT: Final = 5_000
_DECODERS_KEPT: Final = 200
_NO_TABLE: Final = 0xFFFFFF
"""The table id of an event that only closes a statement."""
_NO_ROWS: Final = -1
_NEVER_AGAIN: Final = -1
"""The size of a table map that has to be read again when it comes again."""
_TABLE_MAP, _GTID, _MARIADB_GTID = int(_E.TABLE_MAP), int(_E.GTID), int(_E.MARIADB_GTID)
_ROWS: Final = INSERTS | UPDATES | DELETES
_WITHOUT_MEANING: Final = frozenset(
    (
        _E.STOP,
        _E.INTVAR,
        _E.APPEND_BLOCK,
        _E.DELETE_FILE,
        _E.RAND,
        _E.USER_VAR,
        _E.BEGIN_LOAD_QUERY,
        _E.IGNORABLE,
        _E.ROWS_QUERY,
        _E.TRANSACTION_CONTEXT,
        _E.VIEW_CHANGE,
        _E.MARIADB_ANNOTATE_ROWS,
        _E.MARIADB_BINLOG_CHECKPOINT,
        _E.MARIADB_START_ENCRYPTION,
    )
)
"""Events that change no row by themselves."""
_STRUCTURE: Final = frozenset(
    (
        _E.FORMAT_DESCRIPTION,
        _E.ROTATE,
        _E.PREVIOUS_GTIDS,
        _E.MARIADB_GTID_LIST,
        *MYSQL_GTIDS,
        *MARIADB_GTIDS,
    )
)
"""Events without which nobody knows where the binlog goes on, or what was executed."""
_QUERIES: Final = frozenset((_E.QUERY, *(kind for kind, plain in PLAIN.items() if plain == _E.QUERY)))
_ENDS: Final = frozenset((_E.XID, _E.XA_PREPARE, _E.TRANSACTION_PAYLOAD))
"""Events that end what they stand in."""
_SELF_CHECKED: Final = frozenset((_E.ROTATE, _E.FORMAT_DESCRIPTION))
"""Events that may have another checksum than their neighbours."""

_head = struct.Struct("<IxI4xIH").unpack_from
"""Time, server id, position and flags in an event's header."""
_new = tuple.__new__


class _Known(NamedTuple):
    """A table map as it was last written for a table id: body and its size, and the table's decoder if captured."""

    raw: bytes
    decoder: TableDecoder | None
    size: int


def _is_short_packet(data: bytes, at: int) -> bool:
    """Whether a whole packet is at `at` in which no event has room."""
    rest = len(data) - at
    return FRAME <= rest < FRAME + HEADER and rest >= 4 + int.from_bytes(data[at : at + 3], "little")


class BinlogDecoder:
    """Follows a binlog: packets in, events out, with the position and the GTIDs of what is complete."""

    def __init__(
        self,
        scope: Scope,
        start: Position,
        *,
        mariadb: bool,
        charsets: Mapping[int, str],
        singles: bool = True,
        strict: bool = False,
        row_ends: Callable[[], Mapping[str, str]] = dict,
        folds: Callable[[int], Fold | None] = lambda _: None,
        skipped: Collection[tuple[str, int]] = (),
        uncaptured: dict[bytes, str] | None = None,
    ) -> None:
        """`charsets` maps collation numbers to charsets. With `singles`, a transaction of one row may come as a Single
        instead of three events; without, which only tests ask for, the loop reads what templates would. With `strict`,
        a table that lacks a column that is needed to judge is an error.
        `row_ends` gives MariaDB's system-versioned tables and their columns of that meaning; it is asked anew behind
        each change of a captured table.
        `folds` says by number what folds the text keys of a collation.
        Of the events that start at the positions `skipped`, those that cannot be read are no error: each comes as an
        UnreadableRow of an unknown table, and rows of a table that cannot be captured as UnreadableRows of it, which
        `uncaptured` remembers beyond this decoder.
        Raises ValueError for a GTID set that is none."""
        self._scope = scope
        self._mariadb = mariadb
        self._charsets = charsets
        self._strict = strict
        self._ask_row_ends = row_ends
        self._row_ends = row_ends()
        self._folds = folds
        self._skipped = frozenset(skipped)
        self._uncaptured = {} if uncaptured is None else uncaptured
        """Why tables cannot be captured whose events are skipped, by their table maps' content."""
        self._passed_over = False
        """Whether `_run` ended behind an event that is skipped, with more to read behind it."""
        self._files = Files(start, mariadb=mariadb)
        self._transaction = Transaction(self._files, mariadb=mariadb)
        self._templates = Templates(mariadb=mariadb) if singles else None
        self._gtid_at = -1
        """Where the packet is in the data at hand that began the transaction at hand; -1 where it came before."""
        self._check = 0
        """The size of checksums in the data at hand."""
        self._maps: dict[bytes, _Known] = {}
        self._decoders: dict[bytes, TableDecoder] = {}
        self._rows_at_hand = _NO_ROWS
        """Where the event at hand starts, if it holds rows of a captured table."""
        self._rows_before = _NO_ROWS
        """Where such an event started before it in the data at hand."""
        self._first_row_before = 0
        self._payload: Iterator[bytes] | None = None
        self._payload_head = b""
        """The header of the event that holds it."""
        self._payload_rest = bytearray()
        self._outer: tuple[int, int] | None = None
        """Where the event starts and ends that holds the one at hand, if another does."""
        self._outer_rows = 0
        """How many rows it has held before."""
        self._handlers: dict[int, Callable[[int, bytes, int, int, int, int], None]] = {
            **dict.fromkeys(MARIADB_GTIDS if mariadb else MYSQL_GTIDS, self._gtid_event),
            _E.QUERY: self._query_event,
            _E.XID: self._xid_event,
            **dict.fromkeys(_WITHOUT_MEANING, self._event_without_meaning),
        }

    @property
    def file(self) -> str:
        """The file of `pos`."""
        return self._files.file

    @property
    def pos(self) -> int:
        """Where the first transaction starts that was not emitted whole."""
        return self._files.pos

    @property
    def file_begun(self) -> int:
        """When the server began `file` (s since the epoch); 0: not known."""
        return self._files.file_begun

    def gtid_set(self) -> str:
        """What precedes (`file`, `pos`); empty where the server has no GTIDs or we do not know them all yet."""
        return self._files.gtid_set()

    def prepared(self) -> tuple[PreparedGroup, ...]:
        """XA transactions that are prepared and undecided."""
        return self._transaction.prepared()

    def stop_at_prepared(self) -> None:
        """Makes the first XA transaction that is prepared end the reading, with PreparedFound."""
        self._transaction.stop_at_prepared()

    def hold_prepared(self, other: BinlogDecoder) -> None:
        """Takes over the prepared XA transactions of a decoder that was sent to read them."""
        self._transaction.take_prepared(other._transaction)

    @property
    def has_payload(self) -> bool:
        """Whether a compressed transaction is at hand, to be taken from `decode_payload` before anything else."""
        return self._payload is not None

    def restart(self, *, elsewhere: bool = False) -> None:
        """Forgets the transaction at hand: the next bytes come from a new connection that starts at our position, or
        `elsewhere`, on another server, behind our GTIDs."""
        self._files.restart(elsewhere=elsewhere)
        self._transaction.forget()
        self._maps.clear()
        if self._templates is not None:
            self._templates.clear()
        self._end_payload()

    def decode(self, data: bytes, events: list[Event]) -> int:
        """Appends the events of all complete packets in `data` and returns how many bytes they took.

        Stops behind a packet that holds a compressed transaction (see `has_payload`). Raises ConnectionLost at the
        server's end of the stream, BinlogPurged, WrongServer, BinlogCorrupt, UndecodableEvent, PreconditionFailed, and
        what `folds` raise; what was complete before is in `events` then, and position and GTIDs stand behind it.
        """
        self._transaction.emit_to(events)
        at = self._run(data, framed=True)
        while self._passed_over:
            self._passed_over = False
            at += self._run(data[at:], framed=True)
        return at

    def decode_event(self, event: bytes, events: list[Event]) -> None:
        """Appends the events of one event that was too large for one packet. Raises as `decode`."""
        self._transaction.emit_to(events)
        end = int.from_bytes(event[13:17], "little")
        position = end + self._files.base if end else self._files.reached + len(event)
        self._files.reached = position
        if self._files.checksums:
            if zlib.crc32(event) != CRC_OF_CHECKED:
                wrong = BinlogCorrupt("its checksum is wrong")
                self._skip_or_raise(event[:-4], position - len(event), position, wrong)
                return
            event = event[:9] + (len(event) - 4).to_bytes(4, "little") + event[13:-4]
        self._run_inner(event, position - len(event), position)

    def decode_payload(self, events: list[Event]) -> None:
        """Appends the events of the next piece of the compressed transaction at hand. Raises as `decode`."""
        self._transaction.emit_to(events)
        assert self._payload is not None
        assert self._outer is not None
        try:
            piece = next(self._payload, None)
        except (zstandard.ZstdError, ValueError) as error:
            self._skip_or_raise(self._payload_head, *self._outer, error)
            return
        if piece is None:
            if self._payload_rest:
                cut_off = UndecodableEvent("it ends inside an event")
                self._skip_or_raise(self._payload_head, *self._outer, cut_off)
            self._end_payload()
            return
        rest = self._payload_rest
        rest += piece
        more = len(rest) >= HEADER and len(rest) >= int.from_bytes(rest[9:13], "little")
        while more:
            self._passed_over = False
            del rest[: self._run(bytes(FRAME) + rest, framed=False)]
            more = self._passed_over and self._payload is not None
        self._passed_over = False

    def _run_inner(self, event: bytes, start: int, end: int) -> None:
        """Decodes an event that was taken out of its packet, or out of another event from `start` to `end`."""
        rows_before = self._rows_before, self._first_row_before
        self._outer = (start, end)
        used = self._run(bytes(FRAME) + event, framed=False)
        self._passed_over = False
        if self._payload is None:  # otherwise it holds a compressed transaction, which is yet to come
            self._outer = None
            self._outer_rows = 0
        self._rows_before, self._first_row_before = rows_before
        if used != len(event):
            raise UndecodableEvent("its length is not what its header says")

    def _end_payload(self) -> None:
        self._payload = None
        self._payload_rest = bytearray()
        self._outer = None
        self._outer_rows = 0

    # The loop.

    def _run(self, data: bytes, *, framed: bool) -> int:
        """Decodes events in `data` and returns how many bytes were used.

        With `framed` each stands in a packet; otherwise they follow each other bare and without checksums, behind
        five bytes that stand for a packet's head.
        """
        size_of_data, before_body = len(data), FRAME + HEADER
        last_start = size_of_data - before_body
        files, transaction = self._files, self._transaction
        templates = self._templates if framed else None
        handler_of = self._handlers.get
        maps_get = self._maps.get
        table_map, rows_kinds, crc_of_checked = _TABLE_MAP, _ROWS, CRC_OF_CHECKED
        begins = _MARIADB_GTID if self._mariadb else _GTID
        outer = self._outer
        unpack, crc32 = frame_header, zlib.crc32
        overlap = 0 if framed else FRAME
        check = self._check = 4 if framed and files.checksums else 0
        self._gtid_at = -1
        self._rows_before = _NO_ROWS
        self._first_row_before = 0
        at = head = end = size = position = 0
        reached = files.reached
        other_packet = False
        try:
            while at <= last_start:
                packet, marker, kind, size, position = unpack(data, at)
                if framed and (marker or packet & 0xFFFFFF != size + 1):
                    other_packet = True
                    break
                head = at + FRAME
                end = head + size
                if end > size_of_data:
                    break
                # From 11.4 on MariaDB logs no end of an event inside a transaction (binlog_legacy_event_pos is OFF).
                reached = position + files.base if position else reached + size
                body = at + before_body
                body_end = end - check
                if body > body_end:
                    raise BinlogCorrupt(f"it has only {size} bytes")
                if check and crc32(data[head:end]) != crc_of_checked and kind not in _SELF_CHECKED:
                    raise BinlogCorrupt("its checksum is wrong")
                start = reached - size if outer is None else outer[0]
                if kind == table_map:
                    self._table_map_event(data, body, body_end)
                elif kind in rows_kinds:
                    known = maps_get(data[body : body + 6])
                    if known is None:
                        self._rows_without_map(data[body : body + 6])
                    elif known[1] is not None:
                        self._rows_event(known[1], kind, data, body, body_end, start)
                elif kind == begins and templates is not None and transaction.gtid is None:
                    behind = templates.read(data, at, check, files, transaction.emit) if templates else at
                    if behind > at:
                        at = behind
                        continue
                    self._gtid_at = at
                    self._gtid_event(kind, data, body, body_end, start, 0)
                else:
                    behind = reached if outer is None else outer[1]
                    handle = handler_of(kind)
                    if handle is not None:
                        handle(kind, data, body, body_end, start, behind)
                    else:
                        self._other_event(kind, data[body - HEADER : end], start, behind)
                        check = self._check = 4 if framed and files.checksums else 0
                        if self._payload is not None and framed:
                            at = end
                            break
                at = end - overlap
        except (*DAMAGE, UndecodableEvent, PreconditionFailed, BinlogCorrupt) as error:
            start, behind = outer or (reached - size, reached)
            # Where an event in a compressed transaction lies about its size, nobody knows where the next one starts.
            event = data[head : max(head + HEADER, end - check)] if framed or size >= HEADER else self._payload_head
            self._drop_rows(event[4], start)
            self._skip_or_raise(event, start, behind, error)
            self._passed_over = True
            if outer is None:
                files.reached = reached
            return end - overlap
        if outer is None:
            files.reached = reached
        if len(self._maps) > _MAPS_KEPT and transaction.gtid is None:
            self._maps.clear()
            if self._templates is not None:
                self._templates.clear()
        if other_packet or (framed and self._payload is None and _is_short_packet(data, at)):
            self._other_packet(data, at)
        return at

    # The events of most transactions: what each means. `data[at:end]` is the body; `start` and `behind` are positions.

    def _gtid_event(self, kind: int, data: bytes, at: int, end: int, start: int, behind: int) -> None:
        gtid = read_gtid(kind, data, at, end, start)
        self._transaction.start(gtid, data[at + MARIADB_FLAGS_AT] if kind == _MARIADB_GTID else None)

    def _query_event(self, kind: int, data: bytes, at: int, end: int, start: int, behind: int) -> None:
        if self._transaction.gtid is not None and is_begin(data, at, end):
            self._transaction.open = True
        else:
            timestamp, server_id, _, _ = _head(data, at - HEADER)
            self._statement(kind, data[at:end], timestamp, server_id, start, behind)

    def _table_map_event(self, data: bytes, at: int, end: int) -> None:
        """A table map, which mostly says what it said before."""
        known = self._maps.get(data[at : at + 6])
        if known is None or known[2] != end - at or not data.startswith(known[0], at):
            if known is not None and self._templates is not None:
                self._templates.clear()  # whose maps are always those that the loop has
            self._table_map(data[at:end])

    def _rows_event(self, decoder: TableDecoder, kind: int, data: bytes, at: int, end: int, start: int) -> None:
        """Rows of a captured table, mostly of an event that starts as the last of this table did."""
        transaction = self._transaction
        if transaction.gtid is None:
            raise UndecodableEvent("rows outside a transaction")
        row = first_row = self._outer_rows
        self._rows_at_hand = start
        if len(transaction.sink) > transaction.kept:
            transaction.spill()
        if not transaction.begun:
            transaction.begin()
        emit, new = transaction.emit, _new
        explicit = data[at + 6] & EXPLICIT != 0
        at += 8
        usual = decoder.usual.get(kind)
        try:
            if usual is None or not data.startswith(usual[0], at):
                event = RowsEvent(kind, data[:end], at, self._files.current, start, row, explicit)
                row = decoder.changes(event, emit)
            else:
                head, table, bitmap, images = usual
                p = at + len(head)
                # One loop for each kind, without a call a row.
                if kind in INSERTS:
                    while p < end:
                        text, id_, ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                        emit(new(RowChange, (table, "c", None, text, None, None, id_, ref, start, row, explicit)))
                        row += 1
                elif kind in DELETES:
                    while p < end:
                        text, id_, ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                        emit(new(RowChange, (table, "d", text, None, id_, ref, None, None, start, row, explicit)))
                        row += 1
                else:
                    while p < end:
                        old, old_id, old_ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                        text, id_, ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                        change = (table, "u", old, text, old_id, old_ref, id_, ref, start, row, explicit)
                        emit(new(RowChange, change))
                        row += 1
                if p != end:
                    raise UndecodableEvent("the rows do not fill the event")
        except (UndecodableEvent, UnicodeError):
            transaction.drop_rows(start, first_row)
            event = RowsEvent(kind, data[:end], at, self._files.current, start, first_row, explicit)
            found = decoder.readable_changes(event, emit)
            if found is None:
                raise
            row = found
        if self._outer is not None:
            self._outer_rows = row
            self._first_row_before = first_row
        self._rows_before = start
        self._rows_at_hand = _NO_ROWS

    def _xid_event(self, kind: int, data: bytes, at: int, end: int, start: int, behind: int) -> None:
        """A commit. What it ends is learnt as a template, if it was one row."""
        transaction = self._transaction
        events = transaction.sink
        one_row = len(events) > 1 and type(events[-1]) is RowChange and type(events[-2]) is Begin
        transaction.commit(behind)
        first, self._gtid_at = self._gtid_at, -1
        if one_row and first != -1 and self._templates is not None:
            self._templates.learn(data, first, at - HEADER - FRAME, self._check, self._decoder_of)

    def _event_without_meaning(self, kind: int, data: bytes, at: int, end: int, start: int, behind: int) -> None:
        """An event that changes no row by itself; templates have none."""
        self._gtid_at = -1

    # Tables.

    def _table_map(self, body: bytes) -> None:
        """A table map that was not seen like this under its id."""
        database, table, _ = table_name(body, 8)
        captured = self._scope.table(database, table)
        decoder = None
        if captured is not None:
            content = body[8:]
            decoder = self._decoders.get(content)
            if decoder is None:
                table_map = parse(content, self._mariadb)
                if len(self._decoders) >= _DECODERS_KEPT:
                    self._decoders.clear()
                decoder = self._decoders[content] = TableDecoder(
                    table_map,
                    CAPTURED[captured],
                    self._charsets,
                    strict=self._strict,
                    row_end=self._row_ends.get(captured, ""),
                    folds=self._folds,
                    unreadable=self._uncaptured.get(content, ""),
                )
        self._maps[body[:6]] = _Known(body, decoder, len(body))

    def _decoder_of(self, table_id: bytes) -> TableDecoder | None:
        known = self._maps.get(table_id)
        return None if known is None else known.decoder

    def _rows_without_map(self, table_id: bytes) -> None:
        """Rows of a table id that no map was seen for: only MySQL's empty closing event may come so."""
        if int.from_bytes(table_id, "little") != _NO_TABLE:
            raise UndecodableEvent(f"no table map precedes rows of table id {int.from_bytes(table_id, 'little')}")

    # Other events, and packets that hold none.

    def _other_event(self, kind: int, event: bytes, start: int, end: int) -> None:
        """`event` is all of it, with its checksum."""
        self._gtid_at = -1
        timestamp, server_id, position, flags = _head(event)
        files, transaction = self._files, self._transaction
        body = event[HEADER : len(event) - self._check]
        if not position and self._outer is None and transaction.gtid is None:
            start = end = files.pos
        if kind in (_E.EXECUTE_LOAD_QUERY, _E.INCIDENT):
            self._statement(kind, body, timestamp, server_id, start, end)
        elif kind == _E.XA_PREPARE:
            transaction.xa_prepare(body, end)
        elif kind == _E.TRANSACTION_PAYLOAD:
            self._payload = pieces(body)
            self._payload_head = event[:HEADER]
            self._payload_rest = bytearray()
            self._outer = (start, end)
            self._outer_rows = 0
        elif kind in PLAIN:
            self._run_inner(inflate(event[: len(event) - self._check]), start, end)
        elif kind == _E.ROTATE:
            self._rotate(event, artificial=bool(flags & _ARTIFICIAL) or not position)
        elif kind == _E.FORMAT_DESCRIPTION:
            files.format_description(event)
            if transaction.gtid is not None and position:
                transaction.abandon(files.pos)
        elif kind == _E.PREVIOUS_GTIDS:
            files.previous_gtids(body, transaction.prepared_gtids())
        elif kind == _E.MARIADB_GTID_LIST:
            files.gtid_list(body)
        elif kind in (_E.HEARTBEAT, _E.HEARTBEAT_V2):
            idle = transaction.gtid is None
            files.heartbeat(kind, body, position, idle=idle)
            if idle:
                transaction.emitted.append(Heartbeat(files.file, files.pos))
        elif not flags & _IGNORABLE:
            raise UndecodableEvent("this kind of event is unknown")

    def _statement(self, kind: int, body: bytes, timestamp: int, server_id: int, start: int, end: int) -> None:
        """A logged statement: transaction control, DDL, or a change whose rows are not reported."""
        transaction = self._transaction
        if transaction.gtid is None:
            transaction.start_without_gtid(timestamp, server_id, start)
        if kind == _E.INCIDENT:
            transaction.announce([Statement(None, "INCIDENT")])
        else:
            head = LOAD_HEAD if kind == _E.EXECUTE_LOAD_QUERY else QUERY_HEAD
            database, sql = logged_statement(body, head, self._charsets)
            if transaction.control((*leading_words(sql), "", "", "", ""), sql, start, end):
                return
            found = effects(sql, database, self._scope)
            if any(type(one) is SchemaChange for one in found):
                self._row_ends = self._ask_row_ends()
                self._decoders.clear()
            transaction.announce(found)
        if not transaction.open:
            transaction.commit(end)

    def _rotate(self, event: bytes, *, artificial: bool) -> None:
        """The stream goes on in another file."""
        files, transaction = self._files, self._transaction
        name, position = files.rotation(event)
        if transaction.gtid is not None and name != files.current:
            transaction.abandon(files.pos)
        if files.rotate(name, position, artificial=artificial):
            transaction.emitted.append(Rotate(name, position))

    def _other_packet(self, data: bytes, at: int) -> None:
        """A packet that is not one whole event: the start of a larger one (returns), an error, or the stream's end."""
        length = int.from_bytes(data[at : at + 3], "little")
        marker = data[at + 4]
        where = f"{self._files.current or self._files.file}:{self._files.pos}"
        if length == 0xFFFFFF and marker == 0:
            return
        if marker == 0xFE and length < 9:
            raise ConnectionLost(f"the server ended the stream at {where}")
        if marker != 0xFF:
            raise BinlogCorrupt(f"a packet of {length} bytes behind {where} holds no event of that size")
        if at + 4 + length > len(data):
            return
        refused(data[at + 5 : at + 4 + length], where)

    # Events that cannot be read.

    def _skip_or_raise(self, event: bytes, start: int, end: int, error: Exception) -> None:
        """Passes over an event (less its checksum) that cannot be read where it is to be skipped; else raises why.

        Only the first bytes of its header have to be there.
        """
        if isinstance(error, SourceError) and error.position:
            raise error  # an event inside this one has said it already
        kind = event[4]
        position = self._files.current or self._files.file, start
        what = f"the {event_name(kind)} event at {position[0]}:{start}"
        if self._is_skipped(kind, start):
            self._pass_over(event, start, end, f"{what} is skipped: {error}", isinstance(error, PreconditionFailed))
            return
        hint = (
            "consumer setup --repair --from now begins anew at the server's present"
            if kind in _STRUCTURE
            else f"consumer read --skip-event {position[0]}:{start} goes on behind it"
        )
        named = type(error) if isinstance(error, SourceError) else UndecodableEvent
        raise named(f"{what} cannot be read: {error}; {hint} and has every lead read live", position) from error

    def _drop_rows(self, kind: int, start: int) -> None:
        """Takes back what was emitted of an event that cannot be read; or of the rows before it, where it is no rows
        and is not skipped: their transaction is not known to be whole."""
        if self._rows_at_hand != _NO_ROWS:
            self._transaction.drop_rows(self._rows_at_hand, self._outer_rows)
            self._rows_at_hand = _NO_ROWS
        elif not self._is_skipped(kind, start):
            self._transaction.drop_rows(self._rows_before, self._first_row_before)

    def _is_skipped(self, kind: int, start: int) -> bool:
        """Whether an event of this kind at this position is passed over where it cannot be read."""
        return kind not in _STRUCTURE and (self._files.current or self._files.file, start) in self._skipped

    def _pass_over(self, event: bytes, start: int, end: int, why: str, uncapturable: bool) -> None:
        """Reports an event that is skipped as a row of whom nobody knows, in its transaction or in one of its own.

        What ends a transaction ends it all the same. With `uncapturable`, the table's rows are unreadable from here on.
        """
        kind, body, transaction = event[4], event[HEADER:], self._transaction
        alone = transaction.gtid is None
        if alone:
            timestamp, server_id = int.from_bytes(event[:4], "little"), int.from_bytes(event[5:9], "little")
            transaction.start_without_gtid(timestamp, server_id, start)
        if kind == _E.XA_PREPARE:
            transaction.drop_xa()
        file = self._files.current
        transaction.announce([UnreadableRow(None, "u", *NO_KEYS, file, start, self._outer_rows, why)])
        table_id = body[:6]
        if uncapturable:
            raw = body if kind == _E.TABLE_MAP else self._maps[table_id].raw
            self._uncaptured[raw[8:]] = why
            self._decoders.pop(raw[8:], None)
            self._table_map(raw)
            if self._templates is not None:
                self._templates.clear()
        elif kind == _E.TABLE_MAP:
            self._maps[table_id] = _Known(body, None, _NEVER_AGAIN)
        if kind == _E.TRANSACTION_PAYLOAD:
            self._end_payload()
        ends = alone or kind in _ENDS or (kind in _QUERIES and not transaction.open)
        transaction.skipped(end, ends=ends, may_end=kind in _QUERIES)
