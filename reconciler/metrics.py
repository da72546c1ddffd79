"""What the reconciler counts; scraped at /metrics. No label ever names a user."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.leads.drift import Drift
from consumer.leads.model import ConversionType, QueueType
from consumer.measures import RECONCILER, Measure, counter, histogram, scraped
from consumer.store.conversion_events import Waiting
from consumer.store.dead_letters import Defect
from consumer.versions import age
from reconciler.conversions import ConversionKind
from reconciler.monitor.kafka import StreamSeen
from reconciler.monitor.servers import RunState, Snapshot, is_made_up_for
from reconciler.monitor.today import SinceMidnight
from reconciler.names import RECHECKS, RUN_NAMES, STARTABLE
from reconciler.runs import backfill, verify
from reconciler.runs.drift import EntryKind
from reconciler.runs.sweeps import Report

OUTCOMES: Final = ("ok", "stopped", "failed", "refused", "drift", "dry-run")
KINDS: Final = (*Drift, *EntryKind, *ConversionKind, verify.CALL_CENTRE)
SHADOW: Final = "shadow"
DISABLED: Final = "disabled"
SWEEPS_OFF: Final = "sweeps_off"
MODES: Final = (SHADOW, DISABLED, SWEEPS_OFF)
"""SHADOW_MODE, not SMART_DISCOVERY_ENABLED, and SWEEPS without some of them."""
RUNS_SERVED: Final = (*STARTABLE, verify.NAME)
RUN_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
PRECALL_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)

DRIFT: Final = counter(
    "leadstream_reconciler_drift",
    "Confirmed differences from MySQL, and of the call centre's tables from what they should say.",
    RECONCILER,
    run=RUNS_SERVED,
    kind=KINDS,
)
REPAIRED: Final = counter(
    "leadstream_reconciler_repaired", "Leads repaired; this should be zero.", RECONCILER, run=RUNS_SERVED
)
LEFT: Final = counter(
    "leadstream_reconciler_left",
    "Leads left for later: drift unconfirmed, or entries held.",
    RECONCILER,
    run=RUNS_SERVED,
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
    outcome=OUTCOMES,
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
    "leadstream_precall_drift", "Pre-call checks and explanations that saw drift and queued a recheck.", RECONCILER
)

EVENTS_PUBLISHED: Final = counter(
    "leadstream_conversion_events_published",
    "Conversions written to their topic by this process, some perhaps twice; where PUBLISH_CONVERSIONS is true.",
    RECONCILER,
)

LAST_SUCCESS: Final = scraped(
    "leadstream_reconciler_last_success_timestamp_seconds",
    "When the last successful run started, by whichever process.",
    RECONCILER,
    run=RUN_NAMES,
)
SUCCEEDED: Final = scraped(
    "leadstream_run_succeeded",
    "Whether a run of that name was ever successful (1) or none yet (0), by whichever process.",
    RECONCILER,
    run=RUN_NAMES,
)
RECHECKS_DUE: Final = scraped("leadstream_rechecks_due", "Rechecks whose time has come.", RECONCILER)
RECHECKS_WAITING: Final = scraped("leadstream_rechecks_waiting", "Rechecks queued, due or not.", RECONCILER)
RECHECKS_REFUSED: Final = scraped(
    "leadstream_rechecks_refused", "Leads whose rows PostgreSQL refused, waiting until it takes them.", RECONCILER
)
RUN_OUTCOME: Final = scraped(
    "leadstream_run_outcome",
    "1 for how the last run of a name ended, by whichever process; aborted: its process was gone. Of rechecks that"
    " failed, until a sweep has done them.",
    RECONCILER,
    run=RUN_NAMES,
    outcome=(*OUTCOMES, "aborted"),
)
RUN_STARTED: Final = scraped(
    "leadstream_run_started_timestamp_seconds",
    "When the run started that is under way, 0 where none is; a killed process leaves it so until the next run.",
    RECONCILER,
    run=RUN_NAMES,
)
VERIFY_DRIFT: Final = scraped(
    "leadstream_verify_drift", "What the last verify found that came to its end.", RECONCILER, kind=KINDS
)
AUDIT_DIFFERS: Final = scraped(
    "leadstream_audit_differs",
    "Whether the last audit that was not cut short found the binlog and Kafka to differ (1); else 0.",
    RECONCILER,
)
BACKFILL_DONE: Final = scraped(
    "leadstream_backfill_done_ratio", "How much of the users the newest backfill has done, from 0 to 1.", RECONCILER
)
MODE: Final = scraped(
    "leadstream_mode",
    "Whether SHADOW_MODE is true, SMART_DISCOVERY_ENABLED false, some of SWEEPS off (1) or not (0).",
    RECONCILER,
    mode=MODES,
)
CHECKPOINT: Final = scraped(
    "leadstream_reader_checkpoint_timestamp_seconds",
    "When the reader wrote its last checkpoint to Kafka; known where KAFKA_BOOTSTRAP_SERVERS is set.",
    RECONCILER,
)
KAFKA_UP: Final = scraped(
    "leadstream_kafka_up", "Whether Kafka answers with the reader's checkpoint (1) or not (0).", RECONCILER
)
BINLOG_RETENTION: Final = scraped(
    "leadstream_binlog_retention_seconds",
    "For how long the server keeps its binlogs; infinite where it never purges by itself. Absent where that is a"
    " setting of Amazon's that our account may not see. Asked every six hours.",
    RECONCILER,
)
BINLOG_LOSS: Final = scraped(
    "leadstream_binlog_until_loss_seconds",
    "Until what the reader has yet to read is purged: the retention less the age of its checkpoint.",
    RECONCILER,
)
TOPICS_RETENTION: Final = scraped(
    "leadstream_topics_retention_seconds",
    "For how long the lanes' topics keep changes; infinite where they keep them for ever.",
    RECONCILER,
)
TOPICS_LOSS: Final = scraped(
    "leadstream_topics_until_loss_seconds",
    "Until Kafka drops what the appliers have yet to apply: the retention less the age of the oldest lane in which"
    " something waits.",
    RECONCILER,
)
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
CONVERSIONS_TODAY: Final = scraped(
    "leadstream_conversions_today",
    "Conversions since midnight of AGING_TIMEZONE as PostgreSQL has them, counted every minute: those of the page.",
    RECONCILER,
    type=tuple(ConversionType),
    source=("stream", "sweep"),
)
REPAIRED_TODAY: Final = scraped(
    "leadstream_repaired_today",
    "Leads that runs of any process repaired since midnight of AGING_TIMEZONE, counted every minute.",
    RECONCILER,
)
QUEUE_LEADS: Final = scraped(
    "leadstream_queue_leads", "Leads in each queue, counted every minute.", RECONCILER, queue_type=tuple(QueueType)
)
EVENTS_WAITING: Final = scraped(
    "leadstream_conversion_events_waiting",
    "Conversions that their topic has yet to get, counted up to 10,000 every ten seconds; known where"
    " PUBLISH_CONVERSIONS is true.",
    RECONCILER,
)
EVENTS_OLDEST: Final = scraped(
    "leadstream_conversion_events_oldest_seconds",
    "For how long the oldest conversion has waited to be written to its topic, that it has no number yet included;"
    " 0 where none waits.",
    RECONCILER,
)
PUBLISHER_FAILING: Final = scraped(
    "leadstream_conversion_publisher_failing_seconds",
    "For how long this process has failed to write conversions to their topic; 0 while it writes, or another does.",
    RECONCILER,
)


class Publishing(NamedTuple):
    """How conversions get into their topic: what waits, None before that was looked at, and for how long (s) nothing
    could be written."""

    waiting: Waiting | None
    failing_seconds: float


def count(report: Report) -> None:
    """Counts what a run of this process did."""
    name, tally = report.name, report.tally
    RUNS.labels(name, report.outcome).inc()
    RUN_SECONDS.labels(name).observe(report.milliseconds / 1000)
    for counted, number in (
        (CHECKED, tally.checked),
        (REPAIRED, tally.repaired),
        (LEFT, tally.left_to_recheck),
        (REFUSED, tally.failed),
        (RECHECKED, tally.rechecks),
        (QUERIES, report.queries),
    ):
        counted.labels(name).inc(number)
    for kind, number in tally.drift.items():
        DRIFT.labels(name, kind).inc(number)


@dataclass(eq=False)
class Monitored(Collector):
    """What was seen last of the servers and of Kafka, and which MODES are on.

    What is `switched_off` at the time is left out: nobody waits for it. `publishing` is how conversions get into their
    topic, None where nobody wants that.
    """

    snapshot: Callable[[], Snapshot]
    stream: Callable[[], StreamSeen]
    modes: Mapping[str, bool]
    switched_off: Callable[[], Collection[str]]
    publishing: Callable[[], Publishing | None]
    _known: StreamSeen = field(default_factory=StreamSeen, init=False)
    """What Kafka answered last: time passes for what it keeps while it is away, too."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the monitors saw last."""
        seen, switched_off = self.snapshot(), self.switched_off()
        success, queues, letters = LAST_SUCCESS.family(), QUEUE_LEADS.family(), DEAD_LETTERS.family()
        for name, run in seen.last_runs.items():
            if name not in switched_off:  # nobody waits for it, so no alert may
                success.add_metric([name], run.started_at.timestamp())
        succeeded = SUCCEEDED.family()
        for name in RUN_NAMES if seen.rechecks_due is not None else ():  # before the first look nobody knows
            if name not in switched_off:
                succeeded.add_metric([name], float(name in seen.last_runs))
        yield from self._runs(seen, switched_off)
        yield from _of_today(seen.today)
        yield from self._kept(seen, self.stream())
        modes = MODE.family()
        for mode in MODES:
            modes.add_metric([mode], float(self.modes.get(mode, False)))
        yield modes
        for queue_type in QueueType if seen.queues else ():
            queues.add_metric([queue_type], seen.queues.get(queue_type, 0))
        for reason in Defect if seen.rechecks_due is not None else ():  # they are there while PostgreSQL is away, too
            letters.add_metric([reason], seen.dead_letters.get(reason, 0))
        yield from (success, succeeded, queues, letters)
        publishing = self.publishing()
        waiting = None if publishing is None else publishing.waiting
        oldest = None if waiting is None else max(0.0, time.time() - waiting.since) if waiting.since else 0.0
        yield _known(EVENTS_WAITING, None if waiting is None else waiting.events)
        yield _known(EVENTS_OLDEST, oldest)
        yield _known(PUBLISHER_FAILING, None if publishing is None else publishing.failing_seconds)
        replica_lag = 0.0 if seen.replica_up and seen.replica_lag is None else seen.replica_lag
        for measure, value in (
            (RECHECKS_DUE, seen.rechecks_due),
            (RECHECKS_WAITING, seen.rechecks_waiting),
            (RECHECKS_REFUSED, seen.rechecks_refused),
            (REPLICA_LAG, replica_lag),
            (REPLICA_UP, float(seen.replica_up)),
            (STORE_UP, float(seen.store_up)),
        ):
            yield _known(measure, value)

    def _runs(self, seen: Snapshot, switched_off: Collection[str]) -> Iterator[GaugeMetricFamily]:
        """How runs ended, which are under way, what verify and audit found, and how far a backfill is."""
        outcomes, started, drift = RUN_OUTCOME.family(), RUN_STARTED.family(), VERIFY_DRIFT.family()
        for name, state in seen.runs.items():
            if name in switched_off:
                continue
            if state.outcome is not None and not _is_past(name, state, seen):
                outcomes.add_metric([name, state.outcome], 1)
            started.add_metric([name], state.started_at.timestamp() if state.running else 0)
        for kind in KINDS if verify.NAME in seen.runs else ():
            drift.add_metric([kind], seen.verify_drift.get(kind, 0))
        filled = seen.runs.get(backfill.NAME)
        yield from (outcomes, started, drift, _known(BACKFILL_DONE, filled.share if filled else None))
        yield _known(AUDIT_DIFFERS, None if seen.audit_differs is None else float(seen.audit_differs))

    def _kept(self, seen: Snapshot, stream: StreamSeen) -> Iterator[GaugeMetricFamily]:
        """How long what is not read or applied yet will be there."""
        asked = stream.is_watched and (stream.failed or not stream.problem)
        if not stream.problem:
            self._known = stream
        known, now = self._known, time.time()
        for measure, value in (
            (KAFKA_UP, float(not stream.failed) if asked else None),
            (CHECKPOINT, known.written_at or None),
            (BINLOG_RETENTION, seen.binlog_retention),
            (BINLOG_LOSS, binlog_until_loss(seen, known, now)),
            (TOPICS_RETENTION, known.retention or None),
            (TOPICS_LOSS, topics_until_loss(seen, known, now)),
        ):
            yield _known(measure, value)


