"""What statements read of large tables: where these have grown since they were planned, and have no statistics yet, as
in the first minutes of a deployment; and where PostgreSQL misjudges how few rows are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
import pytest

from consumer.leads.ledger import replay
from consumer.leads.model import Change, ClaimRow, RequirementRow, Row, Table, UserRow
from consumer.leads.outcome import Outcome
from consumer.store import conversion_events, sql
from consumer.store.leads import LeadStore
from consumer.store.schema.setup import prepare
from tests.integration.store.databases import new_database, row, rows, run
from tests.integration.store.replayer import LANES, RULES, claim, requirement, user
from tests.support.company_tables import call_centre_tables
from tests.support.waiting import until

TABLES: Final = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}
AT_ONCE: Final = 25
"""Customers in a batch."""
BATCHES: Final = 10
OTHERS: Final = 30_000
"""Customers that are there all at once, by somebody else's writing."""
FILL: Final = """
INSERT INTO user_call_scores (id, user_id, current_score, is_active, current_queue_type, created_at, updated_at)
SELECT gen_random_uuid(), n, 0, true, 'unsigned_users', now(), now() FROM generate_series(100001, 100000 + %(n)s) AS n;
INSERT INTO call_queue (id, user_id, queue_type, status, queue_reason, created_at, updated_at)
SELECT gen_random_uuid(), n, 'unsigned_users', 'pending', 'first_seen', now(), now()
FROM generate_series(100001, 100000 + %(n)s) AS n;
INSERT INTO leadstream.leads (user_id, lane, present, enabled, version, read_floor, stint, rules_version)
SELECT n, 0, true, true, 1, 0, 0, 1 FROM generate_series(100001, 100000 + %(n)s) AS n;
INSERT INTO leadstream.claims (user_id, id, status, version)
SELECT n, n, 'open', 1 FROM generate_series(100001, 100000 + %(n)s) AS n;
INSERT INTO leadstream.requirements (user_id, id, claim_id, type, status, version)
SELECT n, n, n, 'passport', 'pending', 1 FROM generate_series(100001, 100000 + %(n)s) AS n;
INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, source, in_shadow)
SELECT n, 1, 'unsigned_users', now(), 'first_seen', 'sweep', false FROM generate_series(100001, 100000 + %(n)s) AS n
"""
MOST_READ: Final = 50
"""Rows or entries of one table or index for each customer of a batch, in all that a batch here does."""
READ: Final = """
SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes
UNION ALL SELECT relname, seq_tup_read FROM pg_stat_user_tables
"""


SESSIONS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
"""A session tells what it has read when it ends at the latest, and is one of these until then."""


def what_was_read(url: str) -> dict[str, int]:
    """Rows and entries read since the statistics were reset, of tables (in whole scans) and indexes."""
    until(lambda: row(url, SESSIONS) == (0,), "the sessions ended")
    return dict(rows(url, READ))


def apply(
    store: LeadStore, page: Sequence[int], at: int, *steps: Callable[[int], tuple[Row | None, Row | None]]
) -> None:
    """A transaction of each customer of a page, in which rows (before, after) change, applied in one batch."""
    changes = []
    for user_id in page:
        for number, step in enumerate(steps, 1):
            before, after = step(user_id)
            present = after if after is not None else before
            assert present is not None
            changes.append(Change(user_id, TABLES[type(present)], before, after, at, at, number == len(steps)))
    outcome = Outcome()
    with store.transaction() as tx:
        replay(changes, tx.load(page), 0, RULES, outcome)
        tx.write(outcome)


def come_and_convert(store: LeadStore, first: int, count: int = AT_ONCE, ago: int = 0) -> None:
    """Customers come so many seconds ago, owe a document, sign, hand it in, and are looked at."""
    page, at = range(first, first + count), time.time_ns() // 1000 - ago * 1_000_000
    apply(
        store, page, at,
        lambda user_id: (None, user(user_id)),
        lambda user_id: (None, claim(user_id, user_id)),
        lambda user_id: (None, requirement(user_id, user_id)),
    )  # fmt: skip
    apply(store, page, at + 1_000, lambda user_id: (user(user_id), user(user_id, "file-1")))
    apply(
        store, page, at + 2_000,
        lambda user_id: (requirement(user_id, user_id), requirement(user_id, user_id, "approved")),
    )  # fmt: skip
    with store.transaction(past_held=True) as tx:
        tx.load(page)
        assert tx.repair_entries(page) == []


