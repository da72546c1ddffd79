"""What the processes count, and the endpoint that Prometheus asks."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from consumer.settings import RunSettings

LAG = Gauge(
    "leadstream_lag_seconds",
    "How long ago the source committed what was processed last; on a quiet server, the age of its last heartbeat.",
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


class Lag:
    """The lag of one process, told from the source's commit time of what it processed last."""

    def __init__(self, process: str) -> None:
        self._ts_us = 0
        LAG.labels(process).set_function(self.seconds)

    def processed(self, ts_us: int) -> None:
        """Everything that the source committed until `ts_us` (µs since the epoch) is done."""
        self._ts_us = ts_us

    def seconds(self) -> float:
        """Seconds since then; 0 before anything was processed."""
        return max(0.0, time.time() - self._ts_us / 1e6) if self._ts_us else 0.0


def serve(settings: RunSettings) -> None:
    """Opens the endpoint where METRICS_PORT says so. Raises OSError where the port is taken."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
