"""Progress of work that goes through users, by primary key as a rule: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

import structlog
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

log = structlog.get_logger(__name__)

LINE_SECONDS: Final = 5.0
"""How often a long run reports where it is when there is no terminal."""


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
        """Shows the bar; it is full at `end`."""
        self._started = time.monotonic()
        self._task = self._bar.add_task(self._name, total=max(end, 1), completed=position, users=0, rate=0.0)
        self._bar.start()

    def advance(self, position: int, users: int) -> None:
        """Moves the bar."""
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
        log.info("run_progressed", run=self._name, done=position, total=end)

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
            "run_progressed",
            run=self._name,
            done=position,
            total=self._end,
            users=self._users,
            users_per_second=rate,
            left_seconds=round(left),
        )

    def close(self) -> None:
        """Nothing is left open."""


Progress = TerminalProgress | LineProgress


def progress_for(name: str) -> closing[Progress]:
    """What suits standard error, for a `with`."""
    console = Console(stderr=True)
    return closing(TerminalProgress(console, name) if console.is_terminal else LineProgress(name))
