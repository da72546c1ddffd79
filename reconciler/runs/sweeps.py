"""The four sweeps: which users each one looks at, and when.

`new-users` and `new-requirements` look at what was created since the last successful run; `unsigned-conversions` and
`requirements-conversions` at the leads in a queue that were called lately. What they find is compared, confirmed and
repaired by `reconciler.runs.repair`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isinf
from typing import Final, NamedTuple

import psycopg
import structlog

from consumer import local_time
from consumer.leads.model import QueueType, Table
from consumer.mysql.errors import SourceError
from consumer.store.errors import StoreError, TransactionConflict
from consumer.store.runs import Run, Window
from reconciler.mysql_statements import UNHELD
from reconciler.names import RECHECKS
from reconciler.postgres import Postgres
from reconciler.replica import Checksums, LagReading, ReplicaReads
from reconciler.runs.repair import Repairer, RunTally, batches, piecewise, why
from reconciler.runs.run_log import Runs
from reconciler.runs.wait_for_stream import Stopped

log = structlog.get_logger(__name__)

HOUR: Final = 3_600_000_000
PAGE: Final = 10_000
"""Users that a selection brings at a time."""
MARKED_AT_ONCE: Final = 1000
"""Leads that are held while the time of their check is noted."""
SETTLED: Final = 60_000_000
"""Rows (µs) younger than a run's window by this much have higher keys than all that the run saw."""
KNOWN: Final = 50 * 60_000_000
"""For how long (µs) it is enough to know until when the replica had everything: windows end there."""

ASKED_BY: Final = "asked_by"
"""Where a run's counts have who asked for rechecks that it processed, and for how many customers."""

CREATION_SWEEPS: Final = {"new-users": Table.USERS, "new-requirements": Table.CLAIM_REQUIREMENTS}
"""The table whose new rows each of these sweeps looks at."""
CONVERSION_SWEEPS: Final = {
    "unsigned-conversions": QueueType.UNSIGNED_USERS,
    "requirements-conversions": QueueType.REQUIREMENTS_OUTSTANDING,
}
"""The queue whose leads each conversion sweep looks at."""


class SweepScope(NamedTuple):
    """What somebody asked for instead of the usual window; times in µs, spans in hours."""

    since: int | None = None
    hours_back: float | None = None
    everyone: bool = False


class SweepPlan(NamedTuple):
    """How sweeps choose: how far windows overlap (s), how long a call counts as recent (h), and shadow mode."""

    overlap_seconds: int
    recent_hours: int
    shadow: bool


class Report(NamedTuple):
    """What one run did: `outcome` is `ok`, `stopped`, `failed`, `dry-run`, `drift`: a verify found some, or `refused`:
    the run came to its end, and PostgreSQL refused some leads, which wait for their rechecks.
    """

    name: str
    outcome: str
    window: Window | None
    tally: RunTally
    queries: int
    milliseconds: int
    error: str | None = None
    warnings: tuple[str, ...] = ()
    """What makes the run look at less than it should."""

    @property
    def has_failed(self) -> bool:
        """Whether somebody has to look at it, other than for drift."""
        return self.outcome == "failed" or self.tally.failed > 0


def carried_out(work: Callable[[], None]) -> tuple[str, str | None]:
    """How a run's work ended, and the sentence about what it failed by."""
    try:
        work()
    except Stopped:
        return "stopped", None
    except (SourceError, StoreError, psycopg.Error) as problem:
        return "failed", why(problem)
    return "ok", None


def ended(outcome: str, error: str | None, tally: RunTally) -> tuple[str, str | None]:
    """How a run ended, and the sentence about it: PostgreSQL may have refused leads, and MySQL may have users
    whom it cannot hold."""
    unheld = f"{tally.unheld:,} {UNHELD}" if tally.unheld else None
    refusal = tally.refusal() if tally.failed else None
    if refusal and outcome == "ok":
        outcome = "refused"
    return outcome, "; ".join(filter(None, (error, refusal, unheld))) or None


def window_for(name: str, scope: SweepScope, now: int, covered: int | None, plan: SweepPlan) -> Window | None:
    """The span of time that a sweep looks at; None where it looks at everyone, or at rechecks.

    `covered` (µs) is up to where earlier runs looked at everything. A window begins there, less the overlap, and never
    later than an hour ago; conversion sweeps look at calls from as long before that as a call counts as recent. So a
    missed run heals itself.
    """
    if name == RECHECKS or (scope.everyone and name in CONVERSION_SWEEPS):
        return None
    if scope.since is not None:
        return Window(min(max(0, scope.since), now), now)
    if scope.hours_back is not None:
        return Window(max(0, now - round(scope.hours_back * HOUR)), now)
    if name in CONVERSION_SWEEPS:
        return Window(max(0, min(now, covered or now) - plan.recent_hours * HOUR), now)
    start = now - HOUR
    if covered is not None:
        start = min(start, covered - plan.overlap_seconds * 1_000_000)
    return Window(start, now)


