"""Metrics keep to their declarations: units in names, few labels, series from zero, and a reference that is true."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumer import metrics
from consumer.leads.model import Conversion, ConversionType, QueueType, Reason, Stint
from consumer.leads.outcome import Outcome
from consumer.measures import CATALOGUE, EXPOSED, RECONCILER, Durations, Measure, begin, exposition, registered
from consumer.reader.lag import rows_in
from consumer.store.dead_letters import Defect
from consumer.store.lanes import LanePoint
from reconciler import metrics as reconciler_metrics
from reconciler.monitor.kafka import NOT_WATCHED, StreamSeen
from reconciler.monitor.servers import LastSuccess, RunState, Snapshot

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
HOUR = 3_600_000_000
MOST_SERIES = 150
"""Of one metric in one process, of the labels whose values are listed."""


def told(collector: Durations) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode().splitlines()


def samples(collector: Durations) -> dict[str, float]:
    """Every sample by its name and labels."""
    lines = [line for line in told(collector) if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_every_metric_of_the_reference_stands_there_once() -> None:
    names = re.findall(r"^\| `(leadstream_\w+)`", REFERENCE.read_text(), re.MULTILINE)
    assert sorted(names) == sorted(measure.name for measure in CATALOGUE)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("measure", CATALOGUE, ids=lambda measure: measure.name)
def test_a_name_says_its_unit_and_labels_have_few_values_none_of_them_a_customer(measure: Measure) -> None:
    if measure.kind == "histogram" or "lag" in measure.name.split("_"):
        assert measure.name.endswith(("_seconds", "_rows", "_bytes"))
    assert not {"user", "user_id", "lead", "id"} & set(measure.labels)
    series = 1
    for values in measure.labels.values():
        series *= len(values) if not isinstance(values, str) else 1
    assert series <= MOST_SERIES


def test_dead_letters_are_counted_by_the_stream_s_own_words() -> None:
    reasons = next(measure.labels["reason"] for measure in CATALOGUE if measure.collector is metrics.DEAD_LETTERS)
    assert list(reasons) == [str(defect) for defect in Defect]


def test_series_begin_at_zero_so_that_the_first_of_a_kind_is_an_increase() -> None:
    begin(RECONCILER)
    begin(RECONCILER)
    page = generate_latest().decode()
    assert 'leadstream_reconciler_repaired_total{run="new-users"}' in page
    assert 'leadstream_reconnects_total{process="reconciler",server="postgres"}' in page
    assert 'leadstream_reconciler_drift_total{kind="call_centre_queue",run="verify"}' in page
    assert 'leadstream_precalls_total{agrees="false",source="state"}' in page


def test_every_sample_that_is_exposed_says_of_which_deployment_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXPOSED, "added", {})
    begin(RECONCILER, "production")
    samples = [line for line in exposition().decode().splitlines() if not line.startswith("#")]
    assert len(samples) > 100
    assert {line for line in samples if 'deployment="production"' not in line} == set()
    assert any(
        line.startswith('leadstream_build_info{deployment="production",process="reconciler"') for line in samples
    )
    assert not any("_created" in line for line in samples)
    assert "deployment" not in generate_latest().decode(), "the registry itself is as it was"
    restricted = generate_latest(EXPOSED.restricted_registry(["leadstream_build_info"])).decode()
    assert 'leadstream_build_info{deployment="production"' in restricted
    assert "leadstream_reconciler_runs_total" not in restricted


def test_until_loss_is_what_retention_leaves_of_the_age_of_what_waits() -> None:
    now = 1_000_000.0

    def ago(hours: float) -> int:
        return round((now - hours * 3600) * 1e6)

    stream = StreamSeen("", reader_version=ago(2), next_seqs=(10, 10, 10), retention=7 * 86_400.0)
    seen = Snapshot(binlog_retention=86_400.0, lanes={0: LanePoint(ago(30), 10), 1: LanePoint(ago(5), 9)})
    assert reconciler_metrics.binlog_until_loss(seen, stream, now) == 22 * 3600
    assert reconciler_metrics.topics_until_loss(seen, stream, now) == (7 * 24 - 5) * 3600, "in lane 0 nothing waits"
    assert reconciler_metrics.binlog_until_loss(Snapshot(binlog_retention=inf), stream, now) == inf
    assert reconciler_metrics.binlog_until_loss(Snapshot(binlog_retention=60.0), stream, now) == 0
    assert reconciler_metrics.binlog_until_loss(Snapshot(), stream, now) is None
    assert reconciler_metrics.topics_until_loss(seen, StreamSeen(), now) is None


@contextmanager
def reconciler_told(snapshot: Snapshot, *streams: StreamSeen, off: Sequence[str] = ()) -> Iterator[list[list[str]]]:
    """What is told with this snapshot, for each of these looks at Kafka."""
    looks = [streams[0]]
    modes = {reconciler_metrics.SHADOW: True}
    with registered(
        reconciler_metrics.Monitored(lambda: snapshot, lambda: looks[-1], modes, lambda: off, lambda: None)
    ):
        told = []
        for stream in streams:
            looks.append(stream)
            told.append(generate_latest().decode().splitlines())
        yield told


def test_runs_are_told_by_how_they_ended_and_what_nobody_waits_for_is_not() -> None:
    started = datetime(2026, 3, 2, 3, 30, tzinfo=UTC)
    runs = {
        "verify": RunState("drift", started, running=False),
        "backfill": RunState("stopped", started, True, 150, 101, 200),
        "age": RunState("failed", started, running=True),
    }
    snapshot = Snapshot(store_up=True, runs=runs, verify_drift={"queue": 3}, audit_differs=True, rechecks_refused=2)
    with reconciler_told(snapshot, StreamSeen(), off=["age"]) as (told,):
        assert 'leadstream_run_outcome{outcome="drift",run="verify"} 1.0' in told
        assert 'leadstream_run_outcome{outcome="stopped",run="backfill"} 1.0' in told
        assert 'leadstream_run_started_timestamp_seconds{run="backfill"} 1.7724222e+09' in told
        assert 'leadstream_run_started_timestamp_seconds{run="verify"} 0.0' in told
        assert 'leadstream_verify_drift{kind="queue"} 3.0' in told
        assert 'leadstream_verify_drift{kind="signature"} 0.0' in told
        assert "leadstream_audit_differs 1.0" in told
        assert "leadstream_backfill_done_ratio 0.5" in told
        assert "leadstream_rechecks_refused 2.0" in told
        assert 'leadstream_mode{mode="shadow"} 1.0' in told
        assert 'leadstream_mode{mode="disabled"} 0.0' in told
        assert not any(line.startswith("leadstream_run_outcome") and 'run="age"' in line for line in told)
        assert not any(line.startswith("leadstream_kafka_up ") for line in told), "it was not asked yet"


def test_a_run_that_never_succeeded_is_told_once_the_records_were_looked_at() -> None:
    swept = {"new-users": LastSuccess(datetime(2026, 3, 2, 3, 30, tzinfo=UTC), 5, 0, 0)}
    looked_at = Snapshot(store_up=True, last_runs=swept, rechecks_due=0)
    with reconciler_told(looked_at, StreamSeen(), off=["age"]) as (told,):
        assert 'leadstream_run_succeeded{run="new-users"} 1.0' in told
        assert 'leadstream_run_succeeded{run="audit"} 0.0' in told
        assert not any(line.startswith("leadstream_run_succeeded") and 'run="age"' in line for line in told)
    with reconciler_told(Snapshot(), StreamSeen()) as (told,):
        assert not any(line.startswith("leadstream_run_succeeded{") for line in told)


@pytest.mark.parametrize("outcome", ["failed", "aborted"])
@pytest.mark.parametrize(
    ("minutes", "due", "is_told"), [(1, 0, False), (-1, 0, True), (1, 1, True), (1, None, True), (None, 0, True)]
)
def test_rechecks_that_failed_are_told_until_a_sweep_has_done_them(
    outcome: str, minutes: int | None, due: int | None, is_told: bool
) -> None:
    """The job finds none due then, and makes no run that could end well: the alert would stay for days."""
    started = datetime(2026, 3, 2, 3, 30, tzinfo=UTC)
    swept = {} if minutes is None else {"new-users": LastSuccess(started + timedelta(minutes=minutes), 5, 0, 0)}
    state = RunState(outcome, started, running=False)
    snapshot = Snapshot(store_up=True, runs={"rechecks": state, "age": state}, last_runs=swept, rechecks_due=due)
    with reconciler_told(snapshot, StreamSeen()) as (told,):
        assert (f'leadstream_run_outcome{{outcome="{outcome}",run="rechecks"}} 1.0' in told) is is_told
        assert f'leadstream_run_outcome{{outcome="{outcome}",run="age"}} 1.0' in told


def test_what_kafka_told_last_stands_while_it_is_away() -> None:
    well = StreamSeen("", reader_version=1, next_seqs=(1,), written_at=7.0, seen_at=8.0, retention=60.0)
    with reconciler_told(Snapshot(), well, StreamSeen("it is away", failed=True)) as (before, after):
        assert "leadstream_kafka_up 1.0" in before
        assert "leadstream_kafka_up 0.0" in after
        for line in ("leadstream_reader_checkpoint_timestamp_seconds 7.0", "leadstream_topics_retention_seconds 60.0"):
            assert line in before
            assert line in after


def test_without_kafka_nothing_is_told_of_it() -> None:
    with reconciler_told(Snapshot(), NOT_WATCHED) as (told,):
        assert not any(line.startswith(("leadstream_kafka_up ", "leadstream_reader_checkpoint")) for line in told)


def test_a_conversion_is_counted_with_its_source_and_how_long_the_customer_stood_in_the_queue() -> None:
    outcome = Outcome()
    kind = ConversionType.SIGNATURE_OBTAINED
    outcome.conversions.append(Conversion(7, 1, QueueType.UNSIGNED_USERS, kind, 5 * HOUR, "77", (), reset_at=None))
    outcome.stints[7, 1] = Stint(
        7, 1, QueueType.UNSIGNED_USERS, 2 * HOUR, None, 5 * HOUR, Reason.SIGNATURE_OBTAINED, kind, "77"
    )
    before = metrics.CONVERSIONS.labels(kind, "sweep")._value.get()
    durations = samples(metrics.TIME_TO_CONVERSION)
    metrics.count_conversions(outcome, "sweep")
    assert metrics.CONVERSIONS.labels(kind, "sweep")._value.get() == before + 1
    added = {
        name: value - durations.get(name, 0.0)
        for name, value in samples(metrics.TIME_TO_CONVERSION).items()
        if f'type="{kind}"' in name
    }
    assert added[f'leadstream_time_to_conversion_seconds_sum{{type="{kind}"}}'] == 10800.0
    assert added[f'leadstream_time_to_conversion_seconds_bucket{{le="3600.0",type="{kind}"}}'] == 0.0
    assert added[f'leadstream_time_to_conversion_seconds_bucket{{le="14400.0",type="{kind}"}}'] == 1.0


def test_durations_count_a_value_on_a_bound_below_it() -> None:
    made = Durations("waited_seconds", "For a test.", ["type"], (1.0, 10.0))
    made.labels("a")
    made.add([0.5, 1.0, 1.5, 60.0], "a")
    made.add([10.0], "a")
    assert [line for line in told(made) if "bucket" in line] == [
        'waited_seconds_bucket{le="1.0",type="a"} 2.0',
        'waited_seconds_bucket{le="10.0",type="a"} 4.0',
        'waited_seconds_bucket{le="+Inf",type="a"} 5.0',
    ]


def test_the_rows_still_to_be_read_are_reckoned_by_those_that_were() -> None:
    assert rows_in(1000, read=500, rows=50) == 100
    assert rows_in(1000, read=0, rows=0) == 0
