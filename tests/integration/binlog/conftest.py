"""A database per test, on both kinds of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.binlog.source import Source
from tests.servers import ensure


@pytest.fixture
def mysql() -> Iterator[Source]:
    with Source(ensure(["mysql"]).mysql_url) as source:
        yield source


@pytest.fixture
def mariadb() -> Iterator[Source]:
    with Source(ensure(["mariadb"]).mariadb_url) as source:
        yield source


@pytest.fixture(params=["mysql", "mariadb"])
def source(request: pytest.FixtureRequest) -> Source:
    ready: Source = request.getfixturevalue(request.param)
    return ready
