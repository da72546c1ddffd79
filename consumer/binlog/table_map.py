"""What columns a table had when an event was written: the TABLE_MAP event with its FULL metadata.

Source: MySQL's `libs/mysql/binlog/event/rows_event.h` (class Table_map_event) and `sql/log_event.cc`;
MariaDB's `sql/log_event_server.cc` (`Table_map_log_event::init_metadata_fields`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consumer.binlog.constants import ColumnType, packed_integer

_C = ColumnType

NUMERIC: Final = frozenset(
    {_C.TINY, _C.SHORT, _C.INT24, _C.LONG, _C.LONGLONG, _C.NEWDECIMAL, _C.FLOAT, _C.DOUBLE, _C.YEAR}
)
"""Types that have a bit in the SIGNEDNESS field."""
_CHARACTER: Final = frozenset({_C.STRING, _C.VAR_STRING, _C.VARCHAR, _C.BLOB})
_CHARACTER_MYSQL: Final = _CHARACTER | {_C.VECTOR}
_CHARACTER_MARIADB: Final = _CHARACTER | {_C.GEOMETRY, _C.VARCHAR_COMPRESSED, _C.BLOB_COMPRESSED}

_TWO_BYTES_LITTLE: Final = frozenset({_C.VARCHAR, _C.VAR_STRING, _C.BIT, _C.VARCHAR_COMPRESSED})
_TWO_BYTES: Final = frozenset({_C.STRING, _C.NEWDECIMAL, _C.ENUM, _C.SET})
BLOBS: Final = frozenset(
    {
        _C.TINY_BLOB,
        _C.BLOB,
        _C.MEDIUM_BLOB,
        _C.LONG_BLOB,
        _C.BLOB_COMPRESSED,
        _C.GEOMETRY,
        _C.JSON,
        _C.VECTOR,
    }
)
_ONE_BYTE: Final = BLOBS | {_C.FLOAT, _C.DOUBLE, _C.TIMESTAMP2, _C.DATETIME2, _C.TIME2}

_SIGNEDNESS, _DEFAULT_CHARSET, _COLUMN_CHARSET, _COLUMN_NAME, _SET_STRINGS, _ENUM_STRINGS = 1, 2, 3, 4, 5, 6
_PRIMARY_KEY, _PRIMARY_KEY_PREFIX, _ENUM_SET_DEFAULT_CHARSET, _ENUM_SET_COLUMN_CHARSET = 8, 9, 10, 11


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `length` is what its metadata say: the most bytes a string may take, the bits of a BIT, the digits
    after a second's point; `scale` belongs to DECIMAL. `collation` is a number, 0 where the column has none.
    """

    name: str
    type: ColumnType
    length: int
    scale: int
    unsigned: bool
    collation: int
    members: tuple[bytes, ...]
    """The strings of an ENUM or SET, in the column's charset."""


@dataclass(frozen=True, slots=True)
class TableMap:
    """One table at one moment; `columns` is None where the server did not log their names (MINIMAL metadata)."""

    database: str
    table: str
    columns: tuple[Column, ...] | None
    primary_key: tuple[int, ...]


def table_name(data: bytes, at: int) -> tuple[str, str, int]:
    """Database and table of a map whose body without id and flags starts at `at`, and where the rest starts."""
    database_end = at + 1 + data[at]
    table_end = database_end + 2 + data[database_end + 1]
    database = data[at + 1 : database_end].decode()
    return database, data[database_end + 2 : table_end].decode(), table_end + 1


def parse(body: bytes, mariadb: bool) -> TableMap:
    """Reads a map's body: everything after table id and flags, without checksum.

    Raises ValueError or IndexError for bytes that are no table map.
    """
    database, table, at = table_name(body, 0)
    count, at = packed_integer(body, at)
    types = [ColumnType(code) for code in body[at : at + count]]
    if len(types) != count:
        raise IndexError("the list of column types is cut off")
    at += count
    length, at = packed_integer(body, at)
    shapes = _shapes(types, body[at : at + length])
    at += length + (count + 7) // 8  # which columns may be NULL does not matter for reading
    fields = _optional_fields(body, at)
    names = [name.decode() for name in _strings(fields.get(_COLUMN_NAME, b""))]
    key = _primary_key(fields)
    if len(names) != count:
        return TableMap(database, table, None, key)
    unsigned = _signedness(shapes, fields.get(_SIGNEDNESS, b""))
    character = _CHARACTER_MARIADB if mariadb else _CHARACTER_MYSQL
    texts = [i for i, shape in enumerate(shapes) if shape[0] in character]
    collations = _collations(texts, fields.get(_DEFAULT_CHARSET), fields.get(_COLUMN_CHARSET))
    lists = [i for i, shape in enumerate(shapes) if shape[0] in (_C.ENUM, _C.SET)]
    collations |= _collations(lists, fields.get(_ENUM_SET_DEFAULT_CHARSET), fields.get(_ENUM_SET_COLUMN_CHARSET))
    members = _members(shapes, _C.ENUM, fields.get(_ENUM_STRINGS, b""))
    members |= _members(shapes, _C.SET, fields.get(_SET_STRINGS, b""))
    columns = tuple(
        Column(name, type_, size, scale, i in unsigned, collations.get(i, 0), members.get(i, ()))
        for i, (name, (type_, size, scale)) in enumerate(zip(names, shapes, strict=True))
    )
    return TableMap(database, table, columns, key)


