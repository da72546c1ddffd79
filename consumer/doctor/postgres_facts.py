"""What PostgreSQL says of itself, of our schema and of the call centre's tables. Nothing is judged here."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from consumer.doctor.check import Unreachable
from consumer.doctor.refused import is_refused
from consumer.store.call_centre import attribution, tables
from consumer.store.call_centre.attribution import AttributionFacts
from consumer.store.call_centre.fit import Theirs
from consumer.store.call_centre.needs import TABLES
from consumer.store.connection import Connection, limited, open_session, place, watchful
from consumer.store.errors import NotPrepared
from consumer.store.lanes import LanePoint, lanes
from consumer.store.pooler import Pooling, pooling
from consumer.store.rules import Adopted, newest
from consumer.store.schema import migrations
from consumer.store.sql import FIRST_SEEN

T = TypeVar("T")

NAME: Final = "leadstream doctor"
GRACE_SECONDS: Final = 1.0
"""How much longer than an answer may take we wait for the server to say so itself."""

SERVER: Final = """
SELECT quote_ident(current_user), current_setting('server_version_num')::int, current_setting('server_encoding'),
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
       extract(epoch FROM clock_timestamp())::float8, quote_ident(current_database()),
       to_regnamespace('leadstream') IS NOT NULL,
       has_database_privilege(current_database(), 'CREATE'),
       coalesce(has_schema_privilege(to_regnamespace('leadstream'), 'USAGE'), false)
"""
"""Who we are, what the server is, its clock (seconds), how we stand to our schema; names as statements have them."""

PRIVILEGES: Final = """
WITH theirs AS (SELECT to_regclass(name) AS oid FROM unnest(%s::text[]) AS name)
SELECT class.oid IN (SELECT oid FROM theirs WHERE oid IS NOT NULL), class.relname::text,
       ARRAY(SELECT word FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS word
             WHERE has_table_privilege(class.oid, word))
FROM pg_class AS class
WHERE class.oid IN (SELECT oid FROM theirs)
   OR (class.relnamespace = to_regnamespace('leadstream') AND class.relkind IN ('r', 'p'))
"""
"""The call centre's tables and our own: whether it is theirs, its name, what we may do with it."""

LANES_AND_EPOCHS: Final = "SELECT count(*), array_agg(DISTINCT epoch) FROM leadstream.lanes"
REVISION: Final = "SELECT version_num FROM leadstream.alembic_version"


@dataclass(frozen=True)
class PostgresFacts:
    """All that is judged. `clock_seconds` is how far the server's clock is ahead of ours; `revision` None: no schema of
    ours or not to be seen; `lanes` is how many there are and their epochs; `version` is as 150003. `privileges` are
    ours on the call centre's tables; `elsewhere` are schemas of tables that the search path does not find, and `closed`
    those schemas with such tables that we may not use.
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
    privileges: Mapping[str, frozenset[str]]
    elsewhere: Mapping[str, list[str]]
    closed: Collection[str]
    lanes: tuple[int, Sequence[int]] | None
    pooling: Pooling = Pooling.NONE
    rules: Adopted | None = None
    """The rules in force; None where there are none, or none to be seen."""
    attribution: AttributionFacts | None = None
    """What there is to find out whose calls earned a conversion."""


def collect(conninfo: str, seconds: float) -> PostgresFacts:
    """Asks the server; connecting and each answer may take `seconds`. Raises Unreachable."""
    address = ""
    try:
        address = watchful(conninfo, NAME)
        if "connect_timeout" not in conninfo_to_dict(conninfo):
            address = make_conninfo(address, connect_timeout=max(2, round(seconds)))
        with limited(address, seconds + GRACE_SECONDS) as connection:
            found = pooling(connection, address)
            with nullcontext() if found is Pooling.STATEMENTS else connection.transaction():
                if found is not Pooling.STATEMENTS:
                    connection.execute(f"SET LOCAL statement_timeout = {round(seconds * 1000)}".encode())
                return replace(_collect(conninfo, connection), pooling=found)
    except psycopg.Error as error:
        reason = error.diag.message_primary or (str(error).strip().splitlines() or ["the connection is closed"])[0]
        raise Unreachable(f"{place(conninfo)} cannot be asked: {reason}", refused=is_refused(error, address)) from error


def asked(conninfo: str, seconds: float, ask: Callable[[Connection], T]) -> T | None:
    """What is answered besides; None where nobody can say, of which `collect` gives the reason. Limits as there."""
    try:
        with open_session(
            conninfo,
            NAME,
            autocommit=True,
            seconds=max(2, round(seconds)),
            answer_seconds=seconds + GRACE_SECONDS,
        ) as connection:
            connection.execute(f"SET statement_timeout = {round(seconds * 1000)}".encode())
            return ask(connection)
    except (psycopg.Error, NotPrepared):
        return None


def first_seen(conninfo: str, seconds: float) -> dict[int, float]:
    """The newest customers that the stream brought, and when (s) their row was committed; none where nobody can say."""
    return asked(conninfo, seconds, lambda connection: dict(_rows(connection, FIRST_SEEN))) or {}


def points(conninfo: str, seconds: float) -> dict[int, LanePoint]:
    """Where each lane stands; none where nobody can say."""
    return asked(conninfo, seconds, lanes) or {}


def newest_revision() -> str:
    """The newest migration's number, as its file is named; loading Alembic for it would take half a second."""
    folder = Path(migrations.__path__[0]) / "versions"
    return max(found[1] for path in folder.iterdir() if (found := re.fullmatch(r"(\d{4})_\w+\.py", path.name)))


def _collect(conninfo: str, connection: Connection) -> PostgresFacts:
    role, version, encoding, read_only, clock, database, there, create, usage = _rows(connection, SERVER)[0]
    offset = clock - time.time()
    privileges = _rows(connection, PRIVILEGES, list(TABLES))
    ours = {name: frozenset(may) for is_theirs, name, may in privileges if not is_theirs}
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
        theirs=tables.tables(connection),
        privileges={name: frozenset(may) for is_theirs, name, may in privileges if is_theirs},
        elsewhere=tables.elsewhere(connection),
        closed=tables.closed(connection),
        lanes=_lanes(connection) if "SELECT" in ours.get("lanes", ()) and usage else None,
        attribution=attribution.collect(connection),
        rules=_rules(connection) if "SELECT" in ours.get("rules", ()) and usage else None,
    )


def _rules(connection: Connection) -> Adopted | None:
    try:
        return newest(connection)
    except NotPrepared:
        return None


def _lanes(connection: Connection) -> tuple[int, Sequence[int]]:
    count, epochs = _rows(connection, LANES_AND_EPOCHS)[0]
    return count, epochs or []


def _value(connection: Connection, statement: str) -> str | None:
    rows = _rows(connection, statement)
    return str(rows[0][0]) if rows else None


def _rows(connection: Connection, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode(), arguments or None).fetchall()
