"""Binlog → PostgreSQL with every rule applied, against Debezium with its JDBC sink, which merely mirrors the rows."""

from __future__ import annotations

import tempfile
import uuid
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.bench import measure, ours, peers, results
from tests.bench.history import DATABASE, TABLES, History, history
from tests.bench.kafka import Topics, table_topics
from tests.bench.postgres import database
from tests.servers import Servers

APPLIED = """
SELECT count(*) FILTER (WHERE number = 1) * 6 + count(*) FILTER (WHERE number = 2)
     + count(*) FILTER (WHERE number = 3) * 3 FROM leadstream.stints
"""
"""Rows applied, by the stints they opened: the 1st row of a customer opens one, the 7th and the 10th the others."""


def bench(servers: Servers, rows: int, runs: int, with_peers: bool) -> None:
    """The table of DESIGN section 8, second line: both halves at once, and catching up from Kafka alone."""
    with history(servers, rows) as past:
        entries = [whole(servers, past, runs), catching_up(servers, past, runs)]
        if with_peers:
            entries.append(debezium(servers, past, runs))
    results.keep("applier", f"binlog → PostgreSQL, {rows:,} single-row transactions", entries)


def whole(servers: Servers, past: History, runs: int) -> results.Entry:
    """Reader and one applier launched together, until the last requirement is settled in PostgreSQL."""
    taken = []
    for _ in range(runs):
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            commands = [ours.reader(env, Path(folder)), ours.applier(env, Path(folder))]
            taken.append(_until_applied(commands, postgres, past))
        topics.remove()
    return _entry("leadstream", taken, past.rows)


def catching_up(servers: Servers, past: History, runs: int) -> results.Entry:
    """One applier alone, everything in Kafka already."""
    taken = []
    for _ in range(runs):
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            measure.run([ours.reader(env, Path(folder))], partial(ours.read_rows, topics, past), past.rows)
            taken.append(_until_applied([ours.applier(env, Path(folder))], postgres, past))
        topics.remove()
    return _entry("leadstream from Kafka alone", taken, past.rows)


def debezium(servers: Servers, past: History, runs: int) -> results.Entry:
    """Debezium's source and JDBC sink in one worker, until every row is in its mirror tables."""
    taken = []
    for _ in range(runs):
        prefix = f"debezium-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        topics.create(table_topics(prefix, DATABASE), ours.LANES)
        topics.create([f"{prefix}.schema-history"], 1)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            parts = urlsplit(postgres)
            sink = f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}"
            command = peers.debezium(past, servers.kafka_bootstrap, prefix, Path(folder), sink)
            with psycopg.connect(postgres, autocommit=True) as connection:
                taken.append(measure.run([command], partial(_mirrored, connection), past.rows))
        topics.remove()
    return _entry("debezium + jdbc sink", taken, past.rows)


def _until_applied(commands: list[measure.Command], postgres: str, past: History) -> measure.Progress:
    with psycopg.connect(postgres, autocommit=True) as connection:

        def applied() -> int:
            row = connection.execute(APPLIED).fetchone()
            return int(row[0]) if row else 0

        return measure.run(commands, applied, past.rows)


def _mirrored(connection: psycopg.Connection) -> int:
    """Rows the sink has written: what its tables hold, weighed by the changes behind each."""
    tables = [f"debezium_{table}" for table in TABLES]
    present = connection.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = ANY(%s)", [tables]
    ).fetchone()
    if not present or present[0] < len(tables):
        return 0
    row = connection.execute(
        "SELECT (SELECT count(*) + count(current_signature_file_id) FROM debezium_users)"
        " + (SELECT count(*) FROM debezium_claims)"
        " + (SELECT count(*) + count(*) FILTER (WHERE status = 'approved') FROM debezium_claim_requirements)"
    ).fetchone()
    return int(row[0]) if row else 0


def _entry(name: str, taken: list[measure.Progress], rows: int) -> results.Entry:
    return results.entry(
        name,
        rows,
        measure.median([progress.seconds_to(rows) for progress in taken]),
        max(progress.rss_mb for progress in taken),
        warm_rows_per_s=measure.median([progress.warm_rows_per_s(rows) for progress in taken]),
    )
