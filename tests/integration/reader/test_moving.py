"""The reader moves between servers that replicate from each other, by GTID, while changes go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest

from consumer.mysql.login import login
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from tests.integration.binlog.proxy import Proxy
from tests.integration.reader.kills import compare, wait_for_end
from tests.integration.reader.load import Load
from tests.integration.reader.world import ReaderWorld
from tests.servers import PrivateServer, ensure
from tests.support.waiting import until

pytestmark = pytest.mark.servers

FOLLOW = {
    "mysql": (
        "RESET BINARY LOGS AND GTIDS",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, SOURCE_USER = '{user}',"
        " SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
        "START REPLICA",
    ),
    "mariadb": (
        "RESET MASTER",
        "SET GLOBAL gtid_slave_pos = '{gtids}'",
        "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, MASTER_USER = '{user}',"
        " MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos",
        "START SLAVE",
    ),
}
CAUGHT_UP = {"mysql": "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 150)", "mariadb": "SELECT MASTER_GTID_WAIT(%s, 150)"}


def follow(flavor: str, replica: str, source: str) -> None:
    """Makes one server replicate from another, from the other's present (MySQL: its beginning) on."""
    address = MySQLAddress(source)
    with closing(Replica(address)) as asked:
        gtids = asked.binlog_end()[2]
    parts = {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "password": address.password,
        "gtids": gtids,
    }
    with closing(login(MySQLAddress(replica), 10, 200)) as session, session.cursor() as cursor:
        for statement in FOLLOW[flavor]:
            cursor.execute(statement.format(**parts))


def wait_for(flavor: str, replica: str, gtids: str) -> None:
    """Until a replica has executed what a checkpoint covers."""
    with closing(login(MySQLAddress(replica), 10, 200)) as session, session.cursor() as cursor:
        cursor.execute(CAUGHT_UP[flavor], (gtids,))
        assert cursor.fetchone() == (0,)


@contextmanager
def source_and_replica(flavor: str) -> Iterator[tuple[PrivateServer, PrivateServer]]:
    """Two servers of our own, the second of which replicates from the first."""
    servers = ensure(("kafka", "postgres"))
    private = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
    with private() as first, private(["--server-id=77", "--log-slave-updates"]) as second:
        follow(flavor, second.url, first.url)
        yield first, second


def stay(world: ReaderWorld, flavor: str, url: str) -> None:
    """Lets the reader work at one server until checkpoints name that one, and a little longer, and kills it."""
    if urlsplit(url).port != urlsplit(world.mysql_url).port:
        wait_for(flavor, url, world.checkpoints()[-1].gtid_set)
    with closing(Replica(MySQLAddress(url))) as replica:
        server = replica.server()
    there = urlsplit(url)._replace(path=f"/{world.name}").geturl()
    reader = world.reader(REPLICA_DATABASE_URL=there, READER_BATCH_ROWS="20").wait_for("reader_connected")
    reader.until(lambda: world.checkpoints()[-1].server == server, f"a checkpoint of {server} was committed")
    time.sleep(0.5)
    reader.kill()


def test_it_moves_to_another_replica_by_gtid_and_back_under_load(flavor: str) -> None:
    with source_and_replica(flavor) as (first, second), ReaderWorld(flavor, first.url) as world:
        world.setup()
        start = world.checkpoints()[-1]
        load = Load(world, seed=3, sizes=(1, 1, 1, 2, 5, 60), pause_seconds=0.03)
        load.start()
        try:
            for url in (first.url, second.url, first.url):
                stay(world, flavor, url)
        finally:
            load.end()
        compare(world, start, wait_for_end(world))


def test_where_the_stream_stands_on_the_other_server_is_a_place_of_that_one(flavor: str) -> None:
    """Nothing happens there after the move, and the places of the server that was left are ahead of its own."""
    with source_and_replica(flavor) as (first, second), ReaderWorld(flavor, first.url) as world:
        world.setup()
        reader = world.reader().wait_for("reader_connected")
        world.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "INSERT INTO users (id) VALUES (1)")
        reader.until(lambda: any(message.topic == "users" for message in world.messages()), "the row arrived")
        assert reader.stop() == 0
        wait_for(flavor, second.url, world.checkpoints()[-1].gtid_set)
        with closing(Replica(MySQLAddress(second.url))) as replica:
            server, end = replica.server(), replica.binlog_position()

            def stands() -> set[tuple[str, int]]:
                beats = (message.value["source"] for message in world.messages() if message.lane == 0)
                return {(beat["file"], beat["pos"]) for beat in beats if beat.get("server") == server}

            there = urlsplit(second.url)._replace(path=f"/{world.name}").geturl()
            reader = world.reader(REPLICA_DATABASE_URL=there)
            reader.until(lambda: tuple(end) in stands(), f"the stream stands at {end}, the server's end")
            assert reader.stop() == 0
            for file, pos in stands() - {tuple(end)}:
                assert replica.query(f"SHOW BINLOG EVENTS IN '{file}' FROM {pos} LIMIT 1"), (file, pos)


