"""The historical migration."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor, wait

from consumer.progress import LineProgress
from tests.integration.reconciler.world import ReconcilerWorld, refuse
from tests.support.waiting import PATIENCE, until


def test_a_backfill_gives_every_user_a_first_stint_and_no_conversion(world: ReconcilerWorld) -> None:
    world.user(1)
    world.user(2, signature=7)
    world.user(3, signature=7)
    world.claim(30, 3)
    world.requirement(300, 30)
    world.user(4, signature=7)
    world.claim(40, 4, "Cancelled ")
    world.user(5)
    world.sql("UPDATE users SET is_enabled = 0 WHERE id = 5")

    report = world.backfill()

    assert report.outcome == "ok"
    assert report.tally.first_seen == 5
    expected = {1: "unsigned_users", 2: "none", 3: "requirements_outstanding", 4: "none", 5: "none"}
    assert world.queues() == expected
    assert world.scores() == expected
    assert world.conversions() == []
    assert world.pg("SELECT DISTINCT number, opened_reason, source FROM leadstream.stints") == [
        (1, "first_seen", "sweep")
    ]
    assert world.pg("SELECT name, outcome, cursor FROM leadstream.runs") == [("backfill", "ok", 5)]


def test_a_backfill_leaves_judged_leads_alone_and_settles_those_the_stream_could_not_judge(
    world: ReconcilerWorld,
) -> None:
    world.user(1)
    world.user(2)
    world.backfill()
    world.sql("UPDATE users SET current_signature_file_id = 9")
    world.pg("DELETE FROM call_queue")
    world.pg("DELETE FROM leadstream.stints WHERE user_id = 2")
    world.pg("UPDATE leadstream.leads SET stint = 0, queue_type = NULL, judge_after = %s WHERE user_id = 2", 2**63 - 1)

    report = world.backfill()

    assert report.tally.in_step == 1
    assert world.queues() == {1: "unsigned_users", 2: "none"}
    assert world.conversions() == []


def test_a_backfill_leaves_a_user_to_the_stream_whose_creation_is_still_on_its_way(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    world.user(1, ago=7200)
    world.user(2, ago=20)
    ((clock,),) = world.sql("SELECT UNIX_TIMESTAMP()")
    world.pass_lanes(int(clock) * 1_000_000)
    report = world.backfill()
    assert (report.tally.first_seen, report.tally.left_to_recheck) == (1, 1)
    assert world.queues() == {1: "unsigned_users"}
    assert world.pg("SELECT user_id FROM leadstream.rechecks WHERE not_before > now()") == [(2,)]
    world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    world.pass_lanes()
    world.sweep("rechecks")
    assert world.queues() == {1: "unsigned_users", 2: "unsigned_users"}, "the stream has passed it and not brought it"


def test_a_backfill_waits_until_appliers_that_are_there_have_moved_every_lane(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    world.pg("UPDATE leadstream.lanes SET owner = 'applier-1', moved_at = now()")
    report = world.backfill()
    assert report.outcome == "failed"
    assert report.error is not None
    assert "not every lane has moved yet" in report.error
    assert world.queues() == {}
    world.still_seconds = 60.0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.backfill)
        assert not wait([running], 1.0).done
        world.pass_lanes()
        report = running.result(PATIENCE)
    assert (report.outcome, report.tally.first_seen) == ("ok", 1)


def test_a_backfill_that_was_stopped_goes_on_where_it_ended(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user_id in range(1, 11):
        world.user(user_id)
    pages = []

    class StopAfterTwo(LineProgress):
        def start(self, position: int, end: int) -> None:
            pages.append((position, end))

        def advance(self, position: int, users: int) -> None:
            if position >= 6:
                world.stop.set()

    assert world.backfill(progress=StopAfterTwo("backfill")).outcome == "stopped"
    assert len(world.queues()) == 6
    world.stop.clear()
    report = world.backfill(progress=StopAfterTwo("backfill"))
    world.stop.clear()
    assert report.tally.checked in (3, 4)
    assert pages == [(0, 10), (6, 10)]


def test_a_backfill_passes_over_a_lead_that_postgresql_refuses(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    for user_id in range(1, 8):
        world.user(user_id)
    refuse(world, 5)
    report = world.backfill(batch_size=7)
    assert (report.outcome, report.tally.first_seen, report.tally.failed) == ("refused", 6, 1)
    assert world.pg("SELECT user_id FROM leadstream.rechecks") == [(5,)]


def test_the_command_reports_as_json(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    done = world.command("backfill", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["name"], report["outcome"], report["first_seen"]) == ("backfill", "ok", 1)


def test_a_backfill_killed_at_random_and_started_again_is_like_one_that_was_not(world: ReconcilerWorld) -> None:
    world.sql("SET SESSION foreign_key_checks = 0, autocommit = 0")
    users = range(1, 2001)
    for user_id in users:
        world.user(user_id, signature=user_id if user_id % 3 else None)
        world.claim(user_id, user_id)
        world.requirement(user_id, user_id, "approved" if user_id % 2 else None)
    world.sql("COMMIT")
    kills = 0
    while True:
        process = world.start("backfill", BACKFILL_BATCH_SIZE="50")
        before = len(world.queues())
        until(lambda: process.poll() is not None or len(world.queues()) > before, "it had begun", pause=0.01)  # noqa: B023
        if process.poll() is None and kills < 4:  # one that has come to its end leaves nothing to be killed
            time.sleep(random.uniform(0, 0.3) if kills else 0)
            process.kill()
            kills += process.poll() != 0
        elif process.wait() == 0:
            break
    assert kills
    queues = world.queues()
    assert queues == world.scores()
    assert queues == {
        user_id: "unsigned_users" if user_id % 3 == 0 else "none" if user_id % 2 else "requirements_outstanding"
        for user_id in users
    }
    assert world.pg("SELECT count(*) FROM leadstream.stints") == [(len(users),)]
    assert world.pg("SELECT count(*), count(DISTINCT user_id) FROM call_queue") == [
        (len([queue for queue in queues.values() if queue != "none"]),) * 2
    ]
    assert world.conversions() == []
    assert world.verify().tally.drift == {}
