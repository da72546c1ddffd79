"""Runs a process to its goal and says how long it took, and what it held in memory."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_SECONDS = 0.1


class BenchFailed(Exception):
    """A process under measurement died or did not reach its goal; the message holds the end of its log."""


@dataclass(frozen=True)
class Progress:
    """How many rows had arrived at which second since launch; each process's memory in MB then, and its CPU seconds."""

    points: tuple[tuple[float, int], ...]
    memory: tuple[tuple[float, ...], ...]
    cpu: tuple[float, ...]

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
        return max(sum(held) for (_, arrived), held in zip(self.points, self.memory, strict=True) if arrived <= rows)

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


def run(
    commands: Sequence[Command], arrived: Callable[[], int], rows: int, seconds: float = 900, share: float = 1.0
) -> Progress:
    """Launches all commands at once and asks `arrived` until it says `rows`; then ends them.

    At most this `share` of the time is spent on asking: counting rows may be work for the server under measurement.
    Raises BenchFailed where a process dies before, or the time is up.
    """
    began = time.monotonic()
    points: list[tuple[float, int]] = []
    memory: list[tuple[float, ...]] = []
    processes = [_launch(command) for command in commands]
    count, due = 0, began
    try:
        while count < rows:
            for process, command in zip(processes, commands, strict=True):
                if process.poll() is not None:
                    raise BenchFailed(f"{command.argv[0]} ended with {process.returncode}:\n{_tail(command.log)}")
            asked = time.monotonic()
            if asked > began + seconds:
                logs = "\n".join(_tail(command.log) for command in commands)
                raise BenchFailed(f"only {count:,} of {rows:,} rows in {seconds} s:\n{logs}")
            if asked >= due:
                count = arrived()
                due = asked + (time.monotonic() - asked) / share
            points.append((time.monotonic() - began, count))  # what is known only now had arrived by now
            memory.append(tuple(_rss(process.pid) / 1e6 for process in processes))
            time.sleep(POLL_SECONDS)
        cpu = tuple(_cpu_seconds(process.pid) for process in processes)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
    return Progress(tuple(points), tuple(memory), cpu)


def time_of(argv: Sequence[str]) -> tuple[float, float]:
    """Seconds that a command takes to end by itself, and its peak memory in MB."""
    began = time.monotonic()
    rss = 0
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            rss = max(rss, _rss(process.pid))
            time.sleep(0.02)
        if process.returncode:
            message = process.stderr.read().decode(errors="replace") if process.stderr else ""
            raise BenchFailed(f"{argv[0]} ended with {process.returncode}: {message[-2000:]}")
    return time.monotonic() - began, rss / 1e6


def median(values: Sequence[float]) -> float:
    """The median, which is what every figure printed is."""
    return statistics.median(values)


def _launch(command: Command) -> subprocess.Popen[bytes]:
    with command.log.open("wb") as log:
        return subprocess.Popen(command.argv, stdout=log, stderr=subprocess.STDOUT, env=command.env)


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
