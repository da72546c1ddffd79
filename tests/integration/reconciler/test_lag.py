"""A replica that is behind its source, or whose replication stands still: a real pair of servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from urllib.parse import urlsplit

import pytest

from reconciler.runs.run_log import Runs
from reconciler.runs.sweeps import SweepScope
from tests.integration.reconciler.world import ReconcilerWorld
from tests.servers import PrivateServer, ensure
from tests.support.waiting import until

EVERYONE = SweepScope(everyone=True)
HOUR = 3600


@dataclass
class Pair:
    """A company on a source; `world` reads its replica, `ahead` the source: a stream that has brought everything."""

    ahead: ReconcilerWorld
    world: ReconcilerWorld
    mariadb: bool
    behind: ReconcilerWorld

    def stop(self) -> None:
        """The replica no longer applies what it gets."""
        self.behind.sql("STOP SLAVE SQL_THREAD" if self.mariadb else "STOP REPLICA SQL_THREAD")

    def go_on(self) -> None:
        """The replica applies again, and catches up."""
        self.behind.sql("START SLAVE" if self.mariadb else "START REPLICA")
        replica = self.world.replica()
        until(lambda: replica.lag() == 0, "the replica caught up")

    def delay(self) -> None:
        """The replica applies nothing before it is an hour old."""
        self.behind.sql("STOP SLAVE" if self.mariadb else "STOP REPLICA")
        text = (
            "CHANGE MASTER TO MASTER_DELAY = 3600"
            if self.mariadb
            else "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600"
        )
        self.behind.sql(text)
        self.behind.sql("START SLAVE" if self.mariadb else "START REPLICA")

    def everything_arrived(self) -> None:
        """Waits for the replica."""
        number = self.ahead.sql("SELECT COUNT(*) FROM users")
        until(lambda: self.behind.sql("SELECT COUNT(*) FROM users") == number, "the users arrived")


def _address(server: PrivateServer) -> tuple[object, ...]:
    url = urlsplit(server.url)
    return url.port, url.username, url.password


@pytest.fixture(params=["mysql", "mariadb"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    servers = ensure(["postgres"])
    mariadb = request.param == "mariadb"
    start = servers.private_mariadb if mariadb else servers.private_mysql
    with ExitStack() as stack:
        source = stack.enter_context(start(["--server-id=101"]))
        replica = stack.enter_context(start(["--server-id=102"]))
        reset = "RESET MASTER" if mariadb else "RESET BINARY LOGS AND GTIDS"
        behind = stack.enter_context(ReconcilerWorld(replica.url, servers.postgres_url))
        behind.sql(f"DROP DATABASE {behind.name}")
        behind.sql(reset)
        scratch = stack.enter_context(ReconcilerWorld(source.url, servers.postgres_url))
        scratch.sql(f"DROP DATABASE {scratch.name}")
        scratch.sql(reset)
        if mariadb:
            behind.sql(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s,"
                " MASTER_USE_GTID = slave_pos",
                *_address(source),
            )
        else:
            behind.sql(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = %s, SOURCE_USER = %s,"
                " SOURCE_PASSWORD = %s, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
                *_address(source),
            )
        behind.sql("START SLAVE" if mariadb else "START REPLICA")
        ahead = stack.enter_context(ReconcilerWorld(source.url, servers.postgres_url))
        until(lambda: behind.sql("SHOW DATABASES LIKE %s", ahead.name), "the database arrived")
        until(lambda: behind.sql(f"SHOW TABLES IN {ahead.name} LIKE 'claim_requirements'"), "the tables arrived")
        behind.sql(f"USE {ahead.name}")
        world = stack.enter_context(ahead.beside(replica.url))
        yield Pair(ahead, world, mariadb, behind)


def known(pair: Pair) -> None:
    """Users 1 and 2, unsigned, held and long past."""
    pair.ahead.user(1)
    pair.ahead.user(2)
    pair.everything_arrived()
    replica = pair.world.replica()
    until(lambda: replica.lag() == 0, "the replica caught up")
    pair.world.backfill()
    pair.world.age_everything()


def signed_and_brought(pair: Pair) -> None:
    """User 1 signs at the source, and the stream has brought it."""
    pair.ahead.sql("UPDATE users SET current_signature_file_id = 77, updated_at = UTC_TIMESTAMP() WHERE id = 1")
    pair.ahead.sweep("unsigned-conversions", EVERYONE)
    assert pair.ahead.queues() == {1: "none", 2: "unsigned_users"}
    pair.ahead.age_everything()


def test_a_replica_that_stands_still_takes_nothing_back_and_says_so(pair: Pair) -> None:
    known(pair)
    pair.stop()
    signed_and_brought(pair)
    assert pair.world.replica().lag() == inf

    report = pair.world.verify(repair=True)
    assert (report.tally.repaired, report.tally.left_to_recheck) == (0, 1)
    sweep = pair.world.sweep("requirements-conversions", EVERYONE)
    assert sweep.tally.repaired == 0
    assert pair.world.queues() == {1: "none", 2: "unsigned_users"}
    assert pair.world.conversions() == [(1, "signature_obtained")]
    assert pair.world.pg("SELECT user_id, last_error FROM leadstream.rechecks") == [
        (1, "drift was not confirmed: replication on the replica stands still")
    ]

    pair.go_on()
    pair.world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    again = pair.world.sweep("rechecks")
    assert (again.tally.rechecks, again.tally.repaired) == (1, 0)
    assert pair.world.verify().tally.drift == {}
    assert pair.world.conversions() == [(1, "signature_obtained")]


def nothing_is_taken_back(pair: Pair) -> None:
    replica = pair.world.replica()
    until(lambda: HOUR <= (replica.lag() or 0) < inf, "the replica was seen to be behind")
    report = pair.world.verify(repair=True)
    assert (report.tally.drift.total(), report.tally.repaired, report.tally.left_to_recheck) == (0, 0, 1)
    assert pair.world.verify().outcome == "ok"
    assert pair.world.queues() == {1: "none", 2: "unsigned_users"}
    assert pair.world.conversions() == [(1, "signature_obtained")]


def test_a_replica_that_works_off_what_is_hours_old_takes_nothing_back(pair: Pair) -> None:
    known(pair)
    pair.behind.sql("LOCK TABLES users READ, claims READ, claim_requirements READ")  # as if it had a lot to do
    pair.ahead.sql("SET timestamp = UNIX_TIMESTAMP() - 7200")
    signed_and_brought(pair)
    nothing_is_taken_back(pair)


def test_a_replica_that_is_kept_behind_takes_nothing_back(pair: Pair) -> None:
    known(pair)
    pair.delay()
    signed_and_brought(pair)
    nothing_is_taken_back(pair)


def test_what_was_created_while_the_replica_stood_still_is_looked_for_when_it_goes_on(pair: Pair) -> None:
    known(pair)
    pair.world.pg("UPDATE leadstream.runs SET window_to = window_to - interval '5 hours'")
    pair.stop()
    pair.ahead.user(3, ago=3 * HOUR)
    standing = pair.world.sweep("new-users")
    assert standing.window is not None
    assert (standing.outcome, standing.window.start) == ("ok", standing.window.end)
    pair.go_on()
    pair.everything_arrived()
    pair.world.sweep("new-users")
    assert pair.world.queues()[3] == "unsigned_users"
    caught_up = Runs(pair.world.book()).looked_at_until("new-users")
    assert caught_up is not None
    assert abs(caught_up - pair.world.replica().present().clock) < 600_000_000
