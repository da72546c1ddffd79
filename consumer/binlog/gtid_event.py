"""GTID events, with which transactions start: MySQL's, those of them with a tag, and MariaDB's.

Tagged ones are GTID_TAGGED_LOG_EVENT, of MySQL 8.3 and later, in MySQL's own serialization. Sources: MySQL's
`libs/mysql/serialization/variable_length_integers.h` and `Gtid_event` in `libs/mysql/binlog/event/control_events.h`,
MariaDB's `Gtid_log_event` in `sql/log_event.h`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from uuid import UUID

from consumer.binlog.constants import HEADER, EventType

MYSQL_GTIDS: Final = frozenset((EventType.GTID, EventType.ANONYMOUS_GTID, EventType.GTID_TAGGED))
MARIADB_GTIDS: Final = frozenset((EventType.MARIADB_GTID,))
COMMIT_TIME: Final = (1 << 55) - 1
ORIGINAL_FOLLOWS: Final = 1 << 55
"""Above an untagged event's time of the commit on this server: the time of the commit on its source follows."""
APPLIED_AT: Final = 42
ORIGINAL_AT: Final = 49
"""Where these times stand in its body, in seven bytes each."""
WITH_TIMES: Final = APPLIED_AT + 8
"""Bytes of a body from which on it holds them; those of MySQL 5.7 do not."""
STANDALONE: Final = 1
XA_PREPARE: Final = 64
XA_COMPLETE: Final = 128
"""Flags of MariaDB's: the transaction is one statement without an end of its own; it ends prepared; it decides one that
was."""
MARIADB_FLAGS_AT: Final = 12

_head = struct.Struct("<IxI").unpack_from
mysql_source = struct.Struct("<x16sQ").unpack_from
"""Source and number in the body of a MySQL's."""
mariadb_source = struct.Struct("<QI").unpack_from
"""Number and domain in the body of a MariaDB's."""
_times = struct.Struct(f"<{APPLIED_AT}xQ").unpack_from
_new = tuple.__new__
_MYSQL_SOURCE: Final = 25
_TAGGED, _MARIADB = int(EventType.GTID_TAGGED), int(EventType.MARIADB_GTID)
_ANONYMOUS: Final = int(EventType.ANONYMOUS_GTID)

Source = bytes | str | int
"""A MySQL's uuid as bytes, or as text with a tag; a MariaDB's domain."""


class Gtid(NamedTuple):
    """How a transaction starts: the source of its GTID (None: it is anonymous) and the number of it; the server that
    wrote it; where its first event starts; when it committed where it was made, and on the server that we read (µs).
    """

    source: Source | None
    number: int
    server_id: int
    pos: int
    ts_us: int
    applied_us: int


_FLAGS, _UUID, _NUMBER, _TAG, _LAST_COMMITTED, _SEQUENCE, _COMMITTED_AT, _ORIGINAL_AT = range(8)


def read_gtid(kind: int, data: bytes, at: int, end: int, pos: int) -> Gtid:
    """The GTID event whose body is `data[at:end]` and which starts at `pos`. Raises IndexError or ValueError."""
    timestamp, server_id = _head(data, at - HEADER)
    ts_us = applied_us = timestamp * 1_000_000
    source: Source | None
    if kind == _TAGGED:
        return tagged_gtid(data[at:end], server_id, pos)
    if kind == _MARIADB:
        if at + MARIADB_FLAGS_AT >= end:
            raise IndexError("a GTID is cut off")
        number, source = mariadb_source(data, at)
    else:
        if at + _MYSQL_SOURCE > end:
            raise IndexError("a GTID is cut off")
        source, number = mysql_source(data, at)
        if end - at >= WITH_TIMES:
            (times,) = _times(data, at)
            ts_us = applied_us = times & COMMIT_TIME
            if times & ORIGINAL_FOLLOWS:
                ts_us = original_time(data[at + ORIGINAL_AT : end], applied_us)
        if kind == _ANONYMOUS:
            source = None
    if not number and source is not None:
        raise ValueError("no GTID has the number 0")
    gtid: Gtid = _new(Gtid, (source, number, server_id, pos, ts_us, applied_us))
    return gtid


def original_time(times: bytes, applied_us: int) -> int:
    """When a transaction committed on its source (µs), from what follows the commit on this server in its event.

    A source too old to know leaves 0 there.
    """
    return int.from_bytes(times[:7], "little") or applied_us


def variable_integer(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer whose first byte has a 1 bit, from the lowest, for every byte that follows."""
    first = data[at]
    more = (~first & (first + 1)).bit_length() - 1
    end = at + 1 + more
    if end > len(data):
        raise IndexError("an integer is cut off")
    number = int.from_bytes(data[at:end], "little")
    return number >> min(more + 1, 8), end


def tagged_gtid(body: bytes, server_id: int, pos: int) -> Gtid:
    """A GTID_TAGGED event by its body without checksum; its source is `uuid:tag`, or the uuid where the tag is empty.

    Raises IndexError or ValueError.
    """
    uuid = tag = b""
    number = applied_us = ts_us = 0
    version, at = variable_integer(body, 0)
    if version != 1:
        raise ValueError(f"version {version} of MySQL's serialization")
    _, at = variable_integer(body, at)
    _, at = variable_integer(body, at)
    while at < len(body):
        field, at = variable_integer(body, at)
        if field == _UUID:
            for _ in range(16):
                byte, at = variable_integer(body, at)
                uuid += bytes([byte])
        elif field == _TAG:
            length, at = variable_integer(body, at)
            tag = body[at : at + length]
            at += length
        elif field == _NUMBER:
            twice, at = variable_integer(body, at)
            number = twice >> 1  # the lowest bit is the sign
        elif field == _COMMITTED_AT:
            applied_us, at = variable_integer(body, at)
        elif field == _ORIGINAL_AT:
            ts_us, at = variable_integer(body, at)
        elif field < _COMMITTED_AT:
            _, at = variable_integer(body, at)
        else:
            break
    if len(uuid) != 16 or number <= 0:
        raise ValueError("a GTID without uuid or number")
    source = f"{UUID(bytes=uuid)}:{tag.decode()}" if tag else str(UUID(bytes=uuid))
    return Gtid(source, number, server_id, pos, ts_us or applied_us, applied_us)
