"""Debezium in Connect standalone, alone or with its JDBC sink."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.history import CAPTURED, DATABASE, TABLES, TOUCHED, History
from tests.bench.measure import Command
from tests.servers import maven_libs
from tests.servers.packages import java

DEBEZIUM = "3.3.1.Final"
KAFKA = "4.1.1"


def libs() -> Path:
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


def command(
    history: History,
    kafka: str,
    prefix: str,
    folder: Path,
    sink: str | None = None,
    *,
    skip_unchanged: bool = False,
) -> Command:
    """Connect standalone with the MySQL source, and with `sink` (a PostgreSQL address) the sink beside it.

    `skip_unchanged` leaves out updates of no captured column but `updated_at`, which is not captured then.
    """
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
    left_out = {TOUCHED} if skip_unchanged else set()
    columns = ",".join(
        f"{DATABASE}.{table}.{column}"
        for table, names in CAPTURED.items()
        for column in names
        if column not in left_out
    )
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
        "skip.messages.without.change": "true" if skip_unchanged else "false",
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
            f"{libs()}/*",
            "org.apache.kafka.connect.cli.ConnectStandalone",
            *map(str, files),
        ],
        folder / "debezium.log",
    )


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
