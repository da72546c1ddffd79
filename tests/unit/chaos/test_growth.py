"""A soak fails for what grows and should not, and not for noise, outages, a warm-up or what grows with the work."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos.growth import BOUNDS, Points, judged

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


def test_every_bound_says_why() -> None:
    assert all(bound.why for bound in BOUNDS)
