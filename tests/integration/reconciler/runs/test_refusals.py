"""A lead that PostgreSQL refused, set aside by an applier: every recheck tries it again until it is taken."""

from __future__ import annotations

import json
import time
from datetime import UTC

from consumer.applier.applier import apply
from consumer.applier.batches import Batch, LaneBatch
from consumer.lane import lane_of
from consumer.leads.model import NEVER, Change, Lead, Table, UserRow
from consumer.leads.outcome import Outcome
from consumer.store.leads import LeadStore
from reconciler.postgres import microseconds
from reconciler.runs.run_log import Runs
from tests.integration.reconciler.world import LANES, ReconcilerWorld, refuse


def set_aside(world: ReconcilerWorld, *user_ids: int) -> None:
    """Leaves these leads as an applier leaves those that PostgreSQL refused."""
    outcome = Outcome(
        leads={user_id: Lead(user_id, exists=True, version=1, judge_after=NEVER, changed_at=1) for user_id in user_ids},
        rechecks=dict.fromkeys(user_ids, "PostgreSQL refused it with P0001 (user_call_scores)"),
    )
    with LeadStore(world.postgres_url, LANES, shadow=False, source="stream") as store, store.transaction() as tx:
        tx.load(user_ids)
        tx.write(outcome)


def one_change(store: LeadStore, change: Change) -> Batch:
    """The batch that an applier makes of one change."""
    lane = lane_of(change.user_id, LANES)
    stands = store.lanes([lane])[lane]
    numbers = stands.next_seq, stands.next_seq + 1, stands.version, change.version
    user_ids = frozenset([change.user_id])
    return Batch(1, [LaneBatch(lane, stands.epoch, *numbers, {}, [change], user_ids, False, 0, (), {})], 1)


def test_a_refused_lead_is_tried_again_alone_and_judged_once_postgresql_takes_it(world: ReconcilerWorld) -> None:
    world.user(1)
    world.user(2)
    refuse(world, 2)
    set_aside(world, 1, 2)
    world.pass_lanes()
    report = world.sweep("rechecks")
    assert (report.tally.settled, report.tally.failed) == (1, 1)
    assert world.queues() == {1: "unsigned_users"}
    assert world.pg("SELECT user_id, last_error FROM leadstream.rechecks") == [
        (2, "PostgreSQL refused it with P0001 (in refuse)")
    ]

    world.pg("DROP TRIGGER refuse ON user_call_scores")
    world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    world.sweep("rechecks")
    assert world.queues() == {1: "unsigned_users", 2: "unsigned_users"}
    assert world.pg("SELECT user_id FROM user_call_scores ORDER BY user_id") == [(1,), (2,)]
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]


