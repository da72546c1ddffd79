"""What the processes count, and the endpoint that Prometheus asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.settings import RunSettings

LAG = Gauge(
    "leadstream_lag_seconds",
    "How long ago the source committed what was processed last; on a quiet server, the age of its last heartbeat.",
    ["process"],
)
PROGRESS = Gauge(
    "leadstream_progress_timestamp_seconds",
    "When the last batch was committed, heartbeats included; before the first one, when the work began.",
    ["process"],
)
ROWS = Counter("leadstream_rows", "Row changes processed.", ["process", "table", "operation"])
BATCHES = Counter("leadstream_batches", "Batches committed.", ["process"])
BATCH_SECONDS = Histogram(
    "leadstream_batch_seconds",
    "How long committing a batch took.",
    ["process"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
RECONNECTS = Counter("leadstream_reconnects", "Times a lost server was connected to again.", ["process", "server"])
CONVERSIONS = Counter("leadstream_conversions", "Conversions recorded.", ["type"])
QUEUE_CHANGES = Counter("leadstream_queue_changes", "Leads that changed queue.", ["queue_type", "reason"])
SKIPPED = Counter("leadstream_skipped_changes", "Changes not applied, by reason.", ["reason"])
CLAIMS_ASKED = Counter("leadstream_claims_asked", "Claims whose user had to be asked from the replica.")
CLAIM_QUERIES = Counter("leadstream_claim_queries", "Queries for users of claims on the replica.")
CLAIM_HITS = Counter("leadstream_claim_hits", "Requirements whose claim's user was remembered.")
CLAIMS_AHEAD = Counter("leadstream_claims_ahead", "Claims that the replica had moved or deleted before the stream did.")
UNREADABLE = Counter(
    "leadstream_unreadable_changes",
    "Statements and schema changes on captured tables whose rows the binlog does not hold.",
    ["table", "verb"],
)
LOST_NUMBERS = Counter("leadstream_lost_numbers", "Numbers of a lane that can no longer arrive.", ["lane"])
DEAD_LETTERS = Counter("leadstream_dead_letters", "Messages set aside, by what is wrong with them.", ["reason"])
REFUSED = Counter("leadstream_refused_leads", "Leads set aside because PostgreSQL refused their rows.")
LANES_TAKEN = Counter("leadstream_lanes_taken", "Batches dropped because another applier had moved one of their lanes.")
RETRIES = Counter("leadstream_retries", "Batches tried again, by what was in the way.", ["reason"])


class _LaneLag(Collector):
    def __init__(self, versions: Callable[[], Mapping[int, int]]) -> None:
        self._versions = versions

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "leadstream_lane_lag_seconds", "Age of the version that a lane has reached.", labels=["lane"]
        )
        now, versions = time.time(), self._versions()
        yield GaugeMetricFamily("leadstream_lanes", "Lanes that this applier holds.", value=len(versions))
        for lane, version in sorted(versions.items()):
            if version:
                gauge.add_metric([str(lane)], max(0.0, now - version / 1e6))
        yield gauge


@contextmanager
def lane_lag(versions: Callable[[], Mapping[int, int]]) -> Iterator[None]:
    """Tells how many lanes this process has, and the lag of each, at every scrape, inside the block.

    `versions` gives lane → version in µs; a lane that has not moved since its setup (version 0) is left out.
    """
    collector = _LaneLag(versions)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


class Lag:
    """The lag of one process, told from the source's commit time of what it processed last."""

    def __init__(self, process: str) -> None:
        self._ts_us = 0
        LAG.labels(process).set_function(self.seconds)
        self._progress = PROGRESS.labels(process)
        self._progress.set_to_current_time()

    def processed(self, ts_us: int) -> None:
        """Everything that the source committed until `ts_us` (µs since the epoch) is done."""
        self._ts_us = ts_us
        self._progress.set_to_current_time()

    def seconds(self) -> float:
        """Seconds since then; 0 before anything was processed."""
        return max(0.0, time.time() - self._ts_us / 1e6) if self._ts_us else 0.0


def serve(settings: RunSettings) -> None:
    """Opens the endpoint where METRICS_PORT says so. Raises OSError where the port is taken."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
