"""Compare-and-set of lanes: a zombie writes nothing."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg
import pytest

from consumer.store.errors import LaneTaken, NotPrepared
from consumer.store.lanes import LaneMove, LaneState
from consumer.store.leads import LeadStore
from consumer.store.rule_changes import RUN
from consumer.store.runs import lock_of
from consumer.store.schema.raise_lanes import LANES_NOW, WRITERS, NotDrained, refuse_unless_drained, relane
from consumer.store.schema.setup import prepare
from reconciler.postgres import Postgres
from reconciler.runs.run_log import LanesChanged, Runs
from tests.integration.store.databases import row, rows, run
from tests.integration.store.replayer import LANES, attempt, fail
from tests.integration.store.test_leads import outcome_of, whole_lead
from tests.support.company_tables import call_centre_tables
from tests.support.waiting import PATIENCE, until


def move(lane: int, expected: int, following: int, version: int = 5, epoch: int = 1) -> LaneMove:
    """A step of a lane."""
    return LaneMove(lane, epoch, expected, following, version, {"users": following * 10, "claims": 3}, "me:1")


def test_lanes_start_at_one(store: LeadStore) -> None:
    assert store.lanes([3, 0, 0]) == {0: LaneState(1, 1, 0, {}), 3: LaneState(1, 1, 0, {})}
    assert store.lanes([]) == {}


def test_a_lane_that_is_missing_is_said_to_be(store: LeadStore) -> None:
    with pytest.raises(NotPrepared, match=r"lane 4, 9 is not in leadstream\.lanes in store_.* run `consumer setup`"):
        store.lanes([0, 4, 9])


def test_taking_lanes_moves_them_on(store: LeadStore, database: str) -> None:
    with store.transaction() as tx:
        tx.take([move(2, 1, 8), move(0, 1, 4, version=9)])
    assert store.lanes(range(LANES)) == {
        0: LaneState(1, 4, 9, {"users": 40, "claims": 3}),
        1: LaneState(1, 1, 0, {}),
        2: LaneState(1, 8, 5, {"users": 80, "claims": 3}),
        3: LaneState(1, 1, 0, {}),
    }
    assert row(
        database, "SELECT owner, moved_at > now() - interval '1 minute' FROM leadstream.lanes WHERE lane = 2"
    ) == (
        "me:1",
        True,
    )


def test_an_applier_is_known_to_be_there_before_anything_is_applied(store: LeadStore, database: str) -> None:
    with store.transaction() as tx:
        tx.take([move(2, 1, 8)])
    store.begin_stream("another")
    owners = "SELECT array_agg(owner ORDER BY lane), count(moved_at) FROM leadstream.lanes"
    assert row(database, owners) == (["another", "another", "me:1", "another"], LANES)
    assert store.lanes([0])[0] == LaneState(1, 1, 0, {}), "nothing has moved"
    store.begin_stream("a third")
    assert row(database, owners) == (["another", "another", "me:1", "another"], LANES)


def test_a_transaction_that_fails_leaves_its_lanes_where_they_were(store: LeadStore) -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(store, lambda tx: tx.take([move(0, 1, 4)]), fail)
    assert store.lanes([0])[0].next_seq == 1


@pytest.mark.parametrize("stale", [move(1, 3, 9), move(1, 1, 9, epoch=2)], ids=["number", "epoch"])
def test_a_lane_that_stands_elsewhere_takes_the_whole_transaction_back(
    store: LeadStore, database: str, stale: LaneMove
) -> None:
    with pytest.raises(LaneTaken, match="lane 1 was moved on by another applier") as raised:
        attempt(
            store,
            lambda tx: tx.take([move(0, 1, 4), stale]),
            lambda tx: tx.load([1]),
            lambda tx: tx.write(outcome_of(whole_lead(1))),
        )
    assert raised.value.lanes == [1]
    assert store.lanes([0, 1]) == {0: LaneState(1, 1, 0, {}), 1: LaneState(1, 1, 0, {})}
    assert rows(database, "SELECT * FROM leadstream.leads") == []


def test_a_transaction_that_only_takes_lanes_notices_as_well(store: LeadStore) -> None:
    with pytest.raises(LaneTaken):
        attempt(store, lambda tx: tx.take([move(1, 2, 9)]))


def test_a_zombie_waits_for_the_new_owner_and_then_finds_the_lane_taken(store: LeadStore, database: str) -> None:
    raised: list[BaseException] = []

    def zombie() -> None:
        with LeadStore(database, LANES, shadow=False, source="stream") as other:
            try:
                with other.transaction() as tx:
                    tx.take([move(0, 1, 7)])
                    tx.load([1])
                    tx.write(outcome_of(whole_lead(1)))
            except LaneTaken as error:
                raised.append(error)

    thread = threading.Thread(target=zombie)
    with store.transaction() as tx:
        tx.take([move(0, 1, 4)])
        tx.load([2])  # the lane is ours now, and not committed yet
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        tx.write(outcome_of(whole_lead(2)))
    thread.join(PATIENCE)
    assert len(raised) == 1
    assert store.lanes([0])[0].next_seq == 4
    assert rows(database, "SELECT user_id FROM leadstream.leads") == [(2,)]


def test_when_the_owner_fails_the_one_who_waited_gets_the_lane(store: LeadStore, database: str) -> None:
    taken = threading.Event()

    def waits() -> None:
        with LeadStore(database, LANES, shadow=False, source="stream") as other, other.transaction() as tx:
            tx.take([move(0, 1, 7)])
        taken.set()

    thread = threading.Thread(target=waits)

    def start_waiting(_: object) -> None:
        thread.start()
        assert not taken.wait(0.3)

    with pytest.raises(ZeroDivisionError):
        attempt(store, lambda tx: tx.take([move(0, 1, 4)]), lambda tx: tx.load([2]), start_waiting, fail)
    assert taken.wait(PATIENCE)
    thread.join()
    assert store.lanes([0])[0].next_seq == 7


def test_raised_lanes_begin_an_epoch_and_take_no_step_of_the_one_before(empty: str) -> None:
    run(empty, call_centre_tables())
    prepare(empty, LANES, 1)
    with LeadStore(empty, LANES, shadow=False, source="stream") as store, store.transaction() as tx:
        tx.take([move(1, 1, 5)])
    until(lambda: rows(empty, WRITERS) == [(0,)], "the applier's session was gone")
    relane(empty, 1, [1, 5, *[1] * (LANES - 2)], 7, LANES + 1)
    with (
        LeadStore(empty, LANES, shadow=False, source="stream") as zombie,
        LeadStore(empty, LANES + 1, shadow=False, source="stream") as raised,
    ):
        assert raised.lanes([1, LANES]) == {
            1: LaneState(2, 1, 7, {"users": 50, "claims": 3}),
            LANES: LaneState(2, 1, 7, {}),
        }
        with pytest.raises(LaneTaken):
            attempt(zombie, lambda tx: tx.take([move(1, 5, 6)]))
        with pytest.raises(LaneTaken):
            attempt(zombie, lambda tx: tx.take([move(1, 1, 6)]))
        attempt(raised, lambda tx: tx.take([move(1, 1, 6, epoch=2)]))
        assert raised.lanes([1])[1][:2] == (2, 6)


@pytest.mark.parametrize("name", ["verify", RUN], ids=["a run", "an adoption"])
def test_lanes_are_not_raised_while_somebody_reckons_with_their_number(empty: str, name: str) -> None:
    run(empty, call_centre_tables())
    prepare(empty, LANES, 1)
    drained = [1] * LANES
    with psycopg.connect(empty, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", lock_of(name))
        with pytest.raises(NotDrained, match="is under way on store_"):
            refuse_unless_drained(empty, 1, drained, LANES + 1)
        with pytest.raises(NotDrained, match="is under way on store_"):
            relane(empty, 1, drained, 7, LANES + 1)
    assert row(empty, "SELECT count(*), max(epoch) FROM leadstream.lanes") == (LANES, 1)


def test_a_run_that_reckons_with_another_number_of_lanes_does_not_begin(empty: str) -> None:
    run(empty, call_centre_tables())
    prepare(empty, LANES, 1)
    with closing(Postgres(empty)) as book:
        runs = Runs(book, lanes=LANES)
        with runs.alone("verify"):
            pass
        relane(empty, 1, [1] * LANES, 7, LANES + 1)
        again = f"there are {LANES + 1} lanes now, and this process began with {LANES}; start it again"
        with pytest.raises(LanesChanged, match=again), runs.alone("verify"):
            pytest.fail("it began")
        with Runs(book, lanes=LANES + 1).alone("verify"):
            pass


def test_a_run_that_begins_while_lanes_are_raised_waits_and_then_knows(empty: str) -> None:
    run(empty, call_centre_tables())
    prepare(empty, LANES, 1)
    begun: list[Exception | None] = []

    def begin() -> None:
        with closing(Postgres(empty)) as book:
            try:
                with Runs(book, lanes=LANES).alone("verify"):
                    begun.append(None)
            except LanesChanged as error:
                begun.append(error)

    thread = threading.Thread(target=begin)
    with psycopg.connect(empty) as raising:
        raising.execute(LANES_NOW)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        until(lambda: rows(empty, waiting) == [(1,)], "it waited")
        raising.execute("DELETE FROM leadstream.lanes WHERE lane = 1")
    thread.join(PATIENCE)
    assert [type(error) for error in begun] == [LanesChanged]
