"""When a session is made anew, when it is kept, and what every one of them begins with; the server is a double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymysql.err import InternalError, MySQLError, OperationalError

from consumer.mysql import session
from consumer.mysql.errors import ConnectionLost, LoginRefused, NotThere, TooSlow
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress

ADDRESS = MySQLAddress("mysql://us:secret@replica:3306/company")
LOST = OperationalError(2013, "Lost connection to MySQL server during query")


class Server:
    """A server that fails what it is told to fail; remembers what it was sent, by session."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.closed: list[int] = []
        self.failures: list[Exception] = []
        """Of the next statements."""
        self.version = "8.4.0"
        self.logins: list[tuple[float, float]] = []

    def login(self, _address: MySQLAddress, connect_seconds: float, answer_seconds: float) -> Connection:
        self.logins.append((connect_seconds, answer_seconds))
        self.sent.append([])
        return Connection(self, len(self.sent) - 1)


class Connection:
    """One session, and the cursor of it."""

    description = (("answer",),)

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._number = number

    @contextmanager
    def cursor(self) -> Iterator[Connection]:
        yield self

    def execute(self, sql: str, _arguments: object = None) -> None:
        self._server.sent[self._number].append(sql)
        if self._server.failures:
            raise self._server.failures.pop(0)

    def fetchall(self) -> tuple[tuple[Any, ...], ...]:
        return ((self._number,),)

    def ping(self, reconnect: bool) -> None:
        assert not reconnect
        self.execute("ping")

    def get_server_info(self) -> str:
        return self._server.version

    def close(self) -> None:
        self._server.closed.append(self._number)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(session, "login", server.login)
    return server


def test_a_session_that_died_while_idle_is_made_anew_once(server: Server) -> None:
    replica = Replica(ADDRESS)
    assert replica.query("SELECT 1") == [(0,)]
    server.failures = [LOST]
    assert replica.query("SELECT 2") == [(1,)]
    server.failures = [LOST, LOST]
    with pytest.raises(ConnectionLost):
        replica.query("SELECT 3")
    assert server.sent == [["SELECT 1", "SELECT 2"], ["SELECT 2", "SELECT 3"], ["SELECT 3"]]
    assert replica.queries == 5


def test_a_new_session_is_not_made_anew_and_once_is_once(server: Server) -> None:
    replica = Replica(ADDRESS)
    server.failures = [LOST]
    with pytest.raises(ConnectionLost):
        replica.query("SELECT 1")
    replica.query("SELECT 2")
    server.failures = [LOST]
    with pytest.raises(ConnectionLost):
        replica.once("SELECT 3")
    assert len(server.sent) == 2
    assert not replica.is_open()


@pytest.mark.parametrize(
    ("failure", "kept"),
    [
        (OperationalError(1054, "Unknown column"), True),
        (OperationalError(1227, "Access denied; you need SUPER"), True),
        (OperationalError(3024, "interrupted"), False),
        (OperationalError(9999, "whatever"), False),
        (InternalError("Packet sequence number wrong"), False),
        (ConnectionResetError(104, "reset"), False),
    ],
)
def test_a_session_outlives_what_the_server_answered_and_nothing_else(
    server: Server, failure: Exception, kept: bool
) -> None:
    replica = Replica(ADDRESS)
    replica.query("SELECT 1")
    server.failures = [failure]
    with pytest.raises(Exception, match="replica:3306"):
        replica.once("SELECT 2")
    assert replica.is_open() is kept
    assert bool(server.closed) is not kept


