"""A constraint or trigger of the call centre's own refuses one lead: that one is set aside, the others go through."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from consumer.applier import bisect
from consumer.applier.applier import apply
from consumer.applier.batches import Batch, LaneBatch
from consumer.lane import lane_of
from consumer.leads.model import Change, Table, UserRow
from consumer.store.errors import TransactionConflict
from consumer.store.leads import LeadStore
from tests.integration.applier.world import ApplierWorld, claim, live, requirement, user

pytestmark = pytest.mark.servers

CHECK = "ALTER TABLE user_call_scores ADD CONSTRAINT not_this_one CHECK (user_id NOT IN (7, 31))"
KEY = """
CREATE TABLE customers (id bigint PRIMARY KEY);
INSERT INTO customers SELECT n FROM generate_series(1, 60) AS n WHERE n NOT IN (7, 31);
ALTER TABLE user_call_scores ADD CONSTRAINT not_this_one FOREIGN KEY (user_id) REFERENCES customers
"""
RAISED = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.user_id IN (7, 31) THEN RAISE ''secret'' USING ERRCODE = ''{code}''; END IF; RETURN NEW; END';
CREATE TRIGGER refuse BEFORE INSERT ON user_call_scores FOR EACH ROW EXECUTE FUNCTION refuse()
"""
BROKEN = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.user_id IN (7, 31) THEN NEW.next_call_after = (SELECT {gone}); END IF; RETURN NEW; END';
CREATE TRIGGER refuse BEFORE INSERT ON user_call_scores FOR EACH ROW EXECUTE FUNCTION refuse()
"""
POLICY = """
ALTER TABLE user_call_scores ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON user_call_scores USING (true) WITH CHECK (user_id NOT IN (7, 31));
GRANT INSERT, UPDATE ON user_call_scores, conversions, call_queue TO {role}
"""
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.user_id = 7 THEN RAISE EXCEPTION ''customer 7 is secret''; END IF; RETURN NEW; END';
CREATE TRIGGER refuse BEFORE INSERT ON conversions FOR EACH ROW EXECUTE FUNCTION refuse()
"""
TOGETHER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF (SELECT count(*) FROM added WHERE user_id IN (7, 34)) > 1 THEN RAISE ''too many''; END IF;
     RETURN NULL; END';
CREATE TRIGGER refuse AFTER INSERT ON user_call_scores REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""


@pytest.fixture
def agent(world: ApplierWorld) -> Iterator[str]:
    """A role that may read everything, and write our tables."""
    role = f"agent_{world.name}"
    with world.connect() as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'agent' IN ROLE pg_read_all_data".encode())
        connection.execute(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA leadstream TO {role}".encode())
    yield role
    with world.connect() as connection:
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())


def as_role(world: ApplierWorld, role: str) -> str:
    """The database's URL for a role."""
    parts = urlsplit(world.postgres_url)
    return parts._replace(netloc=f"{role}:agent@{parts.hostname}:{parts.port}").geturl()


def sixty(world: ApplierWorld, **environment: str) -> None:
    """Sixty whole lives at once, of which PostgreSQL refuses those of customers 7 and 31."""
    live(world.scribe, range(1, 61), together=60)
    process = world.applier(**environment)
    world.drain()
    assert world.value("SELECT count(*) FROM conversions") == 2 * 58
    assert world.query("SELECT user_id FROM leadstream.leads WHERE stint = 0 ORDER BY user_id") == [(7,), (31,)]
    assert world.value("SELECT count(*) FROM leadstream.claims") == 60
    assert process.poll() is None
    assert "secret" not in world.lines()


def registrations(world: ApplierWorld, users: int) -> Batch:
    """The first batch of all lanes: so many users register."""
    changes: list[list[Change]] = [[] for _ in range(world.lanes)]
    for n in range(1, users + 1):
        row = UserRow(n, None, True)
        changes[lane_of(n, world.lanes)].append(Change(n, Table.USERS, None, row, n, n, last=True))
    parts = [
        LaneBatch(
            lane, 1, 1, len(some) + 1, 0, some[-1].version, {}, some,
            frozenset(change.user_id for change in some), False, 0, (), {},
        )
        for lane, some in enumerate(changes)
    ]  # fmt: skip
    return Batch(1, parts, users)


def reasons(world: ApplierWorld) -> list[tuple[int, str]]:
    """Who was set aside, and why."""
    return world.query("SELECT user_id, reason FROM leadstream.rechecks ORDER BY user_id")


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [(CHECK, "23514"), (KEY, "23503"), (f"{KEY.rstrip()} DEFERRABLE INITIALLY DEFERRED", "23503")],
)
def test_leads_that_a_constraint_refuses_are_set_aside_and_the_lane_goes_on(
    world: ApplierWorld, constraint: str, reason: str
) -> None:
    with world.connect() as connection:
        connection.execute(constraint.encode())
    sixty(world)
    reason = f"PostgreSQL refused it with {reason} (user_call_scores, not_this_one)"
    assert reasons(world) == [(7, reason), (31, reason)]


