"""What the reconciler counts; scraped at /metrics. No label ever names a user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.leads.drift import Drift
from consumer.leads.model import QueueType
from consumer.measures import RECONCILER, Measure, counter, histogram, scraped
from consumer.store.dead_letters import Defect
from reconciler.conversions import ConversionKind
from reconciler.monitor.servers import Snapshot
from reconciler.runs import aging, backfill, verify
from reconciler.runs.drift import EntryKind
from reconciler.runs.sweeps import RECHECKS, Report
from reconciler.settings import SWEEPS

RUNS_SERVED: Final = (*SWEEPS, RECHECKS, verify.NAME)
RUN_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
PRECALL_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)

DRIFT: Final = counter(
    "leadstream_reconciler_drift",
    "Confirmed differences from MySQL, and of the call centre's tables from what they should say.",
    RECONCILER,
    run=RUNS_SERVED,
    kind=(*Drift, *EntryKind, *ConversionKind, verify.CALL_CENTRE),
)
REPAIRED: Final = counter(
    "leadstream_reconciler_repaired", "Leads repaired; this should be zero.", RECONCILER, run=RUNS_SERVED
)
LEFT: Final = counter(
    "leadstream_reconciler_left", "Leads whose drift could not be confirmed yet.", RECONCILER, run=RUNS_SERVED
)
REFUSED: Final = counter("leadstream_reconciler_refused", "Leads that PostgreSQL refused.", RECONCILER, run=RUNS_SERVED)
CHECKED: Final = counter("leadstream_reconciler_checked", "Leads compared with MySQL.", RECONCILER, run=RUNS_SERVED)
QUERIES: Final = counter(
    "leadstream_reconciler_replica_queries", "Look-ups on the replica, in queries.", RECONCILER, run=RUNS_SERVED
)
RECHECKED: Final = counter("leadstream_rechecks_done", "Rechecks processed, by whose run.", RECONCILER, run=RUNS_SERVED)
RUNS: Final = counter(
    "leadstream_reconciler_runs",
    "Runs, by how they ended.",
    RECONCILER,
    run=RUNS_SERVED,
    outcome=("ok", "stopped", "failed", "refused", "drift", "dry-run"),
)
RUN_SECONDS: Final = histogram(
    "leadstream_reconciler_run_seconds", "How long a run took.", RUN_BUCKETS, RECONCILER, run=RUNS_SERVED
)
PRECALLS: Final = counter(
    "leadstream_precalls",
    "Pre-call checks, by where the answer came from and whether it is the queue that the dialler expected.",
    RECONCILER,
    source=("replica", "state"),
    agrees=("true", "false"),
)
PRECALL_SECONDS: Final = histogram(
    "leadstream_precall_seconds", "How long a pre-call check took.", PRECALL_BUCKETS, RECONCILER
)
PRECALL_DRIFT: Final = counter(
    "leadstream_precall_drift", "Pre-call checks that saw drift and queued a recheck.", RECONCILER
)

LAST_SUCCESS: Final = scraped(
    "leadstream_reconciler_last_success_timestamp_seconds",
    "When the last successful run started, by whichever process.",
    RECONCILER,
    run=(*SWEEPS, RECHECKS, verify.NAME, backfill.NAME, aging.NAME),
)
RECHECKS_DUE: Final = scraped("leadstream_rechecks_due", "Rechecks whose time has come.", RECONCILER)
RECHECKS_WAITING: Final = scraped("leadstream_rechecks_waiting", "Rechecks queued, due or not.", RECONCILER)
REPLICA_LAG: Final = scraped(
    "leadstream_replica_lag_seconds",
    "How far the replica is behind its own source: infinite where replication stands still, 0 where it has no source."
    " Asked every 40 minutes, every 10 s while it is late or leads are checked.",
    RECONCILER,
)
REPLICA_UP: Final = scraped("leadstream_replica_up", "Whether the replica answers (1) or not (0).", RECONCILER)
STORE_UP: Final = scraped("leadstream_store_up", "Whether PostgreSQL answers (1) or not (0).", RECONCILER)
DEAD_LETTERS: Final = scraped(
    "leadstream_dead_letters_unresolved",
    "Messages that could not be applied and that nobody has resolved.",
    RECONCILER,
    reason=tuple(Defect),
)
QUEUE_LEADS: Final = scraped(
    "leadstream_queue_leads", "Leads in each queue, counted every minute.", RECONCILER, queue_type=tuple(QueueType)
)


def count(report: Report) -> None:
    """Counts what a run of this process did."""
    name, tally = report.name, report.tally
    RUNS.labels(name, report.outcome).inc()
    RUN_SECONDS.labels(name).observe(report.milliseconds / 1000)
    for counted, number in (
        (CHECKED, tally.checked),
        (REPAIRED, tally.repaired),
        (LEFT, tally.left),
        (REFUSED, tally.failed),
        (RECHECKED, tally.rechecks),
        (QUERIES, report.queries),
    ):
        counted.labels(name).inc(number)
    for kind, number in tally.drift.items():
        DRIFT.labels(name, kind).inc(number)


class _Watched(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot], switched_off: Collection[str]) -> None:
        self._snapshot = snapshot
        self._switched_off = switched_off

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the watch saw last."""
        seen = self._snapshot()
        success, queues, letters = LAST_SUCCESS.family(), QUEUE_LEADS.family(), DEAD_LETTERS.family()
        for name, run in seen.last_runs.items():
            if name not in self._switched_off:  # nobody waits for it, so no alert may
                success.add_metric([name], run.started_at.timestamp())
        for queue_type in QueueType if seen.queues else ():
            queues.add_metric([queue_type], seen.queues.get(queue_type, 0))
        for reason in Defect if seen.store_up else ():
            letters.add_metric([reason], seen.dead_letters.get(reason, 0))
        yield from (success, queues, letters)
        replica_lag = 0.0 if seen.replica_up and seen.replica_lag is None else seen.replica_lag
        for measure, value in (
            (RECHECKS_DUE, seen.rechecks_due),
            (RECHECKS_WAITING, seen.rechecks_waiting),
            (REPLICA_LAG, replica_lag),
            (REPLICA_UP, float(seen.replica_up)),
            (STORE_UP, float(seen.store_up)),
        ):
            yield _known(measure, value)


def _known(measure: Measure, value: float | None) -> GaugeMetricFamily:
    """A gauge without labels; without a sample where nothing is known."""
    family = measure.family()
    if value is not None:
        family.add_metric([], value)
    return family


@contextmanager
def watched(snapshot: Callable[[], Snapshot], switched_off: Collection[str] = ()) -> Iterator[None]:
    """Tells at every scrape what the watch saw last, inside the block; not when what is `switched_off` ran last."""
    collector = _Watched(snapshot, switched_off)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)
