"""The commonest transaction, one row, read at one stroke: two thirds of the time that its five events take one by one.

Pure, and never the last word: what is not exactly the usual sequence, whole and undamaged, is left to the decoder's
loop, which also names what is wrong with it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from consumer.binlog.constants import HEADER, EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Id
from consumer.binlog.rows import TableDecoder
from consumer.mysql.errors import PreconditionFailed

FRAME: Final = 5
"""Bytes before an event in a stream of packets: length (3), number, and a 0 that says that an event follows."""
CRC_OF_CHECKED: Final = 0x2144DF1C
"""CRC32 over any bytes followed by their own CRC32."""
frame_header: Final = struct.Struct("<IB4xB4xII").unpack_from
"""Length and number of the packet, its mark, and the event's kind, size and end."""

EXPLICIT: Final = 0x02 | 0x10
"""Flags of a rows event: foreign keys were off for it (NO_FOREIGN_KEY_CHECKS_F in MySQL's rows_event.h and MariaDB's
log_event.h), or what they did is logged, event by event (USE_SQL_FOREIGN_KEY_F, from MySQL 9.6 on)."""

XID_SIZE: Final = HEADER + 8
"""An XID event's size without its checksum."""

_QUERY, _TABLE_MAP, _XID = int(EventType.QUERY), int(EventType.TABLE_MAP), int(EventType.XID)
_INSERTS: Final = frozenset((int(EventType.WRITE_ROWS), int(EventType.WRITE_ROWS_V1)))
_UPDATES: Final = frozenset((int(EventType.UPDATE_ROWS), int(EventType.UPDATE_ROWS_V1)))


class Known(NamedTuple):
    """A table map as it was last written for a table id: raw body, event size, and the table's decoder if captured."""

    raw: bytes
    decoder: TableDecoder | None
    size: int


class OneRow(NamedTuple):
    """The row (a RowChange's members without `pos` and `row`); where its event starts and where the commit ends in
    their file, 32 bits wide as events say it; where the commit ends in the data; what decoded the row.
    """

    row: tuple[str, str, str | None, str | None, Id | None, Id | None, Id | None, Id | None]
    pos: int
    done: int
    end: int
    decoder: TableDecoder
    explicit: bool


def one_row(data: bytes, at: int, check: int, maps: Mapping[bytes, Known], begun: bool) -> OneRow | None:
    """BEGIN (unless the GTID event was one: `begun`), a known table map, an event of one row, and the commit.

    `at` is behind the GTID event and `check` the size of checksums. None for anything else.
    """
    unpack, crc32 = frame_header, zlib.crc32
    try:
        if not begun:
            packet, marker, kind, size, _ = unpack(data, at)
            body = at + FRAME + HEADER
            end = at + FRAME + size
            tail = end - check - 5
            if (
                kind != _QUERY
                or marker
                or packet & 0xFFFFFF != size + 1
                or not data.startswith(b"BEGIN", tail)
                or tail - 14 - body != data[body + 8] + data[body + 11] + (data[body + 12] << 8)
                or (check and crc32(data[at + FRAME : end]) != CRC_OF_CHECKED)
            ):
                return None
            at = end

        packet, marker, kind, size, _ = unpack(data, at)
        body = at + FRAME + HEADER
        end = at + FRAME + size
        table_id = data[body : body + 6]
        known = maps.get(table_id)
        if (
            known is None
            or kind != _TABLE_MAP
            or marker
            or packet & 0xFFFFFF != size + 1
            or known[2] != size
            or not data.startswith(known[0], body)
            or (check and crc32(data[at + FRAME : end]) != CRC_OF_CHECKED)
        ):
            return None
        decoder = known[1]
        if decoder is None:
            return None
        at = end

        packet, marker, kind, size, position = unpack(data, at)
        end = at + FRAME + size
        usual = decoder.usual.get(kind)
        if (
            usual is None
            or marker
            or packet & 0xFFFFFF != size + 1
            or not data.startswith(table_id, at + FRAME + HEADER)
            or not data.startswith(usual[0], at + FRAME + HEADER + 8)
            or (check and crc32(data[at + FRAME : end]) != CRC_OF_CHECKED)
        ):
            return None
        prefix, table, bitmap, images = usual
        explicit = data[at + FRAME + HEADER + 6] & EXPLICIT != 0
        at += FRAME + HEADER + 8 + len(prefix)
        start = position - size
        row: tuple[str, str, str | None, str | None, Id | None, Id | None, Id | None, Id | None]
        text, id_, ref, at = images[data[at : at + bitmap]](data, at + bitmap)
        if kind in _INSERTS:
            row = (table, "c", None, text, None, None, id_, ref)
        elif kind in _UPDATES:
            new, new_id, new_ref, at = images[data[at : at + bitmap]](data, at + bitmap)
            row = (table, "u", text, new, id_, ref, new_id, new_ref)
        else:
            row = (table, "d", text, None, id_, ref, None, None)
        if at != end - check:  # more rows
            return None

        packet, marker, kind, size, done = unpack(data, end)
        at = end + FRAME + size
        if (
            kind != _XID
            or marker
            or size != XID_SIZE + check
            or packet & 0xFFFFFF != size + 1
            or at > len(data)
            or (check and crc32(data[end + FRAME : at]) != CRC_OF_CHECKED)
        ):
            return None
    except (struct.error, IndexError, ValueError, KeyError, OverflowError, UndecodableEvent, PreconditionFailed):
        return None
    return OneRow(row, start, done, at, decoder, explicit)
