"""What attribution takes of the call centre's tables, said by `doctor` and `setup` before a run fails for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from consumer.commands.setup import warnings
from consumer.doctor import postgres, postgres_facts
from consumer.doctor.check import State
from consumer.settings import DatabaseSettings, DiscoverySettings
from consumer.store.schema.setup import prepare
from tests.integration.reader.world import ReaderWorld
from tests.integration.store.databases import new_database, run
from tests.servers import ensure

SESSIONS = """
CREATE TABLE call_sessions (
    id bigint PRIMARY KEY, user_id bigint NOT NULL, agent_id int, talk_time_seconds int, started_at timestamp,
    ended_at timestamp)
"""
pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def centre() -> Iterator[str]:
    """A database of a call centre that has calls, whose owner we are."""
    with new_database(ensure(("postgres",)).postgres_url) as url:
        prepare(url, 4, 1)
        run(url, SESSIONS)
        yield url


def told(url: str) -> str:
    """What both say of it; "" where nothing is wrong."""
    checks = postgres.judge(postgres_facts.collect(url, 10), lanes=4, shadow=False)
    found = [check for check in checks if check.name == "attribution" and check.state is not State.OK]
    assert {check.state for check in found} <= {State.WARNING}, "nothing else waits for it"
    sentences = [f"{check.sentence}; {check.hint}" for check in found]
    settings = DatabaseSettings.model_validate({"database_url": url})
    assert warnings(settings, DiscoverySettings(shadow_mode=False)) == sentences
    assert warnings(settings, DiscoverySettings(shadow_mode=True)) == []
    return "".join(sentences)


@contextmanager
def changed(url: str, change: str) -> Iterator[None]:
    """Both tables otherwise, meanwhile."""
    run(url, "CREATE SCHEMA kept")
    for table in ("call_sessions", "conversions"):
        run(url, f"CREATE TABLE kept.{table} (LIKE {table} INCLUDING ALL)")
    run(url, change)
    try:
        yield
    finally:
        for table in ("call_sessions", "conversions"):
            run(url, f"DROP TABLE IF EXISTS {table} CASCADE")
            run(url, f"ALTER TABLE kept.{table} SET SCHEMA public")
        run(url, "DROP SCHEMA kept")


def test_a_role_that_has_everything_hears_nothing(centre: str) -> None:
    assert told(centre) == ""


@pytest.mark.parametrize(
    "column",
    [
        "call_sessions.user_id", "call_sessions.agent_id", "call_sessions.talk_time_seconds",
        "call_sessions.started_at", "call_sessions.ended_at", "conversions.primary_agent_id",
        "conversions.contributing_agents",
    ],
)  # fmt: skip
def test_a_missing_column_is_named(centre: str, column: str) -> None:
    table, name = column.split(".")
    with changed(centre, f"ALTER TABLE {table} DROP COLUMN {name}"):
        assert told(centre) == f"conversions cannot be attributed: there is no column {column}; add {column}"
    assert told(centre) == ""


@pytest.mark.parametrize(
    ("column", "kind", "wanted"),
    [
        ("call_sessions.user_id", "text", "an integer"),
        ("call_sessions.agent_id", "uuid", "integer or bigint"),
        ("call_sessions.talk_time_seconds", "interval", "an integer"),
        ("call_sessions.started_at", "timestamp with time zone", "timestamp without time zone, in UTC"),
        ("call_sessions.ended_at", "date", "timestamp without time zone, in UTC"),
        ("conversions.primary_agent_id", "smallint", "integer or bigint"),
        ("conversions.contributing_agents", "integer[]", "json or jsonb"),
    ],
)
def test_a_wrong_type_is_named_with_what_would_do(centre: str, column: str, kind: str, wanted: str) -> None:
    table, name = column.split(".")
    with changed(centre, f"ALTER TABLE {table} DROP COLUMN {name}, ADD COLUMN {name} {kind}"):
        assert told(centre) == (
            f"conversions cannot be attributed: {column} is {kind} where it must be {wanted};"
            f" change the type of {column}"
        )


def test_everything_that_is_wrong_is_said_in_one_sentence(centre: str) -> None:
    with changed(centre, "ALTER TABLE call_sessions DROP COLUMN ended_at, ALTER COLUMN agent_id TYPE text"):
        assert told(centre) == (
            "conversions cannot be attributed: there is no column call_sessions.ended_at, call_sessions.agent_id is"
            " text where it must be integer or bigint; add call_sessions.ended_at,"
            " change the type of call_sessions.agent_id"
        )


def test_a_domain_is_as_good_as_its_type(centre: str) -> None:
    run(centre, "CREATE DOMAIN agent AS int")
    run(centre, "CREATE DOMAIN lead_agent AS agent")
    with changed(centre, "ALTER TABLE call_sessions ALTER COLUMN agent_id TYPE lead_agent"):
        assert told(centre) == ""


def test_a_missing_right_is_told_with_the_statement_that_gives_it(centre: str) -> None:
    role = f"least_{uuid4().hex[:12]}"
    owner = urlsplit(centre)
    url = owner._replace(netloc=f"{role}:least@{owner.hostname}:{owner.port}").geturl()
    grants = {
        f"GRANT SELECT ON call_sessions TO {role}",
        f"GRANT UPDATE (primary_agent_id, contributing_agents) ON conversions TO {role}",
        f"GRANT SELECT ON conversions TO {role}",
    }
    run(centre, f"CREATE ROLE {role} LOGIN PASSWORD 'least'")
    try:
        assert told(url) == "", "without any right it is others' work"
        for missing in sorted(grants):
            for grant in grants - {missing}:
                run(centre, grant)
            assert told(url) == f"{role} may not attribute conversions; {missing}"
            run(centre, missing)
            assert told(url) == ""
            run(centre, f"DROP OWNED BY {role}")
    finally:
        run(centre, f"DROP OWNED BY {role}")
        run(centre, f"DROP ROLE {role}")


def test_without_calls_nothing_is_said(centre: str) -> None:
    with changed(centre, "DROP TABLE call_sessions"):
        assert told(centre) == ""


def test_setup_says_it_and_goes_well_all_the_same() -> None:
    with ReaderWorld("mysql") as world:
        world.setup()
        run(world.postgres_url, SESSIONS)
        assert world.consumer("setup").stderr == ""
        run(world.postgres_url, "ALTER TABLE call_sessions DROP COLUMN talk_time_seconds")
        done = world.consumer("setup")
        assert (done.returncode, done.stdout) == (0, "everything is set up already; nothing changed\n")
        assert done.stderr == (
            "setup went well, but conversions cannot be attributed: there is no column call_sessions.talk_time_seconds;"
            " add call_sessions.talk_time_seconds\n"
        )
        with psycopg.connect(world.postgres_url, autocommit=True) as connection:
            connection.execute("DROP TABLE call_sessions")
        assert world.consumer("setup").stderr == ""
