"""Ids of any type in SQL, as the texts that the stream has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from consumer.capture import Declared, Kind

_BINARY_TYPES: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
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


def kind_of(declared: Declared) -> KeyKind:
    """The kind of a column as it is declared."""
    if declared.data_type in _INTEGERS:
        return KeyKind.INTEGER
    if declared.data_type == "uuid":
        return KeyKind.UUID
    if declared.kind is Kind.KEY_BYTES:
        return KeyKind.UUID_BYTES
    return KeyKind.BYTES if declared.data_type in _BINARY_TYPES else KeyKind.TEXT


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
