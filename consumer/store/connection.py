"""The session with PostgreSQL, and psycopg's errors by what to do about them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString
from weakref import WeakSet

import psycopg
import structlog
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8BinaryLoader

from consumer.settings import PasswordCommandFailed, PostgresAddress
from consumer.store import arrays, pooler, sql
from consumer.store.errors import NotPrepared, RowLocked, StoreUnavailable, TransactionConflict
from consumer.store.refusal import is_refusal

Rows = list[tuple[Any, ...]]
Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]

_OURS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""How libpq notices within half a minute that the server is gone; what the URL says goes before."""

STOP_SECONDS: Final = 10.0
"""How long PostgreSQL may take for what is under way when the process is asked to stop. No longer than logging in may
take, so that whoever is at it then is no later."""

log: Final = structlog.get_logger(__name__)

_ISO: Final = "ISO"
"""The style of dates that psycopg reads."""
_IN_THE_WAY: Final = "40"
"""SQLSTATEs by how they begin (PostgreSQL manual, appendix A): serialization failures, deadlocks."""
_LOCK_TIMEOUT: Final = "55P03"
_TWICE: Final = "23505"
_LEADS_KEY: Final = ("leadstream", "leads_pkey")
_MISSING: Final = ("42P01", "42703", "3F000", "42P10", "42804", "42883")
"""No such table, column, schema or unique index; a column of another type than ours, and no operator for it."""
_FORBIDDEN: Final = "42501"
_REFUSED: Final = ("08", "53", "57", "58", "25006", "25P03", "25P04")
"""Connections broken or shut down, resources exhausted, a server that is read-only or was asked to stop."""


def connect(conninfo: str, name: str, more: Sequence[LiteralString] = ()) -> Connection:
    """A session with our settings and `more` of them; `name` is what the server's activity view shows.

    It takes `consumer.store.arrays` as parameters, prepares every statement, and in binary results gives times as
    `timestamptz` has them: µs since 2000. Raises StoreUnavailable, and NotPrepared as `open_session` does.
    """
    with classified(conninfo):
        connection = open_session(conninfo, name)
        for statement in (sql.SESSION, *more):
            connection.execute(statement)
        connection.commit()
    connection.prepare_threshold = 0
    arrays.register(connection)
    connection.adapters.register_loader("timestamptz", Int8BinaryLoader)
    return connection


