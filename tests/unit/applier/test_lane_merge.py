"""In-order merge of a lane's partitions, with hypothesis choosing how they interleave."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.applier.lane_merge import LaneMerge

PARTITIONS = 4
LIMIT = 5


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(partition, number, offset) of a lane's messages, in an order that Kafka might deliver them in."""
    partitions = draw(st.lists(st.integers(0, PARTITIONS - 1), max_size=60))
    queues: list[list[tuple[int, int, int]]] = [[] for _ in range(PARTITIONS)]
    for seq, partition in enumerate(partitions, 1):
        # Control records and aborted transactions leave gaps in offsets.
        offset = (queues[partition][-1][2] if queues[partition] else -1) + draw(st.integers(1, 3))
        queues[partition].append((partition, seq, offset))
    delivered = []
    while waiting := [queue for queue in queues if queue]:
        queue = draw(st.sampled_from(waiting))
        delivered.append(queue.pop(0))
    return delivered


def merge() -> LaneMerge[int]:
    return LaneMerge(1, [None] * PARTITIONS, LIMIT)


@settings(deadline=None)
@given(deliveries(), st.integers(1, 7))
def test_any_interleaving_of_partitions_gives_exactly_the_order_of_the_numbers(
    delivered: list[tuple[int, int, int]], popped_at_once: int
) -> None:
    lane = merge()
    out: list[int] = []
    for partition, seq, offset in delivered:
        assert lane.push(partition, seq, offset, seq)
        while items := lane.pop(popped_at_once):
            out += items
    assert out == list(range(1, len(delivered) + 1))
    assert len(lane) == 0


@settings(deadline=None)
@given(deliveries())
def test_reading_again_from_the_offsets_of_any_moment_repeats_and_misses_nothing(
    delivered: list[tuple[int, int, int]],
) -> None:
    lane = merge()
    for partition, seq, offset in delivered:
        lane.push(partition, seq, offset, seq)
        lane.pop(3)
        due = {number for other, number, place in delivered if (start := lane.offsets[other]) is None or place >= start}
        assert due == set(range(lane.next_seq, len(delivered) + 1))


@settings(deadline=None)
@given(st.data())
def test_memory_is_bounded_when_full_partitions_are_paused(data: st.DataObject) -> None:
    numbers = 60
    queues: list[list[int]] = [[] for _ in range(PARTITIONS)]
    for seq in range(1, numbers + 1):
        queues[data.draw(st.integers(0, PARTITIONS - 1))].append(seq)
    lane = merge()
    paused: set[int] = set()
    out: list[int] = []
    while len(out) < numbers:
        open_to = [p for p in range(PARTITIONS) if queues[p] and p not in paused]
        assert open_to, "every partition that still holds something is paused: nothing moves any more"
        partition = data.draw(st.sampled_from(open_to))
        lane.push(partition, seq := queues[partition].pop(0), seq, seq)
        out += lane.pop(numbers)
        paused = {p for p in range(PARTITIONS) if lane.full(p) or (p in paused and not lane.roomy(p))}
        assert len(lane) <= PARTITIONS * LIMIT
    assert out == sorted(out)


