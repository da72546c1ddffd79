"""Ageing: once a local day every active score below the ceiling grows by one, in one statement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from consumer.store.errors import TryAgain
from consumer.store.sql import SAID_NEVER
from reconciler.book import Book
from reconciler.runs import Runs
from reconciler.settings import AgingSettings

NAME: Final = "age"

AGED: Final = """
SELECT EXISTS (SELECT FROM leadstream.runs
               WHERE name = 'age' AND outcome = 'ok' AND started_at >= %(midnight)s
                 AND coalesce(window_from, started_at) >= %(midnight)s
                 AND coalesce(window_from, started_at) < %(next_midnight)s)
"""
"""Whether a day has been aged already; nobody ages one that has not begun."""

AGE: Final = f"""
WITH held AS (
    SELECT user_id FROM user_call_scores AS score
    WHERE is_active AND current_score < %(ceiling)s AND NOT ({SAID_NEVER})
    ORDER BY user_id FOR NO KEY UPDATE
)
UPDATE user_call_scores AS score
SET current_score = score.current_score + 1, updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE score.user_id = held.user_id
"""  # noqa: S608
"""A day passes for every active lead that may be called; their scores are taken in user order, as all writers do."""

RECORD: Final = """
INSERT INTO leadstream.runs (name, started_at, finished_at, outcome, window_from, window_to, counts, milliseconds)
VALUES ('age', now(), clock_timestamp(), 'ok', %(midnight)s, %(next_midnight)s, %(counts)s,
        extract(epoch FROM clock_timestamp() - now()) * 1000)
"""
"""Records the day, in the transaction that aged it."""


class Day(NamedTuple):
    """A local day: from one midnight to the next, in UTC."""

    midnight: datetime
    next_midnight: datetime


def day_of(time: datetime, zone: ZoneInfo) -> Day:
    """The local day of a time with a zone; 23 or 25 hours long where clocks are put forward or back."""
    date = time.astimezone(zone).date()
    first, last = (
        datetime.combine(day, datetime.min.time(), zone).astimezone(UTC) for day in (date, date + timedelta(days=1))
    )
    return Day(first, last)


def is_due(book: Book, settings: AgingSettings, time: datetime) -> bool:
    """Whether the local day of this time is to be aged, and was not yet. Raises StoreError."""
    zone = ZoneInfo(settings.aging_timezone)
    if settings.is_skipped(time.astimezone(zone)):
        return False
    with book.session() as connection:
        return connection.execute(AGED, day_of(time, zone)._asdict()).fetchone() == (False,)


@retry(
    retry=retry_if_exception_type(TryAgain),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(0.1, max=5),
    reraise=True,
)
def age(book: Book, runs: Runs, settings: AgingSettings, time: datetime) -> int | None:
    """Ages every active score for the local day of `time`, unless that was done, or the day is skipped.

    Returns how many scores grew, or None where nothing was to be done. A day begins at midnight in AGING_TIMEZONE.
    Raises AlreadyRunning and StoreError.
    """
    day = day_of(time, ZoneInfo(settings.aging_timezone))
    if not is_due(book, settings, time):
        return None
    with runs.alone(NAME), book.session() as connection, connection.transaction():
        if connection.execute(AGED, day._asdict()).fetchone() != (False,):
            return None
        aged = connection.execute(AGE, {"ceiling": settings.aging_ceiling, "never": list(book.rules().never)}).rowcount
        connection.execute(RECORD, {**day._asdict(), "counts": Jsonb({"aged": aged})})
    return aged
