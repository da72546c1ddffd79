"""What of PostgreSQL's errors speaks of a row, and what of the server, of others at work, or of our own statements."""

from __future__ import annotations

import psycopg
import pytest

from consumer.store.connection import classified
from consumer.store.errors import NotPrepared, StoreError, StoreUnavailable
from consumer.store.refusal import is_refusal, reason_of

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


def test_a_statement_of_ours_that_does_not_fit_is_no_refusal(database: str) -> None:
    error = raised(database, "SELECT 1", "INSERT INTO conversions (user_id) VALUES ('{}'::json)")
    assert isinstance(error, psycopg.errors.DatatypeMismatch)
    assert not is_refusal(error)
