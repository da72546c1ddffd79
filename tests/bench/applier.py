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


MOST_APPLIERS = 3
AT_ONCE = 100
"""Rows in a transaction of the outage's history, so that it is written in minutes; in Kafka they are messages alike."""


def bench(servers: Servers, rows: int, outage: int, runs: int, with_peers: bool) -> None:
    """The table of DESIGN section 8, second line: both halves at once, and catching up from Kafka alone.

    That by one applier and by several, and after an outage of `outage` changes (0: left out) by one.
    """
    with history(servers, rows) as past:
        entries = [whole(servers, past, runs)]
        entries += [catching_up(servers, past, runs, appliers) for appliers in range(1, MOST_APPLIERS + 1)]
        if with_peers:
            entries.append(debezium(servers, past, runs))
    if outage:
        with history(servers, outage, AT_ONCE) as past:
            entries.append({**catching_up(servers, past, 1, 1), "name": "leadstream after an outage"})
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


def catching_up(servers: Servers, past: History, runs: int, appliers: int) -> results.Entry:
    """Appliers alone, everything in Kafka already."""
    taken = []
    for _ in range(runs):
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            measure.run([ours.reader(env, Path(folder))], partial(ours.read_rows, topics, past), past.rows)
            commands = [ours.applier(env, Path(folder), number) for number in range(appliers)]
            taken.append(_until_applied(commands, postgres, past))
        topics.remove()
    many = f", {appliers} appliers" if appliers > 1 else ""
    return _entry(f"leadstream from Kafka alone{many}", taken, past.rows)


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
        rss_first_half_mb=round(max(progress.rss_mb_until(rows // 2) for progress in taken)),
        warm_rows_per_s=measure.median([progress.warm_rows_per_s(rows) for progress in taken]),
    )
