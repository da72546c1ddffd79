"""What every alert is tested with: two deployments in one Prometheus, one of them well, the other one sick.

Both have the same instances, as when somebody copied a configuration. Made into files for `promtool test rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

SICK: Final = "production"
WELL: Final = "staging"
VALUES: Final = 15 * 24 * 12
"""How many each series has after those that are written out: enough for two weeks, five minutes apart."""

HEALTHY: Final[Mapping[str, str]] = {
    'leadstream_build_info{process="reader", version="1", instance="r"}': "1x{n}",
    'leadstream_build_info{process="applier", version="1", instance="a"}': "1x{n}",
    'leadstream_build_info{process="applier", version="1", instance="b"}': "1x{n}",
    'leadstream_build_info{process="reconciler", version="1", instance="c"}': "1x{n}",
    'leadstream_progress_timestamp_seconds{process="reader", instance="r"}': "0+60x{n}",
    'leadstream_progress_timestamp_seconds{process="applier", instance="a"}': "0+60x{n}",
    'leadstream_progress_timestamp_seconds{process="applier", instance="b"}': "0+60x{n}",
    'leadstream_lag_seconds{process="reader", instance="r"}': "2x{n}",
    'leadstream_lane_lag_seconds{lane="0", instance="a"}': "2x{n}",
    'leadstream_lane_lag_seconds{lane="1", instance="b"}': "2x{n}",
    'leadstream_lane_sent_rows{lane="0", instance="r"}': "0+10x{n}",
    'leadstream_lane_sent_rows{lane="1", instance="r"}': "0+10x{n}",
    'leadstream_lanes{instance="a"}': "1x{n}",
    'leadstream_lanes{instance="b"}': "1x{n}",
    'leadstream_lost_numbers_total{lane="0", instance="a"}': "0x{n}",
    'leadstream_dead_letters_unresolved{reason="undecodable"}': "0x{n}",
    "leadstream_rechecks_refused": "0x{n}",
    'leadstream_unreadable_changes_total{table="users", verb="ALTER"}': "0+1x{n}",
    'leadstream_unreadable_changes_total{table="users", verb="TRUNCATE"}': "0x{n}",
    'leadstream_reconnects_total{process="reader", server="mysql"}': "0x{n}",
    'leadstream_reader_corrected_commit_times_total{wrong="ahead"}': "0x{n}",
    "leadstream_reader_versions_ahead_seconds": "0x{n}",
    "leadstream_reader_checkpoint_timestamp_seconds": "0+60x{n}",
    "leadstream_kafka_up": "1x{n}",
    "leadstream_binlog_retention_seconds": "604800x{n}",
    "leadstream_binlog_until_loss_seconds": "604798x{n}",
    "leadstream_topics_retention_seconds": "1209600x{n}",
    "leadstream_topics_until_loss_seconds": "1209598x{n}",
    'leadstream_reconciler_last_success_timestamp_seconds{run="new-users"}': "0+60x{n}",
    'leadstream_reconciler_last_success_timestamp_seconds{run="verify"}': "0x{n}",
    'leadstream_reconciler_last_success_timestamp_seconds{run="age"}': "0x{n}",
    'leadstream_reconciler_last_success_timestamp_seconds{run="audit"}': "0+60x{n}",
    'leadstream_run_succeeded{run="new-users"}': "1x{n}",
    'leadstream_run_succeeded{run="rechecks"}': "0x{n}",
    'leadstream_run_succeeded{run="verify"}': "1x{n}",
    'leadstream_run_succeeded{run="backfill"}': "0x{n}",
    'leadstream_run_succeeded{run="age"}': "1x{n}",
    'leadstream_run_succeeded{run="audit"}': "1x{n}",
    'leadstream_run_outcome{run="new-users", outcome="ok"}': "1x{n}",
    'leadstream_run_outcome{run="verify", outcome="ok"}': "1x{n}",
    'leadstream_run_outcome{run="audit", outcome="ok"}': "1x{n}",
    'leadstream_run_outcome{run="backfill", outcome="stopped"}': "1x{n}",
    'leadstream_run_started_timestamp_seconds{run="backfill"}': "1x{n}",
    'leadstream_run_started_timestamp_seconds{run="verify"}': "0x{n}",
    "leadstream_backfill_done_ratio": "0+0.001x{n}",
    'leadstream_reconciler_run_seconds_bucket{run="new-users", le="30.0"}': "0+1x{n}",
    'leadstream_reconciler_run_seconds_bucket{run="new-users", le="60.0"}': "0+1x{n}",
    'leadstream_reconciler_run_seconds_bucket{run="new-users", le="+Inf"}': "0+1x{n}",
    'leadstream_reconciler_repaired_total{run="new-users"}': "0x{n}",
    'leadstream_conversions_total{type="signature_obtained", source="stream"}': "0+5x{n}",
    'leadstream_conversions_total{type="signature_obtained", source="sweep"}': "0x{n}",
    "leadstream_rechecks_due": "3x{n}",
    "leadstream_replica_up": "1x{n}",
    "leadstream_replica_lag_seconds": "0x{n}",
    "leadstream_store_up": "1x{n}",
    'leadstream_precalls_total{source="replica", agrees="true"}': "0+60x{n}",
    'leadstream_precalls_total{source="state", agrees="true"}': "0x{n}",
    'leadstream_precall_seconds_bucket{le="0.01"}': "0+60x{n}",
    'leadstream_precall_seconds_bucket{le="0.5"}': "0+60x{n}",
    'leadstream_precall_seconds_bucket{le="+Inf"}': "0+60x{n}",
    'leadstream_mode{mode="shadow"}': "0x{n}",
    'leadstream_mode{mode="disabled"}': "0x{n}",
}
"""Series of a deployment that is well, in promtool's notation; `{n}` is how many more values follow the first."""


