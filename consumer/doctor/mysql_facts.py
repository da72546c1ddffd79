"""What a MySQL or MariaDB server says of itself and of what our account may do there. Nothing is judged here."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pymysql.constants import COMMAND, ER

from consumer.capture import CAPTURED, OF_CLAIMS, Declared
from consumer.doctor.check import Unreachable
from consumer.local_time import Created
from consumer.mysql.errors import LoginRefused, Sentences, SourceError
from consumer.mysql.foreign_keys import Reference, references
from consumer.mysql.retention import RDS_HOURS, hours_of, is_rds
from consumer.mysql.schema import identifier, schema_of
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress

Row = Mapping[str, Any]

VARIABLES: Final = """
SHOW GLOBAL VARIABLES WHERE variable_name IN (
    'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'log_replica_updates', 'log_slave_updates',
    'binlog_expire_logs_seconds', 'expire_logs_days', 'binlog_expire_logs_auto_purge', 'gtid_mode', 'server_id',
    'time_zone', 'basedir')
"""
"""What decides about the binlog; servers leave out what they do not know."""

SESSION: Final = """
SELECT CURRENT_USER(), VERSION(), UNIX_TIMESTAMP(NOW(6)),
       TIMESTAMPDIFF(SECOND, winter, CONVERT_TZ(winter, '+00:00', @@global.time_zone)),
       TIMESTAMPDIFF(SECOND, summer, CONVERT_TZ(summer, '+00:00', @@global.time_zone))
FROM (SELECT TIMESTAMP('2026-01-15 12:00:00') AS winter, TIMESTAMP('2026-07-15 12:00:00') AS summer) AS moments
"""
"""Who we are, the clock, and how far the server's zone is from UTC in winter and in summer (NULL where it does not
know): London's is UTC for half of the year."""

QUERIES: Final = f"""
SELECT table_name FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type IN ('VIEW', 'SYSTEM VIEW')
  AND table_name IN ({", ".join(map(repr, CAPTURED))})
"""  # noqa: S608 (names of ours)
"""Captured tables that are views."""

HIGHEST_USER: Final = ("SELECT MAX(id) AS highest FROM users",)
"""One look into the primary key."""

