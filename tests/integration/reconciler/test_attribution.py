"""Who earned a conversion: filled in by the calls before it where nobody else did, and never changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from consumer.leads.rule_file import DEFAULT, parse
from tests.integration.reconciler.played import Played
from tests.integration.reconciler.serving import serving
from tests.integration.reconciler.test_conversions import MINUTE, now, sign
from tests.integration.reconciler.world import World, adopt_only

pytestmark = pytest.mark.servers

CALL = """
INSERT INTO call_sessions (id, user_id, agent_id, status, started_at, ended_at, talk_time_seconds, updated_at)
VALUES (gen_random_uuid(), %s, %s, 'completed', %s, %s, %s, now() AT TIME ZONE 'utc')
"""
AGENT = "INSERT INTO agents (id, email, first_name, last_name, updated_at) VALUES (%s, %s, 'A', 'B', now())"
SIGNED = 20
"""Minutes ago that customers signed."""


@pytest.fixture
def world(mysql_world: World) -> World:
    """Four agents, and customers who have not signed."""
    for agent in range(1, 5):
        mysql_world.pg(AGENT, agent, f"agent{agent}@example.invalid")
    for user_id in range(1, 5):
        mysql_world.user(user_id)
        mysql_world.claim(10 * user_id, user_id)
    mysql_world.backfill()
    mysql_world.age_everything(60)
    mysql_world.pass_lanes(now() - 30 * MINUTE)
    return mysql_world


def call(world: World, user_id: int, agent: int, minutes_ago: float, talk: int | None, *, ended: bool = True) -> None:
    began = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=minutes_ago)
    world.pg(CALL, user_id, agent, began, began + timedelta(seconds=talk or 0) if ended else None, talk)


def agents(world: World) -> dict[int, tuple[int | None, list[int] | None]]:
    """user → primary agent and contributing ones."""
    rows = world.pg("SELECT user_id, primary_agent_id, contributing_agents FROM conversions")
    return {user_id: (primary, others) for user_id, primary, others in rows}


def attributed(world: World) -> str:
    done = world.command("attribution")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_last_call_with_enough_talk_earned_it_and_the_others_contributed(world: World, stream: Played) -> None:
    day = 24 * 60
    call(world, 1, 1, SIGNED + 10, 31)
    call(world, 1, 2, SIGNED + 2 * day, 300)
    call(world, 1, 3, SIGNED + 5, 30)  # not more than 30 s
    call(world, 1, 4, SIGNED + 31 * day, 300)  # too long ago
    call(world, 1, 4, SIGNED - 10, 300)  # after it
    call(world, 2, 2, SIGNED + 3, 40)
    for user_id in (1, 2, 3):
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    assert attributed(world) == "2 of 3 conversions were given their agents\n"
    assert agents(world) == {1: (1, [2]), 2: (2, []), 3: (None, None)}


def test_what_somebody_noted_is_never_changed(world: World, stream: Played) -> None:
    for user_id in (1, 2):
        call(world, user_id, 1, SIGNED + 10, 60)
        call(world, user_id, 2, SIGNED + 20, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    world.pg("UPDATE conversions SET primary_agent_id = 4, contributing_agents = '[3]' WHERE user_id = 1")
    world.pg("UPDATE conversions SET primary_agent_id = 2 WHERE user_id = 2")
    attributed(world)
    assert agents(world) == {1: (4, [3]), 2: (2, [1])}
    call(world, 2, 3, SIGNED + 1, 60)
    attributed(world)
    assert agents(world) == {1: (4, [3]), 2: (2, [1])}


def test_a_call_that_has_not_ended_is_waited_for(world: World, stream: Played) -> None:
    call(world, 1, 1, SIGNED + 60, 60)
    call(world, 1, 2, SIGNED + 1, None, ended=False)
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    attributed(world)
    assert agents(world) == {1: (None, None)}
    world.pg("UPDATE call_sessions SET ended_at = now() AT TIME ZONE 'utc', talk_time_seconds = 600 WHERE agent_id = 2")
    attributed(world)
    assert agents(world) == {1: (2, [1])}


def test_a_run_that_was_cut_off_goes_on_and_the_next_one_looks_back(world: World, stream: Played) -> None:
    for user_id in (1, 2):
        call(world, user_id, 1, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    attributed(world)
    world.pg("UPDATE conversions SET primary_agent_id = NULL, contributing_agents = NULL")
    ((first,),) = world.pg("SELECT min(event_number) FROM leadstream.stints")
    world.pg("UPDATE leadstream.runs SET outcome = 'running', cursor = %s WHERE name = 'attribution'", first)
    assert attributed(world) == "1 of 1 conversions were given their agents\n"
    assert attributed(world) == "1 of 2 conversions were given their agents\n"


def test_how_much_talk_and_how_many_days_the_rules_say(world: World, stream: Played) -> None:
    file = parse("[attribution]\ntalk_seconds = 100\ndays = 1")
    assert (file.attribution.talk_seconds, file.attribution.days) == (100, 1)
    assert parse(file.as_toml()) == file
    assert replace(file, attribution=DEFAULT.attribution).fingerprint == DEFAULT.fingerprint != file.fingerprint
    adopt_only(world, file)
    call(world, 1, 1, SIGNED + 10, 100)
    call(world, 1, 2, SIGNED + 20, 101)
    call(world, 1, 3, SIGNED + 25 * 60, 101)
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    attributed(world)
    assert agents(world) == {1: (2, [])}


def test_without_calls_nothing_is_done_and_without_the_right_it_says_which(world: World, stream: Played) -> None:
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    role = f"least_{uuid4().hex[:12]}"
    world.pg(f"CREATE ROLE {role} LOGIN PASSWORD 'least'")
    try:
        world.pg(f"GRANT USAGE ON SCHEMA leadstream TO {role}")
        world.pg(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA leadstream TO {role}")
        world.pg(f"GRANT SELECT, INSERT ON conversions TO {role}")
        world.pg(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA leadstream TO {role}")
        with psycopg.connect(world.conninfo) as connection:
            server = connection.info
            url = f"postgresql://{role}:least@{server.host}:{server.port}/{server.dbname}"
        refused = world.command("attribution", DATABASE_URL=url)
        assert refused.returncode == 1
        for grant in ("SELECT ON call_sessions", "UPDATE (primary_agent_id, contributing_agents) ON conversions"):
            assert f"GRANT {grant} TO {role}" in refused.stderr
            world.pg(f"GRANT {grant} TO {role}")
        assert world.command("attribution", DATABASE_URL=url).returncode == 0
    finally:
        world.pg(f"DROP OWNED BY {role}")
        world.pg(f"DROP ROLE {role}")
    world.pg("DROP TABLE call_sessions")
    assert "there are no calls" in attributed(world)
    assert world.command("attribution", SHADOW_MODE="true").stdout.startswith("SHADOW_MODE is on")


def test_conversions_are_counted_by_agent(world: World, stream: Played) -> None:
    for user_id in (1, 2, 3):
        call(world, user_id, 1 if user_id < 3 else 2, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    call(world, 1, 2, SIGNED + 20, 60)
    sign(world, stream, 4, now() - SIGNED * MINUTE)
    attributed(world)
    span = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    with serving(world, SWEEPS="") as served:
        assert served.get("/v1/conversions/by-agent", **span).json() == {
            "agents": [
                {"agent_id": 1, "primary": {"signature_obtained": 2}, "contributed": 0},
                {"agent_id": 2, "primary": {"signature_obtained": 1}, "contributed": 1},
                {"agent_id": None, "primary": {"signature_obtained": 1}, "contributed": 0},
            ]
        }
        assert served.get("/v1/conversions/by-agent", **{"from": "2100-01-01T00:00:00Z", "to": span["to"]}).json() == {
            "agents": []
        }
        assert served.get("/v1/conversions/by-agent").status_code == 422
