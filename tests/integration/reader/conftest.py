"""One world a test, on both kinds of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.reader.world import ReaderWorld


@pytest.fixture(params=["mysql", "mariadb"])
def flavor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(flavor: str) -> Iterator[ReaderWorld]:
    with ReaderWorld(flavor) as ready:
        yield ready
