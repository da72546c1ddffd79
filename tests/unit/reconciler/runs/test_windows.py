"""Which span of time a sweep looks at."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from consumer.store.runs import Window
from consumer.versions import moment
from reconciler.postgres import microseconds
from reconciler.runs.run_log import covered_until
from reconciler.runs.sweeps import HOUR, SweepPlan, SweepScope, window_for

NOW = 1_790_000_000_000_000
PLAN = SweepPlan(overlap_seconds=600, recent_hours=48, shadow=False)


def test_a_first_window_is_the_last_hour() -> None:
    assert window_for("new-users", SweepScope(), NOW, None, PLAN) == Window(NOW - HOUR, NOW)


def test_a_window_begins_where_the_last_one_ended_less_the_overlap() -> None:
    covered = NOW - 5 * HOUR
    assert window_for("new-users", SweepScope(), NOW, covered, PLAN) == Window(covered - 600_000_000, NOW)


def test_a_window_never_begins_later_than_an_hour_ago() -> None:
    assert window_for("new-requirements", SweepScope(), NOW, NOW - 60_000_000, PLAN) == Window(NOW - HOUR, NOW)


def test_what_somebody_asks_for_is_what_is_looked_at() -> None:
    for since in (0, 5):
        assert window_for("new-users", SweepScope(since=since), NOW, NOW, PLAN) == Window(since, NOW)
    assert window_for("new-users", SweepScope(hours_back=2.5), NOW, NOW, PLAN) == Window(NOW - 5 * HOUR // 2, NOW)


def test_a_window_of_the_future_ends_now_and_covers_nothing_that_is_yet_to_come() -> None:
    for name in ("new-users", "unsigned-conversions"):
        assert window_for(name, SweepScope(since=NOW + 5 * HOUR), NOW, NOW, PLAN) == Window(NOW, NOW)


def test_conversion_sweeps_look_at_recent_calls_or_at_everyone() -> None:
    assert window_for("unsigned-conversions", SweepScope(), NOW, None, PLAN) == Window(NOW - 48 * HOUR, NOW)
    assert window_for("unsigned-conversions", SweepScope(), NOW, NOW, PLAN) == Window(NOW - 48 * HOUR, NOW)
    assert window_for("unsigned-conversions", SweepScope(everyone=True), NOW, 1, PLAN) is None


def test_conversion_sweeps_that_were_missed_look_at_calls_as_old_as_the_missed_ones_would_have() -> None:
    assert window_for("unsigned-conversions", SweepScope(), NOW, NOW - 20 * HOUR, PLAN) == Window(NOW - 68 * HOUR, NOW)


def test_no_window_begins_before_servers_can_tell_the_time() -> None:
    assert window_for("new-users", SweepScope(hours_back=876_000), NOW, NOW, PLAN) == Window(0, NOW)
    assert window_for("new-users", SweepScope(since=-5), NOW, NOW, PLAN) == Window(0, NOW)
    assert window_for("unsigned-conversions", SweepScope(), NOW, 1, PLAN) == Window(0, NOW)


def test_sweeps_of_what_is_new_have_a_window_even_when_everyone_is_meant_and_rechecks_have_none() -> None:
    assert window_for("new-users", SweepScope(everyone=True), NOW, None, PLAN) == Window(NOW - HOUR, NOW)
    assert window_for("rechecks", SweepScope(since=5), NOW, 1, PLAN) is None


def test_windows_that_leave_a_gap_cover_only_what_is_before_it() -> None:
    assert covered_until([]) is None
    assert covered_until([Window(0, 10), Window(5, 20)]) == 20
    assert covered_until([Window(0, 10), Window(10, 20)]) == 20
    assert covered_until([Window(0, 10), Window(15, 20)]) == 10
    assert covered_until([Window(0, 10), Window(15, 20), Window(8, 30)]) == 30
    assert covered_until([Window(5, 10), Window(0, 8)]) == 10
    assert covered_until([Window(11, 10)]) is None
    assert covered_until([Window(0, 10), Window(11, 30)]) == 10


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_times_survive_the_way_to_a_datetime_and_back(time: int) -> None:
    assert microseconds(moment(time)) == time


def test_times_are_utc() -> None:
    assert moment(1_700_000_000_000_001) == datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC)
