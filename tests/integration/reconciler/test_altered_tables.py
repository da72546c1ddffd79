"""Columns that nobody judges by go, change their names and come back under a reconciler that keeps running."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.leads.model import Table, UserRow
from consumer.mysql.errors import PreconditionFailed
from reconciler import replica as replica_module
from reconciler.names import SWEEPS
from reconciler.replica import ReplicaReads
from tests.integration.reconciler.serving import serving
from tests.integration.reconciler.world import ReconcilerWorld

GOES = {
    "renamed": "ALTER TABLE {table} RENAME COLUMN {column} TO {column}_was",
    "dropped": "ALTER TABLE {table} DROP COLUMN {column}",
}
QUESTIONS: dict[str, Callable[[ReplicaReads], object]] = {
    "read_users": lambda replica: replica.read_users(iter([1, 2])),
    "fingerprints": lambda replica: replica.fingerprints(0, 10),
    "checksums": lambda replica: replica.checksums([1, 2]),
    "created": lambda replica: list(replica.created(Table.USERS, 0, 1)),
}


def company(world: ReconcilerWorld) -> None:
    for user_id in (1, 2):
        world.user(user_id, signature=user_id)
        world.claim(10 * user_id, user_id)
        world.requirement(100 * user_id, 10 * user_id)


@pytest.mark.parametrize("how", GOES)
def test_a_session_that_knew_a_column_does_without_it_when_it_has_gone(world: ReconcilerWorld, how: str) -> None:
    company(world)
    replica = world.replica()
    for table, column in (
        ("users", "updated_at"), ("claims", "updated_at"), ("claim_requirements", "created_at"),
        ("claim_requirements", "claim_requirement_reason"), ("users", "is_enabled"),
    ):  # fmt: skip
        replica.present()
        world.sql(GOES[how].format(table=table, column=column))
        for ask in QUESTIONS.values():
            ask(replica)
            replica.present()
    leads = replica.read_users(iter([1, 2])).leads
    assert {user_id: lead.user for user_id, lead in leads.items()} == {
        1: UserRow(1, "1", True),
        2: UserRow(2, "2", True),
    }


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_put_anew_after_the_tables_changed(mysql_world: ReconcilerWorld, name: str) -> None:
    company(mysql_world)
    replica = mysql_world.replica()
    before = QUESTIONS[name](replica)
    mysql_world.sql("ALTER TABLE users DROP COLUMN updated_at, DROP COLUMN is_enabled")
    mysql_world.sql("ALTER TABLE claim_requirements DROP COLUMN updated_at, DROP COLUMN claim_requirement_reason")
    after = QUESTIONS[name](replica)
    if name != "read_users":  # whose clock moves on
        assert after == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE claims RENAME COLUMN status TO state", r"claims on .* has no column status that we may read"),
        ("ALTER TABLE users DROP COLUMN current_signature_file_id", "has no column current_signature_file_id"),
        ("ALTER TABLE claims RENAME COLUMN user_id TO owner_id", "has no column user_id that we may read"),
        ("DROP TABLE claim_requirements", "there is no table claim_requirements"),
    ],
)
def test_what_leads_are_judged_by_is_missed_and_never_taken_for_empty(
    mysql_world: ReconcilerWorld, statement: str, said: str
) -> None:
    company(mysql_world)
    replica = mysql_world.replica()
    replica.present()
    mysql_world.sql(statement)
    for session in (replica, mysql_world.replica()):
        with pytest.raises(PreconditionFailed, match=said):
            session.read_users([1])


@pytest.mark.parametrize(
    "kind", ["CHAR(1) DEFAULT 'Y'", "ENUM('N','Y') DEFAULT 'Y'", "SET('0','1') DEFAULT '1'", "FLOAT"]
)
def test_a_switch_that_is_no_number_is_never_guessed(world: ReconcilerWorld, kind: str) -> None:
    world.sql(f"ALTER TABLE users DROP COLUMN is_enabled, ADD COLUMN is_enabled {kind}")
    with pytest.raises(PreconditionFailed, match=r"users\.is_enabled on .* which cannot be read exactly"):
        world.replica().read_users([1])


def test_a_column_that_comes_back_is_seen_without_a_restart(
    mysql_world: ReconcilerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql_world.user(1)
    mysql_world.sql("ALTER TABLE users DROP COLUMN is_enabled")
    replica = mysql_world.replica()
    monkeypatch.setattr(replica_module, "SCHEMA_SECONDS", 0.0)
    replica.present()
    mysql_world.sql("ALTER TABLE users ADD COLUMN is_enabled TINYINT(1) NOT NULL DEFAULT 0")
    assert replica.read_users([1]).leads[1].user == UserRow(1, None, False)


def test_a_time_that_is_no_time_is_done_without(world: ReconcilerWorld) -> None:
    world.user(1)
    world.sql("ALTER TABLE users DROP COLUMN updated_at, ADD COLUMN updated_at INT DEFAULT 1714521600")
    world.sql("ALTER TABLE users DROP COLUMN created_at, ADD COLUMN created_at VARCHAR(20) DEFAULT 'yesterday'")
    replica = world.replica()
    live = replica.read_users([1]).leads[1]
    assert live.created_at == {(Table.USERS, 1): None}
    with pytest.raises(PreconditionFailed, match=r"users on .* has no created_at that is a time"):
        list(replica.created(Table.USERS, 0, 10))


@pytest.mark.parametrize("how", GOES)
def test_serve_answers_from_the_replica_whatever_informative_column_goes(
    mysql_world: ReconcilerWorld, how: str
) -> None:
    company(mysql_world)
    mysql_world.backfill()
    with serving(mysql_world) as served:

        def source() -> str:
            answer = served.get("/leads/1/precall", expected="requirements_outstanding").json()
            return f"{answer['source']} {answer['queue_type']}"

        def first_sweeps_ended() -> bool:
            return all(f'"run": "{name}", "outcome"' in served.process.text() for name in SWEEPS)

        # one of new customers fails, as it should, where users.created_at goes under way
        served.process.until(first_sweeps_ended, "its first sweeps had ended")
        assert source() == "replica requirements_outstanding"
        for table, column in (("claims", "updated_at"), ("users", "updated_at"), ("users", "created_at")):
            mysql_world.sql(GOES[how].format(table=table, column=column))
            assert source() == "replica requirements_outstanding"
    assert '"level": "error"' not in served.process.text()
