"""Servers with every setting wrong, repaired by nothing but the statements that the doctor prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from consumer.doctor import mysql, mysql_facts
from consumer.doctor.check import Check, State, Unreachable
from consumer.mysql.foreign_keys import Reference
from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from consumer.stream.checkpoint import Checkpoint
from reconciler.replica import ReplicaReads
from tests.integration.reader.world import ReaderWorld
from tests.servers import PrivateServer, ensure
from tests.support.company_tables import company_tables
from tests.support.waiting import until

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
    checks = mysql.judge(facts, mysql.ReaderFacts(server_id, None, time.time()))
    return {check.name: check for check in checks if check.state is not State.OK and check.name != "position"}


def test_the_printed_statements_repair_a_server_and_an_account(badly_set: PrivateServer) -> None:
    admin = urlsplit(badly_set.url)
    company = admin._replace(path="/company").geturl()
    run(badly_set.url, "CREATE DATABASE company", "CREATE USER 'least'@'%' IDENTIFIED BY 'least'")
    run(company, *company_tables(foreign_keys=False), "GRANT SELECT (email_address) ON users TO 'least'@'%'")
    address = admin._replace(netloc=f"least:least@{admin.hostname}:{admin.port}", path="/company").geturl()
    before = wrong(address)
    assert {name for name, check in before.items() if check.state is State.FAILED} == {
        "binlog_format", "binlog_row_image", "binlog_row_metadata", "privileges", "columns of users",
        "columns of claims", "columns of claim_requirements",
    }  # fmt: skip
    assert {"retention", "replica lag"} <= before.keys()
    for _ in range(3):  # some things are seen only when we may look
        for check in wrong(address).values():
            run(company, *check.hint.split("; "))
    assert wrong(address) == {}
    with pytest.raises(Exception, match="denied"):
        run(address, "SELECT date_of_birth FROM users")


def test_an_index_that_is_missing_is_created_by_the_printed_statement() -> None:
    with ReaderWorld("mysql") as world:
        names = {"index of claims", "index of claim_requirements"}
        world.execute(
            "DROP INDEX claims_user_id_index ON claims",
            "DROP INDEX claim_requirements_claim_id_index ON claim_requirements",
        )
        found = wrong(world.mysql_url)
        assert names <= found.keys()
        world.execute(*(found[name].hint for name in names))
        assert not names & wrong(world.mysql_url).keys()


def test_a_table_that_does_not_exist_is_said_to_be_missing_and_an_optional_column_is_not_missed() -> None:
    with ReaderWorld("mysql") as world:
        world.execute("DROP TABLE claim_requirements", "ALTER TABLE users DROP COLUMN is_enabled")
        found = wrong(world.mysql_url)
        assert "columns of users" not in found
        assert f"there is no table {world.name}.claim_requirements" in found["columns of claim_requirements"].sentence
        world.execute(company_tables(foreign_keys=False)[2], "ALTER TABLE claims DROP COLUMN status")
        found = wrong(world.mysql_url)
        assert "columns of claim_requirements" not in found
        assert "claims has no column status" in found["columns of claims"].sentence
        refused = world.consumer("read")
        assert refused.returncode == 1
        assert "claims has no column status" in refused.stderr


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_view_in_the_place_of_a_table_is_refused(flavor: str) -> None:
    with ReaderWorld(flavor) as world:
        world.execute("RENAME TABLE users TO people", "CREATE VIEW users AS SELECT * FROM people")
        found = wrong(world.mysql_url)["columns of users"]
        assert found.state is State.FAILED
        assert "users is a view" in found.sentence


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_at_amazon_binlogs_are_kept_by_a_setting_that_our_account_has_to_be_let_see(flavor: str) -> None:
    """A server in Amazon's folder, with the table that its manual names."""
    servers = ensure(())
    start = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
    with start(["--basedir=/rdsdbbin/mysql/", "--binlog-row-metadata=FULL"]) as server:
        parts = urlsplit(server.url)
        run(
            server.url, "CREATE DATABASE company", "CREATE USER 'least'@'%' IDENTIFIED BY 'least'",
            "CREATE TABLE mysql.rds_configuration (name VARCHAR(100), value VARCHAR(100))",
            "INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', NULL), ('target delay', '0')",
        )  # fmt: skip
        run(parts._replace(path="/company").geturl(), *company_tables(foreign_keys=False))
        run(server.url, "GRANT SELECT ON company.* TO 'least'@'%'")
        least = parts._replace(netloc=f"least:least@{parts.hostname}:{parts.port}", path="/company").geturl()

        def kept() -> float | None:
            with closing(ReplicaReads(MySQLAddress(least))) as replica:
                return replica.binlog_retention()

        hidden = wrong(least)["retention"]
        assert (hidden.state, kept()) == (State.WARNING, None)
        run(server.url, hidden.hint)
        purged = wrong(least)["retention"]
        assert (purged.state, kept()) == (State.FAILED, 0)
        assert purged.hint == "CALL mysql.rds_set_configuration('binlog retention hours', 168)"
        run(server.url, "UPDATE mysql.rds_configuration SET value = '168' WHERE name = 'binlog retention hours'")
        assert "retention" not in wrong(least)
        assert kept() == 604_800


def is_mariadb(server: PrivateServer) -> bool:
    """Whether it is one."""
    return "mariadb" in run(server.url, "SELECT VERSION()")[0][0].lower()


