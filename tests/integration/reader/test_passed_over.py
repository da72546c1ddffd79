"""Events that nobody can read, and rows that Kafka does not take: the stream goes on behind them."""

from __future__ import annotations

import re

import pytest

from tests.integration.reader.test_ways_on import SIGNED, UNSIGNED, read_live, rechecks
from tests.integration.reader.world import ReaderWorld
from tests.integration.stints import await_stints, stints

pytestmark = pytest.mark.servers

OWING = [("none", "first_seen"), ("requirements_outstanding", "requirement_added")]


def test_an_event_that_cannot_be_read_ends_the_reader_and_the_command_that_it_names_goes_on(world: ReaderWorld) -> None:
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id, current_signature_file_id) VALUES (1, 'S1'), (2, NULL)",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('r1', 10, 'pending')",
        )
        await_stints(world, 2, UNSIGNED)
        outstanding = stints(world, 1)
        assert outstanding != []
        (reader,) = world.readers
        world.execute("ALTER TABLE claim_requirements DROP COLUMN status", "UPDATE claim_requirements SET type = 'x'")
        assert reader.wait() == 1
        failed = reader.lines()[-1]["reason"]
        assert "has no column status here, without which no lead can be judged; put it back" in failed
        command = re.findall(r"consumer (read --skip-event \S+:\d+) ", failed)
        world.execute(
            "UPDATE claim_requirements SET type = 'y'",
            "ALTER TABLE claim_requirements ADD COLUMN status VARCHAR(191) NOT NULL DEFAULT 'approved'",
            "UPDATE users SET current_signature_file_id = 'S2' WHERE id = 2",
        )
        reader = world.reader(*command[0].split()[1:])
        read_live(world, 2, SIGNED)
        read_live(world, 1, [*outstanding, ("none", "requirements_completed")])
        assert {line["table"] for line in reader.lines() if line["event"] == "row_unreadable"} >= {"unknown"}
        reader.stop()
        reader = world.reader(*command[0].split()[1:])
        reader.wait_for("skip_event_passed")
        world.execute("INSERT INTO users (id) VALUES (3)")
        await_stints(world, 3, UNSIGNED)
    assert set(rechecks(world)) == {None}


def test_a_row_larger_than_kafka_takes_is_passed_and_its_customer_is_read_live(world: ReaderWorld) -> None:
    reason = "REPEAT('x', 9000000)"
    world.execute("ALTER TABLE claim_requirements MODIFY claim_requirement_reason LONGTEXT NULL")
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id, current_signature_file_id) VALUES (1, 'S1'), (2, NULL)",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            "INSERT INTO claim_requirements (id, claim_id, status, claim_requirement_reason)"
            f" VALUES ('r1', 10, 'pending', {reason})",
        )
        await_stints(world, 2, UNSIGNED)
        await_stints(world, 1, OWING)
        world.execute(
            f"UPDATE claim_requirements SET status = 'approved', claim_requirement_reason = CONCAT({reason}, 'y')"
        )
        world.execute("UPDATE users SET current_signature_file_id = 'S2' WHERE id = 2")
        await_stints(world, 2, SIGNED)
        read_live(world, 1, [*OWING, ("none", "requirements_completed")])
        told = [line for line in world.readers[0].lines() if line["event"] == "row_unreadable"]
        assert [line["table"] for line in told] == ["claim_requirements"]
        assert "message.max.bytes" in told[0]["reason"]
    assert set(rechecks(world)) == {1}
