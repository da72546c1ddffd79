"""When a lead is judged: where source transactions end, and as soon as its lane has passed what it awaits."""

from __future__ import annotations

import pytest

from consumer.lane import lane_of
from tests.integration.applier.world import ApplierWorld, claim, requirement, user
from tests.support.company_tables import key

pytestmark = pytest.mark.servers


def queue(world: ApplierWorld, number: int) -> str | None:
    return dict(world.query("SELECT user_id, queue_type FROM leadstream.leads")).get(number)


def test_a_source_transaction_that_kafka_carries_in_two_parts_is_judged_once_and_at_its_end(
    world: ApplierWorld,
) -> None:
    world.applier()
    scribe = world.scribe
    with scribe:
        scribe.transaction(("users", None, user(1, 5), 1), ("claims", None, claim(1, 1), 1))
        scribe.transaction(("claim_requirements", None, requirement(1, 1), 1))
    world.until(lambda: queue(world, 1) == "requirements_outstanding")
    sequencer = scribe.sequencer
    first, second = requirement(1, 1), requirement(2, 1)
    with scribe:
        sequencer.begin(None, 1, "binlog.000001", 900, 2_000_000_000_000_000)
        scribe.row("claim_requirements", first, {**first, "status": "approved"}, 1)
        sequencer.cut()
    world.until(lambda: world.value("SELECT count(*) FROM leadstream.leads WHERE judge_after IS NOT NULL") == 1)
    assert queue(world, 1) == "requirements_outstanding"
    with scribe:
        scribe.row("claim_requirements", None, second, 1)
        sequencer.commit()
    world.drain()
    assert queue(world, 1) == "requirements_outstanding"
    assert world.value("SELECT count(*) FROM conversions") == 0
    assert world.value("SELECT count(*) FROM leadstream.leads WHERE judge_after IS NOT NULL") == 0


def test_a_waiting_lead_in_a_quiet_lane_is_judged_by_the_next_heartbeat(world: ApplierWorld) -> None:
    world.applier()
    with world.scribe as scribe:
        at = scribe.transaction(("users", None, user(1), 1))
    world.drain()
    with world.connect() as connection:
        connection.execute("UPDATE leadstream.leads SET judge_after = %s, signature = '5'", [at + 1])
    with world.scribe as scribe:
        scribe.beat()
    world.until(lambda: queue(world, 1) == "none", "the lead was judged")


def test_a_requirement_whose_user_the_reader_could_not_find_finds_the_lead_that_holds_its_claim(
    world: ApplierWorld,
) -> None:
    world.applier()
    claim_id = next(number for number in range(1, 99) if lane_of(number, world.lanes) != lane_of(1, world.lanes))
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(1, 5), 1), ("claims", None, claim(claim_id, 1), 1))
    world.drain()
    with world.scribe as scribe:
        scribe.transaction(("claim_requirements", None, requirement(1, claim_id), None))
        scribe.transaction(("claim_requirements", None, requirement(2, 12345), None))
        scribe.transaction(("claims", None, {**claim(77, 1), "user_id": None}, None))
    world.drain()
    assert queue(world, 1) == "requirements_outstanding"
    assert world.query("SELECT id FROM leadstream.requirements") == [(key(1),)]
    assert world.query("SELECT id FROM leadstream.claims") == [(str(claim_id),)]


def test_a_lead_that_nobody_knew_waits_for_a_live_read(world: ApplierWorld) -> None:
    world.applier()
    with world.scribe as scribe:
        scribe.transaction(("claims", claim(4, 9), claim(4, 9, "cancelled"), 9))
    world.drain()
    assert queue(world, 9) is None
    assert world.query("SELECT user_id FROM leadstream.rechecks") == [(9,)]
    assert world.value("SELECT count(*) FROM user_call_scores") == 0
