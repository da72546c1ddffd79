"""Worlds on both servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.integration.reconciler.played import Played
from tests.integration.reconciler.world import World, close_world, open_world
from tests.servers import Servers, ensure


@pytest.fixture(scope="session")
def servers() -> Servers:
    return ensure(["mysql", "mariadb", "postgres"])


@pytest.fixture(params=["mysql", "mariadb"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A company on either server; the call centre is PostgreSQL's."""
    servers = ensure([request.param, "postgres"])
    world = open_world(servers.mysql_url if request.param == "mysql" else servers.mariadb_url, servers.postgres_url)
    yield world
    close_world(world, servers.postgres_url)


@pytest.fixture
def mysql_world(servers: Servers) -> Iterator[World]:
    """A company on MySQL, for what does not depend on the server."""
    world = open_world(servers.mysql_url, servers.postgres_url)
    yield world
    close_world(world, servers.postgres_url)


@pytest.fixture
def stream(world: World) -> Iterator[Played]:
    """What the stream brings, played by the test."""
    with closing(Played(world)) as played:
        yield played
