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


def test_a_held_row_that_a_foreign_key_of_conversions_leads_to_stops_no_lane(world: ApplierWorld) -> None:
    """A new conversion takes a lock on the score that it refers to, and waits for whoever holds that."""
    with world.connect() as connection:
        connection.execute("ALTER TABLE conversions ADD FOREIGN KEY (user_id) REFERENCES user_call_scores (user_id)")
    world.applier()
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(1), 1))
        scribe.transaction(("users", None, user(2), 2))
    world.drain()
    with psycopg.connect(world.postgres_url) as agent:
        agent.execute("SELECT FROM user_call_scores WHERE user_id = 1 FOR UPDATE")
        with world.scribe as scribe:
            scribe.transaction(("users", user(1), user(1, 11), 1))
            scribe.transaction(("users", user(2), user(2, 12), 2))
        world.drain()
        assert world.query("SELECT user_id FROM conversions") == [(2,)]
        assert world.query("SELECT signature FROM leadstream.leads WHERE user_id = 1") == [("11",)]
        (reason,) = world.query("SELECT reason FROM leadstream.rechecks WHERE user_id = 1")
        assert "55P03" in reason[0]
