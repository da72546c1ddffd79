"""Claims and requirements whose customer or claim goes, comes back or comes later: none of them is forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.integration.reader.world import ReaderWorld
from tests.integration.stints import await_stints
from tests.integration.test_cascades import foreign_keys

pytestmark = pytest.mark.servers

OUTSTANDING = "requirements_outstanding"
CUSTOMER = (
    "INSERT INTO users (id, current_signature_file_id) VALUES (2, 'S2')",
    "INSERT INTO claims (id, user_id, status) VALUES (12, 2, 'open')",
    "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r102', 12, 'pending')",
)


@pytest.fixture(params=["mysql", "mariadb"])
def world(request: pytest.FixtureRequest) -> Iterator[ReaderWorld]:
    """A company on each kind of server."""
    with ReaderWorld(request.param) as ready:
        yield ready


FIRST = [(OUTSTANDING, "first_seen")]
BACK = [*FIRST, ("none", "user_deleted"), (OUTSTANDING, "user_returned")]


@pytest.mark.parametrize("keyed", [False, True])
def test_a_customer_who_is_inserted_again_finds_the_claims_that_stayed(world: ReaderWorld, keyed: bool) -> None:
    if keyed:
        world.execute(*foreign_keys("CASCADE"))
    with world.pipeline():
        world.transaction(*CUSTOMER)
        await_stints(world, 2, FIRST)
        world.execute(*["SET foreign_key_checks = 0"] * keyed, "DELETE FROM users WHERE id = 2")
        await_stints(world, 2, BACK[:2])
        world.execute(*["SET foreign_key_checks = 0"] * keyed, CUSTOMER[0])
        await_stints(world, 2, BACK)


@pytest.mark.parametrize("together", [False, True])
def test_a_requirement_may_come_before_its_claim(world: ReaderWorld, together: bool) -> None:
    with world.pipeline():
        world.execute("INSERT INTO users (id, current_signature_file_id) VALUES (3, 'S3')")
        await_stints(world, 3, [("none", "first_seen")])
        rows = (
            "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r900', 77, 'pending')",
            "INSERT INTO claims (id, user_id, status) VALUES (77, 3, 'open')",
        )
        if together:
            world.transaction(*rows)
        else:
            world.execute(rows[0])
            time.sleep(1.0)
            world.execute(rows[1])
        await_stints(world, 3, [("none", "first_seen"), (OUTSTANDING, "requirement_added")])


@pytest.mark.parametrize("cascades", [True, False])
def test_a_customer_may_be_restored_from_a_dump_table_by_table(world: ReaderWorld, cascades: bool) -> None:
    if cascades:
        world.execute(*foreign_keys("CASCADE"))
    with world.pipeline():
        world.transaction(*CUSTOMER)
        await_stints(world, 2, FIRST)
        world.execute("DELETE FROM users WHERE id = 2")
        if not cascades:
            world.execute("DELETE FROM claims WHERE id = 12", "DELETE FROM claim_requirements WHERE id = 'r102'")
        await_stints(world, 2, BACK[:2])
        with world.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for row in reversed(CUSTOMER):
                cursor.execute(row)
                time.sleep(1.0)
        await_stints(world, 2, BACK)
