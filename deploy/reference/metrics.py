"""All metrics, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator

from consumer import metrics as _stream_metrics  # noqa: F401 (declares)
from consumer.measures import APPLIER, CATALOGUE, READER, RECONCILER, Measure, Values
from reconciler import metrics as _reconciler_metrics  # noqa: F401 (declares)

ABOUT = """# Metrics

Made by `make reference` from the declarations in the code; not edited by hand. `consumer read` and `consumer apply`
have theirs at `METRICS_PORT`, `reconciler serve` at `/metrics` of its HTTP port. Counts are of
the process since its start; a label has the values listed and no others, and none names a customer. Histograms also
have `_bucket`, `_sum` and `_count`. Runs of `reconciler` from a shell or a cron job count in last-success times and
outcomes, which are those of `leadstream.runs`. Beside the labels listed, every sample has `deployment`: TOPIC_PREFIX.
"""

SECTIONS = (
    ("Both sides of the stream", {READER, APPLIER}),
    ("Reader", {READER}),
    ("Applier", {APPLIER}),
    ("Reconciler", {RECONCILER}),
)


def page() -> str:
    """The page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield ABOUT
    written: list[Measure] = []
    for title, processes in SECTIONS:
        chosen = [m for m in CATALOGUE if m not in written and processes <= set(m.processes)]
        if title == "Applier":
            chosen += [m for m in CATALOGUE if set(m.processes) == {APPLIER, RECONCILER} and m not in chosen + written]
        written += chosen
        yield from (f"## {title}", "", "| metric | kind | what it measures | labels |", "|---|---|---|---|")
        for measure in chosen:
            labels = "; ".join(_label(name, values) for name, values in measure.labels.items()) or "none"
            also = " The reconciler has it too." if RECONCILER in measure.processes and title != "Reconciler" else ""
            yield f"| `{measure.name}` | {measure.kind} | {measure.what}{also} | {labels} |"
        yield ""


def _label(name: str, values: Values) -> str:
    return f"`{name}`: {values if isinstance(values, str) else ', '.join(values)}"
