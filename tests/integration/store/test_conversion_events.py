"""Conversions as events: each once and in order, whichever transaction commits first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from consumer.store import conversion_events
from consumer.store.conversion_events import Recorded
from tests.integration.store.databases import run

pytestmark = pytest.mark.servers

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ADD = """
INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason,
                               conversion_type, signature, in_shadow)
VALUES (%s, %s, 'unsigned_users', %s, 'first_seen', %s, 'signature_obtained', 'signature_obtained', %s, %s)
"""


def add(
    connection: psycopg.Connection[tuple[object, ...]],
    user_id: int,
    minute: int,
    number: int = 1,
    *,
    shadow: bool | None = False,
) -> None:
    at = BEGIN + timedelta(minutes=minute)
    connection.execute(ADD, [user_id, number, BEGIN, at, f"file-{user_id}-{number}", shadow])


def session(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url, autocommit=True)


def told(url: str, cursor: int = 0, limit: int = 100) -> list[Recorded]:
    with session(url) as connection:
        conversion_events.number(connection)
        return conversion_events.after(connection, cursor, limit)


def test_a_conversion_whose_transaction_commits_late_is_behind_what_was_told_meanwhile(database: str) -> None:
    with psycopg.connect(database) as slow, psycopg.connect(database) as quick:
        add(slow, 1, minute=1)
        add(quick, 2, minute=2)
        quick.commit()
        first = told(database)
        assert [one.user_id for one in first] == [2]
        slow.commit()
        later = told(database, first[-1].event_number)
        assert [one.user_id for one in later] == [1]
    assert told(database, later[-1].event_number) == []
    assert [one.user_id for one in told(database)] == [2, 1]


def test_two_who_give_numbers_at_once_give_each_conversion_one_and_no_number_twice(database: str) -> None:
    with session(database) as connection, psycopg.connect(database) as other:
        for user in range(1, 4):
            add(connection, user, minute=user)
        with other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s)", [conversion_events.LOCK])
            connection.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                conversion_events.number(connection)
        assert conversion_events.number(connection) == 3
        assert conversion_events.number(connection) == 0
        numbers = [one.event_number for one in conversion_events.after(connection, 0, 100)]
    assert numbers == sorted(set(numbers))


def test_pages_of_any_size_hold_every_conversion_once_and_a_customer_s_in_order(database: str) -> None:
    with session(database) as connection:
        for minute in range(30):
            add(connection, minute % 3, minute=minute, number=minute)
    cursor, seen = 0, list[tuple[int, int]]()
    while page := told(database, cursor, 7):
        seen += [(one.user_id, one.stint) for one in page]
        cursor = page[-1].event_number
    assert seen == [(minute % 3, minute) for minute in range(30)]


def test_what_was_recorded_in_shadow_mode_is_told_when_it_is_published_and_not_before(database: str) -> None:
    with session(database) as connection:
        add(connection, 1, minute=1, shadow=True)
        add(connection, 2, minute=2, shadow=None)
        add(connection, 3, minute=3)
    first = told(database)
    assert [one.user_id for one in first] == [3]
    run(database, "UPDATE leadstream.stints SET in_shadow = false WHERE user_id = 1")
    assert [one.user_id for one in told(database, first[-1].event_number)] == [1]


def test_a_database_restored_from_a_backup_gives_no_number_out_again(database: str) -> None:
    with session(database) as connection:
        add(connection, 1, minute=1)
    cursor = told(database)[-1].event_number
    run(database, "DELETE FROM leadstream.stints")  # as the backup has it
    with session(database) as connection:
        add(connection, 1, minute=1)
        add(connection, 2, minute=2)
    assert [one.user_id for one in told(database, cursor)] == [1, 2]


def test_an_event_has_the_id_that_the_call_centre_s_table_holds(database: str) -> None:
    with session(database) as connection:
        add(connection, 8911, minute=90)
    (one,) = told(database)
    assert conversion_events.as_data(one) == {
        "id": "34c8aa51-79df-51a1-b705-b24b2cdf5438",
        "user_id": 8911,
        "conversion_type": "signature_obtained",
        "previous_queue_type": "unsigned_users",
        "queued_at": "2026-03-01T00:00:00.000000Z",
        "converted_at": "2026-03-01T01:30:00.000000Z",
        "signature_file_id": "file-8911-1",
        "stint": 1,
        "cursor": str(one.event_number),
    }


def test_one_publishes_at_a_time_and_what_a_topic_holds_is_noted(database: str) -> None:
    with session(database) as first, session(database) as second:
        add(first, 1, minute=1)
        assert conversion_events.waiting(first, "t.conversions").events == 1
        assert conversion_events.take_over(first, "t.conversions")
        assert not conversion_events.take_over(second, "t.conversions")
        assert conversion_events.take_over(second, "another"), "who has another TOPIC_PREFIX waits for nobody"
        conversion_events.number(first)
        (one,) = conversion_events.after(first, conversion_events.published_up_to(first, "t.conversions"), 10)
        conversion_events.published(first, "t.conversions", one.event_number)
        assert conversion_events.waiting(first, "t.conversions") == (0, 0.0, None)
        assert conversion_events.published_up_to(first, "t.conversions") == one.event_number
        assert conversion_events.waiting(first, "another").events == 1


def test_looking_for_what_has_no_number_reads_no_stint_that_has_one(database: str) -> None:
    with session(database) as connection:
        for user in range(2000):
            add(connection, user, minute=1)
        conversion_events.number(connection)
        connection.execute("VACUUM ANALYZE leadstream.stints")
        plan = connection.execute(
            "EXPLAIN SELECT count(*) FROM leadstream.stints WHERE conversion_type IS NOT NULL"
            " AND in_shadow IS FALSE AND event_number IS NULL AND paid_before IS NOT TRUE"
        ).fetchall()
    assert any("stints_events_waiting" in str(line) for line in plan)


def test_a_conversion_that_gets_no_number_has_waited_since_it_was_seen_and_newer_ones_change_nothing(
    database: str,
) -> None:
    with session(database) as connection:
        assert conversion_events.waiting(connection, "t").since == 0.0
        add(connection, 2, minute=2)
        first = conversion_events.waiting(connection, "t")
        assert (first.events, first.since > 0.0) == (1, True)
        add(connection, 1, minute=1)  # an earlier one, recorded later
        again = conversion_events.waiting(connection, "t", first)
        assert (again.events, again.since) == (2, first.since)
        conversion_events.number(connection)
        add(connection, 3, minute=3)
        later = conversion_events.waiting(connection, "t", again)
        assert later.unnumbered is not None
        assert (later.events, later.unnumbered.user_id, later.unnumbered.since > first.since) == (3, 3, True)


def test_no_more_than_so_many_that_wait_are_counted(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion_events, "MOST_COUNTED", 5)
    with session(database) as connection:
        for user in range(1, 5):
            add(connection, user, minute=user)
        assert conversion_events.waiting(connection, "t").events == 4
        conversion_events.number(connection)
        for user in range(5, 9):
            add(connection, user, minute=user)
        waiting = conversion_events.waiting(connection, "t")
        assert (waiting.events, waiting.since > 0.0) == (5, True)


def test_what_never_gets_a_number_is_looked_at_by_nobody(database: str) -> None:
    with session(database) as connection:
        for user in range(2000):
            add(connection, user, minute=1)
        connection.execute("UPDATE leadstream.stints SET paid_before = true")
        connection.execute("VACUUM ANALYZE leadstream.stints")
        ((found,),) = connection.execute(
            "SELECT count(*) FROM leadstream.stints WHERE conversion_type IS NOT NULL AND in_shadow IS FALSE"
            " AND event_number IS NULL AND paid_before IS NOT TRUE"
        ).fetchall()
        ((held,),) = connection.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = 'leadstream.stints_events_waiting'::regclass"
        ).fetchall()
        assert (found, held) == (0, 0)
        assert conversion_events.waiting(connection, "t") == (0, 0.0, None)
