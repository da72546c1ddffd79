"""A number that is late is told from one that is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest

from consumer.applier.assigned_lane import Lane
from consumer.applier.gaps import PATIENCE_SECONDS, Gaps
from consumer.leads.model import Change
from consumer.store.lanes import LaneState
from consumer.stream.envelope import NOBODY


def beat(version: int) -> Change:
    return Change(NOBODY, None, None, None, version, version, True)


class Ends:
    """Kafka's answer, which grows between questions."""

    def __init__(self) -> None:
        self.at: list[int] | None = [10, 10, 10, 10]
        self.asked = 0

    def __call__(self, lane: int) -> list[int] | None:
        assert lane == 0
        self.asked += 1
        return self.at and list(self.at)


def waiting_lane() -> Lane:
    """Waits for number 5; the partition of heartbeats holds number 7."""
    lane = Lane(0, LaneState(1, 5, 0, {}), 100)
    lane.merge.push(3, 7, 9, beat(7))
    return lane


def read_to(gaps: Gaps, offset: int) -> None:
    for partition in range(3):
        gaps.reached(0, partition, offset)


def test_a_lane_that_holds_nothing_or_has_its_next_number_lacks_none() -> None:
    ends = Ends()
    gaps = Gaps(ends)
    lane = waiting_lane()
    assert gaps.lost(lane, 0) == 0
    lane.merge.push(0, 5, 3, beat(5))
    assert gaps.lost(lane, 10_000) == 0
    assert Gaps(ends).lost(Lane(0, LaneState(1, 5, 0, {}), 100), 10_000) == 0
    assert ends.asked == 0


def test_a_number_is_lost_once_every_partition_was_read_to_an_end_asked_for_after_the_gap_was_seen() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    read_to(gaps, 10)
    assert gaps.lost(lane, 0.0) == 0
    assert ends.asked == 0
    ends.at = [12, 10, 10, 10]
    assert gaps.lost(lane, 2.0) == 0
    gaps.reached(0, 0, 12)
    assert gaps.lost(lane, 2.5) == 2
    assert ends.asked == 1


def test_the_ends_of_an_earlier_gap_say_nothing_about_the_next_one() -> None:
    """On a busy lane there is some gap at every look; none of them is old."""
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    gaps.lost(lane, 0.0)
    gaps.lost(lane, 2.0)
    lane.merge.push(0, 5, 10, beat(5))
    lane.merge.push(0, 6, 11, beat(6))
    assert len(lane.merge.pop(10)) == 3
    lane.merge.push(3, 9, 12, beat(9))
    read_to(gaps, 12)
    ends.at = [20, 20, 20, 20]
    assert gaps.lost(lane, 2.5) == 0, "number 8 may still come: it was missed only now"
    assert gaps.lost(lane, 9.0) == 0, "number 8 may lie between 12 and 20"
    read_to(gaps, 20)
    assert gaps.lost(lane, 9.5) == 1


def test_while_kafka_does_not_say_where_partitions_end_nothing_is_given_up() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    read_to(gaps, 1000)
    ends.at = None
    gaps.lost(lane, 0.0)
    assert gaps.lost(lane, 5.0) == 0


def test_kafka_is_asked_less_and_less_often_where_it_does_not_say_and_at_once_for_the_next_gap() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    ends.at = None
    for tenth in range(1200):
        gaps.lost(lane, tenth / 10)
    assert 5 < ends.asked < 20
    ends.at = [10, 10, 10, 10]
    gaps.lost(lane, 130.0)
    asked = ends.asked
    read_to(gaps, 10)
    assert gaps.lost(lane, 130.1) == 2
    lane.skip(2)
    lane.merge.pop(1)
    lane.merge.push(3, 9, 12, beat(9))
    gaps.lost(lane, 131.0)
    gaps.lost(lane, 132.0)
    assert ends.asked == asked + 1


