"""What can go wrong with the company's server, and what the server's numbers mean to us.

Each message is one sentence naming the thing, the place and a hint; who asks says it in words of its own (Sentences).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from pymysql.constants import CR, ER
from pymysql.err import InterfaceError, MySQLError, OperationalError

from consumer.settings import MySQLAddress


class SourceError(Exception):
    """Asking the server failed, or reading its binlog; `position` is the file and position of the event that cannot be
    read, if it is one, and `code` the server's number of the error, 0 where it gave none."""

    def __init__(self, message: str, position: tuple[str, int] | None = None, *, code: int = 0) -> None:
        super().__init__(message)
        self.position = position
        self.code = code


class Passing(SourceError):
    """Trying again may get over it."""


class ConnectionLost(Passing):
    """The connection to the server ended or went silent; connecting again continues where we were."""


class QueryFailed(Passing):
    """The server is there and failed a statement; whether it will again, its number does not say."""


class TooSlow(QueryFailed):
    """The server ended a statement that took longer than it may."""


class LoginRefused(SourceError):
    """The server does not let us in, or not with the privileges that reading a binlog takes."""


class PreconditionFailed(SourceError):
    """The server is set up so that it does not tell all we need."""


class Refused(PreconditionFailed):
    """The server does not execute a statement, and will not the next time either."""


class NotThere(PreconditionFailed):
    """A statement of ours names a table or a column that the server does not have, or not for us: they may have
    changed since we looked at them."""


class _Meaning(Enum):
    """What an error is to us."""

    LOST = auto()
    SILENT = auto()
    FAILED = auto()
    TOO_SLOW = auto()
    OF_TLS = auto()
    REFUSED = auto()
    NOT_UNDERSTOOD = auto()
    NOT_THERE = auto()


_MEANINGS: Final[Mapping[int, _Meaning]] = {
    **dict.fromkeys(
        (
            CR.CR_CONNECTION_ERROR,
            CR.CR_CONN_HOST_ERROR,
            CR.CR_SERVER_GONE_ERROR,
            CR.CR_SERVER_LOST,
            CR.CR_SERVER_LOST_EXTENDED,
            ER.SERVER_SHUTDOWN,
            ER.NORMAL_SHUTDOWN,
            ER.SHUTDOWN_COMPLETE,
            ER.FORCING_CLOSE,
            ER.ABORTING_CONNECTION,
            ER.NET_READ_ERROR,
            ER.NET_READ_INTERRUPTED,
            ER.NET_ERROR_ON_WRITE,
            ER.NET_WRITE_INTERRUPTED,
            1927,  # ER_CONNECTION_KILLED of MariaDB
            4031,  # ER_CLIENT_INTERACTION_TIMEOUT of MySQL
            ER.CON_COUNT_ERROR,  # these three: as many sessions as the server, or our account, may have now
            ER.TOO_MANY_USER_CONNECTIONS,
            ER.USER_LIMIT_REACHED,
        ),
        _Meaning.LOST,
    ),
    3024: _Meaning.TOO_SLOW,  # ER_QUERY_TIMEOUT of MySQL
    1969: _Meaning.TOO_SLOW,  # ER_STATEMENT_TIMEOUT of MariaDB
    **dict.fromkeys(
        (
            ER.DBACCESS_DENIED_ERROR,
            ER.ACCESS_DENIED_ERROR,
            ER.SPECIFIC_ACCESS_DENIED_ERROR,
            ER.BAD_DB_ERROR,
            1698,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
            3118,  # ER_ACCOUNT_HAS_BEEN_LOCKED
        ),
        _Meaning.REFUSED,
    ),
    # Of tables and columns of other names an account with grants on single columns may hear that it must not see them.
    # The last says it of a table that was altered since our snapshot.
    **dict.fromkeys(
        (
            ER.BAD_FIELD_ERROR,
            ER.NO_SUCH_TABLE,
            ER.COLUMNACCESS_DENIED_ERROR,
            ER.TABLEACCESS_DENIED_ERROR,
            ER.TABLE_DEF_CHANGED,
        ),
        _Meaning.NOT_THERE,
    ),
    # PyMySQL raises OperationalError for these as for a connection that is gone (pymysql.err, raise_mysql_exception).
    **dict.fromkeys(
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
        ),
        _Meaning.NOT_UNDERSTOOD,
    ),
}
"""The errors of MySQL, of MariaDB and of PyMySQL that mean something to us, by number."""

