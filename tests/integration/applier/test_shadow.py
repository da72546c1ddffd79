"""An applier in SHADOW_MODE, beside the old system whose tables it must not touch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.applier.world import ApplierWorld, faults, live
from tests.integration.call_centre import everything, guard

pytestmark = pytest.mark.servers


def test_an_applier_in_shadow_mode_keeps_our_tables_and_writes_nothing_of_the_call_centres(world: ApplierWorld) -> None:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with world.connect() as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    query(
        "INSERT INTO user_call_scores (id, user_id, current_score, current_queue_type, updated_at)"
        " VALUES (gen_random_uuid(), 1, 42, 'unsigned_users', now())"
    )
    query(
        "INSERT INTO call_queue (id, user_id, queue_type, updated_at)"
        " VALUES (gen_random_uuid(), 1, 'unsigned_users', now())"
    )
    guard(query)
    before = everything(query)
    world.applier(SHADOW_MODE="true")
    numbers = range(1, 21)
    live(world.scribe, numbers)
    world.drain()
    assert everything(query) == before
    theirs = ("conversions", "signatures", "completions", "active scores", "pending entries")
    assert [fault for fault in faults(world, numbers) if not fault.startswith(theirs)] == []
    won = "SELECT conversion_type, count(*) FROM leadstream.stints WHERE conversion_type IS NOT NULL GROUP BY 1"
    assert dict(query(won)) == {"signature_obtained": 20, "requirements_completed": 20}
    assert "refused" not in world.lines()
