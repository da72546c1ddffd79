"""Who earned a conversion: filled in by the calls before it where nobody else did, and never changed."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from consumer.doctor import postgres, postgres_facts
from consumer.doctor.check import Check, State
from consumer.leads.rule_file import DEFAULT, parse
from tests.integration.reconciler.played import Played
from tests.integration.reconciler.runs.test_conversions import MINUTE, now, sign
from tests.integration.reconciler.serving import serving
from tests.integration.reconciler.world import ReconcilerWorld, adopt_only

pytestmark = pytest.mark.servers

CALL = """
INSERT INTO call_sessions (id, user_id, agent_id, status, started_at, ended_at, talk_time_seconds, updated_at)
VALUES (gen_random_uuid(), %s, %s, 'completed', %s, %s, %s, now() AT TIME ZONE 'utc')
"""
AGENT = "INSERT INTO agents (id, email, first_name, last_name, updated_at) VALUES (%s, %s, 'A', 'B', now())"
SIGNED = 90
"""Minutes ago that customers signed."""


@pytest.fixture
def world(mysql_world: ReconcilerWorld) -> ReconcilerWorld:
    """Four agents, and customers who have not signed."""
    for agent in range(1, 5):
        mysql_world.pg(AGENT, agent, f"agent{agent}@example.invalid")
    for user_id in range(1, 5):
        mysql_world.user(user_id)
        mysql_world.claim(10 * user_id, user_id)
    mysql_world.backfill()
    mysql_world.age_everything(180)
    mysql_world.pass_lanes(now() - 120 * MINUTE)
    return mysql_world


def call(
    world: ReconcilerWorld, user_id: int, agent: int, minutes_ago: float, talk: int | None, *, ended: bool = True
) -> None:
    began = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=minutes_ago)
    world.pg(CALL, user_id, agent, began, began + timedelta(seconds=talk or 0) if ended else None, talk)


def agents(world: ReconcilerWorld) -> dict[int, tuple[int | None, list[int] | None]]:
    """user → primary agent and contributing ones."""
    rows = world.pg("SELECT user_id, primary_agent_id, contributing_agents FROM conversions")
    return {user_id: (primary, others) for user_id, primary, others in rows}


def attributed(world: ReconcilerWorld) -> str:
    done = world.command("attribution")
    assert done.returncode == 0, done.stderr
    return done.stdout


def days_ago(world: ReconcilerWorld, days: int) -> None:
    """As if everything had been recorded and looked at so long ago."""
    micro = days * 24 * 60 * MINUTE
    world.pg("UPDATE leadstream.stints SET event_number = event_number - %s", micro)
    world.pg(
        "UPDATE leadstream.runs SET cursor = greatest(cursor - %s, 0), started_at = started_at - %s * interval '1 day',"
        " window_from = greatest(window_from - %s * interval '1 day', 'epoch'),"
        " window_to = window_to - %s * interval '1 day' WHERE name = 'attribution'",
        micro, days, days, days,
    )  # fmt: skip


def last_run(world: ReconcilerWorld) -> tuple[object, ...]:
    ((*found,),) = world.pg(
        "SELECT outcome, counts, error FROM leadstream.runs WHERE name = 'attribution' ORDER BY id DESC LIMIT 1"
    )
    return tuple(found)


def test_the_last_call_with_enough_talk_earned_it_and_the_others_contributed(
    world: ReconcilerWorld, stream: Played
) -> None:
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


def test_what_somebody_noted_is_never_changed(world: ReconcilerWorld, stream: Played) -> None:
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


@pytest.mark.parametrize("ended", [False, True])
def test_a_call_that_has_not_ended_or_whose_talk_is_yet_to_be_written_is_waited_for(
    world: ReconcilerWorld, stream: Played, ended: bool
) -> None:
    call(world, 1, 1, SIGNED + 60, 60)
    call(world, 1, 2, SIGNED + 1, None, ended=ended)
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    attributed(world)
    assert agents(world) == {1: (None, None)}
    world.pg("UPDATE call_sessions SET ended_at = now() AT TIME ZONE 'utc', talk_time_seconds = 600 WHERE agent_id = 2")
    attributed(world)
    assert agents(world) == {1: (2, [1])}


def test_a_call_that_nobody_ended_is_waited_for_a_day(world: ReconcilerWorld, stream: Played) -> None:
    call(world, 1, 1, SIGNED + 60, 60)
    call(world, 1, 2, 25 * 60, None)
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    attributed(world)
    assert agents(world) == {1: (1, [])}


def test_a_conversion_of_the_last_hour_waits_for_calls_that_are_written_late(
    world: ReconcilerWorld, stream: Played
) -> None:
    call(world, 1, 1, SIGNED + 60, 60)
    sign(world, stream, 1, now() - 20 * MINUTE)
    assert attributed(world) == "0 of 1 conversions were given their agents\n"
    assert agents(world) == {1: (None, None)}
    call(world, 1, 2, 90, 60)
    world.pg("UPDATE conversions SET converted_at = converted_at - interval '1 hour'")
    attributed(world)
    assert agents(world) == {1: (2, [1])}


def test_a_run_that_was_cut_off_goes_on_and_looks_back(world: ReconcilerWorld, stream: Played) -> None:
    for user_id in (1, 2):
        call(world, user_id, 1, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    attributed(world)
    world.pg("UPDATE conversions SET primary_agent_id = NULL, contributing_agents = NULL")
    ((first,),) = world.pg("SELECT min(event_number) FROM leadstream.stints")
    world.pg("UPDATE leadstream.runs SET outcome = 'running', cursor = %s WHERE name = 'attribution'", first)
    assert attributed(world) == "2 of 2 conversions were given their agents\n"
    assert attributed(world) == "0 of 2 conversions were given their agents\n"


def test_a_run_that_was_cut_off_among_what_is_old_goes_on_where_it_was(world: ReconcilerWorld, stream: Played) -> None:
    for user_id in (1, 2):
        call(world, user_id, 1, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    attributed(world)
    ((first,),) = world.pg("SELECT min(event_number) FROM leadstream.stints")
    world.pg("UPDATE leadstream.runs SET outcome = 'running', cursor = %s WHERE name = 'attribution'", first)
    days_ago(world, 3)
    world.pg("UPDATE leadstream.runs SET window_to = now() WHERE name = 'attribution'")
    assert attributed(world) == "0 of 1 conversions were given their agents\n"


def test_a_run_that_was_cut_off_days_ago_passes_none_that_waited(world: ReconcilerWorld, stream: Played) -> None:
    call(world, 1, 1, SIGNED + 10, 60)
    call(world, 1, 2, SIGNED + 1, None, ended=False)
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    attributed(world)
    world.pg("UPDATE leadstream.runs SET outcome = 'running' WHERE name = 'attribution'")
    days_ago(world, 3)
    world.pg("UPDATE call_sessions SET ended_at = now() AT TIME ZONE 'utc', talk_time_seconds = 60 WHERE agent_id = 2")
    attributed(world)
    assert agents(world) == {1: (2, [1])}


def test_a_row_that_postgresql_refuses_is_in_nobodys_way(world: ReconcilerWorld, stream: Played) -> None:
    for user_id in (1, 2, 3):
        call(world, user_id, user_id, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    world.pg("ALTER TABLE conversions ADD CONSTRAINT not_two CHECK (primary_agent_id <> 2)")
    done = world.command("attribution")
    assert (done.returncode, done.stdout) == (1, "2 of 3 conversions were given their agents\n")
    assert "PostgreSQL refused 1 of them" in done.stderr
    assert "not_two" in done.stderr
    assert agents(world) == {1: (1, []), 2: (None, None), 3: (3, [])}
    outcome, counts, _ = last_run(world)
    assert (outcome, counts) == ("refused", {"checked": 3, "filled": 2, "failed": 1, "locked": 0})
    world.pg("ALTER TABLE conversions DROP CONSTRAINT not_two")
    assert attributed(world) == "1 of 3 conversions were given their agents\n"


HOLD = "SELECT FROM conversions WHERE user_id = 1 FOR UPDATE"
HOLD_AGENT = "SELECT FROM agents WHERE id = 1 FOR UPDATE"
HOLD_TABLE = "LOCK TABLE conversions IN SHARE MODE"


@pytest.mark.parametrize(("holding", "filled"), [(HOLD, 1), (HOLD_AGENT, 0), (HOLD_TABLE, 0)])
def test_what_somebody_holds_is_left_and_seen_again_however_old_it_is(
    world: ReconcilerWorld, stream: Played, holding: str, filled: int
) -> None:
    for user_id in (1, 2):
        call(world, user_id, user_id, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    assert "were given" in attributed(world)  # they have their numbers
    world.pg("UPDATE conversions SET primary_agent_id = NULL, contributing_agents = NULL")
    world.pg("DELETE FROM leadstream.runs WHERE name = 'attribution'")
    days_ago(world, 5)
    with psycopg.connect(world.postgres_url) as holder:
        holder.execute(holding.encode())
        assert attributed(world) == (
            f"{filled} of 2 conversions were given their agents\n"
            f"{2 - filled} are held by somebody else and left for the next run\n"
        )
    attributed(world)
    assert agents(world) == {1: (1, []), 2: (2, [])}
    assert last_run(world)[0] == "ok"


def test_how_much_talk_and_how_many_days_the_rules_say(world: ReconcilerWorld, stream: Played) -> None:
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


def test_without_calls_or_rights_it_is_others_work_and_with_half_the_rights_it_says_which(
    world: ReconcilerWorld, stream: Played
) -> None:
    sign(world, stream, 1, now() - SIGNED * MINUTE)
    role = f"least_{uuid4().hex[:12]}"
    world.pg(f"CREATE ROLE {role} LOGIN PASSWORD 'least'")
    try:
        world.pg(f"GRANT USAGE ON SCHEMA leadstream TO {role}")
        world.pg(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA leadstream TO {role}")
        world.pg(f"GRANT SELECT, INSERT ON conversions TO {role}")
        world.pg(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA leadstream TO {role}")
        with psycopg.connect(world.postgres_url) as connection:
            server = connection.info
            url = f"postgresql://{role}:least@{server.host}:{server.port}/{server.dbname}"
        others = world.command("attribution", DATABASE_URL=url)
        assert others.returncode == 0
        assert "has no right to attribute conversions, so others do" in others.stdout
        assert judged(url) is None
        assert world.pg("SELECT FROM leadstream.runs WHERE name = 'attribution'") == []
        grants = [
            f"GRANT SELECT ON call_sessions TO {role}",
            f"GRANT UPDATE (primary_agent_id, contributing_agents) ON conversions TO {role}",
        ]
        for given, missing in (grants, grants[::-1]):
            world.pg(given)
            sentence = f"{role} may not attribute conversions; {missing}"
            refused = world.command("attribution", DATABASE_URL=url)
            assert refused.returncode == 1
            assert sentence in refused.stderr
            assert last_run(world)[0::2] == ("failed", sentence)
            found = judged(url)
            assert found is not None
            assert (found.state, found.hint) == (State.WARNING, missing)
            if given != grants[-1]:
                world.pg(given.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        world.pg(grants[0])
        assert world.command("attribution", DATABASE_URL=url).returncode == 0
        found = judged(url)
        assert found is not None
        assert found.state is State.OK
    finally:
        world.pg(f"DROP OWNED BY {role}")
        world.pg(f"DROP ROLE {role}")


def judged(url: str) -> Check | None:
    """What the doctor says of it."""
    checks = postgres.judge(postgres_facts.collect(url, 10), lanes=4, shadow=False)
    return next((check for check in checks if check.name == "attribution"), None)


def test_without_calls_and_in_shadow_mode_nothing_is_done(world: ReconcilerWorld, stream: Played) -> None:
    assert world.command("attribution", SHADOW_MODE="true").stdout.startswith("SHADOW_MODE is on")
    world.pg("DROP TABLE call_sessions")
    assert "there are no calls" in attributed(world)
    assert judged(world.postgres_url) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DROP COLUMN talk_time_seconds", "there is no column call_sessions.talk_time_seconds"),
        ("ALTER COLUMN agent_id TYPE text", "call_sessions.agent_id is text where it must be integer or bigint"),
        (
            "ALTER COLUMN started_at TYPE timestamptz",
            "call_sessions.started_at is timestamp with time zone where it must be timestamp without time zone",
        ),
    ],
)
def test_columns_that_do_not_fit_are_told_and_the_run_is_recorded_as_failed(
    world: ReconcilerWorld, stream: Played, change: str, sentence: str
) -> None:
    world.pg("ALTER TABLE call_sessions DROP CONSTRAINT IF EXISTS call_sessions_agent_id_fkey")
    world.pg(f"ALTER TABLE call_sessions {change}")
    done = world.command("attribution")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert sentence in str(last_run(world)[2])
    found = judged(world.postgres_url)
    assert found is not None
    assert found.state is State.WARNING
    assert sentence in found.sentence


def earned_by_two(world: ReconcilerWorld, stream: Played) -> None:
    """Four signatures: two of agent 1, who was helped by agent 2 with one of them, one of agent 2, one of nobody."""
    for user_id in (1, 2, 3):
        call(world, user_id, 1 if user_id < 3 else 2, SIGNED + 10, 60)
        sign(world, stream, user_id, now() - SIGNED * MINUTE)
    call(world, 1, 2, SIGNED + 20, 60)
    sign(world, stream, 4, now() - SIGNED * MINUTE)
    attributed(world)


def test_conversions_are_counted_by_agent(world: ReconcilerWorld, stream: Played) -> None:
    earned_by_two(world, stream)
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


def agents_shown(page: str) -> list[list[str]] | None:
    """The rows of the page's table of agents, cell by cell; None where there is none."""
    body = re.search(r'<tbody id="won-agents".*?>(.*?)</tbody>', page, re.DOTALL)
    rows = body and re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL)
    return rows and [re.findall(r">([^<>]+)</t[hd]>", row) for row in rows]


def test_the_page_shows_whose_calls_earned_the_conversions_of_seven_days(
    world: ReconcilerWorld, stream: Played
) -> None:
    earned_by_two(world, stream)
    with serving(world, SWEEPS="") as served:
        served.process.until(lambda: agents_shown(served.get("/").text) is not None, "the page knows seven days")
        assert agents_shown(served.get("/").text) == [
            ["agent 1", "2", "0", "0"],
            ["agent 2", "1", "0", "1"],
            ["nobody yet", "1", "0", "0"],
        ]
        week = "Day by day, as a table"
        assert week in served.get("/").text
    for change in ("ALTER TABLE conversions RENAME primary_agent_id TO other", "DROP TABLE call_sessions"):
        world.pg(change)
        with serving(world, SWEEPS="") as served:
            served.process.until(lambda: "not known yet" not in served.get("/").text, "the page knows seven days")
            assert agents_shown(served.get("/").text) is None
            assert week in served.get("/").text
