"""Templates for transactions of one row that look like one seen before: most of their bytes need only be the same.

What stays the same (sizes, kinds of events, source, BEGIN, table map) is compared at once, and what differs is read at
once. Two checksums do for four or five: over whole events and the packets' heads between them, a checksum depends on
the events' sizes and on those heads alone, because behind its own checksum every event leaves the same sum. A wrong
byte anywhere makes it another.

Templates are learnt from what the decoder's loop has read and are never the last word: what is not exactly equal is
left to the loop, which also names what is wrong with it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from consumer.binlog.constants import EXPLICIT, FRAME, HEADER, INSERTS, UPDATES, EventType, frame_header
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Event, Single
from consumer.binlog.files import Files
from consumer.binlog.gtid_event import (
    COMMIT_TIME,
    ORIGINAL_AT,
    ORIGINAL_FOLLOWS,
    STANDALONE,
    WITH_TIMES,
    XA_COMPLETE,
    XA_PREPARE,
    Source,
    mariadb_source,
    mysql_source,
    original_time,
)
from consumer.binlog.query_event import is_begin
from consumer.binlog.rows import DAMAGE, Image, TableDecoder
from consumer.mysql.errors import PreconditionFailed

_CHECK: Final = 4
_BODY: Final = FRAME + HEADER
"""Where an event's body starts in its packet."""
_ROWS_HEAD: Final = HEADER + 8
"""Header, table id and flags of a rows event."""
_XID_SIZE: Final = HEADER + 8
"""An XID event's size without its checksum."""
_XID_PACKET: Final = FRAME + _XID_SIZE
_KEPT: Final = 500
_ORIGINAL: Final = _BODY + ORIGINAL_AT
_OTHERWISE: Final = STANDALONE | XA_PREPARE | XA_COMPLETE
"""Flags of a MariaDB's GTID event behind which another sequence of events follows."""
_MYSQL: Final = (int(EventType.GTID), int(EventType.QUERY), int(EventType.TABLE_MAP))
_MARIADB: Final = (int(EventType.MARIADB_GTID), int(EventType.TABLE_MAP))
"""Events before the rows."""
_new = tuple.__new__
_xid = struct.Struct("<9x9sI").unpack_from
"""The last event's kind, server id and size, and where it ends in its file."""
_xid_head = struct.Struct(f"<3sxB{_XID_SIZE}x").unpack_from
_XID_HEAD: Final = ((_XID_SIZE + 1).to_bytes(3, "little"), 0)
"""Length and mark of its packet where it has no checksum."""

_Unpack = Callable[[bytes, int], tuple[Any, ...]]


class Template(NamedTuple):
    """What is the same in transactions of one table and source, up to the head of their rows event."""

    same: _Unpack
    expected: tuple[Any, ...]
    differing: _Unpack
    """Number of the first packet; the GTID event's time, end, number, and commit time (MySQL) or flags (MariaDB);
    length with number and mark of the rows' packet; kind, size and end of its event."""
    sums: tuple[int, ...]
    """The checksum of all events before the rows, by the number of the first packet; empty where there are none."""
    rows: int
    """Where the rows event starts."""
    usual: dict[int, tuple[bytes, str, int, dict[bytes, Image]]]
    """As in TableDecoder."""
    xid: bytes
    """Kind, server id and size of the XID event."""
    explicit: bool
    """As in RowChange."""


def _sums(*sizes: int) -> tuple[int, ...]:
    """The checksum of a whole event followed by packets with events of these sizes, by the first event's number."""
    found = []
    for number in range(256):
        data = _checked(_CHECK)
        for n, size in enumerate(sizes, 1):
            data += (size + 1).to_bytes(3, "little") + bytes(((number + n) & 0xFF, 0)) + _checked(size)
        found.append(zlib.crc32(data))
    return tuple(found)


def _checked(size: int) -> bytes:
    """Any bytes with their checksum."""
    return bytes(size - _CHECK) + zlib.crc32(bytes(size - _CHECK)).to_bytes(4, "little")


