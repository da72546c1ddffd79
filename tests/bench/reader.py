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
from tests.servers import Servers

LIBRARY_ROWS = 50_000
"""mysql-replication reads a part only: at some 4,000 rows/s the whole would take four minutes a run."""


def bench(servers: Servers, rows: int, runs: int, with_peers: bool) -> None:
    """The table of DESIGN section 8, first line; and large transactions of ours alone."""
    with history(servers, rows) as single:
        entries = [leadstream(servers, single, runs)]
        if with_peers:
            entries += [debezium(servers, single, runs), pipe(single, runs), library(single)]
    results.keep("reader", f"binlog → committed Kafka, {rows:,} single-row transactions", entries)
    for size, name in ((100, "reader-100-rows"), (0, "reader-one-transaction")):
        with history(servers, rows, size) as larger:
            title = f"binlog → committed Kafka, transactions of {size or rows:,} rows"
            results.keep(name, title, [leadstream(servers, larger, runs)])


def leadstream(servers: Servers, past: History, runs: int) -> results.Entry:
    """Our reader from launch to the checkpoint that covers the last row.

    Inside one transaction a checkpoint's position stands still, so that nothing can be said of the warm half.
    """
    seconds, rss, warm = [], [], []
    for _ in range(runs):
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            progress = measure.run([ours.reader(env, Path(folder))], partial(ours.read_rows, topics, past), past.rows)
        topics.remove()
        seconds.append(progress.seconds_to(past.rows))
        warm.append(progress.warm_rows_per_s(past.rows))
        rss.append(progress.rss_mb)
    figures = {} if past.one_transaction else {"warm_rows_per_s": measure.median(warm)}
    return results.entry("leadstream", past.rows, measure.median(seconds), max(rss), **figures)


def debezium(servers: Servers, past: History, runs: int) -> results.Entry:
    """Debezium in Connect standalone from launch to the last row in its topics."""
    seconds, rss, warm = [], [], []
    for _ in range(runs):
        prefix = f"debezium-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        names = table_topics(prefix, DATABASE)
        topics.create(names, ours.LANES)
        topics.create([f"{prefix}.schema-history"], 1)
        with tempfile.TemporaryDirectory() as folder:
            command = peers.debezium(past, servers.kafka_bootstrap, prefix, Path(folder))
            progress = measure.run([command], partial(topics.rows, names), past.rows)
        topics.remove()
        seconds.append(progress.seconds_to(past.rows))
        warm.append(progress.warm_rows_per_s(past.rows))
        rss.append(progress.rss_mb)
    return results.entry("debezium", past.rows, measure.median(seconds), max(rss), warm_rows_per_s=measure.median(warm))


def pipe(past: History, runs: int) -> results.Entry:
    """The binlog's bytes through a socket to a file."""
    timed = [measure.time_of(peers.pipe(past)) for _ in range(runs)]
    return results.entry(
        "mysqlbinlog --raw", past.rows, measure.median([t[0] for t in timed]), max(t[1] for t in timed)
    )


def library(past: History) -> results.Entry:
    """mysql-replication, decoding only."""
    rows = min(LIBRARY_ROWS, past.rows)
    seconds, rss = measure.time_of(peers.library(past, rows))
    return results.entry("mysql-replication", rows, seconds, rss)