@settings(deadline=None)
@given(deliveries(), st.data())
def test_a_hole_is_detected_only_when_it_is_real_and_only_once_every_partition_is_past_it(
    delivered: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    missing = data.draw(st.sets(st.integers(1, len(delivered)), max_size=5)) if delivered else set()
    arriving = [message for message in delivered if message[1] not in missing]
    lane = merge()
    out: list[int] = []
    lost: set[int] = set()
    for position, (partition, seq, offset) in enumerate(arriving):
        lane.push(partition, seq, offset, seq)
        out += lane.pop(99)
        ahead = {other for other, _, _ in arriving[position + 1 :]}
        ended = set(range(PARTITIONS)) - ahead
        while numbers := lane.lost(ended):
            lost |= set(range(lane.next_seq, lane.next_seq + numbers))
            lane.skip(numbers)
            out += lane.pop(99)
    assert lost <= missing
    assert out == sorted({seq for _, seq, _ in arriving})
    assert lost == {seq for seq in missing if seq < max(out, default=0)}


@settings(deadline=None)
@given(deliveries())
def test_while_a_partition_may_still_bring_the_number_nothing_counts_as_lost(
    delivered: list[tuple[int, int, int]],
) -> None:
    lane = merge()
    for partition, seq, offset in delivered:
        if seq != 1:
            lane.push(partition, seq, offset, seq)
            assert lane.pop(99) == []
            if lane.waits_for():
                assert lane.lost(()) == 0


def test_a_number_that_comes_twice_is_refused_and_its_offset_is_behind_us() -> None:
    lane = merge()
    assert lane.push(0, 1, 10, 1)
    assert not lane.push(1, 1, 20, 1)
    assert lane.pop(9) == [1]
    assert not lane.push(0, 1, 11, 1)
    assert lane.offsets == [12, 21, None, None]


def test_a_message_without_a_number_is_behind_us_only_when_all_before_it_are() -> None:
    lane = merge()
    lane.push(0, 2, 10, 2)
    lane.pass_over(0, 11)
    assert lane.offsets[0] is None
    lane.push(1, 1, 5, 1)
    assert lane.pop(9) == [1, 2]
    assert lane.offsets[0] == 12


def test_a_lane_that_holds_nothing_has_lost_nothing() -> None:
    lane = merge()
    assert lane.waits_for() == []
    assert lane.lost({0, 1, 2, 3}) == 0


def test_at_most_as_many_are_popped_as_asked_for() -> None:
    lane = merge()
    for seq in range(1, 8):
        lane.push(0, seq, seq, seq)
    assert lane.pop(3) == [1, 2, 3]
    assert lane.ready
    assert lane.next_seq == 4


def test_what_kafka_sends_again_moves_no_offset_back() -> None:
    lane: LaneMerge[str] = LaneMerge(1, [None, None], 10)
    assert lane.push(0, 1, 7, "first")
    assert lane.pop(10) == ["first"]
    assert not lane.push(0, 1, 3, "first")
    assert lane.offsets == [8, None]


def test_an_item_dropped_leaves_its_offset_behind_only_once_all_before_it_are() -> None:
    lane = merge()
    lane.push(0, 2, 10, 2)
    lane.push(0, 900, 11, 900)
    lane.push(0, 901, 12, 901)
    assert lane.beyond(900, 1) == [(900, 0, 11)]
    assert (lane.top, lane.drop(901), lane.drop(900), lane.top) == (901, 901, 900, 2)
    assert lane.offsets[0] is None
    assert lane.waits_for() == [1, 2, 3]
    lane.push(1, 1, 3, 1)
    assert lane.pop(9) == [1, 2]
    assert lane.offsets[:2] == [13, 4]


def test_the_only_item_of_a_partition_once_dropped_is_behind_us() -> None:
    lane = merge()
    lane.push(0, 900, 10, 900)
    lane.drop(900)
    assert lane.offsets[0] == 11
    assert not lane.holds_before(0, 99)


def test_an_item_dropped_after_later_ones_were_taken_takes_no_offset_back() -> None:
    lane = merge()
    lane.push(0, 900, 10, 900)
    lane.push(0, 1, 11, 1)
    lane.pop(9)
    lane.drop(900)
    assert lane.offsets[0] == 12
    assert len(lane) == 0


def test_a_partition_is_paused_when_it_is_full_and_resumed_at_half() -> None:
    lane = LaneMerge[int](1, [None] * PARTITIONS, 6)
    for number in range(2, 8):
        assert not lane.full(0)
        lane.push(0, number, number, number)
    assert lane.full(0)
    lane.push(1, 1, 1, 1)
    for _ in range(3):
        assert not lane.roomy(0)
        lane.pop(1)
    lane.pop(1)
    assert lane.roomy(0)


def test_what_is_held_behind_an_offset_and_before_it() -> None:
    lane = merge()
    lane.push(2, 5, 10, 5)
    lane.push(2, 6, 12, 6)
    lane.push(1, 7, 11, 7)
    assert lane.held_behind(2, 9) == [5, 6]
    assert lane.held_behind(2, 10) == [6]
    assert lane.held_behind(2, 12) == []
    assert lane.held_behind(3, 0) == []
    assert not lane.holds_before(2, 9)
    assert lane.holds_before(2, 10)
    assert not lane.holds_before(3, 99)
