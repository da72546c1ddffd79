"""Aging: once for each local day every active score below the ceiling grows by one, in one statement.

A day that was missed, however many there are, is made up for by the next run. A day is its date, whatever the time zone
is by now: AGING_TIMEZONE may change, and no date is aged twice or left out. A score that PostgreSQL refuses, because of
a constraint or a trigger of the call centre's, stays as it is and is in nobody's way.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import structlog
from psycopg.types.json import Jsonb

from consumer.store.conflicts import again_if_in_the_way
from consumer.store.connection import Connection
from consumer.store.errors import StoreError
from consumer.store.refusal import is_refusal, reason_of
from consumer.store.runs import Run, Window
from consumer.store.sql import SAID_NEVER
from reconciler.postgres import Postgres, microseconds
from reconciler.runs.repair import NAMED, REASONS, why
from reconciler.runs.run_log import Runs
from reconciler.settings import AgingSettings

log = structlog.get_logger(__name__)

NAME: Final = "age"

DAY: Final = "day"
"""Where a run's counts have the date that it aged."""
LAST_AGED: Final = """
SELECT counts ->> 'day', coalesce(window_from, started_at) FROM leadstream.runs
WHERE name = 'age' AND outcome = 'ok' AND coalesce(window_from, started_at) <= %s ORDER BY 2 DESC LIMIT 10
"""
"""The newest days that were aged and had begun somewhere by a moment: their dates, and when they began."""
LAST_ZONE: Final = time(12, tzinfo=UTC)
"""When a day begins where it does last, twelve hours behind UTC."""

AGING: Final = f"""
SELECT user_id FROM user_call_scores AS score
WHERE is_active AND current_score < %(ceiling)s AND NOT ({SAID_NEVER})
"""  # noqa: S608
"""Whose scores age: every active lead that may be called."""


def _age_those(leads: str) -> str:
    return f"""
WITH held AS ({leads} ORDER BY user_id FOR NO KEY UPDATE)
UPDATE user_call_scores AS score
SET current_score = score.current_score + 1, updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE score.user_id = held.user_id
"""  # noqa: S608


AGE: Final = _age_those(AGING)
"""A day passes; scores are taken in user order, as all writers do."""
AGE_SOME: Final = _age_those(f"{AGING} AND user_id = ANY(%(users)s)")
"""A day passes for some of them."""
REFUSED_AT_MOST: Final = 1000
"""Where PostgreSQL refuses the scores of more, it is not about single rows, and nobody's age."""

RECORD: Final = """
UPDATE leadstream.runs SET outcome = 'ok', finished_at = clock_timestamp(), counts = %(counts)s,
                           milliseconds = %(milliseconds)s
WHERE id = %(id)s AND outcome = 'running' RETURNING id
"""
"""Records that the day is aged, in the transaction that aged it; nothing where the run is no longer this process's."""
FAIL: Final = """
UPDATE leadstream.runs SET outcome = 'failed', finished_at = clock_timestamp(), error = %(error)s,
                           milliseconds = %(milliseconds)s
WHERE id = %(id)s AND outcome <> 'ok'
"""
"""Records that a day could not be aged; one whose commit was done, though nobody heard of it, stays so."""


class Day(NamedTuple):
    """A local day: from one midnight to the next, in UTC."""

    midnight: datetime
    next_midnight: datetime


class Aged(NamedTuple):
    """How many scores grew for a day, and how many PostgreSQL refused."""

    grown: int
    refused: int


def day_of(date: date, zone: ZoneInfo) -> Day:
    """A local day; 23 or 25 hours long where clocks are put forward or back."""
    first, last = (
        datetime.combine(day, datetime.min.time(), zone).astimezone(UTC) for day in (date, date + timedelta(days=1))
    )
    return Day(first, last)


def missed(last: date | None, today: date, settings: AgingSettings, kept_days: int) -> list[date]:
    """Local days up to `today` that are still to be aged, where `last` is the newest one that was.

    Where none ever was, nothing is known of the days before today. Days longer ago than runs are kept stay missed.
    """
    if last is None:
        last = today - timedelta(days=1)
    first = max(last + timedelta(days=1), today - timedelta(days=kept_days))
    days = (first + timedelta(days=number) for number in range((today - first).days + 1))
    return [day for day in days if not settings.is_skipped(day)]


