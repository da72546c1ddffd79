"""A pooler between us and PostgreSQL: one of sessions is as good as none, one of transactions is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from consumer.commands.adoption import session
from consumer.commands.explain import explanation
from consumer.doctor import postgres, postgres_facts, rules
from consumer.doctor.check import State
from consumer.settings import DatabaseSettings, ReplicaSettings
from consumer.store import pooler
from consumer.store.connection import connect, open_session
from consumer.store.errors import NotPrepared
from consumer.store.leads import LeadStore
from consumer.store.pooler import Pooling
from consumer.store.schema.raise_lanes import refuse_unless_drained, relane
from consumer.store.schema.setup import prepare
from reconciler.postgres import Postgres
from tests.integration.store.databases import rows
from tests.integration.store.replayer import LANES, Replayer
from tests.servers.pooler import pgbouncer, why_not

pytestmark = [
    pytest.mark.servers,
    # PgBouncer is Debian's: where it is neither there nor can be installed, `why_not` says why
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
SET_BY_US = ("enable_seqscan", "enable_hashjoin", "synchronous_commit", "lock_timeout", "jit", "TimeZone")
REFUSED = r"which is a pooler that pools transactions, .*; set pool_mode = session"


@pytest.fixture(scope="module")
def transactions(two_databases: tuple[str, str]) -> Iterator[str]:
    with pgbouncer(two_databases[0], "transaction") as url:
        yield url


@pytest.fixture(scope="module")
def sessions(two_databases: tuple[str, str]) -> Iterator[str]:
    with pgbouncer(two_databases[0], "session", servers=10) as url:
        yield url


@pytest.fixture(scope="module")
def statements(two_databases: tuple[str, str]) -> Iterator[str]:
    with pgbouncer(two_databases[0], "statement") as url:
        yield url


def settings(url: str) -> list[tuple[str, ...]]:
    """What is set in each of the pooler's connections to the server."""
    with ExitStack() as stack:
        found = []
        for _ in range(3):
            connection = stack.enter_context(closing(psycopg.connect(url)))
            row = connection.execute(
                "SELECT " + ", ".join(f"current_setting('{name}')" for name in SET_BY_US)
            ).fetchone()
            assert row is not None
            found.append(row)
        return found


def _postgres(url: str) -> object:
    with closing(Postgres(url)) as book:
        return book.lanes()


def _store(url: str) -> object:
    with LeadStore(url, LANES, shadow=False, source="stream") as store:
        return store.lanes([0])


def _explain(url: str) -> object:
    replica = ReplicaSettings(replica_database_url="mysql://me:secret@127.0.0.1:1/nothing")  # type: ignore[arg-type]
    return explanation(1, replica, DatabaseSettings(database_url=url))  # type: ignore[arg-type]


def _rules(url: str) -> object:
    with session(url) as connection:
        return connection.execute("SELECT 1").fetchone()


WAYS_IN: dict[str, Callable[[str], object]] = {
    "an applier": lambda url: connect(url, "leadstream stream"),
    "a store": _store,
    "setup": lambda url: prepare(url, LANES, 1),
    "the reconciler": _postgres,
    "lanes raised": lambda url: relane(url, 1, [1] * LANES, 1, LANES + 1),
    "lanes looked at": lambda url: refuse_unless_drained(url, 1, [1] * LANES, LANES + 1),
    "explain": _explain,
    "rules": _rules,
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_pooler_of_transactions_is_refused_before_anything_is_set(transactions: str, database: str, way: str) -> None:
    plain = settings(database)
    with pytest.raises(NotPrepared, match=REFUSED):
        WAYS_IN[way](transactions)
    assert settings(transactions) == plain, "what we set has reached somebody else's session"


def test_it_is_refused_while_others_use_it_too(transactions: str) -> None:
    with closing(psycopg.connect(transactions)) as other:
        other.execute("SELECT 1")
        with pytest.raises(NotPrepared, match=REFUSED):
            open_session(transactions, "leadstream stream")


def test_a_pooler_of_statements_is_refused_by_name(statements: str) -> None:
    with pytest.raises(NotPrepared, match=r"which is a pooler that pools statements, so no transaction can be made"):
        open_session(statements, "leadstream stream")


def test_a_pooler_of_sessions_does_as_well_as_none(sessions: str, database: str) -> None:
    with LeadStore(sessions, LANES, shadow=False, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        replayer.sign(1)
    assert rows(database, "SELECT conversion_type FROM conversions") == [("signature_obtained",)]
    with closing(Postgres(sessions)) as book:
        assert book.lane_count() == LANES


def test_who_pools_sessions_and_has_none_left_for_a_probe_is_given_the_benefit(database: str) -> None:
    with pgbouncer(database, "session", servers=1) as url, closing(open_session(url, "leadstream stream")) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_an_address_is_examined_once(sessions: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (sessions, database):
        open_session(url, "leadstream stream").close()
    monkeypatch.setattr(pooler, "_backend", lambda _: pytest.fail("asked again"))
    for url in (sessions, database):
        open_session(url, "leadstream stream").close()


@pytest.mark.parametrize(
    ("mode", "found", "state"),
    [
        ("transactions", Pooling.TRANSACTIONS, State.FAILED),
        ("statements", Pooling.STATEMENTS, State.FAILED),
        ("sessions", Pooling.SESSIONS, State.OK),
        ("database", Pooling.NONE, State.OK),
    ],
)
def test_the_doctor_says_what_is_between(
    request: pytest.FixtureRequest, database: str, mode: str, found: Pooling, state: State
) -> None:
    url = request.getfixturevalue(mode)
    plain = settings(database)
    facts = postgres_facts.collect(url, 10)
    assert facts.pooling is found
    assert (postgres_facts.first_seen(url, 10), rules.mentioned(url, 10)) == ({}, frozenset())
    lanes = [] if mode in ("transactions", "statements") else list(range(LANES))
    assert list(postgres_facts.points(url, 10)) == lanes
    checks = {check.name: check for check in postgres.judge(facts, LANES, shadow=False)}
    assert checks["pooler"].state is state
    assert checks["pooler"].sentence.endswith(found.value)
    if mode in ("transactions", "statements"):
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            row = connection.execute("SELECT current_setting('statement_timeout')").fetchone()
        assert row == ("0",)
    if mode == "transactions":
        assert settings(url) == plain
