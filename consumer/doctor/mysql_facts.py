"""What a MySQL or MariaDB server says of itself and of what our account may do there. Nothing is judged here."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import pymysql
from pymysql.connections import Connection
from pymysql.constants import COMMAND, ER
from pymysql.cursors import Cursor, DictCursor

from consumer.capture import CAPTURED, Declared
from consumer.doctor.check import Unreachable
from consumer.local_time import Created
from consumer.mysql.errors import LoginRefused
from consumer.mysql.login import login
from consumer.mysql.session import named
from consumer.settings import MySQLAddress

Row = Mapping[str, Any]

VARIABLES: Final = """
SHOW GLOBAL VARIABLES WHERE variable_name IN (
    'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'log_replica_updates', 'log_slave_updates',
    'binlog_expire_logs_seconds', 'expire_logs_days', 'binlog_expire_logs_auto_purge', 'gtid_mode', 'server_id',
    'time_zone')
"""
"""What decides about the binlog; servers leave out what they do not know."""

SESSION: Final = """
SELECT CURRENT_USER(), VERSION(), UNIX_TIMESTAMP(NOW(6)),
       TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone))
"""
"""Who we are, the clock, and how far the server's zone is from UTC (NULL where it does not know)."""

COLUMNS: Final = """
SELECT table_name, column_name, data_type, column_type, character_set_name, collation_name, is_nullable, column_default,
       extra
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN %s
"""
"""The columns that our account may see."""

HIGHEST_USER: Final = ("SELECT MAX(id) AS highest FROM users",)
"""One look into the primary key."""

INDEXED: Final = """
SELECT table_name, column_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name IN %s AND seq_in_index = 1
"""
"""The columns that an index begins with."""

STATUS: Final = ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
LOGS: Final = ("SHOW BINARY LOGS",)
REPLICATION: Final = ("SHOW REPLICA STATUS", "SHOW ALL SLAVES STATUS")
REPLICAS: Final = ("SHOW REPLICAS", "SHOW SLAVE HOSTS")
"""Each in the words of MySQL and, where they differ, of MariaDB and of MySQL 8.0."""

_OTHER_WORDS: Final = ER.PARSE_ERROR
_DENIED: Final = (
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    ER.ACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
)


