"""What the lag of the stream is, and what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consumer.store.lanes import LanePoint
from reconciler.monitor.lags import Lags, stream_lag

NOW = datetime(2026, 3, 2, 14, 10, tzinfo=UTC)


def lane(seconds_ago: float) -> LanePoint:
    return LanePoint(round((NOW.timestamp() - seconds_ago) * 1e6), 5)


def test_the_lag_of_the_stream_is_that_of_the_slowest_lane() -> None:
    assert stream_lag({0: lane(0.5), 1: lane(30.0), 2: LanePoint(0, 1)}, NOW) == 30.0


def test_where_no_lane_has_begun_or_versions_are_no_times_nothing_is_known() -> None:
    assert stream_lag({}, NOW) is None
    assert stream_lag({0: LanePoint(0, 1)}, NOW) is None
    assert stream_lag({0: lane(-3600)}, NOW) is None


def test_nothing_is_kept_for_a_quarter_in_which_nothing_is_known() -> None:
    lags = Lags()
    lags.measured({0: LanePoint(0, 1)}, NOW)
    assert lags.worst == {}


def test_the_worst_of_each_quarter_is_kept() -> None:
    lags = Lags()
    for minutes, seconds in ((0, 1.0), (1, 60.0), (2, 2.0), (6, 3.0)):
        at = NOW + timedelta(minutes=minutes)
        lags.measured({0: LanePoint(round((at.timestamp() - seconds) * 1e6), 5)}, at)
    assert lags.worst == {
        datetime(2026, 3, 2, 14, 0, tzinfo=UTC).timestamp(): 60.0,
        datetime(2026, 3, 2, 14, 15, tzinfo=UTC).timestamp(): 3.0,
    }


def test_what_cannot_be_written_for_eight_days_is_dropped() -> None:
    lags = Lags()
    for quarters in range(4 * 24 * 10):
        at = NOW + timedelta(minutes=15 * quarters)
        lags.measured({0: LanePoint(round((at.timestamp() - 1) * 1e6), 5)}, at)
    assert len(lags.worst) == 4 * 24 * 8
