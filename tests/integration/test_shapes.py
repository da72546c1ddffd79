"""The simulated company on real servers, in every shape: its tables hold what its transaction log says."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import transaction_log
from tests.demo.company import Address, Company, create_tables, run
from tests.demo.company_schema import COMPANY, MARIADB_VARIANTS, VARIANTS
from tests.demo.compare import compare_company
from tests.demo.former_schema import FORMER
from tests.demo.oracle import Oracle
from tests.demo.pipeline import with_database
from tests.demo.shape import Shape
from tests.servers import ensure

pytestmark = pytest.mark.servers

EVERYWHERE = (COMPANY, FORMER, *VARIANTS)
CUSTOMERS = 200
TRANSACTIONS = 250


@pytest.fixture(params=["mysql", "mariadb"])
def server(request: pytest.FixtureRequest) -> str:
    """MySQL's or MariaDB's address."""
    kind: str = request.param
    servers = ensure((kind,))
    return servers.mysql_url if kind == "mysql" else servers.mariadb_url


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """A database that does not exist yet, and does not afterwards."""
    name = f"shape_{secrets.token_hex(4)}"
    yield with_database(server, name)
    connection = Address.of(server)._replace(database="").connect()
    with connection:
        run(connection, f"DROP DATABASE IF EXISTS `{name}`")


@pytest.mark.parametrize("shape", EVERYWHERE, ids=lambda shape: shape.name)
def test_the_tables_hold_what_the_transaction_log_says(database: str, shape: Shape, tmp_path: Path) -> None:
    works_and_agrees(database, shape, tmp_path)


@pytest.mark.parametrize("shape", MARIADB_VARIANTS, ids=lambda shape: shape.name)
@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_the_tables_hold_what_the_transaction_log_says_in_types_of_mariadb(
    database: str, shape: Shape, tmp_path: Path
) -> None:
    works_and_agrees(database, shape, tmp_path)


def works_and_agrees(database: str, shape: Shape, folder: Path) -> None:
    """Lets a company of this shape work for a while, and compares."""
    create_tables(Address.of(database), shape)
    with Company(database, folder, workers=2, shape=shape) as company:
        company.load(CUSTOMERS)
        for worker in company.workers:
            for _ in range(TRANSACTIONS):
                worker.act()
        company.stop()
        oracle = Oracle(shape.words)
        for path in company.transaction_logs:
            oracle.replay(transaction_log.read(path))
    assert compare_company(database, oracle, shape) == []
    queues = {person.queue for person in oracle.people.values()}
    assert len(queues) == 3
