"""The stream is away for hours, so to speak: the safety net holds alone, and nothing is recorded twice afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.outage import Outage
from tests.chaos.trial import Ground

pytestmark = pytest.mark.servers


def test_sweeps_alone_keep_queues_right_and_the_stream_records_nothing_twice_afterwards(
    ground: Ground, tmp_path: Path
) -> None:
    with Outage(ground, tmp_path, 21) as outage:
        outage.prepare(800)
        for _ in range(3):
            assert outage.endure(250) == []
        assert outage.recover(600) == []
