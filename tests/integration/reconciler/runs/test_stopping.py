"""SIGTERM in the middle of a real run: it ends between two batches, says so, and the next run does the rest."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.processes import Process
from tests.support.waiting import until

USERS = 1500
SMALL = {"DISCOVERY_BATCH_SIZE": "5", "BACKFILL_BATCH_SIZE": "5"}


def customers(world: ReconcilerWorld, ago: int = 7200) -> None:
    world.sql("SET SESSION autocommit = 0")
    for user_id in range(1, USERS + 1):
        world.user(user_id, ago=ago)
    world.sql("COMMIT")
    world.sql("SET SESSION autocommit = 1")


def unsigned(world: ReconcilerWorld) -> None:
    """All of them are held, and have signed since; nothing brought that."""
    customers(world)
    world.backfill(1000)
    world.age_everything()
    world.sql("UPDATE users SET current_signature_file_id = id, updated_at = UTC_TIMESTAMP()")


def stopped_amid(
    world: ReconcilerWorld, command: list[str], begun: Callable[[], Any], number: signal.Signals
) -> tuple[int, dict[str, Any]]:
    """Runs a command until its work has begun, and stops it; its exit code and its report."""
    process = world.start(*command, "--json", **SMALL)
    until(lambda: begun() or process.poll() is not None, "the run had begun")
    code = process.stop(number)
    (report,) = reports(process)
    return code, report


def reports(process: Process) -> list[dict[str, Any]]:
    """What a run with `--json` reports at its end, behind what it logs."""
    found: list[dict[str, Any]] = json.loads("[" + process.text().rpartition("\n[\n")[2])
    return found


def count(world: ReconcilerWorld, statement: str) -> int:
    ((number,),) = world.pg(statement)
    return int(number)


CONVERTED = "SELECT count(*) FROM conversions"
KNOWN = "SELECT count(*) FROM leadstream.stints"


@pytest.mark.parametrize(
    ("command", "prepare", "progress", "code"),
    [
        (["run", "new-users"], lambda world: customers(world, ago=60), KNOWN, 0),
        (["run", "unsigned-conversions", "--everyone"], unsigned, CONVERTED, 0),
        (["verify", "--repair"], unsigned, CONVERTED, 1),
        (["backfill"], customers, KNOWN, 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_run_that_is_told_to_stop_ends_between_batches_and_the_next_one_does_the_rest(
    mysql_world: ReconcilerWorld,
    command: list[str],
    prepare: Callable[[ReconcilerWorld], None],
    progress: str,
    code: int,
) -> None:
    world = mysql_world
    prepare(world)
    start = count(world, progress)
    exit_code, report = stopped_amid(world, command, lambda: count(world, progress) > start, signal.SIGTERM)
    assert (exit_code, report["outcome"]) == (code, "stopped")
    first = count(world, progress) - start
    assert 0 < first < USERS
    name = report["name"]
    recorded = world.pg("SELECT outcome, finished_at IS NULL FROM leadstream.runs WHERE name = %s ORDER BY id", name)
    assert recorded[-1] == ("stopped", False)
    assert report["repaired"] + report["first_seen"] >= first

    again = world.command(*command, "--json", DISCOVERY_BATCH_SIZE="100")
    assert again.returncode == 0, again.stderr
    (rest,) = json.loads(again.stdout)
    assert rest["outcome"] == "ok"
    assert count(world, progress) - start == USERS
    assert count(world, "SELECT count(DISTINCT user_id) FROM leadstream.stints") == USERS
    if command[0] == "backfill":
        assert rest["checked"] == USERS - first, "it began where the other had ended"
    else:
        assert rest["repaired"] == USERS - first


def test_ctrl_c_in_the_middle_of_a_run_is_exit_code_130(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    customers(world)
    exit_code, report = stopped_amid(world, ["backfill"], lambda: count(world, KNOWN), signal.SIGINT)
    assert (exit_code, report["outcome"]) == (130, "stopped")


def test_sigterm_between_two_sweeps_leaves_the_others_for_later_and_is_no_failure(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    customers(world, ago=60)
    process = world.start("run", "all", "--json", **SMALL)
    until(lambda: count(world, KNOWN), "the first sweep had begun")
    assert process.stop() == 0
    assert [report["outcome"] for report in reports(process)] == ["stopped"]