class Sweeper:
    """The sweeps by name; never two of the same name at once, in whatever processes (`Runs.alone`)."""

    def __init__(
        self, replica: ReplicaReads, postgres: Postgres, runs: Runs, repairer: Repairer, plan: SweepPlan
    ) -> None:
        self._replica = replica
        self._postgres = postgres
        self._runs = runs
        self._repairer = repairer
        self._plan = plan
        self._warnings: tuple[str, ...] = ()
        self._looked_at: Window | None = None

    def run(self, name: str, scope: SweepScope) -> Report:
        """Processes due rechecks, then looks at the users the sweep is about; records the run.

        Raises AlreadyRunning. What fails is in the report and recorded; a run that was stopped is no successful one, so
        that the next window begins where it should.
        """
        with self._runs.alone(name):
            tally = self._repairer.new_tally()
            self._warnings, self._looked_at = (), None
            queries, began = self._replica.queries, time.monotonic()
            run = None if self._repairer.dry_run else self._runs.start(name)
            outcome, error = carried_out(lambda: self._sweep(name, scope, run, tally))
            if run is None and outcome == "ok":
                outcome = "dry-run"
            outcome, error = ended(outcome, error, tally)
            spent, milliseconds = self._replica.queries - queries, round((time.monotonic() - began) * 1000)
            asked = self._repairer.store.take_askers()
            if run is not None:
                run.finish(outcome, tally.as_counts() | ({ASKED_BY: asked} if asked else {}), spent, error)
            return Report(name, outcome, self._looked_at, tally, spent, milliseconds, error, self._warnings)

    def _sweep(self, name: str, scope: SweepScope, run: Run | None, tally: RunTally) -> None:
        if not self._plan.shadow:
            self._repairer.show_history()
        self._repairer.recheck_due()
        if name == RECHECKS:
            return
        window = self._looked_at = self._window(name, scope)
        if run is not None and window is not None:
            run.set_window(window)
        table = CREATION_SWEEPS.get(name)
        if table is None:
            queue_type = CONVERSION_SWEEPS[name]
            for page in self._postgres.in_queue(queue_type, None if window is None else window.start, PAGE):
                self._look(page)
                self._mark(page)
        else:
            assert window is not None
            self._warnings = self._misdated()
            after = self._runs.cursor_before(name, window.start - SETTLED, self._replica.clock())
            for new in self._replica.created(table, window.start, PAGE, after):
                tally.unheld = new.unheld
                self._look(new.users, new.checksums)
                if run is not None and new.last_id is not None:
                    run.set_cursor(new.last_id)

    def _misdated(self) -> tuple[str, ...]:
        """Sentences on tables whose `created_at` is no UTC, so that a window of it misses their rows."""
        seen = self._postgres.first_seen()
        if len(seen) < local_time.ENOUGH:
            return ()
        live = self._replica.read_users(seen)
        rows = [
            local_time.Created(table.value, created / 1e6, seen[user_id])
            for user_id, lead in live.leads.items()
            for (table, _), created in lead.created_at.items()
            if created is not None
        ]
        found = local_time.misdated(rows, live.ended / 1e6)
        for table, off in found.items():
            log.warning("created_at_not_utc", table=table, off_seconds=round(off), hint=local_time.HINT)
        return tuple(
            f"{local_time.sentence(table, off)}, so this sweep misses new rows; {local_time.HINT}"
            for table, off in found.items()
        )

    def _look(self, user_ids: list[int], known: Checksums | None = None) -> None:
        self._repairer.check(user_ids, known)
        self._repairer.resolve()
        if not self._plan.shadow:
            self._repairer.check_entries(user_ids)

    def _mark(self, user_ids: list[int]) -> None:
        if not (self._plan.shadow or self._repairer.dry_run):
            for batch in batches(user_ids, MARKED_AT_ONCE):
                piecewise(self._postgres.mark_checked, batch, _unmarked)

    def _window(self, name: str, scope: SweepScope) -> Window | None:
        """Rows carry the replica's time, calls that of the call centre's database.

        A window of created rows ends where what the replica holds does: what comes later, the next window looks at.
        Where nobody can say who was called, because the call centre's tables are yet to come, everyone is looked at.
        """
        covered = self._covered(name)
        if name not in CREATION_SWEEPS:
            if self._plan.shadow and not self._postgres.has_centre():
                return None
            return window_for(name, scope, self._postgres.clock(), covered, self._plan)
        now = self._replica.clock()
        window = window_for(name, scope, now, covered, self._plan)
        assert window is not None
        return window._replace(end=max(window.start, self._complete_until(now)))

    def _complete_until(self, now: int) -> int:
        """Up to when (µs) the replica has everything; 0 where replication stands still, and nobody can say.

        It is enough to know that of a moment of the last hour: the next window begins there.
        """
        lag = self._replica.lag_lately(KNOWN / 1_000_000)
        if lag is None:
            seen = max((self._runs.looked_at_until(name) or 0 for name in CREATION_SWEEPS), default=0)
            if now - seen < KNOWN:
                return seen
            lag = LagReading(self._replica.lag(), time.monotonic())
        if lag.behind is None:
            return now
        if isinf(lag.behind):
            log.warning("replication_stopped", address=str(self._replica.address))
            return 0
        return now - round((lag.behind + time.monotonic() - lag.at) * 1_000_000)

    def _covered(self, name: str) -> int | None:
        """Up to when a sweep, or before its first run the backfill, has seen everything.

        A conversion sweep has seen what came of the calls of so many hours before: its windows are those of calls.
        """
        lead = self._plan.recent_hours * HOUR if name in CONVERSION_SWEEPS else 0
        until = self._runs.looked_at_until(name, lead)
        return self._runs.looked_at_until("backfill") if until is None else until


def _unmarked(user_id: int, error: psycopg.Error | TransactionConflict) -> None:
    log.error("check_not_recorded", user_id=user_id, reason=why(error))
