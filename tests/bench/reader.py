"""Binlog → committed Kafka: our reader, Debezium, the pipe (`mysqlbinlog --raw`) and mysql-replication."""

from __future__ import annotations

import tempfile
import uuid
from functools import partial
from pathlib import Path

from tests.bench import measure, ours, peers, results
from tests.bench.history import DATABASE, History, history
from tests.bench.kafka import Topics, table_topics
from tests.bench.postgres import database
from tests.bench.runs import entry_of
from tests.servers import Servers

LIBRARY_ROWS = 100_000
"""mysql-replication reads a part only: at some 4,000 rows/s the whole would take four minutes a run."""
QUARTERS = 4


def bench(servers: Servers, rows: int, runs: int, peer_runs: int, *, integer_keys: bool = False) -> None:
    """The table of DESIGN section 8, first line; and large transactions of ours alone. 0 `peer_runs`: no peers.

    With `integer_keys` ours also on a history whose requirements have numbers instead of UUIDs.
    """
    with history(servers, rows) as single:
        entries = [leadstream(servers, single, runs)]
        if peer_runs:
            entries += [pipe(single, peer_runs), debezium(servers, single, peer_runs), library(single, peer_runs)]
    if integer_keys:
        with history(servers, rows, integer_keys=True) as single:
            entries.append(results.renamed(leadstream(servers, single, runs), "integer keys"))
    results.keep("reader", f"binlog → committed Kafka, {rows:,} single-row transactions", entries)
    for size, name in ((100, "reader-100-rows"), (0, "reader-one-transaction")):
        with history(servers, rows, size) as larger:
            title = f"binlog → committed Kafka, transactions of {size or rows:,} rows"
            results.keep(name, title, [leadstream(servers, larger, runs)])


def leadstream(servers: Servers, past: History, runs: int) -> results.Entry:
    """Our reader from launch to the checkpoint that covers the last row; the first run's memory over its time."""
    taken = []
    for _ in range(runs):
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            taken.append(
                measure.run([ours.reader(env, Path(folder))], partial(ours.read_rows, topics, past), past.rows)
            )
        topics.remove()
    quarter = taken[0].seconds_to(past.rows) / QUARTERS
    memory = taken[0].every(quarter)
    shown = " / ".join(str(held) for _, _, held in memory[1:])
    return {
        **entry_of("leadstream", ["reader"], taken, past.rows),
        "rss_mb_by_quarter": shown,
        "second_rows_mb": memory,
    }


def debezium(servers: Servers, past: History, runs: int) -> results.Entry:
    """Debezium in Connect standalone from launch to the last row in its topics."""
    taken = []
    for _ in range(runs):
        prefix = f"debezium-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        names = table_topics(prefix, DATABASE)
        topics.create(names, ours.LANES)
        topics.create([f"{prefix}.schema-history"], 1)
        with tempfile.TemporaryDirectory() as folder:
            command = peers.debezium(past, servers.kafka_bootstrap, prefix, Path(folder))
            taken.append(measure.run([command], partial(topics.rows, names), past.rows))
        topics.remove()
    return entry_of("debezium", ["debezium"], taken, past.rows)


def pipe(past: History, runs: int) -> results.Entry:
    """The binlog's bytes through a socket to a file."""
    return _timed("mysqlbinlog --raw", peers.pipe(past), past.rows, runs)


def library(past: History, runs: int) -> results.Entry:
    """mysql-replication, decoding only."""
    rows = min(LIBRARY_ROWS, past.rows)
    return _timed("mysql-replication", peers.library(past, rows), rows, runs)


def _timed(name: str, argv: list[str], rows: int, runs: int) -> results.Entry:
    taken = [measure.time_of(argv) for _ in range(runs)]
    seconds = [took for took, _ in taken]
    figures = results.entry(name, rows, measure.median(seconds), max(rss for _, rss in taken))
    return {**figures, "runs": [{"seconds": round(took, 2), "rows_per_s": round(rows / took)} for took in seconds]}
