"""Binlog → PostgreSQL with every rule applied, against Debezium with its JDBC sink, which merely mirrors the rows."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from tests.bench import measure, ours, results
from tests.bench.history import CHANGES_A_USER, DATABASE, TABLES, History, history
from tests.bench.kafka import Topics, table_topics
from tests.bench.peers import debezium
from tests.bench.postgres import database
from tests.bench.runs import Contestant, by_turns, entry_of, paired
from tests.bench.sizes import Sizes
from tests.servers import Servers
from tests.support import broker

AT_ONCE = 100
"""Rows in a transaction of the outage's history, so that it is written in minutes; in Kafka they are messages alike."""
MEMORY_POINTS = 40
"""So many points of memory over time are kept of an outage."""
LONGEST = 1_500.0
"""Seconds that any run may take."""

PASSED = "SELECT sum(next_seq) FROM leadstream.lanes"
"""How many messages were applied: of twelve rows, so that asking costs the server nothing."""
HISTORIES = "SELECT count(*) FROM leadstream.leads WHERE stint = 3"
"""Customers whose whole history was applied: they entered a queue, signed, and handed in the last document."""
WON = "SELECT count(*) FROM conversions"


def bench(servers: Servers, past: History, sizes: Sizes, *, with_peers: bool = True) -> None:
    """The table of DESIGN section 8, second line: both halves at once beside the peer, and catching up from Kafka.

    Both halves and the peer take turns; catching up is measured once for each number of appliers.
    """
    title = f"binlog → PostgreSQL, {past.rows:,} single-row transactions"
    contestants = [Contestant("leadstream", ["reader", "applier"], past.rows, partial(_whole, servers, past))]
    if with_peers:
        debezium_with_sink = partial(_debezium, servers, past)
        contestants.append(Contestant("debezium + jdbc sink", ["debezium"], past.rows, debezium_with_sink))
    entries = paired(contestants, by_turns(contestants, sizes.runs))
    results.keep("applier", title, entries)
    for appliers in range(1, sizes.most_appliers + 1):
        many = f", {appliers} appliers" if appliers > 1 else ""
        names = [f"applier {number + 1}" for number in range(appliers)]
        taken = [_caught_up(servers, past, appliers)]
        entries.append(entry_of(f"leadstream from Kafka alone{many}", names, taken, past.rows))
    results.keep("applier", title, entries)


def outage(servers: Servers, sizes: Sizes) -> None:
    """One applier after an outage of so many changes."""
    with history(servers, sizes.outage or AT_ONCE * CHANGES_A_USER, AT_ONCE, side_by_side=True) as past:
        entry = after_an_outage(servers, past)
    results.keep("outage", f"one applier after an outage, {past.rows:,} changes piled up in Kafka", [entry])


@dataclass(frozen=True)
class Run:
    """The servers of one run of ours, empty."""

    env: dict[str, str]
    postgres: str
    topics: Topics
    folder: Path


