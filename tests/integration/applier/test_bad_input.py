"""Messages that cannot be applied, and messages that never arrive: the lane goes on, and nothing goes unnoticed."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.applier.group_member import SET_ASIDE_BYTES
from consumer.lane import lane_of
from consumer.leads.model import NEVER, Ties
from consumer.stream import topics
from consumer.stream.envelope import ties_text
from tests.integration.applier.scribe import Scribe
from tests.integration.applier.world import ApplierWorld, claim, faults, live, requirement, user
from tests.support.ports import free_port

pytestmark = pytest.mark.servers


def letters(world: ApplierWorld, count: int) -> list[dict[str, Any]]:
    """The dead letters, as soon as there are so many: what is wrong, and the original bytes as `key` and `value`."""
    world.until(lambda: world.value("SELECT count(*) FROM leadstream.dead_letters") >= count)
    names = "topic", "partition", "offset", "reason", "detail", "user_id", "key", "value"
    rows = world.query(
        "SELECT topic, partition, message_offset, reason, detail, user_id, key, value"
        " FROM leadstream.dead_letters ORDER BY id"
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def stranger(world: ApplierWorld, value: bytes, **properties: str) -> None:
    """Somebody else's program writes this to the first partition of `users`."""
    producer = Producer(
        {"bootstrap.servers": world.kafka.kafka_bootstrap_servers, "message.max.bytes": "100000000", **properties}
    )
    producer.produce(world.kafka.topic("users"), value, b"stranger", 0)
    assert producer.flush(30) == 0


def envelope(world: ApplierWorld, number: int, **lane: Any) -> bytes:
    """A message of `users` that is right, but for what `lane` changes in its lane block."""
    block = {"epoch": 1, "seq": 1, "version": 1, "user_id": number, "last": True, **lane}
    source = {"ts_us": 1, "table": "users", "name": world.name}
    return json.dumps({"before": None, "after": user(number), "op": "c", "source": source, "lane": block}).encode()


def test_half_a_transaction_is_not_paid_for_where_the_other_half_cannot_be_read(world: ApplierWorld) -> None:
    world.applier()
    with world.scribe as scribe:
        for table, row in (("users", user(1, 1)), ("claims", claim(1, 1)), ("claim_requirements", requirement(1, 1))):
            scribe.transaction((table, None, row, 1))
    world.drain()
    with world.scribe as scribe:
        scribe.transaction(
            ("claim_requirements", requirement(1, 1), requirement(1, 1, "approved"), 1),
            ("claim_requirements", None, {**requirement(2, 1), "status": ["pending"]}, 1),
        )
        scribe.transaction(("users", user(1, 1), user(1, 2), 1))
    world.drain()
    assert world.value("SELECT count(*) FROM conversions") == 0
    assert world.query("SELECT judge_after, queue_type FROM leadstream.leads") == [(NEVER, "requirements_outstanding")]
    assert [user_id for (user_id,) in world.query("SELECT user_id FROM leadstream.rechecks")] == [1]


