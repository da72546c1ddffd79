"""What was to be reached (DESIGN section 8), and whether it was; and where a peer is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Entries = Mapping[str, Sequence[Mapping[str, Any]]]
GO: Final = "go-mysql + franz-go"
DEBEZIUM: Final = "debezium"
SINK: Final = "debezium + jdbc sink"


@dataclass(frozen=True)
class Judged:
    """A goal, what was measured, and whether that is as good; None where it was not measured."""

    goal: str
    measured: str
    met: bool | None

    @property
    def missed(self) -> bool:
        return self.met is False

    @property
    def verdict(self) -> str:
        return {True: "met", False: "missed", None: "not measured"}[self.met]


def judged(entries: Entries) -> list[Judged]:
    """Every goal."""
    return [
        _times("into Kafka, ≥ 1.5 × Go since launch", entries, "reader", GO, 1.5),
        _times("into Kafka, ≥ 5 × Debezium since launch", entries, "reader", DEBEZIUM, 5),
        _cheaper("into Kafka, less CPU a row than Go", entries, GO),
        _cheaper("into Kafka, less CPU a row than Debezium", entries, DEBEZIUM),
        _times("into PostgreSQL, ≥ 6 × Debezium with its sink since launch", entries, "applier", SINK, 6),
        _times("into PostgreSQL, ≥ 4 × the same, warm", entries, "applier", SINK, 4, "warm_rows_per_s"),
        _most("reader and applier together ≤ 400 MB", entries, "applier", "leadstream", "rss_mb", 400, " MB"),
        _most("reader in one transaction ≤ 150 MB", entries, "reader-one-transaction", "leadstream", "rss_mb", 150,
              " MB"),
        *(
            _most(f"commit → visible {when}, {point} ≤ 2.5 × the bare commits", entries, "latency",
                  f"leadstream {when}", f"{point}_times_bare", 2.5, " ×")
            for when in ("at rest", "at 1,000 tx/s") for point in ("p50", "p99")
        ),
        *(
            _most(f"{sweep} in a normal hour ≤ 2 s", entries, "sweeps", f"{sweep}, a normal hour", "seconds", 2, " s")
            for sweep in ("new-users", "new-requirements", "unsigned-conversions", "requirements-conversions")
        ),
        _most("full verify ≤ 30 s", entries, "sweeps", "verify", "seconds", 30, " s"),
        _most("pre-call checks at 200/s, p99 ≤ 20 ms", entries, "precall", "pre-call checks at 200/s", "p99_ms", 20,
              " ms"),
    ]  # fmt: skip


def losses(entries: Entries) -> Iterator[str]:
    """Where somebody who writes to the same place was faster or cheaper in the same run."""
    for name in ("reader", "reader-touched", "applier"):
        ours = _named(entries, name, "leadstream")
        for one in entries.get(name, ()):
            if ours is None or not str(one["name"]).startswith((GO, DEBEZIUM)):
                continue
            if float(one.get("ours_is_times", 1)) < 1:
                yield f"{one['name']} ({name}) is {1 / float(one['ours_is_times']):.2f} × as fast as leadstream."
            if "cpu_us_a_row" in one and one["cpu_us_a_row"] < ours["cpu_us_a_row"]:
                figures = f"{one['cpu_us_a_row']} µs against {ours['cpu_us_a_row']}"
                yield f"{one['name']} ({name}) takes less CPU a row: {figures}."


def _times(goal: str, entries: Entries, name: str, peer: str, least: float, key: str = "rows_per_s") -> Judged:
    ours, theirs = _named(entries, name, "leadstream"), _named(entries, name, peer)
    if ours is None or theirs is None or not theirs.get(key):
        return Judged(goal, "", None)
    paired = theirs.get("ours_is_times") if key == "rows_per_s" else None
    times = round(float(ours[key] / theirs[key] if paired is None else paired), 2)
    return Judged(goal, f"{times} ×", times >= least)


def _cheaper(goal: str, entries: Entries, peer: str) -> Judged:
    ours, theirs = _named(entries, "reader", "leadstream"), _named(entries, "reader", peer)
    if ours is None or theirs is None:
        return Judged(goal, "", None)
    measured = f"{ours['cpu_us_a_row']} µs against {theirs['cpu_us_a_row']}"
    return Judged(goal, measured, bool(ours["cpu_us_a_row"] < theirs["cpu_us_a_row"]))


def _most(goal: str, entries: Entries, name: str, entry: str, key: str, most: float, unit: str) -> Judged:
    found = _named(entries, name, entry)
    if found is None or key not in found:
        return Judged(goal, "", None)
    return Judged(goal, f"{found[key]}{unit}", bool(found[key] <= most))


def _named(entries: Entries, name: str, entry: str) -> Mapping[str, Any] | None:
    return next((one for one in entries.get(name, ()) if one["name"] == entry), None)
