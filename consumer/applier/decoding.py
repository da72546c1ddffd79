"""Messages as Kafka hands them out, decoded into the merges of their lanes; what cannot be applied is set aside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from zlib import crc32

import structlog
from confluent_kafka import KafkaError, Message

from consumer.applier.assigned_lane import Doubt, Lane
from consumer.applier.gaps import Gaps
from consumer.lane import lane_of, lane_of_key
from consumer.leads.model import Change
from consumer.store.dead_letters import Content, Defect, dead_letter
from consumer.stream.envelope import (
    LANE_TABLES,
    READERS,
    LaneBlock,
    MessageReader,
    Undecodable,
    end_of,
    lane_block,
    unreadable,
)
from consumer.stream.errors import ConsumerFailed
from consumer.stream.topics import HEARTBEATS, LANE_TOPICS
from consumer.versions import AHEAD_SECONDS

QUIET_SECONDS: Final = 30.0
"""How often librdkafka's same complaint is logged."""

MOST_DIGITS: Final = 18
"""Of a key that is a user id and fits a bigint for sure."""

MOST_DISPLACED: Final = 1_000
"""Doubtful messages of a lane whose number another one has: while Kafka does not say whose they are, they lie here."""

NOT_ITS_KEY: Final = "no reader writes it under its key into this lane"

_AHEAD: Final = round(AHEAD_SECONDS * 1e6)

log: Final = structlog.get_logger()


