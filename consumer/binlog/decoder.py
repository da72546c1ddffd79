"""Binlog events become row changes: the reader's hot path, without any I/O.

`BinlogDecoder.decode` is handed whatever the receive buffer holds and cuts packets and events out of it by index; what
happens a million times an hour happens inside its one loop, everything rarer in the methods below it.
Formats: MySQL's "Replication protocol" pages and `libs/mysql/binlog/event/`, MariaDB's `sql/log_event.h`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import zstandard

from consumer.binlog.constants import HEADER, EventType, event_name, packed_integer
from consumer.binlog.errors import BinlogCorrupt, UndecodableEvent
from consumer.binlog.events import (
    Begin,
    Commit,
    Event,
    Heartbeat,
    Id,
    Rollback,
    Rotate,
    RowChange,
    SchemaChange,
    Single,
    Statement,
    UnreadableRow,
)
from consumer.binlog.gtid_event import (
    APPLIED_AT,
    COMMIT_TIME,
    ORIGINAL_AT,
    ORIGINAL_FOLLOWS,
    original_time,
    tagged_gtid,
)
from consumer.binlog.one_row import CRC_OF_CHECKED, EXPLICIT, FRAME, Known, frame_header, one_row
from consumer.binlog.payload import PLAIN, inflate, pieces
from consumer.binlog.position import MariaDBGtids, MySQLGtids, Position, PreparedGroup
from consumer.binlog.query_event import LOAD_HEAD, QUERY_HEAD, last_name, logged_statement, xid_of, xid_prepared
from consumer.binlog.refusal import refused
from consumer.binlog.rows import Fold, TableDecoder
from consumer.binlog.statements import Scope, effects, leading_words
from consumer.binlog.table_map import parse, table_name
from consumer.binlog.templates import Alike
from consumer.capture import CAPTURED
from consumer.mysql.errors import ConnectionLost, PreconditionFailed, SourceError

_E = EventType

_ARTIFICIAL: Final = 0x20
_IGNORABLE: Final = 0x80
_WRAP: Final = 1 << 32
_MAPS_KEPT: Final = 5_000
_DECODERS_KEPT: Final = 200
_NO_TABLE: Final = 0xFFFFFF
"""The table id of an event that only closes a statement."""

_INSERT, _UPDATE, _DELETE, _PARTIAL = range(4)
_ROWS: Final[Mapping[int, int]] = {
    _E.WRITE_ROWS: _INSERT,
    _E.WRITE_ROWS_V1: _INSERT,
    _E.UPDATE_ROWS: _UPDATE,
    _E.UPDATE_ROWS_V1: _UPDATE,
    _E.DELETE_ROWS: _DELETE,
    _E.DELETE_ROWS_V1: _DELETE,
    _E.PARTIAL_UPDATE_ROWS: _PARTIAL,
}
_OPS: Final = ("c", "u", "d", "u")
"""What the rows of these are."""
_NO_KEYS: Final = (None, None, None, None, False)
"""An UnreadableRow's members where nothing of it is known."""
_Image = tuple[str, Id | None, Id | None, int]
_ROWS_V1: Final = frozenset((_E.WRITE_ROWS_V1, _E.UPDATE_ROWS_V1, _E.DELETE_ROWS_V1))
_STATEMENTS: Final = frozenset((_E.QUERY, _E.EXECUTE_LOAD_QUERY, _E.INCIDENT))
"""Events that may stand alone."""
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
        _E.GTID,
        _E.ANONYMOUS_GTID,
        _E.GTID_TAGGED,
        _E.MARIADB_GTID,
        _E.MARIADB_GTID_LIST,
    )
)
"""Events without which nobody knows where the binlog goes on, or what was executed."""
_QUERIES: Final = frozenset((_E.QUERY, *(kind for kind, plain in PLAIN.items() if plain == _E.QUERY)))
_ENDS: Final = frozenset((_E.XID, _E.XA_PREPARE, _E.TRANSACTION_PAYLOAD))
"""Events that end what they stand in."""
_DAMAGE: Final = (IndexError, ValueError, struct.error, KeyError, OverflowError)
"""What reading the bytes of a damaged event raises."""

_event_header = struct.Struct("<IBIIIH").unpack_from
_mysql_gtid = struct.Struct("<x16sq17xQ").unpack_from
_mariadb_gtid = struct.Struct("<QIB").unpack_from
_STANDALONE: Final = 1
_XA_PREPARE, _XA_COMPLETE = 64, 128
_XA_FLAGS: Final = _XA_PREPARE | _XA_COMPLETE
_SELF_CHECKED: Final = frozenset((_E.ROTATE, _E.FORMAT_DESCRIPTION))
"""Events that may have another checksum than their neighbours."""

_Gtid = tuple[bytes | str | int | None, int, int, int, int, int]
"""Source (MySQL: uuid as bytes, or text with a tag; MariaDB: domain; None: anonymous), number, commit time in µs on its
source, server id, where the event starts, commit time on this server."""


class _Names(dict[bytes | str | int, str]):
    """Sources of MySQL's GTIDs as text."""

    def __missing__(self, source: bytes | str | int) -> str:
        text = self[source] = str(UUID(bytes=source)) if isinstance(source, bytes) else str(source)
        return text


def _op(before: str, after: str) -> str:
    """What a change is by the texts of its images; empty texts are history or absent, and two of them no change."""
    if before and after:
        return "u"
    return "d" if before else "c" if after else ""


class _Prepared(NamedTuple):
    """Rows of an XA transaction that is prepared; `gtid` of its PREPARE is not counted as executed until its end."""

    held: list[Event]
    gtid: _Gtid
    file: str


class PreparedFound(Exception):
    """An XA transaction is prepared here, and only that was asked for."""


