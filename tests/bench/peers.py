"""The peers under measurement: Debezium with its JDBC sink, mysqlbinlog, and mysql-replication."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.history import DATABASE, TABLES, History
from tests.bench.measure import Command
from tests.servers import maven_libs, mysqlbinlog_command
from tests.servers.packages import java

DEBEZIUM = "3.3.1.Final"
KAFKA = "4.1.1"
CAPTURED = {
    "users": ("id", "current_signature_file_id", "is_enabled", "created_at", "updated_at"),
    "claims": ("id", "user_id", "status", "created_at", "updated_at"),
    "claim_requirements": (
        "id",
        "claim_id",
        "type",
        "status",
        "claim_requirement_reason",
        "created_at",
        "updated_at",
    ),
}


def debezium_libs() -> Path:
    """The folder of jars that Connect standalone with Debezium and its JDBC sink needs."""
    return maven_libs(
        "debezium",
        [
            f"io.debezium:debezium-connector-mysql:{DEBEZIUM}",
            f"io.debezium:debezium-connector-jdbc:{DEBEZIUM}",
            f"org.apache.kafka:connect-runtime:{KAFKA}",
            f"org.apache.kafka:connect-json:{KAFKA}",
        ],
    )


def debezium(history: History, kafka: str, prefix: str, folder: Path, sink: str | None = None) -> Command:
    """Connect standalone with the MySQL source, and with `sink` (a PostgreSQL address) the sink beside it."""
    schemas = "true" if sink else "false"
    worker = {
        "bootstrap.servers": kafka,
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": schemas,
        "value.converter.schemas.enable": schemas,
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "5000",
        "listeners": "http://127.0.0.1:0",
        "producer.compression.type": "lz4",
        "producer.batch.size": "131072",
        "producer.linger.ms": "5",
        "consumer.max.poll.records": "3000",
        "plugin.discovery": "only_scan",
    }
    columns = ",".join(f"{DATABASE}.{table}.{column}" for table, names in CAPTURED.items() for column in names)
    source = {
        "name": "source",
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "tasks.max": "1",
        "database.hostname": history.host,
        "database.port": str(history.port),
        "database.user": history.user,
        "database.password": history.password,
        "database.server.id": "424242",
        "topic.prefix": prefix,
        "database.include.list": DATABASE,
        "table.include.list": ",".join(f"{DATABASE}.{table}" for table in TABLES),
        "column.include.list": columns,
        "include.schema.changes": "false",
        "snapshot.mode": "never",
        "schema.history.internal.kafka.bootstrap.servers": kafka,
        "schema.history.internal.kafka.topic": f"{prefix}.schema-history",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        "poll.interval.ms": "50",
    }
    files = [_properties(folder / "worker.properties", worker), _properties(folder / "source.properties", source)]
    if sink:
        files.append(_properties(folder / "sink.properties", _sink(prefix, sink)))
    log4j = folder / "log4j2.yaml"
    log4j.write_text(
        "Configuration:\n  Appenders:\n    Console:\n      name: STDOUT\n      PatternLayout:\n"
        '        pattern: "%d %p %m (%c)%n"\n'
        "  Loggers:\n    Root:\n      level: warn\n      AppenderRef:\n        - ref: STDOUT\n"
    )
    return Command(
        [
            java(),
            "-Xmx2g",
            f"-Dlog4j2.configurationFile={log4j}",
            "-cp",
            f"{debezium_libs()}/*",
            "org.apache.kafka.connect.cli.ConnectStandalone",
            *map(str, files),
        ],
        folder / "debezium.log",
    )


def pipe(history: History) -> list[str]:
    """`mysqlbinlog --raw`: what the wire and the server allow, nothing decoded."""
    names = [name for name, _ in history.binlogs]
    return [
        *mysqlbinlog_command(),
        "--read-from-remote-server",
        "--raw",
        "--result-file=/tmp/leadstream-pipe-",
        f"--host={history.host}",
        f"--port={history.port}",
        f"--user={history.user}",
        f"--password={history.password}",
        *names,
    ]


def library(history: History, rows: int) -> list[str]:
    """mysql-replication decoding the first `rows` rows in a process of its own, into nothing."""
    program = (
        "import sys\n"
        "from pymysqlreplication import BinLogStreamReader\n"
        "from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent\n"
        f"settings = dict(host={history.host!r}, port={history.port}, user={history.user!r}, "
        f"passwd={history.password!r})\n"
        f"stream = BinLogStreamReader(connection_settings=settings, server_id=434343, "
        f"log_file={history.binlogs[0][0]!r}, log_pos=4, resume_stream=True, blocking=False, "
        f"only_schemas=[{DATABASE!r}], only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent])\n"
        "rows = 0\n"
        "for event in stream:\n"
        "    rows += len(event.rows)\n"
        f"    if rows >= {rows}:\n"
        "        break\n"
        f"sys.exit(rows < {rows})\n"
    )
    return [sys.executable, "-c", program]


def _sink(prefix: str, postgres: str) -> dict[str, str]:
    """Upserts in batches of several rows to a statement, as the driver's and the connector's manuals advise."""
    url = urlsplit(postgres)
    return {
        "name": "sink",
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": ",".join(f"{prefix}.{DATABASE}.{table}" for table in TABLES),
        "connection.url": f"jdbc:postgresql://{url.hostname}:{url.port}{url.path}?reWriteBatchedInserts=true",
        "connection.username": url.username or "",
        "connection.password": url.password or "",
        "insert.mode": "upsert",
        "delete.enabled": "true",
        "primary.key.mode": "record_key",
        "schema.evolution": "basic",
        "collection.name.format": "debezium_${source.table}",
        "batch.size": "3000",
        "use.reduction.buffer": "true",
    }


def _properties(path: Path, values: dict[str, str]) -> Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return path
