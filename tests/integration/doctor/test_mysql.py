"""Servers with every setting wrong, mended by nothing but the statements that the doctor prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from consumer.doctor import mysql, mysql_facts
from consumer.doctor.check import Check, State, Unreachable
from consumer.replica_login import login
from consumer.settings import MySQLAddress
from tests.integration.reader.world import TABLES, World
from tests.servers import PrivateServer, ensure

pytestmark = pytest.mark.servers

WRONG = (
    "--binlog-format=MIXED",
    "--binlog-row-image=MINIMAL",
    "--binlog-row-metadata=MINIMAL",
    "--binlog-expire-logs-seconds=3600",
    "--default-time-zone=+02:00",
)


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def badly_set(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    servers = ensure(())
    if request.param == "mysql":
        start = servers.private_mysql([*WRONG, "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"])
    else:
        start = servers.private_mariadb(WRONG)
    with start as server:
        yield server


def run(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement."""
    with closing(login(MySQLAddress(url), 10, 60)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def wrong(url: str, server_id: int = 4711) -> dict[str, Check]:
    """What is not ok, but for the position, which only a stream has."""
    facts = mysql_facts.collect(MySQLAddress(url), 10)
    checks = mysql.judge(facts, mysql.Reader(server_id, None, time.time()))
    return {check.name: check for check in checks if check.state is not State.OK and check.name != "position"}


def test_the_printed_statements_mend_a_server_and_an_account(badly_set: PrivateServer) -> None:
    admin = urlsplit(badly_set.url)
    company = admin._replace(path="/company").geturl()
    run(badly_set.url, "CREATE DATABASE company", "CREATE USER 'least'@'%' IDENTIFIED BY 'least'")
    run(company, *TABLES, "GRANT SELECT (email) ON users TO 'least'@'%'")
    address = admin._replace(netloc=f"least:least@{admin.hostname}:{admin.port}", path="/company").geturl()
    before = wrong(address)
    assert {name for name, check in before.items() if check.state is State.FAILED} == {
        "binlog_format", "binlog_row_image", "binlog_row_metadata", "privileges", "columns of users",
        "columns of claims", "columns of claim_requirements",
    }  # fmt: skip
    assert {"retention", "replica lag"} <= before.keys()
    for _ in range(3):  # some things are seen only when we may look
        for check in wrong(address).values():
            run(company, *check.mend.split("; "))
    assert wrong(address) == {}
    with pytest.raises(Exception, match="denied"):
        run(address, "SELECT birth_date FROM users")


def test_an_index_that_is_missing_is_created_by_the_printed_statement() -> None:
    with World("mysql") as world:
        names = {"index of claims", "index of claim_requirements"}
        found = wrong(world.url)
        assert names <= found.keys()
        world.execute(*(found[name].mend for name in names))
        assert not names & wrong(world.url).keys()


def test_the_servers_own_id_is_no_id_for_a_reader() -> None:
    server = ensure(("mysql",)).mysql_url
    own = run(server, "SELECT @@global.server_id")[0][0]
    assert wrong(server, server_id=own)["server_id"].mend == "set REPLICA_SERVER_ID to an id that no replica has"
    assert "server_id" not in wrong(server, server_id=own + 4711)


def test_a_server_that_lets_us_not_in_is_said_to_be_unreachable_without_the_password() -> None:
    url = urlsplit(ensure(("mysql",)).mysql_url)
    address = url._replace(netloc=f"nobody:s3cret-word@{url.hostname}:{url.port}").geturl()
    with pytest.raises(Unreachable, match="cannot be asked: Access denied") as caught:
        wrong(address)
    assert "s3cret-word" not in str(caught.value)
