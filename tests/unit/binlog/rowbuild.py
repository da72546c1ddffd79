"""Tables, images and rows events for the tests of TableDecoder, written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from consumer.binlog.constants import ROWS_V1, UPDATES, ColumnType
from consumer.binlog.events import Event
from consumer.binlog.rows import Fold, RowsEvent, TableDecoder
from consumer.binlog.table_map import Column, TableMap
from consumer.capture import CAPTURED
from consumer.mysql.errors import SourceError
from tests.unit.binlog.wirebuild import CHARSETS, DATABASE

FILE, POS, ROW = "binlog.000007", 4711, 3
"""Where the events of these tests stand, and the number of their first row."""
HEAD = b"\x46\0\0\0\0\0\1\0"
"""Table id and flags."""


def column(
    name: str,
    kind: ColumnType,
    length: int = 0,
    scale: int = 0,
    *,
    unsigned: bool = False,
    collation: int = 0,
    members: tuple[bytes, ...] = (),
) -> Column:
    """A column as a table map describes it."""
    return Column(name, kind, length, scale, unsigned, collation, members)


def reader(
    table: str,
    *columns: Column,
    primary_key: tuple[int, ...] = (0,),
    strict: bool = False,
    row_end: str = "",
    folds: Callable[[int], Fold | None] = lambda _: None,
) -> TableDecoder:
    """The decoder of a captured table of `shop`; collation 3 is one that Python cannot read, 99 nobody knows."""
    table_map = TableMap(DATABASE, table, columns, primary_key)
    charsets = {**CHARSETS, 3: "dec8", 11: "ascii"}
    return TableDecoder(table_map, CAPTURED[table], charsets, strict=strict, row_end=row_end, folds=folds)


def event(
    kind: int,
    columns: int,
    *images: bytes,
    before: bytes | None = None,
    after: bytes | None = None,
    extra: bytes = b"",
    explicit: bool = False,
) -> RowsEvent:
    """Rows of a table with so many columns; `before` and `after` say which of them are in the images, or all are."""
    full = ((1 << columns) - 1).to_bytes((columns + 7) // 8, "little")
    body = b"" if kind in ROWS_V1 else (2 + len(extra)).to_bytes(2, "little") + extra
    body += bytes((columns,)) + (before or full)
    if kind in UPDATES:
        body += after or full
    return RowsEvent(kind, HEAD + body + b"".join(images), len(HEAD), FILE, POS, ROW, explicit)


def changes(target: TableDecoder, rows: RowsEvent) -> tuple[list[Event], int]:
    """What an event says, and the number after its last row."""
    found: list[Event] = []
    return found, target.changes(rows, found.append)


def readable(target: TableDecoder, rows: RowsEvent) -> tuple[list[Event], int | None]:
    """What can be read of an event whose rows cannot all be."""
    found: list[Event] = []
    after = target.readable_changes(rows, found.append)
    return found, after


def i4(number: int) -> bytes:
    """An INT."""
    return number.to_bytes(4, "little")


def short(text: bytes) -> bytes:
    """A text with its length in one byte."""
    return bytes((len(text),)) + text


def refused(error: type[SourceError], sentence: str) -> pytest.RaisesExc[SourceError]:
    """Whatever runs in this raises an error of exactly this sentence."""
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


ID = column("id", ColumnType.LONG)
USER_ID = column("user_id", ColumnType.LONG)
STATUS = column("status", ColumnType.VARCHAR, 80, collation=45)
SIGNATURE = column("current_signature_file_id", ColumnType.LONG)
NOTE = column("note", ColumnType.TINY)
CLAIMS = (ID, USER_ID, STATUS)
USERS = (ID, SIGNATURE)
NOT_TEXT = b"\xff"
"""No UTF-8."""


def claim(id_: int | None, ref: int | None, status: bytes | None) -> bytes:
    """A whole image of `claims`, NULL bitmap first."""
    nulls = (id_ is None) | (ref is None) << 1 | (status is None) << 2
    return bytes((nulls,)) + b"".join(
        ([] if id_ is None else [i4(id_)])
        + ([] if ref is None else [i4(ref)])
        + ([] if status is None else [short(status)])
    )


ROW_START = column("row_start", ColumnType.TIMESTAMP2, 6)
ROW_END = column("row_end", ColumnType.TIMESTAMP2, 6)
MOMENT = bytes.fromhex("65abd220 0f423f")
LIVE = bytes.fromhex("7fffffff 0f423f"), bytes.fromhex("ffffffff 0f423f")
"""The end of time, 2038-01-19 03:14:07.999999 or, from MariaDB 11.5 on, 2106-02-07 06:28:15.999999."""
