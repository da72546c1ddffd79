"""PostgreSQL databases and stores for tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.store.leads import LeadStore
from consumer.store.schema.setup import prepare
from tests.integration.store.databases import new_database, run, wipe
from tests.integration.store.replayer import LANES, Replayer
from tests.servers import ensure
from tests.support.company_tables import call_centre_tables


@pytest.fixture(scope="session")
def server_url() -> str:
    """The shared PostgreSQL."""
    return ensure(["postgres"]).postgres_url


@pytest.fixture(scope="session")
def two_databases(server_url: str) -> Iterator[tuple[str, str]]:
    """One to be prepared once, one for trials of setup: creating and dropping them is slow on a busy server."""
    with new_database(server_url) as prepared, new_database(server_url) as empty:
        run(prepared, call_centre_tables())
        prepare(prepared, LANES, 1)
        yield prepared, empty


@pytest.fixture
def database(two_databases: tuple[str, str]) -> str:
    """A prepared database without a row but those of the lanes."""
    wipe(two_databases[0])
    return two_databases[0]


@pytest.fixture
def empty(two_databases: tuple[str, str]) -> str:
    """A database with nothing in it."""
    run(two_databases[1], "DROP SCHEMA IF EXISTS leadstream CASCADE")
    run(two_databases[1], "DROP SCHEMA public CASCADE")
    run(two_databases[1], "CREATE SCHEMA public")
    return two_databases[1]


@pytest.fixture
def store(database: str) -> Iterator[LeadStore]:
    """A store as an applier has it."""
    with LeadStore(database, LANES, shadow=False, source="stream") as store:
        yield store


@pytest.fixture
def replayer(store: LeadStore) -> Replayer:
    """Customers who do things, and a store that hears of it."""
    return Replayer(store)
