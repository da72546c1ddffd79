"""Figures as a table on the terminal and as JSON under `tests/bench/results`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "results"

Entry = Mapping[str, str | float | int | Sequence[object]]
"""`name` and figures: `rows, seconds, rows_per_s, rss_mb`, or `p50_ms, p99_ms`; lists (single runs) are not printed."""


def keep(name: str, title: str, entries: Sequence[Entry]) -> None:
    """Writes `results/NAME.json` and prints the table."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(list(entries), indent=2) + "\n")
    columns = list(
        dict.fromkeys(key for entry in entries for key in entry if isinstance(entry[key], str | float | int))
    )
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for entry in entries:
        table.add_row(*(_figure(entry.get(column)) for column in columns))
    Console().print(table)


def entry(name: str, rows: int, seconds: float, rss_mb: float, **more: float) -> dict[str, str | float | int]:
    """One line of a table of rates."""
    return {
        "name": name,
        "rows": rows,
        "seconds": round(seconds, 2),
        "rows_per_s": round(rows / seconds),
        "rss_mb": round(rss_mb),
        **{key: round(value, 2) for key, value in more.items()},
    }


def renamed(entry: Entry, what: str) -> Entry:
    """The same figures, and in the name what was different."""
    return {**entry, "name": f"{entry['name']}, {what}"}


def _figure(value: object) -> str:
    if not isinstance(value, str | float | int):
        return ""
    return value if isinstance(value, str) else f"{value:,}"
