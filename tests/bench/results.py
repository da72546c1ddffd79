"""Figures as a table on the terminal and as JSON under `tests/bench/results`, or in another folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench import machine

KEPT: Final = Path(__file__).parent / "results"
"""Those of the documentation."""
LOG_WIDTH: Final = 180
FOLDER_SETTING: Final = "LEADSTREAM_BENCH_RESULTS"

Entry = Mapping[str, str | float | int | Sequence[object]]
"""`name` and figures: `rows, seconds, rows_per_s, rss_mb`, or `p50_ms, p99_ms`; lists (single runs) are not printed."""


def keep(name: str, title: str, entries: Sequence[Entry]) -> None:
    """Writes `NAME.json`, with the machine and the day, and prints the table."""
    kept = {"title": title, "machine": machine.described(), "entries": list(entries)}
    (folder() / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    columns = list(
        dict.fromkeys(key for entry in entries for key in entry if isinstance(entry[key], str | float | int))
    )
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for entry in entries:
        table.add_row(*(_figure(entry.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else LOG_WIDTH).print(table)


def folder() -> Path:
    """Where figures go in this run."""
    chosen = Path(os.environ.get(FOLDER_SETTING) or KEPT)
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


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
