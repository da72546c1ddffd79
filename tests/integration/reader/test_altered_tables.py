"""Columns that nobody judges by go, change their names and come back while everything runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from consumer.binlog.position import ordered_position
from consumer.mysql.errors import ConnectionLost, NotThere
from consumer.mysql.live_read import LiveLead, read_leads
from consumer.mysql.session import Replica
from consumer.reader.claim_owners import ReplicaClaims
from consumer.settings import MySQLAddress
from tests.integration.reader.world import ReaderWorld
from tests.support.waiting import until

pytestmark = pytest.mark.servers

GOES = {
    "renamed": "ALTER TABLE {table} RENAME COLUMN {column} TO {column}_was",
    "dropped": "ALTER TABLE {table} DROP COLUMN {column}",
}


@pytest.mark.parametrize("how", GOES)
def test_a_reader_goes_on_without_a_column_that_only_informs(world: ReaderWorld, how: str) -> None:
    world.execute(
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO claims (id, user_id, status, updated_at) VALUES (10, 1, 'open', NOW() - INTERVAL 1 DAY),"
        " (20, 2, 'open', NOW() - INTERVAL 1 DAY)",
    )
    world.setup()
    reader = world.reader().wait_for("reader_connected")
    world.execute("INSERT INTO claim_requirements (id, claim_id, status) VALUES (100, 10, 'pending')")
    world.wait_for_rows(1)
    for table, column in (
        ("claims", "updated_at"), ("users", "updated_at"), ("claim_requirements", "claim_requirement_reason"),
        ("claim_requirements", "created_at"), ("users", "is_enabled"),
    ):  # fmt: skip
        world.execute(GOES[how].format(table=table, column=column))
    world.execute("INSERT INTO claim_requirements (id, claim_id, status) VALUES (200, 20, 'pending')")
    owners = {
        message.value["after"]["id"]: message.value["lane"]["user_id"]
        for message in world.finish(reader, 2)
        if message.value["op"] == "c"
    }
    assert owners == {"100": 1, "200": 2}
    assert "connection_lost" not in {line["event"] for line in reader.lines()}


def granted(world: ReaderWorld) -> MySQLAddress:
    """An account that may read the captured columns and no others, in the company's database."""
    name = f"{world.name[:24]}_c"
    world.execute(
        f"CREATE USER '{name}'@'%' IDENTIFIED BY 'least'",
        f"GRANT SELECT (id, user_id, status, updated_at) ON claims TO '{name}'@'%'",
        f"GRANT REPLICATION CLIENT ON *.* TO '{name}'@'%'",
    )
    server = urlsplit(world.mysql_url)
    return MySQLAddress(server._replace(netloc=f"{name}:least@{server.hostname}:{server.port}").geturl())


@pytest.mark.parametrize("how", GOES)
@pytest.mark.parametrize(
    "account", [lambda world: MySQLAddress(world.mysql_url), granted], ids=["everything", "columns"]
)
def test_whose_a_claim_is_needs_no_column_that_says_when_it_was_changed(
    world: ReaderWorld, flavor: str, how: str, account: Callable[[ReaderWorld], MySQLAddress]
) -> None:
    world.execute("INSERT INTO claims (id, user_id) VALUES (10, 1)")
    with closing(Replica(account(world))) as replica:
        ask = ReplicaClaims(replica, 5.0)
        assert ask([10, 11]).users == {10: 1}
        world.execute(GOES[how].format(table="claims", column="updated_at"))
        found = ask([10, 11])
        assert found.users == {10: 1}
        assert (0, 0) < found.end <= ordered_position(*replica.binlog_position())
        world.execute("DROP TABLE claims")
        with pytest.raises(NotThere, match="claims"):
            ask([10])


def read_lead(replica: Replica, user_id: int) -> LiveLead:
    """One customer, as `consumer explain` reads."""
    return read_leads(replica, [user_id]).leads[user_id]


class Hasty(Replica):
    """A replica that changes right after a question: by default after a look at its tables."""

    def __init__(self, world: ReaderWorld, statement: str, behind: str = "information_schema") -> None:
        super().__init__(MySQLAddress(world.mysql_url))
        self._left = [statement]
        self._world = world
        self._behind = behind

    def query(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        rows = super().query(sql, arguments)
        if self._behind in sql and self._left:
            self._world.execute(self._left.pop())
        return rows


def test_explain_looks_again_where_a_column_went_between_two_of_its_questions(world: ReaderWorld) -> None:
    world.execute("INSERT INTO users (id, is_enabled, current_signature_file_id) VALUES (1, 0, 7)")
    with closing(Hasty(world, "ALTER TABLE users DROP COLUMN is_enabled")) as replica:
        user = read_lead(replica, 1).user
    assert user is not None
    assert (user.signature, user.enabled) == ("7", True)


def test_explain_sees_a_customer_as_of_one_moment(world: ReaderWorld) -> None:
    world.execute("INSERT INTO users (id) VALUES (1)")
    with closing(
        Hasty(world, "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')", "CONSISTENT SNAPSHOT")
    ) as replica:
        assert read_lead(replica, 1).claims == {}
        assert list(read_lead(replica, 1).claims) == ["10"]


class Cut(Replica):
    """A replica that ends our session right after it was told how the next transaction is to read."""

    def query(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        rows = super().query(sql, arguments)
        if "ISOLATION LEVEL" in sql:
            number = self.value("SELECT CONNECTION_ID()")
            with closing(Replica(self.address)) as other:
                other.query(f"KILL {number}")
                there = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number}"
                until(lambda: not other.value(there), "the session is gone")
        return rows


def test_a_snapshot_never_begins_in_another_session_than_the_one_that_was_told_how(world: ReaderWorld) -> None:
    with (
        closing(Cut(MySQLAddress(world.mysql_url))) as replica,
        pytest.raises(ConnectionLost, match="cannot query"),
        replica.snapshot(),
    ):
        pass


def test_explain_looks_again_where_a_table_was_altered_since_its_snapshot(world: ReaderWorld) -> None:
    world.execute("INSERT INTO users (id) VALUES (1)")
    altered = "ALTER TABLE claims ADD COLUMN note INT, ALGORITHM=COPY"
    with closing(Hasty(world, altered, "CONSISTENT SNAPSHOT")) as replica:
        assert read_lead(replica, 1).claims == {}


def test_a_statement_that_names_what_is_not_there_leaves_its_session_as_it_was(world: ReaderWorld) -> None:
    with closing(Replica(MySQLAddress(world.mysql_url))) as replica:
        session = replica.value("SELECT CONNECTION_ID()")
        with pytest.raises(NotThere, match="nowhere"):
            replica.query("SELECT nowhere FROM users")
        assert replica.value("SELECT CONNECTION_ID()") == session
