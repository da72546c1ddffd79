"""The call centre's tables, sentence by sentence of the design's table (section 3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
import structlog

from consumer.leads.model import Conversion, ConversionType, QueueType
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules
from consumer.store.call_centre.effects import conversion_id
from consumer.store.leads import LeadStore
from consumer.store.sql import SAID_NEVER
from tests.integration.store.databases import row, rows, run
from tests.integration.store.replayer import LANES, Replayer, claim, requirement, user
from tests.support.company_tables import key

SCORE = "SELECT current_queue_type, is_active, current_score, last_reset_date FROM user_call_scores WHERE user_id = %s"
QUEUE = "SELECT queue_type, status FROM call_queue WHERE user_id = %s ORDER BY created_at, status"
AGENT_SET = "UPDATE user_call_scores SET current_score = 70, total_attempts = 3, last_call_at = %s WHERE user_id = %s"
ENTRY = "INSERT INTO call_queue (id, user_id, queue_type, updated_at) VALUES (gen_random_uuid(), 1, %s::text, now())"
SECOND = 1_000_000
CALLED = datetime(2023, 11, 14, 9, 30)
"""UTC, as all of their columns."""


def when(micros: int) -> datetime:
    """µs since 1970 as the call centre's columns have it."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(tzinfo=None, microsecond=micros % 1_000_000)


