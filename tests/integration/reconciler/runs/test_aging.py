"""Scores grow by one, once a local day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest

from consumer.store.errors import StoreError
from reconciler.postgres import Postgres
from reconciler.runs.aging import Aged, days_due
from reconciler.runs.aging import age as age_days
from reconciler.runs.run_log import Runs
from reconciler.settings import AgingSettings
from tests.integration.agents import CALLED, meanwhile
from tests.integration.reconciler.world import ReconcilerWorld

SETTINGS = AgingSettings(aging_skipped_weekdays=frozenset())


def age(book: Postgres, runs: Runs, settings: AgingSettings, time: datetime) -> int | None:
    """How many scores grew for the one day that was due; None where none was."""
    aged = age_days(book, runs, settings, time)
    assert len(aged) <= 1
    return next((scores.grown for scores in aged.values()), None)


def scores(world: ReconcilerWorld) -> dict[int, int]:
    return dict(world.pg("SELECT user_id, current_score FROM user_call_scores"))


def scored(world: ReconcilerWorld, user_id: int, score: int = 0) -> None:
    """A customer of the call centre's, whom we need not know."""
    world.pg(
        "INSERT INTO user_call_scores (id, user_id, current_score, updated_at)"
        " VALUES (gen_random_uuid(), %s, %s, now() AT TIME ZONE 'utc')",
        user_id,
        score,
    )


@pytest.fixture
def aging_world(mysql_world: ReconcilerWorld) -> ReconcilerWorld:
    for user_id in range(1, 5):
        mysql_world.user(user_id, signature=7 if user_id == 4 else None)
    mysql_world.backfill()
    mysql_world.pg("UPDATE user_call_scores SET current_score = 200 WHERE user_id = 2")
    mysql_world.pg("UPDATE user_call_scores SET current_score = 199 WHERE user_id = 3")
    return mysql_world


def test_active_scores_below_the_ceiling_grow_by_one_once_a_day(aging_world: ReconcilerWorld) -> None:
    world, book = aging_world, aging_world.book()
    now = datetime.now(UTC)
    assert age(book, Runs(book), SETTINGS, now) == 2
    assert age(book, Runs(book), SETTINGS, now) is None
    assert scores(world) == {1: 1, 2: 200, 3: 200, 4: 0}
    assert age(book, Runs(book), SETTINGS, now + timedelta(days=1)) == 1
    assert scores(world)[1] == 2


def test_a_score_that_a_constraint_refuses_is_in_nobodys_way(aging_world: ReconcilerWorld) -> None:
    world, book = aging_world, aging_world.book()
    world.pg("ALTER TABLE user_call_scores ADD CONSTRAINT small CHECK (user_id <> 3 OR current_score < 200) NOT VALID")
    now = datetime.now(UTC)
    assert age(book, Runs(book), SETTINGS, now) == 1
    assert age(book, Runs(book), SETTINGS, now) is None
    assert scores(world) == {1: 1, 2: 200, 3: 199, 4: 0}
    counts = {"day": now.date().isoformat(), "aged": 1, "failed": 1}
    assert world.pg("SELECT counts FROM leadstream.runs WHERE name = 'age'") == [(counts,)]


CUTTING: Final = """
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE TRIGGER cut AFTER UPDATE ON user_call_scores FOR EACH STATEMENT EXECUTE FUNCTION cut()
"""


@pytest.mark.parametrize(
    ("breaks", "repairs"),
    [
        (
            "ALTER TABLE user_call_scores RENAME updated_at TO at",
            "ALTER TABLE user_call_scores RENAME at TO updated_at",
        ),
        (CUTTING, "DROP TRIGGER cut ON user_call_scores"),
    ],
    ids=["a column is gone", "the session is lost"],
)
def test_a_day_that_fails_is_recorded_as_a_failed_run_and_aged_once_by_the_next(
    aging_world: ReconcilerWorld, breaks: str, repairs: str
) -> None:
    world, book, now = aging_world, aging_world.book(), datetime.now(UTC)
    world.pg(breaks)
    with pytest.raises(StoreError):
        age(book, Runs(book), SETTINGS, now)
    recorded = "SELECT outcome, error IS NULL, finished_at IS NULL FROM leadstream.runs WHERE name = 'age' ORDER BY id"
    assert world.pg(recorded) == [("failed", False, False)]
    world.pg(repairs)
    assert age(book, Runs(book), SETTINGS, now) == 2
    assert age(book, Runs(book), SETTINGS, now) is None
    assert [outcome for outcome, *_ in world.pg(recorded)] == ["failed", "ok"]
    assert scores(world) == {1: 1, 2: 200, 3: 200, 4: 0}


