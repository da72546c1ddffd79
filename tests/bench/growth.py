"""What the pipeline costs as changes grow: time, memory, and the disk of Kafka and PostgreSQL."""

from __future__ import annotations

import itertools

import psycopg

from tests.bench import ours, results
from tests.bench.applier import AT_ONCE, prepared, until_applied
from tests.bench.history import history
from tests.bench.runs import entry_of
from tests.bench.sizes import Sizes
from tests.servers import Servers
from tests.support import broker


def bench(servers: Servers, sizes: Sizes) -> None:
    """Reader and one applier over histories of each size, from launch to the last row in PostgreSQL."""
    entries = []
    for changes in sizes.changes:
        entries.append(_at(servers, changes))
        title = "binlog → PostgreSQL as changes grow, transactions of up to 100 rows"
        results.keep("growth", title, with_margins(entries, "rows"))


def _at(servers: Servers, changes: int) -> results.Entry:
    with history(servers, changes, AT_ONCE, side_by_side=True) as past, prepared(servers, past) as run:
        commands = [ours.reader(run.env, run.folder), ours.applier(run.env, run.folder)]
        progress = until_applied(commands, run.postgres, past)
        return {
            **entry_of(f"{past.rows:,} changes", ["reader", "applier"], [progress], past.rows),
            **disks(run.postgres, broker.disk_bytes(run.topics.prefix)),
        }


def disks(postgres: str, kafka_bytes: int | None) -> dict[str, float]:
    """Megabytes on disk: PostgreSQL's database, and Kafka's topics where they are seen from here."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    taken = {"postgres_mb": round(int(row[0]) / 1e6, 1) if row else 0.0}
    if kafka_bytes is not None:
        taken["kafka_mb"] = round(kafka_bytes / 1e6, 1)
    return taken


COSTS = ("seconds", "kafka_mb", "postgres_mb")
A_MILLION = 1e6


def with_margins(entries: list[results.Entry], unit: str) -> list[results.Entry]:
    """The entries, each with what a further million of the `unit` cost since the size before.

    Where a cost is a straight line that stays the same, whatever starting takes.
    """
    found = [entries[0]]
    for before, entry in itertools.pairwise(entries):
        more = _number(entry[unit]) - _number(before[unit])
        margins = {
            f"{cost}_a_further_million": round(A_MILLION * (_number(entry[cost]) - _number(before[cost])) / more, 1)
            for cost in COSTS
            if cost in entry and cost in before
        }
        found.append({**entry, **margins})
    return found


def _number(value: object) -> float:
    return float(str(value))
