"""Prepares PostgreSQL: our schema by migrations, the call centre's tables where absent, one row a lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Table, create_engine, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from consumer.leads.rule_file import DEFAULT, RuleFile
from consumer.store import rules, schema
from consumer.store.connection import classified, place, watchful
from consumer.store.errors import NotPrepared
from consumer.store.needs import ADDED_COLUMN, ADDED_INDEX, READ, UNIQUE, WRITTEN
from consumer.store.schema import SCHEMA, call_centre, user_call_scores

_SETUP_LOCK: Final = 0x6C65616473
"""Advisory lock that two setups at once take turns on."""

_THEIR_SCHEMAS: Final = """
SELECT set_config('search_path', coalesce(string_agg(quote_ident(name), ', '), 'public'), true)
FROM unnest(current_schemas(false)) AS name WHERE name <> 'leadstream'
"""
"""Where the call centre's tables are found or created: never in our schema, which a role of the same name has first in
its search path."""

_ANOTHERS: Final = (
    "belongs to another stream, while this one has no checkpoint yet; check DATABASE_URL and TOPIC_PREFIX, or, where"
    " the other one is gone for good, run DELETE FROM leadstream.lanes"
)


def plainly(_: RuleFile) -> rules.Comparisons:
    """Words compare plainly: for where MySQL cannot be asked."""
    return {}


def prepare(
    conninfo: str,
    lanes: int,
    epoch: int,
    *,
    shadow: bool = False,
    begins: bool = False,
    compare: Callable[[RuleFile], rules.Comparisons] = plainly,
) -> list[str]:
    """Makes the database fit and returns a sentence for each thing done; an empty list where nothing was to do.

    All of it happens in one transaction. With `shadow` the call centre's tables are neither created nor altered.
    `begins` says that the stream's numbers are yet to begin: then lanes that have moved are another stream's.
    `compare` says how the columns compare that the plan's rules speak of; it is asked where there are no rules yet.
    Raises NotPrepared where something stands in the way that a person has to decide, StoreUnavailable, TryAgain.
    """
    address = watchful(conninfo, "leadstream setup")
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(address), poolclass=NullPool)
    with _errors(conninfo), engine.begin() as connection:
        connection.execute(text("SET LOCAL TimeZone = 'UTC'"))
        connection.execute(text("SET LOCAL lock_timeout = '20s'"))
        connection.execute(text(_THEIR_SCHEMAS))
        connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))
        _check_encoding(connection, conninfo)
        done = _migrate(connection)
        done += _rules(connection, compare)
        if not shadow:
            done += _call_centre(connection, conninfo)
        done += _lanes(connection, conninfo, lanes, epoch, begins=begins)
    return done


@contextmanager
def _errors(conninfo: str) -> Iterator[None]:
    """SQLAlchemy wraps psycopg's errors; here they are unwrapped and named as everywhere in the store."""
    with classified(conninfo):
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise NotPrepared(
                    f"{error.orig.diag.message_primary} in {place(conninfo)}; "
                    "run setup as a user who may create schemas and tables there"
                ) from error
            if isinstance(error.orig, psycopg.Error):
                raise error.orig from error
            raise


