"""What a server's numbers mean, whoever asks."""

from __future__ import annotations

import ssl

import pytest
from pymysql.err import InterfaceError, InternalError, OperationalError, ProgrammingError

from consumer.mysql.errors import (
    ConnectionLost,
    LoginRefused,
    NotThere,
    Passing,
    PreconditionFailed,
    QueryFailed,
    Refused,
    SourceError,
    TooSlow,
    named,
)
from consumer.settings import MySQLAddress
from reconciler.replica import SENTENCES

ADDRESS = MySQLAddress("mysql://us:secret@replica:3306/company")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError(2003, "Can't connect"), ConnectionLost),
        (OperationalError(1040, "Too many connections"), ConnectionLost),
        (OperationalError(1053, "Server shutdown in progress"), ConnectionLost),
        (InterfaceError(0, ""), ConnectionLost),
        (InternalError("Packet sequence number wrong - got 7 expected 1"), ConnectionLost),
        (TimeoutError("timed out"), ConnectionLost),
        (EOFError(), ConnectionLost),
        (OperationalError(3024, "maximum statement execution time exceeded"), TooSlow),
        (OperationalError(1969, "max_statement_time exceeded"), TooSlow),
        (OperationalError(3854, "Cannot convert string"), QueryFailed),
        (OperationalError(1045, "Access denied"), LoginRefused),
        (OperationalError(3118, "Account is locked"), LoginRefused),
        (OperationalError(2026, "SSL connection error"), LoginRefused),
        (RuntimeError("'cryptography' package is required"), LoginRefused),
        (OperationalError(1054, "Unknown column"), NotThere),
        (ProgrammingError(1146, "Table does not exist"), NotThere),
        (OperationalError(1412, "Table definition has changed"), NotThere),
        (OperationalError(1193, "Unknown system variable"), Refused),
        (ProgrammingError(1064, "You have an error in your SQL syntax"), Refused),
    ],
)
def test_each_error_has_one_meaning(error: Exception, kind: type[SourceError]) -> None:
    for doing in ("query", "log in to"):
        found = named(error, ADDRESS, doing)
        assert type(found) is kind
        assert str(ADDRESS) in str(found)
        assert type(named(error, ADDRESS, doing, SENTENCES, 2.0)) is kind


def test_a_certificate_that_is_not_the_servers_is_refused_and_a_connection_that_is_cut_is_lost() -> None:
    for original, kind in ((ssl.SSLCertVerificationError(), LoginRefused), (ssl.SSLEOFError(), ConnectionLost)):
        error = OperationalError(2003, "Can't connect")
        error.original_exception = original  # type: ignore[attr-defined]
        assert type(named(error, ADDRESS, "log in to")) is kind


def test_what_is_passing_is_so_by_its_class() -> None:
    assert issubclass(ConnectionLost, Passing)
    assert issubclass(TooSlow, Passing)
    assert not issubclass(QueryFailed, ConnectionLost)
    assert not issubclass(LoginRefused, Passing)
    assert not issubclass(PreconditionFailed, Passing)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OperationalError(2013, "Lost connection (timed out)"),
            "cannot query replica:3306: Lost connection (timed out);"
            " if the server is only busy, raise REPLICA_QUERY_SECONDS",
        ),
        (OperationalError(2013, "Lost connection"), "cannot query replica:3306: Lost connection"),
        (
            OperationalError(1045, "no {braces}"),
            "cannot query replica:3306: no {braces}; see the account and its privileges in REPLICA_DATABASE_URL",
        ),
        (ProgrammingError(1146, "no table"), "replica:3306 refuses a query: no table"),
    ],
)
def test_the_readers_sentences_name_the_setting(error: Exception, said: str) -> None:
    found = named(error, ADDRESS, "query")
    assert (str(found), found.code) == (said, error.args[0])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OperationalError(2013, "Lost connection (timed out)"),
            "replica:3306 does not answer (Lost connection (timed out)); start it or correct REPLICA_DATABASE_URL",
        ),
        (
            OperationalError(3024, "interrupted"),
            "a query on replica:3306 took longer than 0.2 s; raise REPLICA_QUERY_SECONDS or lower DISCOVERY_BATCH_SIZE",
        ),
        (
            OperationalError(1054, "Unknown column 'status'"),
            "replica:3306 lacks what a query names (Unknown column 'status'); consumer doctor says what is missing",
        ),
        (OperationalError(3854, "cannot"), "a query on replica:3306 failed with error 3854 (cannot)"),
        (
            OperationalError(1045, "Access denied"),
            "replica:3306 refuses us (Access denied); correct REPLICA_DATABASE_URL or our account's grants",
        ),
    ],
)
def test_the_reconcilers_sentences_name_the_setting(error: Exception, said: str) -> None:
    assert str(named(error, ADDRESS, "query", SENTENCES, 0.2)) == said
