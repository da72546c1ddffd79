"""What runs did, for people and for programs; progress of the long ones."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Final

import structlog
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from reconciler.book import moment
from reconciler.sweeps import Report

log = structlog.get_logger(__name__)

LINE_SECONDS: Final = 5.0
"""How often a long run says where it is when there is no terminal."""


def as_json(reports: Sequence[Report]) -> str:
    """All reports as a JSON list; times are ISO 8601 in UTC."""
    return json.dumps([as_dict(report) for report in reports], indent=2)


def as_dict(report: Report) -> dict[str, object]:
    """One report as JSON has it; times are ISO 8601 in UTC."""
    window = report.window
    return {
        "name": report.name,
        "outcome": report.outcome,
        "window": None if window is None else {"from": _iso(window.start), "to": _iso(window.end)},
        **report.tally.as_counts(),
        "queries": report.queries,
        "milliseconds": report.milliseconds,
        "error": report.error,
        "warnings": list(report.warnings),
    }


def _iso(microseconds: int) -> str:
    return moment(microseconds).isoformat().replace("+00:00", "Z")


def show(console: Console, reports: Sequence[Report]) -> None:
    """All reports as a table, a line each, and what went wrong below it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for title in ("checked", "mended", "settled", "new", "moved", "won", "left", "queries", "ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for report in reports:
        tally = report.tally
        done = (tally.checked, tally.mended, tally.settled, tally.first_seen, tally.queue_changes)
        numbers = (*done, tally.conversions.total(), tally.left, report.queries, report.milliseconds)
        table.add_row(report.name, report.outcome, *(f"{number:,}" for number in numbers))
    console.print(table)
    for report in reports:
        if report.tally.drift:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.tally.drift.most_common())
            console.print(f"{report.name}: drift {kinds}")
        if report.error:
            console.print(f"{report.name}: {report.error}", style="red", markup=False)
        for warning in report.warnings:
            console.print(f"{report.name}: {warning}", style="yellow", markup=False)


class TerminalProgress:
    """A bar with users per second and the remaining time."""

    def __init__(self, console: Console, name: str) -> None:
        self._name = name
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[users]:,} users, {task.fields[rate]:,.0f}/s,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self._task = TaskID(0)
        self._users = 0
        self._started = time.monotonic()

    def start(self, position: int, end: int) -> None:
        """Shows the bar; it is full at the highest primary key."""
        self._started = time.monotonic()
        self._task = self._bar.add_task(self._name, total=max(end, 1), completed=position, users=0, rate=0.0)
        self._bar.start()

    def advance(self, position: int, users: int) -> None:
        """Moves the bar to a primary key."""
        self._users += users
        rate = self._users / max(time.monotonic() - self._started, 0.001)
        self._bar.update(self._task, completed=position, users=self._users, rate=rate)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()


class LineProgress:
    """A log line every few seconds, for everything that is no terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = self._said = time.monotonic()
        self._begin = self._end = self._users = 0

    def start(self, position: int, end: int) -> None:
        """Says where it begins."""
        self._started = self._said = time.monotonic()
        self._begin, self._end = position, end
        log.info("started", run=self._name, after_user=position, last_user=end)

    def advance(self, position: int, users: int) -> None:
        """Says how far it is, how fast, and how many seconds are left."""
        self._users += users
        now = time.monotonic()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        seconds = now - self._started
        left = max(self._end - position, 0) * seconds / max(position - self._begin, 1)
        rate = round(self._users / seconds)
        log.info(
            "progress", run=self._name, user=position, users=self._users, users_per_s=rate, seconds_left=round(left)
        )

    def close(self) -> None:
        """Nothing is left open."""
