"""A session on the company's server for queries: logging in, being lost and made anew, and what errors mean to us."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, NamedTuple

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR, ER
from pymysql.cursors import Cursor

from consumer.mysql.errors import ConnectionLost, LoginRefused, NotThere, PreconditionFailed, SourceError
from consumer.mysql.login import login
from consumer.settings import MySQLAddress

_LOST_WHILE_IDLE: Final = (CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, 4031)
"""The last one is MySQL's ER_CLIENT_INTERACTION_TIMEOUT."""
_REFUSED: Final = frozenset(
    (ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.BAD_DB_ERROR, 1698)
)

_NOT_THERE: Final = frozenset(
    (
        ER.BAD_FIELD_ERROR,
        ER.NO_SUCH_TABLE,
        ER.COLUMNACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
        ER.TABLE_DEF_CHANGED,
    )
)
"""What a server says of columns and tables that it has not; of those of other names an account with grants on single
columns may hear that it must not see them. The last says it of a table that was altered since our snapshot."""


_WRONG_STATEMENT: Final = frozenset(
    (
        ER.UNKNOWN_CHARACTER_SET,
        ER.UNKNOWN_SYSTEM_VARIABLE,
        ER.COLLATION_CHARSET_MISMATCH,
        ER.CANT_AGGREGATE_2COLLATIONS,
        ER.CANT_AGGREGATE_3COLLATIONS,
        ER.CANT_AGGREGATE_NCOLLATIONS,
        ER.UNKNOWN_COLLATION,
        ER.SP_DOES_NOT_EXIST,
        ER.NOT_SUPPORTED_YET,
        ER.WRONG_VALUE_FOR_VAR,
    )
)
"""What a server says of a statement that it will not understand the next time either. PyMySQL raises OperationalError
for these as for a connection that is gone (pymysql.err, `raise_mysql_exception`)."""


_TIMED_OUT: Final = re.compile(r"\btimed out\b")
"""In Python's words, which PyMySQL passes on, for a server that has been silent for the whole time it was given."""


class ServerInfo(NamedTuple):
    """Who a server is and where its binlog ends.

    `server` is what `Checkpoint.server` holds: the server_uuid of a MySQL server, the server_id of a MariaDB server.
    `gtid_set` is empty where the server has no GTIDs.
    """

    flavor: str
    server: str
    gtid_set: str
    file: str
    pos: int


class ClockAndPosition(NamedTuple):
    """The server's clock (µs since the epoch) and, read after it, where its binlog ended."""

    ts_us: int
    gtid_set: str
    file: str
    pos: int


def log_in(address: MySQLAddress, timeout_seconds: float) -> Connection[Cursor]:
    """A session in the URL's database, times in UTC. Raises LoginRefused, ConnectionLost, SettingsError."""
    try:
        return login(address, min(10.0, timeout_seconds), timeout_seconds)
    except (pymysql.err.MySQLError, OSError, EOFError, RuntimeError) as error:
        raise named(error, address, "log in to") from error


