"""What of PostgreSQL's errors speaks of a row, and what of the server, of others at work, or of our own statements."""

from __future__ import annotations

import psycopg
import pytest

from consumer.store.connection import classified
from consumer.store.errors import NotPrepared, StoreError, StoreUnavailable
from consumer.store.leads import LeadStore
from consumer.store.refusal import is_refusal, reason_of
from consumer.store.schema.setup import prepare
from tests.integration.store.databases import run
from tests.integration.store.replayer import LANES, Replayer

FUNCTION = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON user_call_scores FOR EACH ROW EXECUTE FUNCTION refuse()
"""
INSERT = "INSERT INTO user_call_scores (id, user_id, updated_at) VALUES (gen_random_uuid(), 8911, now())"


def raised(database: str, prelude: str, statement: str) -> Exception:
    """What a statement raises after others, all in a transaction that is undone."""
    with psycopg.connect(database) as connection:
        connection.execute(prelude.encode())
        try:
            with classified(database):
                connection.execute(statement.encode())
        except (psycopg.Error, StoreError) as error:
            connection.rollback()
            return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("prelude", "reason"),
    [
        (FUNCTION.format(body="RAISE 'customer %', NEW.user_id"), "P0001 (in refuse)"),
        (FUNCTION.format(body="RAISE 'customer %', NEW.user_id USING ERRCODE = '45000'"), "45000 (in refuse)"),
        (FUNCTION.format(body="RAISE SQLSTATE '40001'"), "40001 (in refuse)"),
        (FUNCTION.format(body="NEW.user_id = 1 / (NEW.user_id - 8911)"), "22012 (in refuse)"),
        (FUNCTION.format(body="PERFORM gone FROM conversions"), "42703 (in refuse)"),
        (FUNCTION.format(body="PERFORM 1 FROM gone"), "42P01 (in refuse)"),
        (FUNCTION.format(body="PERFORM gone()"), "42883 (in refuse)"),
        (FUNCTION.format(body="NEW.gone = 1"), "42703 (in refuse)"),
        ("ALTER TABLE user_call_scores ADD CONSTRAINT k CHECK (user_id < 9)", "23514 (user_call_scores, k)"),
        (
            "CREATE TABLE public.leads (id bigint PRIMARY KEY); INSERT INTO public.leads VALUES (8911);"
            + FUNCTION.format(body="INSERT INTO public.leads VALUES (NEW.user_id)"),
            "23505 (leads, leads_pkey, in refuse)",
        ),
    ],
)  # fmt: skip
def test_what_a_constraint_or_a_trigger_raises_is_a_refusal_that_names_it_and_nothing_of_the_row(
    database: str, prelude: str, reason: str
) -> None:
    error = raised(database, prelude, INSERT)
    assert isinstance(error, psycopg.Error)
    assert is_refusal(error)
    assert reason_of(error) == f"PostgreSQL refused it with {reason}"


@pytest.mark.parametrize(
    ("prelude", "statement", "kind"),
    [
        (FUNCTION.format(body="PERFORM pg_sleep(60)") + "; SET statement_timeout = '20ms'", INSERT, StoreUnavailable),
        ("SET TRANSACTION READ ONLY", INSERT, StoreUnavailable),
        ("SELECT 1", "SELECT gone FROM leadstream.leads", NotPrepared),
        ("SELECT 1", "SELECT 1 FROM leadstream.gone", NotPrepared),
        ("SET LOCAL ROLE pg_monitor", "SELECT 1 FROM conversions", NotPrepared),
    ],
)  # fmt: skip
def test_what_the_server_or_our_own_statements_raise_is_no_refusal(
    database: str, prelude: str, statement: str, kind: type[StoreError]
) -> None:
    error = raised(database, prelude, statement)
    assert isinstance(error, kind)
    assert isinstance(error.__cause__, psycopg.Error)
    assert not is_refusal(error.__cause__)


def test_a_column_of_another_type_than_ours_is_no_refusal_of_a_row(database: str) -> None:
    error = raised(database, "SELECT 1", "INSERT INTO conversions (user_id) VALUES ('{}'::json)")
    assert isinstance(error, NotPrepared)
    assert isinstance(error.__cause__, psycopg.errors.DatatypeMismatch)
    assert not is_refusal(error.__cause__)


@pytest.mark.parametrize(
    ("alteration", "reason"),
    [
        (
            "ALTER TABLE user_call_scores ALTER COLUMN current_queue_type TYPE varchar(5)",
            "22001 (a value too long for character varying(5): user_call_scores.current_queue_type)",
        ),
        (
            "ALTER TABLE call_queue ALTER COLUMN queue_type TYPE varchar(6), ALTER COLUMN queue_reason TYPE varchar(6)",
            "22001 (a value too long for character varying(6): call_queue.queue_type or call_queue.queue_reason)",
        ),
        (
            "ALTER TABLE user_call_scores ALTER COLUMN user_id TYPE smallint",
            "22003 (a value out of range for smallint: user_call_scores.user_id)",
        ),
        (
            "ALTER TABLE user_call_scores ALTER COLUMN last_reset_date SET NOT NULL",
            "23502 (user_call_scores.last_reset_date timestamp without time zone)",
        ),
        (
            "ALTER TABLE call_queue ADD CONSTRAINT known CHECK (queue_type = 'other')",
            "23514 (call_queue, known)",
        ),
        (
            "CREATE DOMAIN queue_name AS text CHECK (VALUE <> 'unsigned_users');"
            " ALTER TABLE call_queue ALTER COLUMN queue_type TYPE queue_name",
            "23514 (queue_name, queue_name_check)",
        ),
    ],
)
def test_what_the_call_centres_columns_refuse_is_named_with_column_and_type_and_nothing_of_the_row(
    empty: str, alteration: str, reason: str
) -> None:
    prepare(empty, LANES, 1)
    run(empty, "ALTER TABLE call_queue DROP CONSTRAINT call_queue_user_id_fkey")
    run(empty, alteration)
    with LeadStore(empty, LANES, shadow=False, source="stream") as store:
        with pytest.raises(psycopg.Error) as caught:
            Replayer(store).register(123_456)
        assert is_refusal(caught.value)
        assert reason_of(caught.value) == f"PostgreSQL refused it with {reason}"
        assert store.lanes([0])[0].next_seq == 1, "the session goes on"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT 'secret: type x'::uuid", "22P02 (a value that is no uuid)"),
        ("SELECT 'value too long for type secret(1)'::int", "22P02 (a value that is no integer)"),
        ("SELECT 'secret'::mood", "22P02 (a value that is no mood)"),
        ("SELECT 'secret'::timestamp", "22007 (a value that is no timestamp)"),
        ("SELECT 1e10::numeric(3, 1)", "22003 (a value out of range for numeric)"),
        ("SELECT 1 / 0", "22012"),
    ],
)
def test_of_a_value_only_the_type_is_reported(database: str, statement: str, reason: str) -> None:
    error = raised(database, "CREATE TYPE mood AS ENUM ('good')", statement)
    assert isinstance(error, psycopg.Error)
    assert reason_of(error) == f"PostgreSQL refused it with {reason}"