def test_whoever_gets_a_claim_is_not_judged_where_the_message_that_it_left_cannot_be_read(world: ApplierWorld) -> None:
    giver = 1
    heir = next(
        number for number in range(2, 100) if lane_of(number, world.kafka.lanes) != lane_of(giver, world.kafka.lanes)
    )
    moved = {**claim(1, giver), "user_id": heir}
    world.applier()
    with world.scribe as scribe:
        for table, row, owner in (
            ("users", user(giver, 1), giver),
            ("users", user(heir, 1), heir),
            ("claims", claim(1, giver), giver),
            ("claim_requirements", requirement(1, 1), giver),
            ("claims", claim(2, heir), heir),
            ("claim_requirements", requirement(2, 2), heir),
        ):
            scribe.transaction((table, None, row, owner))
    world.drain()
    with world.scribe as scribe:
        sequencer = scribe.sequencer
        place = sequencer.next_place(giver)
        assert place is not None
        sequencer.begin(None, 1, "binlog.000001", 10_000, time.time_ns() // 1000)
        unreadable = json.dumps({**claim(1, giver), "status": ["open"]})
        sequencer.row("claims", "d", unreadable, None, giver, giver, 10_000, 0, ties=ties_text(Ties(stays=True)))
        sequencer.row(
            "claims", "c", None, json.dumps(moved), heir, heir, 10_000, 0, ties=ties_text(Ties(after=(place,)))
        )
        sequencer.commit()
        scribe.transaction(("claim_requirements", requirement(2, 2), requirement(2, 2, "approved"), heir))
    world.drain()
    assert world.value("SELECT count(*) FROM conversions") == 0
    assert world.query("SELECT user_id, judge_after FROM leadstream.leads ORDER BY 1") == [
        (giver, NEVER),
        (heir, NEVER),
    ]
    assert world.query("SELECT user_id FROM leadstream.rechecks ORDER BY 1") == [(giver,), (heir,)]


def test_a_message_that_is_not_ours_is_set_aside_with_its_place_and_the_lane_goes_on(world: ApplierWorld) -> None:
    topic = world.kafka.topic("claims")
    world.applier()
    live(world.scribe, range(1, 11))
    with world.scribe as scribe:
        for partition, value in enumerate((b"{}", b"\xff\xfe", b"", b'{"lane": {}}')):
            scribe.raw(topic, value, partition, key=b"stranger")
    live(world.scribe, range(11, 21))
    world.drain()
    assert faults(world, range(1, 21)) == []
    found = letters(world, 4)
    assert {(letter["topic"], letter["partition"], letter["reason"]) for letter in found} == {
        (topic, partition, "undecodable") for partition in range(4)
    }
    assert {letter["value"] for letter in found} == {b"{}", b"\xff\xfe", b"", b'{"lane": {}}'}
    assert all(letter["offset"] > 0 and letter["detail"] for letter in found)


def test_a_bad_message_as_large_as_its_topic_allows_is_set_aside_whole_and_the_lane_goes_on(
    world: ApplierWorld,
) -> None:
    value = b"\xff" * (topics.MAX_MESSAGE_BYTES - 100)
    world.applier()
    stranger(world, value)
    live(world.scribe, range(1, 11))
    world.drain()
    assert faults(world, range(1, 11)) == []
    (letter,) = letters(world, 1)
    assert (letter["key"], letter["reason"]) == (b"stranger", "undecodable")
    assert letter["value"] == value


def test_more_bad_messages_than_one_batch_takes_are_all_set_aside_and_the_lane_goes_on(world: ApplierWorld) -> None:
    size, count = 6 * 1024 * 1024, 8
    assert size * count > 2 * SET_ASIDE_BYTES
    for number in range(count):
        stranger(world, bytes([255, number]) * (size // 2))
    live(world.scribe, range(1, 11))
    world.applier()
    world.drain()
    assert faults(world, range(1, 11)) == []
    assert [letter["value"][:2] for letter in letters(world, count)] == [
        bytes([255, number]) for number in range(count)
    ]


def test_a_bad_message_that_unpacks_to_more_than_a_letter_holds_is_set_aside_as_far_as_it_fits(
    world: ApplierWorld,
) -> None:
    value = random.Random(5).randbytes(1024) * 18 * 1024
    world.applier(KAFKA_COMPRESSION_TYPE="none")
    stranger(world, value, **{"compression.type": "zstd"})
    live(world.scribe, range(1, 11))
    world.drain()
    assert faults(world, range(1, 11)) == []
    (letter,) = letters(world, 1)
    assert letter["key"] + letter["value"] == (b"stranger" + value)[: 1024 * 1024]
    assert letter["detail"].endswith(f"; of {len(b'stranger' + value)} bytes the first {1024 * 1024} are kept")


def test_a_truncated_message_costs_its_lead_a_recheck_and_no_other_lead(world: ApplierWorld) -> None:
    world.applier()
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(1), 1))
        scribe.withheld = 1
        scribe.transaction(("users", user(1), user(1, 7), 1))
        scribe.raw(world.kafka.topic("users"), b'{"before":null,"after":{"id":1,"curr', lane_of(1, world.lanes))
        scribe.transaction(*(("users", None, user(number), number) for number in range(2, 40)))
    world.drain()
    assert world.query("SELECT user_id, reason FROM leadstream.rechecks") == [
        (1, "a change in the stream was set aside: undecodable")
    ]
    assert world.value("SELECT count(*) FROM leadstream.leads") == 39


def test_a_value_of_the_wrong_type_keeps_its_number_so_that_nothing_waits_for_it(world: ApplierWorld) -> None:
    world.applier()
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(1), 1))
        scribe.transaction(("users", user(1), {**user(1), "id": 2**70}, 1))
        scribe.transaction(("users", user(1), user(1, 7), 1))
    world.drain(20)
    assert world.query("SELECT user_id FROM leadstream.rechecks") == [(1,)]
    assert "at `$.after.id`" in letters(world, 1)[0]["detail"]
    assert world.query("SELECT signature, judge_after FROM leadstream.leads") == [("7", NEVER)]


