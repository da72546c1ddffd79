"""The session with PostgreSQL, and psycopg's errors by what to do about them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString
from weakref import WeakSet

import psycopg
import structlog
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
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
LOOK_SECONDS: Final = 2.0
"""How far apart the looks are at which a session is to be found waiting for PostgreSQL: a login or a statement that
takes its time does not mean that the server hangs."""

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


class Sessions:
    """Those of a process, by all its threads: which of them PostgreSQL keeps waiting, and their end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[Connection] = WeakSet()
        self._logins: set[object] = set()
        self._waited: WeakSet[Connection] = WeakSet()
        """Those that were waited for at the last look."""
        self._logged_in: set[object] = set()
        """The logins that were under way at the last look."""
        self._is_cut = False

    @contextmanager
    def login(self) -> Iterator[None]:
        """While a session is being opened. Raises psycopg.OperationalError where there are to be none any more."""
        self._check()
        one = object()
        with self._lock:
            self._logins.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._logins.discard(one)

    def add(self, connection: Connection) -> None:
        """Notes one that was opened. Raises psycopg.OperationalError where there are to be none any more."""
        with self._lock:
            self._check()
            self._open.add(connection)

    def _check(self) -> None:
        if self._is_cut:
            raise psycopg.OperationalError("this process is ending, and opens no session any more")

    def look(self) -> int:
        """Cuts the sessions that are waited for now and were at the look before; those that idle stay.

        Whoever waits for them gets an error, and from then on no session is opened any more, and one that is waited for
        is cut at once; logins that lasted from look to look come to nothing when they end. How many sessions and logins
        there were.
        """
        with self._lock:
            waited = WeakSet(connection for connection in self._open if is_waited_for(connection))
            cut = [connection for connection in waited if self._is_cut or connection in self._waited]
            logins = self._logins & self._logged_in
            self._open.difference_update(cut)  # whoever waits for them may take a moment to see it
            self._waited, self._logged_in = waited, set(self._logins)
            if cut or logins:
                self._is_cut = True
        for connection in cut:
            _cut(connection)
        return len(cut) + len(logins)

    def allow(self) -> None:
        """There may be some again."""
        with self._lock:
            self._is_cut = False
            self._waited, self._logged_in = WeakSet(), set()


def _cut(connection: Connection) -> None:
    """Ends a session that another thread waits for; only its socket is touched, for the rest is that thread's."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as theirs:
        theirs.shutdown(socket.SHUT_RDWR)


class _Limited(Connection):
    """A session that is cut where one answer takes too long: a server that hangs keeps no `statement_timeout`."""

    answer_seconds: float

    def wait(self, *given: Any, **more: Any) -> Any:
        """As psycopg waits for every answer. Raises psycopg.OperationalError where none comes in time."""
        late = threading.Event()

        def cut() -> None:
            late.set()
            _cut(self)

        timer = threading.Timer(self.answer_seconds, cut)
        timer.start()
        try:
            return super().wait(*given, **more)
        except psycopg.OperationalError as error:
            if late.is_set() and error.sqlstate is None:
                raise psycopg.OperationalError(f"no answer came within {self.answer_seconds:g} s") from error
            raise
        finally:
            timer.cancel()


def limited(address: str, answer_seconds: float) -> Connection:
    """A session in autocommit mode of which no answer takes longer. Raises psycopg.Error."""
    connection = _Limited.connect(address, autocommit=True)
    connection.answer_seconds = answer_seconds
    return connection


def is_waited_for(connection: Connection) -> bool:
    """Whether a thread waits for an answer of PostgreSQL's to what it asked by this session.

    libpq calls a session active while an answer is not wholly taken, in pipeline mode too, where that may be one that
    nobody asks for as yet (PQtransactionStatus in fe-connect.c, pqPipelineProcessQueue in fe-exec.c). Whoever does
    holds psycopg's lock.
    """
    return connection.lock.locked() and connection.pgconn.transaction_status == TransactionStatus.ACTIVE


_sessions: Final = Sessions()


@contextmanager
def cut_when_stopped(
    stop: threading.Event, seconds: float = STOP_SECONDS, every: float = LOOK_SECONDS
) -> Iterator[None]:
    """Bounds how long a PostgreSQL that never answers holds up a process that was asked to stop.

    From so many seconds after `stop` on, every session of the process that waits for PostgreSQL from look to look is
    cut, and none is opened any more once one was: whoever waits gets StoreUnavailable. What was not committed by then
    is undone, as by a server that goes away. Where something else holds up the process, its sessions stay.
    """
    done = threading.Event()

    def watch() -> None:
        stop.wait()
        if done.wait(max(0.0, seconds - every)):
            return
        while True:
            if count := _sessions.look():
                log.warning(
                    "sessions_cut", count=count, wait_seconds=seconds,
                    reason="the process was asked to stop, and PostgreSQL has not done what was under way",
                    hint="what was not committed is done again",
                )  # fmt: skip
            if done.wait(every):
                return

    watching = threading.Thread(target=watch, name="cut sessions", daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        if stop.is_set():
            watching.join(STOP_SECONDS)  # it may be about to say what it cut
        _sessions.allow()


def open_session(
    conninfo: str,
    name: str,
    *,
    autocommit: bool = False,
    seconds: int | None = None,
    answer_seconds: float | None = None,
) -> Connection:
    """A session in which nothing is set yet: every session of ours with PostgreSQL begins here.

    Transactions read what is committed when each statement begins, whatever the role's default is: a lock that was
    waited for is of no use to whoever sees what was there before. `seconds` limits connecting, and `answer_seconds`
    each answer. Raises NotPrepared where a pooler between would hand our settings, locks and temporary tables to
    others, psycopg.Error.
    """
    address = watchful(conninfo, name)
    if seconds is not None:
        address = make_conninfo(address, connect_timeout=seconds)
    with _sessions.login():
        if answer_seconds is None:
            connection = psycopg.connect(address, autocommit=True)
        else:
            connection = limited(address, answer_seconds)
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
    ours = {key: value for key, value in {**_OURS, **_of_several(given)}.items() if key not in given}
    return make_conninfo(conninfo, **ours, application_name=name, client_encoding="UTF8")


def _of_several(given: Mapping[str, object]) -> dict[str, str]:
    """What makes libpq take, of several servers, the one that takes writes.

    A session that only reads would stay with a standby for ever, and see what that has. One server alone is taken as
    it is: the doctor says what is wrong with it.
    """
    several = any("," in str(given.get(key, "")) for key in ("host", "hostaddr"))
    return {"target_session_attrs": "read-write"} if several else {}


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
