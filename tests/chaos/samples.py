"""What a trial looks like from outside every half minute: memory, lag, tables and indexes, Kafka's disk."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
import psycopg

from tests.chaos.growth import OUTAGE
from tests.chaos.trial import Trial
from tests.demo.company import now
from tests.support import broker
from tests.support.processes import Process

_TABLES: Final = """
SELECT relname, pg_total_relation_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup
FROM pg_stat_user_tables
WHERE schemaname = 'leadstream' OR relname IN ('user_call_scores', 'call_queue', 'conversions')
"""
_LAG: Final = "SELECT min(version) FROM leadstream.lanes WHERE version > 0"
_COUNTED: Final = (
    "lanes", "lags", "rechecks", "shown", "left_behind", "processes", "rules", "published_events", "dead_letters",
)  # fmt: skip
"""Small tables, whose rows are counted; of the others the statistics know enough."""
_FEW_ROWS: Final = 2_000
"""Below so many rows the bytes of a row say nothing."""
_MB: Final = 1e6
_CONNECT_SECONDS: Final = 5


class Samples:
    """Use as a context manager: takes samples in a thread until its end. `series`: name → (seconds, value)."""

    def __init__(self, trial: Trial, every: float, file: Path) -> None:
        self.series: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._trial = trial
        self._every = every
        self._file = file
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with self._file.open("w") as file:
            while not self._over.wait(self._every):
                at = round(self.seconds, 1)
                sample = {name: round(value, 4) for name, value in self._sample()}
                for name, value in sample.items():
                    self.series[name].append((at, value))
                file.write(json.dumps({"seconds": at, **sample}) + "\n")
                file.flush()

    def _sample(self) -> Iterator[tuple[str, float]]:
        """What can be seen now: while a server is away, nothing of it."""
        yield OUTAGE, float(self._trial.outage)
        yield from self._memory()
        yield from self._kafka()
        try:
            with psycopg.connect(
                self._trial.pipeline.postgres_url, autocommit=True, connect_timeout=_CONNECT_SECONDS
            ) as connection:
                found = list(_postgres(connection))
        except psycopg.OperationalError:
            return
        yield from found

    def _memory(self) -> Iterator[tuple[str, float]]:
        """Of each kind of process the one that holds most: they come and go."""
        net = [("serve", self._trial.net.process)] if self._trial.net is not None else []
        pipeline = self._trial.pipeline
        held: dict[str, float] = {}
        for kind, process in [("reader", pipeline.reader), *(("applier", one) for one in pipeline.appliers), *net]:
            if (memory := _memory_of(process)) is not None:
                held[kind] = max(memory, held.get(kind, 0.0))
        yield from ((f"memory MB: {kind}", memory) for kind, memory in held.items())

    def _kafka(self) -> Iterator[tuple[str, float]]:
        on_disk = [broker.disk_bytes(self._trial.pipeline.name, node.name) for node in self._trial.ground.kafka.nodes]
        known = [taken for taken in on_disk if taken is not None]
        if known:
            yield "Kafka MB: topics", sum(known) / _MB
            if committed := self._trial.company.committed:
                yield "Kafka bytes a transaction: topics", sum(known) / committed


def _memory_of(process: Process) -> float | None:
    pid = process.pid
    if pid is None:
        return None
    try:
        return float(psutil.Process(pid).memory_info().rss) / _MB
    except psutil.NoSuchProcess:
        return None


def _postgres(connection: psycopg.Connection) -> Iterator[tuple[str, float]]:
    version = connection.execute(_LAG).fetchone()
    if version and version[0]:
        yield "lag s: slowest lane", max(0.0, (now() - int(version[0])) / 1_000_000)
    for name, total, indexes, live, dead in connection.execute(_TABLES).fetchall():
        yield f"table MB: {name}", total / _MB
        yield f"indexes MB: {name}", indexes / _MB
        if name in _COUNTED:
            counted = connection.execute(f"SELECT count(*) FROM leadstream.{name}".encode()).fetchone()
            yield f"rows: {name}", float(counted[0]) if counted else 0.0
        elif live >= _FEW_ROWS:
            yield f"rows: {name}", float(live)
            yield f"bytes a row: {name}", total / live
            yield f"dead rows, share: {name}", dead / (live + dead)
