"""An application that writes its local time: sweeps miss its rows by `created_at`, and say so."""

from __future__ import annotations

import json

import pytest

from tests.integration.reconciler.world import ReconcilerWorld


def customers(world: ReconcilerWorld, hours_behind: float) -> None:
    """Three customers that the stream brought just now, with `created_at` so far behind UTC, and a document each."""
    for user_id in (1, 2, 3):
        ago = round(hours_behind * 3600) + 10 * user_id
        world.user(user_id, signature=7, ago=ago)
        world.claim(10 * user_id, user_id)
        world.requirement(100 * user_id, 10 * user_id, ago=ago - 5)
    world.backfill()
    world.pg("UPDATE leadstream.stints SET source = 'stream', opened_at = now() - make_interval(secs => 10 * user_id)")


@pytest.mark.parametrize("name", ["new-users", "new-requirements"])
def test_a_sweep_by_created_at_warns_where_that_is_no_utc(world: ReconcilerWorld, name: str) -> None:
    customers(world, hours_behind=5)
    report = world.sweep(name)
    assert report.outcome == "ok"
    users, requirements = sorted(report.warnings, key=lambda sentence: not sentence.startswith("users"))
    assert users.startswith("users.created_at holds times 5 h behind UTC, so this sweep misses new rows; have the")
    assert requirements.startswith("claim_requirements.created_at holds times 5 h behind UTC")


def test_times_in_utc_are_no_warning_and_reports_have_the_list(world: ReconcilerWorld) -> None:
    customers(world, hours_behind=0)
    assert world.sweep("new-users").warnings == ()
    told = world.command("run", "new-users", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)[0]["warnings"] == []
