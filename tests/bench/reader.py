"""Binlog → committed Kafka: our reader, the peer in Go, Debezium, the pipe (`mysqlbinlog --raw`), mysql-replication."""

from __future__ import annotations

import tempfile
import uuid
from functools import partial
from pathlib import Path

from tests.bench import measure, ours, results
from tests.bench.history import DATABASE, History, history
from tests.bench.kafka import Topics, table_topics
from tests.bench.peers import debezium, gopeer, mysql_replication, mysqlbinlog
from tests.bench.postgres import database
from tests.bench.runs import Contestant, by_turns, paired
from tests.bench.sizes import Sizes
from tests.servers import Servers
from tests.support import broker
from tests.support.waiting import until

QUARTERS = 4
SKIPPING = ", unchanged rows skipped"


def bench(servers: Servers, past: History, sizes: Sizes, *, with_peers: bool = True) -> None:
    """The table of DESIGN section 8, first line: everybody by turns on single-row transactions."""
    title = f"binlog → committed Kafka, {past.rows:,} single-row transactions"
    contestants = [_ours(servers, past)]
    with tempfile.TemporaryDirectory() as name:
        if with_peers:
            rows = min(sizes.library_rows, past.rows)
            contestants += [
                *_go(servers, past),
                _debezium(servers, past),
                _decoder("mysqlbinlog --raw", mysqlbinlog.command(past, Path(name)), past.rows),
                _decoder("mysql-replication", mysql_replication.command(past, rows, Path(name)), rows),
            ]
        _keep("reader", title, contestants, sizes.runs)


def touched(servers: Servers, sizes: Sizes, *, with_peers: bool = True) -> None:
    """The same where most updates change no captured column but `updated_at`, and peers that leave those out."""
    with history(servers, sizes.touched_rows, touched=True) as past:
        contestants = [_ours(servers, past), _ours(servers, past, skip_unchanged=True)]
        if with_peers:
            for skip in (False, True) if sizes.every_peer_twice else (True,):
                contestants += [*_go(servers, past, skip_unchanged=skip), _debezium(servers, past, skip_unchanged=skip)]
        title = f"binlog → committed Kafka, {past.rows:,} changes, {past.touches:,} of them of updated_at alone"
        _keep("reader-touched", title, contestants, sizes.runs)


def larger(servers: Servers, sizes: Sizes) -> None:
    """Larger transactions, ours alone."""
    for size in sizes.larger:
        name = f"reader-{size}-rows" if size else "reader-one-transaction"
        with history(servers, sizes.larger_rows, size) as past:
            title = f"binlog → committed Kafka, transactions of {size or past.rows:,} rows"
            _keep(name, title, [_ours(servers, past)], sizes.runs)


def integer_keys(servers: Servers, sizes: Sizes) -> None:
    """Ours on a history whose requirements have numbers instead of UUIDs, beside one with UUIDs."""
    with history(servers, sizes.rows) as texts, history(servers, sizes.rows, integer_keys=True) as numbers:
        contestants = [_ours(servers, texts), _ours(servers, numbers, ", integer keys")]
        _keep(
            "reader-keys", f"binlog → committed Kafka, {texts.rows:,} single-row transactions", contestants, sizes.runs
        )


def _keep(name: str, title: str, contestants: list[Contestant], runs: int) -> None:
    taken = by_turns(contestants, runs)
    entries = paired(contestants, taken)
    first = taken[contestants[0].name][0]
    memory = first.every(first.seconds_to(contestants[0].rows) / QUARTERS)
    shown = " / ".join(str(held) for _, _, held in memory[1:])
    entries[0] = {**entries[0], "rss_mb_by_quarter": shown, "second_rows_mb": memory}
    results.keep(name, title, entries)


def _ours(servers: Servers, past: History, what: str = "", *, skip_unchanged: bool = False) -> Contestant:
    """Our reader from launch to the checkpoint that covers the last row."""

    def once() -> measure.Progress:
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            env |= {"SKIP_UNCHANGED_UPDATES": str(skip_unchanged).lower()}
            ours.setup(env)
            progress = _measured(ours.reader(env, Path(folder)), topics, past)
        topics.remove()
        return progress

    return Contestant(f"leadstream{what}{SKIPPING * skip_unchanged}", ["reader"], past.rows, once)


def _go(servers: Servers, past: History, *, skip_unchanged: bool = False) -> list[Contestant]:
    """The peer in Go from launch to the checkpoint that covers the last row; nobody where Go is not installed."""
    program = gopeer.build()
    if program is None:
        print("Go is not installed: go-mysql with franz-go is left out")
        return []

    def once() -> measure.Progress:
        prefix = f"go-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        topics.create(table_topics(prefix), ours.LANES)
        topics.create([f"{prefix}.checkpoints"], 1)
        with tempfile.TemporaryDirectory() as folder:
            command = gopeer.command(
                program, past, servers.kafka_bootstrap, prefix, Path(folder), skip_unchanged=skip_unchanged
            )
            progress = _measured(command, topics, past)
            # Asked once more as it stands: a consumer that has just been assigned may need a moment.
            found = until(topics.checkpointed, "the peer's checkpoint was read again")["rows"]
        expected = past.rows - past.touches * skip_unchanged
        topics.remove()
        if found != expected:
            raise measure.BenchFailed(f"the peer in Go sent {found:,} rows and not {expected:,}")
        return progress

    return [Contestant(f"go-mysql + franz-go{SKIPPING * skip_unchanged}", ["go"], past.rows, once)]


def _measured(command: measure.Command, topics: Topics, past: History) -> measure.Progress:
    return measure.run([command], partial(ours.read_rows, topics, past), past.rows, broker=broker.cpu_seconds)


def _debezium(servers: Servers, past: History, *, skip_unchanged: bool = False) -> Contestant:
    """Debezium in Connect standalone from launch to the last row in its topics."""
    expected = past.rows - past.touches * skip_unchanged

    def once() -> measure.Progress:
        prefix = f"debezium-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        names = table_topics(prefix, DATABASE)
        topics.create(names, ours.LANES)
        topics.create([f"{prefix}.schema-history"], 1)
        with tempfile.TemporaryDirectory() as folder:
            command = debezium.command(
                past, servers.kafka_bootstrap, prefix, Path(folder), skip_unchanged=skip_unchanged
            )

            def arrived() -> int:
                return topics.rows(names) * past.rows // expected

            progress = measure.run([command], arrived, past.rows, broker=broker.cpu_seconds)
        topics.remove()
        return progress

    return Contestant(f"debezium{SKIPPING * skip_unchanged}", ["debezium"], past.rows, once)


def _decoder(name: str, command: measure.Command, rows: int) -> Contestant:
    """A program that writes nothing to Kafka and ends by itself."""
    return Contestant(name, [name], rows, partial(measure.to_its_end, command, rows))
