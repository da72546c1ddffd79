"""When changes are dated and how they are versioned: by their source, and by the server that we read."""

from __future__ import annotations

import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.integration.reader.test_moving import follow
from tests.integration.reader.world import Message, ReaderWorld, check_numbers
from tests.servers import ensure
from tests.support.waiting import until

LATE_SECONDS = 6
FUTURE = 1_900_000_000
SECOND = 1_000_000


def rows_of(messages: list[Message]) -> dict[int, Message]:
    """The rows by the user they are of, the newest of each."""
    return {message.value["after"]["id"]: message for message in messages if message.value["op"] != "h"}


@pytest.mark.servers
def test_what_a_late_replica_brings_is_dated_by_its_source(flavor: str) -> None:
    """Inserts of one row and of two, which are read by two ways."""
    servers = ensure(("kafka", "postgres"))
    private = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
    thread = "SLAVE SQL_THREAD" if flavor == "mariadb" else "REPLICA SQL_THREAD"
    with private() as source, private(["--server-id=77", "--log-slave-updates"]) as replica:
        follow(flavor, replica.url, source.url)
        with ReaderWorld(flavor, source.url) as world, closing(login(MySQLAddress(replica.url), 10, 60)) as session:
            there = urlsplit(replica.url)._replace(path=f"/{world.name}").geturl()
            world.execute("INSERT INTO users (id) VALUES (100)")
            with session.cursor() as cursor:
                table = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = 'users'"
                until(
                    lambda: (
                        cursor.execute(table, (world.name,)) and cursor.execute(f"SELECT 1 FROM {world.name}.users")
                    ),
                    "the replica had the row",
                )
                cursor.execute(f"STOP {thread}")
                assert world.consumer("setup", REPLICA_DATABASE_URL=there).returncode == 0
                reader = world.reader(REPLICA_DATABASE_URL=there).wait_for("reader_connected")
                began = time.time_ns() // 1000
                world.execute("INSERT INTO users (id) VALUES (1)", "INSERT INTO users (id) VALUES (2)")
                world.execute("INSERT INTO users (id) VALUES (3), (4)")
                committed = time.time_ns() // 1000
                time.sleep(LATE_SECONDS)
                applied = time.time_ns() // 1000
                cursor.execute(f"START {thread}")
                messages = world.finish(reader, 4)
    check_numbers(messages)
    for message in rows_of(messages).values():
        assert began - SECOND <= message.value["source"]["ts_us"] <= committed
        assert message.value["lane"]["version"] >= applied - SECOND


@pytest.mark.parametrize("flavor", ["mariadb"])
def test_a_clients_own_time_dates_nothing_and_moves_no_version(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader().wait_for("reader_connected")
    began = time.time_ns() // 1000
    world.execute("INSERT INTO users (id) VALUES (1)")
    world.execute(f"SET timestamp = {FUTURE}", "INSERT INTO users (id) VALUES (2)", "INSERT INTO users (id) VALUES (3)")
    world.execute("INSERT INTO users (id) VALUES (4)")
    world.execute("SET timestamp = 1", "INSERT INTO users (id) VALUES (5), (6)")
    world.wait_for_rows(6)
    before = len(world.messages())
    until(lambda: len(world.messages()) > before, "heartbeats came")
    messages = world.finish(reader, 6)
    ended = time.time_ns() // 1000
    check_numbers(messages)
    for message in messages:
        assert message.value["lane"]["version"] <= ended + SECOND
    for message in rows_of(messages).values():
        assert began - SECOND <= message.value["source"]["ts_us"] <= ended
    corrected = [line for line in reader.lines() if line["event"] == "commit_time_corrected"]
    assert corrected[0]["wrong"] == "ahead"
    assert len(corrected) == 1, "one burst is reported once"


@pytest.mark.parametrize("flavor", ["mysql"])
def test_a_clients_own_time_is_no_commit_time_on_mysql(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader().wait_for("reader_connected")
    began = time.time_ns() // 1000
    world.execute(f"SET timestamp = {FUTURE}", "INSERT INTO users (id) VALUES (1)")
    (message,) = rows_of(world.finish(reader, 1)).values()
    assert (
        began - SECOND <= message.value["source"]["ts_us"] <= message.value["lane"]["version"] <= time.time_ns() // 1000
    )