def test_a_score_that_may_not_be_touched_holds_up_neither_a_sweeps_notes_nor_a_repair_of_the_others(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    for user_id in (1, 2, 3):
        world.user(user_id)
    world.backfill()
    world.pg("UPDATE user_call_scores SET last_call_at = now() AT TIME ZONE 'utc', current_queue_type = NULL")
    refuse(world, 2, "UPDATE")
    sweep = world.sweep("unsigned-conversions")
    assert (sweep.outcome, sweep.error) == ("ok", None)
    checked = "SELECT user_id FROM user_call_scores WHERE last_conversion_check_at IS NOT NULL ORDER BY user_id"
    assert world.pg(checked) == [(1,), (3,)]
    report = world.verify(repair=True)
    assert (report.outcome, report.tally.repaired, report.tally.failed) == ("refused", 2, 1)
    assert world.scores() == {1: "unsigned_users", 2: None, 3: "unsigned_users"}


def test_a_run_that_postgresql_refuses_as_a_whole_is_recorded_as_failed(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    world.backfill()
    world.pg("ALTER TABLE leadstream.runs ADD CONSTRAINT none_yet CHECK (name = 'backfill' OR window_from IS NULL)")
    sweep = world.sweep("new-users")
    assert (sweep.outcome, sweep.error) == ("failed", "PostgreSQL refused it with 23514 (runs, none_yet)")
    assert world.pg("SELECT outcome, error FROM leadstream.runs WHERE name = 'new-users'") == [("failed", sweep.error)]


def test_a_conversion_that_postgresql_refused_is_recorded_once_by_its_recheck_at_its_commit(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    now = time.time_ns() // 1_000_000 * 1000  # the call centre keeps milliseconds
    seen, signed = (now - minutes * 60_000_000 for minutes in (30, 10))
    stranger, signer = UserRow(2, None, True), UserRow(2, "77", True)
    with LeadStore(world.postgres_url, LANES, shadow=False, source="stream") as store:
        apply(one_change(store, Change(2, Table.USERS, None, stranger, seen, seen, last=True)), store)
        world.pg(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'no more money' USING ERRCODE = '45000'; END $$"
        )
        world.pg("CREATE TRIGGER refuse BEFORE INSERT ON conversions FOR EACH ROW EXECUTE FUNCTION refuse()")
        apply(one_change(store, Change(2, Table.USERS, stranger, signer, signed, signed, last=True)), store)
    world.user(2, 77)
    world.pass_lanes()
    assert world.pg("SELECT reason FROM leadstream.rechecks") == [("PostgreSQL refused it with 45000 (in refuse)",)]
    assert world.sweep("rechecks").tally.failed == 1
    assert (world.queues(), world.conversions()) == ({2: "unsigned_users"}, [])

    world.pg("DROP TRIGGER refuse ON conversions")
    for _ in range(2):
        world.pg("UPDATE leadstream.rechecks SET not_before = now()")
        world.sweep("rechecks")
    assert (world.queues(), world.scores()) == ({2: "none"}, {2: "none"})
    ((user_id, kind, at),) = world.pg("SELECT user_id, conversion_type, converted_at FROM conversions")
    assert (user_id, kind, microseconds(at.replace(tzinfo=UTC))) == (2, "signature_obtained", signed)
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]


TOO_LONG = (
    "PostgreSQL refused it with 22001 (a value too long for character varying(5): user_call_scores.current_queue_type)"
)


def test_a_backfill_whose_leads_are_refused_reports_how_many_and_why_and_fails(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user_id in (1, 2, 3):
        world.user(user_id)
    world.pg("ALTER TABLE user_call_scores ALTER COLUMN current_queue_type TYPE varchar(5)")
    done = world.command("backfill")
    assert done.returncode == 1
    shown = " ".join(done.stdout.split())
    assert f"backfill: 3 of 3 leads were refused: {TOO_LONG} (3)" in shown
    ((outcome, counts, error),) = world.pg("SELECT outcome, counts, error FROM leadstream.runs")
    assert (outcome, counts["failed"], counts["refused"]) == ("refused", 3, {TOO_LONG: 3})
    assert error == f"3 of 3 leads were refused: {TOO_LONG} (3)"
    assert world.pg("SELECT DISTINCT last_error FROM leadstream.rechecks") == [(TOO_LONG,)]

    done = world.command("backfill", "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, report["outcome"], report["failed"], report["refused"]) == (
        1, "refused", 3, {TOO_LONG: 3},
    ), "the next one begins at the first user again"  # fmt: skip

    world.pg("ALTER TABLE user_call_scores ALTER COLUMN current_queue_type TYPE text")
    done = world.command("backfill", "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, report["outcome"], report["first_seen"], report["refused"]) == (0, "ok", 3, {})
    assert world.scores() == dict.fromkeys((1, 2, 3), "unsigned_users")


def test_a_sweep_and_a_repair_whose_leads_are_refused_fail_and_name_each_reason(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user_id in (1, 2):
        world.user(user_id, ago=60)
    world.pass_lanes()
    refuse(world, 2)
    done = world.command("run", "new-users", "--json")
    (report,) = json.loads(done.stdout)
    reason = "PostgreSQL refused it with P0001 (in refuse)"
    assert (done.returncode, report["outcome"], report["refused"]) == (1, "refused", {reason: 1})
    assert report["error"] == f"1 of {report['checked']} leads were refused: {reason} (1)"

    world.pg("DROP TRIGGER refuse ON user_call_scores")
    world.pg("DROP FUNCTION refuse")
    world.pg("UPDATE user_call_scores SET current_queue_type = NULL")
    refuse(world, 1, "UPDATE")
    done = world.command("verify", "--repair", "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, report["outcome"], report["refused"]) == (1, "refused", {reason: 1})


def test_a_sweep_that_came_to_its_end_with_refusals_counts_as_seen_to(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=60)
    refuse(world, 1)
    assert world.sweep("new-users").outcome == "refused"
    assert Runs(world.book()).looked_at_until("new-users") is not None
