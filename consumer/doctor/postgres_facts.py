"""What PostgreSQL says of itself, of our schema and of the call centre's tables. Nothing is judged here."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from consumer.doctor.check import Unreachable
from consumer.store import migrations
from consumer.store.connection import place
from consumer.store.needs import WRITTEN

Connection = psycopg.Connection[tuple[Any, ...]]

SERVER: Final = """
SELECT current_user::text, current_setting('server_version_num')::int, current_setting('server_encoding'),
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
       extract(epoch FROM clock_timestamp())::float8, current_database()::text,
       to_regnamespace('leadstream') IS NOT NULL,
       has_database_privilege(current_database(), 'CREATE'),
       coalesce(has_schema_privilege(to_regnamespace('leadstream'), 'USAGE'), false)
"""
"""Who we are, what the server is, its clock (seconds), and how we stand to our schema."""

PRIVILEGES: Final = """
SELECT class.oid = ANY(%(theirs)s), class.oid::regclass::text, class.relname::text,
       pg_get_userbyid(class.relowner)::text,
       ARRAY(SELECT word FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS word
             WHERE has_table_privilege(class.oid, word))
FROM pg_class AS class
WHERE class.oid = ANY(%(theirs)s)
   OR (class.relnamespace = to_regnamespace('leadstream') AND class.relkind IN ('r', 'p'))
"""
"""The call centre's tables (by oid) and our own: whether it is theirs, name, owner, what we may do with it."""

COLUMNS: Final = """
SELECT attrelid, attname::text, attnotnull AND NOT atthasdef AND attidentity = '' AS demanded
FROM pg_attribute WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped
"""
"""Columns, and whether a row cannot be added without naming them."""

INDEXES: Final = """
SELECT index.indrelid, relation.relname::text, index.indisunique AND index.indpred IS NULL,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = index.indrelid AND attnum = ANY(index.indkey))
FROM pg_index AS index JOIN pg_class AS relation ON relation.oid = index.indexrelid
WHERE index.indrelid = ANY(%s) AND index.indisvalid
"""
"""Indexes: name, whether they are unique over all rows, and columns."""

LANES: Final = "SELECT count(*), array_agg(DISTINCT epoch) FROM leadstream.lanes"
REVISION: Final = "SELECT version_num FROM leadstream.alembic_version"


FIRST_SEEN: Final = """
SELECT user_id, extract(epoch FROM opened_at)::float8 FROM leadstream.stints
WHERE number = 1 AND source = 'stream' AND opened_at >= now() - interval '1 day' ORDER BY opened_at DESC LIMIT 20
"""
"""Newest customers that the stream brought, and when (s) their row was committed."""


class Theirs(NamedTuple):
    """A table of the call centre's. `demanded` are columns that a new row must name; `unique` are sets of columns."""

    name: str
    owner: str
    privileges: frozenset[str]
    columns: frozenset[str]
    demanded: frozenset[str]
    unique: frozenset[tuple[str, ...]]
    indexes: frozenset[str]


@dataclass(frozen=True)
class PostgresFacts:
    """All that is judged. `clock_seconds` is how far the server's clock is ahead of ours; `revision` None: no schema of
    ours or not to be seen; `lanes` is how many there are and their epochs; `version` is as 150003.
    """

    place: str
    database: str
    role: str
    version: int
    encoding: str
    read_only: bool
    clock_seconds: float
    has_schema: bool
    may_create_schema: bool
    may_use_schema: bool
    revision: str | None
    newest_revision: str
    ours: Mapping[str, frozenset[str]]
    theirs: Mapping[str, Theirs]
    lanes: tuple[int, Sequence[int]] | None


