"""A history of changes in the binlog of a MySQL server of its own, for every reader to read from its beginning."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pymysql

from tests.servers import PrivateServer, Servers, mysql_command

CHANGES_A_USER = 10
TOUCHES_A_USER = 10
"""Updates of a touched history that change no captured column but `updated_at`: ten of fourteen."""
TABLES = {"users": 2, "claims": 2, "claim_requirements": 6}
"""Changes a customer makes in each table, touches apart."""
DATABASE = "bench"
TOUCHED = "updated_at"
CAPTURED = {
    "users": ("id", "current_signature_file_id", "is_enabled", "created_at", TOUCHED),
    "claims": ("id", "user_id", "status", "created_at", TOUCHED),
    "claim_requirements": (
        "id",
        "claim_id",
        "type",
        "status",
        "claim_requirement_reason",
        "created_at",
        TOUCHED,
    ),
}


@dataclass(frozen=True)
class History:
    """`rows` changes in the binlog of `server`, which ends at `file`:`pos`."""

    server: PrivateServer
    url: str
    rows: int
    file: str
    pos: int
    binlogs: tuple[tuple[str, int], ...]
    """Every binlog's name and size in bytes."""
    one_transaction: bool = False
    touches: int = 0
    """How many of the changes are updates of no captured column but `updated_at`."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def user(self) -> str:
        return urlsplit(self.url).username or ""

    @property
    def password(self) -> str:
        return urlsplit(self.url).password or ""


@contextmanager
def history(
    servers: Servers,
    rows: int,
    rows_a_transaction: int = 1,
    *,
    side_by_side: bool = False,
    integer_keys: bool = False,
    touched: bool = False,
) -> Iterator[History]:
    """A MySQL server whose binlog holds `rows` changes, `rows_a_transaction` (0: all) in one transaction.

    `side_by_side`: a transaction is one statement that takes so many customers one step on. The changes and what is
    judged of them are those of the history of single rows, and ten times as many are written in a minute.
    `integer_keys`: requirements have numbers instead of UUIDs. `touched`: most updates, single rows, change no captured
    column but `updated_at`, as where an application notes who looked at what.
    """
    a_user = CHANGES_A_USER + TOUCHES_A_USER * touched
    users = rows // a_user
    with servers.private_mysql(extra_args=["--max-binlog-size=1073741824"]) as server:
        url = urlsplit(server.url)
        client = [*mysql_command(), "-h127.0.0.1", f"-P{url.port}", f"-u{url.username}", f"-p{url.password}"]
        create = f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        subprocess.run([*client, "-e", create], check=True, capture_output=True)
        for name in ["history.sql"] + ["integer-keys.sql"] * integer_keys:
            script = (Path(__file__).parent / name).read_bytes()
            subprocess.run([*client, DATABASE], input=script, check=True, capture_output=True)
        writers = 4 if rows_a_transaction == 1 else 2 if side_by_side else 1
        procedure = "live_side_by_side" if side_by_side else "live_touched" if touched else "live"
        bounds = [1 + users * n // writers for n in range(writers + 1)]
        size = rows_a_transaction or rows + 1

        def live(n: int) -> None:
            with connect(server.url, DATABASE) as connection, connection.cursor() as cursor:
                # UUIDs lie everywhere in their table: writers must not lock the gaps between their rows.
                cursor.execute("SET SESSION transaction_isolation = 'READ-COMMITTED'")
                cursor.execute(f"CALL {procedure}(%s, %s, %s)", (bounds[n], bounds[n + 1], size))

        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(live, range(writers)))
        with connect(server.url, DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW BINARY LOG STATUS")
            file, pos = cursor.fetchone()[:2]  # type: ignore[index]
            cursor.execute("SHOW BINARY LOGS")
            binlogs = tuple((str(name), int(length)) for name, length, *_ in cursor.fetchall())
        address = f"mysql://{url.username}:{url.password}@{url.hostname}:{url.port}/{DATABASE}"
        yield History(
            server,
            address,
            users * a_user,
            str(file),
            int(pos),
            binlogs,
            one_transaction=not rows_a_transaction,
            touches=users * TOUCHES_A_USER * touched,
        )


def connect(url: str, database: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A plain connection to the server of `url`."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "",
        port=parts.port or 3306,
        user=parts.username or "",
        password=parts.password or "",
        database=database,
        autocommit=True,
    )