def test_a_date_is_aged_once_though_the_time_zone_changes(aging_world: ReconcilerWorld) -> None:
    book, noon = aging_world.book(), datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert age(book, Runs(book), SETTINGS, noon) == 2
    new_york = SETTINGS.model_copy(update={"aging_timezone": "America/New_York"})
    assert age(book, Runs(book), new_york, noon) is None
    assert age(book, Runs(book), new_york, noon + timedelta(days=1)) == 1
    kiritimati = SETTINGS.model_copy(update={"aging_timezone": "Pacific/Kiritimati"})
    assert age(book, Runs(book), kiritimati, noon + timedelta(days=1)) == 1, "it is the next day there"
    assert age(book, Runs(book), SETTINGS, noon + timedelta(days=2)) is None
    dates = "SELECT counts ->> 'day' FROM leadstream.runs WHERE name = 'age' ORDER BY id"
    assert aging_world.pg(dates) == [("2026-03-10",), ("2026-03-11",), ("2026-03-12",)]


def test_the_ceiling_is_a_setting(aging_world: ReconcilerWorld) -> None:
    book = aging_world.book()
    lower = AgingSettings(aging_ceiling=1, aging_skipped_weekdays=frozenset())
    assert age(book, Runs(book), lower, datetime.now(UTC)) == 1
    assert scores(aging_world) == {1: 1, 2: 200, 3: 199, 4: 0}


def test_a_day_begins_at_the_local_midnight(aging_world: ReconcilerWorld) -> None:
    book = aging_world.book()
    assert age(book, Runs(book), SETTINGS, datetime.now(UTC)) == 2
    recorded = (
        "UPDATE leadstream.runs SET started_at = '2026-03-10T09:30:00Z', window_from = NULL, counts = counts - 'day'"
        " WHERE name = 'age'"
    )
    aging_world.pg(recorded)  # as an older release did
    auckland = AgingSettings(aging_timezone="Pacific/Auckland", aging_skipped_weekdays=frozenset())
    assert age(book, Runs(book), auckland, datetime(2026, 3, 10, 10, 30, tzinfo=UTC)) is None
    assert age(book, Runs(book), auckland, datetime(2026, 3, 10, 11, 30, tzinfo=UTC)) == 1


def test_a_day_that_is_made_up_for_takes_nothing_from_the_day_on_which_that_is_done(
    aging_world: ReconcilerWorld,
) -> None:
    book = aging_world.book()
    today = datetime.now(UTC)
    assert age(book, Runs(book), SETTINGS, today - timedelta(days=1)) == 2
    assert days_due(book, Runs(book), SETTINGS, today) == [today.date()]
    assert age(book, Runs(book), SETTINGS, today) == 1
    assert not any(days_due(book, Runs(book), SETTINGS, day) for day in (today, today - timedelta(days=1)))


def test_nothing_ages_on_a_skipped_weekday(aging_world: ReconcilerWorld) -> None:
    book = aging_world.book()
    sunday = datetime(2026, 3, 15, 12, tzinfo=UTC)
    assert age(book, Runs(book), AgingSettings(), sunday) is None
    assert age(book, Runs(book), AgingSettings(), sunday + timedelta(days=1)) == 2


def test_every_day_that_was_missed_is_made_up_for_once_and_skipped_ones_are_not(aging_world: ReconcilerWorld) -> None:
    """Friday's was done; the reconciler was away from Saturday 01:00 to Tuesday 03:00."""
    world, book = aging_world, aging_world.book()
    runs, settings = Runs(book), AgingSettings(aging_timezone="Europe/London")
    friday, tuesday = (datetime(2026, 11, day, 3, tzinfo=UTC) for day in (20, 24))
    assert age_days(book, runs, settings, friday) == {date(2026, 11, 20): Aged(2, 0)}
    assert days_due(book, runs, settings, friday + timedelta(days=2, hours=-1)) == [date(2026, 11, 21)]
    assert age_days(book, runs, settings, tuesday) == {date(2026, 11, day): Aged(1, 0) for day in (21, 23, 24)}
    assert age_days(book, runs, settings, tuesday + timedelta(hours=20)) == {}
    assert scores(world) == {1: 4, 2: 200, 3: 200, 4: 0}
    assert world.pg("SELECT count(*) FROM leadstream.runs WHERE name = 'age'") == [(4,)]


