"""One applier, then two, then three: lanes move while changes flow, and each is applied once."""

from __future__ import annotations

import pytest

from tests.integration.applier.world import ApplierWorld, faults, live
from tests.support.processes import Process

pytestmark = pytest.mark.servers

CUSTOMERS = 100
"""More of them for each applier that joins."""


def test_lanes_move_to_every_applier_that_joins_and_back_when_it_leaves_without_loss_or_repeat(
    world: ApplierWorld,
) -> None:
    running: list[Process] = []
    last = 0
    for count in (1, 2, 3, 2, 1):
        while len(running) < count:
            running.append(world.applier())
        while len(running) > count:
            leaving = running.pop(0)
            leaving.terminate()
            assert leaving.wait() == 0
        live(world.scribe, range(last + 1, last + 1 + CUSTOMERS), together=50)
        last += CUSTOMERS
        world.drain()
        await_sharing(world, count)
    assert faults(world, range(1, last + 1)) == []
    assert "lane_taken" not in world.lines()


def await_sharing(world: ApplierWorld, count: int) -> None:
    """Waits until so many appliers share the lanes."""
    world.until(lambda: _shared_by(world) == count, f"{count} appliers shared the lanes")


def _shared_by(world: ApplierWorld) -> int:
    """How many appliers moved the lanes last, after a heartbeat in each."""
    with world.scribe as scribe:
        scribe.beat()
    world.drain()
    return len(world.owners())
