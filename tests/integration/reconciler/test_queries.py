"""How many statements the replica has to run for us, and how it runs them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from pymysql.cursors import Cursor, DictCursor

from consumer.leads.model import Table
from consumer.mysql.login import login
from consumer.mysql.schema import SCHEMA
from consumer.settings import MySQLAddress
from reconciler import mysql_statements
from reconciler import replica as replica_module
from reconciler.monitor.servers import ServerMonitor
from reconciler.mysql_statements import Queries
from reconciler.names import SWEEPS
from reconciler.replica import ReplicaReads
from reconciler.runner import Jobs
from reconciler.runs.sessions import load_settings
from reconciler.runs.sweeps import HOUR, SweepScope
from reconciler.settings import AgingSettings
from reconciler.web.precall import PrecallService
from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.company_tables import key

CUSTOMERS = 12_000
HOURS = 24
STARTING = 3
"""Hours after which sweeps remember how far they had come a window ago."""
NEW_AN_HOUR = 87
CALLED_AN_HOUR = 100
OLD_BATCH = 100
OLD_SCANS = 24 * 4
LOOKS_IN_A_QUARTER = 15
"""Looks of the monitor that are played; it looks more often, but most looks are pings, which run nothing."""


def customers(world: ReconcilerWorld, *, numbers: bool = False) -> None:
    """Customers of the last weeks, each with a claim and a document, known here and in step.

    With `numbers` documents have ids that rise.
    """
    if numbers:
        world.sql("ALTER TABLE claim_requirements MODIFY id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT")
    world.sql("SET SESSION foreign_key_checks = 0, autocommit = 0")
    with world.company.cursor() as cursor:
        ids = range(1, CUSTOMERS + 1)
        cursor.executemany(
            "INSERT INTO users (id, current_signature_file_id, created_at) VALUES"
            " (%s, %s, UTC_TIMESTAMP() - INTERVAL %s MINUTE)",
            [(n, None if n % 2 else n, 120 + 3 * (CUSTOMERS - n)) for n in ids],
        )
        cursor.executemany("INSERT INTO claims (id, user_id, status) VALUES (%s, %s, 'open')", [(n, n) for n in ids])
        cursor.executemany(
            "INSERT INTO claim_requirements (id, claim_id, type, status, created_at) VALUES"
            " (%s, %s, 'id', 'pending', UTC_TIMESTAMP() - INTERVAL %s MINUTE)",
            [(n if numbers else key(n), n, 120 + 3 * (CUSTOMERS - n)) for n in ids],
        )
    world.sql("COMMIT")
    world.sql("SET SESSION autocommit = 1")
    world.sql("ANALYZE TABLE users, claims, claim_requirements")
    world.backfill(1000)
    world.age_everything()


def an_hour_passes(world: ReconcilerWorld, hour: int) -> None:
    """Everything is an hour older, some are new and known to the stream, some were called. None of it is counted."""
    world.sql("UPDATE users SET created_at = created_at - INTERVAL 1 HOUR WHERE id > %s", CUSTOMERS)
    world.sql("UPDATE claim_requirements SET created_at = created_at - INTERVAL 1 HOUR WHERE claim_id > %s", CUSTOMERS)
    world.pg(
        "UPDATE leadstream.runs SET started_at = started_at - interval '1 hour',"
        " finished_at = finished_at - interval '1 hour',"
        " window_from = window_from - interval '1 hour', window_to = window_to - interval '1 hour'"
    )
    world.pg("UPDATE user_call_scores SET last_call_at = last_call_at - interval '1 hour'")
    first = CUSTOMERS + 1 + hour * NEW_AN_HOUR
    for user_id in range(first, first + NEW_AN_HOUR):
        world.user(user_id, ago=1800)
    world.claim(first, first)
    world.requirement(first, first, ago=1800)
    repairer = world.repairer(batch_size=100)
    repairer.check(range(first, first + NEW_AN_HOUR))
    repairer.resolve()
    world.pg(
        "UPDATE user_call_scores SET last_call_at = now() AT TIME ZONE 'utc'"
        " WHERE user_id IN (SELECT user_id FROM user_call_scores ORDER BY hashint8(user_id + %s) LIMIT %s)",
        hour,
        CALLED_AN_HOUR,
    )


def one_old_scan(address: MySQLAddress) -> None:
    """What the old system did every 15 minutes: all users, in batches, each with its claims and requirements."""
    with closing(login(address, 10, 60)) as connection, connection.cursor() as cursor:
        for start in range(0, CUSTOMERS, OLD_BATCH):
            batch = f"BETWEEN {start + 1} AND {start + OLD_BATCH}"
            cursor.execute(f"SELECT id, current_signature_file_id FROM users WHERE id {batch}")
            cursor.execute(f"SELECT id, user_id, status FROM claims WHERE user_id {batch}")
            cursor.execute(
                f"SELECT r.id FROM claim_requirements r JOIN claims c ON c.id = r.claim_id WHERE c.user_id {batch}"
            )


@pytest.fixture
def account(mysql_world: ReconcilerWorld) -> Iterator[str]:
    """An account of its own on the replica, so that the server tells what it ran for nobody else."""
    world, name = mysql_world, f"day_{os.getpid()}"
    url = urlsplit(world.mysql_url)
    world.sql(f"CREATE USER {name} IDENTIFIED BY 'secret'")
    world.sql(f"GRANT SELECT ON {url.path[1:]}.* TO {name}")
    world.sql(f"GRANT REPLICATION CLIENT ON *.* TO {name}")
    yield url._replace(netloc=f"{name}:secret@{url.hostname}:{url.port}").geturl()
    world.sql(f"DROP USER {name}")


def ran(world: ReconcilerWorld, account: str) -> Counter[str]:
    """Every command that the server ran for an account, by what it was: statements, logging in, pings."""
    return Counter(
        dict(
            world.sql(
                "SELECT SUBSTRING_INDEX(event_name, '/', -1), CAST(SUM(count_star) AS SIGNED)"
                " FROM performance_schema.events_statements_summary_by_user_by_event_name"
                " WHERE user = %s AND count_star > 0 GROUP BY 1",
                MySQLAddress(account).user,
            )
        )
    )


NO_STATEMENTS = ("Ping", "Quit")
"""Commands of the protocol that run no statement."""


def test_a_day_of_serving_asks_the_replica_less_than_a_two_hundredth_of_what_the_old_scan_did(
    mysql_world: ReconcilerWorld, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that `reconciler serve` does in a day, its start included; pre-call checks come on top."""
    world = mysql_world
    customers(world)
    world.pass_lanes()
    for name, value in (world.processes.env | {"REPLICA_DATABASE_URL": account}).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    for hour in range(STARTING):
        an_hour_passes(world, hour)
        for name in SWEEPS:
            world.pass_lanes()
            world.sweep(name)
    before = ran(world, account)
    monitor = ServerMonitor(settings, world.stop, ZoneInfo("UTC"))
    jobs = Jobs(settings, AgingSettings(), world.stop, monitor.known)
    replica = ReplicaReads(MySQLAddress(account), known=monitor.known)
    asyncio.run(opens_and_closes(PrecallService(settings, monitor, 2000)))
    checked = 0
    for hour in range(STARTING, STARTING + HOURS):
        an_hour_passes(world, hour)
        for quarter, name in enumerate(SWEEPS):
            world.pass_lanes()
            report = jobs.sweep(name, SweepScope())
            assert (report.outcome, report.tally.drift) == ("ok", {})
            checked += report.tally.checked
            for look in range(LOOKS_IN_A_QUARTER):
                monitor.look_at_replica(replica, hour * 3600 + quarter * 900 + look * 60)
    jobs.close()
    replica.close()
    day = ran(world, account) - before
    one_old_scan(MySQLAddress(account))
    old = counted(ran(world, account) - before - day) * OLD_SCANS
    assert checked > HOURS * NEW_AN_HOUR
    assert day["Ping"] >= HOURS * 4 * LOOKS_IN_A_QUARTER
    assert old > 30_000
    assert counted(day) <= 0.005 * old, f"{counted(day)} statements in a day ({dict(day)}), the old scan {old}"


