"""Runs by name, each with sessions of its own: what the schedule and the HTTP API start."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import datetime
from threading import Event
from typing import Final

import psycopg
import structlog

from consumer.metrics import DEAD_LETTERS_EXPIRED
from consumer.progress import LineProgress
from consumer.settings import DEAD_LETTER_DAYS
from consumer.store import dead_letters
from consumer.store.conflicts import again_if_in_the_way
from consumer.store.errors import StoreError, StoreUnavailable
from consumer.store.leads import ASKED_FOR_BY
from reconciler import metrics
from reconciler.names import ATTRIBUTION, RECHECKS, SWEEPS
from reconciler.postgres import Postgres
from reconciler.replica import Known
from reconciler.runs import attribution
from reconciler.runs.aging import age, days_due
from reconciler.runs.repair import ask_for_rechecks
from reconciler.runs.run_log import AlreadyRunning, Runs
from reconciler.runs.sessions import Replicas, Settings, open_tools
from reconciler.runs.sweeps import Report, SweepScope
from reconciler.settings import AgingSettings

log = structlog.get_logger(__name__)

SCHEDULE: Final = "schedule"
"""Who starts what nobody asked for."""


class NotAllowed(Exception):
    """A setting forbids this run; the message names it."""


class Jobs:
    """Runs that any thread may start."""

    def __init__(
        self,
        settings: Settings,
        aging: AgingSettings,
        stop: Event,
        known: Known | None = None,
        dead_letter_days: int = DEAD_LETTER_DAYS,
    ) -> None:
        """`known` is what other sessions of the process know of the replica too; dead letters are kept for
        `dead_letter_days`."""
        self.settings = settings
        self._dead_letter_days = dead_letter_days
        self._aging = aging
        self._stop = stop
        self._replicas = Replicas(settings.replica, stop, known)
        self._not_ours: str | None = None
        """Why others attribute conversions, as it was last logged; "": we do, None: that was not looked at yet."""

    def close(self) -> None:
        """Ends the sessions that no run uses; after the last run."""
        self._replicas.close()

    def left_to_others(self) -> frozenset[str]:
        """Runs that nobody need wait for here, as far as is known."""
        return frozenset() if self._not_ours == "" else frozenset({ATTRIBUTION})

    def allow(self, name: str) -> None:
        """Raises NotAllowed where settings forbid runs, or this sweep."""
        if not self.settings.discovery.smart_discovery_enabled:
            raise NotAllowed("SMART_DISCOVERY_ENABLED is false, so nothing is run; set it to true")
        if name in SWEEPS and name not in self.settings.sweeps.sweeps:
            raise NotAllowed(f"{name} is switched off; name it in SWEEPS to switch it on")

    def sweep(self, name: str, scope: SweepScope, *, dry_run: bool = False, by: str = SCHEDULE) -> Report:
        """Runs one of STARTABLE, started by whom. Raises NotAllowed, AlreadyRunning, StoreError and SourceError."""
        self.allow(name)
        with open_tools(self.settings, self._stop, self._replicas, by) as tools:
            return self._done(tools.sweeper(dry_run=dry_run).run(name, scope))

    def recheck(self, user_id: int, by: str) -> None:
        """Queues a customer to be read live by the next rechecks. Raises NotAllowed, StoreError."""
        self.allow(RECHECKS)
        with open_tools(self.settings, self._stop, self._replicas) as tools:
            again_if_in_the_way(ask_for_rechecks, tools.store, [user_id], f"{ASKED_FOR_BY}{by}")
        log.info("recheck_queued", user_id=user_id, by=by)

    def retry_dead_letter(self, number: int, by: str) -> bool:
        """Has the lead of a dead letter read live and resolves it; False where it names no lead.

        Raises NotAllowed, NoSuchDeadLetter, StoreError.
        """
        self.allow(RECHECKS)
        with (
            open_tools(self.settings, self._stop, self._replicas, by) as tools,
            tools.store.transaction() as tx,
        ):
            (letter,) = tx.retry_dead_letters([number])
        if letter.user_id is None:
            return False
        log.info("dead_letter_resolved", number=number, resolution="retried", by=by)
        return True

    def discard_dead_letter(self, number: int, by: str) -> None:
        """Resolves a dead letter without doing anything about it. Raises NoSuchDeadLetter, StoreError."""
        with (
            closing(Postgres(self.settings.database.conninfo)) as postgres,
            postgres.session() as connection,
            connection.transaction(),
        ):
            dead_letters.resolve(connection, dead_letters.choose(connection, [number]), "discarded")
        log.info("dead_letter_resolved", number=number, resolution="discarded", by=by)

    def expire_dead_letters(self) -> None:
        """Drops dead letters that are older than they are kept, a portion at a time, until none is. Raises StoreError.

        What another session holds stays for the next time.
        """
        days = self._dead_letter_days
        with closing(Postgres(self.settings.database.conninfo)) as postgres:
            while not self._stop.is_set():
                with postgres.session() as connection:
                    expired = dead_letters.expire(connection, days)
                if expired.unresolved:
                    log.error(
                        "dead_letters_expired", count=expired.unresolved, days=days, reason="nobody had resolved them"
                    )
                    DEAD_LETTERS_EXPIRED.inc(expired.unresolved)
                if not expired.dropped:
                    return

    def verify(self, *, repair: bool, sample: int | None, by: str = SCHEDULE) -> Report:
        """Compares every user, or a sample. Raises NotAllowed, AlreadyRunning and StoreError."""
        self.allow("verify")
        with (
            open_tools(self.settings, self._stop, self._replicas, by) as tools,
            tools.verification(repair=repair) as verification,
        ):
            return self._done(verification.run(LineProgress("verify"), sample=sample))

    def is_aging_due(self, postgres: Postgres, slot: datetime) -> bool:
        """Whether scores are still to age for a local day up to that of this slot. Raises StoreError."""
        return bool(days_due(postgres, Runs(postgres, self.settings.sweeps.runs_kept_days), self._aging, slot))

    def attribute(self) -> None:
        """Notes whose calls earned conversions, where that is ours to do; otherwise it says so once.

        Raises AlreadyRunning, StoreError, psycopg.Error.
        """
        if self.settings.discovery.shadow_mode:
            return
        try:
            with open_tools(self.settings, self._stop, self._replicas, SCHEDULE) as tools:
                done = attribution.attribute(tools.postgres, tools.runs, self._stop)
        except StoreUnavailable:
            raise
        except (AlreadyRunning, StoreError, psycopg.Error):
            self._not_ours = ""  # it was tried, here or elsewhere
            raise
        if isinstance(done, str):
            if done != self._not_ours:
                log.info("attribution_skipped", reason=done)
            self._not_ours = done
            return
        self._not_ours = ""
        log.log(
            logging.ERROR if done.refused else logging.INFO,
            "run_ended",
            run=ATTRIBUTION,
            checked=done.looked_at,
            filled=done.filled,
            refused=done.refused,
            locked=done.locked,
        )

    def age(self, slot: datetime) -> None:
        """Ages scores for each local day up to that of this slot that was missed. Raises AlreadyRunning, StoreError.

        In shadow mode the old system does: its days are recorded, so that a cut-over makes up for none of them.
        """
        ours = not self.settings.discovery.shadow_mode
        with open_tools(self.settings, self._stop, self._replicas, SCHEDULE) as tools:
            aged = age(tools.postgres, tools.runs, self._aging, slot, ours=ours)
        for day, scores in aged.items() if ours else ():
            log.info("scores_aged", day=day.isoformat(), count=scores.grown)

    @staticmethod
    def _done(report: Report) -> Report:
        metrics.count(report)
        log.log(
            logging.ERROR if report.has_failed else logging.INFO,
            "run_ended",
            run=report.name,
            outcome=report.outcome,
            checked=report.tally.checked,
            repaired=report.tally.repaired,
            conversions=report.tally.conversions.total(),
            left=report.tally.left_to_recheck,
            refused=report.tally.failed,
            queries=report.queries,
            took_seconds=report.milliseconds / 1000,
            reason=report.error,
        )
        return report
