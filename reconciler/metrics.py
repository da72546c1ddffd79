"""What the reconciler counts; scraped at /metrics. No label ever names a user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from reconciler.sweeps import Report
from reconciler.watch import Snapshot

CONVERSIONS: Final = Counter(
    "leadstream_reconciler_conversions", "Conversions that the stream missed and a run recorded.", ["run", "type"]
)
DRIFT: Final = Counter("leadstream_reconciler_drift", "Confirmed differences from MySQL.", ["run", "kind"])
MENDED: Final = Counter("leadstream_reconciler_mended", "Leads mended; this should be zero.", ["run"])
LEFT: Final = Counter("leadstream_reconciler_left", "Leads whose drift could not be confirmed yet.", ["run"])
REFUSED: Final = Counter("leadstream_reconciler_refused", "Leads that PostgreSQL refused.", ["run"])
CHECKED: Final = Counter("leadstream_reconciler_checked", "Leads compared with MySQL.", ["run"])
QUERIES: Final = Counter("leadstream_reconciler_replica_queries", "Queries sent to the replica.", ["run"])
RUNS: Final = Counter("leadstream_reconciler_runs", "Runs, by how they ended.", ["run", "outcome"])
RUN_SECONDS: Final = Histogram(
    "leadstream_reconciler_run_seconds",
    "How long a run took.",
    ["run"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
)
PRECALLS: Final = Counter(
    "leadstream_precalls", "Pre-call checks, by where the answer came from and what it was.", ["source", "agrees"]
)
PRECALL_SECONDS: Final = Histogram(
    "leadstream_precall_seconds",
    "How long a pre-call check took.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
)
PRECALL_DRIFT: Final = Counter("leadstream_precall_drift", "Pre-call checks that saw drift and queued a recheck.")


def count(report: Report) -> None:
    """Counts what a run of this process did."""
    name, tally = report.name, report.tally
    RUNS.labels(name, report.outcome).inc()
    RUN_SECONDS.labels(name).observe(report.milliseconds / 1000)
    for counter, number in (
        (CHECKED, tally.checked),
        (MENDED, tally.mended),
        (LEFT, tally.left),
        (REFUSED, tally.failed),
        (QUERIES, report.queries),
    ):
        counter.labels(name).inc(number)
    for kind, number in tally.drift.items():
        DRIFT.labels(name, kind).inc(number)
    for conversion_type, number in tally.conversions.items():
        CONVERSIONS.labels(name, conversion_type).inc(number)


class _Watched(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the watch saw last."""
        seen = self._snapshot()
        success = GaugeMetricFamily(
            "leadstream_reconciler_last_success_timestamp_seconds",
            "When the last successful run started, by whichever process.",
            labels=["run"],
        )
        for name, run in seen.last_runs.items():
            success.add_metric([name], run.started_at.timestamp())
        yield success
        yield _gauge("leadstream_rechecks_due", "Rechecks whose time has come.", seen.rechecks_due)
        yield _gauge("leadstream_rechecks_waiting", "Rechecks queued, due or not.", seen.rechecks_waiting)
        yield _gauge(
            "leadstream_stream_lag_seconds", "Age of what the slowest lane has reached in PostgreSQL.", seen.stream_lag
        )
        yield _gauge(
            "leadstream_replica_lag_seconds",
            "How far the replica is behind its own source; infinite where replication stands still.",
            seen.replica_lag,
        )
        yield _gauge("leadstream_replica_up", "Whether the replica answers.", float(seen.replica_up))
        yield _gauge("leadstream_store_up", "Whether PostgreSQL answers.", float(seen.store_up))
        queues = GaugeMetricFamily("leadstream_queue_leads", "Leads in each queue.", labels=["queue_type"])
        for queue_type, leads in seen.queues.items():
            queues.add_metric([queue_type], leads)
        yield queues


def _gauge(name: str, what: str, value: float | None) -> GaugeMetricFamily:
    """A gauge without labels; without a sample where nothing is known."""
    gauge = GaugeMetricFamily(name, what)
    if value is not None:
        gauge.add_metric([], value)
    return gauge


@contextmanager
def watched(snapshot: Callable[[], Snapshot]) -> Iterator[None]:
    """Tells at every scrape what the watch saw last, inside the block."""
    collector = _Watched(snapshot)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)