def _is_past(name: str, state: RunState, seen: Snapshot) -> bool:
    """Whether it is no matter any more how the last run of this name ended."""
    if name != RECHECKS or state.outcome not in ("failed", "aborted"):
        return False
    return is_made_up_for(state.started_at, seen.last_runs, is_due=seen.rechecks_due != 0)


def _of_today(today: SinceMidnight | None) -> Iterator[GaugeMetricFamily]:
    """What the day has brought so far."""
    converted = CONVERSIONS_TODAY.family()
    if today is not None:
        for kind in ConversionType:
            for source in CONVERSIONS_TODAY.labels["source"]:
                converted.add_metric([kind, source], today.conversions.get((kind, source), 0))
    yield from (converted, _known(REPAIRED_TODAY, None if today is None else today.repaired))


def binlog_until_loss(seen: Snapshot, stream: StreamSeen, now: float) -> float | None:
    """Seconds until what the reader has yet to read is purged; None where that is not known."""
    behind = age(stream.reader_version, now)
    if seen.binlog_retention is None or behind is None:
        return None
    return max(0.0, seen.binlog_retention - behind)


def topics_until_loss(seen: Snapshot, stream: StreamSeen, now: float) -> float | None:
    """Seconds until Kafka drops what the appliers have yet to apply; None where that is not known.

    A lane in which nothing waits can lose nothing, however old it is: then it is the reader that rests.
    """
    if not stream.retention or not seen.lanes:
        return None
    waiting = [
        age(point.version, now) or 0.0
        for lane, point in seen.lanes.items()
        if lane < len(stream.next_seqs) and point.next_seq < stream.next_seqs[lane]
    ]
    return max(0.0, stream.retention - max(waiting, default=0.0))


def _known(measure: Measure, value: float | None) -> GaugeMetricFamily:
    """A gauge without labels; without a sample where nothing is known."""
    family = measure.family()
    if value is not None:
        family.add_metric([], value)
    return family
