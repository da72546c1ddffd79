"""A session on the company's server for queries: logging in, being lost and made anew, and what errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, NamedTuple

from pymysql.connections import Connection
from pymysql.constants import CR, ER
from pymysql.cursors import Cursor
from pymysql.err import MySQLError

from consumer.mysql.errors import (
    FAILURES,
    PLAIN,
    ConnectionLost,
    LoginRefused,
    PreconditionFailed,
    Refused,
    Sentences,
    SourceError,
    named,
)
from consumer.mysql.login import login
from consumer.settings import MySQLAddress

_LOST_WHILE_IDLE: Final = (CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, 4031)
"""The last one is MySQL's ER_CLIENT_INTERACTION_TIMEOUT."""
CONNECT_SECONDS: Final = 10.0
"""How long logging in may take where nothing else is said."""


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
    """A session in the URL's database, times in UTC.

    Raises Passing, LoginRefused, PreconditionFailed, SettingsError.
    """
    try:
        return login(address, min(CONNECT_SECONDS, timeout_seconds), timeout_seconds)
    except FAILURES as error:
        raise named(error, address, "log in to") from error


def limited(select: str, seconds: float, *, mariadb: bool) -> str:
    """A SELECT that the server ends after so many seconds (MySQL: MAX_EXECUTION_TIME, MariaDB: max_statement_time)."""
    text = select.strip()
    if mariadb:
        return f"SET STATEMENT max_statement_time={seconds:g} FOR {text}"
    return f"SELECT /*+ MAX_EXECUTION_TIME({round(seconds * 1000)}) */ {text.removeprefix('SELECT')}"