class Intake:
    """Kafka's messages on their way into `Lane.merge`; what cannot be applied becomes a dead letter of its lane."""

    def __init__(self, topics: Sequence[str], lanes: int, gaps: Gaps) -> None:
        """`topics` are the full names in the order of a lane's partitions, `lanes` is how many lanes there are."""
        self._topics = topics
        self._partition_of: Final = {topic: partition for partition, topic in enumerate(topics)}
        self._readers: Final[list[MessageReader]] = [READERS[topic] for topic in LANE_TOPICS]
        self._lane_count = lanes
        self._gaps = gaps
        self.latest = 0
        """The newest version (µs) known to be a reader's; only later ones are held against the clock."""
        self._complaints = Complaints()

    def take(self, messages: Iterable[Message], lanes: Mapping[int, Lane]) -> set[int]:
        """Decodes messages into these lanes; the lanes they came for. Raises ConsumerFailed."""
        partition_of = self._partition_of
        readers = self._readers
        lanes_there = self._lane_count
        touched: set[int] = set()
        latest = max(round(time.time() * 1e6), self.latest) + _AHEAD
        for message in messages:
            if (event := message.error()) is not None:
                self._event(message, event)
                continue
            number: int = message.partition()  # type: ignore[assignment]
            lane = lanes.get(number)
            if lane is None:
                continue
            touched.add(number)
            partition = partition_of[message.topic()]  # type: ignore[index]
            offset: int = message.offset()  # type: ignore[assignment]
            key = message.key()
            try:
                block, change = readers[partition](message.value())
            except Undecodable as error:
                self._set_aside(lane, partition, message, Defect.UNDECODABLE, str(error), latest)
                continue
            if block.epoch != lane.epoch:
                detail = f"epoch {block.epoch}, while the lane is in epoch {lane.epoch}"
                self._set_aside(lane, partition, message, Defect.OTHER_EPOCH, detail, latest)
            elif (  # first without its call, which costs a message most of what this check does
                key is None
                or crc32(key) % lanes_there != number
                or ((user_id := block.user_id) is not None and key != b"%d" % user_id)
            ) and not _may_be_ours(key, block, number, lanes_there):
                self._set_aside(lane, partition, message, Defect.FOREIGN, NOT_ITS_KEY, latest)
            elif block.ties is not None and not all(0 <= other < lanes_there for other, _ in block.ties.after):
                self._set_aside(
                    lane, partition, message, Defect.UNDECODABLE, "it comes after a lane that does not exist", latest
                )
            else:
                doubt = lane.doubts.get(block.seq)
                if doubt is not None and block.version <= latest and doubt.change != change:
                    lane.displace(block.seq)
                if not lane.merge.push(partition, block.seq, offset, change):
                    self._repeated(lane, partition, message, block, change, latest)
                else:
                    if block.ties is not None and block.ties.after:
                        lane.comes_after(block.seq, block.ties.after)
                    if block.version > latest:
                        lane.doubts[block.seq] = Doubt(block.seq, partition, offset, change)
            if offset >= (lane.starts[partition] or 0):
                lane.starts[partition] = offset + 1
        return touched

    def _repeated(
        self, lane: Lane, partition: int, message: Message, block: LaneBlock, change: Change, latest: int
    ) -> None:
        """One whose number came before: below where we have read Kafka has sent us back, and it is no news at all.

        One with a later version than `latest` may be somebody else's, and does not count before that is known.
        """
        offset: int = message.offset()  # type: ignore[assignment]
        is_unread = offset >= (lane.starts[partition] or 0)
        held = lane.merge.held(block.seq)
        if is_unread and block.version > latest and held != change and len(lane.displaced) < MOST_DISPLACED:
            lane.displaced.append(Doubt(block.seq, partition, offset, change))
            return
        if held is None and lane.is_news(change):
            lane.lose(change, latest)
            self._complaints.set_back(lane.number)
        elif held is not None and is_unread and held != change:
            lane.lose(change, latest)
            self._complaints.two_writers(lane.number, block.seq)
        if is_unread:
            detail = f"number {block.seq} came before"
            self._set_aside(lane, partition, message, Defect.REPEATED_NUMBER, detail, latest)

    def _event(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            partition = self._partition_of[message.topic()]  # type: ignore[index]
            self._gaps.reached(message.partition(), partition, message.offset())  # type: ignore[arg-type]
        elif error.fatal():
            raise ConsumerFailed(f"Kafka's client gave up: {error.str()}; start the applier again")
        else:
            self._complaints.report(error)

    def _set_aside(
        self, lane: Lane, partition: int, message: Message, defect: Defect, detail: str, latest: int
    ) -> None:
        """Makes a dead letter of a message.

        The number of one that cannot be read otherwise counts as taken: nothing waits for it. Not that of a foreign
        one; one with a later version than `latest`, which would take the lane with it, is doubtful.
        """
        offset: int = message.offset()  # type: ignore[assignment]
        key, value = message.key(), message.value()
        topic = self._topics[partition]
        about = user_of(key, value, is_heartbeat=LANE_TOPICS[partition] == HEARTBEATS)
        letter = dead_letter(topic, lane.number, offset, defect, detail, about, Content(key, value))
        block = lane_block(value) if defect is Defect.UNDECODABLE else None
        is_foreign = block is not None and not _may_be_ours(key, block, lane.number, self._lane_count)
        # One of another lane is read live where that one brings it.
        user_id = about if about is not None and lane_of(about, self._lane_count) == lane.number else None
        numbered = block is not None and block.epoch == lane.epoch and not is_foreign
        if block is not None and numbered:
            unread = end_of(block) if user_id is None else unreadable(block, user_id, LANE_TABLES[partition], detail)
            numbered = lane.merge.push(partition, block.seq, offset, unread)
            if numbered and block.version > latest:
                lane.doubts[block.seq] = Doubt(block.seq, partition, offset, unread, is_aside=True)
        elif defect is not Defect.REPEATED_NUMBER:
            lane.merge.pass_over(partition, offset)
        ours = not is_foreign and (user_id is not None or LANE_TOPICS[partition] == HEARTBEATS)
        ours = ours and defect is Defect.UNDECODABLE
        lane.set_aside(letter, user_id, unnumbered=(partition, offset) if ours and not numbered else None)


def _may_be_ours(key: bytes | None, block: LaneBlock, lane: int, lanes: int) -> bool:
    """Whether a reader writes a message under this key into this lane: under the user's id, into the user's lane.

    What has no user lies under its row's id, in the lane of that, or under the lane's number.
    """
    if key is None:
        return False
    if block.user_id is None:
        return lane_of_key(key, lanes) == lane or key == b"%d" % lane
    return key == b"%d" % block.user_id and lane_of_key(key, lanes) == lane


def user_of(key: bytes | None, value: bytes | None, *, is_heartbeat: bool) -> int | None:
    """The user that a message is about, by its lane block or its key; None: nobody can say. A heartbeat is nobody's."""
    block = lane_block(value)
    if block is not None:
        return block.user_id
    if key is None or not key.isdigit() or len(key) > MOST_DIGITS or is_heartbeat:
        return None
    return int(key)


class Complaints:
    """What is wrong with what Kafka gives us, each in one line, and none over and over: librdkafka recovers by itself
    from what it can."""

    def __init__(self) -> None:
        self._said: dict[int | str, float] = {}

    def report(self, error: KafkaError) -> None:
        """Logs a complaint of librdkafka's unless the same was logged just now."""
        if self._is_new(error.code()):
            log.warning("kafka_error_reported", kind=error.name(), reason=error.str())

    def set_back(self, lane: int) -> None:
        """Logs that changes came with numbers that this lane has passed, unless that was logged just now."""
        if self._is_new("set back"):
            log.error(
                "kafka_set_back",
                lane=lane,
                reason="Kafka lost its newest messages, and the reader gave their numbers to later changes",
                hint="the lane's leads are queued to be read live; stop the reader and run `consumer setup --repair`",
            )

    def two_writers(self, lane: int, seq: int) -> None:
        """Logs that two different messages of a lane have one number, unless that was logged just now."""
        if self._is_new("two writers"):
            log.error(
                "number_given_twice",
                lane=lane,
                seq=seq,
                reason="two different messages have one number, and only one of them is the reader's",
                hint="the lane's leads are queued to be read live; find out who else writes to the lanes' topics",
            )

    def _is_new(self, complaint: int | str) -> bool:
        now = time.monotonic()
        if now < self._said.get(complaint, -QUIET_SECONDS) + QUIET_SECONDS:
            return False
        self._said[complaint] = now
        return True
