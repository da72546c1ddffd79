"""One-row transactions that look like one before: of most of their bytes it is enough to see that they are the same.

What stays the same (sizes, kinds of events, source, BEGIN, table map) is compared at one stroke, and what differs is
read at another. Two checksums do for five: over whole events and the packets' heads between them, a checksum depends
on the events' sizes and on those heads alone, because behind its own checksum every event leaves the same sum. A wrong
byte anywhere makes it another.

Like `one_row`, from which these templates are learnt, it is never the last word: what is not exactly alike is left to
the decoder's loop, which also names what is wrong with it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from consumer.binlog.constants import HEADER, EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Event, Single
from consumer.binlog.gtid_event import COMMIT_TIME, ORIGINAL_AT, ORIGINAL_FOLLOWS, original_time
from consumer.binlog.one_row import EXPLICIT, FRAME, XID_SIZE, frame_header
from consumer.binlog.rows import Image, TableDecoder
from consumer.mysql.errors import PreconditionFailed

_CHECK: Final = 4
_HEAD: Final = 4
"""Bytes before a packet's content, whose first byte says that an event follows."""
_XID_END: Final = FRAME + XID_SIZE + _CHECK
_INSERTS: Final = frozenset((int(EventType.WRITE_ROWS), int(EventType.WRITE_ROWS_V1)))
_UPDATES: Final = frozenset((int(EventType.UPDATE_ROWS), int(EventType.UPDATE_ROWS_V1)))
_KEPT: Final = 500
_ORIGINAL: Final = FRAME + HEADER + ORIGINAL_AT
_new = tuple.__new__
_xid = struct.Struct("<9x9sI").unpack_from
"""The last event's kind, server id and size, and where it ends in its file."""

_Unpack = Callable[[bytes, int], tuple[Any, ...]]


class Template(NamedTuple):
    """What is the same in transactions that look alike, up to the head of their rows event."""

    same: _Unpack
    expected: tuple[Any, ...]
    differing: _Unpack
    """Number of the first packet; the GTID event's end, number and time; length and mark of the
    rows' packet, kind and end of its event."""
    sums: tuple[int, ...]
    """The checksum of all events before the rows, by the number of the first packet."""
    rows: int
    """Where the packet of the rows starts."""
    usual: dict[int, tuple[bytes, str, int, dict[bytes, Image]]]
    """As in TableDecoder."""
    server_id: int
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


_SUMS_OF_ROWS: Final = _sums(XID_SIZE + _CHECK)
"""The checksum of the rows event and the XID behind it, by the number of the rows' packet."""


@lru_cache(64)
def _layout(gtid: int, begin: int, table_map: int) -> tuple[_Unpack, _Unpack, tuple[int, ...]]:
    """`same`, `differing` and `sums` of a Template for events of these sizes."""
    same = (
        f"<3sxB4x9s6xx16s{gtid - HEADER - 17}x"  # GTID: length of its packet, mark; kind, server id and size; source
        f"9x9s6x8xB2xH{begin - HEADER - 18 - _CHECK}x5s4x"  # BEGIN: the same; lengths of database and status; text
        f"9x9s6x{table_map - HEADER - _CHECK}s4x"  # table map: the same; all that it says
        "24x8s"  # rows: table id and flags
    )
    differing = f"<3xB14xI19xq17xQ{gtid - 69 + 2 * FRAME + begin + table_map}xIB4xB4xII"
    return struct.Struct(same).unpack_from, struct.Struct(differing).unpack_from, _sums(begin, table_map)