class Replica:
    """A session for queries on the company's server; a lost one is made anew by the next call.

    Every time is in UTC. `queries` counts the statements sent.
    """

    def __init__(
        self,
        address: MySQLAddress,
        timeout_seconds: float = 30.0,
        *,
        connect_seconds: float | None = None,
        limit_seconds: float | None = None,
        read_only: bool = False,
        sentences: Sentences = PLAIN,
    ) -> None:
        """A server that is silent for `timeout_seconds` is taken for gone; `connect_seconds` limits logging in.

        With `limit_seconds` the server ends every SELECT that takes longer. Errors are said in `sentences`.
        """
        self.address = address
        self.queries = 0
        self._timeout = timeout_seconds
        self._connect = min(CONNECT_SECONDS, timeout_seconds) if connect_seconds is None else connect_seconds
        self._limit = limit_seconds
        self._read_only = read_only
        self._sentences = sentences
        self._session: Connection[Cursor] | None = None
        self._in_snapshot = False
        self._server = ""

    def stay_at(self, server: str = "") -> None:
        """Ends the session. Those that follow are of this server, as `server` names it, or of any where it is empty.

        Where the address leads to another one, as during a failover or behind a load balancer, asking raises
        ConnectionLost.
        """
        self.close()
        self._server = server

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
        """As `once`, and once more where the session had died while nobody used it."""
        idle = self._session is not None
        try:
            return self.once(sql, arguments)
        except SourceError as error:
            if not idle or self._in_snapshot or error.code not in _LOST_WHILE_IDLE:
                raise
        return self.query(sql, arguments)

    def once(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement in the URL's database.

        Raises Passing, LoginRefused, NotThere, and Refused where the server does not execute the statement.
        """
        return self._sent(sql, arguments)[1]

    def records(self, sql: str, arguments: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """As `once`, each row by the names of its columns."""
        names, rows = self._sent(sql, arguments)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def ping(self) -> None:
        """Finds out whether the server answers; no statement is run. Raises as `once`."""
        session = self._open()
        try:
            session.ping(reconnect=False)
        except FAILURES as error:
            raise self._failed(error) from error

    def command(self, number: int, request: bytes) -> None:
        """A command of the protocol that is no query and is answered with OK. Raises as `once`."""
        session = self._open()
        try:
            session._execute_command(number, request)  # type: ignore[attr-defined]
            session._read_ok_packet()  # type: ignore[attr-defined]
        except FAILURES as error:
            raise self._failed(error) from error

    def _sent(self, sql: str, arguments: tuple[object, ...]) -> tuple[list[str], list[tuple[Any, ...]]]:
        session = self._open()
        try:
            with session.cursor() as cursor:
                self.queries += 1
                cursor.execute(self._limited(sql), arguments or None)
                return [column[0] for column in cursor.description or ()], list(cursor.fetchall())
        except FAILURES as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> SourceError:
        """What an error means; the session is ended unless the server answered with it."""
        found = named(error, self.address, "query", self._sentences, self._limit or 0.0)
        if not isinstance(found, LoginRefused | PreconditionFailed):
            self.close()
        return found

    def _open(self) -> Connection[Cursor]:
        if self._session is None:
            session = None
            try:
                session = login(self.address, self._connect, self._timeout)
                if self._read_only:
                    with session.cursor() as cursor:
                        self.queries += 1
                        name = "tx_read_only" if _is_mariadb(session) else "transaction_read_only"
                        cursor.execute(f"SET SESSION {name} = 1")
                if self._server:
                    self.queries += 1
                    demand_server(session, self._server, self.address)
            except (*FAILURES, ConnectionLost) as error:
                if session is not None:
                    session.close()
                if isinstance(error, ConnectionLost):
                    raise
                raise named(error, self.address, "log in to", self._sentences) from error
            self._session = session
        return self._session

    def _limited(self, sql: str) -> str:
        """No hint of MySQL's fits into SHOW, nor into WITH, which asks for weights of a few hundred texts."""
        if self._limit is None or not sql.lstrip().startswith("SELECT"):
            return sql
        return limited(sql, self._limit, mariadb=self.is_mariadb())

    def is_open(self) -> bool:
        """Whether there is a session already, which may have died since."""
        return self._session is not None

    def literal(self, text: str) -> str:
        """A text quoted for this server's statements. Raises Passing, LoginRefused."""
        return str(self._open().escape(text))

    def value(self, sql: str) -> Any:
        """The only value of a statement's only row."""
        return self.query(sql)[0][0]

    def clock_and_position(self) -> ClockAndPosition:
        """The clock first, then the position. Raises Passing, LoginRefused, PreconditionFailed."""
        clock = self.clock()
        file, pos, gtid_set = self.binlog_end()
        return ClockAndPosition(clock, gtid_set, file, pos)

    def clock(self) -> int:
        """The server's clock (µs since the epoch). Raises Passing, LoginRefused, PreconditionFailed."""
        return int(self.value("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)"))

    def binlog_end(self) -> tuple[str, int, str]:
        """File, position and GTID set at the end of the binlog. Raises PreconditionFailed where it is off."""
        file, pos, *others = self._binlog_status()
        if self.is_mariadb():
            gtid_set = self.query("SELECT BINLOG_GTID_POS(%s, %s)", (file, pos))[0][0] or ""
        else:
            gtid_set = others[2] if len(others) > 2 else ""
        return file, pos, str(gtid_set).replace("\n", "")

    def binlog_position(self) -> tuple[str, int]:
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
            raise PreconditionFailed(f"{self.address} writes no binlog; start it with --log-bin")
        file, pos, *others = rows[0]
        return str(file), int(pos), *others

    def is_mariadb(self) -> bool:
        """Whether the server is a MariaDB."""
        return _is_mariadb(self._open())

    def database(self) -> str:
        """The URL's database, as the server calls it. Raises as `query`."""
        return str(self.value("SELECT DATABASE()"))

    def server(self) -> str:
        """What tells this server from others: server_uuid, on MariaDB server_id."""
        return str(self.value(_server_of(mariadb=self.is_mariadb())))

    def close(self) -> None:
        """Ends the connection."""
        if self._session is not None:
            with suppress(MySQLError, OSError):
                self._session.close()
            self._session = None


def _server_of(*, mariadb: bool) -> str:
    return "SELECT @@global.server_id" if mariadb else "SELECT @@global.server_uuid"


def demand_server(session: Connection[Cursor], server: str, address: MySQLAddress) -> None:
    """Raises ConnectionLost where a session is not of this server, and what PyMySQL raises."""
    with session.cursor() as cursor:
        cursor.execute(_server_of(mariadb=_is_mariadb(session)))
        ((found,),) = cursor.fetchall()
    if str(found) != server:
        raise ConnectionLost(
            f"{address} leads to server {found} now, and the binlog is read from server {server}; REPLICA_DATABASE_URL"
            " has to name one server, not one of several"
        )


def _is_mariadb(session: Connection[Cursor]) -> bool:
    return "mariadb" in str(session.get_server_info()).lower()  # type: ignore[no-untyped-call]


def server_info(address: MySQLAddress) -> ServerInfo:
    """Asks a server who it is and where it is. Raises Passing, LoginRefused, PreconditionFailed."""
    with closing(Replica(address)) as replica:
        file, pos, gtid_set = replica.binlog_end()
        return ServerInfo("mariadb" if replica.is_mariadb() else "mysql", replica.server(), gtid_set, file, pos)


def database_of(address: MySQLAddress) -> str:
    """The address's database, as its server calls it. Raises as `server_info`."""
    with closing(Replica(address)) as replica:
        return replica.database()