def _check_encoding(connection: Connection, conninfo: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise NotPrepared(
            f"database {place(conninfo)} has the encoding {encoding}, which cannot hold every text of MySQL's; "
            "use one that was created with ENCODING 'UTF8'"
        )


def _migrate(connection: Connection) -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    before = _revision(connection)
    command.upgrade(config, "head")
    after = _revision(connection)
    if before == after:
        return []
    return [f"brought schema {SCHEMA} from {f'revision {before}' if before else 'nothing'} to revision {after}"]


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()


def _rules(connection: Connection, compare: Callable[[RuleFile], rules.Comparisons]) -> list[str]:
    """Puts the plan's rules in force where there are none yet; leads judged before need not be judged again."""
    if connection.execute(select(schema.rules.c.version).limit(1)).first() is not None:
        return []
    connection.execute(insert(schema.rules).values(**rules.first(compare(DEFAULT)), rejudged_at=func.now()))
    return ["put the plan's rules in force; `consumer rules show` prints them"]


def _call_centre(connection: Connection, conninfo: str) -> list[str]:
    done = []
    existing = set(inspect(connection).get_table_names())
    for table in call_centre.sorted_tables:
        if table.name in existing:
            done += _fit(connection, table, conninfo)
        else:
            table.create(connection)
            done.append(f"created table {table.name}")
    return done


def _fit(connection: Connection, table: Table, conninfo: str) -> list[str]:
    """Adds the index and column that sweeps and dialler need to an existing table, after checking what we rely on."""
    done = []
    columns = {column["name"]: column for column in inspect(connection).get_columns(table.name)}
    where = f"table {table.name} in {place(conninfo)}"
    missing = (WRITTEN[table.name].keys() | READ[table.name].keys()) - columns.keys() - {ADDED_COLUMN}
    if missing:
        raise NotPrepared(f"{where} has no column {', '.join(sorted(missing))}; add it, or set SHADOW_MODE=true")
    for name, column in columns.items():
        generated = column["default"] is not None or column.get("identity") or column.get("computed")
        if not column["nullable"] and not generated and name not in WRITTEN[table.name]:
            raise NotPrepared(
                f"column {name} of {where} is NOT NULL without a default, so no row can be added; "
                f"run ALTER TABLE {table.name} ALTER COLUMN {name} SET DEFAULT …"
            )
    key = UNIQUE.get(table.name)
    if key and [key] not in _unique_keys(connection, table.name):
        raise NotPrepared(f"{where} has no unique index on {key}; run CREATE UNIQUE INDEX ON {table.name} ({key})")
    if table is user_call_scores:
        indexes = {index["name"] for index in inspect(connection).get_indexes(table.name)}
        if ADDED_INDEX not in indexes:
            next(index for index in table.indexes if index.name == ADDED_INDEX).create(connection)
            done.append(f"added index {ADDED_INDEX} to {table.name}")
        if ADDED_COLUMN not in columns:
            connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {ADDED_COLUMN} timestamp NULL"))
            done.append(f"added column {ADDED_COLUMN} to {table.name}")
    return done


def _unique_keys(connection: Connection, table: str) -> list[list[str | None]]:
    inspector = inspect(connection)
    keys: list[list[str | None]] = [list(inspector.get_pk_constraint(table)["constrained_columns"])]
    return keys + [
        index["column_names"]
        for index in inspector.get_indexes(table)
        if index["unique"] and "postgresql_where" not in index.get("dialect_options", {})
    ]


def _lanes(connection: Connection, conninfo: str, count: int, epoch: int, *, begins: bool) -> list[str]:
    columns = schema.lanes.c
    held = connection.execute(select(columns.lane, columns.epoch, columns.next_seq).order_by(columns.lane)).all()
    if not held:
        rows = [{"lane": lane, "epoch": epoch, "next_seq": 1, "version": 0} for lane in range(count)]
        connection.execute(insert(schema.lanes), rows)
        return [f"added {count} lanes, epoch {epoch}"]
    if begins and any(row.next_seq > 1 or row.epoch != epoch for row in held):
        raise NotPrepared(f"leadstream.lanes in {place(conninfo)} {_ANOTHERS}")
    if [row.lane for row in held] != list(range(count)):
        raise NotPrepared(
            f"LANES is {count}, but leadstream.lanes in {place(conninfo)} has {len(held)}; set LANES={len(held)}"
        )
    epochs = {row.epoch for row in held}
    if epochs != {epoch}:
        raise NotPrepared(
            f"leadstream.lanes in {place(conninfo)} is at epoch {', '.join(map(str, sorted(epochs)))}, the stream at "
            f"epoch {epoch}: they do not belong together; check DATABASE_URL and TOPIC_PREFIX"
        )
    return []
