"""The safety net at the size of the business: backfill, each sweep, a full verify and pre-call checks, in processes.

Every user has two claims and three requirements. In an hour, one user in 1,000 is new, as many are asked for another
document, and one in 500 is called. A normal hour: the stream has brought everything. After a day without any sweep or
stream: all of that twenty-four times over, one in fifteen of those called has signed or handed in a document, and
nothing of it was brought.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import psycopg
import pymysql

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from consumer.store.schema.setup import prepare
from tests.bench import precall, results
from tests.bench.growth import disks, with_margins
from tests.bench.measure import BenchFailed
from tests.bench.sizes import Sizes
from tests.servers import Servers
from tests.support import environments
from tests.support.waiting import until

NAME = "bench_sweeps"
"""Of the databases on both servers."""
LANES = 12
AT_ONCE = 20_000
"""Users in one transaction of the filling."""
SWEEPS = ("new-users", "new-requirements", "unsigned-conversions", "requirements-conversions")
LONG_AGO = "NOW() - INTERVAL 30 DAY"
DAY_HOURS = 24

TABLES = (
    """CREATE TABLE users (
         id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(190), password VARCHAR(190),
         current_signature_file_id BIGINT UNSIGNED NULL, is_enabled TINYINT(1) NOT NULL DEFAULT 1,
         created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL)""",
    """CREATE TABLE claims (
         id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id BIGINT UNSIGNED NOT NULL, status VARCHAR(40),
         created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, KEY (user_id))""",
    """CREATE TABLE claim_requirements (
         id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, claim_id BIGINT UNSIGNED NOT NULL, type VARCHAR(60),
         status VARCHAR(40), claim_requirement_reason TEXT, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL,
         KEY (claim_id))""",
)

USERS = """
INSERT INTO users (id, email, password, current_signature_file_id, created_at, updated_at)
SELECT %(first)s + n, CONCAT('customer', %(first)s + n, '@example.org'), REPEAT('x', 60),
       IF((%(first)s + n) %% 3 = 0, NULL, %(first)s + n), {at}, {at} FROM numbers WHERE n < %(count)s
"""
CLAIMS = """
INSERT INTO claims (id, user_id, status, created_at, updated_at)
SELECT 2 * (%(first)s + n) + half, %(first)s + n, IF(half = 1 AND n %% 5 = 0, 'cancelled', 'open'), {at}, {at}
FROM numbers JOIN (SELECT 0 AS half UNION ALL SELECT 1) AS halves WHERE n < %(count)s
"""
REQUIREMENTS = """
INSERT INTO claim_requirements (claim_id, type, status, created_at, updated_at)
SELECT 2 * (%(first)s + n) + part DIV 2, 'id_document',
       IF((n + part) %% 4 = 0, 'pending', 'approved'), {at}, {at}
FROM numbers JOIN (SELECT 0 AS part UNION ALL SELECT 1 UNION ALL SELECT 2) AS parts WHERE n < %(count)s
"""


@dataclass(frozen=True)
class Company:
    """A filled MySQL database and the call centre's."""

    address: str
    connection: pymysql.Connection[pymysql.cursors.Cursor]
    postgres: str
    users: int

    def sql(self, text: str, arguments: Mapping[str, object] | None = None) -> None:
        """Runs a statement at the company."""
        with self.connection.cursor() as cursor:
            cursor.execute(text, arguments)

    def pg(self, text: str, *arguments: object) -> None:
        """Runs a statement at the call centre."""
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            connection.execute(text, arguments)

    @property
    def environment(self) -> dict[str, str]:
        """For `reconciler`."""
        return environments.environment(mysql=self.address, postgres=self.postgres, API_TOKEN=precall.TOKEN)


def bench(servers: Servers, sizes: Sizes) -> None:
    """Backfill and verify at every size, the whole safety net at the last: `users`, `sweeps` and `precall`.json."""
    grown: list[results.Entry] = []
    for users in sizes.users:
        with _company(servers, users) as company:
            backfill, at_this_size = _begin(company)
            grown.append(at_this_size)
            results.keep("users", "the safety net as users grow", with_margins(grown, "users"))
            if users == sizes.users[-1]:
                entries = [backfill, *_hour_and_day(company)]
                results.keep("sweeps", f"the safety net, {users:,} users", entries)
                checks = _checks(company, sizes.precall_seconds)
                results.keep("precall", f"pre-call checks, {users:,} users", checks)


