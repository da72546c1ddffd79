"""leadstream under measurement: the console scripts, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.bench.history import History
from tests.bench.kafka import Topics
from tests.bench.measure import Command
from tests.support import environments

SCRIPTS = Path(sys.executable).parent
LANES = 12


def environment(history: History, kafka: str, postgres: str, prefix: str) -> dict[str, str]:
    """What the processes need to know."""
    return environments.environment(mysql=history.url, postgres=postgres, kafka=kafka, prefix=prefix, lanes=LANES)


def setup(env: Mapping[str, str]) -> None:
    """`consumer setup --from earliest`."""
    subprocess.run([SCRIPTS / "consumer", "setup", "--from", "earliest"], env=env, check=True, capture_output=True)


def reader(env: Mapping[str, str], folder: Path) -> Command:
    """`consumer read`."""
    return Command([str(SCRIPTS / "consumer"), "read"], folder / "reader.log", env)


def applier(env: Mapping[str, str], folder: Path, number: int = 1) -> Command:
    """`consumer apply`."""
    return Command([str(SCRIPTS / "consumer"), "apply"], folder / f"applier-{number}.log", env)


def read_rows(topics: Topics, history: History) -> int:
    """Rows of the history that the newest checkpoint covers: all of them, or what the binlog's share amounts to.

    Inside one transaction a checkpoint's position stands still, and it counts the rows itself.
    """
    checkpoint = topics.checkpointed()
    if not checkpoint:
        return 0
    if history.one_transaction and checkpoint["rows"]:
        return min(int(checkpoint["rows"]), history.rows - 1)
    return int(history.rows * covered(checkpoint["file"], checkpoint["pos"], history))


def covered(file: str, pos: int, history: History) -> float:
    """The share of the history's bytes that lies before a position; 1.0 exactly at its end."""
    if (file, pos) >= (history.file, history.pos):
        return 1.0
    before = sum(size for name, size in history.binlogs if name < file)
    return (before + pos) / sum(size for _, size in history.binlogs)