def collect(conninfo: str, seconds: float) -> PostgresFacts:
    """Asks the server; connecting and each answer may take `seconds`. Raises Unreachable."""
    given = conninfo_to_dict(conninfo)
    limits = {"connect_timeout": str(max(2, round(seconds))), "application_name": "leadstream doctor"}
    ours = {key: value for key, value in limits.items() if key not in given}
    try:
        with psycopg.connect(make_conninfo(conninfo, **ours), autocommit=True) as connection:
            connection.execute(f"SET statement_timeout = {round(seconds * 1000)}".encode())
            return _collect(conninfo, connection)
    except psycopg.Error as error:
        said = error.diag.message_primary or (str(error).strip().splitlines() or ["the connection is closed"])[0]
        raise Unreachable(f"{place(conninfo)} cannot be asked: {said}") from error


def first_seen(conninfo: str, seconds: float) -> dict[int, float]:
    """The newest customers that the stream brought, and when (s) their row was committed; none where nobody can say."""
    limits = {"connect_timeout": str(max(2, round(seconds))), "application_name": "leadstream doctor"}
    try:
        with psycopg.connect(make_conninfo(conninfo, **limits), autocommit=True) as connection:
            connection.execute(f"SET statement_timeout = {round(seconds * 1000)}".encode())
            return dict(_rows(connection, FIRST_SEEN))
    except psycopg.Error:
        return {}  # the other checks say what is wrong with the server


def newest_revision() -> str:
    """The newest migration's number, as its file is named; loading Alembic for it would take half a second."""
    folder = Path(migrations.__path__[0]) / "versions"
    return max(found[1] for path in folder.iterdir() if (found := re.fullmatch(r"(\d{4})_\w+\.py", path.name)))


def _collect(conninfo: str, connection: Connection) -> PostgresFacts:
    role, version, encoding, read_only, clock, database, there, create, usage = _rows(connection, SERVER)[0]
    offset = clock - time.time()
    oids = {
        name: oid
        for name in WRITTEN
        if (oid := _rows(connection, "SELECT to_regclass(%s)::oid", name)[0][0]) is not None
    }
    privileges = connection.execute(PRIVILEGES.encode(), {"theirs": list(oids.values())}).fetchall()
    ours = {name: frozenset(may) for is_theirs, _, name, _, may in privileges if not is_theirs}
    theirs = _theirs(connection, oids, [row[1:] for row in privileges if row[0]])
    return PostgresFacts(
        place=place(conninfo),
        database=database,
        role=role,
        version=version,
        encoding=encoding,
        read_only=read_only,
        clock_seconds=offset,
        has_schema=there,
        may_create_schema=create,
        may_use_schema=usage,
        revision=_value(connection, REVISION) if "SELECT" in ours.get("alembic_version", ()) and usage else None,
        newest_revision=newest_revision(),
        ours=ours,
        theirs=theirs,
        lanes=_lanes(connection) if "SELECT" in ours.get("lanes", ()) and usage else None,
    )


def _theirs(connection: Connection, oids: Mapping[str, int], privileges: list[tuple[Any, ...]]) -> dict[str, Theirs]:
    wanted = list(oids.values())
    columns, indexes = _rows(connection, COLUMNS, wanted), _rows(connection, INDEXES, wanted)
    found = {}
    for full, name, owner, may in privileges:
        oid = oids[name]
        found[name] = Theirs(
            name=full,
            owner=owner,
            privileges=frozenset(may),
            columns=frozenset(column for table, column, _ in columns if table == oid),
            demanded=frozenset(column for table, column, demanded in columns if table == oid and demanded),
            unique=frozenset(tuple(names) for table, _, unique, names in indexes if table == oid and unique),
            indexes=frozenset(index for table, index, _, _ in indexes if table == oid),
        )
    return found


def _lanes(connection: Connection) -> tuple[int, Sequence[int]]:
    count, epochs = _rows(connection, LANES)[0]
    return count, epochs or []


def _value(connection: Connection, statement: str) -> str | None:
    rows = _rows(connection, statement)
    return str(rows[0][0]) if rows else None


def _rows(connection: Connection, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode(), arguments or None).fetchall()
