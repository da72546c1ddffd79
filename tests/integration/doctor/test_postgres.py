"""A database in an encoding that cannot hold every name, and one that the printed statement creates beside it."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import psycopg
import pytest

from consumer.doctor import postgres, postgres_facts
from consumer.doctor.check import Check, State
from tests.servers import ensure

pytestmark = pytest.mark.servers


def encoding(url: str) -> Check:
    """What the doctor says of it."""
    checks = postgres.judge(postgres_facts.collect(url, 10), lanes=4, shadow=True)
    return next(check for check in checks if check.name == "encoding")


def test_a_database_that_cannot_hold_every_name_is_replaced_by_the_one_that_is_printed() -> None:
    server = ensure(("postgres",)).postgres_url
    name = f"latin-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0".encode())
        try:
            found = encoding(urlsplit(server)._replace(path=f"/{name}").geturl())
            assert (found.state, "LATIN1" in found.sentence) == (State.FAILED, True)
            connection.execute(found.hint.encode())
            assert encoding(urlsplit(server)._replace(path=f"/{name}_utf8").geturl()).state is State.OK
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}_utf8"'.encode())
            connection.execute(f'DROP DATABASE "{name}"'.encode())
