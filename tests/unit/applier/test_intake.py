"""Messages that can be read and are nobody's of ours: they become dead letters, and stop no applier."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from consumer.applier.assigned_lane import Lane
from consumer.applier.decoding import Intake
from consumer.store.dead_letters import Defect, columns
from consumer.store.lanes import LaneState
from tests.unit.applier.test_set_back import TOPICS, Message

LANES = 1


def message(**more: object) -> Message:
    """A customer who has come, with more to say of the lane."""
    row = {"id": 1, "current_signature_file_id": None, "is_enabled": 1}
    lane = {"epoch": 1, "seq": 1, "version": 5, "user_id": 1, "last": True}
    value = {"before": None, "after": row, "source": {"ts_us": 5, "table": "users"}, "lane": {**lane, **more}}
    return Message(TOPICS[0], 0, json.dumps(value))


@pytest.mark.parametrize("lane", [-1, LANES, 10**30])
def test_what_comes_after_a_lane_that_does_not_exist_is_set_aside_and_its_lead_read_live(lane: int) -> None:
    """PostgreSQL has no such lane, and an applier that asks for it ends: it would end again and again."""
    mine = Lane(0, LaneState(1, 1, 0, {}), 100)
    Intake(TOPICS, LANES, cast("Any", None)).take(cast("Any", [message(ties={"after": [[lane, 1]]})]), {0: mine})
    assert mine.ready
    mine.gather(10)
    batch = mine.take()
    assert batch is not None
    assert [letter.reason for letter in batch.letters] == [Defect.UNDECODABLE]
    assert batch.rechecks.keys() == {1}
    assert (batch.next_seq, batch.lost) == (2, 0)


@pytest.mark.parametrize("user_id", [2**63, -(2**63), -(2**63) - 1, 10**30, -(10**30)])
def test_a_user_whom_no_bigint_holds_is_nobodys_dead_letter(user_id: int) -> None:
    mine = Lane(0, LaneState(1, 1, 0, {}), 100)
    damaged = message(user_id=user_id, moved="?")
    Intake(TOPICS, LANES, cast("Any", None)).take(cast("Any", [damaged]), {0: mine})
    mine.gather(10)
    batch = mine.take()
    assert batch is not None
    assert [(letter.reason, letter.user_id) for letter in batch.letters] == [(Defect.UNDECODABLE, None)]
    assert columns(batch.letters)
    assert not batch.rechecks
