"""What the processes count, and the endpoint that Prometheus asks. Counted by the batch, never by the row.

No label names a customer, and each has few values; `docs/reference/metrics.md` is made from what is declared here and
in `reconciler.metrics`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.leads.model import ConversionType, QueueType, Reason, Table
from consumer.leads.outcome import Outcome
from consumer.measures import (
    APPLIER,
    EXPOSED,
    READER,
    RECONCILER,
    begin,
    counter,
    durations,
    gauge,
    histogram,
    registered,
    scraped,
)
from consumer.settings import DeploymentSettings, RunSettings, SettingsError, load
from consumer.versions import age

STREAM: Final = (READER, APPLIER)
TABLES: Final = tuple(Table)
LANE: Final = "0 to LANES - 1"
COMMIT_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
DELAY_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)
DAY: Final = 86_400
WAIT_BUCKETS: Final = (60, 600, 3600, 4 * 3600, DAY, 2 * DAY, 4 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY)

LAG: Final = gauge(
    "leadstream_lag_seconds",
    "How long ago the source committed what was processed last; on a quiet server, the age of its last heartbeat.",
    *STREAM,
    process=STREAM,
)
PROGRESS: Final = gauge(
    "leadstream_progress_timestamp_seconds",
    "When the last batch was committed, heartbeats included; before the first one, when the work began.",
    *STREAM,
    process=STREAM,
)
ROWS: Final = counter(
    "leadstream_rows",
    "Row changes processed: c created, u updated, d deleted.",
    *STREAM,
    process=STREAM,
    table=TABLES,
    operation=("c", "u", "d"),
)
BATCH_SECONDS: Final = histogram(
    "leadstream_batch_seconds", "How long committing a batch took.", COMMIT_BUCKETS, *STREAM, process=STREAM
)
RECONNECTS: Final = counter(
    "leadstream_reconnects",
    "Attempts to reach a server again after it was lost.",
    *STREAM,
    RECONCILER,
    process=(*STREAM, RECONCILER),
    server=("mysql", "kafka", "postgres"),
)
CONVERSIONS: Final = counter(
    "leadstream_conversions",
    "Conversions recorded, by what found them; a sweep finds only what the stream missed.",
    APPLIER,
    RECONCILER,
    type=tuple(ConversionType),
    source=("stream", "sweep"),
)
TIME_TO_CONVERSION: Final = durations(
    "leadstream_time_to_conversion_seconds",
    "How long a customer stood in a queue until the conversion, by MySQL's clock.",
    WAIT_BUCKETS,
    APPLIER,
    RECONCILER,
    type=tuple(ConversionType),
)

CORRECTED_TIMES: Final = counter(
    "leadstream_reader_corrected_commit_times",
    "Transactions whose commit time lay ahead of the server's clock, or long before the transaction before it.",
    READER,
    wrong=("ahead", "behind"),
)
VERSIONS_AHEAD: Final = gauge(
    "leadstream_reader_versions_ahead_seconds",
    "How far versions were ahead of the server's clock at the last heartbeat; more than seconds: it was put back.",
    READER,
)
BACKLOG_BYTES: Final = gauge(
    "leadstream_reader_lag_bytes",
    "Bytes of the binlog that are still to be read, at the last heartbeat; files between count with max_binlog_size.",
    READER,
)
BACKLOG_ROWS: Final = gauge(
    "leadstream_reader_lag_rows",
    "About how many captured rows these bytes hold, by how many the bytes before held.",
    READER,
)
SENT: Final = scraped(
    "leadstream_lane_sent_rows",
    "Messages of a lane that the reader has committed to Kafka since `consumer setup`, heartbeats included.",
    READER,
    lane=LANE,
)
CLAIMS_ASKED: Final = counter("leadstream_claims_asked", "Claims whose user had to be asked from the replica.", READER)
CLAIM_QUERIES: Final = counter(
    "leadstream_claim_queries", "Look-ups on the replica: queries for users of claims.", READER
)
CLAIM_HITS: Final = counter("leadstream_claim_hits", "Requirements whose claim's user was remembered.", READER)
VERBS: Final = (
    "ALTER", "CREATE", "DELETE", "DROP", "INSERT", "LOAD", "MODIFY", "RENAME", "REPLACE", "TRUNCATE", "UPDATE", "OTHER",
)  # fmt: skip
UNREADABLE: Final = counter(
    "leadstream_unreadable_changes",
    "Statements and schema changes on captured tables; of all but CREATE and ALTER, the binlog lacks the rows.",
    READER,
    table=(*TABLES, "unknown"),
    verb=VERBS,
)

LANES: Final = scraped("leadstream_lanes", "Lanes that this applier holds.", APPLIER)
LANE_LAG: Final = scraped(
    "leadstream_lane_lag_seconds", "Age of the version that a lane has reached in PostgreSQL.", APPLIER, lane=LANE
)
APPLIED: Final = scraped(
    "leadstream_lane_applied_rows",
    "Messages of a lane that are applied since `consumer setup`, heartbeats included.",
    APPLIER,
    lane=LANE,
)
DELAY: Final = histogram(
    "leadstream_delay_seconds",
    "From the commit in MySQL to the commit in PostgreSQL, of the oldest change of each batch.",
    DELAY_BUCKETS,
    APPLIER,
)
QUEUE_CHANGES: Final = counter(
    "leadstream_queue_changes",
    "Leads that changed queue.",
    APPLIER,
    begins_at_zero=False,
    queue_type=tuple(QueueType),
    reason=tuple(Reason),
)
SKIPPED: Final = counter(
    "leadstream_skipped_changes",
    "Changes that were not applied because they were known already, or concern another lane.",
    APPLIER,
    reason=("orphan of another lane", "read live already", "older than what we hold"),
)
RECHECKS_QUEUED: Final = counter("leadstream_rechecks_queued", "Leads that the stream queued for a live read.", APPLIER)
LOST_NUMBERS: Final = counter(
    "leadstream_lost_numbers", "Numbers of a lane that can no longer arrive: changes lost in Kafka.", APPLIER, lane=LANE
)
DEAD_LETTERS: Final = counter(
    "leadstream_dead_letters",
    "Messages set aside, by what is wrong with them.",
    APPLIER,
    reason=("undecodable", "other_epoch", "repeated_number", "skipped_number", "foreign"),
)
DEAD_LETTERS_EXPIRED: Final = counter(
    "leadstream_dead_letters_expired",
    "Dead letters dropped for their age before anybody resolved them.",
    APPLIER,
    RECONCILER,
)
REFUSED: Final = counter("leadstream_refused_leads", "Leads set aside because PostgreSQL refused their rows.", APPLIER)
RETRIES: Final = counter(
    "leadstream_retries",
    "Batches tried again, by what was in the way.",
    APPLIER,
    reason=("TransactionConflict", "StoreUnavailable", "KafkaLost"),
)


class Reached(NamedTuple):
    """How far a lane is applied: its version in µs, 0 before anything moved it, and its next number."""

    version: int
    next_seq: int


class _Lanes(Collector):
    def __init__(self, reached: Callable[[], Mapping[int, Reached]]) -> None:
        self._reached = reached

    def collect(self) -> Iterator[GaugeMetricFamily]:
        held, lag, applied = LANES.family(), LANE_LAG.family(), APPLIED.family()
        now, lanes = time.time(), self._reached()
        held.add_metric([], len(lanes))
        for lane, (version, next_seq) in sorted(lanes.items()):
            applied.add_metric([str(lane)], next_seq - 1)
            old = age(version, now)
            if old is not None:
                lag.add_metric([str(lane)], old)
        yield from (held, lag, applied)


class Sent(Collector):
    """How many messages of each lane are in Kafka."""

    def __init__(self, next_seqs: Callable[[], list[int]]) -> None:
        """`next_seqs` are each lane's next number."""
        self._next_seqs = next_seqs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        sent = SENT.family()
        for lane, next_seq in enumerate(self._next_seqs()):
            sent.add_metric([str(lane)], next_seq - 1)
        yield sent


