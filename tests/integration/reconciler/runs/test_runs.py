"""Records of runs: looked up by index however many there are, and forgotten when nobody needs them any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from consumer.store import runs
from reconciler import schedule
from reconciler.monitor import lags, servers, today
from reconciler.names import RUN_NAMES
from reconciler.postgres import microseconds
from reconciler.runs import aging, run_log
from reconciler.runs.run_log import Runs
from reconciler.runs.sweeps import HOUR
from tests.integration.reconciler.world import ReconcilerWorld

NOW = datetime.now(UTC)
EARLIER = NOW - timedelta(days=1)
DAYS = {
    "zone": "Europe/London", "today": EARLIER, "yesterday": EARLIER - timedelta(days=1), "tomorrow": NOW,
    "same_time": EARLIER - timedelta(days=1),
}  # fmt: skip
SINCE = [list(RUN_NAMES), EARLIER]
BEGIN = {"ABANDON": ["rechecks"], "START": ["age", None, None, None, None]}
ASKED: dict[ModuleType, dict[str, Any]] = {
    runs: {
        **BEGIN,
        "SET_WINDOW": [EARLIER, NOW, 7],
        "SET_CURSOR": [7, 7],
        "MOVE": [7, "{}", 7, 7, 7],
        "FINISH": ["ok", "{}", 7, 7, None, 7],
    },
    run_log: {
        **BEGIN,
        "CURSOR_BEFORE": {"name": "new-users", "time": NOW, "ago": 60.0},
        "WINDOWS": ["new-users"],
        "LAST": ["rechecks"],
        "NEWEST": {"names": list(RUN_NAMES), "any": False},
        "FORGET": {"name": "verify", "days": 400},
    },
    servers: {
        "QUEUES": [],
        "LAST_RUNS": [list(RUN_NAMES)],
        "STREAMED": [],
        "RUN_STATES": [list(RUN_NAMES)],
        "VERIFIED": [],
        "AUDITED": [],
    },
    schedule: {"SEEN_TO": ["new-users", EARLIER], "DUE": []},
    aging: {
        "LAST_AGED": [NOW],
        "AGING": {"ceiling": 200, "never": ["do_not_contact"]},
        "AGE": {"ceiling": 200, "never": ["do_not_contact"]},
        "AGE_SOME": {"ceiling": 200, "never": ["do_not_contact"], "users": [1]},
        "RECORD": {"counts": "{}", "milliseconds": 7, "id": 7},
        "FAIL": {"error": "it is away", "milliseconds": 7, "id": 7},
    },
    today: {
        "CONVERSIONS": DAYS,
        "TODAY": SINCE,
        "KINDS": SINCE,
        "LATEST": {"week": EARLIER, "limit": 6},
        "CONVERTED": [EARLIER, NOW],
        "OLDEST_RECHECK": [],
    },
    lags: {
        "RECORD": {"quarters": [1], "seconds": [0.5]},
        "FORGET": [691_200],
        "LAGS": {**DAYS, "week": EARLIER},
    },
}
"""Every statement of the modules that look at runs, stints and rechecks, with what it is asked with."""
LARGE = {"runs", "stints"}


def statements(module: ModuleType) -> dict[str, str]:
    words = ("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")
    texts = {name: value.strip() for name, value in vars(module).items() if isinstance(value, str)}
    return {name: text for name, text in texts.items() if name.isupper() and text.startswith(words)}


@pytest.fixture
def old_world(mysql_world: ReconcilerWorld) -> ReconcilerWorld:
    """Years of runs and of customers."""
    world = mysql_world
    world.pg(
        "INSERT INTO leadstream.runs (name, started_at, finished_at, outcome, window_from, window_to, cursor, counts)"
        " SELECT name, now() - make_interval(mins => n * 30), now(), CASE WHEN n %% 50 = 3 THEN 'failed' ELSE 'ok' END,"
        " now() - make_interval(mins => n * 30 + 60), now() - make_interval(mins => n * 30), n, '{\"drift\": {}}'"
        " FROM unnest(%s::text[]) AS name, generate_series(1, 8000) AS n",
        list(RUN_NAMES),
    )
    world.pg(
        "INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at,"
        " conversion_type, source)"
        " SELECT n, 1 + n %% 2, 'unsigned_users', now() - make_interval(mins => n), 'first_seen',"
        " CASE WHEN n %% 3 = 0 THEN now() - make_interval(mins => n) END,"
        " CASE WHEN n %% 9 = 0 THEN 'requirements_completed' END, 'stream' FROM generate_series(1, 60000) AS n"
    )
    world.pg("ANALYZE leadstream.runs, leadstream.stints")
    return world


def scans(plan: dict[str, Any]) -> Iterator[str]:
    """Tables that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from scans(part)


