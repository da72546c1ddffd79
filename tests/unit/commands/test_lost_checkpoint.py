"""Where a stream stands whose checkpoint is lost, by its newest messages and PostgreSQL's lanes."""

from __future__ import annotations

import json

from msgspec import structs

from consumer.commands.lost_checkpoint import LastKnown, Newest, StreamReached, beyond, is_set_back, known, reached
from consumer.commands.tails import PartitionEnds, Tail, as_tail
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.envelope import EnvelopeWriter, StreamPosition

LANES = {0: LaneState(1, 5, 90, {}), 1: LaneState(1, 3, 80, {})}


def row(lane: int, seq: int, version: int, *, last: bool = True, order: int = 1, epoch: int = 1) -> Tail:
    return Tail(lane, epoch, seq, version, version, last, f"g:{version}", order, "b.000002", 100 + order, "", "shop")


def beat(lane: int, seq: int, version: int, *, pos: int = 0) -> Tail:
    return Tail(lane, 1, seq, version, version, True, "", 0, "b.000002" if pos else "", pos, "s" if pos else "", "shop")


def place_of(found: list[Tail], lanes: dict[int, LaneState], *empty: tuple[str, int, int]) -> LastKnown | None:
    return known(PartitionEnds(found, list(empty)), lanes)


def test_numbers_go_on_behind_kafka_and_postgresql() -> None:
    found = [row(0, 7, 100), beat(0, 8, 120), row(1, 1, 70)]
    assert reached(found, LANES) == StreamReached(1, [9, 3], 120)
    assert reached([], LANES) == StreamReached(1, [5, 3], 90)
    assert reached([row(0, 50, 999, epoch=2)], LANES) == StreamReached(1, [5, 3], 90), (
        "another epoch's number says nothing"
    )


def test_kafka_is_whole_where_it_has_what_every_lane_applied_last() -> None:
    assert place_of([row(0, 4, 90), row(1, 2, 80)], LANES) is not None
    assert place_of([row(0, 4, 90), row(1, 1, 70)], LANES) is None
    assert place_of([row(0, 4, 90)], LANES) is None
    assert place_of([row(0, 1, 5)], {0: LaneState(1, 1, 0, {})}) is not None
    assert place_of([], {0: LaneState(1, 1, 0, {})}) is None


def test_the_newest_transaction_is_where_the_stream_was_if_nothing_came_behind_it() -> None:
    found = [row(0, 7, 100, order=3), row(1, 4, 100, order=2), beat(0, 3, 90, pos=50), beat(1, 5, 90, pos=50)]
    newest = Newest("g:100", "b.000002", 103, 100, 100, 3, [])
    assert place_of(found, LANES) == LastKnown(found[2], newest, "shop", "b.000002")
    assert place_of(found[:2], LANES) == LastKnown(None, newest, "shop", "b.000002")


def test_a_heartbeat_behind_it_says_where_the_stream_was() -> None:
    found = [row(0, 7, 100), beat(0, 8, 100, pos=180), row(1, 4, 100), beat(1, 5, 100, pos=180)]
    assert place_of(found, LANES) == LastKnown(found[1], None, "shop", "b.000002")


def test_rows_that_went_from_a_topic_are_not_sent_again() -> None:
    found = [row(0, 4, 60), beat(0, 8, 120, pos=900), beat(1, 5, 120, pos=900)]
    assert place_of(found, LANES) == LastKnown(found[1], None, "shop", "b.000002"), "rows of after 60 may be gone since"
    found = [row(0, 4, 60), beat(0, 8, 120), beat(1, 5, 120)]
    assert place_of(found, LANES) is None, "nothing says where it was at 120"
    found = [beat(0, 8, 120, pos=900), beat(1, 5, 120, pos=900), beat(0, 9, 130)]
    assert place_of(found, LANES) is None, "what came at 130 has no place"


def test_a_transaction_that_is_there_in_part_is_taken_up_behind_its_rows() -> None:
    found = [row(0, 7, 100, order=30, last=False), row(1, 4, 100, order=29, last=False), beat(1, 3, 90, pos=50)]
    newest = Newest("g:100", "b.000002", 130, 100, 100, 30, [0, 1])
    assert place_of(found, LANES) == LastKnown(found[2], newest, "shop", "b.000002")


def test_a_transaction_of_which_rows_may_have_gone_says_no_place() -> None:
    found = [row(0, 7, 100), beat(0, 3, 90, pos=50), beat(1, 2, 90, pos=50)]
    assert place_of(found, LANES) is not None
    assert place_of(found, LANES, ("claims", 1, 0)) is not None, "nothing was ever there"
    assert place_of(found, LANES, ("claims", 1, 4)) is None
    lanes = {**LANES, 1: LANES[1]._replace(offsets={"claims": 4})}
    assert place_of(found, lanes, ("claims", 1, 0)) is None, "the topic was made anew"
    assert place_of([*found, beat(1, 5, 120, pos=60)], LANES, ("claims", 1, 4)) is not None, "its numbers show a gap"
    notice = Tail(1, 1, 9, 100, 100, False, "", 0, "", 0, "", "shop")
    cut = row(0, 7, 100, last=False)
    assert place_of([cut, beat(0, 3, 90, pos=50), notice], LANES) is None, "how many of its rows are there is not said"


def test_what_is_no_message_of_the_readers_is_passed() -> None:
    assert as_tail(0, b"\xff") is None
    assert as_tail(0, b'{"lane":{"epoch":1}}') is None
    assert (
        as_tail(0, b'{"source":{"ts_us":1,"file":"\xff"},"lane":{"epoch":1,"seq":1,"version":1,"last":true}}') is None
    )
    message = {
        "op": "c",
        "source": {"ts_us": 5, "file": "b.000001", "pos": 7, "table": "users"},
        "transaction": {"id": "g:1", "total_order": 2},
        "lane": {"epoch": 1, "seq": 3, "version": 6, "last": True, "user_id": 1},
    }
    assert as_tail(2, json.dumps(message).encode()) == Tail(2, 1, 3, 6, 5, True, "g:1", 2, "b.000001", 7)


def test_a_heartbeat_says_where_the_stream_stands() -> None:
    writer = EnvelopeWriter("shop", "mysql", "firm", 1)
    assert as_tail(0, writer.heartbeat(3, 6, 5).encode()) == Tail(0, 1, 3, 6, 5, True, "", 0, "", 0)
    stands = writer.heartbeat(3, 6, 5, StreamPosition("u-1", "b.000002", 77))
    assert as_tail(0, stands.encode()) == Tail(0, 1, 3, 6, 5, True, "", 0, "b.000002", 77, "u-1", "firm")


def test_a_checkpoint_behind_what_is_applied_says_that_kafka_lost_its_newest_part() -> None:
    last = Checkpoint(
        epoch=1, flavor="mysql", server="s", gtid_set="", file="b.000002", pos=4, version=85, next_seqs=[5, 3]
    )
    assert not is_set_back(last, LANES)
    assert is_set_back(structs.replace(last, next_seqs=[9, 2]), LANES)
    assert not is_set_back(structs.replace(last, epoch=2, next_seqs=[1, 1]), LANES), "its numbers began anew"
    assert beyond(structs.replace(last, next_seqs=[9, 2]), LANES) == StreamReached(1, [9, 3], 90)
    assert beyond(structs.replace(last, epoch=2, next_seqs=[1, 1]), LANES) == StreamReached(2, [1, 1], 85)
