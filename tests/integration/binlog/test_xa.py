"""XA transactions, as servers log them. What stays prepared every reader of the same server meets: `prepared`."""

from __future__ import annotations

from contextlib import closing

import pytest

from consumer.binlog.events import Begin, Statement
from tests.integration.binlog.source import Source, as_file, position_of, read_until, transactions
from tests.integration.binlog.test_transactions import said

pytestmark = pytest.mark.prepared


def test_an_xa_transaction_is_seen_when_it_commits(company: Source) -> None:
    company.run(company.xa("START"), "INSERT INTO users (name) VALUES ('a')", company.xa("END"), company.xa("PREPARE"))
    prepared_at = company.here()
    assert transactions(company.events()) == []
    with closing(company.session()) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO claims (status) VALUES ('open')")
    company.run(company.xa("COMMIT"))
    events = company.events()
    assert [said(group) for group in transactions(events)] == [[("claims", "c", None, 1)], [("users", "c", None, 1)]]
    begin = [event for event in events if isinstance(event, Begin)][1]
    assert (begin.file, begin.pos) > (prepared_at.file, prepared_at.pos)


def test_an_xa_transaction_that_is_rolled_back_is_not_seen(company: Source) -> None:
    company.run(
        company.xa("START", ",'b',7"),
        "INSERT INTO users (name) VALUES ('a')",
        company.xa("END", ",'b',7"),
        company.xa("PREPARE", ",'b',7"),
    )
    company.run(company.xa("ROLLBACK", ",'b',7"), "INSERT INTO users (name) VALUES ('z')")
    assert [said(group) for group in transactions(company.events())] == [[("users", "c", None, 2)]]


def test_an_xa_transaction_of_one_phase_is_seen(company: Source) -> None:
    company.run(
        company.xa("START"),
        "INSERT INTO users (name) VALUES ('a')",
        company.xa("END"),
        company.xa("COMMIT", " ONE PHASE"),
    )
    assert [said(group) for group in transactions(company.events())] == [[("users", "c", None, 1)]]


@pytest.mark.parametrize("by_gtid", [True, False])
def test_a_prepared_xa_transaction_survives_a_restart_of_the_reader(company: Source, by_gtid: bool) -> None:
    company.run(
        company.xa("START"), "INSERT INTO users (name) VALUES ('a'), ('b')", company.xa("END"), company.xa("PREPARE")
    )
    with closing(company.session()) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO claims (status) VALUES ('open')")
    start = company.start if by_gtid else as_file(company.start)
    with closing(company.stream(start)) as stream:
        stream.connect()
        first = read_until(stream, company.here())
        resume = position_of(stream)
    assert [group.xid for group in resume.prepared] == [f"X'{company.xid.encode().hex()}',X'',1"]
    company.run(company.xa("COMMIT"))
    then = company.events(resume)
    assert [said(group) for group in transactions(first)] == [[("claims", "c", None, 1)]]
    assert [said(group) for group in transactions(then)] == [[("users", "c", None, 1), ("users", "c", None, 2)]]


def test_an_xa_commit_whose_rows_came_before_our_time_is_reported(company: Source) -> None:
    company.run(company.xa("START"), "INSERT INTO users (name) VALUES ('a')", company.xa("END"), company.xa("PREPARE"))
    start = company.here()
    company.run(company.xa("COMMIT"))
    assert transactions(company.events(start)) == [[Statement(None, "XA COMMIT")]]


def test_compressed_xa_transactions_are_read(mysql_company: Source) -> None:
    mysql_company.run(
        "SET SESSION binlog_transaction_compression = ON",
        mysql_company.xa("START"),
        "INSERT INTO users (name) VALUES ('a')",
        mysql_company.xa("END"),
        mysql_company.xa("PREPARE"),
        mysql_company.xa("COMMIT"),
    )
    assert [said(group) for group in transactions(mysql_company.events())] == [[("users", "c", None, 1)]]
