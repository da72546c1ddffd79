"""Waiting for lanes to pass a read."""

from __future__ import annotations

import itertools
from threading import Event

import pytest

from consumer.store.lanes import LanePoint
from reconciler.runs.wait_for_stream import LaneMonitor, Stopped, Waited, after_first_moves


def test_a_lane_that_has_passed_is_not_waited_for() -> None:
    patience = 0.0  # one look, no more
    assert LaneMonitor(lambda: {0: LanePoint(10, 1)}, 30, patience, Event()).wait({0: 10}) == Waited(set(), set())
    assert LaneMonitor(lambda: {0: LanePoint(9, 1)}, 30, patience, Event()).wait({0: 10}) == Waited({0}, set())


def test_where_no_applier_comes_while_lanes_would_stand_still_there_is_no_stream() -> None:
    monitor = LaneMonitor(lambda: {0: LanePoint(0, 1)}, 0.2, 30.0, Event(), poll_seconds=0.02)
    assert monitor.look({0: 10}) == Waited({0}, set())
    assert monitor.wait({0: 10}) == Waited(set(), set())


def test_that_there_is_no_stream_is_found_out_however_short_patience_is() -> None:
    monitor = LaneMonitor(lambda: {0: LanePoint(0, 1)}, 0.2, 0.0, Event(), poll_seconds=0.02)
    assert monitor.wait({0: 10}) == Waited(set(), set())


def test_that_there_is_no_stream_is_waited_for_once_and_not_for_each_lane() -> None:
    monitor = LaneMonitor(lambda: {0: LanePoint(0, 1), 1: LanePoint(0, 1)}, 0.2, 30.0, Event(), poll_seconds=0.02)
    assert monitor.wait({0: 10}) == Waited(set(), set())
    assert monitor.look({1: 10}) == Waited(set(), set())


def test_an_applier_that_is_there_and_has_moved_nothing_is_a_stream_that_is_waited_for() -> None:
    looks = itertools.count()

    def look() -> dict[int, LanePoint]:
        return {0: LanePoint(0, 1, owner="applier" if next(looks) else None)}

    monitor = LaneMonitor(look, 0.2, 30.0, Event(), poll_seconds=0.02)
    assert monitor.wait({0: 10}) == Waited(set(), {0})


def test_the_first_moves_are_waited_for_where_an_applier_is_there() -> None:
    points = {0: LanePoint(0, 1), 1: LanePoint(0, 1)}
    assert after_first_moves(lambda: points, 30, Event()) is points
    points = {0: LanePoint(7, 1, owner="applier"), 1: LanePoint(0, 1, owner="applier")}
    assert after_first_moves(lambda: points, 0, Event()) is None
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        after_first_moves(lambda: points, 30, stop)
    points = {0: LanePoint(7, 1), 1: LanePoint(8, 1)}
    assert after_first_moves(lambda: points, 0, Event()) is points


def test_a_lane_that_stands_still_is_waited_for_once() -> None:
    looks: list[int] = []

    def look() -> dict[int, LanePoint]:
        looks.append(1)
        return {0: LanePoint(5, 1)}

    monitor = LaneMonitor(look, 0.2, 30, Event(), poll_seconds=0.02)
    assert monitor.wait({0: 10, 1: 10}) == Waited(set(), {0, 1})
    first = len(looks)
    assert first > 1
    assert monitor.wait({0: 11, 1: 11}) == Waited(set(), {0, 1})
    assert len(looks) == first + 1


def test_a_lane_that_has_stood_still_for_long_already_is_not_waited_for() -> None:
    assert LaneMonitor(lambda: {0: LanePoint(5, 1, 29.9)}, 30, 0.0, Event()).wait({0: 10}) == Waited({0}, set())
    assert LaneMonitor(lambda: {0: LanePoint(5, 1, 30.0)}, 30, 0.0, Event()).wait({0: 10}) == Waited(set(), {0})


def test_a_lane_that_moves_but_lags_is_named_when_patience_ends() -> None:
    moving = itertools.count(1)
    monitor = LaneMonitor(
        lambda: {0: LanePoint(1, next(moving)), 1: LanePoint(99, 1)}, 0.2, 0.5, Event(), poll_seconds=0.02
    )
    assert monitor.wait({0: 50, 1: 50}) == Waited({0}, set())


def test_a_wait_ends_when_the_run_is_stopped() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        LaneMonitor(lambda: {0: LanePoint(1, 2)}, 30, 30, stop).wait({0: 5})
