"""The four sweeps and the rechecks, against what a stream did or failed to do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from consumer.leads.model import NEVER
from consumer.mysql.live_read import LiveRead
from consumer.store.leads import LeadStore, Recheck
from reconciler.runs.run_log import AlreadyRunning, Runs
from reconciler.runs.sweeps import SweepScope
from tests.integration.reconciler.world import ReconcilerWorld, refuse
from tests.support.waiting import until

EVERYONE = SweepScope(everyone=True)


def called(world: ReconcilerWorld, user_id: int, hours_ago: int) -> None:
    world.pg(
        "UPDATE user_call_scores SET last_call_at = (now() AT TIME ZONE 'utc') - make_interval(hours => %s),"
        " current_score = 12, total_attempts = 3 WHERE user_id = %s",
        hours_ago,
        user_id,
    )


def test_new_users_of_the_last_hour_are_found_when_the_stream_stands_still(world: ReconcilerWorld) -> None:
    world.user(1, ago=7200)
    world.user(2, ago=600)
    world.user(3, signature=5, ago=60)
    report = world.sweep("new-users")
    assert report.outcome == "ok"
    assert world.queues() == {2: "unsigned_users", 3: "none"}
    assert report.tally.drift == {"unknown": 2}
    assert world.conversions() == []


def test_new_users_are_found_by_an_index_as_well_as_by_bisecting_the_primary_key(world: ReconcilerWorld) -> None:
    for user_id in range(1, 200):
        world.user(user_id, ago=100_000 - user_id)
    world.user(500, ago=600)
    first = world.sweep("new-users")
    assert first.tally.checked == 1
    world.sql("CREATE INDEX users_created ON users (created_at)")
    second = world.sweep("new-users")
    assert second.tally.checked == 1
    assert second.tally.in_step == 1
    assert second.queries < first.queries


def test_a_user_the_stream_brings_meanwhile_is_no_drift(world: ReconcilerWorld) -> None:
    world.user(1, ago=600)
    world.pass_lanes(time.time_ns() // 1000 - 30_000_000)
    world.still_seconds = 30.0
    world.patience_seconds = 30.0

    def stream() -> None:
        time.sleep(0.5)
        with world.beside() as other:
            other.backfill()
        world.pass_lanes()

    thread = threading.Thread(target=stream)
    thread.start()
    report = world.sweep("new-users")
    thread.join()
    assert (report.tally.brought_by_stream, report.tally.repaired) == (1, 0)


def test_new_requirements_bring_their_users_into_the_queue(world: ReconcilerWorld) -> None:
    world.user(1, signature=5)
    world.claim(10, 1)
    world.backfill()
    world.age_everything()
    world.requirement(100, 10, ago=60)
    report = world.sweep("new-requirements")
    assert world.queues() == {1: "requirements_outstanding"}
    assert report.tally.drift == {"requirement_missing": 1}
    assert world.scores() == {1: "requirements_outstanding"}


def test_a_signature_the_stream_missed_becomes_one_conversion(world: ReconcilerWorld) -> None:
    world.user(1)
    world.user(2)
    world.backfill()
    world.age_everything()
    called(world, 1, 2)
    called(world, 2, 72)
    world.sql("UPDATE users SET current_signature_file_id = 44")
    report = world.sweep("unsigned-conversions")
    assert world.conversions() == [(1, "signature_obtained")]
    assert report.tally.conversions == {"signature_obtained": 1}
    assert world.pg("SELECT final_score, total_call_attempts FROM conversions") == [(12, 3)]
    assert world.sweep("unsigned-conversions").tally.repaired == 0
    assert world.pg("SELECT user_id FROM user_call_scores WHERE last_conversion_check_at IS NOT NULL") == [(1,)]

    world.sweep("unsigned-conversions", EVERYONE)
    assert world.conversions() == [(1, "signature_obtained"), (2, "signature_obtained")]


def test_whose_row_an_agent_held_is_seen_by_the_next_sweep_where_sweeps_are_alone(mysql_world: ReconcilerWorld) -> None:
    """No lane has ever moved, so no applier shows what is written when the agent is done."""
    world = mysql_world
    world.user(1)
    world.backfill()
    world.age_everything(60)
    world.sql("UPDATE users SET current_signature_file_id = 44")
    with psycopg.connect(world.postgres_url) as agent:
        agent.execute("SELECT FROM user_call_scores FOR UPDATE")
        assert world.sweep("unsigned-conversions", EVERYONE).tally.repaired == 1
        assert (world.conversions(), world.scores()) == ([(1, "signature_obtained")], {1: "unsigned_users"})
        world.sweep("new-users")
        assert world.scores() == {1: "unsigned_users"}, "it is held still"
    world.sweep("new-users")
    assert world.scores() == {1: "none"}
    assert world.pg("SELECT status FROM call_queue") == [("closed",)]
    assert world.pg("SELECT * FROM leadstream.shown") == []


def test_the_open_stint_decides_and_not_what_others_wrote_into_the_call_centre(world: ReconcilerWorld) -> None:
    world.user(1)
    world.backfill()
    world.age_everything()
    called(world, 1, 2)
    world.pg("UPDATE user_call_scores SET current_queue_type = NULL")
    world.sql("UPDATE users SET current_signature_file_id = 44")
    world.sweep("unsigned-conversions")
    assert world.conversions() == [(1, "signature_obtained")]


def test_the_last_document_becomes_a_conversion_dated_by_the_read_that_shows_it(world: ReconcilerWorld) -> None:
    world.user(1, signature=5)
    world.claim(10, 1)
    world.requirement(100, 10)
    world.requirement(101, 10)
    world.backfill()
    world.age_everything()
    called(world, 1, 1)
    began = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    world.sql("UPDATE claim_requirements SET status = 'approved', updated_at = %s", began - timedelta(minutes=5))
    world.sweep("requirements-conversions")
    assert world.conversions() == [(1, "requirements_completed")]
    ((converted_at,),) = world.pg("SELECT converted_at FROM conversions")
    assert began <= converted_at <= datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=1)


def test_a_dry_run_finds_drift_and_writes_nothing(world: ReconcilerWorld) -> None:
    world.user(1)
    world.backfill()
    world.age_everything()
    called(world, 1, 1)
    world.sql("UPDATE users SET current_signature_file_id = 44")
    before = world.pg("SELECT (SELECT count(*) FROM leadstream.runs), sum(read_floor) FROM leadstream.leads")
    report = world.sweep("unsigned-conversions", dry_run=True)
    assert report.outcome == "dry-run"
    assert report.tally.drift == {"signature": 1}
    assert world.queues() == {1: "unsigned_users"}
    assert world.pg("SELECT (SELECT count(*) FROM leadstream.runs), sum(read_floor) FROM leadstream.leads") == before
    assert world.pg("SELECT user_id FROM user_call_scores WHERE last_conversion_check_at IS NOT NULL") == []


def test_in_shadow_mode_our_tables_are_repaired_and_the_call_centres_left_alone(world: ReconcilerWorld) -> None:
    world.user(1)
    world.backfill()
    world.age_everything()
    called(world, 1, 1)
    world.sql("UPDATE users SET current_signature_file_id = 44")
    world.shadow = True
    world.sweep("unsigned-conversions")
    assert world.queues() == {1: "none"}
    assert world.pg("SELECT conversion_type FROM leadstream.stints WHERE number = 1") == [("signature_obtained",)]
    assert world.conversions() == []
    assert world.scores() == {1: "unsigned_users"}
    assert world.pg("SELECT user_id FROM user_call_scores WHERE last_conversion_check_at IS NOT NULL") == []


def test_a_dry_run_looks_at_every_recheck_that_is_due_and_strikes_none_off(
    mysql_world: ReconcilerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = mysql_world
    monkeypatch.setattr("reconciler.runs.repair.RECHECKS_AT_ONCE", 2)
    world.pg("INSERT INTO leadstream.rechecks (user_id, reason) SELECT number, 'met' FROM generate_series(1, 5) number")
    assert world.sweep("rechecks", dry_run=True).tally.rechecks == 5
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(5,)]
    assert world.sweep("rechecks").tally.rechecks == 5
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]


def test_however_many_rechecks_are_due_so_many_are_held_at_once(
    mysql_world: ReconcilerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, asked = mysql_world, []
    monkeypatch.setattr("reconciler.runs.repair.RECHECKS_AT_ONCE", 2)
    due = LeadStore.due_rechecks

    def counted(store: LeadStore, limit: int) -> list[Recheck]:
        asked.append(limit)
        return due(store, limit)

    monkeypatch.setattr(LeadStore, "due_rechecks", counted)
    world.pg("INSERT INTO leadstream.rechecks (user_id, reason) SELECT number, 'met' FROM generate_series(1, 9) number")
    assert world.sweep("rechecks").tally.rechecks == 9
    assert max(asked) == 2


def test_drift_behind_a_lagging_lane_is_left_to_a_recheck(world: ReconcilerWorld) -> None:
    world.user(1)
    world.backfill()
    world.age_everything()
    called(world, 1, 1)
    world.sql("UPDATE users SET current_signature_file_id = 44")
    done = threading.Event()
    world.pass_lanes(1)

    def stream() -> None:
        version = 1
        while not done.wait(0.1):
            version += 1
            world.pass_lanes(version)

    thread = threading.Thread(target=stream)
    thread.start()
    report = world.sweep("unsigned-conversions")
    done.set()
    thread.join()
    assert (report.tally.left_to_recheck, report.tally.repaired, report.tally.shown) == (1, 0, 1)
    assert report.tally.conversions_waiting == {"signature_obtained": 1}
    assert world.conversions() == []
    assert world.queues() == {1: "unsigned_users"}, "what happened is known from the stream only"
    assert world.pg("SELECT is_active FROM user_call_scores") == [(False,)], "nobody is to call who has signed"
    world.pass_lanes()  # and the stream has not brought it
    world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    again = world.sweep("rechecks")
    assert (again.tally.rechecks, again.tally.repaired) == (1, 1)
    assert world.conversions() == [(1, "signature_obtained")]
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]


def test_a_row_that_changes_between_the_reads_is_left_to_the_stream(world: ReconcilerWorld) -> None:
    world.user(1)
    world.backfill()
    world.age_everything()
    world.sql("UPDATE users SET current_signature_file_id = 99")
    repairer = world.repairer()
    read_users, signatures = repairer.replica.read_users, iter(range(100, 200))

    def read_and_change(user_ids: Iterable[int]) -> LiveRead:
        world.sql("UPDATE users SET current_signature_file_id = %s", next(signatures))
        return read_users(user_ids)

    repairer.replica.read_users = read_and_change  # type: ignore[method-assign]
    repairer.check([1])
    repairer.resolve()
    assert (repairer.tally.left_to_recheck, repairer.tally.repaired) == (1, 0)


def test_a_row_that_changed_there_and_back_between_the_reads_is_left_to_the_stream(world: ReconcilerWorld) -> None:
    world.user(1)
    world.backfill()
    world.age_everything()
    repairer = world.repairer()
    repairer.check([1])
    world.sql("UPDATE users SET current_signature_file_id = 99")
    repairer.check([1])
    world.sql("UPDATE users SET current_signature_file_id = NULL")
    now = repairer.replica.clock()
    world.pg("UPDATE leadstream.leads SET signature = '98', version = %s, queue_type = 'none'", now)
    world.sql("UPDATE users SET current_signature_file_id = 99")
    repairer.resolve()
    assert (repairer.tally.left_to_recheck, repairer.tally.repaired) == (1, 0)
    assert world.pg("SELECT judge_after FROM leadstream.leads") == [(None,)]


def test_every_run_works_off_leads_that_the_stream_could_not_judge(world: ReconcilerWorld) -> None:
    world.user(1, signature=5)
    world.claim(10, 1)
    world.requirement(100, 10)
    world.pg(
        "INSERT INTO leadstream.leads (user_id, lane, present, enabled, version, read_floor, judge_after, stint)"
        " VALUES (1, 0, true, true, 1, 0, %s, 0), (77, 0, true, true, 1, 0, %s, 0)",
        NEVER,
        NEVER,
    )
    world.pg("INSERT INTO leadstream.rechecks (user_id, reason) VALUES (1, 'met'), (77, 'met'), (78, 'gone')")
    report = world.sweep("new-requirements")
    assert report.tally.rechecks == 3
    assert report.tally.settled == 2
    assert report.tally.drift == {}
    assert world.queues() == {1: "requirements_outstanding", 77: "none"}
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]


def test_a_window_begins_where_the_last_successful_run_ended(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=5 * 3600)
    world.sweep("new-users")
    assert world.queues() == {}
    world.pg(
        "UPDATE leadstream.runs SET window_from = window_from - interval '6 hours',"
        " window_to = window_to - interval '6 hours'"
    )
    world.sweep("new-users", SweepScope(hours_back=1))
    assert world.queues() == {}
    world.sweep("new-users")
    assert world.queues() == {1: "unsigned_users"}


def test_the_same_sweep_never_runs_twice_at_once(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    book = world.book()
    runs = Runs(book)
    with runs.alone("new-users"):
        runs.start("new-users")
        with pytest.raises(AlreadyRunning, match=r"new-users is running already since .* UTC"), (
            Runs(world.book()).alone("new-users")
        ):  # fmt: skip
            pass
        done = world.command("run", "new-users")
        assert done.returncode == 1
        assert "is running already" in done.stderr
    assert world.sweep("new-users").outcome == "ok"
    assert world.pg("SELECT outcome FROM leadstream.runs ORDER BY id") == [("aborted",), ("ok",)]


def test_a_sweep_that_somebody_starts_waits_a_while_for_one_that_runs(mysql_world: ReconcilerWorld) -> None:
    """The schedule's own would be in the way of every command that a person pastes."""
    world = mysql_world
    with Runs(world.book()).alone("new-users"):
        process = world.start("run", "new-users")
        process.wait_for("run_waiting")
    process.succeed()


