"""Logging in to MySQL or MariaDB and asking for its binlog, as a replica does."""

from __future__ import annotations

from typing import NamedTuple

from consumer.binlog.events import Event
from consumer.binlog.position import Position, PreparedGroup
from consumer.settings import MySQLAddress


class ServerInfo(NamedTuple):
    """Who a server is and where its binlog ends.

    `server` is what `Checkpoint.server` holds: the server_uuid of a MySQL server, the server_id of a MariaDB server.
    `gtid_set` is empty where the server has no GTIDs.
    """

    flavor: str
    version: str
    server: str
    server_id: int
    gtid_set: str
    file: str
    pos: int


def server_info(address: MySQLAddress) -> ServerInfo:
    """Asks a server who it is and where it is. Raises ConnectionLost, LoginRefused, PreconditionFailed."""
    raise NotImplementedError


def earliest_position(address: MySQLAddress) -> Position:
    """The start of the oldest binlog that the server still has. Raises as `server_info`."""
    raise NotImplementedError


class ClockAndPosition(NamedTuple):
    """The server's clock (µs since the epoch) and, read after it, where its binlog ended."""

    ts_us: int
    gtid_set: str
    file: str
    pos: int


class Replica:
    """A connection for queries to the server whose binlog is read; reconnects by itself once per call."""

    def __init__(self, address: MySQLAddress, timeout_seconds: float = 30.0) -> None:
        raise NotImplementedError

    def clock_and_position(self) -> ClockAndPosition:
        """The clock first, then the position. Raises ConnectionLost."""
        raise NotImplementedError

    def query(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """All rows of one statement in the URL's database, session time zone UTC. Raises ConnectionLost."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection."""
        raise NotImplementedError


class BinlogStream:
    """The changes of the captured tables of one database, from a position on.

    `file` and `pos` are where the first transaction starts that `read` has not returned whole; `gtid_set()` is what
    precedes it. `prepared()` are XA transactions that stand before that point and are undecided: a checkpoint has to
    hold them too. `server` and `flavor` are as in ServerInfo, known after `connect`.
    """

    file: str
    pos: int
    server: str
    flavor: str

    def __init__(
        self,
        address: MySQLAddress,
        database: str,
        start: Position,
        server_id: int,
        heartbeat_seconds: float,
        deadline_seconds: float,
        expected_server: str = "",
    ) -> None:
        """`server_id` is ours among the server's replicas. `expected_server` is the checkpoint's `server`; empty: any."""
        raise NotImplementedError

    def connect(self) -> None:
        """Logs in and asks for the stream; after ConnectionLost, again from where `read` had come to.

        A transaction that was returned in part is returned again from its Begin.
        Raises ConnectionLost, LoginRefused, BinlogPurged, WrongServer, PreconditionFailed.
        """
        raise NotImplementedError

    def read(self) -> list[Event]:
        """Blocks until something arrived, then returns all events that are complete in the receive buffer.

        The list may be empty (a transaction of other tables) and may end inside a transaction.
        Raises ConnectionLost, BinlogPurged, BinlogCorrupt, UndecodableEvent, PreconditionFailed; after `close`
        it returns an empty list.
        """
        raise NotImplementedError

    @property
    def drained(self) -> bool:
        """True when `read` would block: nothing waits in our buffer or on the socket."""
        raise NotImplementedError

    def gtid_set(self) -> str:
        """What was executed up to (`file`, `pos`), in the server's notation; empty where it has no GTIDs."""
        raise NotImplementedError

    def prepared(self) -> tuple[PreparedGroup, ...]:
        """XA transactions before (`file`, `pos`) that are neither committed nor rolled back."""
        raise NotImplementedError

    def position(self) -> Position:
        """`gtid_set()`, `file`, `pos` and `prepared()` together: what `start` takes."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection and wakes a blocked `read`; may be called from a signal handler or another thread."""
        raise NotImplementedError