def test_first_sight_inserts_a_score_of_zero(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    assert row(database, SCORE, 1) == ("unsigned_users", True, 0, None)


def test_first_sight_in_none_is_inactive_and_queued_nowhere(replayer: Replayer, database: str) -> None:
    replayer.register(1, signature="file-1")
    assert row(database, SCORE, 1) == ("none", False, 0, None)
    assert rows(database, QUEUE, 1) == []


def test_first_sight_puts_only_queue_and_activity_right_where_a_row_exists(replayer: Replayer, database: str) -> None:
    run(
        database,
        "INSERT INTO user_call_scores (id, user_id, current_score, total_attempts, successful_calls, last_outcome,"
        " current_queue_type, is_active, last_reset_date, last_call_at, updated_at)"
        " VALUES (gen_random_uuid(), 1, 44, 5, 2, 'busy', NULL, false, %s, %s, now())",
        CALLED,
        CALLED,
    )
    before = row(database, "SELECT id, created_at FROM user_call_scores")
    replayer.register(1)
    assert row(database, SCORE, 1) == ("unsigned_users", True, 44, CALLED)
    kept = "SELECT total_attempts, successful_calls, last_outcome, last_call_at FROM user_call_scores"
    assert row(database, kept) == (5, 2, "busy", CALLED)
    assert row(database, "SELECT id, created_at FROM user_call_scores") == before


def test_entering_a_queue_resets_the_score_and_dates_it(replayer: Replayer, database: str) -> None:
    replayer.register(1, signature="file-1")
    run(database, AGENT_SET, CALLED, 1)
    replayer.commit(1, [(None, requirement(1, 10))])
    assert row(database, SCORE, 1) == ("requirements_outstanding", True, 0, when(replayer.now))
    assert row(database, "SELECT total_attempts, last_call_at FROM user_call_scores") == (3, CALLED)


def test_leaving_for_none_makes_inactive_and_keeps_the_score(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    run(database, AGENT_SET, CALLED, 1)
    replayer.sign(1)
    assert row(database, SCORE, 1) == ("none", False, 70, None)


def test_a_score_that_others_deleted_is_created_again(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    run(database, "DELETE FROM call_queue")
    run(database, "DELETE FROM user_call_scores")
    replayer.commit(1, [(user(1), user(1, "file-1")), (None, requirement(1, 10))])
    assert row(database, SCORE, 1) == ("requirements_outstanding", True, 0, when(replayer.now))
    assert rows(database, QUEUE, 1) == [("requirements_outstanding", "pending")]
    assert row(database, "SELECT final_score, total_call_attempts, last_call_at FROM conversions") == (0, 0, None)


def test_what_another_program_wrote_into_the_queue_type_is_overwritten_and_loses_no_conversion(
    replayer: Replayer, database: str
) -> None:
    replayer.register(1)
    run(database, "UPDATE user_call_scores SET current_queue_type = NULL")
    replayer.sign(1)
    assert row(database, SCORE, 1)[:2] == ("none", False)
    assert row(database, "SELECT previous_queue_type FROM conversions") == ("unsigned_users",)


def test_a_signature_is_one_conversion_with_score_attempts_and_last_call_as_they_were(
    replayer: Replayer, database: str
) -> None:
    replayer.register(1)
    run(database, AGENT_SET, CALLED, 1)
    tx = replayer.commit(1, [(user(1), user(1, "file-1")), (None, requirement(1, 10))])
    assert (tx.conversions_added, tx.conversions_there) == (1, 0)
    found = row(
        database,
        "SELECT id, user_id, previous_queue_type, conversion_type, conversion_reason, final_score, total_call_attempts,"
        " last_call_at, converted_at, documents_received, signature_obtained, requirements_met FROM conversions",
    )
    assert found == (
        conversion_id(1, ConversionType.SIGNATURE_OBTAINED, replayer.now), 1,
        "unsigned_users", "signature_obtained", "signature obtained", 70, 3, CALLED,
        when(replayer.now), ["file-1"], True, None,
    )  # fmt: skip
    assert row(database, SCORE, 1)[2] == 0


def test_settled_requirements_are_one_conversion_that_names_them(replayer: Replayer, database: str) -> None:
    replayer.register(1, "file-1")
    replayer.commit(1, [(None, requirement(1, 10)), (None, requirement(1, 11))])
    replayer.commit(1, [(requirement(1, 11), requirement(1, 11, "approved"))])
    tx = replayer.commit(1, [(requirement(1, 10), requirement(1, 10, "approved"))])
    assert (tx.conversions_added, tx.conversions_there) == (1, 0)
    found = row(
        database,
        "SELECT previous_queue_type, conversion_type, conversion_reason, documents_received, signature_obtained,"
        " requirements_met, converted_at FROM conversions",
    )
    assert found == (
        "requirements_outstanding", "requirements_completed", "2 requirements settled", None, False,
        sorted([key(10), key(11)]),
        when(replayer.now),
    )  # fmt: skip


def test_columns_that_are_not_ours_keep_their_defaults(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    replayer.sign(1)
    theirs = "SELECT primary_agent_id, contributing_agents, claim_value, estimated_commission FROM conversions"
    assert row(database, theirs) == (None, None, None, None)


def test_a_conversion_after_a_reset_in_the_same_batch_has_a_score_of_zero(replayer: Replayer, database: str) -> None:
    replayer.register(1, "file-1")
    run(database, AGENT_SET, CALLED, 1)
    replayer.commit(1, [(None, requirement(1, 10))], [(requirement(1, 10), requirement(1, 10, "approved"))])
    assert row(database, "SELECT final_score, total_call_attempts FROM conversions") == (0, 3)


def test_a_conversion_that_is_there_already_stays_and_is_reported(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    run(
        database,
        "INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at, primary_agent_id)"
        " VALUES (%s, 1, 'unsigned_users', 'signature_obtained', now(), 17)",
        conversion_id(1, ConversionType.SIGNATURE_OBTAINED, replayer.now + SECOND),
    )
    tx = replayer.sign(1)
    assert (tx.conversions_added, tx.conversions_there) == (0, 1)
    assert row(database, "SELECT primary_agent_id FROM conversions") == (17,)


def test_an_id_that_is_there_with_other_content_is_an_error_that_is_told(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    taken = conversion_id(1, ConversionType.SIGNATURE_OBTAINED, replayer.now + SECOND)
    run(
        database,
        "INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at)"
        " VALUES (%s, 2, 'unsigned_users', 'signature_obtained', %s)",
        taken,
        when(replayer.now + SECOND),
    )
    with structlog.testing.capture_logs() as logs:
        replayer.sign(1)
    assert [(line["event"], line["conversion_ids"]) for line in logs] == [("conversion_id_taken", [str(taken)])]
    assert row(database, "SELECT user_id FROM conversions") == (2,)


def test_a_history_replayed_into_a_schema_that_was_restored_doubles_nothing_and_resets_nothing(
    replayer: Replayer, database: str
) -> None:
    def history(replayer: Replayer) -> None:
        replayer.register(1)
        replayer.sign(1)
        replayer.commit(1, [(None, requirement(1, 10))])

    history(replayer)
    run(database, AGENT_SET, CALLED, 1)
    before = row(database, SCORE, 1), rows(database, "SELECT * FROM conversions")
    for table in ("leads", "claims", "requirements", "stints"):
        run(database, f"DELETE FROM leadstream.{table}")
    history(Replayer(replayer.store))
    assert (row(database, SCORE, 1), rows(database, "SELECT * FROM conversions")) == before


def test_a_conversion_is_recorded_though_our_schema_counts_stints_anew(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    replayer.sign(1)
    for table in ("leads", "claims", "requirements", "stints"):
        run(database, f"DELETE FROM leadstream.{table}")
    replayer.commit(1, [(None, user(1)), (None, claim(1, 1))])
    tx = replayer.sign(1, "file-2")
    assert (tx.conversions_added, tx.conversions_there) == (1, 0)


@pytest.mark.parametrize("outcome", ["kündigung", "KÜNDIGUNG", " Kündigung "])
def test_who_must_not_be_called_is_known_where_postgresql_lowers_ascii_alone(database: str, outcome: str) -> None:
    never = list(Rules(RuleFile(never=("Kündigung",))).never)
    said = f'SELECT {SAID_NEVER} FROM (SELECT %(outcome)s::text COLLATE "C" AS last_outcome) AS score'
    with psycopg.connect(database) as connection:
        assert connection.execute(said.encode(), {"never": never, "outcome": outcome}).fetchone() == (True,)
        assert connection.execute(said.encode(), {"never": never, "outcome": "gekündigt"}).fetchone() == (False,)


def test_a_signature_that_was_paid_at_another_moment_is_not_paid_again_by_a_history_that_is_replayed(
    replayer: Replayer, database: str
) -> None:
    """A recheck dated it before our schema was restored, because PostgreSQL had refused the customer until then."""
    replayer.register(1)
    run(
        database,
        "INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at, documents_received)"
        " VALUES (gen_random_uuid(), 1, 'unsigned_users', 'signature_obtained', %s, '[\"file-1\"]')",
        when(replayer.now + 9 * SECOND),
    )
    tx = replayer.sign(1)
    assert (tx.conversions_added, tx.conversions_there) == (0, 1)
    earned = "SELECT conversion_type, paid_before FROM leadstream.stints WHERE user_id = 1 AND number = %s"
    assert row(database, earned, 1) == ("signature_obtained", True)
    replayer.commit(1, [(user(1, "file-1"), user(1))])
    tx = replayer.sign(1, "file-2")
    assert (tx.conversions_added, tx.conversions_there) == (1, 0)
    assert row(database, earned, 3) == ("signature_obtained", None)


def test_documents_that_were_paid_at_another_moment_are_not_paid_again_by_a_history_that_is_replayed(
    replayer: Replayer, database: str
) -> None:
    replayer.register(1, signature="file-1")
    replayer.commit(1, [(None, requirement(1, 10))])
    run(
        database,
        "INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at, requirements_met)"
        " VALUES (gen_random_uuid(), 1, 'requirements_outstanding', 'requirements_completed', %s, %s)",
        when(replayer.now + 9 * SECOND),
        json.dumps([key(10)]),
    )
    tx = replayer.commit(1, [(requirement(1, 10), requirement(1, 10, "approved"))])
    assert (tx.conversions_added, tx.conversions_there) == (0, 1)
    replayer.now += 60 * SECOND
    replayer.commit(1, [(None, requirement(1, 11))])
    tx = replayer.commit(1, [(requirement(1, 11), requirement(1, 11, "approved"))])
    assert (tx.conversions_added, tx.conversions_there) == (1, 0)


def test_the_database_refuses_a_second_conversion_for_one_signature_file(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    replayer.sign(1)
    with pytest.raises(psycopg.errors.UniqueViolation, match="stints_one_conversion_per_signature"):
        run(
            database,
            "INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at,"
            " conversion_type, signature)"
            " VALUES (1, 9, 'unsigned_users', now(), 'x', now(), 'signature_obtained', 'file-1')",
        )


def test_entering_a_queue_adds_one_pending_entry(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    found = row(database, "SELECT user_id, queue_type, status, queue_reason, priority_score FROM call_queue")
    assert found == (1, "unsigned_users", "pending", "first_seen", 0)


def test_a_pending_entry_that_is_there_is_not_doubled(replayer: Replayer, database: str) -> None:
    run(database, "INSERT INTO user_call_scores (id, user_id, updated_at) VALUES (gen_random_uuid(), 1, now())")
    run(database, ENTRY, "unsigned_users")
    replayer.register(1)
    assert rows(database, QUEUE, 1) == [("unsigned_users", "pending")]


def test_leaving_closes_the_pending_entries_of_that_queue_only(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    run(database, ENTRY, "unsigned_users")
    run(database, ENTRY, "callbacks")
    replayer.commit(1, [(user(1), user(1, "file-1")), (None, requirement(1, 10))])
    assert sorted(rows(database, QUEUE, 1)) == [
        ("callbacks", "pending"),
        ("requirements_outstanding", "pending"),
        ("unsigned_users", "closed"),
        ("unsigned_users", "closed"),
    ]


@pytest.mark.parametrize("status", ["assigned", "in_progress", "completed", "closed"])
def test_an_entry_in_any_other_status_is_the_agents_and_left_alone(
    replayer: Replayer, database: str, status: str
) -> None:
    replayer.register(1)
    taken = "UPDATE call_queue SET status = %s, assigned_to_agent_id = 7, updated_at = %s, callback_id = %s"
    callback = uuid4()
    run(
        database,
        "INSERT INTO callbacks (id, user_id, scheduled_for, updated_at) VALUES (%s, 1, %s, now())",
        callback,
        CALLED,
    )
    run(database, taken, status, CALLED, callback)
    before = rows(database, "SELECT * FROM call_queue")
    replayer.sign(1)
    assert rows(database, "SELECT * FROM call_queue") == before


def test_leaving_and_coming_back_in_one_batch_closes_the_old_entry_and_adds_a_new_one(
    replayer: Replayer, database: str
) -> None:
    replayer.register(1)
    run(database, AGENT_SET, CALLED, 1)
    open_, cancelled = claim(1, 1), claim(1, 1, "cancelled")
    replayer.commit(1, [(open_, cancelled)], [(cancelled, open_)])
    assert sorted(rows(database, QUEUE, 1)) == [("unsigned_users", "closed"), ("unsigned_users", "pending")]
    assert row(database, SCORE, 1) == ("unsigned_users", True, 0, when(replayer.now))


def test_a_queue_visited_within_one_batch_leaves_no_entry(replayer: Replayer, database: str) -> None:
    replayer.register(1, "file-1")
    replayer.commit(1, [(None, requirement(1, 10))], [(requirement(1, 10), requirement(1, 10, "approved"))])
    assert rows(database, QUEUE, 1) == []
    assert row(database, SCORE, 1)[:3] == ("none", False, 0)


def test_a_deleted_customer_leaves_the_queue_but_not_the_history(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    replayer.commit(1, [(user(1), None)])
    assert row(database, SCORE, 1)[:2] == ("none", False)
    assert rows(database, QUEUE, 1) == [("unsigned_users", "closed")]
    assert rows(database, "SELECT count(*) FROM conversions") == [(0,)]


def test_times_are_utc_whatever_zone_the_address_asks_for(database: str) -> None:
    with LeadStore(f"{database}?options=-c%20TimeZone%3DAsia/Tokyo", LANES, shadow=False, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        replayer.sign(1)
    assert row(database, "SELECT converted_at FROM conversions") == (when(replayer.now),)
    for table in ("user_call_scores", "call_queue"):
        age = (
            f"SELECT now() AT TIME ZONE 'utc' - created_at < interval '1 minute', updated_at >= created_at FROM {table}"
        )
        assert row(database, age) == (True, True)


def test_shadow_mode_leaves_the_call_centres_tables_alone(database: str) -> None:
    with LeadStore(database, LANES, shadow=True, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        tx = replayer.sign(1)
    assert (tx.conversions_added, tx.conversions_there) == (0, 0)
    for table in ("user_call_scores", "conversions", "call_queue"):
        assert rows(database, f"SELECT * FROM {table}") == []
    assert rows(database, "SELECT number, queue_type, conversion_type FROM leadstream.stints ORDER BY 1") == [
        (1, "unsigned_users", "signature_obtained"),
        (2, "none", None),
    ]


def test_many_conversions_in_one_outcome_each_find_their_own_score(store: LeadStore, database: str) -> None:
    replayer = Replayer(store)
    for user_id in (1, 2, 3):
        replayer.register(user_id)
        run(database, "UPDATE user_call_scores SET current_score = %s WHERE user_id = %s", user_id * 10, user_id)
    outcome = Outcome()
    kind, began = ConversionType.SIGNATURE_OBTAINED, {2: replayer.now - 1}
    outcome.conversions = [
        Conversion(user_id, 1, QueueType.UNSIGNED_USERS, kind, replayer.now, "f", (), began.get(user_id))
        for user_id in (3, 1, 2)
    ]
    with store.transaction() as tx:
        tx.load([1, 2, 3])
        tx.write(outcome)
    assert rows(database, "SELECT user_id, final_score FROM conversions ORDER BY 1") == [(1, 10), (2, 0), (3, 30)]
