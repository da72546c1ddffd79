"""Claims that move, on real servers and between two appliers: history is as if there were no lanes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, Final

import psycopg
import pytest

from consumer.leads.model import NEVER
from tests.integration.reader.world import ReaderWorld
from tests.integration.test_cascades import foreign_keys
from tests.support.waiting import until
from tests.unit.applier.lanes_at_work import Firm, truth

pytestmark = pytest.mark.servers

TRANSACTIONS: Final = 700
USERS: Final = range(1, 25)
CLAIMS: Final = range(101, 141)
REQUIREMENTS: Final = range(1001, 1081)
Step = tuple[Any, ...]


@pytest.fixture(params=["mysql", "mariadb"])
def world(request: pytest.FixtureRequest) -> Iterator[ReaderWorld]:
    """A company on each kind of server."""
    with ReaderWorld(request.param) as ready:
        yield ready


def statement(name: str, *values: Any) -> str:
    """A step of the firm's in SQL."""
    said = ["NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value) for value in values]
    match name:
        case "user":
            columns, table = "id, current_signature_file_id, is_enabled", "users"
        case "claim" | "replace_claim":
            columns, table = "id, user_id, status", "claims"
        case "requirement":
            columns, table = "id, claim_id, status", "claim_requirements"
            said = [f"'r{values[0]}'", *said[1:]]
        case "replace_user":
            columns, table = "id, current_signature_file_id, is_enabled", "users"
            said = [*said, "1"]
        case "delete_user" | "delete_claim":
            return f"DELETE FROM {name[7:]}s WHERE id = {said[0]}"
        case "delete_requirement":
            return f"DELETE FROM claim_requirements WHERE id = 'r{values[0]}'"
        case _:
            return f"UPDATE {name[9:]}s SET id = {said[1]} WHERE id = {said[0]}"
    insert = f"INTO {table} ({columns}) VALUES ({', '.join(said)})"
    if name.startswith("replace"):
        return f"REPLACE {insert}"
    changed = ", ".join(f"{column} = VALUES({column})" for column in columns.split(", ")[1:])
    return f"INSERT {insert} ON DUPLICATE KEY UPDATE {changed}"


def steps(dice: Random, *, everything: bool) -> Iterator[Step]:
    """What one transaction does: mostly requirements and moves, and now and then `everything` else."""
    for _ in range(dice.randint(1, 3)):
        user, claim, requirement = dice.choice(USERS), dice.choice(CLAIMS), dice.choice(REQUIREMENTS)
        kind = dice.random()
        if kind < 0.5:
            yield "requirement", requirement, claim, dice.choice(("pending", "pending", "approved"))
        elif kind < 0.6:
            yield "user", user, dice.choice((None, "7", "8")), 1
        elif kind < 0.9 or not everything:
            yield "claim", claim, user, dice.choice(("open", "open", "open", "cancelled"))
        else:
            yield dice.choice(
                [
                    ("delete_requirement", requirement),
                    ("delete_claim", claim),
                    ("delete_user", user),
                    ("replace_claim", claim, user, "open"),
                    ("replace_user", user, "7"),
                    ("renumber_user", user, dice.choice(USERS)),
                    ("renumber_claim", claim, dice.choice(CLAIMS)),
                ]
            )


def work(world: ReaderWorld, firm: Firm, dice: Random, transactions: int, *, everything: bool) -> None:
    """Lets things happen at the firm, and the same in the company's database."""
    with world.connection() as connection, connection.cursor() as cursor:
        for _ in range(transactions):
            chosen: list[Step] = []
            checks = firm.keys != "none" or dice.random() < 0.8

            def took_place(step: Step, chosen: list[Step] = chosen) -> None:
                chosen.append(step)

            firm.transaction(list(steps(dice, everything=everything)), checks=checks, took_place=took_place)
            if chosen:
                cursor.execute(f"SET foreign_key_checks = {int(checks)}")
                cursor.execute("BEGIN")
                for step in chosen:
                    cursor.execute(statement(*step))
                cursor.execute("COMMIT")


def history(rows: Iterator[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    """Stints without their times, by user."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    for user_id, *stint in rows:
        found.setdefault(user_id, []).append(tuple(stint))
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("keys", ["keyless", "moves only", "foreign keys"])
def test_two_appliers_give_the_history_that_was(world: ReaderWorld, keys: str) -> None:
    if keys == "foreign keys":
        world.execute(*foreign_keys("CASCADE"))
    kind = "none" if keys != "foreign keys" else "logged" if world.mysql_url.startswith("mysql") else "native"
    firm, dice = Firm(kind), Random(13)
    everything = keys != "moves only"
    world.setup()
    reader = world.reader()
    for _ in range(2):
        world.applier()
    founding = [
        *(("user", number, "7", 1) for number in USERS),
        *(("claim", n, n % 20 + 1, "open") for n in CLAIMS),
    ]
    with world.connection() as connection, connection.cursor() as cursor:
        firm.transaction(founding, checks=True)
        for step in founding:
            cursor.execute(statement(*step))
    work(world, firm, dice, TRANSACTIONS // 2, everything=everything)
    assert len(waiting_beside_the_truth(world, firm)) <= (3 if everything else 0)
    reader.stop()
    world.reader()
    work(world, firm, dice, TRANSACTIONS // 2, everything=everything)
    # A reader that is new asks the replica whose claims are, which shows it as it is by then: without foreign keys, how
    # many leads have to be read live for that is a matter of this machine's speed.
    waiting = waiting_beside_the_truth(world, firm)
    assert keys == "keyless" or len(waiting) <= (3 if everything else 0)


def waiting_beside_the_truth(world: ReaderWorld, firm: Firm) -> set[int]:
    """Whose leads wait for a live read, once every lane has passed what has happened; all others have their history."""
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)")
        ((now,),) = cursor.fetchall()
    with psycopg.connect(world.postgres_url, autocommit=True) as store:
        passed = "SELECT min(version) > %s FROM leadstream.lanes"
        until(lambda: store.execute(passed, (now,)).fetchone() == (True,), "every lane had passed the changes")
        stints = store.execute(
            "SELECT user_id, number, queue_type, opened_reason, closed_reason, conversion_type, signature"
            " FROM leadstream.stints ORDER BY user_id, number"
        ).fetchall()
        waiting = {
            user_id
            for (user_id,) in store.execute(
                "SELECT user_id FROM leadstream.leads WHERE judge_after = %s", (NEVER,)
            ).fetchall()
        }
        asked = {user for (user,) in store.execute("SELECT user_id FROM leadstream.rechecks").fetchall()}
        reasons = store.execute("SELECT reason, count(*) FROM leadstream.rechecks GROUP BY 1").fetchall()
        conversions = store.execute("SELECT count(*) FROM conversions").fetchone()
    ours = history(iter(stints))
    was = history(
        (s.user_id, s.number, s.queue_type, s.opened_reason, s.closed_reason, s.conversion_type, s.signature)
        for _, s in sorted(truth(firm)[0].items())
    )
    print(
        f"{world.mysql_url[:7]}: {len(firm.snapshots)} transactions, {conversions} conversions, {waiting=}, {reasons}"
    )
    assert {user: stint for user, stint in ours.items() if user not in waiting} == {
        user: stint for user, stint in was.items() if user not in waiting
    }
    assert waiting <= asked, "whoever waits for a live read is asked to be read"
    return waiting