def test_no_statement_reads_all_runs_or_all_stints(old_world: ReconcilerWorld) -> None:
    for module, asked in ASKED.items():
        assert statements(module).keys() == asked.keys(), module.__name__
        for name, text in statements(module).items():
            with old_world.centre.transaction(force_rollback=True):
                cursor = old_world.centre.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", asked[name])
                ((answer,),) = cursor.fetchall()
            (plan,) = answer
            assert LARGE.isdisjoint(scans(plan["Plan"])), (name, plan)


def test_a_run_tells_where_keys_begin_only_once_it_had_itself_ended_by_then(mysql_world: ReconcilerWorld) -> None:
    """Its window may end long before it looked: keys that came between are no older than the window of the next one."""
    run_log, half_past, two = Runs(mysql_world.book()), NOW - timedelta(minutes=30), NOW
    now = microseconds(datetime.now(UTC))
    mysql_world.pg(
        "INSERT INTO leadstream.runs (name, started_at, finished_at, outcome, window_from, window_to, cursor)"
        " VALUES ('new-users', %s, %s, 'ok', %s, %s, 77)",
        two, two, half_past - timedelta(hours=1), half_past,
    )  # fmt: skip
    assert run_log.cursor_before("new-users", microseconds(half_past + timedelta(minutes=10)), now) is None
    assert run_log.cursor_before("new-users", microseconds(two), now) == 77


@pytest.mark.parametrize("minutes", [-90, -3, 3, 90])
def test_a_run_tells_where_keys_begin_by_how_long_ago_it_ended_whatever_postgresqls_clock_says(
    mysql_world: ReconcilerWorld, minutes: int
) -> None:
    """The replica's clock is so many minutes ahead of PostgreSQL's; the run ended ten minutes ago."""
    run_log, minute = Runs(mysql_world.book()), 60_000_000
    ((now,),) = mysql_world.pg("SELECT now()")
    there = microseconds(now) + minutes * minute
    mysql_world.pg(
        "INSERT INTO leadstream.runs (name, started_at, finished_at, outcome, window_from, window_to, cursor)"
        " VALUES ('new-users', now(), now() - interval '10 minutes', 'ok', to_timestamp(0), to_timestamp(1), 77)"
    )
    assert run_log.cursor_before("new-users", there - 11 * minute, there) is None
    assert run_log.cursor_before("new-users", there - 8 * minute, there) == 77


def test_a_conversion_sweep_by_hand_of_the_last_hours_calls_does_not_count_for_those_of_days(
    mysql_world: ReconcilerWorld,
) -> None:
    run_log, day = Runs(mysql_world.book()), 24 * HOUR
    for begin, end in ((NOW - timedelta(hours=72), NOW - timedelta(hours=20)), (NOW - timedelta(hours=1), NOW)):
        mysql_world.pg(
            "INSERT INTO leadstream.runs (name, started_at, outcome, window_from, window_to)"
            " VALUES ('unsigned-conversions', %s, 'ok', %s, %s)",
            end, begin, end,
        )  # fmt: skip
    assert run_log.looked_at_until("unsigned-conversions", 2 * day) == microseconds(NOW - timedelta(hours=20))


def test_records_are_forgotten_once_they_are_old_but_not_those_that_the_next_run_needs(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    record = (
        "INSERT INTO leadstream.runs (name, started_at, outcome, window_from, window_to) VALUES (%s, %s, %s, %s, %s)"
    )

    def ago(name: str, days: int, outcome: str) -> None:
        at = NOW - timedelta(days=days)
        world.pg(record, name, at, outcome, at - timedelta(days=1), at)

    for days, outcome in ((300, "ok"), (200, "ok"), (150, "failed"), (100, "failed")):
        ago("new-users", days, outcome)
    for days, outcome in ((300, "ok"), (50, "ok"), (40, "failed")):
        ago("verify", days, outcome)
    for days, outcome in ((300, "stopped"), (200, "stopped")):
        ago("backfill", days, outcome)
    kept = Runs(world.book(), kept_days=90)
    for name in ("new-users", "verify", "backfill"):
        with kept.alone(name):
            pass
    left = world.pg("SELECT name, extract(day FROM now() - started_at)::int FROM leadstream.runs ORDER BY 1, 2")
    assert left == [
        ("backfill", 200), ("new-users", 100), ("new-users", 150), ("new-users", 200), ("verify", 40), ("verify", 50)
    ]  # fmt: skip
    assert kept.looked_at_until("new-users") is not None
    for _ in range(2):
        assert world.command("verify", RUNS_KEPT_DAYS="35").returncode == 0
    assert world.pg("SELECT count(*) FROM leadstream.runs WHERE name = 'verify'") == [(2,)]