def test_days_longer_ago_than_runs_are_kept_stay_missed(aging_world: ReconcilerWorld) -> None:
    book = aging_world.book()
    begin = datetime(2026, 1, 10, 12, tzinfo=UTC)
    age_days(book, Runs(book, 5), SETTINGS, begin)
    assert len(age_days(book, Runs(book, 5), SETTINGS, begin + timedelta(days=100))) == 6


def test_a_day_aged_by_a_clock_that_was_ahead_stops_no_aging(aging_world: ReconcilerWorld) -> None:
    book = aging_world.book()
    now = datetime(2026, 1, 10, 12, tzinfo=UTC)
    age_days(book, Runs(book), SETTINGS, now + timedelta(days=400))
    assert age(book, Runs(book), SETTINGS, now) == 1
    assert age(book, Runs(book), SETTINGS, now + timedelta(days=1)) == 1


def test_the_command_says_what_it_did_and_shadow_mode_leaves_scores_alone(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(1)
    world.backfill()
    assert "SHADOW_MODE" in world.command("age", SHADOW_MODE="true", AGING_SKIPPED_WEEKDAYS="").stdout
    assert world.command("age", AGING_SKIPPED_WEEKDAYS="").stdout == "nothing to age today\n", "the old system's day"
    assert scores(world) == {1: 0}
    world.pg("DELETE FROM leadstream.runs WHERE name = 'age'")
    assert (
        world.command("age", AGING_SKIPPED_WEEKDAYS="").stdout
        == f"1 scores aged by one for {datetime.now(UTC):%Y-%m-%d}\n"
    )
    assert world.command("age", AGING_SKIPPED_WEEKDAYS="").stdout == "nothing to age today\n"
    assert world.command("age", AGING_TIMEZONE="Mars/Olympus").returncode == 2


def test_the_command_fails_where_postgresql_refuses_a_score(aging_world: ReconcilerWorld) -> None:
    world = aging_world
    world.pg("ALTER TABLE user_call_scores ADD CONSTRAINT small CHECK (user_id <> 3 OR current_score < 200) NOT VALID")
    aged = world.command("age", AGING_SKIPPED_WEEKDAYS="")
    assert (aged.returncode, aged.stdout) == (1, f"1 scores aged by one for {datetime.now(UTC):%Y-%m-%d}\n")
    assert "PostgreSQL refused 1 scores" in aged.stderr
    assert world.command("age", AGING_SKIPPED_WEEKDAYS="").returncode == 0, "the day is over for all"


def test_an_agent_who_takes_scores_in_user_order_never_deadlocks_with_ageing(mysql_world: ReconcilerWorld) -> None:
    """Whatever order the table itself has."""
    world, book = mysql_world, mysql_world.book()
    for user_id in (9, 5, 1):
        scored(world, user_id, score=10)
    now = datetime.now(UTC)
    assert meanwhile(world.postgres_url, CALLED, [1, 5, 9], lambda: age(book, Runs(book), SETTINGS, now)) == 3
    assert scores(world) == {1: 11, 5: 11, 9: 11}


def test_what_agents_write_while_ageing_waits_for_them_is_kept_and_counts(mysql_world: ReconcilerWorld) -> None:
    world, book = mysql_world, mysql_world.book()
    for user_id in (1, 2):
        scored(world, user_id, score=10)
    called = "UPDATE user_call_scores SET current_score = CASE user_id WHEN 1 THEN 50 ELSE 200 END WHERE user_id = %s"
    assert (
        meanwhile(world.postgres_url, called, [1, 2], lambda: age(book, Runs(book), SETTINGS, datetime.now(UTC))) == 1
    )
    assert scores(world) == {1: 51, 2: 200}


def test_a_sweep_that_notes_its_checks_passes_by_a_row_that_an_agent_holds(mysql_world: ReconcilerWorld) -> None:
    world, book = mysql_world, mysql_world.book()
    for user_id in (9, 5, 1):
        scored(world, user_id)
    with world.centre.transaction():
        world.pg(CALLED, 5)
        book.mark_checked([9, 1, 5])
    checked = "SELECT user_id FROM user_call_scores WHERE last_conversion_check_at IS NOT NULL ORDER BY 1"
    assert world.pg(checked) == [(1,), (9,)]
