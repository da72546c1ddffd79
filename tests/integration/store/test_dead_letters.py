"""The table of dead letters: what a batch writes there, for how long it is kept, and who finds what."""

from __future__ import annotations

import pytest

from consumer.leads.outcome import Outcome
from consumer.store import dead_letters
from consumer.store.connection import open_session
from consumer.store.dead_letters import (
    KEPT_BYTES,
    LONGEST_BYTES,
    Content,
    DeadLetter,
    Expired,
    NoSuchDeadLetter,
    dead_letter,
)
from consumer.store.errors import LaneTaken
from consumer.store.lanes import LaneMove
from consumer.store.leads import LeadStore

pytestmark = pytest.mark.servers


def letter(offset: int, value: bytes | None = b"?", key: bytes | None = b"5", user_id: int | None = 5) -> DeadLetter:
    return dead_letter("ls.users", 0, offset, "undecodable", "no\0 JSON", user_id, Content(key, value))


def write(store: LeadStore, *letters: DeadLetter) -> tuple[int, int]:
    """One batch; how many letters were new, and how many unresolved ones were dropped."""
    with store.transaction() as tx:
        tx.write(Outcome())
        tx.set_aside(letters)
    return tx.dead_letters_added, tx.dead_letters_expired


def test_a_message_is_kept_once_with_its_bytes_however_often_it_is_met(store: LeadStore, database: str) -> None:
    assert write(store, letter(7, b"\xff\0", None), letter(8, None)) == (2, 0)
    assert write(store, letter(7, b"\xff\0", None), letter(9)) == (1, 0)
    with open_session(database, "a test") as session:
        found = dead_letters.unresolved(session, 10)
        assert [(one.offset, one.detail, one.user_id, one.size) for one in found] == [
            (7, "no\ufffd JSON", 5, 2), (8, "no\ufffd JSON", 5, 1), (9, "no\ufffd JSON", 5, 2)
        ]  # fmt: skip
        assert dead_letters.content(session, found[0].number) == (None, b"\xff\0")
        assert dead_letters.content(session, found[1].number) == (b"5", None)
        assert dead_letters.counts(session) == {"undecodable": 3}


def test_a_message_of_a_topic_created_anew_is_another_one_though_its_offset_was_given_out_before(
    store: LeadStore,
) -> None:
    assert write(store, letter(7, b"old"), letter(7, b"new")) == (2, 0)


def test_what_was_resolved_stays_so_when_it_is_met_again(store: LeadStore, database: str) -> None:
    write(store, letter(7))
    with open_session(database, "a test") as session:
        dead_letters.resolve(session, dead_letters.choose(session, None), "discarded")
    assert write(store, letter(7)) == (0, 0)
    with open_session(database, "a test") as session:
        assert dead_letters.unresolved(session, 10) == []
        with pytest.raises(NoSuchDeadLetter, match="no unresolved dead letter 1; see"):
            dead_letters.choose(session, [1])


@pytest.mark.timeout(600)  # psycopg and PostgreSQL would wait for each other for ever
def test_a_batch_that_is_larger_than_what_sockets_hold_is_committed(store: LeadStore) -> None:
    letters = [letter(offset, bytes(LONGEST_BYTES - 1)) for offset in range(3)]
    assert write(store, *letters) == (3, 0)


def test_a_batch_that_is_not_committed_leaves_no_dead_letter(store: LeadStore, database: str) -> None:
    def batch() -> None:
        with store.transaction() as tx:
            tx.take([LaneMove(0, 1, 99, 100, 1, {}, "somebody")])
            tx.set_aside([letter(7)])

    with pytest.raises(LaneTaken):
        batch()
    with open_session(database, "a test") as session:
        assert dead_letters.counts(session) == {}


def test_dead_letters_of_a_certain_age_are_dropped_and_those_are_counted_that_nobody_had_resolved(
    database: str,
) -> None:
    with LeadStore(database, 4, False, "stream", 30) as store:
        write(store, *(letter(offset) for offset in range(4)))
        with open_session(database, "a test") as session:
            dead_letters.resolve(session, dead_letters.choose(session, [1]), "discarded")
            session.execute("UPDATE leadstream.dead_letters SET set_aside_at = now() - interval '31 days' WHERE id < 4")
        assert write(store, letter(9)) == (1, 2)
    with open_session(database, "a test") as session:
        assert [one.offset for one in dead_letters.unresolved(session, 10)] == [3, 9]


def test_old_dead_letters_are_dropped_in_portions_the_oldest_first_and_no_other_session_waits(
    store: LeadStore, database: str
) -> None:
    write(store, *(letter(offset) for offset in range(5)))
    age = "UPDATE leadstream.dead_letters SET set_aside_at = now() - make_interval(days => 31 + id::int) WHERE id < 5"
    with open_session(database, "a test", autocommit=True) as session, open_session(database, "another") as other:
        session.execute(age)
        dead_letters.resolve(session, dead_letters.choose(session, [3]), "discarded")
        dead_letters.choose(other, [1])
        portions = [dead_letters.expire(session, 30, 2) for _ in range(3)]
        assert portions == [Expired(2, 1), Expired(1, 1), Expired(0, 0)]
        assert [one.number for one in dead_letters.unresolved(session, 10)] == [1, 5]
        other.rollback()
        assert dead_letters.expire(session, 30, 2) == Expired(1, 1)


def test_of_a_message_that_is_too_long_the_first_bytes_are_kept(store: LeadStore, database: str) -> None:
    write(store, letter(7, b"x" * (LONGEST_BYTES - 1)), letter(8, b"x" * LONGEST_BYTES))
    with open_session(database, "a test") as session:
        whole, cut = dead_letters.unresolved(session, 10)
        assert (whole.size, cut.size) == (LONGEST_BYTES, LONGEST_BYTES + 1)
        assert cut.detail.endswith(f"; of {LONGEST_BYTES + 1} bytes the first {KEPT_BYTES} are kept")
        lengths = [
            len(content.value or b"") for one in (whole, cut) if (content := dead_letters.content(session, one.number))
        ]
    assert lengths == [LONGEST_BYTES - 1, KEPT_BYTES - 1]


def test_a_retry_reads_leads_live_and_leaves_what_names_nobody(store: LeadStore, database: str) -> None:
    write(store, letter(7), letter(8), letter(9, user_id=None))
    with store.transaction() as tx:
        assert [one.offset for one in tx.retry_dead_letters(None)] == [7, 8, 9]
    assert [(recheck.user_id, recheck.reason) for recheck in store.due_rechecks(10)] == [
        (5, "a dead letter was retried: undecodable")
    ]
    with open_session(database, "a test") as session:
        assert [one.offset for one in dead_letters.unresolved(session, 10)] == [9]
