"""Whether PostgreSQL does not let us in, which waiting does not get over, or is away, which it may."""

from __future__ import annotations

import os
import re
import time
from select import select
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ConnectionTimeout
from psycopg.pq import ConnStatus, PGconn, PollingStatus, Trace, abc

WORDS: Final = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|does not support SSL|certificate|does not exist"
    r"|not permitted to log in"
)
"""What libpq says, which speaks English in Python; a server or a pooler only where its lc_messages do."""
STATES: Final = ("28", "3D000", "42501")
"""SQLSTATEs by how they begin (PostgreSQL manual, appendix A): no such role or a wrong password, no such database, and
one that we may not connect to."""
ERROR: Final = re.compile(r'\tErrorResponse\t S "[^"]*"(?: V "[^"]*")? C "(\w{5})"')
"""How libpq traces what a server answers (fe-trace.c)."""
TRACED_BYTES: Final = 65536
"""What a pipe holds on Linux, and more than any login's trace is long."""
PATIENCE_SECONDS: Final = 10.0


def is_refused(error: psycopg.Error, conninfo: str) -> bool:
    """Whether a connection that failed did so because the server does not let us in, or not as `conninfo` wants it.

    libpq keeps no SQLSTATE for a connection that was never made, and a server says why in its own language. So where
    the words are not known, the login is tried once more, and libpq's trace of it read for the SQLSTATE. An empty
    `conninfo` is one that is not known.
    """
    if not isinstance(error, psycopg.OperationalError) or error.sqlstate is not None:
        return False
    if WORDS.search(str(error)):
        return True
    if not conninfo or isinstance(error, ConnectionTimeout):
        return False
    return (_state(conninfo) or "").startswith(STATES)


def _state(conninfo: str) -> str | None:
    """The SQLSTATE with which a login is refused; None where the server says none, or psycopg cannot trace here.

    A trace may hold a password: it stays in a pipe of this process.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # what does not fit is left out
    with open(reading, "rb") as trace:
        try:
            connection = PGconn.connect_start(conninfo.encode())
            try:
                connection.trace(writing)
                connection.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
                _log_in(connection, float(conninfo_to_dict(conninfo).get("connect_timeout") or PATIENCE_SECONDS))
                connection.untrace()
            finally:
                connection.finish()
        except psycopg.NotSupportedError:
            return None
        finally:
            os.close(writing)
        found = ERROR.findall(trace.read(TRACED_BYTES).decode(errors="replace"))
    return found[-1] if found else None


def _log_in(connection: abc.PGconn, seconds: float) -> None:
    """Goes on with a login until it is done, failed or too late (PostgreSQL's manual, PQconnectPoll)."""
    until = time.monotonic() + seconds
    while connection.status != ConnStatus.BAD and (left := until - time.monotonic()) > 0:
        asked = connection.connect_poll()
        if asked == PollingStatus.READING:
            select([connection.socket], [], [], left)
        elif asked == PollingStatus.WRITING:
            select([], [connection.socket], [], left)
        else:
            return
