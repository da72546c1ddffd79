"""Ids as the company has them: users at both ends of a bigint, documents whose ids say nothing of their age."""

from __future__ import annotations

import pytest

from consumer.leads.model import Table
from tests.integration.reconciler.world import ReconcilerWorld
from tests.support.company_tables import key

UNHELD = 2**63
LAST = 2**64 - 1


def signed_ids(world: ReconcilerWorld) -> None:
    """The company's users have signed ids."""
    world.sql("ALTER TABLE claims DROP FOREIGN KEY claims_user_id_foreign")
    world.sql("ALTER TABLE users MODIFY id BIGINT NOT NULL")
    world.sql("ALTER TABLE claims MODIFY user_id BIGINT NOT NULL")


def some_beyond(world: ReconcilerWorld) -> None:
    """Users 1 to 3, and two whom no bigint holds, one of them with a claim and a document; all of them new."""
    for user_id in (1, 2, 3, UNHELD, LAST):
        world.user(user_id, signature=5 if user_id in (3, LAST) else None, ago=60)
    world.claim(30, 3)
    world.requirement(300, 30, ago=60)
    world.claim(90, LAST)
    world.requirement(900, 90, ago=60)


HELD = {1: "unsigned_users", 2: "unsigned_users", 3: "requirements_outstanding"}


def test_a_backfill_takes_everybody_whom_a_bigint_holds_and_reports_how_many_it_does_not(
    world: ReconcilerWorld,
) -> None:
    some_beyond(world)
    report = world.backfill(batch_size=2)
    assert (report.outcome, report.tally.first_seen, report.tally.unheld) == ("ok", 3, 2)
    assert "2 users whose id is 2^63 or more" in (report.error or "")
    assert world.queues() == HELD


def test_a_verify_compares_everybody_whom_a_bigint_holds_and_reports_how_many_it_does_not(
    world: ReconcilerWorld,
) -> None:
    some_beyond(world)
    world.backfill()
    world.age_everything()
    world.sql("UPDATE users SET current_signature_file_id = 'f' WHERE id IN (2, %s)", UNHELD)
    report = world.verify(range_users=2)
    assert (report.outcome, report.tally.checked, report.tally.unheld) == ("drift", 3, 2)
    assert report.tally.drift == {"signature": 1}
    repaired = world.verify(repair=True)
    assert (repaired.outcome, repaired.tally.repaired, repaired.tally.unheld) == ("ok", 1, 2)
    assert world.verify(sample=100).tally.checked == 3


@pytest.mark.parametrize("indexed", [False, True], ids=["by key", "by index"])
def test_sweeps_find_everybody_whom_a_bigint_holds_and_report_how_many_it_does_not(
    world: ReconcilerWorld, indexed: bool
) -> None:
    if indexed:
        world.sql("CREATE INDEX users_created ON users (created_at)")
    some_beyond(world)
    users = world.sweep("new-users")
    assert (users.outcome, users.tally.drift, users.tally.unheld) == ("ok", {"unknown": 3}, 2)
    assert world.queues() == HELD
    world.user(4, ago=1)
    world.age_everything()
    world.requirement(301, 30, ago=1)
    for name in ("new-users", "new-requirements"):
        report = world.sweep(name)
        assert (report.outcome, report.tally.unheld) == ("ok", 2), report.error
    assert set(world.queues()) == {1, 2, 3, 4}
    assert world.pg("SELECT count(*) FROM leadstream.requirements") == [(2,)]
    dry = world.sweep("new-users", dry_run=True)
    assert (dry.outcome, dry.tally.unheld) == ("dry-run", 2)
    assert "2 users whose id is 2^63 or more" in (dry.error or "")


def test_a_company_of_none_but_such_users_is_an_empty_one(mysql_world: ReconcilerWorld) -> None:
    world = mysql_world
    world.user(LAST, ago=60)
    for report in (world.backfill(), world.verify(), world.verify(sample=5), world.sweep("new-users")):
        assert (report.outcome, report.tally.checked, report.tally.unheld) == ("ok", 0, 1), report.error