def test_plans_made_for_empty_tables_do_not_stay(server_url: str) -> None:
    with new_database(server_url) as url:
        run(url, call_centre_tables())
        prepare(url, LANES, 1)
        for (table,) in rows(url, "SELECT relid::regclass::text FROM pg_stat_user_tables"):
            run(url, f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        with LeadStore(url, LANES, shadow=False, source="stream") as store:
            come_and_convert(store, 1)
            with psycopg.connect(url) as connection:
                psycopg.ClientCursor(connection).execute(FILL, {"n": OTHERS})
            run(url, "SELECT pg_stat_reset()")
            for first in range(1_001, 1_001 + BATCHES * AT_ONCE, AT_ONCE):
                come_and_convert(store, first)
        assert row(url, "SELECT count(*) FROM conversions") == (2 * (BATCHES + 1) * AT_ONCE,)
        read = {name: read / (BATCHES * AT_ONCE) for name, read in what_was_read(url).items()}
        assert {name: times for name, times in read.items() if times > MOST_READ} == {}


PAID: Final = """
INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at, documents_received)
SELECT gen_random_uuid(), n, 'unsigned_users', 'signature_obtained', now(), '["file-1"]'
FROM generate_series(100001, 100000 + %(n)s) AS n
"""


def test_behind_an_outage_no_batch_reads_all_conversions(server_url: str) -> None:
    with new_database(server_url) as url:
        run(url, call_centre_tables())
        prepare(url, LANES, 1)
        run(url, "ALTER TABLE conversions SET (autovacuum_enabled = off)")
        with LeadStore(url, LANES, shadow=False, source="stream") as store:
            with psycopg.connect(url) as connection:
                psycopg.ClientCursor(connection).execute(PAID, {"n": OTHERS})
            run(url, "SELECT pg_stat_reset()")
            for first in (1, 1_001):
                come_and_convert(store, first, 1_000, ago=3_600)
        assert what_was_read(url)["conversions"] < OTHERS
        assert row(url, "SELECT count(*) FROM conversions") == (OTHERS + 4_000,)


@pytest.mark.parametrize("statement", [sql.PAID_ALREADY, sql.PAID_SIGNATURES])
def test_what_customers_were_paid_is_looked_up_for_all_of_them_at_once(server_url: str, statement: str) -> None:
    with new_database(server_url) as url:
        prepare(url, LANES, 1)
        run(url, "ALTER TABLE conversions SET (autovacuum_enabled = off)")
        with psycopg.connect(url) as connection:
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(PAID, {"n": OTHERS})
            cursor.execute((sql.SESSION + ";" + sql.PLAN_FREELY).encode())
            users = list(range(100_001, 101_001))
            earned = {"user_id": users, "opened": [None] * len(users), "signature": ["file-2"] * len(users)}
            plan = cursor.execute(b"EXPLAIN (ANALYZE) " + statement.encode(), earned).fetchall()
    looks = [line for (line,) in plan if " on conversions" in line]
    assert len(looks) == 1
    assert looks[0].endswith("rows=1000 loops=1)")


CONVERTED: Final = """
INSERT INTO leadstream.leads (user_id, lane, present, enabled, version, read_floor, stint, rules_version)
SELECT n, 0, true, true, 1, 0, 1, 1 FROM generate_series(1, %(n)s) AS n;
INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, source, in_shadow, closed_at,
                               closed_reason, conversion_type, event_number)
SELECT n, 1, 'unsigned_users', now(), 'first_seen', 'stream', false, now(), 'signature_obtained',
       CASE WHEN n %% 4 = 0 THEN 'signature_obtained' END, CASE WHEN n %% 4 = 0 THEN n END
FROM generate_series(1, %(n)s) AS n
"""
EARNED: Final = (
    "UPDATE leadstream.stints SET conversion_type = 'signature_obtained' WHERE user_id BETWEEN {0} + 1 AND {0} + 3"
)


def test_a_few_conversions_are_numbered_without_reading_all_stints(server_url: str) -> None:
    with new_database(server_url) as url:
        run(url, call_centre_tables())
        prepare(url, LANES, 1)
        with psycopg.connect(url) as connection:
            psycopg.ClientCursor(connection).execute(CONVERTED, {"n": OTHERS})
        run(url, "ANALYZE leadstream.stints")
        numbered = 0
        with psycopg.connect(url, autocommit=True) as connection:
            run(url, "SELECT pg_stat_reset()")
            for first in range(4, 4 * (BATCHES + 1), 4):
                run(url, EARNED.format(first))
                numbered += conversion_events.number(connection)
        assert numbered == 3 * BATCHES
        assert what_was_read(url)["stints"] < OTHERS


SHOWN: Final = """
INSERT INTO leadstream.shown (user_id, lane, queue_type, until_version)
SELECT n, 0, 'unsigned_users', 4102444800000000 FROM generate_series(100001, 100000 + %(n)s) AS n
"""


@pytest.mark.parametrize("analyzed", [True, False])
def test_leads_that_stay_shown_are_not_read_with_each_batch(server_url: str, analyzed: bool) -> None:
    with new_database(server_url) as url:
        run(url, call_centre_tables())
        prepare(url, LANES, 1)
        with psycopg.connect(url) as connection:
            psycopg.ClientCursor(connection).execute(FILL, {"n": OTHERS})
            psycopg.ClientCursor(connection).execute(SHOWN, {"n": OTHERS})
        run(url, "UPDATE leadstream.shown SET until_version = 1 WHERE user_id %% 3000 = 0")
        run(url, "UPDATE leadstream.lanes SET version = 2")
        run(url, "UPDATE leadstream.leads SET stint = 1")
        if analyzed:
            run(url, "ANALYZE")
        run(url, "SELECT pg_stat_reset()")
        with LeadStore(url, LANES, shadow=False, source="stream") as store:
            for _ in range(BATCHES):
                with store.transaction() as tx:
                    assert tx.before({0: 2}, 100).waiting == list(range(102_000, 100_000 + OTHERS + 1, 3_000))
        read = what_was_read(url)
        assert read["shown_until"] > 0
        assert read["shown"] + read["shown_pkey"] + read["shown_until"] < OTHERS
