"""Which columns the captured tables have for us, and the expressions of what is read of them.

The columns are asked for by one statement, whoever asks. An expression is of a row `t`, whatever types the company's
columns have: it gives numbers as numbers, and all else as the stream's messages have it.
"""

# ruff: noqa: S608 (what is put into statements is our own words)

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from consumer.capture import CAPTURED, MOMENTS, Declared
from consumer.leads.model import Table
from consumer.mysql.errors import PreconditionFailed
from consumer.mysql.keys import KeyKind, as_text, kind_of
from consumer.mysql.weights import Query
from consumer.settings import MySQLAddress

_CAPTURED: Final = ", ".join(f"'{table}'" for table in CAPTURED)
COLUMNS: Final = f"""
    SELECT table_name, column_name, data_type, column_type, character_set_name, collation_name, is_nullable,
           column_default, extra
      FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name IN ({_CAPTURED})
"""
SCHEMA: Final = f"""{COLUMNS}
    UNION ALL
    SELECT table_name, column_name, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name IN ({_CAPTURED}) AND seq_in_index = 1
"""
"""The columns, and in rows without a type those that an index begins with; an index on an expression has no column."""

_PLAIN: Final = re.compile(r"(?!\d+$)[0-9A-Za-z$_]+")
"""Names that stand in statements as they are (MySQL manual, Schema Object Names), reserved words not counted."""

Columns = Mapping[tuple[str, str], Declared]
"""By table and name, both in lower case."""


class Schema(NamedTuple):
    """The columns of the captured tables that our account may see, and which of them begin an index."""

    columns: Columns
    indexed: frozenset[tuple[str, str]] = frozenset()

    def kind(self, table: str, column: str) -> KeyKind:
        """What a column holds, if it is one of ids."""
        declared = self.columns.get((table, column))
        return KeyKind.INTEGER if declared is None else kind_of(declared)

    def has_numbers(self, table: Table = Table.CLAIM_REQUIREMENTS) -> bool:
        """Whether the ids of a table are integers, which rise as rows are created."""
        return self.kind(table, "id") is KeyKind.INTEGER

    def key(self, table: str, column: str) -> str:
        """An id as text."""
        return as_text(f"t.{column}", self.kind(table, column))

    def words(self, table: str, column: str) -> str:
        """A text, or an id of a look-up table as its digits; NULL where the company has no such column."""
        return self.key(table, column) if (table, column) in self.columns else "NULL"

    def signature(self) -> str:
        """A signature file as text, or NULL where there is none: a text of nothing but blanks, or the number 0."""
        column = "users", "current_signature_file_id"
        none = "'0'" if self.kind(*column) is KeyKind.INTEGER else "''"
        return f"NULLIF({self.words(*column)}, {none})"

    def enabled(self) -> str:
        """Whether a user is enabled, as a number; of an ENUM it is the member that counts, not its place."""
        declared = self.columns.get(("users", "is_enabled"))
        if declared is None:
            return "1"
        return "CAST(CAST(t.is_enabled AS CHAR) AS SIGNED)" if declared.data_type == "enum" else "t.is_enabled + 0"

    def moment(self, table: str, column: str) -> str:
        """A time in µs since the epoch; NULL where the company has no such column."""
        known = (table, column) in self.columns
        return f"CAST(UNIX_TIMESTAMP(t.{column}) * 1000000 AS SIGNED)" if known else "NULL"


def identifier(name: str) -> str:
    """A database's name as statements have it."""
    return name if _PLAIN.fullmatch(name) else f"`{name.replace('`', '``')}`"


class HeldColumn(NamedTuple):
    """What a column holds; collation and charset are empty where that is no text."""

    kind: KeyKind
    collation: str = ""
    charset: str = ""


NUMBER: Final = HeldColumn(KeyKind.INTEGER)


def schema_of(query: Query) -> Schema:
    """Columns and indexes, as they are declared. Raises what `query` raises."""
    columns: dict[tuple[str, str], Declared] = {}
    indexed: set[tuple[str, str]] = set()
    for table, column, data_type, *declared in query(SCHEMA, ()):
        if data_type is not None:
            columns[str(table).lower(), str(column).lower()] = _declared(data_type, *declared)
        elif column is not None:
            indexed.add((str(table).lower(), str(column).lower()))
    return Schema(columns, frozenset(indexed))


def columns_of(query: Query) -> Columns:
    """The columns alone. Raises what `query` raises."""
    return {
        (str(table).lower(), str(column).lower()): _declared(*declared)
        for table, column, *declared in query(COLUMNS, ())
    }


def columns_there(query: Query) -> dict[tuple[str, str], HeldColumn]:
    """What the columns hold, by table and name. Raises what `query` raises."""
    return {
        place: HeldColumn(kind_of(declared), declared.collation, declared.charset)
        for place, declared in columns_of(query).items()
    }


def _declared(
    data_type: str,
    column_type: str,
    charset: str | None,
    collation: str | None,
    nullable: str,
    default: str | None,
    extra: str,
) -> Declared:
    """A column; the members of an ENUM are in its own spelling, all else is in lower case on both servers."""
    return Declared(
        str(data_type).lower(), str(column_type), charset or "", collation or "", nullable == "YES", default,
        str(extra).lower(),
    )  # fmt: skip


def readable(columns: Columns, address: MySQLAddress) -> Columns:
    """The columns without times that are none, which are done without.

    Raises PreconditionFailed where one is missing that leads are judged by, or has values that would be guessed.
    """
    held = {place: declared for place, declared in columns.items() if _is_readable(place, declared, address)}
    for table, captured in CAPTURED.items():
        if (table, "id") not in held:
            raise PreconditionFailed(
                f"there is no table {table} in {address.database} on {address} that we may read;"
                f" run GRANT SELECT ON {identifier(address.database)}.* TO our account"
            )
        for column in captured.needed:
            if (table, column) not in held:
                raise PreconditionFailed(
                    f"{address.database}.{table} on {address} has no column {column} that we may read,"
                    " without which no lead can be judged; put it back, or run"
                    f" GRANT SELECT ({column}) ON {identifier(address.database)}.{table} TO our account"
                )
    return held


def _is_readable(place: tuple[str, str], declared: Declared, address: MySQLAddress) -> bool:
    """False for a time that is none. Raises PreconditionFailed where a value would be guessed."""
    table, column = place
    kinds = CAPTURED[table].kinds.get(column)
    if kinds is None or declared.kind in kinds:
        return True
    if kinds is MOMENTS:
        return False
    raise PreconditionFailed(
        f"{address.database}.{table}.{column} on {address} is {declared.column_type}, which cannot be"
        " read exactly; run consumer doctor, which says what it has to be and how"
    )
