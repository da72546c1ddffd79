"""Worlds on both servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.integration.reconciler.played import Played
from tests.integration.reconciler.world import ReconcilerWorld
from tests.servers import Servers, ensure


@pytest.fixture(scope="session")
def servers() -> Servers:
    return ensure(["mysql", "mariadb", "postgres"])


@pytest.fixture(params=["mysql", "mariadb"])
def world(request: pytest.FixtureRequest) -> Iterator[ReconcilerWorld]:
    """A company on either server; the call centre is PostgreSQL's."""
    servers = ensure([request.param, "postgres"])
    mysql = servers.mysql_url if request.param == "mysql" else servers.mariadb_url
    with ReconcilerWorld(mysql, servers.postgres_url) as world:
        yield world


@pytest.fixture
def mysql_world(servers: Servers) -> Iterator[ReconcilerWorld]:
    """A company on MySQL, for what does not depend on the server."""
    with ReconcilerWorld(servers.mysql_url, servers.postgres_url) as world:
        yield world


@pytest.fixture
def stream(world: ReconcilerWorld) -> Iterator[Played]:
    """What the stream brings, played by the test."""
    with closing(Played(world)) as played:
        yield played
