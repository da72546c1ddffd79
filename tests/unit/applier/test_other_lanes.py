"""Lanes that wait for others: for how long, and how seldom PostgreSQL is asked."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.applier.assigned_lane import Lane
from consumer.applier.other_lanes import ASK_SECONDS, SOON_SECONDS, STILL_SECONDS, OtherLanes
from consumer.leads.model import Change, ClaimRow, Table
from consumer.store.lanes import LaneState


def at(epoch: int, next_seq: int) -> LaneState:
    return LaneState(epoch, next_seq, 0, {})


class Trial:
    """Other lanes in PostgreSQL, a clock, and what was asked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.position = at(1, 5)
        self.asked: list[list[int]] = []
        self.others = OtherLanes(self.positions, lambda: self.now)

    def positions(self, lanes: Sequence[int]) -> dict[int, LaneState]:
        self.asked.append(list(lanes))
        return dict.fromkeys(lanes, self.position)


def change(version: int) -> Change:
    return Change(8, Table.CLAIMS, None, ClaimRow("10", 8, "open"), version, version, True)


def lane(number: int = 3, *, waits: bool = True) -> Lane:
    """A lane with three changes, the second of which comes after number 7 of lane 4."""
    made = Lane(number, at(1, 1), 100)
    for seq in (1, 2, 3):
        assert made.merge.push(1, seq, seq, change(seq))
    if waits:
        made.comes_after(2, [(4, 7)])
    return made


def test_a_lane_goes_as_far_as_the_change_that_comes_after_another_lanes() -> None:
    trial, one = Trial(), lane()
    assert trial.others.may_go(one, {3: one})
    assert one.gather(99)[0] == 1
    assert not trial.others.may_go(one, {3: one})
    assert trial.others.waiting == {3}
    trial.others.look()
    assert not trial.others.may_go(one, {3: one})
    trial.position = at(1, 8)
    trial.now += ASK_SECONDS
    trial.others.look()
    assert trial.others.may_go(one, {3: one})
    assert one.gather(99)[0] == 2
    assert trial.asked == [[4], [4]]
    part = one.take()
    assert part is not None
    assert not any(change.moved for change in part.changes)


def asked_in(trial: Trial, one: Lane, seconds: float) -> int:
    """How often PostgreSQL is asked in so long, in which there is a look every 5 ms."""
    before = len(trial.asked)
    for _ in range(round(seconds / 0.005)):
        trial.others.look()
        assert not trial.others.may_go(one, {3: one})
        trial.now += 0.005
    return len(trial.asked) - before


def test_postgresql_is_asked_soon_where_lanes_move_and_only_now_and_then_where_they_do_not() -> None:
    trial, one = Trial(), lane()
    one.gather(1)
    assert not trial.others.may_go(one, {3: one})
    assert asked_in(trial, one, 0.1) in (3, 4)
    assert asked_in(trial, one, 10 * ASK_SECONDS) in (9, 10, 11)
    trial.position = at(1, 6)
    assert asked_in(trial, one, ASK_SECONDS) >= 1
    for seq in (1, 2, 3, 4, 5):
        trial.position = at(1, seq)
        assert asked_in(trial, one, 5 * SOON_SECONDS) >= 1


def test_a_lane_of_our_own_has_passed_what_lies_in_an_earlier_batch_and_nobody_is_asked() -> None:
    trial, one = Trial(), lane()
    other = Lane(4, at(1, 7), 100)
    assert other.merge.push(1, 7, 7, change(1))
    one.gather(1)
    assert not trial.others.may_go(one, {3: one, 4: other})
    other.gather(99)
    assert not trial.others.may_go(one, {3: one, 4: other})
    other.take()
    assert trial.others.may_go(one, {3: one, 4: other})
    assert trial.asked == []


def wait(trial: Trial, seconds: float, *, busy: bool = False) -> None:
    """Looks again and again for so long."""
    for _ in range(round(seconds * 2)):
        trial.now += 0.5
        trial.others.look(busy=busy)


def test_a_lane_that_stands_still_is_waited_for_within_bounds_and_then_the_lead_is_read_live() -> None:
    trial, one = Trial(), lane()
    one.gather(1)
    assert not trial.others.may_go(one, {3: one})
    wait(trial, STILL_SECONDS - 1)
    assert not trial.others.may_go(one, {3: one}), "it has just been seen for the first time"
    wait(trial, STILL_SECONDS - 1)
    assert not trial.others.may_go(one, {3: one})
    trial.position = at(1, 6)
    wait(trial, 1)
    assert not trial.others.may_go(one, {3: one}), "it moves, however far behind it is"
    wait(trial, STILL_SECONDS - 1)
    assert not trial.others.may_go(one, {3: one})
    wait(trial, 2)
    assert trial.others.may_go(one, {3: one})
    one.gather(99)
    part = one.take()
    assert part is not None
    assert [change.moved for change in part.changes] == [False, True, False]


def test_nothing_is_given_up_because_postgresql_was_away() -> None:
    trial, one = Trial(), lane()
    other = Lane(4, at(1, 7), 100)
    one.gather(1)
    for lanes in ({3: one}, {3: one, 4: other}):
        assert not trial.others.may_go(one, lanes)
        wait(trial, 10 * STILL_SECONDS, busy=True)
        assert not trial.others.may_go(one, lanes), "a batch of ours waits for PostgreSQL"
        trial.now += 10 * STILL_SECONDS
        trial.others.look()
        assert not trial.others.may_go(one, lanes), "the question waited for PostgreSQL"


def test_lanes_of_a_later_epoch_have_passed_everything_of_an_earlier_one() -> None:
    trial, one = Trial(), lane()
    trial.position = at(2, 1)
    one.gather(1)
    assert not trial.others.may_go(one, {3: one})
    trial.others.look()
    assert trial.others.may_go(one, {3: one})