class View(StrEnum):
    """What we see of a table: all its columns, those that were granted to us, nothing at all; or it is not there."""

    WHOLE = "whole"
    GRANTED = "granted"
    NONE = "none"
    ABSENT = "absent"


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
    cannot be read. `zone_seconds` is how far the server's zone is from UTC, `clock_seconds` how far its clock is ahead
    of ours. `status` is one row, `replication` a row for each source that the server follows.
    """

    place: str
    database: str
    account: str
    mariadb: bool
    version: str
    variables: Mapping[str, str]
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


def collect(address: MySQLAddress, seconds: float) -> MySQLFacts:
    """Asks the server; no answer may take longer than `seconds`. Raises Unreachable, SettingsError."""
    with _session(address, seconds) as connection:
        return _collect(address, connection)


@contextmanager
def _session(address: MySQLAddress, seconds: float) -> Iterator[Connection[Cursor]]:
    try:
        with closing(login(address, seconds, seconds)) as connection:
            yield connection
    except (pymysql.err.MySQLError, OSError, EOFError, RuntimeError) as error:
        refused = isinstance(named(error, address, "ask"), LoginRefused)
        reason = error.args[-1] if error.args else error
        raise Unreachable(f"{address} cannot be asked: {reason}", refused=refused) from error


def _collect(address: MySQLAddress, connection: Connection[Cursor]) -> MySQLFacts:
    mariadb = "mariadb" in str(connection.get_server_info()).lower()  # type: ignore[no-untyped-call]
    tables = (tuple(CAPTURED),)
    with connection.cursor() as cursor:
        cursor.execute(SESSION)
        account, version, clock, zone = cursor.fetchall()[0]
        offset = float(clock) - time.time()
        cursor.execute(VARIABLES)
        variables = {str(name): str(value) for name, value in cursor.fetchall()}
        cursor.execute(COLUMNS, tables)
        columns: dict[str, dict[str, Declared]] = {}
        for table, column, *declared in cursor.fetchall():
            columns.setdefault(str(table).lower(), {})[str(column).lower()] = _declared(mariadb, *declared)
        cursor.execute(INDEXED, tables)
        indexed = frozenset((str(table).lower(), str(column).lower()) for table, column in cursor.fetchall())
        purged = ""
        if not mariadb:
            cursor.execute("SELECT @@global.gtid_purged")
            purged = str(cursor.fetchall()[0][0]).replace("\n", "")
    status, logs = _ask(connection, STATUS), None
    if variables.get("log_bin") == "ON":
        logs = _ask(connection, LOGS)
    return MySQLFacts(
        place=str(address),
        database=address.database,
        account=_quoted(str(account)),
        mariadb=mariadb,
        version=str(version),
        variables=variables,
        status=None if status is None else (status[0] if status else {}),
        columns=columns,
        views={table: _view(connection, table) for table in CAPTURED},
        indexed=indexed,
        highest_user=_highest_user(connection, columns.get("users", {}).get("id")),
        zone_seconds=None if zone is None else int(zone),
        clock_seconds=offset,
        logs=None if logs is None else [str(row["Log_name"]) for row in logs],
        purged_gtids=purged,
        replication=_ask(connection, REPLICATION),
        replicas=_registered(_ask(connection, REPLICAS)),
        may_replicate=_may_replicate(connection),
    )


def _declared(
    mariadb: bool,
    data_type: str,
    column_type: str,
    charset: str | None,
    collation: str | None,
    nullable: str,
    default: str | None,
    extra: str,
) -> Declared:
    """A column; of defaults only the literals, which MariaDB has in quotes and MySQL has not."""
    if mariadb and default is not None:
        literal = default[1:-1].replace("''", "'") if default[:1] == "'" else default
        default = None if default == "NULL" or (literal is default and "(" in default) else literal
    elif "DEFAULT_GENERATED" in str(extra).upper():
        default = None
    # The members of an ENUM are in the column's own spelling, everything else is in lower case on both servers.
    return Declared(
        str(data_type).lower(), str(column_type), charset or "", collation or "", nullable == "YES", default,
        str(extra).lower(),
    )  # fmt: skip


def _highest_user(connection: Connection[Cursor], declared: Declared | None) -> int | None:
    if declared is None or declared.data_type != "bigint" or "unsigned" not in declared.column_type:
        return None
    rows = _ask(connection, HIGHEST_USER)
    return int(rows[0]["highest"]) if rows and rows[0]["highest"] is not None else None


CREATED: Final = {
    "users": "SELECT 'users', id, UNIX_TIMESTAMP(created_at) FROM users WHERE id IN %s",
    "claims": "SELECT 'claims', user_id, UNIX_TIMESTAMP(created_at) FROM claims WHERE user_id IN %s",
    "claim_requirements": "SELECT 'claim_requirements', claims.user_id, UNIX_TIMESTAMP(claim_requirements.created_at)"
    " FROM claims JOIN claim_requirements ON claim_requirements.claim_id = claims.id WHERE claims.user_id IN %s",
}
"""When rows of these customers were made, as each table says (UTC)."""


def created(address: MySQLAddress, first_seen: Mapping[int, float], facts: MySQLFacts, seconds: float) -> list[Created]:
    """When rows of new customers were made, beside when the customer's own was committed. Raises Unreachable."""
    tables = [table for table in CREATED if {"id", "created_at"} <= facts.columns.get(table, {}).keys()]
    if not first_seen or not tables:
        return []
    with _session(address, seconds) as connection, connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(CREATED[table] for table in tables), (tuple(first_seen),) * len(tables))
        rows = cursor.fetchall()
    return [Created(table, float(at), first_seen[int(user)]) for table, user, at in rows if at is not None]


def _quoted(account: str) -> str:
    """`user@host` as statements name it."""
    user, _, host = account.rpartition("@")
    return f"'{user}'@'{host}'"


def _ask(connection: Connection[Cursor], spellings: Sequence[str]) -> list[Row] | None:
    """The rows of a statement in the first spelling that the server understands; None where we may not ask."""
    with connection.cursor(DictCursor) as cursor:
        for spelling in spellings:
            try:
                cursor.execute(spelling)
                return list(cursor.fetchall())
            except pymysql.err.MySQLError as error:
                if error.args[0] in _DENIED:
                    return None
                if error.args[0] != _OTHER_WORDS:
                    raise
    return None


def _view(connection: Connection[Cursor], table: str) -> View:
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT no_such_column FROM {table} LIMIT 0")  # noqa: S608 (one of our own table names)
        except pymysql.err.MySQLError as error:
            if error.args[0] in _VIEWS:
                return _VIEWS[error.args[0]]
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


def _may_replicate(connection: Connection[Cursor]) -> bool:
    """Whether we may register as a replica; the server forgets it when the connection ends. The last thing asked.

    MySQL's manual, COM_REGISTER_SLAVE: server id, then host, user and password as strings, port, rank, source's id.
    """
    request = struct.pack("<I", 2**32 - 1) + b"\x06doctor" + b"\0\0" + bytes(10)
    try:
        connection._execute_command(COMMAND.COM_REGISTER_SLAVE, request)  # type: ignore[attr-defined]
        connection._read_ok_packet()  # type: ignore[attr-defined]
    except pymysql.err.MySQLError as error:
        if error.args[0] in _DENIED:
            return False
        raise
    return True