@pytest.mark.parametrize(
    ("trigger", "code"),
    [
        (RAISED.format(code="45000"), "45000"),
        (RAISED.format(code="53100"), "53100"),
        (BROKEN.format(gone="dropped FROM conversions"), "42703"),
        (BROKEN.format(gone="now() FROM dropped"), "42P01"),
    ],
    ids=["a code of its own", "the code of an outage", "a column that was dropped", "a table that was dropped"],
)
def test_leads_that_a_trigger_refuses_with_any_code_are_set_aside_and_the_lane_goes_on(
    world: ApplierWorld, trigger: str, code: str
) -> None:
    with world.connect() as connection:
        connection.execute(trigger.encode())
    sixty(world)
    reason = f"PostgreSQL refused it with {code} (in refuse)"
    assert reasons(world) == [(7, reason), (31, reason)]


def test_leads_that_a_row_security_policy_refuses_are_set_aside_and_the_lane_goes_on(
    world: ApplierWorld, agent: str
) -> None:
    with world.connect() as connection:
        connection.execute(POLICY.format(role=agent).encode())
    sixty(world, DATABASE_URL=as_role(world, agent))
    reason = "PostgreSQL refused it with 42501 (user_call_scores)"
    assert reasons(world) == [(7, reason), (31, reason)]


def test_a_privilege_taken_away_stops_the_applier_instead_of_setting_everybody_aside(
    world: ApplierWorld, agent: str
) -> None:
    tables = "user_call_scores, conversions, call_queue"
    with world.connect() as connection:
        connection.execute(f"GRANT INSERT, UPDATE ON {tables} TO {agent}".encode())
    process = world.applier(DATABASE_URL=as_role(world, agent))
    live(world.scribe, range(1, 2), together=1)
    world.drain()
    with world.connect() as connection:
        connection.execute(f"REVOKE INSERT ON user_call_scores FROM {agent}".encode())
    live(world.scribe, range(2, 4), together=2)
    world.until(lambda: process.poll() is not None)
    assert "permission denied for table user_call_scores" in world.lines()
    assert reasons(world) == []
    assert not world.applied()


def test_however_many_leads_are_refused_only_they_are_set_aside(world: ApplierWorld) -> None:
    with world.connect() as connection:
        connection.execute("ALTER TABLE user_call_scores ADD CHECK (user_id % 4 <> 0)")
    with world.scribe as scribe:
        for number in range(1, 201):
            scribe.transaction(("users", None, user(number), number))
    world.applier()
    world.drain()
    assert world.query("SELECT user_id FROM leadstream.rechecks ORDER BY 1") == [(n,) for n in range(4, 201, 4)]
    assert world.value("SELECT count(*) FROM user_call_scores") == 150


def test_leads_that_are_refused_only_together_are_set_aside_together(world: ApplierWorld) -> None:
    assert lane_of(7, world.lanes) == lane_of(34, world.lanes), "else they may come in two batches"
    with world.connect() as connection:
        connection.execute(TOGETHER)
    with world.scribe as scribe:
        for number in range(1, 41):
            scribe.transaction(("users", None, user(number), number))
    process = world.applier()
    world.drain()
    assert {(7,), (34,)} <= set(world.query("SELECT user_id FROM leadstream.rechecks"))
    assert process.poll() is None


def test_a_refused_lead_that_only_an_orphan_leads_to_is_set_aside(world: ApplierWorld) -> None:
    world.applier()
    asked = {number: requirement(number, number) for number in range(1, 11)}
    with world.scribe as scribe:
        for number, row in asked.items():
            scribe.transaction(("users", None, user(number, number), number))
            scribe.transaction(("claims", None, claim(number, number), number))
            scribe.transaction(("claim_requirements", None, row, number))
    world.drain()
    with world.connect() as connection:
        connection.execute(TRIGGER)
    with world.scribe as scribe:
        for row in asked.values():
            scribe.transaction(("claim_requirements", row, {**row, "status": "approved"}, None))
    world.drain()
    assert world.query("SELECT user_id FROM conversions ORDER BY 1") == [(n,) for n in asked if n != 7]
    assert reasons(world) == [(7, "PostgreSQL refused it with P0001 (in refuse)")]


def test_a_trigger_that_raises_later_leaves_the_lead_unjudged_until_its_recheck(world: ApplierWorld) -> None:
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


def test_where_too_many_are_refused_to_tell_apart_small_groups_of_suspects_are_set_aside(
    world: ApplierWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bisect, "TRIALS", 20)
    with world.connect() as connection:
        connection.execute("ALTER TABLE user_call_scores ADD CHECK (user_id > 16)")
    with LeadStore(world.postgres_url, world.lanes, shadow=False, source="stream") as store:
        apply(registrations(world, 64), store)
    aside = {user_id for user_id, _ in reasons(world)}
    through = {user_id for (user_id,) in world.query("SELECT user_id FROM user_call_scores")}
    assert set(range(1, 17)) <= aside
    assert set(range(33, 65)) <= through
    assert (aside | through, aside & through) == (set(range(1, 65)), set())


def test_a_search_for_refused_leads_ends_when_its_batch_is_not_wanted_any_longer(world: ApplierWorld) -> None:
    with world.connect() as connection:
        connection.execute("ALTER TABLE user_call_scores ADD CHECK (user_id <> 1)")
    with (
        LeadStore(world.postgres_url, world.lanes, shadow=False, source="stream") as store,
        pytest.raises(TransactionConflict, match="not looked for any longer"),
    ):
        apply(registrations(world, 64), store, lambda: False)
    assert world.value("SELECT max(next_seq) FROM leadstream.lanes") == 1
    assert reasons(world) == []
