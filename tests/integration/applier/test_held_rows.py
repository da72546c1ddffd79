"""Rows of the call centre that somebody else is inserting: no lane stands still for them."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.applier.world import ApplierWorld, user

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("keeps", [True, False], ids=["committed", "rolled back"])
def test_a_row_that_is_inserted_elsewhere_and_not_committed_stops_no_lane(world: ApplierWorld, *, keeps: bool) -> None:
    """Nobody can see it, and whoever inserts the same one waits."""
    world.applier()
    with psycopg.connect(world.postgres_url) as agent:
        agent.execute("INSERT INTO user_call_scores (id, user_id, updated_at) VALUES (gen_random_uuid(), 1, now())")
        with world.scribe as scribe:
            scribe.transaction(("users", None, user(1), 1))
            scribe.transaction(("users", None, user(2), 2))
        world.drain()
        assert world.query("SELECT user_id FROM leadstream.leads ORDER BY 1") == [(1,), (2,)]
        if keeps:
            agent.commit()
        else:
            agent.rollback()
    with world.scribe as scribe:
        scribe.beat()  # as every lane gets one now and then
    seen = "SELECT user_id FROM user_call_scores WHERE current_queue_type = 'unsigned_users' ORDER BY 1"
    world.until(lambda: world.query(seen) == [(1,), (2,)], "both are seen in their queue")
