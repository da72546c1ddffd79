"""A database per test, on both kinds of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.binlog.source import Source
from tests.servers import ensure

TABLES = (
    "CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100), current_signature_file_id INT)",
    "CREATE TABLE claims (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, status VARCHAR(20), FOREIGN KEY (user_id)"
    " REFERENCES users (id) ON DELETE CASCADE)",
    "CREATE TABLE claim_requirements (id INT PRIMARY KEY AUTO_INCREMENT, claim_id INT, status VARCHAR(40))",
    "CREATE TABLE other (id INT PRIMARY KEY, t LONGTEXT)",
)


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


@pytest.fixture
def company(source: Source) -> Source:
    source.run(*TABLES)
    source.start = source.here()
    return source


@pytest.fixture
def mariadb_company(mariadb: Source) -> Source:
    mariadb.run(*TABLES)
    mariadb.start = mariadb.here()
    return mariadb


@pytest.fixture
def mysql_company(mysql: Source) -> Source:
    mysql.run(*TABLES)
    mysql.start = mysql.here()
    return mysql
