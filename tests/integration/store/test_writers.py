"""Several writers at once, and other programs in between."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import psycopg
from psycopg import sql

from consumer.leads.judge import judge
from consumer.leads.model import Lead, QueueType, Rule
from consumer.leads.outcome import Outcome
from consumer.store.errors import TransactionConflict
from consumer.store.leads import LeadStore
from tests.integration.agents import ASSIGNED, CALLED, meanwhile
from tests.integration.store.databases import row, rows, run
from tests.integration.store.replayer import LANES, RULES, START, Replayer
from tests.integration.store.test_leads import outcome_of
from tests.support.waiting import PATIENCE

T = TypeVar("T")


def store_of(database: str) -> LeadStore:
    """A store of one more writer."""
    return LeadStore(database, LANES, shadow=False, source="sweep")


def at_once(*jobs: Callable[[], T]) -> list[T]:
    """Runs jobs in threads of their own; their results, or the first exception."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(60) for future in [pool.submit(job) for job in jobs]]


def test_two_writers_that_create_the_same_lead_at_once_are_told_apart(database: str) -> None:
    loaded = threading.Barrier(2)

    def create(signature: str) -> str:
        lead = Lead(1, True, signature=signature)
        with store_of(database) as store:
            try:
                with store.transaction() as tx:
                    assert tx.load([1]) == {}
                    loaded.wait(PATIENCE)
                    tx.write(outcome_of(lead))
            except TransactionConflict:
                with store.transaction() as tx:
                    return f"{signature} found {tx.load([1])[1].signature}"
        return f"{signature} created"

    results = set(at_once(lambda: create("a"), lambda: create("b")))
    assert results in ({"a created", "b found a"}, {"b created", "a found b"})


def test_a_lead_is_loaded_only_when_its_writer_is_done(store: LeadStore, database: str) -> None:
    replayer = Replayer(store)
    replayer.register(1)
    seen: list[str | None] = []

    def load() -> None:
        with store_of(database) as other:
            seen.append(Replayer(other).load(1)[1].claims["1"].status)

    thread = threading.Thread(target=load)
    with store.transaction() as tx:
        lead = tx.load([1])[1]
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        lead.claims["1"].status = "cancelled"
        tx.write(outcome_of(lead))
    thread.join(PATIENCE)
    assert seen == ["cancelled"]


def test_writers_in_random_orders_never_deadlock_and_lose_nothing(database: str) -> None:
    """Known leads and new ones, with queue changes, conversions and rechecks, in batches that overlap."""
    writers, rounds, batch, leads = 4, 25, 12, 40

    def write(seed: int) -> set[str]:
        """Why a transaction had to be repeated."""
        rnd = random.Random(seed)
        reasons = set()
        with store_of(database) as store:
            for _ in range(rounds):
                wanted = rnd.sample(range(leads), batch)
                while (reason := _counted_up(store, wanted, rnd)) is not None:
                    reasons.add(reason)
        return reasons

    for reasons in at_once(*[partial(write, seed) for seed in range(writers)]):
        assert reasons <= {"another writer created one of these leads; repeat this transaction"}
    assert row(database, "SELECT sum(version) FROM leadstream.leads") == (writers * rounds * batch,)
    open_stints = "SELECT count(*), count(DISTINCT user_id) FROM leadstream.stints WHERE closed_at IS NULL"
    assert row(database, open_stints) == (leads, leads)
    pending = """
        SELECT stints.user_id FROM leadstream.stints LEFT JOIN call_queue AS entry
          ON entry.user_id = stints.user_id AND entry.status = 'pending' AND entry.queue_type = stints.queue_type
        WHERE closed_at IS NULL GROUP BY stints.user_id, stints.queue_type
        HAVING count(entry.id) <> CASE WHEN stints.queue_type = 'none' THEN 0 ELSE 1 END"""
    assert rows(database, pending) == []
    conversions = """
        SELECT (SELECT count(*) FROM conversions) - (SELECT count(conversion_type) FROM leadstream.stints),
               (SELECT count(*) FROM conversions) > 100"""
    assert row(database, conversions) == (0, True)


def _counted_up(store: LeadStore, wanted: list[int], rnd: random.Random) -> str | None:
    """Adds 1 to the version of these leads, and has them sign or lose their signature; else why it did not go."""
    outcome = Outcome()
    try:
        with store.transaction() as tx:
            leads = tx.load(wanted)
            for user_id in wanted:
                lead = leads.get(user_id) or Lead(user_id, True)
                lead.version += 1
                lead.signature = None if rnd.random() < 0.5 else f"file-{rnd.randrange(10**9)}"
                outcome.leads[user_id] = lead
                judge(lead, START + lead.version, RULES, outcome)
                if rnd.random() < 0.3:
                    outcome.rechecks[user_id] = "why not"
            tx.write(outcome)
    except TransactionConflict as error:
        return str(error)
    return None