def test_messages_of_another_epoch_and_repeated_numbers_are_set_aside(world: ApplierWorld) -> None:
    world.applier()
    topic, lane = world.kafka.topic("users"), lane_of(5, world.lanes)
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.raw(topic, envelope(world, 5, epoch=7), lane, key=b"5")
        scribe.raw(topic, envelope(world, 5, seq=1), lane, key=b"5")
        scribe.transaction(("users", user(5), user(5, 9), 5))
    world.drain()
    assert sorted(letter["reason"] for letter in letters(world, 2)) == ["other_epoch", "repeated_number"]
    assert world.value("SELECT count(*) FROM conversions") == 1


def test_dead_letters_are_counted_by_reason_in_the_metrics_of_the_applier_that_set_them_aside(
    world: ApplierWorld,
) -> None:
    port = free_port()
    world.applier(METRICS_PORT=str(port))
    topic, lane = world.kafka.topic("users"), lane_of(5, world.lanes)
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        for value in (b"?", b"", envelope(world, 5, epoch=7), envelope(world, 5, seq=1)):
            scribe.raw(topic, value, lane, key=b"5")
        scribe.transaction(("users", user(5), user(5, 9), 5))
    world.drain()
    letters(world, 4)

    def counts() -> dict[str, str]:
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        return dict(re.findall(r'^leadstream_dead_letters_total\{.*reason="(\w+)"\} ([\d.]+)$', told, re.MULTILINE))

    right = {"undecodable": "2.0", "other_epoch": "1.0", "repeated_number": "1.0"}
    world.until(lambda: {reason: count for reason, count in counts().items() if count != "0.0"} == right)


def test_a_message_that_skips_to_a_number_which_no_reader_gave_out_is_set_aside_and_the_lane_waits_for_nothing(
    world: ApplierWorld,
) -> None:
    world.applier()
    topic, lane = world.kafka.topic("users"), lane_of(5, world.lanes)
    stray = envelope(world, 5, seq=1_000_000)
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.raw(topic, stray, lane, key=b"5")
    world.until(lambda: bool(world.value("SELECT count(*) FROM leadstream.rechecks")))
    assert world.applied()
    live(world.scribe, range(6, 16))
    world.drain()
    (letter,) = letters(world, 1)
    assert (letter["reason"], letter["key"], letter["value"]) == ("skipped_number", b"5", stray)
    assert (letter["topic"], letter["partition"], letter["offset"]) == (topic, lane, 1)
    assert world.query("SELECT user_id FROM leadstream.rechecks") == [(5,)]
    assert "numbers_lost" not in world.lines()
    assert world.value("SELECT count(*) FROM conversions") == 20


