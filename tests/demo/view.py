"""What the demo shows: a live picture on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.demo.pipeline import State

_LINE_SECONDS: Final = 5.0
_RATE_WINDOW: Final = 10.0


@dataclass(frozen=True)
class Health:
    """One process: its id while it runs, how often it was killed on purpose, seconds since its start."""

    name: str
    pid: int | None
    killed: int
    age: float


@dataclass(frozen=True)
class Scene:
    """Everything there is to show at one moment."""

    title: str
    elapsed: float
    left: float | None
    customers: int
    transactions: int
    rolled_back: int
    sweeps: int
    calls: int
    state: State
    processes: list[Health]
    last: list[tuple[int, str]] = field(default_factory=list)
    """The company's last transactions: when committed (µs), and what they did."""
    over: bool = False
    """Whether the load is over, so that only the pipeline still works."""


class View(Protocol):
    """Shows scenes and sentences."""

    def show(self, scene: Scene) -> None:
        """The state of things."""

    def say(self, sentence: str) -> None:
        """Something that happened."""


class Rates:
    """Rates per second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def take(self, transactions: int, messages: int) -> tuple[float, float]:
        """Transactions and messages a second."""
        moment = time.monotonic()
        self._seen.append((moment, transactions, messages))
        while moment - self._seen[0][0] > _RATE_WINDOW:
            self._seen.popleft()
        start, first_transactions, first_messages = self._seen[0]
        passed = max(moment - start, 0.001)
        return (transactions - first_transactions) / passed, (messages - first_messages) / passed


def newest_lag(state: State) -> str:
    """Seconds since the commit of the newest change that PostgreSQL shows."""
    return _age(state.at, max(state.versions, default=0))


def oldest_lag(state: State) -> str:
    """Seconds up to which the slowest lane is known to be complete; on a quiet lane, the age of its heartbeat."""
    return _age(state.at, min(state.versions, default=0))


def _age(at: int, version: int) -> str:
    return f"{max(0.0, (at - version) / 1e6):.2f} s" if version else "not known yet"


class LineView:
    """A line every few seconds, for logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rates = Rates()
        self._next = 0.0

    def show(self, scene: Scene) -> None:
        """Prints a line when it is time for one."""
        transactions, messages = self._rates.take(scene.transactions, scene.state.messages)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_SECONDS
        queues = ", ".join(f"{count:,} {queue}" for queue, count in scene.state.queues.items())
        kills = sum(process.killed for process in scene.processes)
        self.say(
            f"{scene.elapsed:4.0f} s  {scene.customers:,} customers, {transactions:.0f} tx/s, "
            f"{messages:.0f} messages/s, lag {newest_lag(scene.state)} "
            f"(slowest lane {oldest_lag(scene.state)}); {queues}; "
            f"{scene.state.conversions:,} conversions" + (f"; {kills} processes killed" if kills else "")
        )

    def say(self, sentence: str) -> None:
        """Prints it."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LiveView:
    """A picture that follows the pipeline."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rates = Rates()
        self._live = Live(console=console, refresh_per_second=4, transient=False)

    def show(self, scene: Scene) -> None:
        """Draws the picture anew."""
        self._live.update(_picture(scene, *self._rates.take(scene.transactions, scene.state.messages)))

    def say(self, sentence: str) -> None:
        """Prints it above the picture."""
        self._console.print(sentence, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def _picture(scene: Scene, transactions: float, messages: float) -> RenderableType:
    left = "" if scene.left is None else f" · {max(0.0, scene.left):.0f} s to go"
    top = Table.grid(expand=True, padding=(0, 1))
    for _ in range(3):
        top.add_column(ratio=1)
    top.add_row(_company(scene, transactions), _stream(scene, messages), _queues(scene))
    bottom = Table.grid(expand=True, padding=(0, 1))
    bottom.add_column(ratio=2)
    bottom.add_column(ratio=1)
    bottom.add_row(_conversions(scene.state), _processes(scene))
    now = "the load is over" if scene.over else "Ctrl-C stops the load"
    title = Text(f"{scene.title} · {scene.elapsed:.0f} s{left} · {now}", style="bold")
    return Group(title, top, bottom)


def _facts(title: str, *rows: tuple[str, str]) -> Panel:
    table = Table.grid(expand=True)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, Text(value, style="bold"))
    return Panel(table, title=title, title_align="left")


def _company(scene: Scene, transactions: float) -> Panel:
    last = scene.last[-1][1].replace("_", " ") if scene.last else ""
    return _facts(
        "the company (MySQL)",
        ("customers", f"{scene.customers:,}"),
        ("transactions/s", f"{transactions:.0f}"),
        ("rolled back", f"{scene.rolled_back:,}"),
        ("just now", last),
    )


def _stream(scene: Scene, messages: float) -> Panel:
    return _facts(
        "the stream (Kafka)",
        ("messages/s", f"{messages:.0f}"),
        ("lag, newest change", newest_lag(scene.state)),
        ("lag, slowest lane", oldest_lag(scene.state)),
        ("rechecks due / sweeps", f"{scene.state.rechecks:,} / {scene.sweeps:,}"),
    )


def _queues(scene: Scene) -> Panel:
    return _facts(
        "the call centre (PostgreSQL)",
        *((queue.replace("_", " "), f"{count:,}") for queue, count in scene.state.queues.items()),
        ("calls", f"{scene.calls:,}"),
        ("conversions / last minute", f"{scene.state.conversions:,} / {scene.state.last_minute:,}"),
    )


def _conversions(state: State) -> Panel:
    table = Table.grid(expand=True, padding=(0, 2))
    table.add_column()
    table.add_column()
    table.add_column(justify="right")
    for conversion in state.recent:
        moment = datetime.fromtimestamp(conversion.at / 1e6, UTC)
        table.add_row(f"{moment:%H:%M:%S.%f}"[:-3], conversion.type, f"user {conversion.user_id}")
    return Panel(table, title="the last conversions", title_align="left")


def _processes(scene: Scene) -> Panel:
    table = Table.grid(expand=True, padding=(0, 1))
    for health in scene.processes:
        up = Text("●", style="green") if health.pid is not None else Text("●", style="red")
        killed = f"killed {health.killed} times" if health.killed else f"{health.age:.0f} s"
        table.add_row(up, health.name, killed)
    return Panel(table, title="processes", title_align="left")