def sessions(url: str, ports: set[int]) -> dict[int, str]:
    """The sessions of a server that come from these ports, by id, each with what it does."""
    with closing(Replica(MySQLAddress(url))) as asked:
        rows = asked.records("SHOW PROCESSLIST")
    theirs = {str(port) for port in ports}
    return {int(row["Id"]): str(row["Command"]) for row in rows if str(row["Host"]).rpartition(":")[2] in theirs}


def test_where_a_name_leads_to_another_server_nothing_is_asked_of_the_one_that_was_left(flavor: str) -> None:
    """The old server lives on, and only the connection that brings its binlog ends, as at a planned switch."""
    with source_and_replica(flavor) as (first, second), ReaderWorld(flavor, first.url) as world:
        world.setup()
        old, new = MySQLAddress(first.url), MySQLAddress(second.url)
        with Proxy(old.host, old.port) as proxy:
            parts = urlsplit(world.mysql_url)
            through = parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}").geturl()
            reader = world.reader(REPLICA_DATABASE_URL=through).wait_for("reader_connected")
            world.execute("INSERT INTO users (id) VALUES (1)")
            reader.until(lambda: len(sessions(first.url, proxy.outward_ports)) > 1, "it asks beside the binlog")
            wait_for(flavor, second.url, world.checkpoints()[-1].gtid_set)
            proxy.lead_to(new.host, new.port)
            with closing(login(old, 10, 60)) as session, session.cursor() as cursor:
                for number, command in sessions(first.url, proxy.outward_ports).items():
                    if command.startswith("Binlog Dump"):
                        cursor.execute(f"KILL {number}")
            with closing(Replica(new)) as asked:
                server = asked.server()
            reader.until(lambda: world.checkpoints()[-1].server == server, "it reads the binlog of the other server")
            until(lambda: not sessions(first.url, proxy.outward_ports), "nothing is asked of the first one any more")
            assert reader.stop() == 0


@pytest.mark.parametrize("flavor", ["mariadb"])
def test_it_does_not_leave_a_mariadb_whose_prepared_xa_transaction_is_undecided(flavor: str) -> None:
    """Its rows lie before our place; on the other server nobody knows where."""
    with source_and_replica(flavor) as (first, second), ReaderWorld(flavor, first.url) as world:
        world.setup()
        reader = world.reader().wait_for("reader_connected")
        world.execute("XA START 'x'", "INSERT INTO users (id) VALUES (1)", "XA END 'x'", "XA PREPARE 'x'")
        world.execute("INSERT INTO users (id) VALUES (2)")
        reader.until(lambda: world.checkpoints()[-1].prepared != [], "the checkpoint holds what is prepared")
        assert reader.stop() == 0
        wait_for(flavor, second.url, world.checkpoints()[-1].gtid_set)
        there = {"REPLICA_DATABASE_URL": urlsplit(second.url)._replace(path=f"/{world.name}").geturl()}
        refused = world.consumer("read", **there)
        assert refused.returncode == 1
        assert "was prepared at" in refused.stderr
        assert "commit it or roll it back" in refused.stderr
        reader = world.reader().wait_for("reader_connected")
        world.execute("XA COMMIT 'x'")
        reader.until(lambda: world.checkpoints()[-1].prepared == [], "what was prepared is decided")
        assert reader.stop() == 0
        wait_for(flavor, second.url, world.checkpoints()[-1].gtid_set)
        reader = world.reader(**there).wait_for("reader_connected")
        world.execute("INSERT INTO users (id) VALUES (3)")
        reader.until(lambda: len([m for m in world.messages() if m.topic == "users"]) == 3, "it reads on there")
        assert reader.stop() == 0