@contextmanager
def prepared(servers: Servers, past: History) -> Iterator[Run]:
    """A database and topics of its own, after `consumer setup`."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    topics = Topics(servers.kafka_bootstrap, prefix)
    try:
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            yield Run(env, postgres, topics, Path(folder))
    finally:
        topics.remove()


def _whole(servers: Servers, past: History) -> measure.Progress:
    """Reader and one applier launched together, until the last requirement is settled in PostgreSQL."""
    with prepared(servers, past) as run:
        commands = [ours.reader(run.env, run.folder), ours.applier(run.env, run.folder)]
        return until_applied(commands, run.postgres, past)


def integer_keys(servers: Servers, sizes: Sizes) -> None:
    """One applier on texts and on numbers for keys, by turns: what drifts on the machine meets both alike."""
    with history(servers, sizes.rows) as texts, history(servers, sizes.rows, integer_keys=True) as numbers:
        contestants = [
            Contestant("text keys", ["applier"], texts.rows, partial(_caught_up, servers, texts, 1)),
            Contestant("integer keys", ["applier"], numbers.rows, partial(_caught_up, servers, numbers, 1)),
        ]
        entries = paired(contestants, by_turns(contestants, sizes.runs))
    results.keep("keys", f"one applier, {sizes.rows:,} single-row transactions", entries)


def after_an_outage(servers: Servers, past: History) -> results.Entry:
    """One applier that finds a day's changes in Kafka; memory over time, the reader's while it piled them up too."""
    with prepared(servers, past) as run:
        reader = ours.reader(run.env, run.folder)
        piling = measure.run([reader], partial(ours.read_rows, run.topics, past), past.rows, LONGEST)
        applying = until_applied([ours.applier(run.env, run.folder)], run.postgres, past)
    tenth = past.rows // 10
    seconds = applying.seconds_to(past.rows)
    return {
        **entry_of("leadstream after an outage", ["applier"], [applying], past.rows),
        "rss_first_tenth_mb": round(applying.rss_mb_until(tenth)),
        "applier_second_rows_mb": applying.every(seconds / MEMORY_POINTS),
        "reader_rss_mb": round(piling.rss_mb),
        "reader_rss_first_tenth_mb": round(piling.rss_mb_until(tenth)),
        "reader_rows_per_s": round(past.rows / piling.seconds_to(past.rows)),
        "reader_second_rows_mb": piling.every(piling.seconds_to(past.rows) / MEMORY_POINTS),
    }


def _debezium(servers: Servers, past: History) -> measure.Progress:
    """Debezium's source and JDBC sink in one worker, until every row is in its mirror tables."""
    prefix = f"debezium-{uuid.uuid4().hex[:8]}"
    topics = Topics(servers.kafka_bootstrap, prefix)
    topics.create(table_topics(prefix, DATABASE), ours.LANES)
    topics.create([f"{prefix}.schema-history"], 1)
    with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
        command = debezium.command(past, servers.kafka_bootstrap, prefix, Path(folder), postgres)
        with psycopg.connect(postgres, autocommit=True) as connection:
            mirrored = partial(_mirrored, connection)
            progress = measure.run([command], mirrored, past.rows, LONGEST, share=0.05, broker=broker.cpu_seconds)
    topics.remove()
    return progress


def _caught_up(servers: Servers, past: History, appliers: int) -> measure.Progress:
    """One run of appliers alone behind a reader that has finished."""
    with prepared(servers, past) as run:
        measure.run([ours.reader(run.env, run.folder)], partial(ours.read_rows, run.topics, past), past.rows)
        commands = [ours.applier(run.env, run.folder, number) for number in range(appliers)]
        return until_applied(commands, run.postgres, past)


def until_applied(commands: Sequence[measure.Command], postgres: str, past: History) -> measure.Progress:
    """Runs appliers until every customer's whole history is applied. Raises BenchFailed where that is not so."""
    users = past.rows // CHANGES_A_USER
    with psycopg.connect(postgres, autocommit=True) as connection:
        first = _number(connection, PASSED)

        def applied() -> int:
            passed = _number(connection, PASSED) - first
            if passed < past.rows:
                return passed
            return past.rows if _number(connection, HISTORIES) == users else past.rows - 1

        progress = measure.run(commands, applied, past.rows, LONGEST, share=0.25, broker=broker.cpu_seconds)
        won = _number(connection, WON)
        if won != 2 * users:
            raise measure.BenchFailed(f"{won:,} conversions were recorded for {users:,} customers, not two each")
    return progress


def _number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _mirrored(connection: psycopg.Connection) -> int:
    """Rows the sink has written: what its tables hold, weighed by the changes behind each."""
    tables = [f"debezium_{table}" for table in TABLES]
    present = connection.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = ANY(%s)", [tables]
    ).fetchone()
    if not present or present[0] < len(tables):
        return 0
    return _number(
        connection,
        "SELECT (SELECT count(*) + count(current_signature_file_id) FROM debezium_users)"
        " + (SELECT count(*) FROM debezium_claims)"
        " + (SELECT count(*) + count(*) FILTER (WHERE status = 'approved') FROM debezium_claim_requirements)",
    )
