"""A constraint or trigger of the call centre's own refuses one lead: that one is set aside, the others go through."""

from __future__ import annotations

import pytest

from tests.integration.applier.world import World, claim, live, user

pytestmark = pytest.mark.servers

CHECK = "ALTER TABLE user_call_scores ADD CONSTRAINT not_this_one CHECK (user_id NOT IN (7, 31))"
KEY = """
CREATE TABLE customers (id bigint PRIMARY KEY);
INSERT INTO customers SELECT n FROM generate_series(1, 60) AS n WHERE n NOT IN (7, 31);
ALTER TABLE user_call_scores ADD CONSTRAINT not_this_one FOREIGN KEY (user_id) REFERENCES customers
"""
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.user_id = 7 THEN RAISE EXCEPTION ''customer 7 is secret''; END IF; RETURN NEW; END';
CREATE TRIGGER refuse BEFORE INSERT ON conversions FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [(CHECK, "23514"), (KEY, "23503"), (f"{KEY.rstrip()} DEFERRABLE INITIALLY DEFERRED", "23503")],
)
def test_leads_that_a_constraint_refuses_are_set_aside_and_the_lane_goes_on(
    world: World, constraint: str, reason: str
) -> None:
    with world.connect() as connection:
        connection.execute(constraint)
    live(world.scribe, range(1, 61), together=60)
    process = world.applier()
    world.drain()
    assert world.query("SELECT user_id, reason FROM leadstream.rechecks ORDER BY user_id") == [
        (number, f"PostgreSQL refused it with {reason} (user_call_scores, not_this_one)") for number in (7, 31)
    ]
    assert world.value("SELECT count(*) FROM conversions") == 2 * 58
    assert world.query("SELECT user_id FROM leadstream.leads WHERE stint = 0 ORDER BY user_id") == [(7,), (31,)]
    assert world.value("SELECT count(*) FROM leadstream.claims") == 60
    assert process.poll() is None


def test_a_trigger_that_raises_later_leaves_the_lead_unjudged_until_its_recheck(world: World) -> None:
    world.applier()
    with world.scribe as scribe:
        for number in range(1, 11):
            scribe.transaction(("users", None, user(number), number))
    world.drain()
    with world.connect() as connection:
        connection.execute(TRIGGER)
    with world.scribe as scribe:
        for number in range(1, 11):
            scribe.transaction(("users", user(number), user(number, 100 + number), number))
    world.drain()
    with world.scribe as scribe:
        scribe.transaction(("claims", None, claim(1, 7), 7))
    world.drain()
    assert world.value("SELECT count(*) FROM conversions") == 9
    assert world.query("SELECT user_id FROM leadstream.rechecks") == [(7,)]
    assert world.query("SELECT signature, queue_type FROM leadstream.leads WHERE user_id = 7") == [
        ("107", "unsigned_users")
    ]
    assert "secret" not in world.lines()
