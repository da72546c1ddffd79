"""Runs a process to its goal and says how long it took, and what it held in memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_SECONDS = 0.1
LAST_ROWS_SECONDS = 30.0
"""How long what a process sent before it ended may take to be seen."""


class BenchFailed(Exception):
    """A process under measurement died or did not reach its goal; the message holds the end of its log."""


@dataclass(frozen=True)
class Progress:
    """How many rows had arrived at which second since launch; each process's memory in MB then, and its CPU seconds."""

    points: tuple[tuple[float, int], ...]
    memory: tuple[tuple[float, ...], ...]
    cpu: tuple[float, ...]
    broker_cpu: float | None = None
    """CPU seconds that Kafka spent meanwhile; None where its process is not seen from here."""

    @property
    def rss_mb(self) -> float:
        """The peak of memory, all processes together."""
        return max(map(sum, self.memory))

    @property
    def rss_mb_each(self) -> list[float]:
        """Each process's own peak."""
        return [max(held) for held in zip(*self.memory, strict=True)]

    def rss_mb_until(self, rows: int) -> float:
        """The peak of memory while the first `rows` rows arrived: where it is flat, the whole peak is no higher."""
        held = (sum(held) for (_, arrived), held in zip(self.points, self.memory, strict=True) if arrived <= rows)
        return max(held, default=0.0)

    def seconds_to(self, rows: int) -> float:
        """Seconds since launch until `rows` had arrived."""
        return next(at for at, arrived in self.points if arrived >= rows)

    def warm_rows_per_s(self, rows: int) -> float:
        """Rows a second over the second half of the rows."""
        half = next((at, arrived) for at, arrived in self.points if arrived >= rows / 2)
        return (rows - half[1]) / max(self.seconds_to(rows) - half[0], POLL_SECONDS)

    def every(self, seconds: float) -> list[tuple[int, int, int]]:
        """(second, rows arrived, MB held by all processes), one point about every so many seconds."""
        chosen: list[tuple[int, int, int]] = []
        for (at, arrived), held in zip(self.points, self.memory, strict=True):
            if at >= seconds * len(chosen):
                chosen.append((round(at), arrived, round(sum(held))))
        return chosen


@dataclass(frozen=True)
class Command:
    """A process to launch: what, with which environment, and where its output goes."""

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None


class _Launched:
    """A process, and what CPU it and its children took once it is over, which only who reaps it is told."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._reaped: float | None = None
        with command.log.open("wb") as log:
            self.process = subprocess.Popen(command.argv, stdout=log, stderr=subprocess.STDOUT, env=command.env)

    def ended(self) -> bool:
        """Whether it is over. Raises BenchFailed where it failed."""
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if not pid:
                return False
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self._reaped = usage.ru_utime + usage.ru_stime
        if self.process.returncode:
            told = _tail(self.command.log)
            raise BenchFailed(f"{self.command.argv[0]} ended with {self.process.returncode}:\n{told}")
        return True

    @property
    def cpu(self) -> float:
        return _cpu_seconds(self.process.pid) if self._reaped is None else self._reaped


def run(
    commands: Sequence[Command],
    arrived: Callable[[], int],
    rows: int,
    seconds: float = 900,
    share: float = 1.0,
    broker: Callable[[], float | None] = lambda: None,
) -> Progress:
    """Launches all commands at once and asks `arrived` until it says `rows`; then ends those that still run.

    At most this `share` of the time is spent on asking: counting rows may be work for the server under measurement.
    `broker` says what CPU seconds Kafka has spent so far. Raises BenchFailed where a process fails, all have ended
    before the last row arrived, or the time is up.
    """
    began, broker_before = time.monotonic(), broker()
    points: list[tuple[float, int]] = []
    memory: list[tuple[float, ...]] = []
    launched = [_Launched(command) for command in commands]
    processes = [one.process for one in launched]
    count, due, over_since = 0, began, began
    try:
        while count < rows:
            ended = [one.ended() for one in launched]  # each is asked: one that failed may be any
            over = all(ended)
            asked = time.monotonic()
            if asked > began + seconds:
                logs = "\n".join(_tail(command.log) for command in commands)
                raise BenchFailed(f"only {count:,} of {rows:,} rows in {seconds} s:\n{logs}")
            if asked >= due or over:
                count = arrived()
                due = asked + (time.monotonic() - asked) / share
            points.append((time.monotonic() - began, count))  # what is known only now had arrived by now
            memory.append(tuple(_rss(process.pid) / 1e6 for process in processes))
            over_since = time.monotonic() if not over else over_since
            if count < rows and time.monotonic() > over_since + LAST_ROWS_SECONDS:
                logs = "\n".join(_tail(command.log) for command in commands)
                raise BenchFailed(f"everything ended, and only {count:,} of {rows:,} rows had arrived:\n{logs}")
            time.sleep(POLL_SECONDS)
        cpu = tuple(one.cpu for one in launched)
        broker_after = broker()
    finally:
        for process in processes:
            process.terminate()  # does nothing to one that was reaped
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
    spent = None if broker_before is None or broker_after is None else broker_after - broker_before
    return Progress(tuple(points), tuple(memory), cpu, spent)


def to_its_end(command: Command, rows: int) -> Progress:
    """Runs a command that ends by itself, when it has dealt with `rows` rows. Raises BenchFailed where it fails."""
    began = time.monotonic()
    launched = _Launched(command)
    rss = 0
    while not launched.ended():
        rss = max(rss, _rss(launched.process.pid))
        time.sleep(POLL_SECONDS / 5)
    return Progress(((time.monotonic() - began, rows),), ((rss / 1e6,),), (launched.cpu,))


def median(values: Sequence[float]) -> float:
    """The median, which is what every figure printed is."""
    return statistics.median(values)


def _rss(pid: int) -> int:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return int(process.memory_info().rss) + sum(int(child.memory_info().rss) for child in process.children(True))
    return 0


def _cpu_seconds(pid: int) -> float:
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