@dataclass(frozen=True)
class Case:
    """An alert that fires at `at`: what differs from health (None: that series ends after the first minute), and what
    it says of it, without the deployment's name."""

    alert: str
    at: str
    differs: Mapping[str, str | None]
    severity: str
    summary: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The alert with the prefix that all have."""
        return f"Leadstream{self.alert}"


def _gone(*processes: str) -> dict[str, str | None]:
    return {
        series: None
        for series in HEALTHY
        if series.startswith("leadstream_build_info") and any(f'"{process}"' in series for process in processes)
    }


CHECKPOINT: Final = "leadstream_reader_checkpoint_timestamp_seconds"
RUN: Final = {"run": "new-users"}
OUTCOME: Final = "leadstream_run_outcome"
DONE: Final = 'leadstream_run_outcome{run="verify", outcome="ok"}'
BACKFILL: Final = 'leadstream_run_started_timestamp_seconds{run="backfill"}'

CASES: Final = (
    Case(
        "Down", "5m", _gone("reader", "applier", "reconciler"), "page",
        "no process of this deployment answers, of which there was one within a week.",
    ),
    Case(
        "ReaderDown", "5m", {**_gone("reader"), CHECKPOINT: "0x{n}"}, "page",
        "no reader answers: nothing of MySQL gets into Kafka, and the binlogs are being purged meanwhile.",
    ),
    Case(
        "ReaderStuck", "5m", {'leadstream_progress_timestamp_seconds{process="reader", instance="r"}': "0x{n}"}, "page",
        "the reader has committed nothing for 5m 0s, not even heartbeats.",
    ),
    Case(
        "ReaderLagging", "10m", {'leadstream_lag_seconds{process="reader", instance="r"}': "90x{n}"}, "warn",
        "the reader is 1m 30s behind MySQL.",
    ),
    Case(
        "ApplierDown", "5m", _gone("applier"), "page",
        "no applier answers: changes wait in Kafka, queues and conversions stand still.",
    ),
    Case(
        "ApplierStuck", "5m", {'leadstream_progress_timestamp_seconds{process="applier", instance="a"}': "0x{n}"},
        "page", "the applier a has lanes, and has committed nothing for 5m 0s.", {"instance": "a"},
    ),
    Case(
        "LaneLagging", "5m", {'leadstream_lane_lag_seconds{lane="0", instance="a"}': "180x{n}"}, "page",
        "lane 0 is 3m 0s behind MySQL: its customers stand in old queues.", {"lane": "0"},
    ),
    Case("LanesUnassigned", "3m", {'leadstream_lanes{instance="b"}': "0x{n}"}, "page", "lanes without an applier: 1."),
    Case(
        "KafkaDown", "5m", {"leadstream_kafka_up": "0x{n}"}, "page",
        "the reconciler cannot reach Kafka, or there is no checkpoint.",
    ),
    Case(
        "LossImminent", "10m", {"leadstream_binlog_until_loss_seconds": "18000x{n}"}, "page",
        "in 5.0 hours changes are lost: binlogs are kept no longer.", {"of": "binlogs"},
    ),
    Case(
        "LossNear", "10m",
        {"leadstream_topics_retention_seconds": "604800x{n}", "leadstream_topics_until_loss_seconds": "84600x{n}"},
        "warn", "in 23.5 hours changes are lost: topics are kept no longer.", {"of": "topics"},
    ),
    Case(
        "ChangesLost", "40m", {'leadstream_lost_numbers_total{lane="0", instance="a"}': "0x30 4x{n}"}, "page",
        "4 changes of lane 0 can no longer arrive; its customers are queued for a recheck.", {"lane": "0"},
    ),
    Case(
        "DeadLetters", "3h", {'leadstream_dead_letters_unresolved{reason="undecodable"}': "0x30 2x{n}"}, "warn",
        "2 messages could not be applied and wait to be resolved: undecodable.", {"reason": "undecodable"},
    ),
    Case(
        "ConversionsUnpublished", "10m", {"leadstream_conversion_events_oldest_seconds": "900x{n}"}, "warn",
        "conversions have not got into their topic for 15m 0s.",
    ),
    Case(
        "ConversionsUnpublished", "10m",
        {
            "leadstream_conversion_events_oldest_seconds": "0x{n}",
            'leadstream_conversion_publisher_failing_seconds{instance="c"}': "900x{n}",
        },
        "warn", "conversions have not got into their topic for 15m 0s.",
    ),
    Case(
        "LeadsRefused", "3h", {"leadstream_rechecks_refused": "0x30 2x{n}"}, "warn",
        "PostgreSQL refuses the rows of 2 customers; a constraint or trigger of the call centre is in the way.",
    ),
    Case(
        "UnreadableChanges", "40m",
        {'leadstream_unreadable_changes_total{table="users", verb="TRUNCATE"}': "0x30 1x{n}"}, "warn",
        "TRUNCATE on users: the binlog does not hold the rows of this change.", {"table": "users", "verb": "TRUNCATE"},
    ),
    Case(
        "Reconnecting", "40m", {'leadstream_reconnects_total{process="reader", server="mysql"}': "0+1x{n}"}, "warn",
        "reader reaches mysql only now and then: 10 attempts in ten minutes.",
        {"process": "reader", "server": "mysql"},
    ),
    Case(
        "CommitTimesWrong", "60m", {'leadstream_reader_corrected_commit_times_total{wrong="ahead"}': "0x30 60x{n}"},
        "warn", "of transactions, 60 had a commit time that cannot be right (ahead) and were dated otherwise.",
        {"wrong": "ahead"},
    ),
    Case(
        "ClockPutBack", "10m", {"leadstream_reader_versions_ahead_seconds": "600x{n}"}, "warn",
        "MySQL's clock is 10m 0s behind what the reader saw of it: until it has caught up, drift is not repaired.",
    ),
    Case(
        "ReconcilerDown", "10m", _gone("reconciler"), "page",
        "no reconciler answers: no sweeps, no rechecks, no pre-call checks.",
    ),
    Case(
        "SweepLate", "10m", {'leadstream_reconciler_last_success_timestamp_seconds{run="new-users"}': "-10200x{n}"},
        "warn", "the last successful run of new-users was 3h 0m 0s ago; it should run every hour at least.", RUN,
    ),
    Case(
        "AgingLate", "10m", {'leadstream_reconciler_last_success_timestamp_seconds{run="age"}': "-216000x{n}"}, "warn",
        "scores were aged 2d 12h 10m 0s ago; that should happen daily, but for Sundays.", {"run": "age"},
    ),
    Case(
        "VerifyLate", "10m", {'leadstream_reconciler_last_success_timestamp_seconds{run="verify"}': "-259200x{n}"},
        "warn",
        "everybody was compared with MySQL 3d 0h 10m 0s ago, and nothing differed; that should happen nightly.",
        {"run": "verify"},
    ),
    Case(
        "VerifyFailed", "3h", {DONE: None, 'leadstream_run_outcome{run="verify", outcome="failed"}': "_ _ 1x{n}"},
        "warn", "the last verify did not come to its end: failed.", {"outcome": "failed"},
    ),
    Case(
        "DriftFound", "3h", {DONE: None, 'leadstream_run_outcome{run="verify", outcome="drift"}': "_ _ 1x{n}"},
        "warn", "what the last verify found to differ from MySQL is still so.",
    ),
    Case(
        "AuditLate", "10m", {'leadstream_reconciler_last_success_timestamp_seconds{run="audit"}': "-21600x{n}"},
        "warn",
        "Kafka was held against the binlog 6h 10m 0s ago, and all was equal; that should happen hourly.",
        {"run": "audit"},
    ),
    Case(
        "AuditDiffers", "3h", {"leadstream_audit_differs": "0 0 1x{n}"}, "page",
        "the last audit that was not cut short found rows of the binlog that are missing or different in Kafka.",
    ),
    Case(
        "RunFailing", "80m", {'leadstream_run_outcome{run="rechecks", outcome="failed"}': "1x{n}"}, "warn",
        "rechecks fails again and again: failed.", {"run": "rechecks", "outcome": "failed"},
    ),
    Case(
        "RunStuck", "260m", {'leadstream_run_started_timestamp_seconds{run="verify"}': "600x{n}"}, "warn",
        "verify began 4h 10m 0s ago and has not ended.", {"run": "verify"},
    ),
    Case(
        "BackfillUnfinished", "40m", {BACKFILL: "0x{n}"}, "warn",
        "the backfill has not come to its end, and nobody goes on with it.",
    ),
    Case(
        "BackfillUnfinished", "60m", {"leadstream_backfill_done_ratio": "0.5x{n}", BACKFILL: "60x{n}"}, "warn",
        "the backfill has not come to its end, and nobody goes on with it.",
    ),
    Case(
        "SweepSlow", "40m", {'leadstream_reconciler_run_seconds_bucket{run="new-users", le="30.0"}': "0x{n}"}, "warn",
        "new-users takes 58.5s; it should take 30 s at most.", RUN,
    ),
    Case(
        "DriftRepaired", "40m", {'leadstream_reconciler_repaired_total{run="new-users"}': "0x30 2x{n}"}, "warn",
        "new-users repaired 2 customers that the stream had missed; this should be zero.", RUN,
    ),
    Case(
        "ConversionsMissed", "40m",
        {'leadstream_conversions_total{type="signature_obtained", source="sweep"}': "0x30 2x{n}"}, "warn",
        "a sweep, not the stream, recorded 2 conversions (signature_obtained).", {"type": "signature_obtained"},
    ),
    Case("RechecksWaiting", "20m", {"leadstream_rechecks_due": "2000x{n}"}, "warn",
         "2000 customers wait to be read live."),
    Case("ReplicaDown", "5m", {"leadstream_replica_up": "0x{n}"}, "page",
         "the reconciler cannot reach the MySQL replica."),
    Case(
        "ReplicaLagging", "10m", {"leadstream_replica_lag_seconds": "600x{n}"}, "warn",
        "the replica is 10m 0s behind its own source: nothing of ours can be fresher.",
    ),
    Case("StoreDown", "5m", {"leadstream_store_up": "0x{n}"}, "page", "the reconciler cannot reach PostgreSQL."),
    Case(
        "PrecallSlow", "20m", {'leadstream_precall_seconds_bucket{le="0.01"}': "0x{n}"}, "warn",
        "one pre-call check in a hundred takes longer than 200 ms, or is not answered live within PRECALL_DEADLINE_MS.",
    ),
    Case(
        "PrecallSlow", "20m", {'leadstream_precalls_total{source="state", agrees="true"}': "0+2x{n}"}, "warn",
        "one pre-call check in a hundred takes longer than 200 ms, or is not answered live within PRECALL_DEADLINE_MS.",
    ),
    Case(
        "Disabled", "2h", {'leadstream_mode{mode="disabled"}': "1x{n}"}, "warn",
        "SMART_DISCOVERY_ENABLED is false: nothing is applied and no run starts.",
    ),
)  # fmt: skip
"""In the order of the alerts, evaluated by the minute."""

BY_TEN_MINUTES: Final = (
    Case(
        "ConversionsStopped", "870m",  # 1970-01-01, a Thursday, 14:30 UTC
        {'leadstream_conversions_total{type="signature_obtained", source="stream"}': "0+25x144 3600x{n}"}, "warn",
        "no conversion for two business hours; there are five or more as a rule.",
    ),
)  # fmt: skip

BY_HOUR: Final = (
    *(
        Case(
            "NeverSucceeded", at, {f'leadstream_run_succeeded{{run="{run}"}}': "0x{n}"}, "warn",
            f"{run} has never come to a good end.", {"run": run},
        )
        for run, at in (("new-users", "3h"), ("audit", "7h"), ("age", "61h"), ("verify", "73h"))
    ),
    Case(
        "ModeForgotten", "15d", {'leadstream_mode{mode="shadow"}': "1x{n}"}, "warn",
        "for two weeks it has run with shadow.", {"mode": "shadow"},
    ),
)  # fmt: skip

QUIET: Final = (
    Case("ReaderDown", "10m", _gone("reader"), "", "a reader whose metrics nobody scrapes writes checkpoints"),
    Case("LossNear", "10m", {
        "leadstream_binlog_retention_seconds": "43200x{n}", "leadstream_binlog_until_loss_seconds": "43000x{n}",
    }, "", "binlogs that are kept for twelve hours are no loss while the reader is there"),
    Case("BackfillUnfinished", "60m", {
        BACKFILL: "0x{n}", 'leadstream_run_outcome{run="backfill", outcome="stopped"}': None,
        'leadstream_run_outcome{run="backfill", outcome="ok"}': "_ _ 1x{n}",
    }, "", "a backfill that came to its end"),
)  # fmt: skip
"""What is not health and yet nothing to alert of; `summary` says why."""


QUIET_BY_TEN_MINUTES: Final = (
    Case("ConversionsStopped", "870m", {
        'leadstream_conversions_total{type="signature_obtained", source="stream"}': "0x12 1x{n}",
    }, "", "a call centre that has hardly any conversions"),
    Case("ConversionsStopped", "1260m", {
        'leadstream_conversions_total{type="signature_obtained", source="stream"}': "0+25x216 5400x{n}",
    }, "", "an evening without conversions"),
)  # fmt: skip


QUIET_BY_HOUR: Final = (
    *(
        Case("NeverSucceeded", at, {f'leadstream_run_succeeded{{run="{run}"}}': "0x{n}"}, "", f"{run} has time yet")
        for run, at in (("new-users", "2h"), ("audit", "5h"), ("age", "59h"), ("verify", "71h"))
    ),
    Case("NeverSucceeded", "8h", {'leadstream_run_succeeded{run="audit"}': "0x80 1x{n}"}, "", "an audit that is well"),
    Case("NeverSucceeded", "8h", {'leadstream_run_succeeded{run="audit"}': "0x80 stale"}, "", "no reconciler says so"),
)  # fmt: skip


def series_of(deployment: str, differs: Mapping[str, str | None]) -> list[dict[str, str]]:
    """The series of a deployment, as promtool reads them."""
    found = []
    for series, values in {**HEALTHY, **differs}.items():
        name, _, labels = series.rstrip("}").partition("{")
        named = f'{name}{{deployment="{deployment}"{", " if labels else ""}{labels}}}'
        found.append({"series": named, "values": (values or "1 stale").format(n=VALUES)})
    return found


def promtool_test(case: Case, minutes: int, *, quiet: bool = False) -> dict[str, Any]:
    """One test: of the two deployments the sick one alone is told, or, `quiet`, none. Values are `minutes` apart."""
    expected: list[dict[str, Any]] = []
    if not quiet:
        labels = {"deployment": SICK, "severity": case.severity, **case.labels}
        url = f"docs/how-to/runbook.md#{case.name.lower()}"
        said = {"summary": f"{SICK}: {case.summary}", "runbook_url": url}
        expected = [{"exp_labels": labels, "exp_annotations": said}]
    return {
        "name": f"{case.name}: {case.summary}" if quiet else case.name,
        "interval": f"{minutes}m",
        "input_series": series_of(WELL, {}) + series_of(SICK, case.differs),
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.name, "exp_alerts": expected}],
    }


def all_is_well(alerts: Sequence[str]) -> dict[str, Any]:
    """None of these alerts is told of two deployments that are well, neither at once nor after hours."""
    return {
        "name": "all is well",
        "interval": "1m",
        "input_series": series_of(WELL, {}) + series_of(SICK, {}),
        "alert_rule_test": [
            {"eval_time": at, "alertname": alert, "exp_alerts": []} for at in ("5m", "3h") for alert in alerts
        ],
    }


def files(alerts: Sequence[str], groups: Sequence[str], rules: Sequence[str]) -> Iterator[str]:
    """What `promtool test rules` takes: tests of all `alerts`, in these files of rules, with their groups in order."""
    minute = [promtool_test(case, 1) for case in CASES] + [promtool_test(case, 1, quiet=True) for case in QUIET]
    ten = [promtool_test(case, 5) for case in BY_TEN_MINUTES]
    ten += [promtool_test(case, 5, quiet=True) for case in QUIET_BY_TEN_MINUTES]
    hour = [promtool_test(case, 5) for case in BY_HOUR]
    hour += [promtool_test(case, 5, quiet=True) for case in QUIET_BY_HOUR]
    for interval, tests in (("1m", [all_is_well(alerts), *minute]), ("10m", ten), ("1h", hour)):
        yield yaml.safe_dump(
            {
                "rule_files": list(rules),
                "evaluation_interval": interval,
                "group_eval_order": list(groups),
                "tests": tests,
            }
        )