def days_due(postgres: Postgres, runs: Runs, settings: AgingSettings, now: datetime) -> list[date]:
    """The local days up to that of `now` that are to be aged, and were not yet. Raises StoreError."""
    zone = ZoneInfo(settings.aging_timezone)
    today = now.astimezone(zone).date()
    with postgres.session() as connection:
        rows = connection.execute(LAST_AGED, [datetime.combine(today, LAST_ZONE)]).fetchall()
    aged = (_date_of(day, began, zone) for day, began in rows)
    return missed(max((day for day in aged if day <= today), default=None), today, settings, runs.kept_days)


def _date_of(day: str | None, began: datetime, zone: ZoneInfo) -> date:
    """Which day was aged; where an older release did not keep that, it was one of this zone's."""
    return began.astimezone(zone).date() if day is None else date.fromisoformat(day)


def age(
    postgres: Postgres, runs: Runs, settings: AgingSettings, now: datetime, *, ours: bool = True
) -> dict[date, Aged]:
    """Ages every active score once for each local day up to that of `now` that was missed and is not skipped.

    Returns how many scores grew for each of them, and how many were refused; nothing where nothing was to be done. A
    day begins at midnight in AGING_TIMEZONE. Where scores are not `ours`, the days are recorded alone: others age for
    them, and nobody makes up for them later. Raises AlreadyRunning, and StoreError and psycopg.Error after it recorded
    a run that failed; days that were aged until then stay aged. It ends between two days when it is to stop.
    """
    aged: dict[date, Aged] = {}
    if not days_due(postgres, runs, settings, now):
        return aged
    with runs.alone(NAME):
        for day in days_due(postgres, runs, settings, now):
            if runs.is_to_stop:
                break
            aged[day] = _run(postgres, runs, settings, day, ours)
    return aged


def _run(postgres: Postgres, runs: Runs, settings: AgingSettings, day: date, ours: bool) -> Aged:
    """One day, as a run of its own; the caller holds the run's name."""
    span = day_of(day, ZoneInfo(settings.aging_timezone))
    run = runs.start(NAME, Window(microseconds(span.midnight), microseconds(span.next_midnight)))
    try:
        return again_if_in_the_way(_age, postgres, settings, day, run, ours, locked=True)
    except (StoreError, psycopg.Error) as error:
        with suppress(StoreError, psycopg.Error), postgres.session() as connection:
            # Where that fails, too, the next run finds it under way and records it as cut off.
            connection.execute(FAIL, {"id": run.run_id, "error": why(error), "milliseconds": run.milliseconds})
        raise


def _age(postgres: Postgres, settings: AgingSettings, day: date, run: Run, ours: bool) -> Aged:
    """One day, recorded in the transaction that ages it."""
    with postgres.session() as connection, connection.transaction():
        grown, refused = 0, dict[int, str]()
        if ours:
            wanted = {"ceiling": settings.aging_ceiling, "never": list(postgres.rules().never)}
            grown = _grow(connection, wanted, refused)
        counts = {DAY: day.isoformat(), "aged": grown} | ({"failed": len(refused)} if refused else {})
        recorded = {"id": run.run_id, "counts": Jsonb(counts), "milliseconds": run.milliseconds}
        if connection.execute(RECORD, recorded).fetchone() is None:
            raise StoreError(
                "the record of this run in leadstream.runs was meanwhile deleted or taken over by another process, so"
                " this one does not age the day"
            )
    if refused:
        reasons = sorted(set(refused.values()))[:REASONS]
        log.error(
            "aging_refused", day=day.isoformat(), count=len(refused), user_ids=[*refused][:NAMED], reasons=reasons
        )
    return Aged(grown, len(refused))


def _grow(connection: Connection, wanted: dict[str, object], refused: dict[int, str]) -> int:
    """Ages everybody at once, or, where PostgreSQL refuses that, all but those whose scores it refuses.

    How many grew. Raises psycopg.Error where it refuses too many.
    """
    try:
        with connection.transaction():
            return connection.execute(AGE, wanted).rowcount
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
    return _grow_some(connection, wanted, [user for (user,) in connection.execute(AGING, wanted)], refused)


def _grow_some(connection: Connection, wanted: dict[str, object], users: list[int], refused: dict[int, str]) -> int:
    try:
        with connection.transaction():
            return connection.execute(AGE_SOME, {**wanted, "users": users}).rowcount
    except psycopg.Error as error:
        if not is_refusal(error) or len(refused) >= REFUSED_AT_MOST:
            raise
        if len(users) == 1:
            refused[users[0]] = reason_of(error)
            return 0
    middle = len(users) // 2
    return sum(_grow_some(connection, wanted, part, refused) for part in (users[:middle], users[middle:]))
