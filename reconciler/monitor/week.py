"""The last seven local days: conversions by day and by agent, and who came into each queue and left it.

Nothing of ours has an index by the time at which stints open, for it would cost the stream at every change. So the
table is read from end to end, by a page that somebody looks at, and never for more than a hundredth of the time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from consumer.store.call_centre.attribution import collect
from reconciler.monitor.today import Calendar, calendar
from reconciler.postgres import Postgres, clock
from reconciler.runs.attribution import Earned, by_agent

DAYS: Final = 7

CONVERSIONS_BY_DAY: Final = """
SELECT (closed_at AT TIME ZONE %(zone)s)::date, conversion_type, count(*)
FROM leadstream.stints
WHERE conversion_type IS NOT NULL AND closed_at >= %(week)s AND closed_at < %(tomorrow)s
GROUP BY 1, 2
"""
"""Conversions of seven local days, by day and type."""

MOVED: Final = """
SELECT entered.queue_type, before.queue_type, entered.opened_at >= %(today)s, count(*)
FROM leadstream.stints AS entered
LEFT JOIN leadstream.stints AS before ON before.user_id = entered.user_id AND before.number = entered.number - 1
WHERE entered.opened_at >= %(week)s AND entered.opened_at < %(tomorrow)s
GROUP BY 1, 2, 3
"""
"""Stints that opened in seven local days, by their queue, the one left for it (NULL: first seen), and whether today. A
stint opens at the moment at which the one before it closes, so whoever left is counted too."""


@dataclass(frozen=True)
class Week:
    """Seven local days, the last one today. `came` and `left` count moves by queue."""

    seen_at: datetime
    days: list[tuple[date, Counter[str]]] = field(default_factory=list)
    """Conversions of each day by type, today first."""
    came: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    came_today: Counter[str] = field(default_factory=Counter)
    left_today: Counter[str] = field(default_factory=Counter)
    agents: list[Earned] | None = None
    """Whose calls earned those conversions, the most first; None where there are no calls, or we may not read it."""

    @property
    def conversions(self) -> Counter[str]:
        """All of them by type."""
        return sum((types for _, types in self.days), Counter())


def week(
    now: datetime,
    moments: Calendar,
    zone: ZoneInfo,
    converted: list[Any],
    moved: list[Any],
    agents: list[Earned] | None = None,
) -> Week:
    """Rows of CONVERSIONS_BY_DAY and MOVED as seven days."""
    today = moments.today.astimezone(zone).date()
    found = Week(now, [(today - timedelta(days=ago), Counter()) for ago in range(DAYS)], agents=agents)
    by_day = dict(found.days)
    for day, conversion_type, count in converted:
        by_day[day][conversion_type] += count
    for queue, before, is_today, count in moved:
        if queue == before:
            continue
        found.came[queue] += count
        found.came_today[queue] += count if is_today else 0
        if before is not None:
            found.left[before] += count
            found.left_today[before] += count if is_today else 0
    return found


def look(postgres: Postgres, zone: ZoneInfo) -> Week:
    """Asks PostgreSQL. Raises StoreError."""
    with postgres.session() as connection:
        now = clock(connection)
        moments = calendar(now, zone)
        wanted = {"zone": zone.key, **moments._asdict()}
        converted = connection.execute(CONVERSIONS_BY_DAY, wanted).fetchall()
        moved = connection.execute(MOVED, wanted).fetchall()
        agents = by_agent(connection, moments.week, moments.tomorrow) if collect(connection).is_readable else None
    return week(now, moments, zone, converted, moved, agents)
