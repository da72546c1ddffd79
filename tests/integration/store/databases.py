"""PostgreSQL databases for single tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg


@contextmanager
def new_database(server_url: str, options: str = "") -> Iterator[str]:
    """The URL of a database that exists while the block runs; `options` are those of CREATE DATABASE."""
    name = f"store_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {options}")
        try:
            yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def rows(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a query gives, in a session of its own with times in UTC."""
    with psycopg.connect(url, options="-c TimeZone=UTC") as connection:
        return connection.execute(query, parameters).fetchall()


def row(url: str, query: str, *parameters: object) -> tuple[Any, ...]:
    """The one row that a query gives."""
    (found,) = rows(url, query, *parameters)
    return found


def run(url: str, statement: str, *parameters: object) -> None:
    """Runs a statement in a session of its own."""
    with psycopg.connect(url) as connection:
        connection.execute(statement, parameters)


def wipe(url: str) -> None:
    """Empties every table of a prepared database and puts its lanes back to the start."""
    with psycopg.connect(url) as connection:
        for table in ("leads", "claims", "requirements", "stints", "rechecks", "runs", "published_events", "shown"):
            connection.execute(f"DELETE FROM leadstream.{table}")
        connection.execute("TRUNCATE leadstream.dead_letters RESTART IDENTITY")
        for table in ("call_sessions", "call_queue", "callbacks", "conversions", "user_call_scores"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute(
            "UPDATE leadstream.lanes SET epoch = 1, next_seq = 1, version = 0, offsets = '{}', owner = NULL"
        )


def description(url: str) -> list[tuple[Any, ...]]:
    """Every column and index of the database, to see whether something changed."""
    columns = """
        SELECT table_schema, table_name, column_name, ordinal_position, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema IN ('public', 'leadstream') ORDER BY 1, 2, 4"""
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'leadstream') ORDER BY 1"
    return rows(url, columns) + rows(url, indexes)