def is_of_tls(error: BaseException) -> bool:
    """Whether the two sides do not agree about TLS, which trying again does not get over."""
    code = error.args[0] if error.args else None
    original = getattr(error, "original_exception", None)
    cut_off = isinstance(original, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
    return code == CR.CR_SSL_CONNECTION_ERROR or (isinstance(original, ssl.SSLError) and not cut_off)


def named(error: BaseException, address: MySQLAddress, doing: str) -> SourceError:
    """What an error of PyMySQL or of the socket means to us."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    reason = error.args[1] if len(error.args) > 1 else str(error)
    sentence = f"cannot {doing} {address}: {reason}"
    if is_of_tls(error):
        return LoginRefused(f"{sentence}; see ssl_mode and ssl_ca in REPLICA_DATABASE_URL")
    if code in _REFUSED or isinstance(error, RuntimeError):
        return LoginRefused(f"{sentence}; see the account and its privileges in REPLICA_DATABASE_URL")
    if doing == "query" and _TIMED_OUT.search(str(reason)):
        sentence += "; if the server is only busy, raise REPLICA_QUERY_SECONDS"
    return ConnectionLost(sentence)


def limited(select: str, seconds: float, *, mariadb: bool) -> str:
    """A SELECT that the server ends after so many seconds (MySQL: MAX_EXECUTION_TIME, MariaDB: max_statement_time)."""
    text = select.strip()
    if mariadb:
        return f"SET STATEMENT max_statement_time={seconds:g} FOR {text}"
    return f"SELECT /*+ MAX_EXECUTION_TIME({round(seconds * 1000)}) */ {text.removeprefix('SELECT')}"


class Replica:
    """A connection for queries to the server whose binlog is read; a lost one is made anew by the next call."""

    def __init__(self, address: MySQLAddress, timeout_seconds: float = 30.0) -> None:
        self._address = address
        self._timeout = timeout_seconds
        self._session: Connection[Cursor] | None = None
        self._in_snapshot = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Makes all queries meanwhile see the server as of one moment. Raises as `query`."""
        self.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # the default may see changes in between
        self._in_snapshot = True  # from here on a session made anew would read otherwise
        try:
            self.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            yield
        finally:
            self._in_snapshot = False
            if self._session is not None:
                with suppress(SourceError):
                    self.query("ROLLBACK")

    def query(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement in the URL's database, session time zone UTC.

        Raises ConnectionLost, LoginRefused, NotThere, and PreconditionFailed where the server refuses the statement.
        """
        idle = self._session is not None
        session = self._open()
        try:
            with session.cursor() as cursor:
                cursor.execute(sql, arguments or None)
                return list(cursor.fetchall())
        except pymysql.err.OperationalError as error:
            if error.args[0] in _NOT_THERE or error.args[0] in _WRONG_STATEMENT:
                raise self._refused(error) from error
            self.close()
            if idle and not self._in_snapshot and error.args[0] in _LOST_WHILE_IDLE:
                return self.query(sql, arguments)
            raise named(error, self._address, "query") from error
        except (pymysql.err.InterfaceError, OSError, EOFError) as error:
            self.close()
            raise named(error, self._address, "query") from error
        except pymysql.err.MySQLError as error:
            raise self._refused(error) from error

    def _open(self) -> Connection[Cursor]:
        if self._session is None:
            self._session = log_in(self._address, self._timeout)
        return self._session

    def _refused(self, error: pymysql.err.MySQLError) -> PreconditionFailed:
        sentence = f"{self._address} refuses a query: {error.args[-1]}"
        return NotThere(sentence) if error.args[0] in _NOT_THERE else Refused(sentence, error.args[0])

    def literal(self, text: str) -> str:
        """A text quoted for this server's statements. Raises ConnectionLost, LoginRefused."""
        return str(self._open().escape(text))

    def value(self, sql: str) -> Any:
        """The only value of a statement's only row."""
        return self.query(sql)[0][0]

    def clock_and_position(self) -> ClockAndPosition:
        """The clock first, then the position. Raises ConnectionLost, LoginRefused, PreconditionFailed."""
        clock = self.clock()
        file, pos, gtid_set = self.binlog_end()
        return ClockAndPosition(clock, gtid_set, file, pos)

    def clock(self) -> int:
        """The server's clock (µs since the epoch). Raises ConnectionLost, LoginRefused, PreconditionFailed."""
        return int(self.value("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)"))

    def binlog_end(self) -> tuple[str, int, str]:
        """File, position and GTID set at the end of the binlog. Raises PreconditionFailed where it is off."""
        file, pos, *others = self._binlog_status()
        if self.is_mariadb():
            gtid_set = self.query("SELECT BINLOG_GTID_POS(%s, %s)", (file, pos))[0][0] or ""
        else:
            gtid_set = others[2] if len(others) > 2 else ""
        return file, pos, str(gtid_set).replace("\n", "")

    def binlog_place(self) -> tuple[str, int]:
        """File and position at the end of the binlog, without the look into it that MariaDB's GTIDs take."""
        file, pos, *_ = self._binlog_status()
        return file, pos

    def _binlog_status(self) -> tuple[str, int, *tuple[str, ...]]:
        try:
            rows = self.query("SHOW BINARY LOG STATUS")
        except Refused as error:
            if error.code != ER.PARSE_ERROR:
                raise
            rows = self.query("SHOW MASTER STATUS")
        if not rows:
            raise PreconditionFailed(f"{self._address} writes no binlog; start it with --log-bin")
        file, pos, *others = rows[0]
        return str(file), int(pos), *others

    def is_mariadb(self) -> bool:
        """Whether the server is a MariaDB."""
        return "mariadb" in str(self._open().get_server_info()).lower()  # type: ignore[no-untyped-call]

    def database(self) -> str:
        """The URL's database, as the server calls it. Raises as `query`."""
        return str(self.value("SELECT DATABASE()"))

    def server(self) -> str:
        """What tells this server from others: server_uuid, on MariaDB server_id."""
        return str(self.value("SELECT @@global.server_id" if self.is_mariadb() else "SELECT @@global.server_uuid"))

    def close(self) -> None:
        """Ends the connection."""
        if self._session is not None:
            with suppress(pymysql.err.MySQLError, OSError):
                self._session.close()
            self._session = None


class Refused(PreconditionFailed):
    """A statement that the server does not execute; `code` is its error number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def server_info(address: MySQLAddress) -> ServerInfo:
    """Asks a server who it is and where it is. Raises ConnectionLost, LoginRefused, PreconditionFailed."""
    with closing(Replica(address)) as replica:
        file, pos, gtid_set = replica.binlog_end()
        return ServerInfo("mariadb" if replica.is_mariadb() else "mysql", replica.server(), gtid_set, file, pos)


def database_of(address: MySQLAddress) -> str:
    """The address's database, as its server calls it. Raises as `server_info`."""
    with closing(Replica(address)) as replica:
        return replica.database()