def test_sessions_that_begin_together_look_at_the_tables_once(mysql_world: ReconcilerWorld) -> None:
    known, begin = replica_module.Known(), threading.Barrier(4)

    def asked(replica: ReplicaReads) -> int:
        begin.wait()
        assert replica.texts is not None
        return replica.queries

    replicas = [ReplicaReads(MySQLAddress(mysql_world.mysql_url), known=known) for _ in range(begin.parties)]
    with ThreadPoolExecutor(begin.parties) as pool:
        queries = sorted(pool.map(asked, replicas))
    for replica in replicas:
        replica.close()
    assert queries[:-1] == [0, 0, 0]
    assert queries[-1] > 0


def counted(commands: Counter[str]) -> int:
    """Statements among the commands."""
    return sum(count for kind, count in commands.items() if kind not in NO_STATEMENTS)


async def opens_and_closes(precalls: PrecallService) -> None:
    """Its sessions, opened as they are when serving begins."""
    await precalls.warm()
    precalls.close()


SOME = range(5_000, 5_100)
ASKED = {
    "present": (),
    "read_users": (SOME,),
    "checksums": (SOME,),
    "fingerprints": (5_000, 5_100),
    "user_page": (5_000, 100),
    "end_of_range": (5_000, 100),
}
"""What each statement of Queries is asked with; those about new rows are asked for both tables and both ways."""