class _Sessions:
    """Those of this process, by all its threads, until they are cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[Connection] = WeakSet()
        self._is_cut = False

    def add(self, connection: Connection) -> None:
        """Notes one that was opened. Raises psycopg.OperationalError where there are to be none any more."""
        with self._lock:
            self.check()
            self._open.add(connection)

    def check(self) -> None:
        """Raises psycopg.OperationalError where there are to be none any more."""
        if self._is_cut:
            raise psycopg.OperationalError("this process is ending, and opens no session any more")

    def cut(self) -> int:
        """Breaks them: whoever waits for an answer gets an error. How many there were."""
        with self._lock:
            self._is_cut = True
            standing = [connection for connection in self._open if not connection.closed]
        for connection in standing:
            # Only its socket is touched, since the connection is another thread's.
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as theirs:
                theirs.shutdown(socket.SHUT_RDWR)
        return len(standing)

    def allow(self) -> None:
        """There may be some again."""
        self._is_cut = False


_sessions: Final = _Sessions()


@contextmanager
def cut_when_stopped(stop: threading.Event, seconds: float = STOP_SECONDS) -> Iterator[None]:
    """Bounds how long a PostgreSQL that never answers holds up a process that was asked to stop.

    So many seconds after `stop`, every session of the process is cut, and none is opened any more: whoever waits for
    PostgreSQL gets StoreUnavailable. What was not committed by then is undone, as by a server that goes away.
    """
    done = threading.Event()

    def watch() -> None:
        stop.wait()
        if not done.wait(seconds) and (count := _sessions.cut()):
            log.warning(
                "sessions_cut", count=count, wait_seconds=seconds,
                reason="the process was asked to stop, and PostgreSQL has not done what was under way",
                hint="what was not committed is done again",
            )  # fmt: skip

    threading.Thread(target=watch, name="cut sessions", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        _sessions.allow()


def open_session(conninfo: str, name: str, *, autocommit: bool = False, seconds: int | None = None) -> Connection:
    """A session in which nothing is set yet: every session of ours with PostgreSQL begins here.

    Transactions read what is committed when each statement begins, whatever the role's default is: a lock that was
    waited for is of no use to whoever sees what was there before. `seconds` limits connecting. Raises NotPrepared where
    a pooler between would hand our settings, locks and temporary tables to others, psycopg.Error.
    """
    address = watchful(conninfo, name)
    if seconds is not None:
        address = make_conninfo(address, connect_timeout=seconds)
    _sessions.check()
    connection = psycopg.connect(address, autocommit=True)
    try:
        _sessions.add(connection)
        found = pooler.pooling(connection, address)
        if not found.keeps_sessions:
            raise NotPrepared(f"DATABASE_URL leads to {place(conninfo)}, which {found.value}; {pooler.HINT}")
        if not (connection.info.parameter_status("DateStyle") or "").startswith(_ISO):
            connection.execute("SET DateStyle = 'ISO'")  # psycopg reads no time with a zone in any other
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def watchful(conninfo: str, name: str) -> str:
    """A conninfo for one connection: it notices within half a minute that the server is gone, and shows `name` there.

    What a PostgresAddress says is renewed, so this is made anew for each connection. Raises psycopg.OperationalError
    where the command that prints the password prints none.
    The name is ours whatever the URL says: whoever raises the lanes looks for it (consumer.store.schema.raise_lanes).
    So is the encoding, whatever role and environment say: `arrays` writes UTF-8. All else that the URL says, its
    `options` too, stays.
    """
    if isinstance(conninfo, PostgresAddress):
        try:
            conninfo = conninfo.renewed()
        except PasswordCommandFailed as error:
            raise psycopg.OperationalError(str(error)) from error
    given = conninfo_to_dict(conninfo)
    ours = {key: value for key, value in _OURS.items() if key not in given}
    return make_conninfo(conninfo, **ours, application_name=name, client_encoding="UTF8")


def roll_back(connection: Connection, error: BaseException | None = None) -> None:
    """Leaves the connection usable, or closed where it cannot be, and where `error` is StoreUnavailable.

    A session with a server that became a standby stays read-only for ever, while a new one may find the primary.
    """
    if isinstance(error, StoreUnavailable):
        connection.close()
        return
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()


def place(conninfo: str) -> str:
    """`database on host:port`, for messages; never user or password."""
    parts = conninfo_to_dict(conninfo)
    return f"{parts.get('dbname', 'default')} on {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


@contextmanager
def classified(conninfo: str) -> Iterator[None]:
    """Turns psycopg's errors into those of `consumer.store.errors`; what is none of them passes as it is.

    So do refusals of rows, whatever their SQLSTATE says (`consumer.store.refusal`).
    """
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate
        if state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            raise StoreUnavailable(f"PostgreSQL {place(conninfo)} cannot be reached: {_first_line(error)}") from error
        if state is None:
            raise
        if state == _TWICE and (error.diag.schema_name, error.diag.constraint_name) == _LEADS_KEY:
            raise TransactionConflict("another writer created one of these leads; repeat this transaction") from error
        if is_refusal(error):
            raise
        if state == _LOCK_TIMEOUT:
            raise RowLocked(
                f"another session has held a row for long ({_first_line(error)}); end its transaction"
            ) from error
        if state.startswith(_IN_THE_WAY):
            raise TransactionConflict(
                f"another transaction was in the way ({_first_line(error)}); repeat this one"
            ) from error
        if state.startswith(_MISSING):
            raise NotPrepared(f"{_first_line(error)} in {place(conninfo)}; run `consumer setup`") from error
        if state == _FORBIDDEN:
            hint = "grant it to the role of DATABASE_URL, as deploy/postgres/10-grants.sql does"
            raise NotPrepared(f"{_first_line(error)} in {place(conninfo)}; {hint}") from error
        if state.startswith(_REFUSED):
            raise StoreUnavailable(f"PostgreSQL {place(conninfo)} refuses work: {_first_line(error)}") from error
        raise


def _first_line(error: psycopg.Error) -> str:
    primary = error.diag.message_primary
    return primary or (str(error).strip().splitlines() or ["the connection is closed"])[0]
