"""What reads Debezium reads us: Debezium's own transform and sink find the rows in our topics."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.bench import measure, ours
from tests.bench.history import DATABASE, History, connect, history
from tests.bench.kafka import Topics
from tests.bench.postgres import database
from tests.integration.compatibility.connect import Fields, jdbc_sink
from tests.servers import ensure
from tests.support.waiting import PATIENCE

COLUMNS: dict[str, Fields] = {
    "users": {
        "id": "int64",
        "current_signature_file_id": "string?",
        "is_enabled": "int16?",
        "created_at": "string?",
        "updated_at": "string?",
    },
    "claims": {
        "id": "int64",
        "user_id": "int64",
        "status": "string?",
        "created_at": "string?",
        "updated_at": "string?",
    },
    "claim_requirements": {
        "id": "string",
        "claim_id": "int64",
        "type": "string?",
        "status": "string?",
        "claim_requirement_reason": "string?",
        "created_at": "string?",
        "updated_at": "string?",
    },
}
KEPT = "SELECT {} FROM {}"


def _id(row: tuple[Any, ...]) -> Any:
    return row[0]


def rows_in_mysql(past: History, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    with connect(past.url, DATABASE) as connection, connection.cursor() as cursor:
        times = {"created_at", "updated_at"}
        picked = [f"DATE_FORMAT({c}, '%%Y-%%m-%%dT%%TZ')" if c in times else c for c in columns]
        cursor.execute(KEPT.format(", ".join(picked), table), ())
        return sorted((tuple(row) for row in cursor.fetchall()), key=_id)


def rows_sunk(postgres: str, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    with psycopg.connect(postgres) as connection:
        present = connection.execute("SELECT to_regclass(%s)", [f"sunk_{table}"]).fetchone()
        if present is None or present[0] is None:
            return []
        query = f"SELECT {', '.join(columns)} FROM sunk_{table} WHERE __deleted <> 'true'"
        return sorted((tuple(row) for row in connection.execute(query.encode()).fetchall()), key=_id)


@pytest.mark.servers
def test_debeziums_transform_and_jdbc_sink_rebuild_the_tables_from_our_topics(tmp_path: Path) -> None:
    servers = ensure(("mysql", "kafka", "postgres"))
    prefix = f"compat-{uuid.uuid4().hex[:8]}"
    topics = Topics(servers.kafka_bootstrap, prefix)
    with history(servers, 600) as past, database(servers.postgres_url) as postgres:
        with connect(past.url, DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM claim_requirements WHERE claim_id % 5 = 0")
            cursor.execute("DELETE FROM claims WHERE id % 5 = 0")
            cursor.execute("UPDATE users SET is_enabled = 0 WHERE id % 7 = 0")
            cursor.execute("SHOW BINARY LOG STATUS")
            status = cursor.fetchone()
        assert status is not None
        env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
        ours.setup(env)
        whole = History(past.server, past.url, past.rows, str(status[0]), int(status[1]), past.binlogs)
        measure.run([ours.reader(env, tmp_path)], lambda: ours.read_rows(topics, whole), whole.rows, seconds=PATIENCE)
        sources = {f"{prefix}.{table}": columns for table, columns in COLUMNS.items()}
        wanted = {table: rows_in_mysql(past, table, list(columns)) for table, columns in COLUMNS.items()}
        with jdbc_sink(tmp_path, servers.kafka_bootstrap, postgres, sources) as connect_worker:

            def found() -> dict[str, list[tuple[object, ...]]]:
                return {table: rows_sunk(postgres, table, list(columns)) for table, columns in COLUMNS.items()}

            connect_worker.until(lambda: found() == wanted, "the sink had every row", pause=0.5)
    topics.remove()
