"""A database of a test's own on a real server, and everything its binlog says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from consumer.binlog.events import Begin, Event, Id, Rollback, RowChange, SchemaChange, Statement
from consumer.binlog.position import Position
from consumer.binlog.stream import BinlogStream
from consumer.mysql.login import login
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from tests.servers.places import locked
from tests.spelled_out import spelled_out

DEADLINE_SECONDS = 15.0


class Source:
    """A database and where its binlog stood when it was made; dropped at the end."""

    def __init__(self, url: str) -> None:
        self.name = f"binlog_{uuid.uuid4().hex[:10]}"
        self.xid = uuid.uuid4().hex[:8]
        """Of this test's XA transactions: a server knows each once."""
        self.url = urlsplit(url)._replace(path=f"/{self.name}").geturl()
        self.address = MySQLAddress(self.url)
        self.root = MySQLAddress(urlsplit(url)._replace(path="/mysql").geturl())

    def __enter__(self) -> Self:
        with closing(login(self.root, 10, 60)) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4")
        self.connection: Connection[Cursor] = login(self.address, 10, 120)
        self.is_mariadb = "maria" in str(self.connection.get_server_info()).lower()  # type: ignore[no-untyped-call]
        self.start = self.here()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
        with closing(login(self.root, 10, 60)) as connection, connection.cursor() as cursor:
            cursor.execute("XA RECOVER")
            if any(self.xid in str(prepared[-1]) for prepared in cursor.fetchall()):
                cursor.execute(self.xa("ROLLBACK"))  # of a test that failed: it would hold the tables and meet others
            cursor.execute(f"DROP DATABASE IF EXISTS {self.name}")

    def xa(self, verb: str, more: str = "") -> str:
        """A statement of this test's XA transaction."""
        return f"XA {verb} '{self.xid}'{more}"

    def run(self, *statements: str) -> None:
        """Executes statements in the one session of this test."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, statement: str, arguments: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query (or of a statement with arguments)."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, tuple(arguments) or None)
            return list(cursor.fetchall())

    def session(self) -> Connection[Cursor]:
        """Another session in the database; the caller closes it."""
        return login(self.address, 10, 60)

    @staticmethod
    def session_at(address: MySQLAddress) -> Connection[Cursor]:
        """A session on another server; the caller closes it."""
        return login(address, 10, 60)

    def here(self) -> Position:
        """The end of the server's binlog."""
        with closing(Replica(self.address)) as replica:
            file, pos, gtid_set = replica.binlog_end()
        return Position(gtid_set, file, pos)

    def stream(self, start: Position | None = None, database: str | None = None) -> BinlogStream:
        """A stream that is not connected yet."""
        return BinlogStream(
            self.address,
            database or self.name,
            start or self.start,
            1_000_000 + uuid.uuid4().int % 1_000_000_000,
            heartbeat_seconds=0.1,
            deadline_seconds=DEADLINE_SECONDS,
        )

    def events(self, start: Position | None = None, end: Position | None = None) -> list[Event]:
        """Everything that is logged from one position to another (default: from this source's start until now)."""
        with closing(self.stream(start)) as stream:
            stream.connect()
            return read_until(stream, end or self.here())

    def changes(self, start: Position | None = None) -> list[RowChange]:
        """Only the row changes."""
        return [event for event in self.events(start) if isinstance(event, RowChange)]


@contextmanager
def compression(source: Source, wanted: bool) -> Iterator[None]:
    """Whether the server compresses what is written in this block, whoever else has it do so at other times.

    MariaDB's setting is one of the whole server, which tests share; some of them cannot read what is compressed.
    """
    if not source.is_mariadb:
        source.run(f"SET SESSION binlog_transaction_compression = {'ON' if wanted else 'OFF'}")
        yield
        return
    with locked("mariadb-log-bin-compress"):
        source.run(f"SET GLOBAL log_bin_compress = {'ON' if wanted else 'OFF'}, log_bin_compress_min_len = 10")
        try:
            yield
        finally:
            source.run("SET GLOBAL log_bin_compress = OFF, log_bin_compress_min_len = DEFAULT")


def read_until(stream: BinlogStream, end: Position) -> list[Event]:
    """All events until the stream has passed a position."""
    events: list[Event] = []
    while (stream.file, stream.pos) < (end.file, end.pos):
        events += spelled_out(stream.read())
    return events


def as_file(position: Position) -> Position:
    """The same place without GTIDs."""
    return position._replace(gtid_set="")


def position_of(stream: BinlogStream) -> Position:
    """Where another stream goes on."""
    return Position(stream.gtid_set(), stream.file, stream.pos, stream.prepared())


def transactions(events: Iterable[Event]) -> list[list[Event]]:
    """What stands between each Begin and its Commit."""
    groups: list[list[Event]] = []
    for event in events:
        if isinstance(event, Begin):
            groups.append([])
        elif isinstance(event, Rollback):
            groups.pop()
        elif isinstance(event, RowChange | Statement | SchemaChange):
            groups[-1].append(event)
    return groups


def replayed(changes: Iterable[RowChange]) -> dict[tuple[str, Id], dict[str, Any]]:
    """The rows that are left after applying changes in order; each change must fit what it changes."""
    rows: dict[tuple[str, Id], dict[str, Any]] = {}
    for change in changes:
        if change.before is not None:
            assert change.before_id is not None
            before = json.loads(change.before)
            assert rows.pop((change.table, change.before_id)) == before
        if change.after is not None:
            assert change.after_id is not None
            after = json.loads(change.after)
            assert after["id"] == change.after_id
            rows[change.table, change.after_id] = after
    return rows
