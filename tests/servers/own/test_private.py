"""Private servers: at one address with one set of data from start to discard, whatever happens between."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest

from tests.servers import PrivateServer, ServerError, Servers, choice, ensure, mysqlbinlog_command, state
from tests.servers.kafka import brokers_known_by
from tests.servers.places import PROJECT
from tests.support.waiting import until

pytestmark = pytest.mark.servers

ORPHAN = "import os; from tests.servers import ensure; print(ensure(()).private_postgres().nodes[0].name); os._exit(1)"


@pytest.fixture(scope="module")
def servers() -> Servers:
    return ensure(())


def mysql(url: str, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last statement, run in MySQL or MariaDB."""
    parts = urlsplit(url)
    with (
        pymysql.connect(
            host=parts.hostname,
            port=parts.port or 0,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
            autocommit=True,
        ) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def postgres(url: str, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last statement, run in PostgreSQL."""
    with psycopg.connect(url, autocommit=True) as connection:
        *before, last = statements
        for statement in before:
            connection.execute(statement.encode())
        cursor = connection.execute(last.encode())
        return list(cursor.fetchall()) if cursor.description else []


Ask = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(params=["mysql", "mariadb", "postgres"])
def database(request: pytest.FixtureRequest, servers: Servers) -> Iterator[tuple[PrivateServer, Ask]]:
    start: Callable[[], PrivateServer] = getattr(servers, f"private_{request.param}")
    with start() as server:
        yield server, postgres if request.param == "postgres" else mysql


def test_what_is_committed_survives_kill_and_restart(database: tuple[PrivateServer, Ask]) -> None:
    server, ask = database
    url = server.url
    ask(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    server.kill()
    assert not server.is_running()
    server.start()
    server.restart()
    assert server.url == url
    assert ask(url, "SELECT n FROM kept") == [(1,)]


def test_the_account_may_create_databases(database: tuple[PrivateServer, Ask]) -> None:
    server, ask = database
    ask(server.url, "CREATE DATABASE another")
    assert ask(server.url.replace("leadstream_dev", "another"), "SELECT 1") == [(1,)]


def test_discarding_leaves_nothing(servers: Servers) -> None:
    with servers.private_postgres() as server:
        record = state.load(server.nodes[0].name)
        assert record is not None
    assert not server.is_running()
    assert state.load(record.name) is None
    assert not Path(record.folder or "/nowhere").exists()
    with pytest.raises(ServerError, match="discarded"):
        server.start()


def test_own_options_overrule_ours(servers: Servers) -> None:
    with servers.private_mysql(["--server-id=77", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]) as server:
        assert mysql(server.url, "SELECT @@server_id, @@gtid_mode") == [(77, "OFF")]
    with servers.private_postgres(["max_connections=33"]) as server:
        assert postgres(server.url, "SHOW max_connections") == [("33",)]


def test_a_server_that_cannot_start_says_why(servers: Servers) -> None:
    with pytest.raises(ServerError, match="no_such_option"):
        servers.private_mariadb(["--no_such_option"])


def test_an_orphan_is_removed_by_the_next_start() -> None:
    process = subprocess.run([sys.executable, "-c", ORPHAN], cwd=PROJECT, capture_output=True, text=True, check=False)
    record = state.load(process.stdout.strip())
    assert record is not None
    assert choice.of(record).is_running(record)
    ensure(())
    assert not choice.of(record).is_running(record)
    assert state.load(record.name) is None


def test_a_kafka_cluster_loses_a_broker_and_gets_it_back(servers: Servers) -> None:
    with servers.private_kafka(brokers=3) as cluster:
        ports = [int(address.split(":")[1]) for address in cluster.url.split(",")]
        until(lambda: sorted(brokers_known_by(ports[0])) == sorted(ports), "the brokers knew each other")
        cluster.nodes[2].kill()
        assert not cluster.is_running()
        assert brokers_known_by(ports[2]) == []
        assert ports[0] in brokers_known_by(ports[0])
        cluster.start()
        assert cluster.is_running()
        until(lambda: ports[2] in brokers_known_by(ports[2]), "it was one of them again")


def test_mysqlbinlog_reads_from_a_server(servers: Servers) -> None:
    with servers.private_mysql() as server:
        mysql(server.url, "CREATE TABLE logged (n int)")
        account = ["-uleadstream", "-pleadstream", "-h127.0.0.1", f"-P{urlsplit(server.url).port}"]
        command = [*mysqlbinlog_command(), "--no-defaults", "--read-from-remote-server", *account, "binlog.000001"]
        log = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "CREATE TABLE logged" in log


def test_interrupting_a_start_leaves_a_server_that_can_be_found(servers: Servers) -> None:
    """The process is recorded before it answers: Ctrl-C in between must not lose it."""
    script = "from tests.servers import ensure; print('begun', flush=True); ensure(()).private_mysql()"
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        record = _record_with_process(child.pid)
        os.kill(child.pid, signal.SIGKILL)
    assert choice.of(record).is_running(record)
    ensure(())
    assert not choice.of(record).is_running(record)


def _record_with_process(owner: int) -> state.Record:
    while True:
        for record in state.every():
            started = record.process or record.container
            if record.owner is not None and record.owner.pid == owner and started:
                return record