@pytest.mark.parametrize("at", [1, 2])
def test_a_snapshot_never_begins_or_goes_on_in_another_session(server: Server, at: int) -> None:
    replica = Replica(ADDRESS)
    replica.query("SELECT 1")

    def taken() -> None:
        with replica.snapshot():
            if at == 2:
                server.failures = [LOST]
            replica.query("SELECT 2")

    execute = Connection.execute
    if at == 1:

        def fails(self: Connection, sql: str, arguments: object = None) -> None:
            if sql.startswith("START"):
                server.failures = [LOST]
            execute(self, sql, arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "execute", fails)
            with pytest.raises(ConnectionLost):
                taken()
    else:
        with pytest.raises(ConnectionLost):
            taken()
    assert len(server.sent) == 1
    assert server.sent[0][1:3] == [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ]


@pytest.mark.parametrize(
    ("version", "mode", "limit"),
    [
        ("8.4.0", "transaction_read_only", "SELECT /*+ MAX_EXECUTION_TIME(500) */  1"),
        ("11.4.2-MariaDB", "tx_read_only", "SET STATEMENT max_statement_time=0.5 FOR SELECT 1"),
    ],
)
def test_a_limited_session_that_cannot_write_says_so_in_the_servers_words(
    server: Server, version: str, mode: str, limit: str
) -> None:
    server.version = version
    replica = Replica(ADDRESS, 5.5, connect_seconds=7.0, limit_seconds=0.5, read_only=True)
    replica.query("SELECT 1")
    replica.query("SHOW SLAVE STATUS")
    assert server.sent == [[f"SET SESSION {mode} = 1", limit, "SHOW SLAVE STATUS"]]
    assert server.logins == [(7.0, 5.5)]
    assert replica.queries == 3


def test_logging_in_takes_no_longer_than_an_answer_or_ten_seconds(server: Server) -> None:
    for seconds in (3.0, 30.0):
        Replica(ADDRESS, seconds).query("SELECT 1")
    assert server.logins == [(3.0, 3.0), (10.0, 30.0)]


def test_a_session_that_cannot_be_made_read_only_is_none(server: Server) -> None:
    server.failures = [OperationalError(1227, "Access denied")]
    replica = Replica(ADDRESS, read_only=True)
    with pytest.raises(LoginRefused):
        replica.query("SELECT 1")
    assert not replica.is_open()
    assert server.closed == [0]


def test_a_ping_runs_no_statement_and_says_what_is_wrong(server: Server) -> None:
    replica = Replica(ADDRESS)
    replica.ping()
    assert replica.queries == 0
    server.failures = [MySQLError("Already closed")]
    with pytest.raises(ConnectionLost):
        replica.ping()
    assert not replica.is_open()


def test_records_are_rows_by_the_names_of_their_columns(server: Server) -> None:
    replica = Replica(ADDRESS)
    assert replica.records("SHOW REPLICA STATUS") == [{"answer": 0}]
    server.failures = [OperationalError(1142, "denied"), OperationalError(1969, "too slow")]
    with pytest.raises(NotThere) as denied:
        replica.records("SHOW REPLICA STATUS")
    assert denied.value.code == 1142
    with pytest.raises(TooSlow):
        replica.records("SHOW REPLICA STATUS")


def test_sessions_are_of_the_server_that_they_have_to_be_of(server: Server) -> None:
    """Each session of the double is of another server, as where a failover moves a name."""
    replica = Replica(ADDRESS)
    assert replica.server() == "0"
    replica.stay_at("1")
    assert server.closed == [0]
    assert replica.query("SELECT 1") == [(1,)]
    server.failures = [LOST]
    with pytest.raises(ConnectionLost, match="leads to server 2 now, and the binlog is read from server 1"):
        replica.query("SELECT 2")
    assert server.sent[2] == ["SELECT @@global.server_uuid"], "nothing else was asked of it"
    assert server.closed == [0, 1, 2]
    replica.stay_at()
    assert replica.query("SELECT 3") == [(3,)]


def test_a_mariadb_is_told_from_others_by_its_id(server: Server) -> None:
    server.version = "11.4.5-MariaDB"
    replica = Replica(ADDRESS)
    replica.stay_at("0")
    replica.ping()
    assert server.sent == [["SELECT @@global.server_id", "ping"]]
