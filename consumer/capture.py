"""Which tables and columns leave MySQL, these and no others, and what types they may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What a column can hold, whatever its width; the value is how a sentence calls it."""

    INTEGER = "an integer type"
    PADDED = "an integer type with ZEROFILL"
    BIT = "BIT"
    DECIMAL = "DECIMAL"
    WORD = "CHAR or VARCHAR"
    TEXT = "TEXT"
    DIGITS = "ENUM('0','1')"
    ENUM = "ENUM"
    KEY_BYTES = "BINARY(16)"
    BYTES = "BINARY or VARBINARY"
    UUID = "UUID"
    MOMENT = "TIMESTAMP or DATETIME"
    OTHER = "something else"


_KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), Kind.INTEGER),
    **dict.fromkeys(("char", "varchar"), Kind.WORD),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext"), Kind.TEXT),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), Kind.BYTES),
    **dict.fromkeys(("timestamp", "datetime"), Kind.MOMENT),
    "bit": Kind.BIT,
    "decimal": Kind.DECIMAL,
    "enum": Kind.ENUM,
    "uuid": Kind.UUID,
}
"""By the `data_type` of information_schema.columns, where MySQL and MariaDB agree; integers show their ZEROFILL, ENUMs
their members and keys their width in `column_type` only."""
_DIGITS: Final = ("enum('0','1')", "enum('1','0')")

CHARACTERS: Final = (Kind.WORD, Kind.TEXT, Kind.DIGITS, Kind.ENUM)
"""Kinds whose values are written in a charset."""


class Declared(NamedTuple):
    """A column as information_schema.columns has it; charset and collation are empty where it has none."""

    data_type: str
    column_type: str
    charset: str = ""
    collation: str = ""
    nullable: bool = True
    default: str | None = None
    extra: str = ""

    @property
    def kind(self) -> Kind:
        """What it can hold."""
        kind = _KINDS.get(self.data_type, Kind.OTHER)
        if kind is Kind.INTEGER and "zerofill" in self.column_type:
            return Kind.PADDED
        if kind is Kind.ENUM and self.column_type in _DIGITS:
            return Kind.DIGITS
        return Kind.KEY_BYTES if self.column_type == "binary(16)" else kind

    @property
    def plain_type(self) -> str:
        """The type without what a server adds in comments or pads with."""
        return re.sub(r" zerofill| /\*.*?\*/", "", self.column_type)


NUMBERS: Final = (Kind.INTEGER, Kind.PADDED)
KEYS: Final = (Kind.INTEGER, Kind.WORD, Kind.KEY_BYTES, Kind.UUID)
SIGNATURES: Final = (Kind.INTEGER, Kind.WORD, Kind.TEXT, Kind.KEY_BYTES, Kind.BYTES, Kind.UUID)
SWITCHES: Final = (Kind.INTEGER, Kind.PADDED, Kind.BIT, Kind.DECIMAL, Kind.DIGITS)
WORDS: Final = (Kind.WORD, Kind.TEXT, Kind.ENUM, Kind.DIGITS, Kind.INTEGER)
REASONS: Final = (Kind.WORD, Kind.TEXT, Kind.ENUM, Kind.DIGITS)
MOMENTS: Final = (Kind.MOMENT,)

_TIMES: Final[Mapping[str, tuple[Kind, ...]]] = {"created_at": MOMENTS, "updated_at": MOMENTS}


class Captured(NamedTuple):
    """A captured table: the columns that leave MySQL with the kinds they may be, and the one that leads to the user.

    `needed` are those without which no lead can be judged; the others may be absent. `few` are columns that hold few
    distinct texts, which are worth remembering. `informative` are those that nobody judges by (a requirement's reason
    only where the rules mention it): whatever their text is, it stops no reader.
    """

    table: str
    ref: str
    kinds: Mapping[str, tuple[Kind, ...]]
    needed: tuple[str, ...]
    few: frozenset[str]
    informative: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that leave MySQL, in their order."""
        return tuple(self.kinds)

    @property
    def keys(self) -> frozenset[str]:
        """Ids of claims and requirements: integers, texts or bytes."""
        return frozenset(name for name, kinds in self.kinds.items() if kinds is KEYS)


CAPTURED: Final[Mapping[str, Captured]] = {
    captured.table: captured
    for captured in (
        Captured(
            "users",
            "id",
            {"id": NUMBERS, "current_signature_file_id": SIGNATURES, "is_enabled": SWITCHES, **_TIMES},
            ("id", "current_signature_file_id"),
            frozenset(),
            frozenset(_TIMES),
        ),
        Captured(
            "claims",
            "user_id",
            {"id": KEYS, "user_id": NUMBERS, "status": WORDS, **_TIMES},
            ("id", "user_id", "status"),
            frozenset({"status"}),
            frozenset(_TIMES),
        ),
        Captured(
            "claim_requirements",
            "claim_id",
            {
                "id": KEYS,
                "claim_id": KEYS,
                "type": WORDS,
                "status": WORDS,
                "claim_requirement_reason": REASONS,
                **_TIMES,
            },
            ("id", "claim_id", "type", "status"),
            frozenset({"type", "status"}),
            frozenset({"claim_requirement_reason", *_TIMES}),
        ),
    )
}
"""By table name."""

REFS: Final = tuple((captured.table, captured.ref) for captured in CAPTURED.values() if captured.ref != "id")
"""Tables and columns by which the rows of a user are found; each has to begin an index."""

OF_CLAIMS: Final = tuple(captured.table for captured in CAPTURED.values() if captured.ref == "claim_id")
"""Tables whose rows belong to a claim, and by it to the claim's user, whom they do not name."""
