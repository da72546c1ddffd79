"""SHADOW_MODE: whatever runs, the call centre's tables are as they were, and our own hold what would be true."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.integration.call_centre import everything, guard, unguard
from tests.integration.reconciler.serving import TOKEN, serving
from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.company_tables import key
from tests.support.waiting import until

SHADOW = {"SHADOW_MODE": "true", "AGING_SKIPPED_WEEKDAYS": ""}
SWEEPS = ["new-users", "new-requirements", "unsigned-conversions", "requirements-conversions"]


def company(world: ReconcilerWorld) -> None:
    """Customers 1 to 6 of the old system, whose tables are full and from now on guarded; 7 to 9 are new.

    Since the old system looked, 1 and 2 signed, 4 handed in the last document, 5 and 6 were asked for one.
    """
    for user_id in range(1, 7):
        world.user(user_id, signature=None if user_id < 4 else user_id)
        world.claim(10 * user_id, user_id)
    world.requirement(40, 40)
    world.backfill()
    world.pg(
        "UPDATE user_call_scores SET last_call_at = (now() AT TIME ZONE 'utc') - interval '1 hour', current_score = 9"
    )
    world.age_everything()
    for user_id in (7, 8, 9):
        world.user(user_id, ago=60)
    world.sql("UPDATE users SET current_signature_file_id = id WHERE id < 3")
    world.sql("UPDATE claim_requirements SET status = 'approved' WHERE id = %s", key(40))
    for user_id in (5, 6):
        world.requirement(10 * user_id, 10 * user_id, ago=60)
    guard(world.pg)


TRUE = {
    1: "none", 2: "none", 3: "unsigned_users", 4: "none", 5: "requirements_outstanding", 6: "requirements_outstanding",
    7: "unsigned_users", 8: "unsigned_users", 9: "unsigned_users",
}  # fmt: skip
WON = [(1, "signature_obtained"), (2, "signature_obtained"), (4, "requirements_completed")]


def won(world: ReconcilerWorld) -> list[tuple[object, ...]]:
    return world.pg(
        "SELECT user_id, conversion_type FROM leadstream.stints WHERE conversion_type IS NOT NULL ORDER BY user_id"
    )


def test_sweeps_in_shadow_mode_keep_our_tables_true_and_write_nothing_of_the_call_centres(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    company(world)
    before = everything(world.pg)
    done = world.command("run", "all", "--json", **SHADOW)
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [(report["name"], report["outcome"], report["failed"]) for report in reports] == [
        (name, "ok", 0) for name in SWEEPS
    ]
    assert "lead_refused" not in done.stderr
    assert world.queues() == TRUE
    assert won(world) == WON
    assert everything(world.pg) == before


@pytest.mark.parametrize("command", [["verify", "--repair"], ["backfill"], ["run", "rechecks"], ["age"]])
def test_everything_else_in_shadow_mode_writes_nothing_of_the_call_centres_either(
    mysql_world: ReconcilerWorld, command: list[str]
) -> None:
    world = mysql_world
    company(world)
    world.pg("INSERT INTO leadstream.rechecks (user_id, reason) SELECT generate_series(1, 9), 'asked'")
    before = everything(world.pg)
    done = world.command(*command, **SHADOW)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "lead_refused" not in done.stderr
    assert everything(world.pg) == before
    if command == ["backfill"]:
        assert {user: queue for user, queue in world.queues().items() if user > 6} == dict.fromkeys(
            (7, 8, 9), "unsigned_users"
        )
    elif command != ["age"]:
        assert world.queues() == TRUE
        assert won(world) == WON


def test_serving_in_shadow_mode_writes_nothing_of_the_call_centres(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world)
    before = everything(world.pg)
    with serving(world, API_TOKEN=TOKEN, RECHECK_SECONDS="0.5", **SHADOW) as served:
        for user_id in TRUE:
            assert served.get(f"/leads/{user_id}/precall", expected="none").status_code == 200
            assert served.get(f"/leads/{user_id}").status_code == 200
        until(lambda: world.queues() == TRUE, "what is due at the start and the rechecks of the checks repaired all")
        for name in (*SWEEPS, "rechecks"):
            assert served.run(f"/sweeps/{name}", TOKEN, everyone=name.endswith("conversions"))["outcome"] != "failed"
        assert served.run("/verify", TOKEN, repair=True)["outcome"] != "failed"
        assert served.stop() == 0
    assert won(world) == WON
    assert "lead_refused" not in served.process.text()
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]
    assert everything(world.pg) == before


def test_shadow_mode_needs_none_of_the_call_centres_tables(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world)
    world.pg("DROP TABLE user_call_scores, conversions, call_queue CASCADE")
    done = world.command("run", "all", "--json", **SHADOW)
    assert [report["outcome"] for report in json.loads(done.stdout)] == ["ok"] * 4, done.stderr
    for command in (["verify", "--repair"], ["backfill"], ["run", "rechecks"], ["age"]):
        again = world.command(*command, **SHADOW)
        assert again.returncode == 0, again.stderr + again.stdout
    assert (world.queues(), won(world)) == (TRUE, WON)
    with serving(world, **SHADOW) as served:
        assert served.get("/leads/1/precall", expected="none").json()["agrees"] is True
        told = served.get("/leads/1").json()
        assert (told["queue_type"], told["agrees"]) == ("none", True)
        assert served.get("/customers/1").status_code == 200
        assert served.get("/").status_code == 200
        assert served.stop() == 0


def test_the_guard_would_have_told(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world)
    world.sweep("new-users")
    assert world.pg("SELECT count(*) FROM leadstream.rechecks WHERE last_error LIKE '%%P0001%%'") == [(3,)]
    with pytest.raises(psycopg.errors.RaiseException, match="UPDATE on user_call_scores in shadow mode"):
        world.pg("UPDATE user_call_scores SET current_score = 0")


def test_sweeps_are_switched_on_one_at_a_time_and_off_again(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    company(world)
    unguard(world.pg)
    before = everything(world.pg)
    first = world.command("run", "all", SWEEPS="unsigned-conversions", **SHADOW)
    assert first.returncode == 0, first.stderr
    assert {name for (name,) in world.pg("SELECT name FROM leadstream.runs")} == {"backfill", "unsigned-conversions"}
    assert (won(world), everything(world.pg)) == (WON[:2], before)

    live = world.command("run", "all", SWEEPS="requirements-conversions")
    assert live.returncode == 0, live.stderr
    assert world.conversions() == WON[2:], "what was won in shadow mode is the old system's to record"
    scores = everything(world.pg)

    back = world.command("run", "all", **SHADOW)
    assert back.returncode == 0, back.stderr
    assert (world.queues(), everything(world.pg)) == (TRUE, scores)

    off = world.command("run", "all", SMART_DISCOVERY_ENABLED="false")
    assert off.stdout == "SMART_DISCOVERY_ENABLED is false: nothing was done\n"
    assert everything(world.pg) == scores

    tuned = world.command("verify", "--repair")
    assert tuned.returncode == 0, tuned.stderr
    assert world.scores() == TRUE, "cut over: the call centre's queues are put right by a verify"
    assert world.conversions() == WON[2:]