class Alike:
    """The templates of a stream of MySQL's with checksums."""

    def __init__(self) -> None:
        self._by_table: dict[int, dict[bytes, Template]] = {}
        """By the length of BEGIN's packet, then by table id."""
        self._gtid = 0
        """Bytes of a GTID event with its packet's head."""
        self._source = b""

    def clear(self) -> None:
        """Forgets all templates."""
        self._by_table.clear()

    def learn(self, data: bytes, at: int, source: bytes, decoder: TableDecoder) -> None:
        """Remembers the transaction of one row whose GTID event's packet starts at `at`, as `one_row` has read it."""
        sizes = []
        start = at
        for _ in range(3):
            size = frame_header(data, at)[3]
            sizes.append(size)
            at += FRAME + size
        gtid, begin, _ = sizes
        same, differing, sums = _layout(*sizes)
        expected = same(data, start)
        server_id = data[start + 10 : start + 14]
        xid = bytes((EventType.XID,)) + server_id + (XID_SIZE + _CHECK).to_bytes(4, "little")
        if begin + 1 > 0xFF:  # its length is looked for in one byte
            return
        if source != self._source or gtid != self._gtid - FRAME or sum(map(len, self._by_table.values())) >= _KEPT:
            self._by_table.clear()
            self._gtid = gtid + FRAME
            self._source = source
        by_table = self._by_table.setdefault(begin + 1, {})
        by_table[expected[-1][:6]] = Template(
            same,
            expected,
            differing,
            sums,
            at - start,
            decoder.usual,
            int.from_bytes(server_id, "little"),
            xid,
            expected[-1][6] & EXPLICIT != 0,
        )

    def read(
        self,
        data: bytes,
        at: int,
        source: bytes,
        name: str,
        number: int,
        file: str,
        base: int,
        emit: Callable[[Event], None],
    ) -> tuple[int, int, int]:
        """Emits the transactions from `at` on as long as they look alike and are numbered on from `number`.

        `name` is their source as text. Returns where the rest starts, the next number, and where the last one ends in
        its file (0: there was none).
        """
        if source != self._source:
            return at, number, 0
        by_table = self._by_table
        gtid = self._gtid
        gtid_size = gtid - FRAME
        new, crc32, xid = _new, zlib.crc32, _xid
        sums_of_rows = _SUMS_OF_ROWS
        done_pos = 0
        try:
            while True:
                begin = at + gtid
                size = data[begin]
                table = begin + size + (_HEAD + FRAME + HEADER)
                same, expected, differing, sums, rows, usual, server_id, last, explicit = by_table[size][
                    data[table : table + 6]
                ]
                if same(data, at) != expected:
                    break
                packet, position, found, times, length, mark, kind, rows_size, rows_end = differing(data, at)
                rows += at + FRAME
                end = rows - 1 + (length & 0xFFFFFF)
                found_last, done = xid(data, end)
                prefix, table_name, bitmap, images = usual[kind]
                if (
                    found != number
                    or mark
                    or crc32(data[at + FRAME : rows - FRAME]) != sums[packet]
                    or crc32(data[rows : end + _XID_END]) != sums_of_rows[(packet + 3) & 0xFF]
                    or rows_size != end - rows
                    or found_last != last
                    or done < position
                    or not data.startswith(prefix, rows + HEADER + 8)
                ):
                    break
                p = rows + (HEADER + 8) + len(prefix)
                text, id_, ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                row: tuple[object, ...] = "d", text, None, id_, ref, None, None
                if kind in _INSERTS:
                    row = "c", None, text, None, None, id_, ref
                elif kind in _UPDATES:
                    after, after_id, after_ref, p = images[data[p : p + bitmap]](data, p + bitmap)
                    row = "u", text, after, id_, ref, after_id, after_ref
                if p != end - _CHECK:  # more rows
                    break
                ts_us = applied_us = times & COMMIT_TIME
                if times & ORIGINAL_FOLLOWS:
                    ts_us = original_time(data[at + _ORIGINAL : begin - _CHECK], applied_us)
                single = (
                    f"{name}:{number}",
                    server_id,
                    file,
                    position + base - gtid_size,
                    ts_us,
                    table_name,
                    *row,
                    rows_end + base - rows_size,
                    done + base,
                    applied_us,
                    explicit,
                )
                emit(new(Single, single))
                at = end + _XID_END
                number += 1
                done_pos = done + base
        except (struct.error, IndexError, ValueError, KeyError, OverflowError, UndecodableEvent, PreconditionFailed):
            pass
        return at, number, done_pos