class BinlogDecoder:
    """Follows a binlog: packets in, events out, with the position and the GTIDs of what is complete.

    `file` and `pos` are where the first transaction starts that was not handed out whole.
    """

    def __init__(
        self,
        scope: Scope,
        start: Position,
        *,
        mariadb: bool,
        charsets: Mapping[int, str],
        singles: bool = True,
        strict: bool = False,
        row_ends: Mapping[str, str] | None = None,
        folds: Callable[[int], Fold | None] = lambda _: None,
        skipped: Collection[tuple[str, int]] = (),
        uncaptured: dict[bytes, str] | None = None,
    ) -> None:
        """`charsets` maps collation numbers to charsets. With `singles`, a transaction of one row may come as a Single
        instead of three events. With `strict`, a table that lacks a column that is needed to judge is an error.
        `row_ends` are MariaDB's system-versioned tables and their columns of that meaning, where these have names.
        `folds` says by number what folds the text keys of a collation.
        Of the events that start at the places `skipped`, those that cannot be read are no error: each comes as an
        UnreadableRow of an unknown table, and rows of a table that cannot be captured as UnreadableRows of it, which
        `uncaptured` remembers beyond this decoder.
        Raises ValueError for a GTID set that is none."""
        self.file = start.file
        self.pos = start.pos
        self.file_started = 0
        """When the server began the file at hand (s since the epoch); 0 before its first event."""
        self.checksums = False
        self.mysql_gtids = MySQLGtids("" if mariadb else start.gtid_set)
        self.mariadb_gtids = MariaDBGtids(start.gtid_set if mariadb else "")
        self._gtids_known = bool(start.gtid_set)
        self._scope = scope
        self._mariadb = mariadb
        self._charsets = charsets
        self._singles = singles
        self._strict = strict
        self._row_ends = row_ends or {}
        self._folds = folds
        self._skipped = frozenset(skipped)
        self._uncaptured = {} if uncaptured is None else uncaptured
        """Why tables cannot be captured whose events are skipped, by their table maps' content."""
        self._passed_over = False
        """Whether `_run` ended behind an event that is skipped, with more to read behind it."""
        self._file = ""
        """The file that is being read: behind `file` while a server skips what we have."""
        self._base = 0
        """Multiples of 4 GB that positions, 32 bits wide, have lost in this file."""
        self._run_source: bytes | str | int | None = None
        self._run_first = self._run_next = 0
        self._names = _Names()
        self._maps: dict[bytes, Known] = {}
        self._decoders: dict[bytes, TableDecoder] = {}
        self._alike = Alike()
        self._gtid: _Gtid | None = None
        self._begun = False
        """Whether the transaction's Begin was handed out (or must not be)."""
        self._in_transaction = False
        self._end_unsure = -1
        """Where the transaction starts in which a statement was skipped that may have been its end; -1: none."""
        self._xid: str | None = None
        """The XA transaction whose rows arrive now."""
        self._held: list[Event] | None = None
        """Rows that are not handed out yet: of an XA transaction, or since a savepoint."""
        self._savepoints: list[tuple[str, int, bool]] = []
        self._prepared: dict[str, _Prepared] = {}
        self._stops_at_prepared = False
        self._payload: Iterator[bytes] | None = None
        self._payload_head = b""
        """The header of the event that holds it."""
        self._payload_rest = bytearray()
        self._outer = (0, 0)
        """Where the event starts and ends that holds the compressed ones at hand."""
        self._outer_rows = 0
        self._events: list[Event] = []

    def restart(self) -> None:
        """Forgets the transaction at hand: the next bytes come from a new connection that starts at our position."""
        self._file = ""
        self._base = 0
        self._maps.clear()
        self._alike.clear()
        self._payload = None
        self._payload_rest = bytearray()
        self.checksums = False
        self._end_group()

    def gtid_set(self) -> str:
        """What precedes (`file`, `pos`); empty where the server has no GTIDs or we do not know them all yet."""
        if not self._gtids_known:
            return ""
        if self._mariadb:
            return str(self.mariadb_gtids)
        self._add_run()
        return str(self.mysql_gtids)

    def prepared(self) -> tuple[PreparedGroup, ...]:
        """XA transactions that are prepared and undecided."""
        return tuple(PreparedGroup(xid, group.file, group.gtid[4]) for xid, group in self._prepared.items())

    def stop_at_prepared(self) -> None:
        """Makes the first XA transaction that is prepared end the reading, with PreparedFound."""
        self._stops_at_prepared = True

    def hold_prepared(self, other: BinlogDecoder) -> None:
        """Takes over the prepared XA transactions of a decoder that was sent to read them."""
        self._prepared |= other._prepared

    @property
    def has_payload(self) -> bool:
        """Whether a compressed transaction is at hand, to be taken from `decode_payload` before anything else."""
        return self._payload is not None

    # The hot path.

    def decode(self, data: bytes, events: list[Event]) -> int:
        """Appends the events of all complete packets in `data` and returns how many bytes they took.

        Stops behind a packet that holds a compressed transaction (see `has_payload`). Raises ConnectionLost at the
        server's end of the stream, BinlogPurged, BinlogCorrupt, UndecodableEvent, PreconditionFailed; what was
        complete before is in `events` then, and position and GTIDs stand behind it.
        """
        self._events = events
        at = self._run(data, framed=True)
        while self._passed_over:
            self._passed_over = False
            at += self._run(data[at:], framed=True)
        return at

    def decode_payload(self, events: list[Event]) -> None:
        """Appends the events of the next piece of the compressed transaction at hand. Raises as `decode`."""
        self._events = events
        assert self._payload is not None
        try:
            piece = next(self._payload, None)
        except (zstandard.ZstdError, ValueError) as error:
            self._skip_or_raise(self._payload_head, *self._outer, error)
            return
        if piece is None:
            if self._payload_rest:
                cut_off = UndecodableEvent("it ends inside an event")
                self._skip_or_raise(self._payload_head, *self._outer, cut_off)
            self._payload = None
            return
        rest = self._payload_rest
        rest += piece
        if len(rest) >= HEADER and len(rest) >= int.from_bytes(rest[9:13], "little"):
            data = bytes(FRAME) + rest
            del rest[: self._run(data, framed=False)]
            while self._passed_over and self._payload is not None:
                self._passed_over = False
                data = bytes(FRAME) + rest
                del rest[: self._run(data, framed=False)]
            self._passed_over = False

    def _run(self, data: bytes, *, framed: bool) -> int:
        """Decodes events in `data` and returns how many bytes were used.

        With `framed` each stands in a packet; otherwise they follow each other bare and without checksums, behind
        five bytes that stand for a packet's head.
        """
        # Names of the loop, bound once.
        size_of_data = len(data)
        mariadb = self._mariadb
        maps = self._maps
        maps_get = maps.get
        kinds_get = _ROWS.get
        names = self._names
        last_gtids = self.mariadb_gtids.last
        new = tuple.__new__
        crc32 = zlib.crc32
        unpack = frame_header
        from_bytes = int.from_bytes
        starts_with = data.startswith
        overlap = 0 if framed else FRAME
        check = 4 if framed and self.checksums else 0
        singles = framed and self._singles
        alike = self._alike if singles and check and not mariadb else None
        # The state, taken along and put back.
        file = self._file
        base = self._base
        gtid = self._gtid
        begun = self._begun
        in_transaction = self._in_transaction
        holding = self._held is not None
        emit = (self._events if self._held is None else self._held).append
        done_file, done_pos = self.file, self.pos
        run_source = self._run_source
        run_next = self._run_next
        at = 0
        kind = size = position = 0
        strange = False
        start = -1  # of the rows event at hand, -1 where none is
        first_row = 0
        before = (-1, 0)  # start and first row of the rows event before
        failed: Exception | None = None
        try:
            while at + FRAME + HEADER <= size_of_data:
                packet, marker, kind, size, position = unpack(data, at)
                if framed and (marker or packet & 0xFFFFFF != size + 1):
                    strange = True
                    break
                end = at + FRAME + size
                if end > size_of_data:
                    break
                body = at + FRAME + HEADER
                body_end = end - check
                if body > body_end:
                    raise BinlogCorrupt(f"it has only {size} bytes")
                if check and crc32(data[at + FRAME : end]) != CRC_OF_CHECKED and kind not in _SELF_CHECKED:
                    raise BinlogCorrupt("its checksum is wrong")

                if kind == 19:  # table map: known, if it says what it said before
                    known = maps_get(data[body : body + 6])
                    if known is None or known[2] != size or not starts_with(known[0], body):
                        self._table_map(data[body:body_end], size)

                elif kind == 16 and not holding:  # commit
                    if gtid is None:
                        raise UndecodableEvent("a commit outside a transaction")
                    source, number, _, server_id, first, _ = gtid
                    if framed:
                        done = position + base
                        if done < first:
                            base += _WRAP
                            done += _WRAP
                    else:
                        done = self._outer[1]
                    if mariadb:
                        last_gtids[source] = (server_id, number)  # type: ignore[index]
                    elif number == run_next and source == run_source:
                        run_next += 1
                    elif source is not None:
                        self._run_next = run_next
                        self._start_run(source, number)
                        run_source, run_next = source, number + 1
                    done_file, done_pos = file, done
                    if begun:
                        emit(new(Commit, (file, done)))
                        begun = False
                    gtid = None
                    in_transaction = False

                elif kind == 33 and gtid is None and size >= 73 + check:
                    source, number, times = _mysql_gtid(data, body)
                    if alike is not None and number == run_next and source == run_source:
                        at, run_next, done = alike.read(data, at, source, names[source], number, file, base, emit)
                        if done:
                            done_file, done_pos = file, done
                            continue
                    server_id = from_bytes(data[at + 10 : at + 14], "little")
                    ts_us = applied_us = times & COMMIT_TIME
                    if times & ORIGINAL_FOLLOWS:
                        ts_us = original_time(data[body + ORIGINAL_AT : body_end], applied_us)
                    first = position + base - size
                    found = one_row(data, end, check, maps, False) if singles else None
                    if found is None or found.done + base < first:  # 4 GB are passed on the way
                        gtid = (source, number, ts_us, server_id, first, applied_us)
                    else:
                        if alike is not None:
                            alike.learn(data, at, source, found.decoder)
                        change, pos, done, end, _, explicit = found
                        done += base
                        if number == run_next and source == run_source:
                            run_next += 1
                        else:
                            self._run_next = run_next
                            self._start_run(source, number)
                            run_source, run_next = source, number + 1
                        name = f"{names[source]}:{number}"
                        single = (name, server_id, file, first, ts_us, *change, pos + base, done, applied_us, explicit)
                        emit(new(Single, single))
                        done_file, done_pos = file, done

                elif (
                    kind == 2
                    and gtid is not None
                    and not in_transaction
                    and starts_with(b"BEGIN", body_end - 5)
                    and body_end - 19 - body == data[body + 8] + data[body + 11] + (data[body + 12] << 8)
                ):
                    in_transaction = True

                elif (rows := kinds_get(kind)) is not None:
                    known = maps_get(data[body : body + 6])
                    if known is None:
                        self._rows_without_map(data[body : body + 6])
                    elif (decoder := known[1]) is not None:
                        if gtid is None:
                            raise UndecodableEvent("rows outside a transaction")
                        if framed:
                            start = position + base - size
                            row = 0
                        else:
                            start = self._outer[0]
                            row = first_row = self._outer_rows
                        if not begun:
                            begun = True
                            source, number, ts_us, server_id, first, applied_us = gtid
                            if source is None:
                                name = None
                            elif mariadb:
                                name = f"{source!s}-{server_id}-{number}"
                            else:
                                name = f"{names[source]}:{number}"
                            emit(new(Begin, (name, server_id, file, first, ts_us, applied_us)))
                        usual = decoder.usual.get(kind)
                        at = body + 8
                        explicit = data[body + 6] & EXPLICIT != 0
                        try:
                            if usual is not None and starts_with(usual[0], at):
                                prefix, table, bitmap, images = usual
                                at += len(prefix)
                                if rows == 0:
                                    while at < body_end:
                                        nulls = data[at : at + bitmap]
                                        image = images[nulls]
                                        text, id_, ref, at = image(data, at + bitmap)
                                        emit(
                                            new(
                                                RowChange,
                                                (table, "c", None, text, None, None, id_, ref, start, row, explicit),
                                            )
                                        )
                                        row += 1
                                elif rows == 1:
                                    while at < body_end:
                                        nulls = data[at : at + bitmap]
                                        image = images[nulls]
                                        old, old_id, old_ref, at = image(data, at + bitmap)
                                        nulls = data[at : at + bitmap]
                                        image = images[nulls]
                                        text, id_, ref, at = image(data, at + bitmap)
                                        emit(
                                            new(
                                                RowChange,
                                                (
                                                    table,
                                                    "u",
                                                    old,
                                                    text,
                                                    old_id,
                                                    old_ref,
                                                    id_,
                                                    ref,
                                                    start,
                                                    row,
                                                    explicit,
                                                ),
                                            )
                                        )
                                        row += 1
                                else:
                                    while at < body_end:
                                        nulls = data[at : at + bitmap]
                                        image = images[nulls]
                                        text, id_, ref, at = image(data, at + bitmap)
                                        emit(
                                            new(
                                                RowChange,
                                                (table, "d", text, None, id_, ref, None, None, start, row, explicit),
                                            )
                                        )
                                        row += 1
                                if at != body_end:
                                    raise UndecodableEvent("the rows do not fill the event")
                            else:
                                row = self._rows(decoder, kind, data[:body_end], at, (start, row), emit, explicit)
                        except (UndecodableEvent, UnicodeError) as error:
                            self._drop_rows(start, first_row)
                            where = (start, first_row)
                            row = self._unreadable_rows(decoder, kind, data[:body_end], body + 8, where, emit, error)
                        if not framed:
                            self._outer_rows = row
                        before, start = (start, first_row), -1

                elif kind == 162 and gtid is None and not data[body + 12] & _XA_FLAGS:
                    number, source, flags = _mariadb_gtid(data, body)
                    ts_us = from_bytes(data[at + 5 : at + 9], "little") * 1_000_000
                    server_id = from_bytes(data[at + 10 : at + 14], "little")
                    first = position + base - size
                    found = one_row(data, end, check, maps, True) if singles and not flags & _STANDALONE else None
                    if found is None or found.done + base < first:  # 4 GB are passed on the way
                        gtid = (source, number, ts_us, server_id, first, ts_us)
                        in_transaction = not flags & _STANDALONE
                    else:
                        change, pos, done, end, _, explicit = found
                        done += base
                        last_gtids[source] = (server_id, number)
                        name = f"{source}-{server_id}-{number}"
                        single = (name, server_id, file, first, ts_us, *change, pos + base, done, ts_us, explicit)
                        emit(new(Single, single))
                        done_file, done_pos = file, done

                elif kind == 34 and gtid is None and size >= 73 + check:  # anonymous
                    _, number, times = _mysql_gtid(data, body)
                    ts_us = applied_us = times & COMMIT_TIME
                    if times & ORIGINAL_FOLLOWS:
                        ts_us = original_time(data[body + ORIGINAL_AT : body_end], applied_us)
                    server_id = from_bytes(data[at + 10 : at + 14], "little")
                    gtid = (None, number, ts_us, server_id, position + base - size, applied_us)

                else:
                    # Rarer: the methods see the state and may change it.
                    self._gtid, self._begun, self._in_transaction = gtid, begun, in_transaction
                    self._run_source, self._run_next, self._base = run_source, run_next, base
                    self.file, self.pos = done_file, done_pos
                    at = end - overlap
                    self._rare(data[body - HEADER : end], check)
                    gtid, begun, in_transaction = self._gtid, self._begun, self._in_transaction
                    run_source, run_next, base = self._run_source, self._run_next, self._base
                    done_file, done_pos, file = self.file, self.pos, self._file
                    holding = self._held is not None
                    emit = (self._events if self._held is None else self._held).append
                    check = 4 if framed and self.checksums else 0
                    alike = self._alike if singles and check and not mariadb else None
                    if self._payload is not None and framed:
                        break
                at = end - overlap
        except (*_DAMAGE, UndecodableEvent, PreconditionFailed, BinlogCorrupt) as error:
            failed = error
        finally:
            self._gtid, self._begun, self._in_transaction = gtid, begun, in_transaction
            self._run_source, self._run_next, self._base = run_source, run_next, base
            self.file, self.pos = done_file, done_pos
        if failed is not None:
            place = (position + base - size, position + base) if framed else self._outer
            head = end - size
            # Where an event in a compressed transaction lies about its size, nobody knows where the next one starts.
            event = data[head : max(head + HEADER, end - check)] if framed or size >= HEADER else self._payload_head
            if start != -1:
                self._drop_rows(start, first_row)
            elif not self._is_skipped(event[4], place[0]):
                self._drop_rows(*before)  # their transaction is not known to be whole
            self._skip_or_raise(event, *place, failed)
            self._passed_over = True
            behind: int = end - overlap
            return behind
        if len(maps) > _MAPS_KEPT and gtid is None:
            maps.clear()
        if framed and self._payload is None:
            rest = size_of_data - at
            if strange or (FRAME <= rest < FRAME + HEADER and rest >= 4 + from_bytes(data[at : at + 3], "little")):
                self._strange_packet(data, at)
        return at

    # Everything rarer.

    def decode_event(self, event: bytes, events: list[Event]) -> None:
        """Appends the events of one event that was too large for one packet. Raises as `decode`."""
        self._events = events
        position = int.from_bytes(event[13:17], "little") + self._base
        if self.checksums:
            if zlib.crc32(event) != CRC_OF_CHECKED:
                wrong = BinlogCorrupt("its checksum is wrong")
                self._skip_or_raise(event[:-4], position - len(event), position, wrong)
                return
            event = event[:9] + (len(event) - 4).to_bytes(4, "little") + event[13:-4]
        self._run_inner(event, position - len(event), position)

    def _run_inner(self, event: bytes, start: int, end: int) -> None:
        """Decodes an event that was taken out of its packet, or out of another event from `start` to `end`."""
        self._outer = (start, end)
        self._outer_rows = 0
        used = self._run(bytes(FRAME) + event, framed=False)
        self._passed_over = False
        if used != len(event):
            raise UndecodableEvent("its length is not what its header says")

    def _skip_or_raise(self, event: bytes, start: int, end: int, error: Exception) -> None:
        """Passes over an event (less its checksum) that cannot be read where it is to be skipped; else raises why.

        Only the first bytes of its header have to be there.
        """
        if isinstance(error, SourceError) and error.place:
            raise error  # an event inside this one has said it already
        kind = event[4]
        place = self._file or self.file, start
        what = f"the {event_name(kind)} event at {place[0]}:{start}"
        if self._is_skipped(kind, start):
            self._pass_over(event, start, end, f"{what} is skipped: {error}", isinstance(error, PreconditionFailed))
            return
        hint = (
            "consumer setup --repair --from now begins anew at the server's present"
            if kind in _STRUCTURE
            else f"consumer read --skip-event {place[0]}:{start} goes on behind it"
        )
        named = type(error) if isinstance(error, SourceError) else UndecodableEvent
        raise named(f"{what} cannot be read: {error}; {hint} and has every lead read live", place) from error

    def _is_skipped(self, kind: int, start: int) -> bool:
        """Whether an event of this kind at this position is passed over where it cannot be read."""
        return kind not in _STRUCTURE and (self._file or self.file, start) in self._skipped

    def _pass_over(self, event: bytes, start: int, end: int, why: str, uncapturable: bool) -> None:
        """Reports an event that is skipped as a row of whom nobody knows, in its transaction or in one of its own.

        What ends a transaction ends it all the same. With `uncapturable`, the table's rows are unreadable from here on.
        """
        kind, body = event[4], event[HEADER:]
        alone = self._gtid is None
        if self._gtid is None:
            ts_us = int.from_bytes(event[:4], "little") * 1_000_000
            self._gtid = (None, 0, ts_us, int.from_bytes(event[5:9], "little"), start, ts_us)
        if kind == _E.XA_PREPARE:
            self._held, self._begun = None, False
        self._announce([UnreadableRow(None, "u", *_NO_KEYS, self._file, start, self._outer_rows, why)])
        table_id = body[:6]
        if uncapturable:
            raw = body if kind == _E.TABLE_MAP else self._maps[table_id].raw
            self._uncaptured[raw[8:]] = why
            self._decoders.pop(raw[8:], None)
            self._table_map(raw, 0)
        elif kind == _E.TABLE_MAP:
            self._maps[table_id] = Known(body, None, 0)
        if kind == _E.TRANSACTION_PAYLOAD:
            self._payload = None
            self._payload_rest = bytearray()
        if alone or kind in _ENDS or (kind in _QUERIES and not self._in_transaction):
            self._commit(end)
        elif kind in _QUERIES:
            self._end_unsure = -1 if self._gtid is None else self._gtid[4]

    def _drop_rows(self, start: int, first_row: int) -> None:
        """Takes back the rows of an event that proved damaged further on: none of it can be trusted."""
        sink = self._events if self._held is None else self._held
        while (
            sink
            and isinstance(row := sink[-1], RowChange | UnreadableRow)
            and row.pos == start
            and row.row >= first_row
        ):
            sink.pop()

    def _strange_packet(self, data: bytes, at: int) -> None:
        """A packet that is not one whole event: the start of a larger one (returns), an error, or the stream's end."""
        length = int.from_bytes(data[at : at + 3], "little")
        marker = data[at + 4]
        where = f"{self._file or self.file}:{self.pos}"
        if length == 0xFFFFFF and marker == 0:
            return
        if marker == 0xFE and length < 9:
            raise ConnectionLost(f"the server ended the stream at {where}")
        if marker != 0xFF:
            raise BinlogCorrupt(f"a packet of {length} bytes behind {where} holds no event of that size")
        if at + 4 + length > len(data):
            return
        refused(data[at + 5 : at + 4 + length], where)

    def _table_map(self, event_body: bytes, size: int) -> None:
        """A table map that was not seen like this under its id."""
        database, table, _ = table_name(event_body, 8)
        captured = self._scope.table(database, table)
        decoder = None
        if captured is not None:
            content = event_body[8:]
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
        self._maps[event_body[:6]] = Known(event_body, decoder, size)

    def _rows_without_map(self, table_id: bytes) -> None:
        """Rows of a table id that no map was seen for: only MySQL's empty closing event may come so."""
        if int.from_bytes(table_id, "little") != _NO_TABLE:
            raise UndecodableEvent(f"no table map precedes rows of table id {int.from_bytes(table_id, 'little')}")

    def _rows(
        self,
        decoder: TableDecoder,
        kind: int,
        data: bytes,
        at: int,
        where: tuple[int, int],
        emit: Callable[[Event], None],
        explicit: bool,
    ) -> int:
        """Rows whose event does not start as the last one of this table did, from behind table id and flags.

        `where` holds the event's start and the number of its first row; returns the number after its last row.
        """
        start, row = where
        what = _ROWS[kind]
        if decoder.unreadable:
            emit(UnreadableRow(decoder.table, _OPS[what], *_NO_KEYS, self._file, start, row, decoder.unreadable))
            return row + 1
        head = at
        before, after, at = self._bitmaps(decoder, kind, data, at)
        bitmap = decoder.bitmap_size
        versioned = decoder.row_end is not None
        if what is not _PARTIAL and not versioned and decoder.is_full(before) and decoder.is_full(after):
            decoder.usual[kind] = (data[head:at], decoder.table, bitmap, decoder.images)

        def image(present: bytes, at: int) -> tuple[str, Id, Id | None, int]:
            end = at + (decoder.present(present) + 7) // 8
            shape = None if decoder.is_full(present) else present
            return decoder.image(shape, data[at:end])(data, end)

        table = decoder.table
        while at < len(data):
            text, id_, ref, at = image(before, at)
            if versioned and what in (_INSERT, _DELETE) and not text:
                pass  # history
            elif what is _INSERT:
                emit(RowChange(table, "c", None, text, None, None, id_, ref, start, row, explicit))
            elif what is _DELETE:
                emit(RowChange(table, "d", text, None, id_, ref, None, None, start, row, explicit))
            else:
                if what is _PARTIAL:
                    at = decoder.behind_value_options(data, at)
                new_text, new_id, new_ref, at = image(after, at)
                if versioned and not (text and new_text):
                    if text:  # it becomes history
                        emit(RowChange(table, "d", text, None, id_, ref, None, None, start, row, explicit))
                    elif new_text:
                        emit(RowChange(table, "c", None, new_text, None, None, new_id, new_ref, start, row, explicit))
                    row += 1
                    continue
                emit(RowChange(table, "u", text, new_text, id_, ref, new_id, new_ref, start, row, explicit))
            row += 1
        if at != len(data):
            raise UndecodableEvent("the rows do not fill the event")
        return row

    def _unreadable_rows(
        self,
        decoder: TableDecoder,
        kind: int,
        data: bytes,
        at: int,
        where: tuple[int, int],
        emit: Callable[[Event], None],
        error: UndecodableEvent | UnicodeError,
    ) -> int:
        """As `_rows`, for an event of which some row cannot be read: each of its rows, or that it cannot be read.

        Raises `error` where it is not certain either where the rows end.
        """
        start, row = where
        explicit = data[at - 2] & EXPLICIT != 0
        try:
            before, after, at = self._bitmaps(decoder, kind, data, at)
            what = _ROWS[kind]
            while at < len(data):
                said: list[str] = []
                row_start = at
                new: _Image = ("", None, None, at)
                old = self._image(decoder, before, data, at, said)
                _, id_, ref, at = old
                if what is _INSERT:
                    old, new = ("", None, None, at), old
                elif what is not _DELETE:
                    if what is _PARTIAL:
                        at = decoder.behind_value_options(data, at)
                    new = self._image(decoder, after, data, at, said)
                    at = new[3]
                if at == row_start:
                    raise UndecodableEvent("images without any column: nobody can say how many rows these are")
                op = _op(old[0], new[0])
                if said and op:
                    kept = what in (_UPDATE, _PARTIAL) and (not decoder.has_ref(after) or ref == new[2] is not None)
                    new_id = new[1] if new[1] is not None or what is _INSERT or op == "d" else id_
                    keys = old[1], old[2], new_id, new[2]
                    emit(UnreadableRow(decoder.table, op, *keys, kept, self._file, start, row, said[0]))
                elif op:
                    change = (decoder.table, op, old[0] or None, new[0] or None)
                    had = old[1:3] if old[0] else (None, None)
                    has = new[1:3] if new[0] else (None, None)
                    emit(RowChange(*change, *had, *has, start, row, explicit))
                row += 1
            sound = at == len(data)
        except (*_DAMAGE, UndecodableEvent):
            sound = False
        if not sound:
            self._drop_rows(*where)
            raise error
        return row

    @staticmethod
    def _image(decoder: TableDecoder, present: bytes, data: bytes, at: int, said: list[str]) -> _Image:
        """An image, or only its keys where it cannot be read, and then why in `said`."""
        end = at + (decoder.present(present) + 7) // 8
        nulls = data[at:end]
        try:
            return decoder.image(None if decoder.is_full(present) else present, nulls)(data, end)
        except UndecodableEvent as error:
            said.append(str(error))
        except UnicodeError:
            said.append(f"a text in a row of {decoder.table} is not written in its column's character set")
        return decoder.keys(present, nulls, data, end)

    @staticmethod
    def _bitmaps(decoder: TableDecoder, kind: int, data: bytes, at: int) -> tuple[bytes, bytes, int]:
        """Which columns are in the images before and after, and where the rows start. Raises UndecodableEvent."""
        if kind not in _ROWS_V1:
            at += int.from_bytes(data[at : at + 2], "little")
        columns, at = packed_integer(data, at)
        if columns != len(decoder.columns):
            raise UndecodableEvent(f"{columns} columns where the table map has {len(decoder.columns)}")
        bitmap = decoder.bitmap_size
        before = after = data[at : at + bitmap]
        at += bitmap
        if _ROWS[kind] in (_UPDATE, _PARTIAL):
            after = data[at : at + bitmap]
            at += bitmap
        return before, after, at

    def _rare(self, event: bytes, check: int) -> None:
        """Any event that the hot path leaves; `check` is the size of its checksum."""
        timestamp, kind, server_id, size, position, flags = _event_header(event)
        body = event[HEADER : len(event) - check]
        start, end = (position + self._base - size, position + self._base) if position else (self.pos, self.pos)
        if self._payload is not None:
            start, end = self._outer
        if kind in _STATEMENTS and self._gtid is None:
            ts_us = timestamp * 1_000_000
            self._gtid = (None, 0, ts_us, server_id, start, ts_us)
        if kind in (_E.GTID, _E.ANONYMOUS_GTID, _E.GTID_TAGGED, _E.MARIADB_GTID):
            self._start_group(kind, body, timestamp, server_id, start)
        elif kind in (_E.QUERY, _E.EXECUTE_LOAD_QUERY):
            self._query(body, QUERY_HEAD if kind == _E.QUERY else LOAD_HEAD, start, end)
        elif kind == _E.XID:
            self._commit(end)
        elif kind == _E.XA_PREPARE:
            self._xa_prepared(body, end)
        elif kind == _E.TRANSACTION_PAYLOAD:
            self._payload = pieces(body)
            self._payload_head = event[:HEADER]
            self._payload_rest = bytearray()
            self._outer = (start, end)
            self._outer_rows = 0
        elif kind in PLAIN:
            self._run_inner(inflate(event[: len(event) - check]), start, end)
        elif kind == _E.ROTATE:
            self._rotate(event, artificial=bool(flags & _ARTIFICIAL) or not position)
        elif kind == _E.FORMAT_DESCRIPTION:
            self._format_description(event, position)
        elif kind == _E.PREVIOUS_GTIDS:
            self._previous_gtids(body)
        elif kind == _E.MARIADB_GTID_LIST:
            self._gtid_list(body)
        elif kind in (_E.HEARTBEAT, _E.HEARTBEAT_V2):
            self._heartbeat(kind, body, position)
        elif kind == _E.INCIDENT:
            self._announce([Statement(None, "INCIDENT")])
            if not self._in_transaction:
                self._commit(end)
        elif kind not in _WITHOUT_MEANING and not flags & _IGNORABLE:
            raise UndecodableEvent("this kind of event is unknown")

    # Transactions.

    def _start_group(self, kind: int, body: bytes, timestamp: int, server_id: int, start: int) -> None:
        if self._gtid is not None:
            self._abandon(start)
        ts_us = timestamp * 1_000_000
        if kind == _E.GTID_TAGGED:
            tagged = tagged_gtid(body)
            self._gtid = (tagged.source, tagged.number, tagged.ts_us, server_id, start, tagged.applied_us)
        elif kind == _E.MARIADB_GTID:
            number, domain, flags = _mariadb_gtid(body, 0)
            self._gtid = (domain, number, ts_us, server_id, start, ts_us)
            self._in_transaction = not flags & _STANDALONE
            if flags & _XA_PREPARE:
                self._hold_xa()
        else:
            source = body[1:17] if kind == _E.GTID else None
            applied_us = ts_us
            if len(body) >= 50:
                times = int.from_bytes(body[APPLIED_AT:ORIGINAL_AT], "little")
                ts_us = applied_us = times & COMMIT_TIME
                if times & ORIGINAL_FOLLOWS:
                    ts_us = original_time(body[ORIGINAL_AT:], applied_us)
            self._gtid = (source, int.from_bytes(body[17:25], "little"), ts_us, server_id, start, applied_us)

    def _announce(self, events: Sequence[Statement | SchemaChange | UnreadableRow]) -> None:
        """Hands out events of the transaction at hand, after its Begin."""
        sink = self._events if self._held is None else self._held
        if events and not self._begun:
            sink.append(self._begin())
            self._begun = True
        sink.extend(events)

    def _begin(self) -> Begin:
        assert self._gtid is not None
        source, number, ts_us, server_id, start, applied_us = self._gtid
        name = None
        if source is not None:
            name = f"{source!s}-{server_id}-{number}" if self._mariadb else f"{self._names[source]}:{number}"
        return Begin(name, server_id, self._file, start, ts_us, applied_us)

    def _commit(self, end: int) -> None:
        """The transaction at hand is committed and the next starts at `end`."""
        if self._gtid is None:
            raise UndecodableEvent("a commit outside a transaction")
        if end < self._gtid[4]:
            self._base += _WRAP
            end += _WRAP
        if self._held is not None:
            self._events.extend(self._held)
        self._count(self._gtid)
        self.file, self.pos = self._file, end
        if self._begun:
            self._events.append(Commit(self._file, end))
        self._end_group()

    def _count(self, gtid: _Gtid) -> None:
        """Adds a GTID to those that are executed."""
        source, number, _, server_id, _, _ = gtid
        if self._mariadb:
            if isinstance(source, int):
                self.mariadb_gtids.add(source, server_id, number)
        elif source is not None:
            if source == self._run_source and number == self._run_next:
                self._run_next += 1
            else:
                self._start_run(source, number)

    def _start_run(self, source: bytes | str | int, number: int) -> None:
        """GTIDs mostly follow each other: the newest ones are one run, added to the set when asked for or broken."""
        self._add_run()
        self._run_source = source
        self._run_first = number
        self._run_next = number + 1

    def _add_run(self) -> None:
        if self._run_source is not None and self._run_next > self._run_first:
            self.mysql_gtids.add_range(self._names[self._run_source], self._run_first, self._run_next - 1)
            self._run_first = self._run_next

    def _end_group(self) -> None:
        self._gtid = None
        self._begun = False
        self._in_transaction = False
        self._end_unsure = -1
        self._held = None
        self._savepoints.clear()
        self._xid = None

    def _abandon(self, end: int) -> None:
        """The server stopped while it wrote the transaction at hand, unless what ended it was skipped."""
        if self._gtid is not None and self._end_unsure == self._gtid[4]:
            self._commit(end)
            return
        if self._begun and self._xid is None:
            self._events.append(Rollback(self._file, end))
        self._end_group()

    def _rolled_back(self, start: int, end: int) -> None:
        """A transaction that is logged though it was rolled back: it changed tables without transactions as well.

        Which of its rows stand is not said, so they are reported as a change that nobody can attribute, in a
        transaction of its own that lies at the ROLLBACK.
        """
        assert self._gtid is not None
        if self._held is not None:
            self._held = None
            self._begun = self._savepoints[0][2]
        if self._begun:
            self._events.append(Rollback(self._file, end))
            source, number, ts_us, server_id, _, applied_us = self._gtid
            self._gtid = (source, number, ts_us, server_id, start, applied_us)
            self._begun = False
            self._announce([Statement(None, "ROLLBACK")])
        self._commit(end)

    def _query(self, body: bytes, head: int, start: int, end: int) -> None:
        """A logged statement: transaction control, DDL, or a change whose rows are not told."""
        database, sql = logged_statement(body, head, self._charsets)
        words = (*leading_words(sql), "", "", "", "")
        verb = words[0]
        if verb == "BEGIN":
            self._in_transaction = True
        elif verb == "COMMIT":
            self._commit(end)
        elif verb == "ROLLBACK":
            if "TO" in words[1:3]:
                self._rollback_to(sql)
            else:
                self._rolled_back(start, end)
        elif verb == "SAVEPOINT":
            self._savepoint(sql)
        elif verb == "XA":
            self._xa(words[1], sql, end)
        else:
            self._announce(effects(sql, database, self._scope))
            if not self._in_transaction:
                self._commit(end)

    def _savepoint(self, sql: str) -> None:
        """Rows after a savepoint are held back: only what cannot be rolled back makes a server log a savepoint."""
        if self._xid is None and self._held is None:
            self._held = []
        if self._held is not None:
            self._savepoints.append((last_name(sql), len(self._held), self._begun))

    def _rollback_to(self, sql: str) -> None:
        name = last_name(sql)
        for at in reversed(range(len(self._savepoints))):
            if self._savepoints[at][0] == name:
                assert self._held is not None
                del self._held[self._savepoints[at][1] :]
                self._begun = self._savepoints[at][2]
                del self._savepoints[at + 1 :]
                return
        raise UndecodableEvent(f"a rollback to a savepoint {name!r} that is not in this transaction")

    # XA transactions.

    def _hold_xa(self) -> None:
        self._held = []
        self._begun = True  # its rows get the Begin of the transaction that decides them
        self._in_transaction = True
        self._xid = ""

    def _xa(self, verb: str, sql: str, end: int) -> None:
        if verb in ("START", "BEGIN"):
            self._hold_xa()
        elif verb in ("COMMIT", "ROLLBACK"):
            self._xa_decided(xid_of(sql), verb, end)
        elif verb != "END":
            raise UndecodableEvent(f"XA {verb} is unknown")

    def _xa_prepared(self, body: bytes, end: int) -> None:
        """XA PREPARE: the rows wait, and its GTID is not counted, so that a restart brings them again."""
        if self._gtid is None or self._held is None:
            raise UndecodableEvent("an XA PREPARE outside an XA transaction")
        xid, one_phase = xid_prepared(body)
        held = self._held
        gtid = self._gtid
        if one_phase:
            self._held = None
            self._begun = False
            self._hand_out(held)
            self._commit(end)
            return
        self._prepared[xid] = _Prepared(held, gtid, self._file)
        if self._stops_at_prepared:
            raise PreparedFound
        if self._mariadb:
            self._count(gtid)
        self.file, self.pos = self._file, end
        self._end_group()

    def _xa_decided(self, xid: str, verb: str, end: int) -> None:
        prepared = self._prepared.pop(xid, None)
        if prepared is None:
            if verb == "COMMIT":  # prepared before we began: nobody can tell its rows any more
                self._announce([Statement(None, "XA COMMIT")])
        else:
            if verb == "COMMIT":
                self._hand_out(prepared.held)
            if not self._mariadb:
                self._count(prepared.gtid)
        self._commit(end)

    def _hand_out(self, held: list[Event]) -> None:
        if held:
            self._events.append(self._begin())
            self._events += held
            self._begun = True

    # Files.

    def _rotate(self, event: bytes, *, artificial: bool) -> None:
        """The stream goes on in another file. A made-up event at the start of a stream only names the first file."""
        with_checksum = zlib.crc32(event) == CRC_OF_CHECKED
        body = event[HEADER : len(event) - 4 if with_checksum else len(event)]
        position, name = int.from_bytes(body[:8], "little"), body[8:].decode()
        if self._gtid is not None and name != self._file:
            self._abandon(self.pos)
        if self._file == self.file and name != self._file:
            self.file, self.pos = name, position
            self._events.append(Rotate(name, position))
        elif not artificial and self._file == "":
            self.file, self.pos = name, position
        self._file = name
        self._base = 0

    def _format_description(self, event: bytes, position: int) -> None:
        """A file's first event: says whether its events have checksums."""
        version = int.from_bytes(event[HEADER : HEADER + 2], "little")
        header = event[HEADER + 56]
        algorithm = event[-5]
        if version != 4 or header != HEADER or algorithm not in (0, 1):
            raise UndecodableEvent(f"binlog version {version}, headers of {header} bytes, checksum {algorithm}")
        self.checksums = algorithm == 1
        self.file_started = int.from_bytes(event[:4], "little")
        if self._gtid is not None and position:
            self._abandon(self.pos)

    def _previous_gtids(self, body: bytes) -> None:
        """MySQL: what was executed before this file, of which prepared XA transactions do not count yet."""
        if self._gtids_known:
            return
        self.mysql_gtids = MySQLGtids.decode(body)
        self._run_first = self._run_next
        self._gtids_known = True
        for prepared in self._prepared.values():
            source, number, *_ = prepared.gtid
            if source is not None:
                self.mysql_gtids.discard(self._names[source], number)

    def _gtid_list(self, body: bytes) -> None:
        """MariaDB: where each domain stands at the start of a file."""
        if self._gtids_known:
            return
        count = int.from_bytes(body[:4], "little") & 0x0FFFFFFF
        for at in range(4, 4 + 16 * count, 16):
            domain, server_id, number = struct.unpack_from("<IIQ", body, at)
            self.mariadb_gtids.add(domain, server_id, number)
        self._gtids_known = True

    def _heartbeat(self, kind: int, body: bytes, position: int) -> None:
        name = body
        if kind == _E.HEARTBEAT_V2:
            at = 0
            while at < len(body):
                field, at = packed_integer(body, at)
                if field == 0:
                    break
                length, at = packed_integer(body, at)
                value = body[at : at + length]
                at += length
                if field == 1:
                    name = value
                elif field == 2:
                    position, _ = packed_integer(value, 0)
        if self._gtid is None:
            if name.decode() == self._file == self.file and position > self.pos:
                self.pos = position
            self._events.append(Heartbeat(self.file, self.pos))