def _shapes(types: list[ColumnType], metadata: bytes) -> list[tuple[ColumnType, int, int]]:
    """Type, length and scale of each column; ENUM, SET and CHAR share one code and are told apart here."""
    shapes = []
    at = 0
    for code in types:
        type_, length, scale = code, 0, 0
        if code in _TWO_BYTES_LITTLE:
            length = metadata[at] | metadata[at + 1] << 8
            at += 2
            if code is _C.BIT:  # bits beyond whole bytes, then whole bytes
                length = (length >> 8) * 8 + (length & 0xFF)
        elif code in _TWO_BYTES:
            first, second = metadata[at], metadata[at + 1]
            at += 2
            if code is _C.NEWDECIMAL:
                length, scale = first, second
            elif first & 0x30 != 0x30:  # a CHAR of more than 255 bytes keeps two bits of its length here
                type_, length = ColumnType(first | 0x30), second | ((first & 0x30) ^ 0x30) << 4
            else:
                type_, length = ColumnType(first), second
        elif code in _ONE_BYTE:
            length = metadata[at]
            at += 1
        shapes.append((type_, length, scale))
    if at != len(metadata):
        raise ValueError(f"{len(metadata)} bytes of column metadata where {at} belong")
    return shapes


def _optional_fields(body: bytes, at: int) -> dict[int, bytes]:
    fields = {}
    while at < len(body):
        kind = body[at]
        length, at = packed_integer(body, at + 1)
        if at + length > len(body):
            raise IndexError("a field of the table's metadata is cut off")
        fields[kind] = body[at : at + length]
        at += length
    return fields


def _strings(field: bytes) -> list[bytes]:
    strings = []
    at = 0
    while at < len(field):
        length, at = packed_integer(field, at)
        strings.append(field[at : at + length])
        at += length
    if at != len(field):
        raise IndexError("a list of strings is cut off")
    return strings


def _integers(field: bytes) -> list[int]:
    numbers = []
    at = 0
    while at < len(field):
        number, at = packed_integer(field, at)
        numbers.append(number)
    return numbers


def _signedness(shapes: list[tuple[ColumnType, int, int]], field: bytes) -> frozenset[int]:
    numeric = [i for i, shape in enumerate(shapes) if shape[0] in NUMERIC]
    if len(field) != (len(numeric) + 7) // 8:
        raise ValueError(f"{len(field)} bytes of signedness for {len(numeric)} numeric columns")
    return frozenset(i for n, i in enumerate(numeric) if field[n // 8] & (0x80 >> n % 8))


def _collations(columns: list[int], default: bytes | None, each: bytes | None) -> dict[int, int]:
    """The collation of each of these columns: one default with exceptions, or one number for each."""
    if each is not None:
        return dict(zip(columns, _integers(each), strict=True))
    if default is None:
        if columns:
            raise ValueError("no charset is given for the table's character columns")
        return {}
    usual, *exceptions = _integers(default)
    collations = dict.fromkeys(columns, usual)
    for n, collation in zip(exceptions[::2], exceptions[1::2], strict=True):
        collations[columns[n]] = collation
    return collations


def _members(shapes: list[tuple[ColumnType, int, int]], kind: ColumnType, field: bytes) -> dict[int, tuple[bytes, ...]]:
    members = {}
    at = 0
    for i, shape in enumerate(shapes):
        if shape[0] is not kind:
            continue
        count, at = packed_integer(field, at)
        strings = []
        for _ in range(count):
            length, at = packed_integer(field, at)
            strings.append(field[at : at + length])
            at += length
        members[i] = tuple(strings)
    if at != len(field):
        raise ValueError("the list of ENUM or SET members has another length than its columns")
    return members


def _primary_key(fields: dict[int, bytes]) -> tuple[int, ...]:
    if _PRIMARY_KEY in fields:
        return tuple(_integers(fields[_PRIMARY_KEY]))
    return tuple(_integers(fields.get(_PRIMARY_KEY_PREFIX, b""))[::2])
