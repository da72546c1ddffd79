"""When what runs: each sweep's minute, what was missed while nobody ran, rechecks as they fall due, old dead letters.

Every run asks the records first whether its slot was seen to already, so that several processes may keep the same
schedule, a restart repeats nothing, and a slot that was missed or failed is made up for within minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from consumer.mysql.errors import SourceError
from consumer.store.errors import StoreError
from reconciler.names import ATTRIBUTION, RECHECKS, SWEEPS
from reconciler.postgres import Postgres
from reconciler.runner import Jobs
from reconciler.runs import aging
from reconciler.runs.repair import why
from reconciler.runs.run_log import AlreadyRunning
from reconciler.runs.sweeps import SweepScope

log = structlog.get_logger(__name__)

DEAD_LETTERS: Final = "dead-letters"
"""What the log calls the dropping of old dead letters; it is no run, and none is recorded."""
AGING_HOUR: Final = 2
"""The local hour of the daily aging."""
QUARTERS: Final = "5/15"
"""The minutes of the hour at which conversions are attributed; a run looks back to the last one, however long ago."""
EXPIRY: Final = timedelta(hours=1)
"""How often dead letters are dropped for their age."""
CATCH_UP: Final = timedelta(minutes=5)
"""How often slots that were missed, or whose run failed, are looked for."""

SEEN_TO: Final = """
SELECT EXISTS (SELECT FROM leadstream.runs WHERE name = %s AND outcome IN ('ok', 'refused') AND started_at >= %s)
"""
"""Whether a sweep's slot had a run that came to its end."""

DUE: Final = "SELECT EXISTS (SELECT FROM leadstream.rechecks WHERE not_before <= now())"
"""Whether any recheck is due."""


def last_slot(name: str, now: datetime, zone: ZoneInfo) -> datetime:
    """The newest time up to `now` at which this was to run: a sweep's minute, or two o'clock in `zone` for `age`."""
    if name == aging.NAME:
        local = now.astimezone(zone)
        slot = local.replace(hour=AGING_HOUR, minute=0, second=0, microsecond=0, fold=0)
        return (slot if slot <= local else slot - timedelta(days=1)).astimezone(UTC)
    slot = now.replace(minute=SWEEPS[name], second=0, microsecond=0)
    return slot if slot <= now else slot - timedelta(hours=1)


class Schedule:
    """Jobs at their times, each name once at a time."""

    def __init__(self, jobs: Jobs, zone: str, recheck_seconds: float) -> None:
        """`zone` is whose two o'clock the aging waits for; rechecks are looked for every `recheck_seconds`."""
        self._jobs = jobs
        self._zone = ZoneInfo(zone)
        self._recheck_seconds = recheck_seconds
        self._rechecking = Lock()
        chosen = jobs.settings.sweeps.sweeps
        self.names = [name for name in SWEEPS if name in chosen] + [aging.NAME]
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(len(self.names) + 3)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )

    def start(self) -> None:
        """Starts the clock; what was missed runs now."""
        now = datetime.now(UTC)
        for name in self.names:
            self._scheduler.add_job(self._run_if_due, self._trigger(name), args=[name], id=name)
            self._scheduler.add_job(
                self._run_if_due, IntervalTrigger(seconds=CATCH_UP.seconds), args=[name],
                id=f"{name}, if missed", next_run_time=now,
            )  # fmt: skip
        every = IntervalTrigger(seconds=self._recheck_seconds)
        # A second one finds the first still waiting for the stream, and ends: the scheduler would warn each time.
        self._scheduler.add_job(self._recheck, every, id=RECHECKS, next_run_time=now, max_instances=2)
        self._scheduler.add_job(
            self._guarded, CronTrigger(minute=QUARTERS, timezone=UTC), args=[ATTRIBUTION, self._jobs.attribute],
            id=ATTRIBUTION,
        )  # fmt: skip
        self._scheduler.add_job(
            self._guarded, IntervalTrigger(seconds=EXPIRY.seconds), id=DEAD_LETTERS, next_run_time=now,
            args=[DEAD_LETTERS, self._jobs.expire_dead_letters],
        )  # fmt: skip
        self._scheduler.start()

    def stop(self) -> None:
        """Stops the clock and waits for runs under way, which end between two batches."""
        self._scheduler.shutdown(wait=True)

    def _trigger(self, name: str) -> CronTrigger:
        if name == aging.NAME:
            return CronTrigger(hour=AGING_HOUR, minute=0, timezone=self._zone)
        return CronTrigger(minute=SWEEPS[name], timezone=UTC)

    def _run_if_due(self, name: str) -> None:
        slot = last_slot(name, datetime.now(UTC), self._zone)

        def work() -> None:
            if self._is_due(name, slot):
                log.info("run_started", run=name, slot=slot.isoformat())
                self._run(name, slot)

        self._guarded(name, work)

    def _is_due(self, name: str, slot: datetime) -> bool:
        if name != aging.NAME:
            return not self._asked(SEEN_TO, name, slot)
        with closing(Postgres(self._jobs.settings.database.conninfo)) as postgres:
            return self._jobs.is_aging_due(postgres, slot)

    def _run(self, name: str, slot: datetime) -> None:
        if name == aging.NAME:
            self._jobs.age(slot)
        else:
            self._jobs.sweep(name, SweepScope())

    def _recheck(self) -> None:
        def work() -> None:
            if self._asked(DUE):
                self._jobs.sweep(RECHECKS, SweepScope())

        if self._rechecking.acquire(blocking=False):
            try:
                self._guarded(RECHECKS, work)
            finally:
                self._rechecking.release()

    def _asked(self, statement: str, *parameters: object) -> bool:
        with closing(Postgres(self._jobs.settings.database.conninfo)) as postgres, postgres.session() as connection:
            return connection.execute(statement, parameters).fetchone() == (True,)

    @staticmethod
    def _guarded(name: str, work: Callable[[], None]) -> None:
        """Logs what cannot run now; it is tried again at the next look."""
        try:
            work()
        except AlreadyRunning:
            log.debug("run_skipped", run=name, reason="another process runs it")
        except (StoreError, SourceError, psycopg.Error) as error:
            log.warning("run_failed", run=name, reason=why(error))