@contextmanager
def lanes_applied(reached: Callable[[], Mapping[int, Reached]], lanes: int) -> Iterator[None]:
    """Reports at every scrape, inside the block, which of all `lanes` this applier has and how far each is."""
    for lane in range(lanes):
        LOST_NUMBERS.labels(str(lane))
    with registered(_Lanes(reached)):
        yield


def count_conversions(outcome: Outcome, source: str) -> None:
    """Counts the conversions that a committed outcome added; `source` is `stream` or `sweep`."""
    waited: dict[str, list[float]] = {}
    for conversion in outcome.conversions:
        if (conversion.user_id, conversion.stint) in outcome.there:
            continue
        opened_at = outcome.stints[conversion.user_id, conversion.stint].opened_at
        waited.setdefault(conversion.conversion_type, []).append((conversion.converted_at - opened_at) / 1e6)
    for kind, seconds in waited.items():
        CONVERSIONS.labels(kind, source).inc(len(seconds))
        TIME_TO_CONVERSION.add(seconds, kind)


def count_queue_changes(outcome: Outcome) -> None:
    """Counts the leads of a committed outcome that changed queue."""
    changes = Counter((change.queue_type, change.reason) for change in outcome.queue_changes.values())
    for (queue_type, reason), count in changes.items():
        QUEUE_CHANGES.labels(queue_type, reason).inc(count)


class Lag:
    """The lag of one process, by the source's commit time of what it processed last."""

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


def serve(process: str, settings: RunSettings) -> None:
    """Begins this process's metrics, and opens the endpoint where METRICS_PORT says so.

    Raises SettingsError where the address cannot be had.
    """
    begin(process, load(DeploymentSettings).topic_prefix)
    host, port = settings.metrics_host, settings.metrics_port
    if not port:
        return
    try:
        start_http_server(port, host, EXPOSED)
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be listened on ({error.strerror});"
            " set METRICS_HOST and METRICS_PORT to a free address"
        ) from error