def _begin(company: Company) -> tuple[results.Entry, results.Entry]:
    """The backfill, and what backfill and verify cost at this size."""
    backfill = _reconciler(company, "backfill", company.users, "backfill")
    taken = disks(company.postgres, None)
    company.pg("ANALYZE")
    _settle(company)
    verify = _reconciler(company, "verify", company.users, "verify")
    return backfill, {
        "name": f"{company.users:,} users",
        "users": company.users,
        "seconds": backfill["seconds"],
        "verify_s": verify["seconds"],
        "rss_mb": backfill["rss_mb"],
        "verify_rss_mb": verify["rss_mb"],
        **taken,
    }


def _hour_and_day(company: Company) -> list[results.Entry]:
    """Each sweep in a normal hour and after a day without any, and a verify behind it."""
    _call_and_change(company, hours=1)
    for name in SWEEPS:  # plays the stream, which has brought everything
        _reconciler(company, name, 0, "run", name)
    _settle(company)
    entries = [_reconciler(company, f"{name}, a normal hour", 0, "run", name) for name in SWEEPS]
    _call_and_change(company, hours=DAY_HOURS)
    entries += [_reconciler(company, f"{name}, after a day", 0, "run", name) for name in SWEEPS]
    _settle(company)
    return [*entries, _reconciler(company, "verify", company.users, "verify")]


@contextmanager
def _company(servers: Servers, users: int) -> Iterator[Company]:
    """The filled company, dropped afterwards."""
    fill(servers, users)
    with _connected(servers) as connection:
        try:
            connection.cursor().execute(f"USE {NAME}")
            yield Company(_mysql(servers, NAME), connection, _postgres(servers), users)
        finally:
            _drop(servers, connection)


