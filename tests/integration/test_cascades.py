"""What foreign keys do to claims and requirements reaches PostgreSQL, whether or not the server's binlog tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.reader.world import ReaderWorld
from tests.support.company_tables import key
from tests.support.waiting import until

pytestmark = pytest.mark.servers

USERS = range(1, 6)


def foreign_keys(action: str) -> tuple[str, ...]:
    """Foreign keys that do the same when a row goes and when its number changes."""
    does = f"ON DELETE {action} ON UPDATE {action}"
    return (
        "ALTER TABLE claims MODIFY user_id BIGINT UNSIGNED NULL",
        "ALTER TABLE claim_requirements MODIFY claim_id BIGINT UNSIGNED NULL",
        f"ALTER TABLE claims ADD FOREIGN KEY (user_id) REFERENCES users (id) {does}",
        f"ALTER TABLE claim_requirements ADD FOREIGN KEY (claim_id) REFERENCES claims (id) {does}",
    )


@pytest.fixture(params=["mysql", "mariadb"])
def world(request: pytest.FixtureRequest) -> Iterator[ReaderWorld]:
    """A company on each kind of server."""
    with ReaderWorld(request.param) as ready:
        yield ready


def held(world: ReaderWorld) -> dict[str, list[tuple[Any, ...]]]:
    """What we hold: users that exist, claims with their user, requirements with their user and claim."""
    statements = {
        "users": "SELECT user_id FROM leadstream.leads WHERE present ORDER BY 1",
        "claims": "SELECT id, user_id FROM leadstream.claims ORDER BY 1",
        "requirements": "SELECT id, user_id, claim_id FROM leadstream.requirements ORDER BY 1",
    }
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return {name: connection.execute(sql.encode()).fetchall() for name, sql in statements.items()}


def there(world: ReaderWorld) -> dict[str, list[tuple[Any, ...]]]:
    """The same at the company: what belongs to a user."""
    statements = {
        "users": "SELECT id FROM users ORDER BY 1",
        "claims": "SELECT CAST(id AS CHAR), user_id FROM claims WHERE user_id IS NOT NULL ORDER BY 1",
        "requirements": "SELECT r.id, c.user_id, CAST(c.id AS CHAR)"
        " FROM claim_requirements r JOIN claims c ON c.id = r.claim_id WHERE c.user_id IS NOT NULL ORDER BY 1",
    }
    with world.connection() as connection, connection.cursor() as cursor:
        found = {}
        for name, sql in statements.items():
            cursor.execute(sql)
            found[name] = list(cursor.fetchall())
        return found


def until_read(condition: Callable[[], bool], what: str, world: ReaderWorld) -> None:
    """Waits for a condition, processing what is to be read live."""

    def came() -> bool:
        if condition():
            return True
        assert world.reconciler("run", "rechecks").returncode == 0
        return False

    until(came, what, seen=lambda: f"we hold {held(world)}, there is {there(world)}", pause=0.3)


def stints(world: ReaderWorld, user_id: int) -> list[tuple[str, str, str | None]]:
    """Queue, why it opened and why it closed."""
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT queue_type, opened_reason, closed_reason FROM leadstream.stints WHERE user_id = %s ORDER BY number",
            (user_id,),
        ).fetchall()


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_claims_and_requirements_go_where_the_foreign_keys_put_them(world: ReaderWorld, action: str) -> None:
    world.execute(*foreign_keys(action))
    with world.pipeline():
        world.transaction(
            *(f"INSERT INTO users (id, current_signature_file_id) VALUES ({n}, {n})" for n in USERS),
            *(f"INSERT INTO claims (id, user_id, status) VALUES ({n}0, {n}, 'open')" for n in USERS),
            *(
                f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(n)}', {n}0, 'pending')"
                for n in USERS
            ),
        )
        until_read(lambda: held(world) == there(world), "we held what is there", world)
        assert len(held(world)["requirements"]) == 5
        world.execute(
            "DELETE FROM users WHERE id = 1",
            "DELETE FROM claims WHERE id = 20",
            "UPDATE users SET id = 33 WHERE id = 3",
            f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(31)}', 30, 'pending')",
            "UPDATE claims SET id = 44 WHERE id = 40",
            "DELETE FROM users WHERE id = 5",
            "INSERT INTO users (id) VALUES (5)",
        )
        until_read(lambda: held(world) == there(world) and bool(stints(world, 33)), "we held what is there", world)
        verified = world.reconciler("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        outstanding = "requirements_outstanding"
        assert stints(world, 1) == [(outstanding, "first_seen", "user_deleted"), ("none", "user_deleted", None)]
        assert stints(world, 2)[0] == (outstanding, "first_seen", "requirements_withdrawn")
        assert stints(world, 33)[-1][0] == (outstanding if action == "CASCADE" else "none")
        with psycopg.connect(world.postgres_url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM conversions").fetchone() == (0,)
