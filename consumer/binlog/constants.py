"""Numbers of the protocol that several modules need, and the length-encoded integer.

Sources: MySQL's `libs/mysql/binlog/event/binlog_event.h` and `control_events.h`, MariaDB's `sql/log_event.h`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

HEADER: Final = 19
"""Bytes of an event's header."""
FRAME: Final = 5
"""Bytes before an event in a stream of packets: length (3), number, and a 0 that says that an event follows."""
frame_header: Final = struct.Struct("<IB4xB4xII").unpack_from
"""Length and number of the packet, its mark, and the event's kind, size and end."""
CRC_OF_CHECKED: Final = 0x2144DF1C
"""CRC32 over any bytes followed by their own CRC32."""
WRAP: Final = 1 << 32
"""Positions in events are 32 bits wide and begin anew every so many bytes."""

EXPLICIT: Final = 0x02 | 0x10
"""Flags of a rows event: foreign keys were off for it (NO_FOREIGN_KEY_CHECKS_F in MySQL's rows_event.h and MariaDB's
log_event.h), or what they did is logged, event by event (USE_SQL_FOREIGN_KEY_F, from MySQL 9.6 on)."""


class EventType(IntEnum):
    """Kinds of binlog events; 160 and above are MariaDB's."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    APPEND_BLOCK = 9
    DELETE_FILE = 11
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    BEGIN_LOAD_QUERY = 17
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    MARIADB_ANNOTATE_ROWS = 160
    MARIADB_BINLOG_CHECKPOINT = 161
    MARIADB_GTID = 162
    MARIADB_GTID_LIST = 163
    MARIADB_START_ENCRYPTION = 164
    MARIADB_QUERY_COMPRESSED = 165
    MARIADB_WRITE_ROWS_COMPRESSED_V1 = 166
    MARIADB_UPDATE_ROWS_COMPRESSED_V1 = 167
    MARIADB_DELETE_ROWS_COMPRESSED_V1 = 168
    MARIADB_WRITE_ROWS_COMPRESSED = 169
    MARIADB_UPDATE_ROWS_COMPRESSED = 170
    MARIADB_DELETE_ROWS_COMPRESSED = 171


INSERTS: Final = frozenset((int(EventType.WRITE_ROWS), int(EventType.WRITE_ROWS_V1)))
UPDATES: Final = frozenset(
    (int(EventType.UPDATE_ROWS), int(EventType.UPDATE_ROWS_V1), int(EventType.PARTIAL_UPDATE_ROWS))
)
DELETES: Final = frozenset((int(EventType.DELETE_ROWS), int(EventType.DELETE_ROWS_V1)))
ROWS_V1: Final = frozenset((int(EventType.WRITE_ROWS_V1), int(EventType.UPDATE_ROWS_V1), int(EventType.DELETE_ROWS_V1)))
"""Events that hold rows; those of version 1 have no extra data behind their flags."""


def event_name(code: int) -> str:
    """A kind of event as the manuals write it, or its number."""
    try:
        return EventType(code).name
    except ValueError:
        return f"event type {code}"


class ColumnType(IntEnum):
    """Types of columns as a table map names them; 140 and 141 are MariaDB's `COMPRESSED` columns."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    BLOB_COMPRESSED = 140
    VARCHAR_COMPRESSED = 141
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


def packed_integer(data: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer and where it ends. Raises IndexError or ValueError where there is none."""
    first = data[at]
    if first < 251:
        return first, at + 1
    if first in {251, 255}:
        raise ValueError(f"byte {first} does not start a length-encoded integer")
    end = at + {252: 3, 253: 4, 254: 9}[first]
    if end > len(data):
        raise IndexError("a length-encoded integer is cut off")
    return int.from_bytes(data[at + 1 : end], "little"), end
