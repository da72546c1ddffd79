"""Messages that can be read and are nobody's of ours: they become dead letters, and stop no applier."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import msgspec
import pytest

from consumer.applier.assigned_lane import Lane
from consumer.applier.batches import LOST, LaneBatch
from consumer.applier.decoding import MOST_DISPLACED, Intake
from consumer.applier.foreign_messages import ForeignMessages
from consumer.lane import lane_of
from consumer.leads.model import UserRow
from consumer.store.dead_letters import Content, Defect, columns
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.errors import KafkaLost
from consumer.stream.topics import LANE_TOPICS
from consumer.versions import AHEAD_SECONDS
from tests.unit.applier.test_set_back import TOPICS, Message

LANES = 1
FAR_AHEAD = round((time.time() + 10 * 365 * 86_400) * 1e6)


def message(
    *, offset: int = 0, key: bytes | None = b"1", topic: str = TOPICS[0], signature: int | None = None, **more: object
) -> Message:
    """A customer who has come, with more to say of the lane."""
    row = {"id": 1, "current_signature_file_id": signature, "is_enabled": 1}
    lane = {"epoch": 1, "seq": 1, "version": 5, "user_id": 1, "last": True}
    value = {"before": None, "after": row, "source": {"ts_us": 5, "table": "users"}, "lane": {**lane, **more}}
    return Message(topic, offset, json.dumps(value), key)


def beat(*, key: bytes | None, offset: int = 0, **more: object) -> Message:
    """A heartbeat of lane 0."""
    lane = {"epoch": 1, "seq": 1, "version": 5, "user_id": None, "last": True}
    value = {"op": "h", "source": {"ts_us": 5, "table": ""}, "lane": {**lane, **more}}
    return Message(TOPICS[3], offset, json.dumps(value), key)


def fresh_lane() -> Lane:
    return Lane(0, LaneState(1, 1, 0, {}), 100)


def intake(lanes: int = LANES) -> Intake:
    return Intake(TOPICS, lanes, cast("Any", None))


def taken(lane: Lane) -> LaneBatch:
    """What the lane gives now; while it stands, nothing of it is gathered."""
    if lane.ready or lane.remarkable:
        lane.gather(10 if lane.ready else 0)
    batch = lane.take()
    assert batch is not None
    return batch


class Kafka:
    """The newest checkpoint, and messages once more."""

    def __init__(self, version: int, unfinished_version: int = 0) -> None:
        self.away = False
        self.checkpoint = Checkpoint(
            epoch=1, flavor="mysql", server="", gtid_set="", file="", pos=4, version=version, next_seqs=[1_000],
            unfinished_version=unfinished_version,
        )  # fmt: skip
        self.foreign = ForeignMessages(
            LANE_TOPICS, self._newest, lambda *place: Content(b"key", repr(place).encode()), lambda: None
        )

    def _newest(self) -> Checkpoint:
        if self.away:
            raise KafkaLost("no answer")
        return self.checkpoint


@pytest.mark.parametrize("lane", [-1, LANES, 10**30])
def test_what_comes_after_a_lane_that_does_not_exist_is_set_aside_and_its_lead_read_live(lane: int) -> None:
    """PostgreSQL has no such lane, and an applier that asks for it ends: it would end again and again."""
    mine = fresh_lane()
    intake().take(cast("Any", [message(ties={"after": [[lane, 1]]})]), {0: mine})
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


@pytest.mark.parametrize(
    "foreign",
    [
        message(key=b"stranger"),
        message(key=None),
        message(key=b"01"),
        message(topic=TOPICS[1], key=b"stranger"),
        message(key=b"stranger", moved="?"),
        beat(key=b"nobody"),
        beat(key=None),
        beat(key=b"1"),
    ],
)
def test_a_message_whose_key_no_reader_gives_it_moves_no_lane_and_the_one_with_that_number_is_applied(
    foreign: Message,
) -> None:
    lanes = 2
    user = next(number for number in range(100) if lane_of(number, lanes) == 0)
    ours = message(offset=7, key=b"%d" % user, user_id=user, signature=9)
    mine = fresh_lane()
    intake(lanes).take(cast("Any", [foreign]), {0: mine})
    assert not mine.merge.ready
    intake(lanes).take(cast("Any", [ours]), {0: mine})
    batch = taken(mine)
    assert [change.after for change in batch.changes] == [UserRow(1, "9", True)]
    assert len(batch.letters) == 1
    assert (batch.next_seq, batch.lost) == (2, 0)


def test_a_message_in_another_lane_than_its_users_takes_no_number_there() -> None:
    lanes = 2
    user = next(number for number in range(100) if lane_of(number, lanes) == 1)
    mine = fresh_lane()
    intake(lanes).take(cast("Any", [message(key=b"%d" % user, user_id=user)]), {0: mine})
    batch = taken(mine)
    assert [letter.reason for letter in batch.letters] == [Defect.FOREIGN]
    assert (batch.next_seq, batch.version, batch.changes) == (1, 0, [])
    assert not batch.rechecks, "whose user is of another lane is not this lane's to read"


def test_a_version_that_no_reader_gave_out_moves_no_lane_and_the_message_with_its_number_is_applied() -> None:
    kafka, mine = Kafka(version=5), fresh_lane()
    intake().take(cast("Any", [message(version=FAR_AHEAD)]), {0: mine})
    assert not mine.ready
    kafka.foreign.judge_versions([mine], 0.0)
    intake().take(cast("Any", [message(offset=1, signature=9)]), {0: mine})
    batch = taken(mine)
    assert [change.after for change in batch.changes] == [UserRow(1, "9", True)]
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.FOREIGN, 0)]
    assert (batch.version, batch.next_seq, set(batch.rechecks)) == (5, 2, {1})


def test_a_message_whose_number_a_doubtful_one_holds_takes_its_place() -> None:
    kafka, mine = Kafka(version=5), fresh_lane()
    both = [message(version=FAR_AHEAD), message(offset=1, signature=9)]
    intake().take(cast("Any", both), {0: mine})
    assert not mine.ready, "the letter of what was displaced is not written yet"
    kafka.foreign.judge_versions([mine], 0.0)
    batch = taken(mine)
    assert [change.after for change in batch.changes] == [UserRow(1, "9", True)]
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.FOREIGN, 0)]
    assert batch.version == 5


@pytest.mark.parametrize("applied", [False, True])
def test_a_version_that_no_reader_gave_out_costs_nothing_where_its_number_is_taken(applied: bool) -> None:
    kafka, mine = Kafka(version=5), fresh_lane()
    intake().take(cast("Any", [message(signature=9)]), {0: mine})
    changes = list(taken(mine).changes) if applied else []
    intake().take(cast("Any", [message(offset=1, version=FAR_AHEAD)]), {0: mine})
    assert not mine.remarkable, "the letter of what was displaced is not written yet"
    kafka.foreign.judge_versions([mine], 0.0)
    batch = taken(mine)
    assert [change.after for change in [*changes, *batch.changes]] == [UserRow(1, "9", True)]
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.FOREIGN, 1)]
    assert (batch.version, batch.lost, batch.recheck_all, batch.blind) == (5, 0, frozenset(), False)


def test_a_change_ahead_of_our_clock_keeps_its_number_though_a_foreign_message_came_before_it() -> None:
    ours = round(time.time() * 1e6) + 60_000_000
    kafka, mine = Kafka(version=ours), fresh_lane()
    ties = {"after": [[0, 1]]}
    both = [message(version=FAR_AHEAD), message(offset=1, version=ours, signature=9, ties=ties)]
    intake().take(cast("Any", both), {0: mine})
    kafka.foreign.judge_versions([mine], 0.0)
    assert mine.waiting_for() == (0, 1)
    mine.wait_no_longer(late=False)
    batch = taken(mine)
    assert [change.after for change in batch.changes] == [UserRow(1, "9", True)]
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.FOREIGN, 0)]
    assert (batch.version, batch.lost, batch.recheck_all, batch.blind) == (ours, 0, frozenset(), False)


def test_while_kafka_says_nothing_of_a_flood_of_such_messages_no_more_than_so_many_wait_for_it() -> None:
    mine = fresh_lane()
    flood = [message(offset=offset, version=FAR_AHEAD + offset) for offset in range(1, MOST_DISPLACED + 3)]
    intake().take(cast("Any", [message(signature=9), *flood]), {0: mine})
    assert len(mine.displaced) == MOST_DISPLACED


def test_a_doubtful_message_that_was_the_readers_and_was_displaced_has_its_lane_read_live() -> None:
    kafka, mine = Kafka(version=FAR_AHEAD), fresh_lane()
    intake().take(cast("Any", [message(version=FAR_AHEAD), message(offset=1, signature=9)]), {0: mine})
    assert not mine.remarkable
    kafka.foreign.judge_versions([mine], 0.0)
    batch = taken(mine)
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.REPEATED_NUMBER, 0)]
    assert (batch.recheck_all, batch.blind) == (frozenset({LOST}), True)


@pytest.mark.parametrize("inside", [False, True])
def test_a_version_ahead_of_the_clock_that_the_reader_gave_out_is_waited_for_and_taken(inside: bool) -> None:
    """A server whose clock was put back, or ours."""
    kafka = Kafka(version=5 if inside else FAR_AHEAD, unfinished_version=FAR_AHEAD if inside else 0)
    kafka.away = True
    mine = fresh_lane()
    taking = intake()
    taking.take(cast("Any", [message(version=FAR_AHEAD)]), {0: mine})
    kafka.foreign.judge_versions([mine], 0.0)
    assert not mine.ready, "Kafka does not say"
    kafka.away = False
    taking.latest = max(taking.latest, kafka.foreign.judge_versions([mine], time.monotonic() + 100))
    batch = taken(mine)
    assert (batch.version, list(batch.letters)) == (FAR_AHEAD, [])
    taking.take(cast("Any", [message(offset=1, seq=2, version=FAR_AHEAD + 1)]), {0: mine})
    assert mine.ready, "what is a little later needs no question more"


def test_a_version_that_clocks_may_differ_by_is_taken_without_a_question() -> None:
    mine = fresh_lane()
    intake().take(cast("Any", [message(version=round((time.time() + AHEAD_SECONDS / 2) * 1e6))]), {0: mine})
    assert mine.ready


def test_an_unreadable_message_with_a_version_that_no_clock_has_come_to_moves_no_lane() -> None:
    kafka, mine = Kafka(version=5), fresh_lane()
    intake().take(cast("Any", [message(version=FAR_AHEAD, moved="?")]), {0: mine})
    assert not mine.ready
    intake().take(cast("Any", [message(offset=1, signature=9)]), {0: mine})
    kafka.foreign.judge_versions([mine], 0.0)
    batch = taken(mine)
    assert (batch.version, batch.next_seq, batch.lost) == (5, 2, 0)
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.UNDECODABLE, 0)]
    assert batch.rechecks.keys() == {1}
    assert [change.after for change in batch.changes] == [UserRow(1, "9", True)]


@pytest.mark.parametrize("user_id", [1, None])
def test_an_unreadable_message_ahead_of_the_clock_that_the_reader_gave_out_has_its_place(user_id: int | None) -> None:
    """Without a user, it is the change of a row whose user nobody could find: no reason to read its lane live."""
    kafka, mine = Kafka(version=FAR_AHEAD), fresh_lane()
    both = [message(version=FAR_AHEAD, moved="?", user_id=user_id), message(offset=1, seq=2, version=FAR_AHEAD + 1)]
    intake().take(cast("Any", both), {0: mine})
    assert not mine.ready
    kafka.checkpoint = msgspec.structs.replace(kafka.checkpoint, version=FAR_AHEAD + 1)
    kafka.foreign.judge_versions([mine], 0.0)
    batch = taken(mine)
    assert (batch.next_seq, batch.lost, batch.recheck_all, batch.blind) == (3, 0, frozenset(), False)
    assert [(letter.reason, letter.offset) for letter in batch.letters] == [(Defect.UNDECODABLE, 0)]
    assert set(batch.rechecks) == {user for user in (user_id,) if user is not None}
    assert not batch.unplaced


def test_a_doubtful_message_that_comes_once_more_is_not_displaced_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka has sent us back, and by now a clock has come to its version."""
    kafka, mine = Kafka(version=FAR_AHEAD), fresh_lane()
    ahead = message(version=FAR_AHEAD)
    intake().take(cast("Any", [ahead]), {0: mine})
    monkeypatch.setattr("consumer.applier.decoding.time.time", lambda: FAR_AHEAD / 1e6)
    intake().take(cast("Any", [ahead]), {0: mine})
    kafka.foreign.judge_versions([mine], 0.0)
    batch = taken(mine)
    assert (batch.version, batch.lost, batch.recheck_all, list(batch.letters)) == (FAR_AHEAD, 0, frozenset(), [])


def test_of_two_different_messages_with_one_number_nobody_says_which_is_ours_and_the_lane_is_read_live() -> None:
    mine = fresh_lane()
    intake().take(cast("Any", [message(version=7), message(offset=1, version=5, signature=9)]), {0: mine})
    batch = taken(mine)
    assert [letter.reason for letter in batch.letters] == [Defect.REPEATED_NUMBER]
    assert (batch.recheck_all, batch.blind) == (frozenset({LOST}), True)


def test_the_same_message_twice_costs_its_lane_nothing() -> None:
    mine = fresh_lane()
    intake().take(cast("Any", [message(), message(offset=1)]), {0: mine})
    batch = taken(mine)
    assert (batch.recheck_all, batch.blind, batch.lost) == (frozenset(), False, 0)
    assert [letter.reason for letter in batch.letters] == [Defect.REPEATED_NUMBER]
