"""Metrics keep to their declarations: units in names, few labels, series from zero, and a reference that is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumer import metrics
from consumer.leads.model import Conversion, ConversionType, QueueType, Reason, Stint
from consumer.leads.outcome import Outcome
from consumer.measures import CATALOGUE, RECONCILER, Durations, Measure, begin
from consumer.reader.lag import rows_in
from consumer.store.dead_letters import Defect
from deploy.reference import page
from reconciler import metrics as reconciler_metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
HOUR = 3_600_000_000
MOST_SERIES = 150
"""Of one metric in one process, of the labels whose values are listed."""


def told(collector: Durations) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode().splitlines()


def test_the_reference_is_what_make_reference_writes() -> None:
    assert (DEPLOY / "METRICS.md").read_text() == "\n".join(page()).rstrip() + "\n"


def test_every_metric_of_the_reference_stands_there_once() -> None:
    names = re.findall(r"^\| `(leadstream_\w+)`", (DEPLOY / "METRICS.md").read_text(), re.MULTILINE)
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
    assert reconciler_metrics.PRECALLS.labels("state", "false")._value.get() == 0


def test_a_conversion_is_counted_with_its_source_and_how_long_the_customer_stood_in_the_queue() -> None:
    outcome = Outcome()
    kind = ConversionType.SIGNATURE_OBTAINED
    outcome.conversions.append(Conversion(7, 1, QueueType.UNSIGNED_USERS, kind, 5 * HOUR, "77", (), after_reset=False))
    outcome.stints[7, 1] = Stint(
        7, 1, QueueType.UNSIGNED_USERS, 2 * HOUR, None, 5 * HOUR, Reason.SIGNATURE_OBTAINED, kind, "77"
    )
    before = metrics.CONVERSIONS.labels(kind, "sweep")._value.get()
    metrics.count_conversions(outcome, "sweep")
    assert metrics.CONVERSIONS.labels(kind, "sweep")._value.get() == before + 1
    lines = told(metrics.TIME_TO_CONVERSION)
    assert f'leadstream_time_to_conversion_seconds_sum{{type="{kind}"}} 10800.0' in lines
    assert f'leadstream_time_to_conversion_seconds_bucket{{le="3600.0",type="{kind}"}} 0.0' in lines
    assert f'leadstream_time_to_conversion_seconds_bucket{{le="14400.0",type="{kind}"}} 1.0' in lines


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
