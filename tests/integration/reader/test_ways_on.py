"""Whatever one row is like, the stream goes on behind it, and whoever it concerns is read live."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.doctor.conftest import findings
from tests.integration.reader.world import ReaderWorld, check_numbers
from tests.integration.stints import await_stints, stints
from tests.servers import ensure
from tests.support.waiting import until

pytestmark = pytest.mark.servers

MINIMAL = "SET SESSION binlog_row_image = 'MINIMAL'"


def rechecks(world: ReaderWorld) -> dict[int | None, str]:
    """Whom the stream asks a live read for (None: everybody of a lane), and why."""
    return {
        message.value["lane"]["user_id"]: message.value["lane"]["recheck"]
        for message in world.messages()
        if "recheck" in message.value["lane"]
    }


AGED = """
UPDATE leadstream.leads SET version = version - {micros}, read_floor = read_floor - {micros},
    changed_at = changed_at - interval '10 minutes';
UPDATE leadstream.claims SET version = version - {micros};
UPDATE leadstream.requirements SET version = version - {micros};
UPDATE leadstream.rechecks SET not_before = now();
"""
"""As if what we hold had changed ten minutes earlier than it did: old enough for a live read to be believed."""


def read_live(world: ReaderWorld, user_id: int, expected: list[tuple[str, str]], *, aged: bool = True) -> None:
    """Waits for a recheck of this customer, and has rechecks processed until it leads to these stints.

    A row that changed less than a minute before it is read is too fresh to be believed, and read again after another:
    what we hold is `aged` instead, but where it is the wait itself that is tested.
    """
    until(lambda: queued(world, user_id) or stints(world, user_id) == expected, f"a live read of {user_id} was queued")
    if aged:
        with psycopg.connect(world.postgres_url, autocommit=True) as connection:
            connection.execute(AGED.format(micros=600_000_000).encode())

    def processed() -> bool:
        if stints(world, user_id) == expected:
            return True
        result = world.reconciler("run", "new-users")
        assert result.returncode == 0, result.stderr
        return False

    until(processed, f"{user_id} had {expected}", within=250, seen=lambda: stints(world, user_id), pause=2.0)


def queued(world: ReaderWorld, user_id: int) -> list[tuple[str]]:
    """Why a live read of a customer is queued, if it is."""
    with psycopg.connect(world.postgres_url) as connection:
        return connection.execute("SELECT reason FROM leadstream.rechecks WHERE user_id = %s", (user_id,)).fetchall()


UNSIGNED = [("unsigned_users", "first_seen")]
SIGNED = [*UNSIGNED, ("none", "signature_obtained")]


def test_a_partial_row_image_is_passed_and_its_customer_is_read_live(world: ReaderWorld, flavor: str) -> None:
    with world.pipeline():
        world.execute("INSERT INTO users (id) VALUES (1), (2)")
        await_stints(world, 1, UNSIGNED)
        world.execute(MINIMAL, "UPDATE users SET current_signature_file_id = 'S1' WHERE id = 1")
        read_live(world, 1, SIGNED, aged=flavor != "mysql")
        world.execute("UPDATE users SET current_signature_file_id = 'S2' WHERE id = 2")
        await_stints(world, 2, SIGNED)
    found = rechecks(world)
    assert set(found) == {1}
    assert f"{world.name}.users." in found[1]
    assert "is missing from a row image" in found[1]
    assert "binlog_row_image than FULL" in found[1]


def test_whose_row_a_partial_image_is_decides_who_is_read_live(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader()
    world.execute(
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open'), (20, 2, 'open')",
        "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r1', 10, 'pending')",
        MINIMAL,
        "UPDATE claims SET status = 'cancelled' WHERE id = 10",
        "UPDATE users SET is_enabled = 0 WHERE id = 2",
    )
    world.wait_for_rows(5)
    world.execute("INSERT INTO users (id) VALUES (3)")
    world.wait_for_rows(6)
    assert set(rechecks(world)) == {1, 2}
    world.execute(MINIMAL, "UPDATE claim_requirements SET status = 'approved' WHERE id = 'r1'")
    world.execute("INSERT INTO users (id) VALUES (4)")
    check_numbers(world.finish(reader, 7))
    assert set(rechecks(world)) == {1, 2, None}, "of a requirement without its claim nobody can say whose it is"
    told = [line for line in reader.lines() if line["event"] == "row_unreadable"]
    assert {line["table"] for line in told} == {"users", "claims", "claim_requirements"}
    assert all(line["position"] and line["hint"] for line in told)


def test_a_claim_that_moves_in_a_partial_image_belongs_to_both(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader()
    world.execute(
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
        MINIMAL,
        "UPDATE claims SET user_id = 2 WHERE id = 10",
        "SET SESSION binlog_row_image = 'FULL'",
        "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r1', 10, 'pending')",
    )
    messages = world.finish(reader, 4)
    check_numbers(messages)
    assert set(rechecks(world)) == {1, 2}
    assert [m.value["lane"]["user_id"] for m in messages if m.topic == "claim_requirements"] == [2]


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_an_update_without_column_names_is_passed_and_everybody_is_read_live(kind: str) -> None:
    servers = ensure(())
    private = servers.private_mysql if kind == "mysql" else servers.private_mariadb
    with private() as server, ReaderWorld(kind, server.url) as world:
        with world.pipeline():
            world.execute("INSERT INTO users (id) VALUES (1), (2)")
            await_stints(world, 1, UNSIGNED)
            world.execute(
                "SET GLOBAL binlog_row_metadata = 'MINIMAL'",
                "UPDATE users SET current_signature_file_id = 'S1' WHERE id = 1",
            )
            found = doctor(world)
            assert "FULL" in found["mysql binlog_row_metadata"]["hint"]
            world.execute("SET GLOBAL binlog_row_metadata = 'FULL'")
            read_live(world, 1, SIGNED)
            world.execute("UPDATE users SET current_signature_file_id = 'S2' WHERE id = 2")
            await_stints(world, 2, SIGNED)
            assert "mysql binlog_row_metadata" not in doctor(world)
        assert set(rechecks(world)) == {None}
        assert "without column names" in rechecks(world)[None]


def doctor(world: ReaderWorld) -> dict[str, dict[str, Any]]:
    """What the doctor finds not to be well."""
    return findings(world.consumer("doctor", "--json"))