def test_a_pause_begins_where_the_question_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose brokers are away waits longer than any pause is."""
    clock = [0.0]
    monkeypatch.setattr("consumer.applier.gaps.time.monotonic", lambda: clock[0])
    asked: list[float] = []

    def ends(_: int) -> list[int] | None:
        clock[0] += 10.0
        asked.append(clock[0])
        return None

    gaps, lane = Gaps(ends), waiting_lane()
    while clock[0] < 100.0:
        gaps.lost(lane, clock[0])
        clock[0] += 0.1
    pauses = [later - 10.0 - before for before, later in pairwise(asked)]
    assert len(pauses) >= 4
    assert pauses == sorted(pauses)
    assert all(pause > least for pause, least in zip(pauses, (0.4, 0.9, 1.9, 3.9), strict=False)), pauses


def test_lanes_of_which_kafka_did_not_say_are_looked_at_behind_the_others() -> None:
    gaps, lane = Gaps(lambda _: None), waiting_lane()
    gaps.lost(lane, 0.0)
    assert gaps.in_turn([0, 1, 2]) == [0, 1, 2]
    gaps.lost(lane, 5.0)
    assert gaps.in_turn([0, 1, 2]) == [1, 2, 0]
    gaps.forget()
    assert gaps.in_turn([0, 1, 2]) == [0, 1, 2]


def test_what_was_read_before_lanes_are_read_from_other_places_says_nothing() -> None:
    gaps, lane = Gaps(Ends()), waiting_lane()
    read_to(gaps, 10)
    gaps.forget()
    gaps.lost(lane, 0.0)
    assert gaps.lost(lane, 5.0) == 0, "the missing number may lie in what is read once more"
    read_to(gaps, 10)
    assert gaps.lost(lane, 6.0) == 2


def test_a_partition_that_was_never_read_to_its_end_may_still_bring_the_number() -> None:
    ends = Ends()
    ends.at = [0, 1, 0, 0]
    gaps, lane = Gaps(ends), waiting_lane()
    gaps.reached(0, 0, 0)
    gaps.reached(0, 2, 0)
    assert gaps.lost(lane, 0.0) == 0
    assert gaps.lost(lane, 60.0) == 0
    gaps.reached(0, 1, 1)
    assert gaps.lost(lane, 61.0) == 2


def test_a_gap_is_looked_at_when_it_has_lasted_for_as_long_as_anybody_waits() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    read_to(gaps, 10)
    assert gaps.lost(lane, 100.0) == 0
    assert gaps.lost(lane, 100.0 + PATIENCE_SECONDS * 0.99) == 0
    assert ends.asked == 0
    assert gaps.lost(lane, 100.0 + PATIENCE_SECONDS) == 2


def test_a_lane_that_was_idle_waits_as_long_as_any_for_a_number_that_is_missing() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), Lane(0, LaneState(1, 5, 0, {}), 100)
    read_to(gaps, 10)
    assert gaps.lost(lane, 0.0) == 0
    lane.merge.push(3, 7, 9, beat(7))
    assert gaps.lost(lane, 50.0) == 0
    assert ends.asked == 0


def test_a_number_that_came_and_turned_out_to_be_none_of_the_lanes_is_waited_for_anew() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    read_to(gaps, 10)
    gaps.lost(lane, 0.0)
    lane.merge.push(0, 5, 9, beat(5))
    gaps.lost(lane, 1.0)
    lane.drop(5)
    assert gaps.lost(lane, 5.0) == 0
    assert ends.asked == 0


def test_where_every_partition_is_past_the_number_kafka_is_not_asked() -> None:
    ends = Ends()
    gaps, lane = Gaps(ends), waiting_lane()
    for partition in range(3):
        lane.merge.push(partition, 8 + partition, 9, beat(8))
    gaps.lost(lane, 0.0)
    assert gaps.lost(lane, 5.0) == 2
    assert ends.asked == 0
