"""Leads that have to be read live."""

from __future__ import annotations

import pytest

from consumer.lane import lane_of
from consumer.store.leads import LeadStore, Recheck
from tests.integration.store.databases import row, rows, run
from tests.integration.store.replayer import LANES, Replayer, attempt, fail, requirement


def test_a_recheck_is_handed_out_until_it_is_done(store: LeadStore) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "met in the stream", 3: "drift"}))
    due = store.due_rechecks(10)
    assert sorted(due) == [Recheck(3, "drift", 0), Recheck(7, "met in the stream", 0)]
    assert sorted(store.due_rechecks(10)) == sorted(due)
    attempt(store, lambda tx: tx.done_rechecks([3]))
    assert store.due_rechecks(10) == [Recheck(7, "met in the stream", 0)]
    assert store.due_rechecks(0) == []


def test_a_recheck_queued_again_stays_one_row_with_the_newer_reason(store: LeadStore) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first"}))
    attempt(store, lambda tx: tx.queue_rechecks({7: "second"}))
    assert store.due_rechecks(10) == [Recheck(7, "second", 0)]


def test_a_recheck_asked_for_while_it_is_worked_on_is_not_struck_off(store: LeadStore) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first"}))
    store.due_rechecks(10)
    attempt(store, lambda tx: tx.queue_rechecks({7: "changed after the read"}))
    attempt(store, lambda tx: tx.done_rechecks([7]))
    assert store.due_rechecks(10) == [Recheck(7, "changed after the read", 0)]
    attempt(store, lambda tx: tx.done_rechecks([7]))
    assert store.due_rechecks(10) == []


def test_a_recheck_that_was_never_handed_out_is_not_struck_off(store: LeadStore) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first"}))
    attempt(store, lambda tx: tx.done_rechecks([7]))
    assert store.due_rechecks(10) == [Recheck(7, "first", 0)]


def test_a_postponed_recheck_waits_and_counts_its_attempts(store: LeadStore, database: str) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first", 8: "first"}))
    store.due_rechecks(10)
    attempt(store, lambda tx: tx.postpone_rechecks([7], "the replica is away", 60))
    assert store.due_rechecks(10) == [Recheck(8, "first", 0)]
    waiting = """
        SELECT attempts, last_error, extract(epoch FROM not_before - now()) BETWEEN 50 AND 60
        FROM leadstream.rechecks WHERE user_id = 7"""
    assert row(database, waiting) == (1, "the replica is away", True)
    run(database, "UPDATE leadstream.rechecks SET not_before = now() WHERE user_id = 7")
    assert Recheck(7, "first", 1) in store.due_rechecks(10)


def test_a_recheck_that_is_refused_again_and_again_waits_twice_as_long_each_time_and_an_hour_at_most(
    store: LeadStore, database: str
) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first"}))
    waits: list[int] = []
    for _ in range(8):
        attempt(store, lambda tx: tx.postpone_rechecks([7], "refused", 60, doubled=True))
        waiting = "SELECT round(extract(epoch FROM not_before - now()) / 60)::int FROM leadstream.rechecks"
        waits.extend(row(database, waiting))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_postponed_recheck_asked_for_again_is_due_at_once(store: LeadStore) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first"}), lambda tx: tx.postpone_rechecks([7], "away", 60))
    attempt(store, lambda tx: tx.queue_rechecks({7: "second"}))
    assert store.due_rechecks(10) == [Recheck(7, "second", 1)]


def test_the_longest_due_comes_first(store: LeadStore) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({9: "earlier"}))
    attempt(store, lambda tx: tx.queue_rechecks({1: "later"}))
    assert [recheck.user_id for recheck in store.due_rechecks(10)] == [9, 1]
    assert [recheck.user_id for recheck in store.due_rechecks(1)] == [9]


def test_a_lead_met_in_the_stream_is_queued_for_a_recheck(replayer: Replayer, store: LeadStore) -> None:
    replayer.commit(5, [(None, requirement(50, 500))])
    assert [recheck.user_id for recheck in store.due_rechecks(10)] == [5]


def test_a_lane_that_lost_changes_queues_all_its_leads(replayer: Replayer, store: LeadStore) -> None:
    for user_id in range(1, 30):
        replayer.register(user_id)
    lost = {user_id for user_id in range(1, 30) if lane_of(user_id, LANES) in (0, 2)}
    with store.transaction() as tx:
        assert tx.queue_lane_rechecks([2, 0], "a change was lost") == len(lost)
    assert {recheck.user_id for recheck in store.due_rechecks(100)} == lost


def test_what_is_done_in_a_transaction_that_fails_is_handed_out_again(store: LeadStore, database: str) -> None:
    attempt(store, lambda tx: tx.queue_rechecks({7: "first"}))
    store.due_rechecks(10)
    with pytest.raises(ZeroDivisionError):
        attempt(store, lambda tx: tx.done_rechecks([7]), fail)
    assert rows(database, "SELECT user_id FROM leadstream.rechecks") == [(7,)]
    attempt(store, lambda tx: tx.done_rechecks([7]))
    assert store.due_rechecks(10) == []
