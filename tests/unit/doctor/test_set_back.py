"""A Kafka that lost its newest messages, told from lanes that move on while somebody asks."""

from __future__ import annotations

import pytest

from consumer.doctor.at_work import CLOCKS_SECONDS, ReaderStatus, judge
from consumer.doctor.check import State
from consumer.store.lanes import LanePoint
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.status import SILENT_SECONDS

NOW = 1_700_000_000.0
CHECKPOINT = Checkpoint(
    epoch=2, flavor="mysql", server="s", gtid_set="", file="b.000002", pos=4, version=85, next_seqs=[5, 3]
)


@pytest.mark.parametrize(
    ("age", "point", "lost"),
    [
        (2.0, LanePoint(90, 6, 3.0, "a", 2), False),  # it moved while we asked
        (2.0, LanePoint(90, 6, 2.0 + CLOCKS_SECONDS + 1, "a", 2), True),  # before the checkpoint was written
        (SILENT_SECONDS + 1, LanePoint(90, 6, 3.0, "a", 2), True),  # and nobody writes any more
        (SILENT_SECONDS + 1, LanePoint(90, 5, 3.0, "a", 2), False),
        (SILENT_SECONDS + 1, LanePoint(90, 6, 3.0, "a", 1), False),  # of another epoch
    ],
)
def test_lanes_ahead_of_the_checkpoint_say_that_kafka_lost_something(
    age: float, point: LanePoint, *, lost: bool
) -> None:
    points = {0: point, 1: LanePoint(80, 3, 0.0, "a", 2)}
    checks = judge(ReaderStatus(CHECKPOINT, NOW - age), points, NOW, idle=False)
    found = [check for check in checks if check.name == "set back"]
    assert [check.state for check in found] == [State.FAILED] * lost
    assert all("lane 0: more is applied" in check.sentence and "--repair" in check.hint for check in found)