def fill(servers: Servers, users: int) -> None:
    """Makes a company of so many users on both servers, unless it is there: it takes minutes, and nothing is timed."""
    with _connected(servers) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            [NAME, f"filled_{users}"],
        )
        if cursor.fetchone():
            return
        _drop(servers, connection)
        cursor.execute(f"CREATE DATABASE {NAME}")
        cursor.execute(f"USE {NAME}")
        for table in (*TABLES, "CREATE TABLE numbers (n INT NOT NULL PRIMARY KEY)"):
            cursor.execute(table)
        cursor.execute(
            "INSERT INTO numbers WITH RECURSIVE series AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM series"
            f" WHERE n + 1 < {AT_ONCE}) SELECT n FROM series"
        )
        with psycopg.connect(servers.postgres_url, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {NAME}")
        prepare(_postgres(servers), LANES, 1)
        _fill(Company(_mysql(servers, NAME), connection, _postgres(servers), users), 1, users, LONG_AGO)
        for table in ("users", "claims", "claim_requirements"):
            cursor.execute(f"ANALYZE TABLE {table}")
        cursor.execute(f"CREATE TABLE filled_{users} (n INT)")


def _drop(servers: Servers, connection: pymysql.Connection[pymysql.cursors.Cursor]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME}")
    with psycopg.connect(servers.postgres_url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def _mysql(servers: Servers, name: str) -> str:
    return urlsplit(servers.mysql_url)._replace(path=f"/{name}").geturl()


def _postgres(servers: Servers) -> str:
    return urlsplit(servers.postgres_url)._replace(path=f"/{NAME}").geturl()


@contextmanager
def _connected(servers: Servers) -> Iterator[pymysql.Connection[pymysql.cursors.Cursor]]:
    connection = login(MySQLAddress(_mysql(servers, "mysql")), 10, 600)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00', SESSION cte_max_recursion_depth = 1000000")
        yield connection
    finally:
        connection.close()


def _fill(company: Company, first: int, users: int, at: str) -> None:
    for start in range(first, first + users, AT_ONCE):
        part = {"first": start, "count": min(AT_ONCE, first + users - start)}
        for text in (USERS, CLAIMS, REQUIREMENTS):
            company.sql(text.replace("{at}", at), part)


def _call_and_change(company: Company, hours: int) -> None:
    """What happens in so many hours: new customers, new requirements, and calls after which some sign or settle."""
    new = max(1, hours * company.users // 1000)
    called = max(1, hours * company.users // 500)
    with company.connection.cursor() as cursor:
        cursor.execute("SELECT MAX(id) FROM users")
        row = cursor.fetchone()
    _fill(company, (row[0] if row else 0) + 1, new, "NOW() - INTERVAL 10 MINUTE")
    asked = min(new, AT_ONCE)
    company.sql(
        "INSERT INTO claim_requirements (claim_id, type, status, created_at, updated_at)"
        f" SELECT 2 * (100 + 7 * n), 'bank_statement', 'pending', NOW(), NOW() FROM numbers WHERE n < {asked}"
    )
    company.pg(
        "UPDATE user_call_scores SET last_call_at = now() AT TIME ZONE 'utc' WHERE user_id IN"
        " (SELECT user_id FROM user_call_scores WHERE is_active ORDER BY user_id LIMIT %s)",
        called,
    )
    if hours > 1:
        signed = (
            f"UPDATE users SET current_signature_file_id = id, updated_at = NOW() WHERE id <= {called} AND id % 30 = 0"
        )
        settled = (
            "UPDATE claim_requirements SET status = 'approved', updated_at = NOW()"
            f" WHERE id <= {3 * called} AND id % 30 < 6"
        )
        company.sql(signed)
        company.sql(settled)


def _settle(company: Company) -> None:
    """As if everything we hold had been read some time ago, and the stream had not moved since."""
    ago = 600_000_000
    company.pg(
        "UPDATE leadstream.leads SET version = greatest(version - %s, 0), read_floor = read_floor - %s,"
        " judge_after = NULL",
        ago, ago,
    )  # fmt: skip
    company.pg("UPDATE leadstream.claims SET version = version - %s", ago)
    company.pg("UPDATE leadstream.requirements SET version = version - %s", ago)
    company.pg("UPDATE leadstream.lanes SET moved_at = now() - interval '1 hour'")
    company.pg("VACUUM ANALYZE leadstream.leads, leadstream.claims, leadstream.requirements")


def _reconciler(company: Company, name: str, rows: int, *arguments: str) -> results.Entry:
    """One command as a process, start included; its report says how many users it looked at."""
    command = [sys.executable, "-c", "from reconciler.cli import main; main()", *arguments, "--json"]
    memory = 0
    with subprocess.Popen(
        command, env=company.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            memory = max(memory, _rss(watched))
            time.sleep(0.02)
        said = process.stdout.read() if process.stdout else ""
    if not said:
        raise BenchFailed(f"reconciler {' '.join(arguments)} ended with {process.returncode} and no report")
    (report,) = json.loads(said)
    spent = report["milliseconds"] / 1000
    return {
        "name": name,
        "users": report["checked"] or rows,
        "seconds": round(spent, 2),
        "users_per_s": round(report["checked"] / max(spent, 0.001)),
        "drift": report["repaired"],
        "queries": report["queries"],
        "rss_mb": round(memory / 1e6),
    }


def _checks(company: Company, seconds: float) -> list[results.Entry]:
    """Pre-call checks at 200 a second: when the process has just started, when it runs, and beside a verify."""
    company.pg("VACUUM ANALYZE")  # what the runs before left to be tidied up is not what is measured
    company.pg("CHECKPOINT")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from reconciler.cli import main; main()", "serve"]
    environment = {**company.environment, "HTTP_PORT": str(port), "LOG_LEVEL": "ERROR", "SWEEPS": ""}
    process = subprocess.Popen(command, env=environment)
    try:
        until(lambda: _is_ready(port), "the API was ready")
        asked = partial(precall.figures, host="127.0.0.1", port=port, users=company.users, rate=200, seconds=seconds)
        fresh = asked("pre-call checks at 200/s, just started")
        alone = asked("pre-call checks at 200/s")
        verify = [sys.executable, "-c", "from reconciler.cli import main; main()", "verify", "--json"]
        with subprocess.Popen(
            verify, env=company.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as beside:
            busy = asked("the same during a verify")
            beside.terminate()
        return [fresh, alone, {**busy, "rss_mb": round(_rss(psutil.Process(process.pid)) / 1e6)}]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