def test_a_deadlock_with_another_program_can_be_repeated(replayer: Replayer, database: str) -> None:
    """An agent's program takes scores against the order of users; the server picks whom to stop."""
    replayer.register(1)
    replayer.register(2)
    repeated: list[TransactionConflict] = []

    def sign() -> None:
        with store_of(database) as store:
            while True:
                try:
                    _sign_both(store)
                except TransactionConflict as error:
                    repeated.append(error)
                else:
                    return

    stopped = False
    with psycopg.connect(database) as agent:
        agent.execute("UPDATE user_call_scores SET last_outcome = 'busy' WHERE user_id = 2")
        ours = threading.Thread(target=sign)
        ours.start()
        ours.join(0.5)  # it holds the score of lead 1 by now and waits for that of lead 2
        try:
            agent.execute("UPDATE user_call_scores SET last_outcome = 'busy' WHERE user_id = 1")
        except psycopg.errors.DeadlockDetected:
            agent.rollback()
            stopped = True
    ours.join(PATIENCE)
    assert stopped or "deadlock detected" in str(repeated[0])
    assert rows(database, "SELECT user_id FROM conversions ORDER BY 1") == [(1,), (2,)]


def test_an_agent_who_takes_scores_in_user_order_never_deadlocks_with_a_batch(
    replayer: Replayer, database: str
) -> None:
    """Only some of the leads whose queue changes convert: their scores may not be taken before the others'."""
    for user_id in (1, 5, 9):
        replayer.register(user_id)
    meanwhile(
        database, CALLED, [1, 5, 9], lambda: _sign_some_and_close_others(replayer.store, signed=[5, 9], closed=[1])
    )
    assert rows(database, "SELECT user_id FROM conversions ORDER BY 1") == [(5,), (9,)]
    outcomes = "SELECT DISTINCT last_outcome, current_queue_type FROM user_call_scores"
    assert rows(database, outcomes) == [("busy", "none")]


def test_an_agent_who_takes_entries_in_user_order_never_deadlocks_with_a_batch(
    replayer: Replayer, database: str
) -> None:
    """Whatever order the table itself has, and though it lacks an index on its users."""
    run(database, "DROP INDEX idx_call_queue_user_status")
    for user_id in (9, 5, 1):
        replayer.register(user_id)
    indexes = rows(database, "SELECT indexdef FROM pg_indexes WHERE tablename = 'call_queue'")
    assert not [index for (index,) in indexes if "user_id" in index]
    meanwhile(database, ASSIGNED, [1, 5, 9], lambda: _sign_some_and_close_others(replayer.store, signed=[1, 5, 9]))
    assert rows(database, "SELECT DISTINCT status, assigned_to_agent_id FROM call_queue") == [("closed", 7)]


def _sign_some_and_close_others(store: LeadStore, signed: Iterable[int], closed: Iterable[int] = ()) -> None:
    outcome = Outcome()
    with store.transaction() as tx:
        for user_id, lead in tx.load([*signed, *closed]).items():
            if user_id in signed:
                lead.signature = f"file-{user_id}"
            else:
                lead.enabled = False
            outcome.leads[user_id] = lead
            judge(lead, START + 60_000_000, RULES, outcome)
        tx.write(outcome)


def _sign_both(store: LeadStore) -> None:
    outcome = Outcome()
    with store.transaction() as tx:
        for lead in tx.load([1, 2]).values():
            lead.signature = "file-1"
            outcome.leads[lead.user_id] = lead
            judge(lead, START + 60_000_000, RULES, outcome)
        tx.write(outcome)


def _held_by_an_agent(database: str, statement: str, replayer: Replayer) -> None:
    """The customer signs while an agent's transaction holds what `statement` locks."""
    with psycopg.connect(database) as agent:
        agent.execute(sql.SQL(statement))
        thread = threading.Thread(target=replayer.sign, args=(1,))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(PATIENCE)


def test_an_agent_who_holds_an_entry_delays_us_and_nothing_is_lost(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    _held_by_an_agent(database, "UPDATE call_queue SET status = 'assigned' WHERE user_id = 1", replayer)
    assert rows(database, "SELECT status FROM call_queue") == [("assigned",)]
    assert rows(database, "SELECT conversion_type FROM conversions") == [("signature_obtained",)]


def test_a_call_that_ends_while_we_wait_is_counted_in_the_conversion(replayer: Replayer, database: str) -> None:
    replayer.register(1)
    _held_by_an_agent(database, "UPDATE user_call_scores SET current_score = 55, total_attempts = 4", replayer)
    assert rows(database, "SELECT final_score, total_call_attempts FROM conversions") == [(55, 4)]


def test_a_lead_created_between_two_reads_of_a_load_is_found_by_the_next_try(store: LeadStore, database: str) -> None:
    """The applier's read of leads misses it, that of its claims does not."""
    made = Lead(1, True, stint=1, queue_type=QueueType.NONE, rule=Rule.NOTHING_OWED)
    with store_of(database) as other, other.transaction() as theirs:
        theirs.load([1])
        with store.transaction() as tx:
            assert tx.load([1]) == {}
        theirs.write(outcome_of(made))
    with store.transaction() as tx:
        assert tx.load([1]) == {1: made}
