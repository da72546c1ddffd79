"""Versions held against a clock."""

from __future__ import annotations

import pytest

from consumer.versions import age, ahead_seconds


@pytest.mark.parametrize(
    ("version", "old", "ahead"), [(0, None, 0), (90_000_000, 10, 0), (105_000_000, 0, 0), (700_000_000, None, 600)]
)
def test_a_version_far_ahead_of_the_clock_has_no_age(version: int, old: float | None, ahead: float) -> None:
    assert age(version, 100.0) == old
    assert ahead_seconds(version, 100.0) == ahead