def statements(texts: Queries) -> dict[str, str]:
    """Every statement on the company's tables, by name."""
    now = 1_000_000 * int(time.time())
    found = {name: getattr(texts, name)(*arguments) for name, arguments in ASKED.items()}
    for table, row_id in ((Table.USERS, 11_000), (Table.CLAIM_REQUIREMENTS, 11_000)):
        ways = {"by time": (mysql_statements.since(now - 3 * HOUR), "t.created_at")}
        if texts.schema.has_numbers(table):
            ways = {
                "by key": (f"t.id > {row_id}", "t.id"),
                "by index": (mysql_statements.since(now - 3 * HOUR), "t.created_at, t.id"),
                "by index, on": (mysql_statements.following(now - 2 * HOUR, row_id), "t.created_at, t.id"),
            }
            found[f"newest_from {table}"] = texts.newest_from(table, row_id, 20)
        for way, (condition, order) in ways.items():
            found[f"created {table} {way}"] = texts.created(table, condition, order, now - 3 * HOUR, 10_000)
    return found


def test_every_statement_is_among_those_that_are_explained(mysql_world: ReconcilerWorld) -> None:
    texts = mysql_world.replica().texts
    methods = {
        name
        for name, member in inspect.getmembers(Queries, inspect.isfunction)
        if not name.startswith("_") and inspect.signature(member).return_annotation == "str"
    }
    assert methods == {name.split(" ")[0] for name in statements(texts)}
    constants = {
        name for name, value in vars(mysql_statements).items() if isinstance(value, str) and "SELECT" in value.upper()
    }
    assert constants - {"__doc__"} == set()
    sent = [
        ast.unparse(call.args[0])
        for call in ast.walk(ast.parse(inspect.getsource(replica_module)))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"_run", "_records"}
    ]
    known = {"spelling", "oldest", "retention.STATEMENT", "retention.RDS_HOURS"}  # the first two are REPLICATION's
    assert known < set(sent)
    assert [text for text in sent if text not in known and not text.startswith("self.texts.")] == []


@pytest.mark.parametrize("numbers", [False, True], ids=["uuids", "numbers"])
def test_no_statement_reads_a_whole_table(world: ReconcilerWorld, numbers: bool) -> None:
    customers(world, numbers=numbers)
    world.sql("CREATE INDEX requirements_created ON claim_requirements (created_at)")
    world.sql("CREATE INDEX users_created ON users (created_at)")
    world.sql("ANALYZE TABLE users, claims, claim_requirements")
    ((version,),) = world.sql("SELECT VERSION()")
    explain = "EXPLAIN " if "MariaDB" in version else "EXPLAIN FORMAT=TRADITIONAL "
    company = {"users", "claims", "claim_requirements", "t", "c"}
    for name, text in statements(world.replica().texts).items():
        with world.company.cursor(DictCursor) as cursor:
            cursor.execute(explain + text)
            plan = cursor.fetchall()
        whole = [step for step in plan if step["type"] in {"ALL", "index"} and step["table"] in company]
        assert [step for step in whole if step["rows"] is None or step["rows"] > OLD_BATCH] == [], (name, plan)


def test_every_statement_has_its_time_limit_in_a_session_that_cannot_write(world: ReconcilerWorld) -> None:
    a_customer(world)
    replica = ReplicaReads(MySQLAddress(world.mysql_url), query_seconds=12.5)
    sent = []

    class Listening(Cursor):
        def execute(self, query: str, args: object = None) -> int:
            sent.append(query)
            return super().execute(query, args)

    connection = replica._session._open()
    connection.cursorclass = Listening
    for text in (*statements(replica.texts).values(), SCHEMA):
        sent.clear()
        replica._run(text)
        limit = (
            "SET STATEMENT max_statement_time=12.5 FOR SELECT"
            if replica.mariadb
            else "SELECT /*+ MAX_EXECUTION_TIME(12500) */"
        )
        assert [" ".join(said.split())[: len(limit)] for said in sent] == [limit]
    mode = "@@tx_read_only" if replica.mariadb else "@@transaction_read_only"
    assert replica._run(f"SELECT {mode}") == [(1,)]
    replica.close()


def a_customer(world: ReconcilerWorld) -> None:
    world.user(1)
    world.claim(10, 1)
    world.requirement(100, 10)