_CLASSES: Final[Mapping[_Meaning, type[SourceError]]] = {
    _Meaning.LOST: ConnectionLost,
    _Meaning.SILENT: ConnectionLost,
    _Meaning.FAILED: QueryFailed,
    _Meaning.TOO_SLOW: TooSlow,
    _Meaning.OF_TLS: LoginRefused,
    _Meaning.REFUSED: LoginRefused,
    _Meaning.NOT_UNDERSTOOD: Refused,
    _Meaning.NOT_THERE: NotThere,
}

_TIMED_OUT: Final = re.compile(r"\btimed out\b")
"""In Python's words, which PyMySQL passes on, for a server that has been silent for the whole time it was given."""

FAILURES: Final = (MySQLError, OSError, EOFError, RuntimeError)
"""What PyMySQL raises where a server cannot be asked; RuntimeError where a way of logging in lacks its package."""


class Sentences(NamedTuple):
    """What people read of each kind of error, with its hint.

    `address` is the server, `doing` what was tried, `reason` the server's words, `code` its number, and `seconds` how
    long a statement may take.
    """

    lost: str = "cannot {doing} {address}: {reason}"
    silent: str = "cannot {doing} {address}: {reason}; if the server is only busy, raise REPLICA_QUERY_SECONDS"
    failed: str = "cannot {doing} {address}: {reason}"
    too_slow: str = "cannot {doing} {address}: {reason}"
    of_tls: str = "cannot {doing} {address}: {reason}; see ssl_mode and ssl_ca in REPLICA_DATABASE_URL"
    refused: str = "cannot {doing} {address}: {reason}; see the account and its privileges in REPLICA_DATABASE_URL"
    not_understood: str = "{address} refuses a query: {reason}"
    not_there: str = "{address} refuses a query: {reason}"


PLAIN: Final = Sentences()


def named(
    error: BaseException, address: MySQLAddress, doing: str, sentences: Sentences = PLAIN, seconds: float = 0.0
) -> SourceError:
    """What an error of PyMySQL or of the socket means to us."""
    meaning, code = _meaning(error, doing)
    reason = error.args[1] if len(error.args) > 1 else str(error)
    sentence: str = getattr(sentences, meaning.name.lower())
    message = sentence.format(address=address, doing=doing, reason=reason, code=code, seconds=f"{seconds:g}")
    return _CLASSES[meaning](message, code=code)


def _meaning(error: BaseException, doing: str) -> tuple[_Meaning, int]:
    """What an error means, and its number.

    One whose number is not known may be passing where PyMySQL calls it operational, and is about the statement else.
    """
    code = error.args[0] if isinstance(error, MySQLError) and error.args and isinstance(error.args[0], int) else 0
    if _is_of_tls(error, code):
        return _Meaning.OF_TLS, code
    if isinstance(error, RuntimeError):
        return _Meaning.REFUSED, code
    meaning = _MEANINGS.get(code)
    if meaning is None:
        if not code or isinstance(error, InterfaceError):
            meaning = _Meaning.LOST
        else:
            meaning = _Meaning.FAILED if isinstance(error, OperationalError) else _Meaning.NOT_UNDERSTOOD
    is_silent = meaning is _Meaning.LOST and doing == "query" and _TIMED_OUT.search(str(error))
    return (_Meaning.SILENT if is_silent else meaning), code


def _is_of_tls(error: BaseException, code: int) -> bool:
    """Whether the two sides do not agree about TLS, which trying again does not get over."""
    original = getattr(error, "original_exception", None)
    cut_off = isinstance(original, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
    return code == CR.CR_SSL_CONNECTION_ERROR or (isinstance(original, ssl.SSLError) and not cut_off)
