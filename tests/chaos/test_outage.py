"""The stream is away for hours, so to speak: agents see the present meanwhile, and the history is exact afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.outage import Outage, Part
from tests.chaos.trial import Ground

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("away", ["reader", "kafka", "appliers"])
def test_the_safety_net_keeps_right_what_agents_see_and_changes_no_history(
    ground: Ground, tmp_path: Path, away: Part
) -> None:
    with Outage(ground, tmp_path, 21, away) as outage:
        outage.prepare(500)
        assert outage.endure(600) == []
        assert outage.recover(300) == []