STATUS: Final = ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
LOGS: Final = ("SHOW BINARY LOGS",)
REPLICATION: Final = ("SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
REPLICAS: Final = ("SHOW REPLICAS", "SHOW SLAVE HOSTS")
"""Each in the words of MySQL and, where they differ, of MariaDB and of MySQL 8.0. All slaves, of whom MariaDB alone
knows, come first: MariaDB knows the next one, too, of the connection without a name alone."""

_SENTENCES: Final = Sentences(*["{address} cannot be asked: {reason}"] * len(Sentences._fields))
"""The check says what to do about it."""
_DENIED: Final = (
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    ER.ACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
)


class View(StrEnum):
    """What we see of a table: all its columns, those that were granted to us, nothing at all; or it is not there, or is
    no table but a query by that name, of whose rows no binlog says anything."""

    WHOLE = "whole"
    GRANTED = "granted"
    NONE = "none"
    ABSENT = "absent"
    QUERY = "query"


_VIEWS: Final = {
    ER.BAD_FIELD_ERROR: View.WHOLE,
    ER.COLUMNACCESS_DENIED_ERROR: View.GRANTED,
    ER.TABLEACCESS_DENIED_ERROR: View.NONE,
    ER.NO_SUCH_TABLE: View.ABSENT,
}
"""What a server answers when it is asked for a column that no table has."""


class Registered(NamedTuple):
    """A replica that is registered with the server."""

    server_id: int
    host: str
    uuid: str


@dataclass(frozen=True)
class MySQLFacts:
    """All that is judged. What our account may not ask is None.

    `columns` maps tables to the columns we may read and their types, `views` to how much of a table that is; `indexed`
    are (table, column) that an index begins with. `highest_user` is None where every id fits 63 bits by its type, or
    cannot be read. `zone_seconds` is how far the server's zone is from UTC at most in a year, `clock_seconds` how far
    its clock is ahead of ours. `rds_hours` is for how long Amazon keeps binlogs, of whose servers alone it is known.
    `status` is one row, `replication` a row for each source that the server follows.
    `references` are the foreign keys of the captured tables that we may see.
    """

    place: str
    database: str
    account: str
    mariadb: bool
    version: str
    variables: Mapping[str, str]
    rds_hours: float | None
    status: Row | None
    may_replicate: bool
    columns: Mapping[str, Mapping[str, Declared]]
    views: Mapping[str, View]
    indexed: frozenset[tuple[str, str]]
    highest_user: int | None
    zone_seconds: int | None
    clock_seconds: float
    logs: Sequence[str] | None
    purged_gtids: str
    replication: Sequence[Row] | None
    replicas: Sequence[Registered] | None
    references: Sequence[Reference]

    @property
    def schema(self) -> str:
        """The database's name as statements have it."""
        return identifier(self.database)


def collect(address: MySQLAddress, seconds: float) -> MySQLFacts:
    """Asks the server; no answer may take longer than `seconds`. Raises Unreachable, SettingsError."""
    with _session(address, seconds) as replica:
        return _collect(address, replica)


@contextmanager
def _session(address: MySQLAddress, seconds: float) -> Iterator[Replica]:
    try:
        with closing(Replica(address, seconds, connect_seconds=seconds, sentences=_SENTENCES)) as replica:
            yield replica
    except SourceError as error:
        # The cause is the server's own error, as with the other servers: `away` looks behind it.
        raise Unreachable(str(error), refused=isinstance(error, LoginRefused)) from (error.__cause__ or error)


def _collect(address: MySQLAddress, replica: Replica) -> MySQLFacts:
    mariadb = replica.is_mariadb()
    ((account, version, clock, *zone),) = replica.query(SESSION)
    offset = float(clock) - time.time()
    variables = {str(name): str(value) for name, value in replica.query(VARIABLES)}
    schema = schema_of(replica.query)
    columns: dict[str, dict[str, Declared]] = {}
    for (table, column), declared in schema.columns.items():
        columns.setdefault(table, {})[column] = declared._replace(default=_literal(mariadb, declared))
    purged = "" if mariadb else str(replica.value("SELECT @@global.gtid_purged")).replace("\n", "")
    queries = {str(name).lower() for (name,) in replica.query(QUERIES)}
    status, logs = _ask(replica, STATUS), None
    if variables.get("log_bin") == "ON":
        logs = _ask(replica, LOGS)
    return MySQLFacts(
        place=str(address),
        database=address.database,
        account=_quoted(str(account)),
        mariadb=mariadb,
        version=str(version),
        variables=variables,
        rds_hours=_rds_hours(replica) if is_rds(variables) else None,
        status=None if status is None else (status[0] if status else {}),
        columns=columns,
        views={table: View.QUERY if table in queries else _view(replica, table) for table in CAPTURED},
        indexed=schema.indexed,
        highest_user=_highest_user(replica, columns.get("users", {}).get("id")),
        zone_seconds=None if None in zone else max(map(int, zone), key=abs),
        clock_seconds=offset,
        logs=None if logs is None else [str(row["Log_name"]) for row in logs],
        purged_gtids=purged,
        replication=_ask(replica, REPLICATION),
        replicas=_registered(_ask(replica, REPLICAS)),
        references=references(replica),
        may_replicate=_may_replicate(replica),
    )


def _rds_hours(replica: Replica) -> float | None:
    rows = _ask(replica, (RDS_HOURS,))
    return None if rows is None else hours_of(rows[0]["value"] if rows else None)


def _literal(mariadb: bool, declared: Declared) -> str | None:
    """A column's default if it is a literal, which MariaDB has in quotes and MySQL has not."""
    default = declared.default
    if mariadb and default is not None:
        literal = default[1:-1].replace("''", "'") if default[:1] == "'" else default
        return None if default == "NULL" or (literal is default and "(" in default) else literal
    return None if "default_generated" in declared.extra else default


def _highest_user(replica: Replica, declared: Declared | None) -> int | None:
    if declared is None or declared.data_type != "bigint" or "unsigned" not in declared.column_type:
        return None
    rows = _ask(replica, HIGHEST_USER)
    return int(rows[0]["highest"]) if rows and rows[0]["highest"] is not None else None


CREATED: Final = {
    "users": "SELECT 'users', id, UNIX_TIMESTAMP(created_at) FROM users WHERE id IN %s",
    "claims": "SELECT 'claims', user_id, UNIX_TIMESTAMP(created_at) FROM claims WHERE user_id IN %s",
    **{
        table: f"SELECT '{table}', claims.user_id, UNIX_TIMESTAMP({table}.created_at)"  # noqa: S608 (names of ours)
        f" FROM claims JOIN {table} ON {table}.claim_id = claims.id WHERE claims.user_id IN %s"
        for table in OF_CLAIMS
    },
}
"""When rows of these customers were made, as each table says (UTC)."""


def created(address: MySQLAddress, first_seen: Mapping[int, float], facts: MySQLFacts, seconds: float) -> list[Created]:
    """When rows of new customers were made, beside when the customer's own was committed. Raises Unreachable."""
    seen = {(table, column) for table, columns in facts.columns.items() for column in columns}
    tables = [table for table in CREATED if seen.issuperset(_asked_for(table))]
    if not first_seen or not tables:
        return []
    with _session(address, seconds) as replica:
        asked = " UNION ALL ".join(CREATED[table] for table in tables)
        rows = replica.query(asked, (tuple(first_seen),) * len(tables))
    return [Created(table, float(at), first_seen[int(user)]) for table, user, at in rows if at is not None]


def _asked_for(table: str) -> set[tuple[str, str]]:
    """The columns that CREATED names of a table, and of `claims` for what belongs to them."""
    whose = {("users", "id")} if table == "users" else {("claims", "user_id")}
    claim = {("claims", "id"), (table, "claim_id")} if table in OF_CLAIMS else set()
    return {(table, "created_at"), *whose, *claim}


def _quoted(account: str) -> str:
    """`user@host` as statements name it."""
    user, _, host = account.rpartition("@")
    return f"'{user}'@'{host}'"


def _ask(replica: Replica, spellings: Sequence[str]) -> list[Row] | None:
    """The rows of a statement in the first spelling that the server understands; None where we may not ask."""
    for spelling in spellings:
        try:
            return list(replica.records(spelling))
        except SourceError as error:
            if error.code in _DENIED:
                return None
            if error.code != ER.PARSE_ERROR:
                raise
    return None


def _view(replica: Replica, table: str) -> View:
    try:
        replica.query(f"SELECT no_such_column FROM {table} LIMIT 0")  # noqa: S608 (one of our own table names)
    except SourceError as error:
        if error.code in _VIEWS:
            return _VIEWS[error.code]
        raise
    return View.WHOLE


def _registered(rows: list[Row] | None) -> list[Registered] | None:
    if rows is None:
        return None
    return [
        Registered(
            int(row["Server_Id" if "Server_Id" in row else "Server_id"]),
            str(row["Host"]),
            str(row.get("Replica_UUID", row.get("Slave_UUID", ""))),
        )
        for row in rows
    ]


def _may_replicate(replica: Replica) -> bool:
    """Whether we may register as a replica; the server forgets it when the connection ends. The last thing asked.

    MySQL's manual, COM_REGISTER_SLAVE: server id, then host, user and password as strings, port, rank, source's id.
    """
    request = struct.pack("<I", 2**32 - 1) + b"\x06doctor" + b"\0\0" + bytes(10)
    try:
        replica.command(COMMAND.COM_REGISTER_SLAVE, request)
    except SourceError as error:
        if error.code in _DENIED:
            return False
        raise
    return True
