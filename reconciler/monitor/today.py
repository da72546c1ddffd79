"""What the status page shows beyond the monitor's last look: conversions by hour, the runs of today, each lane.

Every statement goes through an index and is bounded by two local days, by the names of runs, or by the lanes. What day
it is, PostgreSQL says: every page shows the same day, whatever the clock of the machine says that serves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from consumer.store import lanes as store_lanes
from consumer.store.lanes import LanePoint
from consumer.store.processes import KnownProcess, processes
from reconciler.monitor.lags import HourLag, hours
from reconciler.names import RUN_NAMES
from reconciler.postgres import Postgres, clock
from reconciler.runs.run_log import Record, Runs

CONVERSIONS: Final = """
SELECT extract(hour FROM closed_at AT TIME ZONE %(zone)s)::int, closed_at >= %(today)s, conversion_type,
       closed_at < %(same_time)s, count(*)
FROM leadstream.stints
WHERE conversion_type IS NOT NULL AND closed_at >= %(yesterday)s AND closed_at < %(tomorrow)s
GROUP BY 1, 2, 3, 4
"""
"""Conversions of yesterday and today by local hour, and whether yesterday's clock had come to the present time."""

TODAY: Final = """
SELECT name, coalesce(sum((counts ->> 'repaired')::bigint), 0)::bigint,
       coalesce(sum((SELECT sum(value::bigint) FROM jsonb_each_text(counts -> 'drift'))), 0)::bigint
FROM leadstream.runs WHERE name = ANY(%s) AND started_at >= %s GROUP BY name
"""
"""What the runs of each name found and repaired since midnight."""

KINDS: Final = """
SELECT kind.key, sum(kind.value::bigint)::bigint
FROM leadstream.runs, LATERAL jsonb_each_text(counts -> 'drift') AS kind
WHERE name = ANY(%s) AND started_at >= %s GROUP BY 1 ORDER BY 2 DESC, 1
"""
"""The kinds of drift found since midnight."""

LATEST: Final = """
SELECT user_id, closed_at, conversion_type FROM leadstream.stints
WHERE conversion_type IS NOT NULL AND closed_at >= %(week)s ORDER BY closed_at DESC LIMIT %(limit)s
"""
"""The newest conversions of the last seven days."""

LATEST_SHOWN: Final = 6

CONVERTED: Final = """
SELECT conversion_type, source, count(*) FROM leadstream.stints
WHERE conversion_type IS NOT NULL AND closed_at >= %s AND closed_at < %s GROUP BY 1, 2
"""
"""Conversions of a day, by type and by what brought them."""

OLDEST_RECHECK: Final = "SELECT min(not_before) FROM leadstream.rechecks WHERE not_before <= now()"
"""Since when the recheck is due that waits longest."""


@dataclass(frozen=True)
class Days:
    """Conversions of two local days. Hours are those of the local clock."""

    today: Counter[int] = field(default_factory=Counter)
    yesterday: Counter[int] = field(default_factory=Counter)
    yesterday_by_now: int = 0
    types: Counter[str] = field(default_factory=Counter)
    """Today's by type."""


class LatestConversion(NamedTuple):
    """One conversion: whose, when it was committed in MySQL, and its type."""

    user_id: int
    at: datetime
    conversion_type: str


@dataclass(frozen=True)
class Today:
    """Everything at `seen_at`, by PostgreSQL's clock; `drift` and `repaired` are by run, `kinds` those of drift, all
    since midnight."""

    seen_at: datetime
    days: Days
    newest: dict[str, Record]
    drift: dict[str, int]
    repaired: dict[str, int]
    kinds: dict[str, int]
    lanes: Mapping[int, LanePoint]
    oldest_recheck: datetime | None
    latest: list[LatestConversion] = field(default_factory=list)
    """The newest conversions, newest first."""
    processes: list[KnownProcess] = field(default_factory=list)
    """Appliers and reconcilers that reported themselves lately."""
    lags: list[HourLag] = field(default_factory=list)
    """The worst lag of each hour of seven days in which it was measured."""


class SinceMidnight(NamedTuple):
    """What dashboards show of the day: conversions by type and by what brought them, and how many leads runs repaired.

    The conversions are those that the page adds up by hour.
    """

    conversions: Mapping[tuple[str, str], int]
    repaired: int


class Calendar(NamedTuple):
    """The local days around a moment, as moments in UTC."""

    yesterday: datetime
    today: datetime
    tomorrow: datetime
    same_time: datetime
    """When yesterday's clock showed the present time."""
    week: datetime
    """The midnight that begins the last seven days, today included."""


def calendar(now: datetime, zone: ZoneInfo) -> Calendar:
    """The local days around `now`; on days on which clocks are put forward or back they have 23 or 25 hours."""
    local = now.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    day = timedelta(days=1)
    moments = (midnight - day, midnight, midnight + day, local - day, midnight - 6 * day)
    return Calendar(*(moment.astimezone(UTC) for moment in moments))


def days(rows: list[tuple[Any, ...]]) -> Days:
    """Rows of CONVERSIONS as two days."""
    found = Days()
    by_now = 0
    for hour, is_today, conversion_type, before, count in rows:
        (found.today if is_today else found.yesterday)[hour] += count
        if is_today:
            found.types[conversion_type] += count
        elif before:
            by_now += count
    return Days(found.today, found.yesterday, by_now, found.types)


def since_midnight(postgres: Postgres, zone: ZoneInfo) -> SinceMidnight:
    """Asks PostgreSQL for the local day. Raises StoreError."""
    with postgres.session() as connection:
        moments = calendar(clock(connection), zone)
        converted = connection.execute(CONVERTED, [moments.today, moments.tomorrow]).fetchall()
        runs = connection.execute(TODAY, [list(RUN_NAMES), moments.today]).fetchall()
    return SinceMidnight(
        {(kind, source): count for kind, source, count in converted}, sum(repaired for _, repaired, _ in runs)
    )


def look(postgres: Postgres, zone: ZoneInfo) -> Today:
    """Asks PostgreSQL. Raises StoreError."""
    with postgres.session() as connection:
        now = clock(connection)
        moments = calendar(now, zone)
        since = [list(RUN_NAMES), moments.today]
        conversions = connection.execute(CONVERSIONS, {"zone": zone.key, **moments._asdict()}).fetchall()
        latest = connection.execute(LATEST, {"week": moments.week, "limit": LATEST_SHOWN}).fetchall()
        today = connection.execute(TODAY, since).fetchall()
        kinds = dict(connection.execute(KINDS, since).fetchall())
        lanes = store_lanes.lanes(connection)
        there = processes(connection)
        lags = hours(connection, moments._asdict(), zone)
        oldest = connection.execute(OLDEST_RECHECK).fetchone()
    return Today(
        now,
        days(conversions),
        {record.name: record for record in Runs(postgres).newest()},
        {name: drift for name, _, drift in today if drift},
        {name: repaired for name, repaired, _ in today if repaired},
        kinds,
        lanes,
        oldest[0] if oldest else None,
        [LatestConversion(*row) for row in latest],
        there,
        lags,
    )
