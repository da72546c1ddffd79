"""How a metric is declared: once, with the processes that expose it and every value that its labels can take.

From the declarations come the series, which begin at zero when a process begins (an increase from nothing to one would
be none to Prometheus), and the reference `docs/reference/metrics.md`. What is exposed has the label `deployment`
besides: TOPIC_PREFIX, by which rules and alerts keep two deployments in one Prometheus apart, whatever its jobs are
called.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from consumer.process import release

Values = Sequence[str] | str
"""All values of a label, or a phrase that says which they are."""

READER: Final = "reader"
APPLIER: Final = "applier"
RECONCILER: Final = "reconciler"
DEPLOYMENT: Final = "deployment"
"""The label that every exposed sample has."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody asks for


@dataclass(frozen=True)
class Measure:
    """A metric by the name that Prometheus shows; `collector` None: one that is made at every scrape."""

    name: str
    kind: str
    what: str
    processes: Sequence[str]
    labels: Mapping[str, Values]
    collector: Counter | Gauge | Histogram | Durations | None = None
    begins_at_zero: bool = True

    def family(self) -> GaugeMetricFamily:
        """An empty gauge of this name, for a scrape."""
        return GaugeMetricFamily(self.name, self.what, labels=list(self.labels))

    def begin(self, process: str) -> None:
        """Creates every series that this process can have."""
        values = [[process] if label == "process" else known for label, known in self.labels.items()]
        if self.collector is None or not self.begins_at_zero or any(isinstance(known, str) for known in values):
            return
        for combination in itertools.product(*values):
            if combination:
                self.collector.labels(*combination)


CATALOGUE: Final[list[Measure]] = []
"""Every metric there is, in the order of declaration."""


class Durations(Collector):
    """A histogram of seconds that takes many values at once, because a batch has many."""

    def __init__(self, name: str, what: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._name, self._what, self._labels = name, what, labels
        self._buckets = (*buckets, float("inf"))
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def labels(self, *values: str) -> None:
        """Begins a series."""
        with self._lock:
            self._counts.setdefault(values, [0] * len(self._buckets))
            self._sums.setdefault(values, 0.0)

    def add(self, seconds: Sequence[float], *labels: str) -> None:
        """Observes all of these."""
        self.labels(*labels)
        found = Tally(bisect_left(self._buckets, value) for value in seconds)
        with self._lock:
            counts = self._counts[labels]
            for bucket, count in found.items():
                counts[bucket] += count
            self._sums[labels] += sum(seconds)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was observed until now."""
        family = HistogramMetricFamily(self._name, self._what, labels=list(self._labels))
        with self._lock:
            for labels, counts in self._counts.items():
                bounds = [str(float(bound)) if bound != float("inf") else "+Inf" for bound in self._buckets]
                reached = itertools.accumulate(counts)
                family.add_metric(list(labels), list(zip(bounds, reached, strict=True)), self._sums[labels])
        yield family


def counter(name: str, what: str, *processes: str, begins_at_zero: bool = True, **labels: Values) -> Counter:
    """Declares a counter; Prometheus shows it with `_total` behind its name."""
    made = Counter(name, what, list(labels), registry=None)
    CATALOGUE.append(Measure(f"{name}_total", "counter", what, processes, labels, made, begins_at_zero))
    return made


def gauge(name: str, what: str, *processes: str, **labels: Values) -> Gauge:
    """Declares a gauge."""
    made = Gauge(name, what, list(labels), registry=None)
    CATALOGUE.append(Measure(name, "gauge", what, processes, labels, made))
    return made


def histogram(name: str, what: str, buckets: Sequence[float], *processes: str, **labels: Values) -> Histogram:
    """Declares a histogram of seconds."""
    made = Histogram(name, what, list(labels), buckets=buckets, registry=None)
    CATALOGUE.append(Measure(name, "histogram", what, processes, labels, made))
    return made


def durations(name: str, what: str, buckets: Sequence[float], *processes: str, **labels: Values) -> Durations:
    """Declares a histogram of seconds that takes many values at once."""
    made = Durations(name, what, list(labels), buckets)
    CATALOGUE.append(Measure(name, "histogram", what, processes, labels, made))
    return made


def scraped(name: str, what: str, *processes: str, **labels: Values) -> Measure:
    """Declares a gauge that is looked up at every scrape."""
    made = Measure(name, "gauge", what, processes, labels)
    CATALOGUE.append(made)
    return made


class Exposed(CollectorRegistry):
    """A registry as it is exposed: every sample of it with labels added."""

    def __init__(self, registry: Collector, added: dict[str, str]) -> None:
        super().__init__()
        self._registry = registry
        self.added = added

    def collect(self) -> Iterator[Metric]:
        """What the registry collects; its own metrics, some of which it keeps, stay as they are."""
        for found in self._registry.collect():
            shown = Metric(found.name, found.documentation, found.type, found.unit)
            shown.samples = [sample._replace(labels={**sample.labels, **self.added}) for sample in found.samples]
            yield shown

    def restricted_registry(self, names: Iterable[str]) -> Exposed:  # type: ignore[override]
        """Only the samples of these names, which a scrape may ask for by `name[]`."""
        assert isinstance(self._registry, CollectorRegistry)
        return Exposed(self._registry.restricted_registry(names), self.added)


EXPOSED: Final = Exposed(REGISTRY, {})
"""What this process exposes."""

BUILD: Final = gauge(
    "leadstream_build_info",
    "1 for a process that runs, by its version; where it is missing, alerts say that the process is down.",
    READER,
    APPLIER,
    RECONCILER,
    process=(READER, APPLIER, RECONCILER),
    version="that of the package",
)

_told: Final[set[Collector]] = set()
"""What the registry has."""


def begin(process: str, deployment: str = "") -> None:
    """Lets this process expose all of its metrics, from zero on; a second time it does nothing."""
    if deployment:
        EXPOSED.added[DEPLOYMENT] = deployment
    for measure in CATALOGUE:
        made = measure.collector
        if made is None or process not in measure.processes:
            continue
        if made not in _told:
            _told.add(made)
            REGISTRY.register(made)
        measure.begin(process)
    BUILD.labels(process, release()).set(1)


@contextmanager
def registered(collector: Collector) -> Iterator[None]:
    """Has the registry ask a collector at every scrape, inside the block."""
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def exposition() -> bytes:
    """Everything that this process exposes, in Prometheus's text format."""
    return generate_latest(EXPOSED)
