"""The measured part of `docs/benchmarks.md`, and its plots, from the JSON of the benchmarks.

`python -m tests.bench.page` writes them anew from what is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import goals, results
from tests.support import plots

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "benchmarks.md"
PLOTS: Final = DOCS / "_static" / "benchmarks"
BEGIN: Final = "<!-- written by `make bench` from tests/bench/results -->"
END: Final = "<!-- written by hand from here -->"

Column = tuple[str, str]
_RATES: Final[tuple[Column, ...]] = (
    ("rows/s since launch", "rows_per_s"),
    ("warm half", "warm_rows_per_s"),
    ("ours is ×", "ours_is_times"),
    ("CPU µs a row", "cpu_us_a_row"),
    ("broker's", "broker_cpu_us_a_row"),
    ("memory MB", "rss_mb"),
)
_LATENCIES: Final[tuple[Column, ...]] = (
    ("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("p50 × bare", "p50_times_bare"), ("p99 × bare", "p99_times_bare"),
    ("mean of the slowest 5 %, ms", "mean_of_slowest_ms"), ("load reached, tx/s", "load_tx_per_s"),
)  # fmt: skip
_SWEEPS: Final[tuple[Column, ...]] = (
    ("users looked at", "users"), ("seconds", "seconds"), ("users/s", "users_per_s"), ("drift repaired", "drift"),
    ("queries", "queries"), ("memory MB", "rss_mb"),
)  # fmt: skip
_FURTHER: Final[tuple[Column, ...]] = (
    ("seconds a further million", "seconds_a_further_million"),
    ("Kafka MB a further million", "kafka_mb_a_further_million"),
    ("PostgreSQL MB a further million", "postgres_mb_a_further_million"),
)
_GROWTH: Final[tuple[Column, ...]] = (
    ("seconds", "seconds"), ("CPU µs a row", "cpu_us_a_row"), ("memory MB", "rss_mb"), ("Kafka MB", "kafka_mb"),
    ("PostgreSQL MB", "postgres_mb"), *_FURTHER,
)  # fmt: skip
_USERS: Final[tuple[Column, ...]] = (
    ("backfill s", "seconds"), ("verify s", "verify_s"), ("memory MB", "rss_mb"), ("verify's", "verify_rss_mb"),
    ("PostgreSQL MB", "postgres_mb"), *_FURTHER,
)  # fmt: skip
_CHECKS: Final[tuple[Column, ...]] = (
    ("requests", "requests"), ("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("longest ms", "max_ms"),
    ("not live", "not_live"),
)  # fmt: skip

_TABLES: Final[tuple[tuple[str, tuple[str, ...], tuple[Column, ...], str], ...]] = (
    ("Into Kafka", ("reader",), _RATES, "`make bench-reader`; everybody by turns, another one first in each round."),
    ("Into Kafka, where most updates change nothing captured", ("reader-touched",), _RATES,
     "`make bench-touched`; `updated_at` is captured and changes each time. *Skipped*: with the setting that leaves"
     " such updates out."),
    ("Into Kafka, larger transactions", ("reader-100-rows", "reader-one-transaction"), _RATES, "`make bench-larger`."),
    ("Into PostgreSQL", ("applier", "keys", "outage"), _RATES,
     "`make bench-applier`; ours with all rules applied, Debezium's rows only mirrored. Keys: `make bench-keys`;"
     " the outage: `make bench-outage`."),
    ("From commit to visible", ("latency",), _LATENCIES,
     "`make bench-latency`; the bare commits by turns with the probes, at the same load, beside the same processes."),
    ("As changes grow", ("growth",), _GROWTH,
     "`make bench-growth`; the first size is mostly starting. Straight is what"
     " costs the same for each further million."),
    ("As users grow", ("users",), _USERS, "`make bench-sweeps`."),
    ("The safety net", ("sweeps",), _SWEEPS, "`make bench-sweeps`, at the last size."),
    ("Pre-call checks", ("precall",), _CHECKS, "`make bench-sweeps`, 200 a second."),
)  # fmt: skip

_PLOTTED: Final = {
    "Into Kafka": "into-kafka",
    "Into Kafka, where most updates change nothing captured": "touched",
    "Into PostgreSQL": "into-postgres",
    "As changes grow": "growth",
    "As users grow": "users",
}

Kept = Mapping[str, Any]


def write(folder: Path = results.KEPT, target: Path = PAGE, plot_folder: Path = PLOTS) -> None:
    """Writes the measured part into the page, or as a page where there is none, and the plots."""
    plot_folder.mkdir(parents=True, exist_ok=True)
    for old in plot_folder.glob("*.svg"):
        old.unlink()
    for name, svg in drawn(folder).items():
        (plot_folder / name).write_text(svg)
    measured = text(folder, plot_folder.relative_to(target.parent).as_posix())
    before, after = f"# Benchmarks\n\n{BEGIN}\n", f"{END}\n"
    if target.exists():
        page = target.read_text()
        before, after = page[: page.index(BEGIN)] + f"{BEGIN}\n", page[page.index(END) :]
    target.write_text(f"{before}\n{measured}\n{after}")


def text(folder: Path = results.KEPT, plot_folder: str = "_static/benchmarks") -> str:
    """The measured part."""
    kept = _kept(folder)
    plotted = drawn(folder)
    parts = [*_goals(kept), ""]
    for title, names, columns, note in _TABLES:
        found = [kept[name] for name in names if name in kept]
        if not found:
            continue
        parts += [f"## {title}", "", note, ""]
        plot = f"{_PLOTTED.get(title, '')}.svg"
        if plot in plotted:
            parts += [f"![{title}]({plot_folder}/{plot})", ""]
        for one in found:
            parts += [*_table(one["title"], columns, one["entries"]), ""]
            if said := list(straightness(one["entries"])):
                parts += ["What a further million costs, beyond the size before:", "", *said, ""]
        if "outage" in names and "outage.svg" in plotted:
            parts += [f"![Memory after an outage]({plot_folder}/outage.svg)", ""]
    return "\n".join([*parts, *_machines(kept)]) + "\n"


def drawn(folder: Path = results.KEPT) -> dict[str, str]:
    """File name → SVG."""
    kept = _kept(folder)
    found = {}
    for file, name in (("into-kafka", "reader"), ("touched", "reader-touched"), ("into-postgres", "applier")):
        if name in kept:
            rates = {entry["name"]: float(entry["rows_per_s"]) for entry in kept[name]["entries"]}
            found[f"{file}.svg"] = plots.bars(kept[name]["title"], "rows/s since launch", rates)
    for file, unit in (("growth", "rows"), ("users", "users")):
        if file in kept:
            entries = kept[file]["entries"]
            series = {label: [(float(one[unit]), float(one[key])) for one in entries if key in one] for label, key in (
                ("seconds", "seconds"), ("memory MB", "rss_mb"), ("Kafka MB", "kafka_mb"),
                ("PostgreSQL MB", "postgres_mb"),
            )}  # fmt: skip
            shown = {label: points for label, points in series.items() if points}
            word = "changes" if unit == "rows" else unit
            found[f"{file}.svg"] = plots.lines(kept[file]["title"], word, "both axes logarithmic", shown, log=True)
    if "outage" in kept:
        entry = kept["outage"]["entries"][0]
        memory = {
            who: [(float(second), float(held)) for second, _, held in entry[key]]
            for who, key in (("applier", "applier_second_rows_mb"), ("reader", "reader_second_rows_mb"))
        }
        found["outage.svg"] = plots.lines(kept["outage"]["title"], "seconds since launch", "memory, MB", memory)
    return found


def _kept(folder: Path) -> dict[str, Kept]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def _goals(kept: Mapping[str, Kept]) -> Iterator[str]:
    judged = goals.judged({name: one["entries"] for name, one in kept.items()})
    yield "| goal | measured | |"
    yield "|---|---|---|"
    for one in judged:
        yield f"| {one.goal} | {one.measured} | {one.verdict} |"
    losses = [*(f"{one.goal}: {one.measured}" for one in judged if one.missed)]
    losses += goals.losses({name: one["entries"] for name, one in kept.items()})
    yield ""
    yield "## Where we lose"
    yield ""
    yield from (f"- {loss}" for loss in losses or ["Nowhere in what was measured."])


def _table(title: str, columns: Sequence[Column], entries: Sequence[Kept]) -> Iterator[str]:
    used = [column for column in columns if any(column[1] in entry for entry in entries)]
    yield "| " + " | ".join([title, *(header for header, _ in used)]) + " |"
    yield "|---" * (len(used) + 1) + "|"
    for entry in entries:
        name = f"**{entry['name']}**" if entry["name"].startswith("leadstream") else entry["name"]
        yield "| " + " | ".join([name, *(_figure(entry.get(key)) for _, key in used)]) + " |"


def straightness(entries: Sequence[Kept]) -> Iterator[str]:
    """A sentence for each cost that was measured at three sizes: whether a further million costs the same."""
    for header, key in _FURTHER:
        costs = [(entry["name"], float(entry[key])) for entry in entries if key in entry]
        if len(costs) < _TWICE:
            continue
        (before, one), (last, other) = costs[-2:]
        what = header.removesuffix(" a further million")
        more = 100 * (other / one - 1) if one > 0 else None
        if more is None:
            yield f"- {what}: up to {before} starting outweighs the work, so no line can be told"
        else:
            line = "a straight line" if abs(more) <= _STRAIGHT_PERCENT else "not a straight line"
            yield f"- {what}: {line}, {more:+.0f} % up to {last} against up to {before}"


_TWICE: Final = 2
_STRAIGHT_PERCENT: Final = 20


def _figure(value: object) -> str:
    if isinstance(value, float) and value >= 100:
        value = round(value)
    return f"{value:,}" if isinstance(value, int | float) else ""


def _machines(kept: Mapping[str, Kept]) -> Iterator[str]:
    yield "## Machine"
    yield ""
    machines: dict[str, list[str]] = {}
    for name, one in kept.items():
        told = one["machine"]
        known = [form.format(told[key]) for key, form in _MACHINE if key in told]
        machines.setdefault(", ".join(known), []).append(f"`{name}`")
    for machine, names in machines.items():
        yield f"- {machine}: {', '.join(names)}"


_MACHINE: Final = (
    ("processor", "{}"), ("cores", "{} cores"), ("memory_gb", "{} GB"), ("system", "{}"), ("python", "Python {}"),
    ("day", "{}"),
)  # fmt: skip


if __name__ == "__main__":
    write()
