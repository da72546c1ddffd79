"""The tables of our own schema, from its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any, Final

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, DefaultClause, Index, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from consumer.store.schema import migrations

ABOUT: Final = """# Tables

Made by `make reference` from the migrations; not edited by hand. These are the tables of the
schema `leadstream`, which `consumer setup` makes and which belongs to our account; others may read them once they are
allowed to (`GRANT leadstream TO …`). Times are `timestamptz`; versions are µs since the epoch, as the reader numbers
commits. The call centre's own three tables are taken as they are
([as they were when this was written](../../deploy/postgres/05-callcentre.sql)).
"""

TABLES: Final = {
    "leads": "Every customer as the rules see them, and the queue that they are in.",
    "claims": "Claims of customers, as far as the rules look at them.",
    "requirements": "What customers are asked for, as far as the rules look at it.",
    "left_behind": "What stayed behind where a claim or a user went elsewhere, until its new place asks for it.",
    "stints": "The audit trail: each stay of a customer in a queue, with the reasons for its beginning and end, and the"
    " one conversion that it may have earned.",
    "lanes": "How far each lane is applied: the next number, its version, and the offsets in Kafka.",
    "rechecks": "Customers who are to be read live.",
    "shown": "Customers whose queue the call centre sees by the present, while the stream has yet to bring how they"
    " came there.",
    "published_events": "Up to which number of a conversion each topic holds everything.",
    "dead_letters": "Messages that could not be applied, as they came; a topic that was created anew gives its offsets"
    " out again, so the digest of key and value tells them apart.",
    "runs": "Each run of a sweep, verify, backfill or aging: when, how far, what it found, and who started it.",
    "rules": "The rules of the business, every version that was in force.",
    "kept_conversions": "Conversions of ours that no stint earned, and that stay: `reconciler verify --repair` named"
    " them once.",
    "lags": "How far the slowest lane was behind MySQL at its worst, by quarter of an hour, for eight days; a quarter"
    " in which nobody measured has no row.",
    "processes": "Appliers and reconcilers, as they report themselves every 15 s; the reader, which needs no"
    " PostgreSQL, does so in Kafka, beside its checkpoints.",
}
"""What each table is for."""


def tables() -> MetaData:
    """The tables as all migrations leave them; no server is asked."""
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": StringIO()})
    described = context.impl = _Described(context.dialect, None, True, True, StringIO(), {})
    scripts = ScriptDirectory(migrations.__path__[0])
    with Operations.context(context):
        for script in reversed([*scripts.walk_revisions()]):
            script.module.upgrade()
    return described.metadata


class _Described(PostgresqlImpl):
    """What migrations do to tables, done to a description of them."""

    def __init__(self, *of_a_server: Any) -> None:
        super().__init__(*of_a_server)
        self.metadata = MetaData(schema="leadstream")

    def create_table(self, table: Table, **_: Any) -> None:
        table.to_metadata(self.metadata)

    def add_column(self, table_name: str, column: Column[Any], **_: Any) -> None:
        self._table(table_name).append_column(column._copy())

    def alter_column(self, table_name: str, column_name: str, **change: Any) -> None:
        column = self._table(table_name).columns[column_name]
        if change.get("type_") is not None:
            column.type = change["type_"]
        if change.get("nullable") is not None:
            column.nullable = change["nullable"]
        if change.get("server_default", False) is not False:
            column.server_default = DefaultClause(change["server_default"])

    def create_index(self, index: Index, **_: Any) -> None:
        assert index.table is not None
        columns = [self._table(index.table.name).columns[column.name] for column in index.columns]
        Index(index.name, *columns, unique=index.unique, **index.dialect_kwargs)

    def drop_index(self, index: Index, **_: Any) -> None:
        assert index.table is not None
        indexes = self._table(index.table.name).indexes
        indexes -= {one for one in indexes if one.name == index.name}

    def _table(self, name: str) -> Table:
        return self.metadata.tables[f"leadstream.{name}"]


def page() -> str:
    """The page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield ABOUT
    described = tables().tables
    assert len(described) == len(TABLES)
    for name, about in TABLES.items():
        table = described[f"leadstream.{name}"]
        yield from (f"## {name}", "", about, "")
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
