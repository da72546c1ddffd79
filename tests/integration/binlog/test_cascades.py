"""What foreign keys do to rows that no statement names: logged row by row by some servers, by others not at all.

MySQL 9.6 and later executes them itself and logs them, before the row they follow from; in older ones, with
innodb_native_foreign_keys = ON, and in MariaDB they happen inside InnoDB and the binlog does not show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consumer.binlog.events import RowChange
from tests.integration.binlog.source import Source
from tests.servers import ensure


def tables(on_delete: str, on_update: str) -> tuple[str, ...]:
    """The three tables with their foreign keys, and one user who owns something of each."""
    actions = f"ON DELETE {on_delete} ON UPDATE {on_update}"
    return (
        "CREATE TABLE users (id INT PRIMARY KEY, current_signature_file_id INT)",
        "CREATE TABLE claims (id INT PRIMARY KEY, user_id INT, status VARCHAR(9),"
        f" FOREIGN KEY (user_id) REFERENCES users (id) {actions})",
        "CREATE TABLE claim_requirements (id INT PRIMARY KEY, claim_id INT, status VARCHAR(9),"
        f" FOREIGN KEY (claim_id) REFERENCES claims (id) {actions})",
        "INSERT INTO users VALUES (1, 1), (2, 2)",
        "INSERT INTO claims VALUES (10, 1, 'open'), (20, 2, 'open')",
        "INSERT INTO claim_requirements VALUES (100, 10, 'pending'), (200, 20, 'pending')",
    )


@pytest.fixture(scope="module")
def old_mysql_url() -> Iterator[str]:
    """A MySQL whose foreign keys work as those of MySQL before 9.6."""
    with ensure(["mysql"]).private_mysql(["--loose-innodb-native-foreign-keys=ON"]) as server:
        yield server.url


@pytest.fixture(params=["mysql", "mysql with native foreign keys", "mariadb"])
def keyed(request: pytest.FixtureRequest) -> Iterator[Source]:
    """A database on each kind of server, those included that do not log cascades."""
    if request.param == "mysql with native foreign keys":
        with Source(request.getfixturevalue("old_mysql_url")) as source:
            yield source
    else:
        yield request.getfixturevalue(request.param)


def logs_cascades(source: Source) -> bool:
    """Whether the server says that its foreign keys are not InnoDB's own business."""
    return [value for _, value in source.ask("SHOW VARIABLES LIKE 'innodb_native_foreign_keys'")] == ["OFF"]


def seen(source: Source) -> list[tuple[Any, ...]]:
    """Every change as (table, op, id before, whose, id after, whose)."""
    return [
        (change.table, change.op, change.before_id, change.before_ref, change.after_id, change.after_ref)
        for change in source.changes()
    ]


def run(source: Source, on_delete: str, on_update: str, *statements: str) -> None:
    """Makes the tables, begins here, and executes."""
    source.run(*tables(on_delete, on_update))
    source.start = source.here()
    source.run(*statements)


def test_a_deleted_user_takes_claims_and_requirements_along_told_or_untold(keyed: Source) -> None:
    run(keyed, "CASCADE", "CASCADE", "DELETE FROM users WHERE id = 1")
    assert keyed.ask("SELECT id FROM claims") == [(20,)]
    assert keyed.ask("SELECT id FROM claim_requirements") == [(200,)]
    cascaded = [("claims", "d", 10, 1, None, None), ("claim_requirements", "d", 100, 10, None, None)]
    changes = seen(keyed)
    assert changes[-1] == ("users", "d", 1, 1, None, None)
    assert sorted(changes[:-1]) == (sorted(cascaded) if logs_cascades(keyed) else [])


def test_a_user_with_another_number_takes_the_claims_along_told_or_untold(keyed: Source) -> None:
    run(keyed, "CASCADE", "CASCADE", "UPDATE users SET id = 5 WHERE id = 1", "UPDATE claims SET id = 50 WHERE id = 10")
    assert keyed.ask("SELECT id, user_id FROM claims ORDER BY id") == [(20, 2), (50, 5)]
    assert keyed.ask("SELECT id, claim_id FROM claim_requirements ORDER BY id") == [(100, 50), (200, 20)]
    told = logs_cascades(keyed)
    assert seen(keyed) == [
        *([("claims", "u", 10, 1, 10, 5)] if told else []),
        ("users", "u", 1, 1, 5, 5),
        *([("claim_requirements", "u", 100, 10, 100, 50)] if told else []),
        ("claims", "u", 10, 5, 50, 5),
    ]


def test_rows_that_are_set_to_null_are_told_or_untold(keyed: Source) -> None:
    run(keyed, "SET NULL", "SET NULL", "DELETE FROM users WHERE id = 1", "UPDATE claims SET id = 50 WHERE id = 20")
    assert keyed.ask("SELECT id, user_id FROM claims ORDER BY id") == [(10, None), (50, 2)]
    assert keyed.ask("SELECT id, claim_id FROM claim_requirements ORDER BY id") == [(100, 10), (200, None)]
    told = logs_cascades(keyed)
    assert seen(keyed) == [
        *([("claims", "u", 10, 1, 10, None)] if told else []),
        ("users", "d", 1, 1, None, None),
        *([("claim_requirements", "u", 200, 20, 200, None)] if told else []),
        ("claims", "u", 20, 2, 50, 2),
    ]


def test_whatever_a_replaced_user_keeps_only_the_user_is_told(keyed: Source) -> None:
    """Not even MySQL with cascades of its own logs what became of the claims: there they stay, elsewhere they go."""
    run(keyed, "CASCADE", "CASCADE", "REPLACE INTO users VALUES (1, 7)")
    changes = keyed.changes()
    assert all(isinstance(change, RowChange) and change.table == "users" for change in changes)
    assert seen(keyed) == [("users", "d", 1, 1, None, None), ("users", "c", None, None, 1, 1)]
    left = keyed.ask("SELECT id FROM claims WHERE user_id = 1")
    assert left == ([(10,)] if logs_cascades(keyed) else [])
