"""One applier, then two, then three: lanes move while changes flow, and each is applied once."""

from __future__ import annotations

import logging
import subprocess
import time

import pytest

from tests.integration.applier.world import World, faults, live

pytestmark = pytest.mark.servers

log = logging.getLogger(__name__)

CHANGES = 7
"""Of one customer."""
CUSTOMERS = 100
"""More of them for each applier that joins."""


def test_lanes_move_to_every_applier_that_joins_and_back_when_it_leaves_without_loss_or_repeat(
    world: World,
) -> None:
    running: list[subprocess.Popen[bytes]] = []
    last = 0
    for count in (1, 2, 3, 2, 1):
        while len(running) < count:
            running.append(world.applier())
        while len(running) > count:
            leaving = running.pop(0)
            leaving.terminate()
            assert leaving.wait(60) == 0
        began = time.monotonic()
        live(world.scribe, range(last + 1, last + 1 + CUSTOMERS), together=50)
        last += CUSTOMERS
        world.drain(90)
        rate = CHANGES * CUSTOMERS / (time.monotonic() - began)
        log.info("%d appliers: %d changes/s", count, rate)
        world.until(lambda wanted=count: _shared_by(world) == wanted, 60)  # type: ignore[misc]
    assert faults(world, range(1, last + 1)) == []
    assert "lane_taken" not in world.lines()


def _shared_by(world: World) -> int:
    """How many appliers moved the lanes last, after a heartbeat in each."""
    with world.scribe as scribe:
        scribe.beat()
    world.drain(60)
    return len(world.owners())
