"""How far the stream lags, and how far it did: the worst of each quarter of an hour, in `leadstream.lags`.

Whoever serves measures and writes it. A quarter in which nobody did has no row: that nothing is known is no lag of 0.
Every time zone's hours and days begin with a quarter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import psycopg

from consumer.store.lanes import LanePoint
from consumer.versions import age
from reconciler.postgres import Postgres

QUARTER_SECONDS: Final = 900
KEPT_SECONDS: Final = 8 * 86_400

RECORD: Final = """
INSERT INTO leadstream.lags (began_at, worst_seconds)
SELECT to_timestamp(quarter), seconds
FROM unnest(%(quarters)s::bigint[], %(seconds)s::float8[]) AS seen (quarter, seconds)
ORDER BY quarter
ON CONFLICT (began_at) DO UPDATE SET worst_seconds = excluded.worst_seconds
WHERE lags.worst_seconds < excluded.worst_seconds
"""
"""Writes what was measured where nobody measured worse; in order, so that no two who write wait for each other."""

FORGET: Final = "DELETE FROM leadstream.lags WHERE began_at < now() - make_interval(secs => %s)"
"""Drops what is too old."""

LAGS: Final = """
SELECT (began_at AT TIME ZONE %(zone)s)::date, extract(hour FROM began_at AT TIME ZONE %(zone)s)::int,
       max(worst_seconds)
FROM leadstream.lags WHERE began_at >= %(week)s AND began_at < %(tomorrow)s GROUP BY 1, 2 ORDER BY 1, 2
"""
"""The worst lag of each local hour of seven days in which any was measured."""


class HourLag(NamedTuple):
    """The worst lag (s) of one hour of the local clock."""

    day: date
    hour: int
    seconds: float


def stream_lag(lanes: Mapping[int, LanePoint], seen_at: datetime) -> float | None:
    """How far (s) the slowest lane was behind MySQL; None where no lane has begun, or where versions are no times."""
    return max((lag for lane in lanes.values() if (lag := lag_of(lane, seen_at)) is not None), default=None)


def lag_of(lane: LanePoint, seen_at: datetime) -> float | None:
    """How far (s) a lane was behind; None where it has not begun, or where its version is ahead of the clock."""
    return age(lane.version, seen_at.timestamp())


def hours(
    connection: psycopg.Connection[tuple[Any, ...]], moments: Mapping[str, object], zone: ZoneInfo
) -> list[HourLag]:
    """Hours of seven local days in which lag was measured, in order; `moments` are those of the calendar."""
    return [HourLag(*row) for row in connection.execute(LAGS, {"zone": zone.key, **moments})]


class Lags:
    """What was measured and is yet to be written; for one thread."""

    def __init__(self) -> None:
        self.worst: dict[int, float] = {}
        """By the second since 1970 at which the quarter began."""

    def measured(self, lanes: Mapping[int, LanePoint], seen_at: datetime) -> None:
        """Keeps the lag of this moment where it is the worst of its quarter so far."""
        lag = stream_lag(lanes, seen_at)
        if lag is None:
            return
        now = int(seen_at.timestamp())
        quarter = now - now % QUARTER_SECONDS
        if quarter not in self.worst:  # what could not be written for so long is too old as well
            self.worst = {began: worst for began, worst in self.worst.items() if began > now - KEPT_SECONDS}
        self.worst[quarter] = max(lag, self.worst.get(quarter, 0.0))

    def write(self, postgres: Postgres) -> None:
        """Writes it, and drops what is too old. Raises StoreError; then it is kept until the next time."""
        if not self.worst:
            return
        with postgres.session() as connection:
            connection.execute(RECORD, {"quarters": list(self.worst), "seconds": list(self.worst.values())})
            connection.execute(FORGET, [KEPT_SECONDS])
        self.worst.clear()
