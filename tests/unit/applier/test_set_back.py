"""A Kafka that lost its newest messages: later changes get their numbers, and nobody overlooks these."""

from __future__ import annotations

import time
from typing import Any, Final, cast

from structlog.testing import capture_logs

from consumer.applier.assigned_lane import Doubt, Lane
from consumer.applier.batches import LOST
from consumer.applier.decoding import MOST_DISPLACED, Intake
from consumer.binlog.events import Begin, Commit, Event, RowChange
from consumer.leads.model import Change
from consumer.mysql.foreign_keys import ForeignKeys
from consumer.reader.claim_owners import Answer, ClaimOwners
from consumer.reader.router import Router
from consumer.reader.sequencer import Sequencer
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.envelope import EnvelopeWriter
from consumer.stream.topics import LANE_TOPICS
from consumer.versions import AHEAD_SECONDS

TOPICS: Final = [f"p.{topic}" for topic in LANE_TOPICS]
NOW: Final = 1_700_000_000_000_000
SECOND: Final = 1_000_000
UNSIGNED: Final = '{"id":1,"current_signature_file_id":null,"is_enabled":1}'
SIGNED: Final = '{"id":1,"current_signature_file_id":7,"is_enabled":1}'


class Message:
    """One of Kafka's."""

    def __init__(self, topic: str, offset: int, value: str, key: bytes | None = b"1") -> None:
        self._said = topic, offset, value.encode()
        self._key = key

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self._said[0]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._said[1]

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes:
        return self._said[2]


class Stream:
    """A reader of one lane, from its beginning on, and a broker that takes its messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        start = Checkpoint(epoch=1, flavor="mysql", server="", gtid_set="", file="", pos=4, version=0, next_seqs=[1])
        self.sequencer = Sequencer(start, "p.{}".format, EnvelopeWriter("p", "mysql", "company", 1), self._send)
        owners = ClaimOwners(1_000, lambda _: Answer({}, (1, 4)))
        self._router = Router(
            self.sequencer, owners, lambda _: None, reached=lambda: (1, 4), foreign_keys=ForeignKeys
        )  # fmt: skip

    def _send(self, topic: str, value: str | bytes, _key: str | bytes, _lane: int) -> None:
        offset = sum(message.topic() == topic for message in self.messages)
        self.messages.append(Message(topic, offset, str(value)))

    def change(self, before: str | None, after: str, at: int) -> None:
        """One transaction of user 1."""
        events: list[Event] = [
            Begin(None, 1, "b.000001", 4, at),
            RowChange("users", "u" if before else "c", before, after, 1 if before else None, None, 1, None, 4, 0),
            Commit("b.000001", 4),
        ]
        self._router.feed(events)

    def beat(self, at: int) -> None:
        self.sequencer.heartbeat(at)


def applied(stream: Stream) -> LaneState:
    """Where the lane stands when all of this was applied."""
    offsets = {
        topic: sum(message.topic() == name for message in stream.messages)
        for topic, name in zip(LANE_TOPICS, TOPICS, strict=True)
    }
    return LaneState(1, len(stream.messages) + 1, stream.sequencer.version, offsets)


def taken(stands: LaneState, stream: Stream) -> Lane:
    lane = Lane(0, stands, 100)
    Intake(TOPICS, 1, cast("Any", None)).take(cast("Any", stream.messages), {0: lane})
    lane.gather(100)
    return lane


def before() -> LaneState:
    """A row and ten heartbeats."""
    stream = Stream()
    stream.change(None, UNSIGNED, NOW)
    for n in range(1, 11):
        stream.beat(NOW + n * SECOND)
    return applied(stream)


def test_a_change_that_comes_with_a_number_that_was_taken_has_the_lane_read_live() -> None:
    stands, again = before(), Stream()
    again.change(None, UNSIGNED, NOW)
    again.change(UNSIGNED, SIGNED, NOW + 60 * SECOND)
    with capture_logs() as lines:
        batch = taken(stands, again).take()
    assert batch is not None
    assert (batch.lost, batch.recheck_all, batch.blind) == (1, frozenset({LOST}), True)
    assert batch.next_seq == stands.next_seq
    assert [change.version for change in batch.changes] == [NOW + 60 * SECOND]
    assert [line["event"] for line in lines] == ["kafka_set_back"]


def test_what_is_sent_once_more_is_no_news() -> None:
    stands, again = before(), Stream()
    again.change(None, UNSIGNED, NOW)
    for n in range(1, 4):
        again.beat(NOW + n * 60 * SECOND)
    assert taken(stands, again).take() is None


def test_what_is_lost_stands_before_what_comes_next_in_its_transaction() -> None:
    stands, again = before(), Stream()
    for n in range(1, stands.next_seq + 1):
        again.change(UNSIGNED, SIGNED, NOW + (60 + n) * SECOND)
    batch = taken(stands, again).take()
    assert batch is not None
    assert batch.lost == stands.next_seq - 1
    assert [change.recheck for change in batch.changes] == [LOST, None]
    assert batch.changes[0].version == batch.changes[1].version - 1


def test_a_change_that_lost_its_number_and_has_a_version_that_no_clock_has_come_to_freezes_no_lead() -> None:
    """Changes up to what is lost are passed over, and no live read would ever hold it: its leads would stand still."""
    stands, again = before(), Stream()
    again.change(None, UNSIGNED, NOW)
    again.change(UNSIGNED, SIGNED, NOW + 10**17)
    lane = Lane(0, stands, 100)
    lane.displaced = [Doubt(1, 0, 9, Change(1, None, None, None, 0, 0, True))] * MOST_DISPLACED
    Intake(TOPICS, 1, cast("Any", None)).take(cast("Any", again.messages), {0: lane})
    lane.gather(100)
    batch = lane.take()
    assert batch is not None
    assert (batch.lost, batch.blind) == (1, True)
    latest = (time.time() + AHEAD_SECONDS) * SECOND
    assert NOW + 60 * SECOND < batch.missed.floor <= latest
    assert batch.missed.at <= latest