_SUMS_OF_ROWS: Final = _sums(_XID_SIZE + _CHECK)
"""The checksum of the rows event and the XID behind it, by the number of the rows' packet."""


@lru_cache(64)
def _layout(check: int, gtid: int, *others: int) -> tuple[_Unpack, _Unpack, tuple[int, ...]]:
    """`same`, `differing` and `sums` of a Template for events of these sizes, with checksums of `check` bytes.

    `others` are MySQL's BEGIN and its table map, or MariaDB's table map.
    """
    *begin, table_map = others
    head = "9x" if check else "3sxB4x"  # length and mark of a packet, which a checksum over it covers; time
    same = "<3sxB4x9s6x"  # GTID: length and mark of its packet; kind, server id and size; then its source
    same += f"x16s{gtid - HEADER - 17}x" if begin else f"8x4s{gtid - HEADER - 12}x"
    for size in begin:  # the same; lengths of database and variables; text
        same += f"{head}9s6x8xB2xH{size - HEADER - 18 - check}x5s{check}x"
    same += f"{head}9s6x{table_map - HEADER - check}s{check}x"  # the same; all that it says
    same += "24x8s"  # rows: table id and flags
    differing = "<3xBxI9xI" + (f"19xq17xQ{gtid - 69}x" if begin else f"2xQ4xB{gtid - HEADER - 13}x")
    differing += f"{sum(others) + FRAME * len(others)}xIB4xB4xII"
    return struct.Struct(same).unpack_from, struct.Struct(differing).unpack_from, _sums(*others) if check else ()


_Tables = dict[bytes, Template]
_Shapes = dict[int, tuple[int, dict[int, tuple[int, _Tables]]]]
"""By the length of the first packet: its bytes with its head; by the length of the second: where the table id is; by
table id: templates. Of lengths, the low byte."""


