"""Whether a pooler stands between us and PostgreSQL, and whether it leaves a session its server.

Nothing is set to find out. Behind a pooler the server's process has another number than the connection was given when
it began. Then it is shown to pool transactions where another connection gets our server, or we get another one, while
we stay connected; who pools sessions cannot do that (PgBouncer's manual, pool_mode).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from enum import Enum
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

Connection = psycopg.Connection[tuple[Any, ...]]

HINT: Final = "set pool_mode = session for our database there, or name PostgreSQL itself in DATABASE_URL"
PROBES: Final = 3
"""Connections that are opened at most, besides the one that asks."""
PROBE_SECONDS: Final = 3.0
"""How long one of them may take: a pooler that is full lets it wait."""
_REMEMBERED: Final = 64
"""Addresses whose answer is kept; a process has one."""
_BEGIN: Final = b"BEGIN; SELECT pg_backend_pid()"
_PID: Final = "SELECT pg_backend_pid()"
_STATEMENT_POOLING: Final = "statement pooling"
"""In what PgBouncer says to BEGIN where it pools statements (src/server.c)."""


class Pooling(Enum):
    """What is between us and PostgreSQL, as the end of a sentence about the address."""

    NONE = "is PostgreSQL itself"
    SESSIONS = "is a pooler that pools sessions"
    TRANSACTIONS = "is a pooler that pools transactions, so what we set would reach other people's sessions"
    STATEMENTS = "is a pooler that pools statements, so no transaction can be made"

    @property
    def keeps_sessions(self) -> bool:
        """Whether a connection is one session from its beginning to its end."""
        return self in (Pooling.NONE, Pooling.SESSIONS)


class _Inconclusive(Exception):
    """A probe that was not answered in time."""


_known: Final[dict[str, Pooling]] = {}


def pooling(connection: Connection, address: str) -> Pooling:
    """What the connection, new and in autocommit mode, goes through; `address` is its conninfo.

    Asked once per address, process and server it leads to; a pooler that is too busy for it counts as one of sessions
    this time. Raises psycopg.Error.
    """
    key = f"{make_conninfo(address, password='')} {connection.info.host}:{connection.info.port}"  # whatever it is now
    if (known := _known.get(key)) is not None:
        return known
    mine = _backend(connection)
    if mine == connection.info.backend_pid:
        found = Pooling.NONE
    else:
        try:
            found = _proven(connection, address, mine)
        except _Inconclusive:
            return Pooling.SESSIONS
    if len(_known) >= _REMEMBERED:
        _known.clear()
    if found.keeps_sessions:
        _known[key] = found
    return found


def _proven(connection: Connection, address: str, mine: int) -> Pooling:
    """Other connections, each inside a transaction, and ours in between, until somebody's server changes hands."""
    with ExitStack() as probes:
        for _ in range(PROBES):
            probe = probes.enter_context(closing(psycopg.connect(address, autocommit=True)))
            theirs = _begin(probe)
            if theirs is None:
                return Pooling.STATEMENTS
            probes.callback(_roll_back, probe)
            if theirs == mine or _backend(connection) != mine:
                return Pooling.TRANSACTIONS
    return Pooling.SESSIONS


def _backend(connection: Connection) -> int:
    row = connection.execute(_PID).fetchone()
    assert row is not None
    return int(row[0])


def _begin(probe: Connection) -> int | None:
    """The server of a connection that begins a transaction; None where that is refused to whoever pools statements.

    Raises _Inconclusive where no answer comes in time.
    """
    found: int | None = None
    for result in _results(probe, _BEGIN):
        if result.status == ExecStatus.TUPLES_OK:
            found = int(result.get_value(0, 0) or b"0")
        elif result.status == ExecStatus.FATAL_ERROR:
            message = result.error_message.decode(errors="replace")
            if _STATEMENT_POOLING in message:
                return None
            raise psycopg.OperationalError(message.strip())
    if found is None:
        raise psycopg.OperationalError("the pooler gave no answer to BEGIN")
    return found


def _roll_back(probe: Connection) -> None:
    """Ends its transaction, where that is answered in time: a pooler drops the server of whoever leaves inside one."""
    with suppress(_Inconclusive, psycopg.Error):
        for _ in _results(probe, b"ROLLBACK"):
            pass


def _results(probe: Connection, query: bytes) -> Iterator[PGresult]:
    """Raises _Inconclusive where no answer comes in time, psycopg.Error."""
    pgconn = probe.pgconn
    pgconn.send_query(query)
    pgconn.flush()
    until = time.monotonic() + PROBE_SECONDS
    with DefaultSelector() as answers:
        answers.register(pgconn.socket, EVENT_READ)
        while True:
            while pgconn.is_busy():
                if not answers.select(max(0.0, until - time.monotonic())):
                    raise _Inconclusive
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return
            yield result
