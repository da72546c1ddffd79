"""Debezium's own JDBC sink in a Connect worker, reading our topics as they are.

Our messages carry no schema, as those of a Debezium with `schemas.enable=false` do not; the sink wants one, so the
converter is told it from outside (KIP-1054, `schema.content`). The message itself passes through untouched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import maven_libs
from tests.servers.packages import java
from tests.support.processes import Process

CONNECT = "4.3.1"
DEBEZIUM = "3.3.1.Final"

Fields = Mapping[str, str]
"""Column → Connect type (`int64`, `string`, …); a type ending in `?` may be null."""


def libs() -> Path:
    """The jars of Connect and of Debezium's JDBC sink, from Maven."""
    return maven_libs(
        "jdbc-sink",
        [
            f"io.debezium:debezium-connector-jdbc:{DEBEZIUM}",
            f"org.apache.kafka:connect-runtime:{CONNECT}",
            f"org.apache.kafka:connect-json:{CONNECT}",
            f"org.apache.kafka:connect-api:{CONNECT}",
            f"org.apache.kafka:connect-transforms:{CONNECT}",
            f"org.apache.kafka:kafka-clients:{CONNECT}",
            "org.slf4j:slf4j-simple:1.7.36",
        ],
    )


def envelope_schema(topic: str, columns: Fields) -> str:
    """The Connect schema of Debezium's envelope around rows of those columns."""
    row = [_field(name, kind) for name, kind in columns.items()]
    source = {"connector": "string", "name": "string", "ts_ms": "int64", "db": "string", "table": "string"}
    return json.dumps(
        {
            "type": "struct",
            "name": f"{topic}.Envelope",
            "version": 1,
            "fields": [
                {"field": "before", "type": "struct", "optional": True, "name": f"{topic}.Value", "fields": row},
                {"field": "after", "type": "struct", "optional": True, "name": f"{topic}.Value", "fields": row},
                {
                    "field": "source",
                    "type": "struct",
                    "name": "io.debezium.connector.mysql.Source",
                    "fields": [_field(name, kind) for name, kind in source.items()],
                },
                _field("op", "string"),
                _field("ts_ms", "int64?"),
            ],
        }
    )


@contextmanager
def jdbc_sink(folder: Path, kafka: str, postgres: str, topics: Mapping[str, Fields]) -> Iterator[Process]:
    """A running worker with one sink a topic, each writing a table of its topic's last word; yields the worker."""
    target = urlsplit(postgres)
    worker = folder / "worker.properties"
    _write(
        worker,
        {
            "bootstrap.servers": kafka,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "offset.storage.file.filename": str(folder / "offsets"),
            "listeners": "http://127.0.0.1:0",
            "plugin.discovery": "only_scan",
            "consumer.isolation.level": "read_committed",
            "consumer.auto.offset.reset": "earliest",
        },
    )
    sinks = []
    for topic, columns in topics.items():
        table = topic.rpartition(".")[2]
        sink = folder / f"{table}.properties"
        _write(
            sink,
            {
                "name": f"{topic}.sink",
                "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
                "topics": topic,
                "connection.url": f"jdbc:postgresql://{target.hostname}:{target.port}{target.path}",
                "connection.username": target.username or "",
                "connection.password": target.password or "",
                "insert.mode": "upsert",
                "primary.key.mode": "record_value",
                "primary.key.fields": "id",
                "schema.evolution": "basic",
                "collection.name.format": f"sunk_{table}",
                "transforms": "unwrap",
                "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
                "transforms.unwrap.delete.tombstone.handling.mode": "rewrite",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter.schemas.enable": "true",
                "value.converter.schema.content": envelope_schema(topic, columns),
            },
        )
        sinks.append(sink)
    options = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{libs()}/*"]
    arguments = [*options, "org.apache.kafka.connect.cli.ConnectStandalone", str(worker), *map(str, sinks)]
    process = Process("connect", java(), arguments, os.environ, folder).start()
    try:
        yield process
    finally:
        process.end()


def _field(name: str, kind: str) -> dict[str, object]:
    return {"field": name, "type": kind.rstrip("?"), "optional": kind.endswith("?")}


def _write(path: Path, values: Mapping[str, str]) -> None:
    escaped = {key: value.replace("\\", "\\\\") for key, value in values.items()}
    path.write_text("".join(f"{key}={value}\n" for key, value in escaped.items()))
