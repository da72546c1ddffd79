"""Commit → visible in PostgreSQL: how long after a customer's signature is committed the conversion can be read."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.bench import ours, results
from tests.bench.history import DATABASE, History, connect, history
from tests.bench.kafka import Topics
from tests.bench.measure import Command
from tests.bench.postgres import database
from tests.servers import Servers

PROBES = 300
"""Signatures timed for each figure."""


def bench(servers: Servers) -> None:
    """At rest, and with 1,000 other transactions a second."""
    entries = []
    with history(servers, 20_000) as past:
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            with _running([ours.reader(env, Path(folder)), ours.applier(env, Path(folder))]):
                entries.append(_figures("leadstream", _probe(past, postgres, first=10_000_000)))
                stop = threading.Event()
                load = [threading.Thread(target=_load, args=(past, n, 500, stop)) for n in range(2)]
                for thread in load:
                    thread.start()
                try:
                    entries.append(_figures("leadstream at 1,000 tx/s", _probe(past, postgres, first=20_000_000)))
                finally:
                    stop.set()
                    for thread in load:
                        thread.join()
        topics.remove()
    results.keep("latency", "commit → visible in PostgreSQL", entries)


@contextmanager
def _running(commands: list[Command]) -> Iterator[None]:
    with ExitStack() as files:
        processes = [
            subprocess.Popen(
                command.argv,
                stdout=files.enter_context(command.log.open("wb")),
                stderr=subprocess.STDOUT,
                env=command.env,
            )
            for command in commands
        ]
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)


def _probe(past: History, postgres: str, first: int) -> list[float]:
    """Milliseconds from the return of a signature's commit to its conversion being visible, PROBES times."""
    taken = []
    seen = "SELECT 1 FROM conversions WHERE user_id = %s"
    known = "SELECT 1 FROM leadstream.leads WHERE user_id = %s"
    with (
        connect(past.url, DATABASE) as source,
        source.cursor() as cursor,
        psycopg.connect(postgres, autocommit=True) as target,
    ):
        for user in range(first, first + PROBES):
            cursor.execute(
                "INSERT INTO users (id, email_address, created_at, updated_at) VALUES (%s, '', NOW(), NOW())",
                (user,),
            )
            _wait(target, known, user)
            cursor.execute("UPDATE users SET current_signature_file_id = 1 WHERE id = %s", (user,))
            committed = time.perf_counter()
            _wait(target, seen, user)
            taken.append((time.perf_counter() - committed) * 1000)
            time.sleep(0.01)
    return taken


def _wait(target: psycopg.Connection, query: str, user: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while target.execute(query, [user], prepare=True).fetchone() is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"user {user} was not visible within {seconds} s")
        time.sleep(0.0005)


def _load(past: History, number: int, rate: int, stop: threading.Event) -> None:
    """`rate` single-row transactions a second, on customers of its own."""
    with connect(past.url, DATABASE) as source, source.cursor() as cursor:
        due = time.perf_counter()
        user = 0
        while not stop.is_set():
            user = user % 1000 + 1
            cursor.execute(
                "UPDATE users SET current_signature_file_id = current_signature_file_id + 1 WHERE id = %s",
                (1000 * number + user,),
            )
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))


def _figures(name: str, taken: list[float]) -> results.Entry:
    ordered = sorted(taken)
    return {
        "name": name,
        "probes": len(ordered),
        "p50_ms": round(ordered[len(ordered) // 2], 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
    }
