"""Ageing: once a local day every active score below the ceiling grows by one, in one statement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from psycopg.errors import DeadlockDetected
from psycopg.types.json import Jsonb
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from consumer.store.errors import TryAgain
from reconciler.book import Book
from reconciler.runs import Runs
from reconciler.settings import AgingSettings

NAME: Final = "age"

AGED_SINCE: Final = """
SELECT count(*) FROM leadstream.runs WHERE name = 'age' AND outcome = 'ok' AND started_at >= %s
"""
"""Whether the day that began then has been aged already."""

AGE: Final = """
WITH held AS (
    SELECT user_id FROM user_call_scores WHERE is_active AND current_score < %s ORDER BY user_id FOR NO KEY UPDATE
)
UPDATE user_call_scores AS score
SET current_score = score.current_score + 1, updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE score.user_id = held.user_id
"""
"""A day passes for every active lead; their scores are taken in user order, as all writers do."""

RECORD: Final = """
INSERT INTO leadstream.runs (name, started_at, finished_at, outcome, counts, milliseconds)
VALUES ('age', now(), clock_timestamp(), 'ok', %s, extract(epoch FROM clock_timestamp() - now()) * 1000)
"""
"""Records the day, in the transaction that aged it."""


@retry(
    retry=retry_if_exception_type((TryAgain, DeadlockDetected)),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(0.1, max=5),
    reraise=True,
)
def age(book: Book, runs: Runs, settings: AgingSettings, now: datetime) -> int | None:
    """Ages every active score, unless that was done today; returns how many, or None where nothing was to be done.

    `now` is any time with a zone; a day begins at midnight in AGING_TIMEZONE. Raises AlreadyRunning and StoreError.
    """
    local = now.astimezone(ZoneInfo(settings.aging_timezone))
    if settings.is_skipped(local):
        return None
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    with runs.alone(NAME), book.session() as connection, connection.transaction():
        if connection.execute(AGED_SINCE, [midnight]).fetchone() != (0,):
            return None
        aged = connection.execute(AGE, [settings.aging_ceiling]).rowcount
        connection.execute(RECORD, [Jsonb({"aged": aged})])
    return aged
