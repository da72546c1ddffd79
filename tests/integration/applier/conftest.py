"""Shared Kafka and PostgreSQL; every test has topics and a database of its own there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.applier.world import ApplierWorld
from tests.servers import Servers, ensure


@pytest.fixture(scope="session")
def servers() -> Servers:
    return ensure(["kafka", "postgres"])


@pytest.fixture
def world(servers: Servers) -> Iterator[ApplierWorld]:
    with ApplierWorld(servers.kafka_bootstrap, servers.postgres_url) as made:
        yield made
