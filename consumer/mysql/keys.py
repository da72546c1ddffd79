"""Columns of the captured tables: what they hold, and ids of any type in SQL, as the texts that the stream has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from consumer.capture import CAPTURED
from consumer.mysql.weights import Query

UUID_BYTES: Final = 16
BINARY_TYPES: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_INTEGERS: Final = ("tinyint", "smallint", "mediumint", "int", "bigint")
_DASHES: Final = (9, 14, 19, 24)


class KeyKind(StrEnum):
    """What a column of ids holds."""

    INTEGER = "integer"
    TEXT = "text"
    BYTES = "bytes"
    UUID_BYTES = "16 bytes"
    """BINARY(16)."""
    UUID = "uuid"
    """MariaDB's type."""


BYTES: Final = frozenset({KeyKind.BYTES, KeyKind.UUID_BYTES, KeyKind.UUID})
"""Kinds that are written in hexadecimal digits."""


def kind_of(data_type: str, length: int | None) -> KeyKind:
    """The kind of a column by its data type and, in bytes, its length (information_schema.columns)."""
    if data_type in _INTEGERS:
        return KeyKind.INTEGER
    if data_type == "uuid":
        return KeyKind.UUID
    if data_type == "binary" and length == UUID_BYTES:
        return KeyKind.UUID_BYTES
    return KeyKind.BYTES if data_type in BINARY_TYPES else KeyKind.TEXT


class HeldColumn(NamedTuple):
    """What a column holds; collation and charset are empty where that is no text."""

    kind: KeyKind
    collation: str = ""
    charset: str = ""


NUMBER: Final = HeldColumn(KeyKind.INTEGER)

_COLUMNS: Final = f"""
SELECT table_name, column_name, data_type, character_octet_length, COALESCE(collation_name, ''),
       COALESCE(character_set_name, '')
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN ({", ".join(map(repr, CAPTURED))})
"""  # noqa: S608


def columns_there(query: Query) -> dict[tuple[str, str], HeldColumn]:
    """The columns that the captured tables have for us, by table and name. Raises what `query` raises."""
    return {
        (str(table).lower(), str(column).lower()): HeldColumn(kind_of(str(data_type).lower(), size), *texts)
        for table, column, data_type, size, *texts in query(_COLUMNS, ())
    }


def as_text(column: str, kind: KeyKind) -> str:
    """The expression of an id as text; a TEXT one is still spelled as its row has it."""
    if kind is KeyKind.UUID_BYTES:
        digits = f"HEX({column})"
        for place in _DASHES:
            digits = f"INSERT({digits}, {place}, 0, '-')"
        return f"CAST(LOWER({digits}) AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"
    if kind is KeyKind.BYTES:
        return f"CAST(LOWER(HEX({column})) AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"
    return f"CAST({column} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"


def among(column: str, kind: KeyKind, keys: Iterable[int | str], literal: Callable[[str], str]) -> str:
    """The condition that a column holds one of these ids, in words that an index serves.

    `literal` quotes a text for the server. Texts are found by the column's own collation.
    """
    if kind is KeyKind.INTEGER:
        wanted = [str(int(key)) for key in keys]
    elif kind in (KeyKind.BYTES, KeyKind.UUID_BYTES):
        wanted = ["UNHEX(" + literal(str(key).replace("-", "")) + ")" for key in keys]
    else:
        wanted = [literal(str(key)) for key in keys]
    return f"{column} IN ({', '.join(wanted)})"