class Templates:
    """The templates of a stream."""

    def __init__(self, *, mariadb: bool) -> None:
        self._mariadb = mariadb
        self._check = 0
        self._sources: dict[tuple[Source, int], _Shapes] = {}
        """By the source of the GTID and the server's id."""
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._sources)

    def clear(self) -> None:
        """Forgets all templates."""
        self._sources.clear()
        self._count = 0

    def learn(
        self, data: bytes, at: int, end: int, check: int, decoder_of: Callable[[bytes], TableDecoder | None]
    ) -> None:
        """Remembers a transaction of one row: its first event's packet starts at `at`, that of its last at `end`.

        `check` is the size of checksums; `decoder_of` gives the decoder of a table id.
        """
        kinds: list[int] = []
        starts: list[int] = []
        sizes: list[int] = []
        while at < end and len(kinds) <= len(_MYSQL):
            _, _, kind, size, _ = frame_header(data, at)
            kinds.append(kind)
            starts.append(at)
            sizes.append(size)
            at += FRAME + size
        *before, rows_kind = kinds
        if at != end or tuple(before) != (_MARIADB if self._mariadb else _MYSQL):
            return
        start, second, table_map, rows = starts[0], starts[1], starts[-2], starts[-1]
        table_id = data[table_map + _BODY : table_map + _BODY + 6]
        decoder = decoder_of(table_id)
        if decoder is None or rows_kind not in decoder.usual:
            return
        source: Source
        if self._mariadb:
            _, source = mariadb_source(data, start + _BODY)
        elif sizes[0] - check < HEADER + WITH_TIMES or not is_begin(data, second + _BODY, table_map - check):
            return
        else:
            source, _ = mysql_source(data, start + _BODY)
        if check != self._check or self._count >= _KEPT:
            self.clear()
            self._check = check
        self._count += 1
        same, differing, sums = _layout(check, *sizes[:-1])
        server = data[start + 10 : start + 14]
        shapes = self._sources.setdefault((source, int.from_bytes(server, "little")), {})
        _, seconds = shapes.setdefault(data[start], (second - start, {}))
        _, tables = seconds.setdefault(data[second], (table_map + _BODY - start, {}))
        tables[table_id] = Template(
            same,
            same(data, start),
            differing,
            sums,
            rows - start + FRAME,
            decoder.usual,
            bytes((EventType.XID,)) + server + (_XID_SIZE + check).to_bytes(4, "little"),
            data[rows + _BODY + 6] & EXPLICIT != 0,
        )

    def read(
        self,
        data: bytes,
        at: int,
        check: int,
        files: Files,
        emit: Callable[[Event], None],
    ) -> int:
        """Emits the transactions from the GTID event's packet at `at` on as long as there are templates for them.

        `files` moves on with them. Returns where the rest starts: at `at`, if there is none for the first.
        """
        mariadb = self._mariadb
        server_id = int.from_bytes(data[at + 10 : at + 14], "little")
        source: Source
        if mariadb:
            number, source = mariadb_source(data, at + _BODY)
        else:
            source, number = mysql_source(data, at + _BODY)
        shapes = self._sources.get((source, server_id))
        if shapes is None or check != self._check or not number:
            return at
        first, prefix = number, files.prefix(source, server_id)
        file, base, done = files.current, files.base, 0
        new, crc32, xid, starts_with = _new, zlib.crc32, _xid, data.startswith
        sums_of_rows = _SUMS_OF_ROWS
        behind_xid = _XID_PACKET + check
        try:
            while True:
                gtid, seconds = shapes[data[at]]
                table, tables = seconds[data[at + gtid]]
                table += at
                same, expected, differing, sums, rows, usual, last, explicit = tables[data[table : table + 6]]
                if same(data, at) != expected:
                    break
                packet, timestamp, pos, found, times, length, mark, kind, rows_size, rows_end = differing(data, at)
                rows += at
                end = rows - 1 + (length & 0xFFFFFF)
                found_last, commit = xid(data, end)
                head, table_name, bitmap, images = usual[kind]
                if (
                    found != number
                    or mark
                    or rows_size != end - rows
                    or found_last != last
                    or commit < pos
                    or not starts_with(head, rows + _ROWS_HEAD)
                ):
                    break
                if not check:
                    if _xid_head(data, end) != _XID_HEAD:
                        break
                elif (
                    crc32(data[at + FRAME : rows - FRAME]) != sums[packet]
                    or crc32(data[rows : end + behind_xid]) != sums_of_rows[length >> 24]
                ):
                    break
                before = before_id = before_ref = after = after_id = after_ref = None
                p = rows + _ROWS_HEAD + len(head)
                if kind in INSERTS:
                    op = "c"
                    after, after_id, after_ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                else:
                    op = "d"
                    before, before_id, before_ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                    if kind in UPDATES:
                        op = "u"
                        after, after_id, after_ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                if p != end - check:  # more rows
                    break
                if mariadb:
                    if times & _OTHERWISE:
                        break
                    ts_us = applied_us = timestamp * 1_000_000
                else:
                    ts_us = applied_us = times & COMMIT_TIME
                    if times & ORIGINAL_FOLLOWS:
                        ts_us = original_time(data[at + _ORIGINAL : at + gtid - check], applied_us)
                row_pos = rows_end - rows_size
                if mariadb and not rows_end:  # not logged from 11.4 on: only the table map's packet is between
                    row_pos = pos + rows - at - gtid - 2 * FRAME
                single = (
                    f"{prefix}{number}",
                    server_id,
                    file,
                    pos + base - gtid + FRAME,
                    ts_us,
                    table_name,
                    op,
                    before,
                    after,
                    before_id,
                    before_ref,
                    after_id,
                    after_ref,
                    row_pos + base,
                    commit + base,
                    applied_us,
                    explicit,
                )
                emit(new(Single, single))
                at = end + behind_xid
                number += 1
                done = commit + base
        except (*DAMAGE, UndecodableEvent, PreconditionFailed):
            pass
        finally:  # of a server that is gone when it is asked about a key: what was emitted lies behind us all the same
            if number > first:
                files.count(source, server_id, first, number)
                files.file, files.pos = file, done
        return at