def test_a_replica_that_stands_still_follows_by_the_printed_statement_and_keeps_its_id_from_us(
    badly_set: PrivateServer,
) -> None:
    """Its source is the shared server, of which it is told to replicate nothing."""
    number = 4_200_000_000 + int(time.time()) % 90_000_000
    run(badly_set.url, f"SET GLOBAL server_id = {number}")
    if is_mariadb(badly_set):
        source, status, start, stop = (
            ensure(("mariadb",)).mariadb_url, "SHOW MASTER STATUS", "START ALL SLAVES", "STOP ALL SLAVES",
        )  # fmt: skip
        words = ("SET GLOBAL replicate_do_db = 'nothing'", "MASTER", "MASTER_USE_GTID = NO")
    else:
        source, status, start, stop = (
            ensure(("mysql",)).mysql_url, "SHOW BINARY LOG STATUS", "START REPLICA", "STOP REPLICA",
        )  # fmt: skip
        words = (
            "CHANGE REPLICATION FILTER REPLICATE_DO_DB = (nothing)", "SOURCE",
            "SOURCE_AUTO_POSITION = 0, GET_SOURCE_PUBLIC_KEY = 1",
        )  # fmt: skip
    if "gtid" in wrong(badly_set.url):  # a source that has them sends them
        run(badly_set.url, *wrong(badly_set.url)["gtid"].hint.split("; "))
    file, position, *_ = run(source, status)[0]
    filters, word, more = words
    run(
        badly_set.url, filters,
        f"CHANGE {'MASTER' if word == 'MASTER' else 'REPLICATION SOURCE'} TO {word}_HOST = '127.0.0.1',"
        f" {word}_PORT = {urlsplit(source).port}, {word}_USER = 'leadstream', {word}_PASSWORD = 'leadstream',"
        f" {word}_LOG_FILE = '{file}', {word}_LOG_POS = {position}, {more}",
    )  # fmt: skip
    stopped = wrong(badly_set.url)["replica lag"]
    assert (stopped.state, stopped.hint) == (State.FAILED, start)
    run(badly_set.url, stopped.hint)
    until(lambda: "replica lag" not in wrong(badly_set.url), "the replica was not late")
    if not is_mariadb(badly_set):  # whose list of replicas has no uuid by which ours could be told from another
        until(lambda: "server_id" in wrong(source, server_id=number), "the replica had registered")
        assert "is that of the replica" in wrong(source, server_id=number)["server_id"].sentence
    run(badly_set.url, stop)


def test_the_binlogs_that_follow_our_position_are_missed_when_they_were_purged(badly_set: PrivateServer) -> None:
    file = run(badly_set.url, "SHOW BINARY LOGS")[0][0]
    kind = "mariadb" if is_mariadb(badly_set) else "mysql"
    stands = Checkpoint(
        epoch=1, flavor=kind, server="", gtid_set="", file=file, pos=4, version=round(time.time() * 1e6), next_seqs=[1]
    )

    def position() -> Check:
        facts = mysql_facts.collect(MySQLAddress(badly_set.url), 10)
        checks = mysql.judge(facts, mysql.ReaderFacts(4711, stands, time.time()))
        return next(check for check in checks if check.name == "position")

    assert position().state is State.OK
    run(badly_set.url, "FLUSH BINARY LOGS")

    def purged() -> bool:
        """MariaDB keeps a binlog until its engines have written down what it holds."""
        run(badly_set.url, "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")
        return position().state is State.FAILED

    until(purged, "the binlogs were purged")
    assert position().hint.startswith("ON_PURGED=reconcile consumer read")


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_what_foreign_keys_of_other_tables_do_unseen_is_told(flavor: str) -> None:
    with ReaderWorld(flavor) as world:
        world.execute(
            "CREATE TABLE files LIKE users",
            "ALTER TABLE files ADD UNIQUE KEY file (current_signature_file_id)",
            "ALTER TABLE users ADD FOREIGN KEY (current_signature_file_id)"
            " REFERENCES files (current_signature_file_id) ON DELETE SET NULL",
        )
        facts = mysql_facts.collect(MySQLAddress(world.mysql_url), 10)
    assert facts.references == [Reference("users", "current_signature_file_id", "files", "SET NULL", "NO ACTION")]
    older = facts if facts.mariadb else replace(facts, version="8.4.0")
    checks = mysql.judge(older, mysql.ReaderFacts(4711, None, time.time()))
    assert [check.state for check in checks if check.name == "foreign keys"] == [State.WARNING]


def test_a_server_without_a_binlog_is_refused_and_told_what_to_be_started_with() -> None:
    with ensure(()).private_mysql(["--skip-log-bin", "--skip-log-replica-updates"]) as server:
        found = wrong(server.url)["log_bin"]
    assert (found.state, found.hint) == (State.FAILED, "put log_bin=binlog below [mysqld] and restart the server")


def test_the_servers_own_id_is_no_id_for_a_reader() -> None:
    server = ensure(("mysql",)).mysql_url
    own = run(server, "SELECT @@global.server_id")[0][0]
    assert wrong(server, server_id=own)["server_id"].hint == "set REPLICA_SERVER_ID to an id that no replica has"
    assert "server_id" not in wrong(server, server_id=own + 4711)


def test_a_server_that_lets_us_not_in_is_said_to_be_unreachable_without_the_password() -> None:
    url = urlsplit(ensure(("mysql",)).mysql_url)
    address = url._replace(netloc=f"nobody:s3cret-word@{url.hostname}:{url.port}").geturl()
    with pytest.raises(Unreachable, match="cannot be asked: Access denied") as caught:
        wrong(address)
    assert "s3cret-word" not in str(caught.value)
