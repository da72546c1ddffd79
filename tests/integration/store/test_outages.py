"""PostgreSQL away, refusing or not prepared: which error, and what works afterwards."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from consumer.store import sql
from consumer.store.errors import NotPrepared, StoreUnavailable, TransactionConflict
from consumer.store.lanes import LaneMove
from consumer.store.leads import LeadStore
from consumer.store.schema.setup import prepare
from reconciler.postgres import Postgres
from tests.integration.store.databases import rows
from tests.integration.store.replayer import LANES, Replayer, attempt, fail
from tests.integration.store.test_leads import outcome_of, whole_lead
from tests.servers import ensure

OURS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'leadstream stream' AND datname = current_database()"""
"""Cuts the connections of stores."""
STEP = LaneMove(0, 1, 1, 9, 5, {}, "me")


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    with (
        LeadStore("postgresql://me:secret@127.0.0.1:1/calls", LANES, shadow=False, source="stream") as store,
        pytest.raises(StoreUnavailable, match=r"PostgreSQL calls on 127\.0\.0\.1:1 cannot be reached") as raised,
    ):
        store.lanes([0])
    assert "secret" not in str(raised.value)


def test_a_connection_cut_between_transactions_is_opened_again(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    rows(database, OURS)
    with pytest.raises(StoreUnavailable):
        replayer.load(1)
    assert replayer.load(1)[1].stint == 1


def test_a_connection_cut_inside_a_transaction_leaves_nothing_behind(store: LeadStore, database: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"refuses work|cannot be reached"):
        attempt(
            store,
            lambda tx: tx.take([STEP]),
            lambda tx: tx.load([1]),
            lambda _: rows(database, OURS),
            lambda tx: tx.write(outcome_of(whole_lead(1))),
        )
    assert rows(database, "SELECT * FROM leadstream.leads") == []
    assert store.lanes([0])[0].next_seq == 1


def test_a_cut_connection_does_not_hide_the_callers_own_error(store: LeadStore, database: str) -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(store, lambda tx: tx.load([1]), lambda _: rows(database, OURS), fail)
    assert store.lanes([0])[0].next_seq == 1


def test_a_lock_held_too_long_is_a_reason_to_try_again(
    replayer: Replayer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayer.register(1)
    replayer.store.close()
    monkeypatch.setattr(sql, "SESSION", sql.SESSION.replace("lock_timeout = '20s'", "lock_timeout = '50ms'"))
    with psycopg.connect(database) as other:
        other.execute("SELECT * FROM leadstream.leads FOR UPDATE")
        with pytest.raises(TransactionConflict, match="lock timeout"):
            replayer.load(1)
    assert set(replayer.load(1)) == {1}


def test_a_database_without_our_tables_names_the_way_out(empty: str) -> None:
    with (
        LeadStore(empty, LANES, shadow=False, source="stream") as store,
        pytest.raises(
            NotPrepared, match=r'relation "leadstream\.lanes" does not exist in store_.*; run `consumer setup`'
        ),
    ):
        store.lanes([0])


def test_a_database_without_the_call_centres_tables_names_the_way_out(empty: str) -> None:
    prepare(empty, LANES, 1, shadow=True)
    with (
        LeadStore(empty, LANES, shadow=False, source="stream") as store,
        pytest.raises(NotPrepared, match="user_call_scores"),
    ):
        Replayer(store).register(1)


def test_a_session_that_stays_read_only_is_opened_again(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    session = replayer.store._session()
    session.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")  # as one of a primary that was demoted
    session.commit()
    with pytest.raises(StoreUnavailable, match="read-only"):
        replayer.load(1)
    assert replayer.load(1)[1].stint == 1


def test_a_book_whose_session_stays_read_only_is_opened_again(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    write = "DELETE FROM leadstream.runs"
    with closing(Postgres(database)) as book:
        with book.session() as connection:
            connection.execute("SET default_transaction_read_only = on")  # as one of a primary that was demoted
        with pytest.raises(StoreUnavailable, match="read-only"), book.session() as connection:
            connection.execute(write)
        with book.session() as connection:
            connection.execute(write)


def test_a_read_only_server_is_unavailable(database: str) -> None:
    standby = f"{database}?options=-c%20default_transaction_read_only%3Don"
    with (
        LeadStore(standby, LANES, shadow=False, source="stream") as store,
        pytest.raises(StoreUnavailable, match="read-only"),
    ):
        attempt(store, lambda tx: tx.take([STEP]))


def test_a_server_killed_in_mid_transaction_comes_back_with_what_was_committed() -> None:
    server = ensure(["postgres"]).private_postgres()
    try:
        prepare(server.url, LANES, 1)
        with LeadStore(server.url, LANES, shadow=False, source="sweep") as store:
            replayer = Replayer(store)
            replayer.register(1)
            with pytest.raises(StoreUnavailable):
                attempt(
                    store,
                    lambda tx: tx.take([STEP]),
                    lambda tx: tx.load([2]),
                    lambda _: server.kill(),
                    lambda tx: tx.write(outcome_of(whole_lead(2))),
                )
            with pytest.raises(StoreUnavailable):
                store.lanes([0])
            server.start()
            assert store.lanes([0])[0].next_seq == 1
            assert set(replayer.load(1, 2)) == {1}
            replayer.sign(1)
        assert rows(server.url, "SELECT user_id FROM conversions") == [(1,)]
    finally:
        server.discard()
