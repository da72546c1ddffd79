"""A soak fails for what grows and should not, and not for noise, outages, a warm-up or what grows with the work."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos.growth import BOUNDS, OUTAGE, Points, judged

HOURS = 2
SECONDS = 3600.0 * HOURS
TIMES = [30.0 * n for n in range(1, 240)]


def leaking(an_hour: float, level: float = 200.0, noise: float = 5.0) -> Points:
    """A series with a slope and noise."""
    random = Random("soak")
    return [(at, level + an_hour * at / 3600 + random.uniform(-noise, noise)) for at in TIMES]


@pytest.mark.parametrize(
    ("name", "points", "wrong"),
    [
        ("memory MB: reader", leaking(0), False),
        ("memory MB: reader", leaking(100), True),
        ("memory MB: reader", [(at, min(200.0, at)) for at in TIMES], False),
        ("memory MB: reader", leaking(-100), False),
        ("lag s: slowest lane", [(at, 600.0 if 3000 < at < 3600 else 0.1) for at in TIMES], False),
        ("lag s: slowest lane", [(at, at / 100) for at in TIMES], True),
        ("rows: dead_letters", [(at, 0.0) for at in TIMES], False),
        ("rows: dead_letters", [(at, at / 1000) for at in TIMES], True),
        ("rows: rechecks", [(at, 5.0 * at) for at in TIMES], True),
        ("rows: leads", [(at, 500.0 * at) for at in TIMES], False),
        ("table MB: leads", [(at, 1.0 * at) for at in TIMES], False),
        ("table MB: rechecks", [(at, at / 100) for at in TIMES], True),
        ("bytes a row: leads", leaking(0.05 * 400, 400.0), False),
        ("bytes a row: leads", leaking(1.0 * 400, 400.0), True),
        ("dead rows, share: leads", [(at, 0.2 * (at % 60 > 29)) for at in TIMES], False),
        ("dead rows, share: leads", [(at, at / SECONDS) for at in TIMES], True),
    ],
)
def test_what_grows(name: str, points: Points, wrong: bool) -> None:
    (found,) = judged({name: points}, SECONDS)
    assert found.wrong is wrong
    assert ("WRONG" in found.sentence) is wrong


def test_three_minutes_are_too_short_for_noise_to_be_a_leak() -> None:
    points = [(at / 40, value) for at, value in leaking(0, noise=15)]
    (found,) = judged({"memory MB: reader": points}, SECONDS / 40)
    assert not found.wrong


def test_what_was_seen_too_seldom_is_not_judged() -> None:
    assert judged({"memory MB: reader": [(at, at) for at in TIMES[-3:]]}, SECONDS) == []


AWAY: Points = [(at, float(at % 1500 > 600)) for at in TIMES]
"""An outage every 25 minutes, which lasts and is caught up with for 15."""


@pytest.mark.parametrize(
    ("name", "points", "wrong"),
    [
        ("lag s: slowest lane", [(at, at / 4 if away else 0.2) for at, away in AWAY], False),
        ("lag s: slowest lane", [(at, at / 4 if away else at / 100) for at, away in AWAY], True),
        ("rows: rechecks", [(at, 40.0 * (at % 1500) if away else 0.0) for at, away in AWAY], False),
        ("rows: rechecks", [(at, 9.0 * at * (at % 1500 > 600 or at % 1500 < 270)) for at in TIMES], False),
        ("rows: rechecks", [(at, 9.0 * at * (at % 1500 > 600 or at % 1500 < 520)) for at in TIMES], True),
        ("memory MB: reader", [(at, 200.0 + at / 36 if away else 200.0) for at, away in AWAY], True),
    ],
)
def test_what_outages_bring_is_looked_at_between_them(name: str, points: Points, wrong: bool) -> None:
    (found,) = judged({OUTAGE: AWAY, name: points}, SECONDS)
    assert found.wrong is wrong


def test_what_was_seen_in_outages_alone_is_judged_by_them() -> None:
    (found,) = judged({OUTAGE: [(at, 1.0) for at in TIMES], "lag s: slowest lane": [(at, at) for at in TIMES]}, SECONDS)
    assert found.wrong


def test_every_bound_says_why() -> None:
    assert all(bound.why for bound in BOUNDS)
