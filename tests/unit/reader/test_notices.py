"""What stands for a row that cannot be sent says where it was, why, and who is to be read live."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from consumer.lane import lane_of
from consumer.reader.sequencer import Sequencer
from consumer.stream.envelope import LAST
from tests.unit.reader.kafka import LANES, Kafka, Sent, single

LARGEST = 4_000
LARGE = json.dumps({"id": 1, "type": "a" * LARGEST})
MIDDLING = f'{{"id":1,"type":"{"ä" * 1_000}"}}'
"""As many bytes as make a look at them necessary, and few enough."""

Way = Callable[[Sequencer, str], None]


def as_row(sequencer: Sequencer, after: str) -> None:
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.row("claims", "c", None, after, 1, 1, 120, 4)
    sequencer.commit()


def as_single(sequencer: Sequencer, after: str) -> None:
    sequencer.singles([single(7, 10, 10, table="claims", after=after, pos=120)], [1])


def as_orphan(sequencer: Sequencer, after: str) -> None:
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.orphan("claims", "c", None, after, None, "c1", 120, 4)
    sequencer.commit()


def place(sent: Sent) -> tuple[str, int, int]:
    source = sent.value["source"]
    return source["file"], source["pos"], source["row"]


@pytest.mark.parametrize(
    ("way", "where", "users"),
    [
        (as_row, ("b.000003", 120, 4), [1]),
        (as_single, ("b.000001", 120, 0), [1]),
        (as_orphan, ("b.000003", 120, 4), [None] * LANES),
    ],
)
def test_the_notice_for_a_row_that_is_too_large_says_which_row_of_which_table_it_was(
    way: Way, where: tuple[str, int, int], users: list[int | None]
) -> None:
    kafka = Kafka()
    way(kafka.sequencer(largest=LARGEST), LARGE)
    assert [place(sent) for sent in kafka.open] == [where] * len(users)
    assert [sent.value["lane"]["user_id"] for sent in kafka.open] == users
    assert {sent.value["lane"]["recheck"] for sent in kafka.open} == {"a row of claims is larger than a message may be"}
    assert {sent.topic for sent in kafka.open} == {"p.heartbeats"}


@pytest.mark.parametrize("way", [as_row, as_single])
def test_the_notice_for_a_row_that_is_too_large_lies_where_the_row_would(way: Way) -> None:
    kafka = Kafka()
    way(kafka.sequencer(largest=LARGEST), LARGE)
    assert [(sent.key, sent.lane) for sent in kafka.open] == [("1", lane_of(1, LANES))]


@pytest.mark.parametrize("way", [as_row, as_single, as_orphan])
def test_a_row_that_is_only_nearly_too_large_is_sent(way: Way) -> None:
    kafka = Kafka()
    way(kafka.sequencer(largest=LARGEST), MIDDLING)
    assert not kafka.notices()
    assert "p.claims" in {sent.topic for sent in kafka.open}


@pytest.mark.parametrize(("way", "ending"), [(as_row, LAST), (as_single, ""), (as_orphan, LAST)])
def test_a_row_of_just_as_many_bytes_as_kafka_takes_is_sent_and_one_of_one_more_is_not(way: Way, ending: str) -> None:
    for room, topic in ((0, "p.claims"), (-1, "p.heartbeats")):
        kafka = Kafka()
        way(kafka.sequencer(), MIDDLING)
        (size,) = (_bytes(sent.value) - len(ending) for sent in kafka.open if sent.topic == "p.claims")
        told: list[tuple[object, ...]] = []
        taken = size + room
        way(kafka.sequencer(largest=taken + 1024, oversized=lambda *said, told=told: told.append(said)), MIDDLING)
        assert kafka.open[0].topic == topic
        assert [said[-1] for said in told] == [
            f"a row of claims is larger than a message may be: {size} bytes, and Kafka's client takes {taken}"
            " (message.max.bytes)"
        ] * -room


def _bytes(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


@pytest.mark.parametrize(("users", "many"), [(None, LANES), ([1, 2], 2)])
def test_the_notice_for_a_row_that_cannot_be_read_says_where_its_transaction_begins(
    users: list[int] | None, many: int
) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.unreadable(users, "damaged")
    sequencer.commit()
    assert [(sent.value["source"]["file"], sent.value["source"]["pos"]) for sent in kafka.open] == [
        ("b.000003", 100)
    ] * many


def test_a_notice_inside_a_transaction_counts_as_one_row() -> None:
    sequencer = Kafka().sequencer()
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.recheck("TRUNCATE of users")
    assert sequencer.rows == 1


def test_a_notice_between_transactions_lies_with_the_heartbeats_and_is_dated_by_the_servers_clock() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.recheck_all("purged", 6_000)
    assert [(sent.topic, sent.value["source"]["ts_us"]) for sent in kafka.open] == [("p.heartbeats", 6_000)] * LANES
    assert (sequencer.ts_us, sequencer.applied_us) == (6_000, 6_000)


def test_rows_that_are_not_sent_count_and_those_behind_them_keep_their_numbers() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    for table in ("users", "claims", "claims"):
        sequencer.unchanged(table)
    sequencer.row("claims", "u", "{}", "{}", 1, 1, 120, 0)
    sequencer.row("users", "u", "{}", "{}", 1, 1, 130, 0)
    sequencer.row("claim_requirements", "u", "{}", "{}", 1, 1, 140, 0)
    sequencer.commit()
    assert [_orders(sent) for sent in kafka.open] == [(4, 3), (5, 2), (6, 1)]


def test_rows_whose_user_nobody_knows_are_numbered_with_all_others_and_in_their_table() -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.orphan("claim_requirements", "c", None, "{}", None, "c1", 110, 0)
    sequencer.orphan("claims", "c", None, "{}", 5, "c1", 120, 0)
    sequencer.orphan("claim_requirements", "c", None, "{}", None, "c1", 130, 0)
    sequencer.commit()
    assert {(sent.value["source"]["pos"], *_orders(sent)) for sent in kafka.open} == {
        (110, 1, 1),
        (120, 2, 1),
        (130, 3, 2),
    }


def _orders(sent: Sent) -> tuple[int, int]:
    said = sent.value["transaction"]
    return said["total_order"], said["data_collection_order"]


@pytest.mark.parametrize(("user_id", "ties"), [(8911, {"likely": True}), (None, None)])
def test_only_a_row_that_lies_with_a_likely_user_says_so(user_id: int | None, ties: object) -> None:
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.orphan("claims", "c", None, "{}", user_id, 77, 110, 0)
    sequencer.commit()
    for sent in kafka.open:
        block = sent.value["lane"]
        assert block.get("ties") == (ties if sent.topic == "p.claims" else None)
        assert "moved" not in block


def test_of_very_many_users_who_cannot_be_read_none_is_left_out_and_memory_stays_flat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An update of every row in a session with another binlog_row_image is one transaction."""
    monkeypatch.setattr("consumer.reader.sequencer.ASKED_KEPT", 10)
    kafka = Kafka()
    sequencer = kafka.sequencer()
    sequencer.begin("g:7", 1, "b.000003", 100, 10)
    sequencer.recheck("a statement")
    for user_id in [*range(100), 99]:
        sequencer.unreadable([user_id], "partial")
        assert len(sequencer._asked) <= 11
    sequencer.recheck("a statement")
    sequencer.commit()
    assert sequencer.rows == 102
    asked = [sent.value["lane"]["user_id"] for sent in kafka.open]
    assert sorted(user for user in asked if user is not None) == [*range(100)]
    assert asked.count(None) == LANES
