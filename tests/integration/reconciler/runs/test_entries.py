"""The call centre's entries: one pending for whoever is to be called, none for others; what agents took is theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import psycopg
import pytest

from consumer.leads.model import UserRow
from reconciler.runs.sweeps import SweepScope
from tests.integration.call_centre import everything, guard, unguard
from tests.integration.reconciler.played import Played
from tests.integration.reconciler.world import ReconcilerWorld

ENTRY = (
    "INSERT INTO call_queue (id, user_id, queue_type, status, updated_at) VALUES (gen_random_uuid(), %s, %s, %s, now())"
)
UNSIGNED, OUTSTANDING = "unsigned_users", "requirements_outstanding"


def now() -> int:
    return time.time_ns() // 1000


def entries(world: ReconcilerWorld) -> list[tuple[object, ...]]:
    return world.pg("SELECT user_id, queue_type, status FROM call_queue ORDER BY user_id, queue_type, status")


@pytest.fixture
def world(mysql_world: ReconcilerWorld) -> ReconcilerWorld:
    """Customers 1 and 3 have not signed, 2 has; everybody is known, and the stream has passed that."""
    for user_id in (1, 2, 3):
        mysql_world.user(user_id, signature=5 if user_id == 2 else None)
    mysql_world.backfill()
    mysql_world.age_everything(60)
    mysql_world.pass_lanes()
    return mysql_world


@pytest.fixture
def stream(world: ReconcilerWorld) -> Iterator[Played]:
    with closing(Played(world)) as played:
        yield played


RIGHT = [(1, UNSIGNED, "pending"), (3, UNSIGNED, "pending")]


def assert_repaired(world: ReconcilerWorld, kinds: dict[str, int], expected: Sequence[tuple[object, ...]]) -> None:
    """A verify reports and writes nothing, a repair writes, and there is nothing left to do."""
    before = entries(world)
    report = world.verify()
    assert (report.outcome, dict(report.tally.drift), entries(world)) == ("drift", kinds, before)
    repaired = world.verify(repair=True)
    assert (repaired.outcome, dict(repaired.tally.drift)) == ("ok", kinds)
    assert repaired.tally.entries_repaired == 1
    assert entries(world) == list(expected)
    assert world.verify().tally.drift == {}


def test_what_is_right_is_left_alone(world: ReconcilerWorld) -> None:
    before = everything(world.pg)
    assert world.verify(repair=True).tally.drift == {}
    assert everything(world.pg) == before


def test_a_missing_entry_is_added(world: ReconcilerWorld) -> None:
    world.pg("DELETE FROM call_queue WHERE user_id = 3")
    assert_repaired(world, {"entry_missing": 1}, RIGHT)
    assert world.pg("SELECT queue_reason FROM call_queue WHERE user_id = 3") == [("first_seen",)]


def test_a_pending_entry_of_a_queue_the_customer_is_not_in_is_closed(world: ReconcilerWorld) -> None:
    world.pg(ENTRY, 3, OUTSTANDING, "pending")
    world.pg(ENTRY, 3, "callbacks", "pending")
    expected = [RIGHT[0], (3, "callbacks", "pending"), (3, OUTSTANDING, "closed"), RIGHT[1]]
    assert_repaired(world, {"entry_stale": 1}, expected)


def test_a_pending_entry_of_a_customer_in_no_queue_is_closed(world: ReconcilerWorld) -> None:
    world.pg(ENTRY, 2, UNSIGNED, "pending")
    assert_repaired(world, {"entry_stale": 1}, [RIGHT[0], (2, UNSIGNED, "closed"), RIGHT[1]])


def test_of_double_entries_the_first_one_stays(world: ReconcilerWorld) -> None:
    ((first,),) = world.pg("SELECT id FROM call_queue WHERE user_id = 3")
    world.pg(ENTRY, 3, UNSIGNED, "pending")
    world.pg(ENTRY, 3, UNSIGNED, "pending")
    closed = (3, UNSIGNED, "closed")
    assert_repaired(world, {"entry_double": 1}, [RIGHT[0], closed, closed, RIGHT[1]])
    assert world.pg("SELECT id FROM call_queue WHERE user_id = 3 AND status = 'pending'") == [(first,)]


def test_where_a_customer_may_have_one_pending_entry_the_wrong_one_is_closed_before_the_right_one_is_added(
    world: ReconcilerWorld,
) -> None:
    world.pg("CREATE UNIQUE INDEX one_pending ON call_queue (user_id) WHERE status = 'pending'")
    world.pg("UPDATE call_queue SET queue_type = %s WHERE user_id = 3", OUTSTANDING)
    expected = [RIGHT[0], (3, OUTSTANDING, "closed"), RIGHT[1]]
    assert_repaired(world, {"entry_missing": 1, "entry_stale": 1}, expected)


@pytest.mark.parametrize("status", ["assigned", "in_progress", "completed", "closed", "no_answer"])
def test_an_entry_that_a_dialler_has_taken_is_not_missing(world: ReconcilerWorld, status: str) -> None:
    world.pg("UPDATE call_queue SET status = %s WHERE user_id = 3", status)
    before = everything(world.pg)
    assert world.verify(repair=True).tally.drift == {}
    assert everything(world.pg) == before


def test_an_entry_that_somebody_else_made_during_the_stay_and_took_is_not_missing(world: ReconcilerWorld) -> None:
    world.pg("DELETE FROM call_queue WHERE user_id = 3")
    world.pg(ENTRY, 3, UNSIGNED, "completed")
    assert world.verify(repair=True).tally.drift == {}


def test_an_entry_that_a_dialler_deleted_is_made_again(world: ReconcilerWorld) -> None:
    world.pg("UPDATE call_queue SET status = 'assigned' WHERE user_id = 3")
    assert world.verify().tally.drift == {}
    world.pg("DELETE FROM call_queue WHERE user_id = 3")
    assert_repaired(world, {"entry_missing": 1}, RIGHT)


def test_an_entry_taken_in_an_earlier_stay_does_not_count_for_this_one(world: ReconcilerWorld, stream: Played) -> None:
    world.pg("UPDATE call_queue SET status = 'completed' WHERE user_id = 3")
    at = now() - 600_000_000  # the stream is late: entries are made long after the stays that they are for began
    world.pass_lanes(at - 1)
    stream.change(3, UserRow(3, None, True), UserRow(3, "7", True), at)
    stream.change(3, UserRow(3, "7", True), UserRow(3, None, True), at + 1_000_000)
    both = [(3, UNSIGNED, "completed"), (3, UNSIGNED, "pending")]
    assert entries(world)[1:] == both
    world.pg("DELETE FROM call_queue WHERE user_id = 3 AND status = 'pending'")
    world.pass_lanes()
    assert world.verify(repair=True).tally.drift == {"entry_missing": 1}
    assert entries(world)[1:] == both


def test_whoever_must_not_be_called_has_none(world: ReconcilerWorld) -> None:
    world.pg(
        "UPDATE user_call_scores SET is_active = false, last_outcome = 'do_not_contact', current_queue_type = 'none'"
        " WHERE user_id = 3"
    )
    assert_repaired(world, {"entry_stale": 1}, [RIGHT[0], (3, UNSIGNED, "closed")])
    world.pg("DELETE FROM call_queue WHERE user_id = 3")
    assert world.verify(repair=True).tally.drift == {}


def test_whoever_may_be_called_again_has_one_again(world: ReconcilerWorld) -> None:
    never = "UPDATE user_call_scores SET last_outcome = %s WHERE user_id = 3"
    world.pg(never, "do_not_contact")
    world.verify(repair=True)
    assert entries(world)[1:] == [(3, UNSIGNED, "closed")]
    world.pg(never, "busy")
    world.verify(repair=True)
    assert entries(world)[1:] == [(3, UNSIGNED, "closed"), (3, UNSIGNED, "pending")]
    assert world.scores()[3] == UNSIGNED


def test_a_queue_put_right_makes_no_entry_beside_one_that_an_agent_has(world: ReconcilerWorld) -> None:
    world.pg("UPDATE call_queue SET status = 'assigned' WHERE user_id = 3")
    world.pg("UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 3")
    assert world.verify(repair=True).tally.drift == {"call_centre_queue": 1}
    assert entries(world) == [RIGHT[0], (3, UNSIGNED, "assigned")]


class TestShown:
    """Customer 3 signed while the stream stands still: agents see them in no queue already."""

    @pytest.fixture
    def world(self, world: ReconcilerWorld) -> ReconcilerWorld:
        world.pass_lanes(now() - 120_000_000)
        world.sql("UPDATE users SET current_signature_file_id = 7 WHERE id = 3")
        world.sweep("unsigned-conversions", SweepScope(everyone=True))
        assert world.queues()[3] == UNSIGNED
        assert world.scores()[3] == "none"
        assert entries(world) == [RIGHT[0], (3, UNSIGNED, "closed")]
        return world

    def test_what_agents_see_counts(self, world: ReconcilerWorld) -> None:
        assert world.verify(repair=True).tally.drift == {}
        assert entries(world) == [RIGHT[0], (3, UNSIGNED, "closed")]
        world.pg("UPDATE call_queue SET status = 'pending' WHERE user_id = 3")
        assert world.verify().tally.drift["entry_stale"] == 1
        world.verify(repair=True)
        assert entries(world) == [RIGHT[0], (3, UNSIGNED, "closed")]

    def test_a_queue_shown_is_queued_once_however_often_it_is_shown(
        self, world: ReconcilerWorld, stream: Played
    ) -> None:
        world.sql("INSERT INTO claims (id, user_id, status) VALUES (30, 3, 'open')")
        world.requirement(300, 30)
        everyone = SweepScope(everyone=True)
        world.sweep("unsigned-conversions", everyone)
        mine = [(3, OUTSTANDING, "pending"), (3, UNSIGNED, "closed")]
        assert entries(world)[1:] == mine
        world.pg("UPDATE call_queue SET status = 'assigned' WHERE user_id = 3 AND status = 'pending'")
        world.sweep("unsigned-conversions", everyone)
        assert world.verify(repair=True).tally.drift == {}
        assert entries(world)[1:] == [(3, OUTSTANDING, "assigned"), (3, UNSIGNED, "closed")]
        world.pg("DELETE FROM call_queue WHERE user_id = 3 AND status = 'assigned'")
        world.sweep("unsigned-conversions", everyone)
        assert entries(world)[1:] == mine


def test_a_sweep_puts_its_own_users_right(world: ReconcilerWorld) -> None:
    world.user(4, ago=60)
    world.sweep("new-users")
    world.pg("DELETE FROM call_queue")
    assert world.sweep("new-users", dry_run=True).tally.drift == {"entry_missing": 1}
    assert entries(world) == []
    report = world.sweep("new-users")
    assert (report.outcome, report.tally.drift, report.tally.entries_repaired) == ("ok", {"entry_missing": 1}, 1)
    assert entries(world) == [(4, UNSIGNED, "pending")]
    world.sweep("unsigned-conversions", SweepScope(everyone=True))
    assert entries(world) == [*RIGHT, (4, UNSIGNED, "pending")]


def test_a_sample_looks_at_entries_too(world: ReconcilerWorld) -> None:
    world.pg("DELETE FROM call_queue")
    assert world.verify(sample=100).tally.drift == {"entry_missing": 2}, "so many looks at random places find all three"


def test_shadow_mode_writes_none_and_a_cut_over_puts_them_right(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.shadow = True
    for user_id in (1, 2, 3):
        world.user(user_id, signature=5 if user_id == 2 else None)
    score = (
        "INSERT INTO user_call_scores (id, user_id, current_queue_type, is_active, updated_at)"
        " VALUES (gen_random_uuid(), %s, %s, %s, now())"
    )
    for user_id in (1, 2, 3):
        world.pg(score, user_id, "none" if user_id == 2 else UNSIGNED, user_id != 2)
    world.pg(ENTRY, 2, UNSIGNED, "pending")
    world.pg(ENTRY, 3, UNSIGNED, "pending")
    world.pg(ENTRY, 3, OUTSTANDING, "pending")
    world.backfill()
    guard(world.pg)
    before = entries(world)
    assert world.verify(repair=True).tally.drift == {}
    world.sweep("new-users")
    assert entries(world) == before
    unguard(world.pg)
    world.shadow = False
    world.pass_lanes()
    assert world.verify(repair=True).tally.drift == {"entry_missing": 1, "entry_stale": 2}
    assert entries(world) == [
        (1, UNSIGNED, "pending"), (2, UNSIGNED, "closed"), (3, OUTSTANDING, "closed"), (3, UNSIGNED, "pending"),
    ]  # fmt: skip


def test_an_entry_that_somebody_holds_is_left_for_another_time(world: ReconcilerWorld) -> None:
    world.pg("DELETE FROM call_queue WHERE user_id = 1")
    world.pg(ENTRY, 3, UNSIGNED, "pending")
    with psycopg.connect(world.postgres_url) as agent:
        agent.execute("SELECT FROM call_queue WHERE user_id = 3 FOR UPDATE")
        report = world.verify(repair=True)
    assert (report.tally.drift, report.tally.entries_repaired) == ({"entry_missing": 1}, 1)
    assert report.tally.left_to_recheck == 1, "so the command ends with 1, and this verify answers not for everybody"
    report = world.verify(repair=True)
    assert (report.tally.drift, report.tally.left_to_recheck) == ({"entry_double": 1}, 0)
