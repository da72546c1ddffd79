"""Where a stream stands whose checkpoint is lost, by its newest messages and PostgreSQL's lanes."""

from __future__ import annotations

import json

from consumer.store.lanes import LaneState
from consumer.stream.lost_checkpoint import Newest, Reached, are_whole, newest, reached
from consumer.stream.tails import Tail, as_tail

LANES = {0: LaneState(1, 5, 90, {}), 1: LaneState(1, 3, 80, {})}


def row(lane: int, seq: int, version: int, *, last: bool = True, order: int = 1, epoch: int = 1) -> Tail:
    return Tail(lane, epoch, seq, version, version, last, f"g:{version}", order, "b.000002", 100 + order)


def beat(lane: int, seq: int, version: int, *, last: bool = True) -> Tail:
    return Tail(lane, 1, seq, version, version, last, "", 0, "", 0)


def test_numbers_go_on_behind_kafka_and_postgresql() -> None:
    found = [row(0, 7, 100), beat(0, 8, 120), row(1, 1, 70)]
    assert reached(found, LANES) == Reached(1, [9, 3], 120)
    assert reached([], LANES) == Reached(1, [5, 3], 90)
    assert reached([row(0, 50, 999, epoch=2)], LANES) == Reached(1, [5, 3], 90), "another epoch's number says nothing"


def test_kafka_is_whole_where_it_has_what_every_lane_applied_last() -> None:
    assert are_whole([row(0, 4, 90), row(1, 2, 80)], LANES)
    assert not are_whole([row(0, 4, 90), row(1, 1, 70)], LANES)
    assert not are_whole([row(0, 4, 90)], LANES)
    assert are_whole([], {0: LaneState(1, 1, 0, {})})


def test_the_newest_transaction_is_the_last_one_that_has_rows() -> None:
    found = [row(0, 7, 100, order=3), row(1, 4, 100, order=2), beat(0, 8, 120), beat(1, 5, 120)]
    assert newest(found, 1) == Newest("g:100", "b.000002", 103, 100, 100, 3, [])
    assert newest([beat(0, 8, 120)], 1) is None
    assert newest(found, 2) is None


def test_a_transaction_that_is_there_in_part_is_taken_up_behind_its_rows() -> None:
    found = [row(0, 7, 100, order=30, last=False), row(1, 4, 100, order=29, last=False), beat(1, 3, 90)]
    assert newest(found, 1) == Newest("g:100", "b.000002", 130, 100, 100, 30, [0, 1])


def test_what_is_no_message_of_the_readers_is_passed() -> None:
    assert as_tail(0, b"\xff") is None
    assert as_tail(0, b'{"lane":{"epoch":1}}') is None
    message = {
        "op": "c",
        "source": {"ts_us": 5, "file": "b.000001", "pos": 7, "table": "users"},
        "transaction": {"id": "g:1", "total_order": 2},
        "lane": {"epoch": 1, "seq": 3, "version": 6, "last": True, "user_id": 1},
    }
    assert as_tail(2, json.dumps(message).encode()) == Tail(2, 1, 3, 6, 5, True, "g:1", 2, "b.000001", 7)