def test_all_sweeps_report_as_json_and_only_those_switched_on_run(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=60)
    done = world.command("run", "all", "--json", SWEEPS="new-users, unsigned-conversions")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [report["name"] for report in reports] == ["new-users", "unsigned-conversions"]
    assert reports[0]["first_seen"] == 1
    table = world.command("run", "all")
    assert table.returncode == 0, table.stderr
    assert "requirements-conversions" in table.stdout
    wrong = world.command("run", "nonsense")
    assert wrong.returncode == 2
    assert world.command("run", "all", SWEEPS="new-user").returncode == 2
    assert "nothing was done" in world.command("run", "all", SMART_DISCOVERY_ENABLED="false").stdout


def test_a_repeating_run_ends_cleanly_on_sigterm(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    process = world.start("run", "all", "--interval", "60")
    until(lambda: world.pg("SELECT count(*) FROM leadstream.runs WHERE outcome = 'ok'") == [(4,)], "all had run")
    assert process.stop() == 0


def test_a_lead_that_postgresql_refuses_does_not_hold_up_the_others(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user_id in range(1, 8):
        world.user(user_id, ago=60)
    refuse(world, 5)
    report = world.sweep("new-users")
    assert (report.outcome, report.tally.repaired, report.tally.failed) == ("refused", 6, 1)
    assert set(world.queues()) == {1, 2, 3, 4, 6, 7}
    assert world.pg("SELECT user_id, attempts, last_error FROM leadstream.rechecks") == [
        (5, 1, "PostgreSQL refused it with P0001 (in refuse)")
    ]
    world.pg("DROP TRIGGER refuse ON user_call_scores")
    world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    assert world.sweep("rechecks").tally.repaired == 1
    assert len(world.queues()) == 7


def test_a_run_after_postgresql_was_restarted_is_like_any_other(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1, ago=60)
    process = world.start("run", "new-users", "--interval", "1")

    def runs() -> int:
        ((count,),) = world.pg("SELECT count(*) FROM leadstream.runs WHERE outcome = 'ok'")
        return int(count)

    until(runs, "it had run")
    world.pg(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    count = runs() + 2
    until(lambda: runs() >= count, "it had run twice more")
    assert process.stop() == 0
