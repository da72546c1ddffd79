"""Every user compared."""

from __future__ import annotations

import json

from consumer.leads.model import NEVER
from consumer.leads.rule_file import RuleFile
from reconciler.monitor.servers import LAST_RUNS, RUN_STATES
from reconciler.runs.run_log import Runs
from tests.integration.reconciler.world import ReconcilerWorld, adopt_only
from tests.support.company_tables import key


def company(world: ReconcilerWorld, users: int = 23) -> None:
    for user_id in range(1, users + 1):
        world.user(user_id, signature=None if user_id % 3 else 1000 + user_id)
        world.claim(100 + user_id, user_id, ("open", "cancelled", None, "Größe")[user_id % 4])
        world.requirement(1000 + user_id, 100 + user_id, ("pending", "approved", None)[user_id % 3])
    world.sql("UPDATE users SET is_enabled = 0 WHERE id = 7")
    world.backfill()
    world.age_everything()


def test_a_company_in_step_verifies_without_reading_a_row(world: ReconcilerWorld) -> None:
    company(world)
    report = world.verify()
    assert report.outcome == "ok"
    assert (report.tally.checked, report.tally.in_step) == (23, 23)
    assert report.tally.drift == {}
    assert report.queries <= 2 * 6 + 6 + 10, "ten are about how ids compare, which a session asks once"


def test_every_kind_of_drift_is_reported_and_repaired_only_on_request(world: ReconcilerWorld) -> None:
    company(world)
    world.sql("UPDATE users SET current_signature_file_id = 5 WHERE id = 4")
    world.sql("DELETE FROM users WHERE id = 2")
    world.sql("UPDATE claims SET status = 'cancelled' WHERE id = 106")
    world.sql("DELETE FROM claim_requirements WHERE id = %s", key(1010))
    world.sql("UPDATE users SET is_enabled = 0 WHERE id = 16")
    world.user(99, ago=10)
    world.pg("UPDATE user_call_scores SET current_queue_type = 'none' WHERE user_id = 20")
    world.pg("UPDATE leadstream.leads SET queue_type = 'none' WHERE user_id = 22")
    world.pg("UPDATE user_call_scores SET current_queue_type = 'none', is_active = false WHERE user_id = 22")
    kinds = {
        "signature": 1, "user_gone": 1, "claim_status": 1, "requirement_gone": 1, "enabled": 1, "unknown": 1,
        "call_centre_queue": 1, "queue": 1, "entry_stale": 1,
    }  # fmt: skip

    report = world.verify()
    assert report.outcome == "drift"
    assert report.tally.drift == kinds
    assert world.conversions() == []
    assert 99 not in world.queues()

    repaired = world.verify(repair=True)
    assert repaired.outcome == "ok"
    assert repaired.tally.repaired == 8
    assert world.conversions() == [(4, "signature_obtained")]
    assert world.queues()[2] == "none"
    assert world.scores()[20] == "unsigned_users"
    world.age_everything()
    again = world.verify()
    assert (again.outcome, again.tally.drift) == ("ok", {})


def test_leads_left_to_a_live_read_are_settled_by_a_repair(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world, 5)
    world.pg("UPDATE leadstream.leads SET judge_after = %s WHERE user_id = 4", NEVER)
    assert world.verify().tally.settled == 1
    world.verify(repair=True)
    assert world.pg("SELECT count(*) FROM leadstream.leads WHERE judge_after = %s", NEVER) == [(0,)]


def test_rules_in_force_that_nobody_was_brought_to_are_drift_until_they_are_applied(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    world.user(1)
    world.claim(10, 1, "Withdrawn ")
    world.backfill()
    world.age_everything()
    adopt_only(world, RuleFile(closed=("withdrawn",)))
    assert world.verify().tally.drift == {"queue": 1}
    world.verify(repair=True)
    assert world.queues() == {1: "none"}


def test_a_text_that_postgresql_cannot_hold_is_in_step(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    world.claim(10, 1, "a\0b")
    world.backfill()
    assert world.verify().tally.in_step == 1


def test_a_sample_looks_at_no_more_than_it_was_asked_for(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world)
    report = world.verify(sample=5)
    assert report.tally.checked == 5
    assert world.verify(sample=100).tally.checked == 23


def test_a_sample_larger_than_the_company_ends_when_looks_bring_nobody_new(mysql_world: ReconcilerWorld) -> None:
    company(mysql_world)
    report = mysql_world.verify(sample=3000)
    assert report.tally.checked == 23
    assert report.queries < 3000


def test_the_command_tells_scripts_by_its_exit_code(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world, 4)
    clean = world.command("verify")
    assert clean.returncode == 0, clean.stderr
    world.sql("UPDATE users SET current_signature_file_id = 5 WHERE id = 4")
    found = world.command("verify", "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)[0]["drift"] == {"signature": 1}
    assert world.command("verify", "--repair").returncode == 0
    assert world.conversions() == [(4, "signature_obtained")]


def test_in_shadow_mode_the_call_centres_table_is_not_compared(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world, 4)
    world.pg("UPDATE user_call_scores SET current_queue_type = NULL")
    world.shadow = True
    assert world.verify(repair=True).tally.drift == {}
    world.shadow = False
    assert world.verify().tally.drift == {"call_centre_queue": 4}


def test_only_a_verify_that_answers_for_everybody_heals_what_was_found_before_it(mysql_world: ReconcilerWorld) -> None:
    company(mysql_world)
    book = mysql_world.book()
    Runs(book).start("verify").finish("failed", {}, 0, "MySQL refused us")

    def told() -> tuple[str, str, bool]:
        newest = {record.name: record.outcome for record in Runs(book).newest()}
        with book.session() as connection:
            states = {name: ended for name, ended, *_ in connection.execute(RUN_STATES, [["verify"]])}
            succeeded = connection.execute(LAST_RUNS, [["verify"]]).fetchone() is not None
        return newest["verify"], states["verify"], succeeded

    assert mysql_world.verify(sample=5).outcome == "ok"
    assert told() == ("failed", "failed", False)
    Runs(book).start("verify").finish("stopped", {}, 0)
    assert told() == ("failed", "failed", False)
    Runs(book).start("verify").finish("ok", {"left_to_recheck": 1}, 0)
    assert told() == ("failed", "failed", False)
    ended = {record.name: record.outcome for record in Runs(book).newest(whole=False)}
    assert ended["verify"] == "ok", "whoever started it sees how it ended"
    assert mysql_world.verify().outcome == "ok"
    assert told() == ("ok", "ok", True)
