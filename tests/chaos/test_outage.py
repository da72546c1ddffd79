"""The stream is away for hours, so to speak: the safety net holds alone, and nothing is recorded twice afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.outage import Outage, Part
from tests.chaos.trial import Ground

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("away", "rounds"), [("reader", 2), ("kafka", 1), ("appliers", 1)])
def test_sweeps_alone_keep_queues_right_and_the_stream_records_nothing_twice_afterwards(
    ground: Ground, tmp_path: Path, away: Part, rounds: int
) -> None:
    with Outage(ground, tmp_path, 21, away) as outage:
        outage.prepare(500)
        for _ in range(rounds):
            assert outage.endure(150) == []
        assert outage.recover(300) == []
