"""How far the stream lagged: measured by whoever serves, kept for eight days, shown by local hour and day."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from threading import Thread
from zoneinfo import ZoneInfo

import pytest

from consumer.store.lanes import LanePoint
from reconciler.monitor import today
from reconciler.monitor.lags import HourLag, Lags
from reconciler.postgres import Postgres
from tests.integration.reconciler.clocks import clock_says
from tests.integration.reconciler.serving import serving
from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.waiting import until

NOW = datetime(2026, 7, 1, 14, 0, tzinfo=UTC)
pytestmark = pytest.mark.servers


def recorded(world: ReconcilerWorld) -> list[float]:
    return [seconds for (seconds,) in world.pg("SELECT worst_seconds FROM leadstream.lags ORDER BY began_at")]


def seen(seconds: float, at: datetime) -> Lags:
    lags = Lags()
    lags.measured({0: LanePoint(round((at.timestamp() - seconds) * 1e6), 5)}, at)
    return lags


def test_the_worst_of_a_quarter_stays_whoever_measured_it(mysql_world: ReconcilerWorld) -> None:
    now = datetime.now(UTC)
    with closing(Postgres(mysql_world.postgres_url)) as one, closing(Postgres(mysql_world.postgres_url)) as other:
        for postgres, seconds, worst in ((one, 3.0, 3.0), (other, 40.0, 40.0), (one, 5.0, 40.0), (other, 41.0, 41.0)):
            seen(seconds, now).write(postgres)
            assert recorded(mysql_world) == [worst]


def test_many_that_serve_write_at_once(mysql_world: ReconcilerWorld) -> None:
    now, failed = datetime.now(UTC), []

    def write(worst: int) -> None:
        try:
            with closing(Postgres(mysql_world.postgres_url)) as postgres:
                for _ in range(20):
                    lags = Lags()
                    for quarters in (0, 3, 1, 2) if worst % 2 else (3, 2, 1, 0):
                        at = now - timedelta(minutes=15 * quarters)
                        lags.measured({0: LanePoint(round((at.timestamp() - worst) * 1e6), 5)}, at)
                    lags.write(postgres)
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)

    threads = [Thread(target=write, args=[worst]) for worst in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert recorded(mysql_world) == [6.0] * 4


def test_what_is_older_than_eight_days_is_dropped(mysql_world: ReconcilerWorld) -> None:
    mysql_world.pg(
        "INSERT INTO leadstream.lags SELECT now() - make_interval(days => n), n FROM generate_series(1, 20) AS n"
    )
    with closing(Postgres(mysql_world.postgres_url)) as postgres:
        seen(0.5, datetime.now(UTC)).write(postgres)
    assert recorded(mysql_world) == [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5]


def test_hours_and_days_are_those_of_the_time_zone(mysql_world: ReconcilerWorld) -> None:
    for began, seconds in (
        ("2026-06-24 18:00", 9.0),  # the 24th in Kolkata ends at 18:30
        ("2026-06-24 18:30", 8.0),
        ("2026-07-01 03:15", 2.0),
        ("2026-07-01 03:30", 3.0),
        ("2026-07-01 04:15", 4.0),
    ):
        mysql_world.pg("INSERT INTO leadstream.lags VALUES (%s::timestamptz, %s)", f"{began}+00", seconds)
    with clock_says(mysql_world, NOW) as postgres:
        assert today.look(postgres, ZoneInfo("Asia/Kolkata")).lags == [
            HourLag(date(2026, 6, 25), 0, 8.0), HourLag(date(2026, 7, 1), 8, 2.0), HourLag(date(2026, 7, 1), 9, 4.0),
        ]  # fmt: skip
        assert today.look(postgres, ZoneInfo("UTC")).lags == [
            HourLag(date(2026, 7, 1), 3, 3.0), HourLag(date(2026, 7, 1), 4, 4.0),
        ]  # fmt: skip


def test_who_serves_records_the_lag_and_its_page_shows_it(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    with serving(world) as served:
        assert "not measured yet" in served.get("/").text
        assert recorded(world) == []
    world.pg("UPDATE leadstream.lanes SET version = %s WHERE lane = 0", int((time.time() - 400) * 1e6))
    with serving(world) as served:
        until(lambda: recorded(world) != [], "the lag was recorded")
        assert all(seconds >= 400 for seconds in recorded(world))
        until(lambda: "today at worst" in served.get("/").text, "the page showed it")
        assert "not measured yet" not in served.get("/").text


def test_a_lag_that_cannot_be_written_is_told_and_nothing_else_suffers(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.pg("UPDATE leadstream.lanes SET version = %s", int(time.time() * 1e6))
    world.pg("ALTER TABLE leadstream.lags ADD CONSTRAINT no_more CHECK (false) NOT VALID")
    with serving(world) as served:
        served.process.wait_for("lag_not_recorded")
        assert 'leadstream_store_up{deployment="leadstream"} 1.0' in served.get("/metrics").text
        assert served.get("/health/ready").status_code == 200
    assert recorded(world) == []


def test_nothing_is_recorded_where_nothing_is_written(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.pg("UPDATE leadstream.lanes SET version = %s", int(time.time() * 1e6))
    with serving(world, SMART_DISCOVERY_ENABLED="false") as served:
        until(lambda: "counted at" in served.get("/").text, "the queues were counted")
    assert recorded(world) == []