@pytest.mark.parametrize("key", [b"5", b"stranger"])
def test_a_foreign_message_with_the_number_that_is_due_moves_no_lane_and_the_change_with_that_number_is_applied(
    world: ApplierWorld, key: bytes
) -> None:
    world.applier()
    topic, lane = world.kafka.topic("users"), lane_of(5, world.lanes)
    years_ahead = (time.time_ns() // 1000) + 10 * 365 * 86_400 * 1_000_000
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.raw(topic, envelope(world, 5, seq=2, version=years_ahead), lane, key=key)
    world.until(lambda: bool(world.value("SELECT count(*) FROM leadstream.dead_letters")))
    where = f"WHERE lane = {lane} AND version < {years_ahead}"
    assert world.query(f"SELECT next_seq FROM leadstream.lanes {where}") == [(2,)]
    with world.scribe as scribe:
        scribe.transaction(("users", user(5), user(5, 9), 5))
    world.drain()
    (letter,) = letters(world, 1)
    assert (letter["reason"], letter["key"], letter["user_id"]) == ("foreign", key, 5)
    assert world.value("SELECT count(*) FROM conversions") == 1
    assert "numbers_lost" not in world.lines()


def test_a_message_that_skips_far_ahead_hides_no_loss(world: ApplierWorld) -> None:
    world.applier()
    topic, lane = world.kafka.topic("users"), lane_of(5, world.lanes)
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.withheld = 2
        scribe.raw(topic, envelope(world, 5, seq=1_000_000), lane, key=b"5")
        for number in (1, 2, 3):
            scribe.transaction(("claims", None, claim(number, 5), 5))
    world.drain()
    said = [line for line in map(json.loads, world.lines().splitlines()) if line["event"] == "numbers_lost"]
    assert [(line["lane"], line["count"]) for line in said] == [(lane, 2)]
    assert [letter["reason"] for letter in letters(world, 1)] == ["skipped_number"]
    assert world.query("SELECT user_id FROM leadstream.rechecks") == [(5,)]
    assert world.value("SELECT count(*) FROM leadstream.claims") == 1


def test_a_message_that_names_another_table_than_its_topics_is_set_aside_and_costs_its_lead_a_recheck(
    world: ApplierWorld,
) -> None:
    world.applier()
    topic, lane = world.kafka.topic("users"), lane_of(5, world.lanes)
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.raw(
            topic, envelope(world, 5, seq=2).replace(b'"table": "users"', b'"table": "invoices"'), lane, key=b"5"
        )
        scribe.withheld = 1
        scribe.transaction(("users", user(5), user(5), 5))
        scribe.transaction(("users", user(5), user(5, 9), 5))
    world.drain()
    assert [(letter["reason"], letter["offset"]) for letter in letters(world, 1)] == [("undecodable", 1)]
    assert world.query("SELECT user_id FROM leadstream.rechecks") == [(5,)]
    assert world.query("SELECT signature, judge_after FROM leadstream.leads") == [("9", NEVER)]
    assert "numbers_lost" not in world.lines()


def test_a_topic_that_was_deleted_and_created_anew_costs_its_lanes_leads_a_recheck_and_the_lanes_go_on(
    world: ApplierWorld,
) -> None:
    process = world.applier()
    live(world.scribe, range(1, 21))
    world.drain()
    process.terminate()
    process.wait()
    live(world.scribe, range(21, 31))
    name = world.kafka.topic("claims")
    admin = AdminClient({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})
    admin.delete_topics([name])[name].result(30)
    world.until(lambda: name not in admin.list_topics(timeout=10).topics)
    topics.prepare(world.kafka)
    world.scribe = Scribe(world.kafka, next_seqs=world.scribe.next_seqs)
    world.applier()
    live(world.scribe, range(31, 51))
    world.drain()
    lost = [line["lane"] for line in map(json.loads, world.lines().splitlines()) if line["event"] == "numbers_lost"]
    assert set(lost) >= {lane_of(number, world.lanes) for number in range(21, 31)}
    whole = world.query("SELECT user_id FROM conversions GROUP BY 1 HAVING count(*) = 2")
    waiting = world.query("SELECT user_id FROM leadstream.rechecks")
    assert {number for (number,) in whole + waiting} == set(range(1, 51))
    assert {number for (number,) in waiting} >= set(range(21, 31))
    assert world.value("SELECT count(*) FROM leadstream.claims WHERE user_id BETWEEN 21 AND 30") == 0
    live(world.scribe, range(51, 61))
    world.drain()
    assert world.value("SELECT count(*) FROM conversions WHERE user_id > 50") == 20


def test_records_that_retention_took_while_no_applier_ran_cost_their_leads_a_recheck_and_the_lanes_go_on(
    world: ApplierWorld,
) -> None:
    process = world.applier()
    live(world.scribe, range(1, 21))
    world.drain()
    process.terminate()
    process.wait()
    live(world.scribe, range(21, 31))
    name = world.kafka.topic("claim_requirements")
    admin = AdminClient({"bootstrap.servers": world.kafka.kafka_bootstrap_servers})
    gone = [TopicPartition(name, lane, -1) for lane in range(world.lanes)]  # -1: everything there is
    for future in admin.delete_records(gone).values():
        future.result(30)
    live(world.scribe, range(31, 41))
    with world.scribe as scribe:
        scribe.beat()
    world.applier()
    world.drain()
    lost = [line["lane"] for line in map(json.loads, world.lines().splitlines()) if line["event"] == "numbers_lost"]
    assert set(lost) == {lane_of(number, world.lanes) for number in range(21, 31)}
    waiting = {number for (number,) in world.query("SELECT user_id FROM leadstream.rechecks")}
    assert waiting >= set(range(21, 31))
    assert world.value("SELECT count(*) FROM leadstream.claims WHERE user_id BETWEEN 21 AND 30") > 0
    whole = {number for (number,) in world.query("SELECT user_id FROM conversions GROUP BY 1 HAVING count(*) = 2")}
    assert whole == set(range(1, 41)) - set(range(21, 31))


def test_the_same_dead_letter_is_not_read_again_after_a_restart(world: ApplierWorld) -> None:
    process = world.applier()
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.raw(world.kafka.topic("users"), b"?", lane_of(5, world.lanes), key=b"5")
    world.until(lambda: world.value("SELECT count(*) FROM leadstream.rechecks") == 1)
    process.kill()
    process.wait()
    world.applier()
    live(world.scribe, range(6, 16))
    world.drain()
    assert len(letters(world, 1)) == 1


def test_numbers_that_can_no_longer_arrive_are_told_and_only_their_lanes_leads_are_read_live(
    world: ApplierWorld,
) -> None:
    world.applier()
    with world.scribe as scribe:
        for number in range(1, 41):
            scribe.transaction(("users", None, user(number), number))
    world.drain()
    lane = lane_of(1, world.lanes)
    with world.scribe as scribe:
        scribe.withheld = 3
        for number in (1, 1, 1, 1):
            scribe.transaction(("claims", None, claim(number, 1), 1))
    world.drain()
    said = [line for line in map(json.loads, world.lines().splitlines()) if line["event"] == "numbers_lost"]
    assert [(line["lane"], line["count"]) for line in said] == [(lane, 3)]
    rechecked = {number for (number,) in world.query("SELECT user_id FROM leadstream.rechecks")}
    assert rechecked == {number for number in range(1, 41) if lane_of(number, world.lanes) == lane}
    assert world.value("SELECT count(*) FROM leadstream.claims") == 1


@pytest.mark.parametrize("together", [True, False])
def test_after_a_loss_nobody_of_the_lane_is_judged_before_a_live_read(world: ApplierWorld, together: bool) -> None:
    mate, later = [number for number in range(2, 100) if lane_of(number, world.lanes) == lane_of(1, world.lanes)][:2]
    world.applier()
    with world.scribe as scribe:
        for number in (1, mate):
            scribe.transaction(("users", None, user(number, 3), number))
            scribe.transaction(("claims", None, claim(number, number), number))
            scribe.transaction(("claim_requirements", None, requirement(number, number), number))
    world.drain()
    rows = (
        ("claims", None, claim(200, 1), 1),
        ("claim_requirements", None, requirement(200, 200), 1),
        ("claim_requirements", None, requirement(201, 200), 1),
        ("claim_requirements", requirement(1, 1), requirement(1, 1, "approved"), 1),
    )
    with world.scribe as scribe:
        if together:
            scribe.sequencer.begin(None, 1, "binlog.000001", 7000, time.time_ns() // 1000)
        for row in rows:
            scribe.withheld = 1 if row in (rows[2:] if together else rows[1:3]) else 0  # a row goes with the next one
            scribe.row(*row) if together else scribe.transaction(row)
        if together:
            scribe.sequencer.commit()
        scribe.withheld = 0
        scribe.transaction(("claim_requirements", requirement(mate, mate), requirement(mate, mate, "approved"), mate))
        scribe.transaction(("users", None, user(later), later))
        scribe.transaction(("users", user(later), user(later, 9), later))
    world.drain()
    said = [line for line in map(json.loads, world.lines().splitlines()) if line["event"] == "numbers_lost"]
    assert sum(line["count"] for line in said) == 2
    assert world.query(
        "SELECT user_id, judge_after FROM leadstream.leads WHERE judge_after IS NOT NULL ORDER BY 1"
    ) == [
        (1, NEVER),
        (mate, NEVER),
    ]
    assert world.query("SELECT DISTINCT user_id FROM conversions") == [(later,)], "whoever comes later is known whole"
    assert {number for (number,) in world.query("SELECT user_id FROM leadstream.rechecks")} >= {1, mate}


@pytest.mark.parametrize("missed_first", [False, True])
def test_half_a_transaction_is_not_paid_for_where_what_was_missed_comes_in_a_batch_of_its_own(
    world: ApplierWorld, missed_first: bool
) -> None:
    world.applier()
    with world.scribe as scribe:
        scribe.transaction(
            ("users", None, user(1, 3), 1), ("claims", None, claim(1, 1), 1),
            ("claim_requirements", None, requirement(1, 1), 1),
        )  # fmt: skip
    world.drain()
    with world.scribe as scribe:
        scribe.sequencer.begin(None, 1, "binlog.000001", 7000, time.time_ns() // 1000)
        if not missed_first:
            scribe.row("claim_requirements", requirement(1, 1), requirement(1, 1, "approved"), 1)
            scribe.sequencer.cut()
    world.drain()
    with world.scribe as scribe:
        scribe.sequencer.unreadable(None, "columns without names")
        scribe.sequencer.cut()
    world.drain()
    with world.scribe as scribe:
        if missed_first:
            scribe.row("claim_requirements", requirement(1, 1), requirement(1, 1, "approved"), 1)
        scribe.row("users", user(1, 3), user(1, 4), 1)
        scribe.sequencer.commit()
    world.drain()
    assert world.query("SELECT judge_after FROM leadstream.leads WHERE user_id = 1") == [(NEVER,)]
    assert world.value("SELECT count(*) FROM conversions") == 0


def test_junk_of_long_ago_hides_no_loss(world: ApplierWorld) -> None:
    world.applier()
    lane = lane_of(1, world.lanes)
    with world.scribe as scribe:
        for _ in range(3):
            scribe.raw(world.kafka.topic("users"), b"junk", lane, key=b"1")
        scribe.transaction(("users", None, user(1), 1))
    world.drain()
    with world.scribe as scribe:
        scribe.withheld = 3
        for number in range(1, 5):
            scribe.transaction(("claims", None, claim(number, 1), 1))
    world.drain()
    said = [line for line in map(json.loads, world.lines().splitlines()) if line["event"] == "numbers_lost"]
    assert [(line["lane"], line["count"]) for line in said] == [(lane, 3)]


def test_a_number_that_is_only_late_is_waited_for(world: ApplierWorld) -> None:
    world.applier()
    scribe = world.scribe
    with scribe:
        scribe.transaction(("users", None, user(1), 1))
    held: list[tuple[str, str | bytes, str | bytes, int]] = []
    send, scribe.sequencer._send = scribe.sequencer._send, lambda *message: held.append(message)
    scribe.transaction(("claims", None, claim(1, 1), 1))
    scribe.sequencer._send = send
    with scribe:
        send(*held[0])
        scribe.transaction(("users", user(1), user(1, 3), 1))
        scribe.transaction(("claim_requirements", None, requirement(1, 1), 1))
    world.drain()
    assert world.value("SELECT count(*) FROM leadstream.rechecks") == 0
    assert "numbers_lost" not in world.lines()


def command(world: ApplierWorld, *arguments: str) -> str:
    """What `consumer dead-letters` prints."""
    ended = subprocess.run(
        [sys.executable, "-c", "from consumer.cli import main; main()", "dead-letters", *arguments],
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{ended.returncode} {ended.stdout}{ended.stderr}"


def test_dead_letters_are_listed_shown_retried_and_discarded(world: ApplierWorld) -> None:
    world.applier()
    with world.scribe as scribe:
        scribe.transaction(("users", None, user(5), 5))
        scribe.raw(world.kafka.topic("users"), b"?", lane_of(5, world.lanes), key=b"5")
        scribe.raw(world.kafka.topic("claims"), b"\xff", 0, key=b"none")
    world.until(lambda: len(json.loads(command(world, "list", "--json").partition(" ")[2])) == 2)
    listed = {letter["topic"].rpartition(".")[2]: letter for letter in json.loads(command(world, "list", "--json")[2:])}
    assert listed["users"]["user_id"] == 5
    assert "2 undecodable" in command(world, "list")
    assert json.loads(command(world, "show", str(listed["claims"]["number"]))[2:])["value"] == {"base64": "/w=="}
    with world.connect() as connection:
        connection.execute("DELETE FROM leadstream.rechecks")
    assert "1 dead letter resolved, 1 lead queued" in command(world, "retry", "--all")
    assert world.query("SELECT user_id, reason FROM leadstream.rechecks") == [
        (5, "a dead letter was retried: undecodable")
    ]
    assert [letter["number"] for letter in json.loads(command(world, "list", "--json")[2:])] == [
        listed["claims"]["number"]
    ]
    assert command(world, "discard", str(listed["claims"]["number"])).startswith("0 1 dead letter discarded")
    assert command(world, "list") == "0 no dead letters\n"
    assert command(world, "discard", "1000000000").startswith("1 ")
    assert command(world, "discard", "0").startswith("2 ")  # which is no number of a dead letter


@pytest.mark.parametrize("blind", [True, False])
def test_where_the_binlog_lacks_rows_every_lead_that_its_lane_knew_by_then_is_queued_for_a_recheck(
    world: ApplierWorld, blind: bool
) -> None:
    """And, where rows may have gone, judged by nothing that comes before it is read live."""
    world.applier()
    scribe = world.scribe
    live(scribe, range(1, 21))
    with scribe:
        scribe.sequencer.begin(None, 1, "binlog.000001", 900_000, time.time_ns() // 1000)
        scribe.sequencer.recheck("rows not in the binlog", blind=blind)
        scribe.sequencer.commit()
        scribe.transaction(("users", user(1, 77), user(1), 1))
    world.drain()
    with scribe:
        scribe.transaction(("users", user(2, 77), user(2), 2))
        scribe.transaction(("users", None, user(21), 21))
    world.drain()
    assert world.query("SELECT user_id, reason FROM leadstream.rechecks ORDER BY user_id") == [
        (number, "rows not in the binlog") for number in range(1, 21)
    ]
    held_back = world.query("SELECT user_id FROM leadstream.leads WHERE judge_after IS NOT NULL ORDER BY user_id")
    assert held_back == [(number,) for number in range(1, 21) if blind]
    judged = world.query("SELECT user_id FROM leadstream.stints WHERE opened_reason = 'signature_missing' ORDER BY 1")
    assert judged == [(number,) for number in (1, 2) if not blind]
