"""A lead that PostgreSQL refused, set aside by an applier: every recheck tries it again until it is taken."""

from __future__ import annotations

from consumer.leads.model import NEVER, Lead
from consumer.leads.outcome import Outcome
from consumer.store.leads import LeadStore
from tests.integration.reconciler.world import LANES, World, refuse


def set_aside(world: World, *user_ids: int) -> None:
    """Leaves these leads as an applier leaves those that PostgreSQL refused."""
    outcome = Outcome(
        leads={user_id: Lead(user_id, exists=True, version=1, judge_after=NEVER, changed_at=1) for user_id in user_ids},
        rechecks=dict.fromkeys(user_ids, "PostgreSQL refused it with P0001 (user_call_scores)"),
    )
    with LeadStore(world.conninfo, LANES, shadow=False, source="stream") as store, store.transaction() as tx:
        tx.load(user_ids)
        tx.write(outcome)


def test_a_refused_lead_is_tried_again_alone_and_judged_once_postgresql_takes_it(world: World) -> None:
    world.user(1)
    world.user(2)
    refuse(world, 2)
    set_aside(world, 1, 2)
    world.pass_lanes()
    report = world.sweep("rechecks")
    assert (report.tally.settled, report.tally.failed) == (1, 1)
    assert world.queues() == {1: "unsigned_users"}
    assert world.pg("SELECT user_id, last_error FROM leadstream.rechecks") == [(2, "PostgreSQL refused it with P0001")]

    world.pg("DROP TRIGGER refuse ON user_call_scores")
    world.pg("UPDATE leadstream.rechecks SET not_before = now()")
    world.sweep("rechecks")
    assert world.queues() == {1: "unsigned_users", 2: "unsigned_users"}
    assert world.pg("SELECT user_id FROM user_call_scores ORDER BY user_id") == [(1,), (2,)]
    assert world.pg("SELECT count(*) FROM leadstream.rechecks") == [(0,)]