def test_users_with_ids_of_zero_and_below_are_customers_like_any_other(world: ReconcilerWorld) -> None:
    signed_ids(world)
    for user_id in (-5, 0, 7):
        world.user(user_id, ago=7200)
        world.claim(100 + user_id, user_id)
    report = world.backfill(batch_size=2)
    assert (report.outcome, report.tally.first_seen, report.tally.unheld) == ("ok", 3, 0)
    assert world.queues() == dict.fromkeys((-5, 0, 7), "unsigned_users")
    world.age_everything()
    world.sql("UPDATE users SET current_signature_file_id = 'f' WHERE id <= 0")
    found = world.verify(range_users=1)
    assert (found.tally.checked, found.tally.drift) == (3, {"signature": 2})
    assert world.verify(sample=100).tally.checked == 3
    world.verify(repair=True)
    assert world.conversions() == [(-5, "signature_obtained"), (0, "signature_obtained")]
    assert world.verify().tally.in_step == 3


@pytest.mark.parametrize("indexed", [False, True], ids=["by key", "by index"])
def test_new_users_with_ids_of_zero_and_below_are_found(world: ReconcilerWorld, indexed: bool) -> None:
    signed_ids(world)
    if indexed:
        world.sql("CREATE INDEX users_created ON users (created_at)")
    for user_id, ago in ((-900, 90_000), (-30, 7200), (-5, 60), (0, 60)):
        world.user(user_id, ago=ago)
    assert world.sweep("new-users").tally.drift == {"unknown": 2}
    assert world.queues() == {-5: "unsigned_users", 0: "unsigned_users"}


@pytest.mark.parametrize("indexed", [False, True], ids=["without index", "with index"])
def test_new_documents_are_found_however_many_are_of_one_second(
    world: ReconcilerWorld, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.runs.sweeps.PAGE", 5)
    if indexed:
        world.sql("CREATE INDEX requirements_created ON claim_requirements (created_at)")
    users = range(1, 41)
    for user_id in users:
        world.user(user_id, signature=5)
        world.claim(user_id, user_id)
    world.backfill(batch_size=100)
    world.age_everything()
    ((now,),) = world.sql("SELECT UNIX_TIMESTAMP()")

    def ago(user_id: int) -> int:
        return 60 if user_id <= 23 else 100 + user_id if user_id <= 33 else 9000

    with world.company.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)"
            " VALUES (%s, %s, 'passport', 'PENDING', FROM_UNIXTIME(%s), FROM_UNIXTIME(%s))",
            [(key(user_id), user_id, now - ago(user_id), now - ago(user_id)) for user_id in users],
        )
    report = world.sweep("new-requirements")
    assert (report.outcome, report.tally.drift) == ("ok", {"requirement_missing": 33})
    owing = {user_id for user_id, queue in world.queues().items() if queue == "requirements_outstanding"}
    assert owing == set(range(1, 34))
    assert world.sweep("new-requirements").tally.drift == {}


def test_pages_of_new_documents_end_though_one_second_has_more_of_them_than_any_page(
    mysql_world: ReconcilerWorld,
) -> None:
    world = mysql_world
    world.user(1, signature=5)
    world.claim(10, 1)
    ((now,),) = world.sql("SELECT UNIX_TIMESTAMP()")
    with world.company.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO claim_requirements (id, claim_id, created_at) VALUES (%s, 10, FROM_UNIXTIME(%s))",
            [(key(number), now - (60 if number < 50 else 0)) for number in range(60)],
        )
    replica = world.replica()
    replica.checksums([1])  # which learns how ids compare
    before = replica.queries
    pages = list(replica.created(Table.CLAIM_REQUIREMENTS, (now - 3600) * 1_000_000, 7))
    assert {user for page in pages for user in page.users} == {1}
    assert all(page.checksums == replica.checksums([1]) for page in pages)
    assert len(pages) <= 8
    assert replica.queries - before <= 16


def test_documents_on_no_claim_are_nobodys_and_nothing_stumbles_over_them(world: ReconcilerWorld) -> None:
    world.sql("ALTER TABLE claim_requirements MODIFY claim_id BIGINT UNSIGNED NULL")
    world.user(1, signature=5)
    world.claim(10, 1)
    world.requirement(100, 10, ago=60)
    world.sql(
        "INSERT INTO claim_requirements (id, claim_id, type, status, created_at)"
        " VALUES (%s, NULL, 'passport', 'PENDING', UTC_TIMESTAMP() - INTERVAL 60 SECOND)",
        key(101),
    )
    assert world.backfill().outcome == "ok"
    assert world.verify().tally.in_step == 1
    world.age_everything()
    assert world.sweep("new-requirements").tally.in_step == 1
    world.sql("UPDATE claim_requirements SET claim_id = NULL WHERE id = %s", key(100))
    assert world.verify().tally.drift == {"requirement_gone": 1}
    world.verify(repair=True)
    assert world.queues() == {1: "none"}
    assert world.conversions() == []
