"""Every change is applied exactly once, whatever happens to the appliers."""

from __future__ import annotations

import itertools
import signal
import time
from pathlib import Path

import pytest

from tests.integration.applier.world import ApplierWorld, faults, live
from tests.servers import Servers

pytestmark = pytest.mark.servers

WRITERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'leadstream stream'"
)


def noticed(world: ApplierWorld) -> bool:
    """Whether an applier said that others went on with its lanes."""
    said = world.lines()
    return '"lanes_lost"' in said or '"lane_taken"' in said


def test_lives_that_are_spread_over_three_topics_are_applied_in_the_order_of_the_binlog(world: ApplierWorld) -> None:
    customers = range(1, 201)
    live(world.scribe, customers, together=20)
    world.applier()
    world.drain()
    assert faults(world, customers) == []


def test_an_applier_killed_at_any_moment_neither_loses_nor_repeats_anything(world: ApplierWorld) -> None:
    customers = range(1, 301)
    process = world.applier()
    written = 0

    def kill_now_and_then() -> None:
        nonlocal written, process
        written += 1
        time.sleep(0.02)
        if written % 60 == 0:
            process.kill()
            process.wait()
            process = world.applier()

    live(world.scribe, customers, each=kill_now_and_then)
    assert written > 180
    world.drain()
    assert faults(world, customers) == []


def test_two_appliers_share_the_lanes_and_pass_them_on_when_one_leaves(world: ApplierWorld) -> None:
    customers = range(1, 401)
    first = world.applier()
    second = world.applier()
    live(world.scribe, range(1, 201))
    world.until(lambda: len(world.owners()) == 2 or _beat(world), "both had lanes")
    first.send_signal(signal.SIGTERM)
    live(world.scribe, range(201, 401))
    assert first.wait() == 0
    world.drain()
    assert len(world.owners()) == 1
    assert second.stop() == 0
    assert faults(world, customers) == []


def _beat(world: ApplierWorld) -> bool:
    with world.scribe as scribe:
        scribe.beat()
    time.sleep(0.5)
    return False


def test_appliers_that_come_and_go_lose_and_repeat_nothing(world: ApplierWorld) -> None:
    customers = range(1, 401)
    running = [world.applier()]
    written = 0

    def come_and_go() -> None:
        nonlocal written
        written += 1
        time.sleep(0.02)
        if written % 50 == 0:
            running.append(world.applier())
        if written % 120 == 0:
            world.until(lambda: world.lines().count("applier_started") > len(running) - 2)
            leaving = running.pop(0)
            assert leaving.stop() == 0

    live(world.scribe, customers, each=come_and_go)
    world.drain()
    assert faults(world, customers) == []


def test_a_process_that_slept_with_a_batch_in_hand_finds_itself_fenced(world: ApplierWorld) -> None:
    """It is stopped while it waits to write, so that it still has to when it wakes up after others did it."""
    zombie = world.applier()
    live(world.scribe, range(1, 101))
    world.drain()
    with world.connect() as keeper, keeper.transaction():
        keeper.execute("SELECT FROM leadstream.lanes FOR UPDATE")
        live(world.scribe, range(101, 201))
        world.until(lambda: bool(world.query(f"{WRITERS} AND wait_event_type = 'Lock'")))
        zombie.send_signal(signal.SIGSTOP)
        world.query(WRITERS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
    world.applier()
    world.drain()
    assert not noticed(world)
    zombie.send_signal(signal.SIGCONT)
    world.until(lambda: noticed(world))
    live(world.scribe, range(201, 301))
    world.drain()
    assert faults(world, range(1, 301)) == []
    assert zombie.poll() is None


def test_appliers_of_two_groups_by_accident_get_in_each_others_way_but_repeat_nothing(world: ApplierWorld) -> None:
    """Nothing but the compare-and-set keeps them apart, as it does a zombie that does not know yet."""
    appliers = [world.applier(CONSUMER_GROUP=f"{world.name}.{number}") for number in (1, 2)]
    world.until(lambda: world.lines().count('"lanes_assigned"') == len(appliers))
    users = itertools.count(1)

    def clashed() -> bool:
        user = next(users)
        live(world.scribe, range(user, user + 1))
        return '"lane_taken"' in world.lines()

    world.until(clashed)
    world.drain()
    assert faults(world, range(1, next(users))) == []
    assert [process.poll() for process in appliers] == [None, None]


def test_what_postgresql_forgets_when_it_dies_is_applied_again(servers: Servers, tmp_path: Path) -> None:
    lazy = ["wal_writer_delay=10s", "wal_writer_flush_after=1GB"]
    with (
        servers.private_postgres(lazy) as postgres,
        ApplierWorld(servers.kafka_bootstrap, postgres.url) as world,
    ):
        process = world.applier()
        live(world.scribe, range(1, 101))
        world.drain()
        postgres.kill()
        postgres.start()
        assert not world.applied(), "PostgreSQL has forgotten nothing, so this test shows nothing"
        live(world.scribe, range(101, 151))
        world.drain()
        assert faults(world, range(1, 151)) == []
        assert process.poll() is None


def test_postgresql_killed_and_started_again_costs_nothing(servers: Servers, tmp_path: Path) -> None:
    with (
        servers.private_postgres() as postgres,
        ApplierWorld(servers.kafka_bootstrap, postgres.url) as world,
    ):
        customers = range(1, 201)
        process = world.applier()
        live(world.scribe, range(1, 101))
        postgres.kill()
        live(world.scribe, range(101, 201))
        postgres.start()
        world.drain()
        assert faults(world, customers) == []
        assert process.poll() is None
