"""The tables of our own schema, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from consumer.store.schema.tables import ABOUT as TABLES
from consumer.store.schema.tables import metadata

ABOUT: Final = """# Tables

Made by `make reference` from the declarations in the code; not edited by hand. These are the tables of the
schema `leadstream`, which `consumer setup` makes; anybody may read them. Times are `timestamptz`; versions are µs since
the epoch, as the reader numbers commits. The call centre's own three tables are taken as they are
([as they were when this was written](../../deploy/postgres/05-callcentre.sql)).
"""


def page() -> str:
    """The page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield ABOUT
    for table in metadata.tables.values():
        yield from (f"## {table.name}", "", TABLES[table.name], "")
        yield from ("| column | type | |", "|---|---|---|")
        yield from map(_row, table.columns)
        yield ""
        yield from _indexes(table)


def _row(column: Column[object]) -> str:
    kind = column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    kind = kind.replace("timestamp with time zone", "timestamptz").replace(' collate "c"', "")
    said = ["key"] if column.primary_key else [] if column.nullable else ["not null"]
    if column.server_default is not None and hasattr(column.server_default, "arg"):
        said.append(f"default `{column.server_default.arg}`")
    return f"| `{column.name}` | {kind} | {', '.join(said)} |"


def _indexes(table: Table) -> Iterator[str]:
    found = sorted(table.indexes, key=lambda index: str(index.name))
    if found:
        yield "Indexes:"
        yield ""
        for index in found:
            made = str(CreateIndex(index).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
            yield f"- `{made.removeprefix('CREATE ').replace(f' ON leadstream.{table.name}', ' on')}`"
        yield ""
