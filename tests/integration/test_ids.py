"""Ids from the server to the call centre: users whom no bigint holds or at zero and below, documents on no claim."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.integration.reader.world import ReaderWorld
from tests.integration.test_cascades import held, there, until_read, world
from tests.support.company_tables import key

__all__ = ["world"]

pytestmark = pytest.mark.servers

UNHELD = 2**63
LAST = 2**64 - 1
CUSTOMERS = range(1, 31)


def asked(world: ReaderWorld, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a statement at the call centre."""
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def won(world: ReaderWorld) -> list[tuple[int, str]]:
    """(user, type) of every conversion."""
    return asked(world, "SELECT user_id, conversion_type FROM conversions ORDER BY user_id, converted_at")


def report_of(world: ReaderWorld, *arguments: str) -> dict[str, Any]:
    """What `reconciler … --json` reports of its one run, which ends well."""
    done = world.reconciler(*arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)
    return dict(report)


def test_each_change_of_a_user_whom_no_bigint_holds_is_a_dead_letter_and_everybody_else_is_served(
    world: ReaderWorld,
) -> None:
    with world.pipeline() as applier:
        world.execute(
            f"INSERT INTO users (id) VALUES {', '.join(f'({n})' for n in CUSTOMERS)}, ({UNHELD}), ({LAST})",
            f"INSERT INTO claims (id, user_id, status) VALUES (90, {UNHELD}, 'open')",
            f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(900)}', 90, 'PENDING')",
            *(
                f"UPDATE users SET current_signature_file_id = 'file-{n}' WHERE id = {n}"
                for n in (*CUSTOMERS, UNHELD, LAST)
            ),
            f"DELETE FROM users WHERE id = {LAST}",
        )
        until_read(lambda: len(won(world)) == len(CUSTOMERS), "everybody had signed", world)
    assert won(world) == [(n, "signature_obtained") for n in CUSTOMERS]
    letters = json.loads(world.consumer("dead-letters", "list", "--json").stdout)
    assert len(letters) == 7, letters
    listed = world.consumer("dead-letters", "list").stdout
    assert all(letter["topic"] in listed for letter in letters), "nothing is cut off for a program"
    assert {letter["reason"] for letter in letters} == {"undecodable"}
    assert {letter["user_id"] for letter in letters} == {None}
    assert "numbers_lost" not in applier.text()
    assert asked(world, "SELECT * FROM leadstream.rechecks") == []
    for arguments in (["verify"], ["backfill"], ["run", "new-users"], ["run", "new-requirements"]):
        report = report_of(world, *arguments)
        assert (report["outcome"], report["unheld"], report["drift"]) == ("ok", 1, {}), report
        assert "whose id is 2^63 or more" in report["error"]
    assert report_of(world, "verify")["checked"] == len(CUSTOMERS)


def test_users_with_ids_of_zero_and_below_are_served_like_any_other(world: ReaderWorld) -> None:
    world.execute("ALTER TABLE users MODIFY id BIGINT NOT NULL", "ALTER TABLE claims MODIFY user_id BIGINT NOT NULL")
    before = "NOW() - INTERVAL 1 HOUR"  # there was a stream, in which somebody new might come
    world.execute(f"INSERT INTO users (id, created_at) VALUES (0, {before}), (-5, {before}), (7, {before})")
    with world.pipeline():
        report = report_of(world, "backfill")
        assert report["first_seen"] == 3, report
        world.execute(
            "INSERT INTO users (id, current_signature_file_id) VALUES (-6, 'file')",
            "INSERT INTO claims (id, user_id, status) VALUES (60, -6, 'open'), (10, 0, 'open')",
            f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(600)}', 60, 'PENDING')",
        )
        until_read(lambda: held(world) == there(world), "we held what is there", world)
        world.execute(
            "UPDATE users SET current_signature_file_id = 'n' WHERE id IN (-5, 0)",
            f"UPDATE claim_requirements SET status = 'approved' WHERE id = '{key(600)}'",
        )
        expected = [(-6, "requirements_completed"), (-5, "signature_obtained"), (0, "signature_obtained")]
        until_read(lambda: won(world) == expected, f"there was {expected}", world)
    assert report_of(world, "verify")["in_step"] == 4
    explained = world.consumer("explain", "--", "-5")
    assert explained.returncode == 0, explained.stderr
    assert "User -5 is in no queue" in explained.stdout


def test_a_document_on_no_claim_is_nobodys_until_it_is_put_on_one(world: ReaderWorld) -> None:
    world.execute("ALTER TABLE claim_requirements MODIFY claim_id BIGINT UNSIGNED NULL")
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id, current_signature_file_id) VALUES (1, 'file')",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(100)}', NULL, 'PENDING')",
            f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(101)}', NULL, 'PENDING')",
            f"UPDATE claim_requirements SET claim_id = 10 WHERE id = '{key(100)}'",
        )
        until_read(lambda: held(world)["requirements"] == [(key(100), 1, "10")], "it was the claim's", world)
        world.execute(
            f"DELETE FROM claim_requirements WHERE id = '{key(101)}'",
            f"UPDATE claim_requirements SET claim_id = NULL WHERE id = '{key(100)}'",
        )
        until_read(lambda: held(world)["requirements"] == [], "it was nobody's", world)
    assert world.consumer("dead-letters", "list").stdout == "no dead letters\n"
    assert won(world) == []
    assert report_of(world, "verify")["in_step"] == 1


def test_documents_whose_ids_differ_in_nul_alone_are_two_and_each_is_found_again(world: ReaderWorld) -> None:
    """No text of PostgreSQL holds NUL: under another one, what comes next would not find its row."""
    world.execute(
        "ALTER TABLE claim_requirements MODIFY id CHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    )
    ids = "'ab'", "CONCAT('a', CHAR(0 USING utf8mb4), 'b')", "CONCAT('a', _utf8mb4 0xEFBFBD, 'b')"
    with world.pipeline():
        world.execute(
            "INSERT INTO users (id, current_signature_file_id) VALUES (1, 'file')",
            "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
            *(f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ({one}, 10, 'PENDING')" for one in ids),
        )
        until_read(lambda: len(held(world)["requirements"]) == len(ids), "we held all of them", world)
        assert report_of(world, "verify")["in_step"] == 1
        world.execute(f"DELETE FROM claim_requirements WHERE id = {ids[0]}")
        until_read(lambda: len(held(world)["requirements"]) == len(ids) - 1, "one was gone", world)
        world.execute(*(f"UPDATE claim_requirements SET status = 'approved' WHERE id = {one}" for one in ids[1:]))
        until_read(lambda: won(world) == [(1, "requirements_completed")], "the customer had handed in all", world)
    assert asked(world, "SELECT DISTINCT status FROM leadstream.requirements") == [("approved",)]
    assert report_of(world, "verify")["in_step"] == 1
    assert world.consumer("dead-letters", "list").stdout == "no dead letters\n"
