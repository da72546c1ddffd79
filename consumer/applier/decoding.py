"""Messages as Kafka hands them out, decoded into the merges of their lanes; what cannot be applied is set aside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaError, Message

from consumer.applier.assigned_lane import Lane
from consumer.applier.gaps import Gaps
from consumer.lane import lane_of
from consumer.stream.dead_letters import DeadLetters, Defect, Letter, user_of
from consumer.stream.envelope import LANE_TABLES, READERS, Reader, Undecodable, end_of, lane_block, unreadable
from consumer.stream.errors import ConsumerFailed
from consumer.stream.topics import HEARTBEATS, LANE_TOPICS

QUIET_SECONDS: Final = 30.0
"""How often librdkafka's same complaint is logged."""

log: Final = structlog.get_logger()


class Intake:
    """Takes messages into `Lane.merge`; the caller settles the dead letters before it goes on from them."""

    def __init__(self, topics: Sequence[str], lanes: int, dead_letters: DeadLetters, gaps: Gaps) -> None:
        """`topics` are the full names in the order of a lane's partitions, `lanes` is how many lanes there are."""
        self._topics = topics
        self._partition_of: Final = {topic: partition for partition, topic in enumerate(topics)}
        self._readers: Final[list[Reader]] = [READERS[topic] for topic in LANE_TOPICS]
        self._lane_count = lanes
        self._dead_letters = dead_letters
        self._gaps = gaps
        self._complaints = Complaints()

    def take(self, messages: Iterable[Message], lanes: Mapping[int, Lane]) -> set[int]:
        """Decodes messages into these lanes; the lanes they came for. Raises ConsumerFailed."""
        partition_of = self._partition_of
        readers = self._readers
        touched: set[int] = set()
        for message in messages:
            if message.error() is not None:
                self._event(message)
                continue
            number: int = message.partition()  # type: ignore[assignment]
            lane = lanes.get(number)
            if lane is None:
                continue
            touched.add(number)
            partition = partition_of[message.topic()]  # type: ignore[index]
            offset: int = message.offset()  # type: ignore[assignment]
            try:
                block, change = readers[partition](message.value())
            except Undecodable as error:
                self._set_aside(lane, partition, message, Defect.UNDECODABLE, str(error))
                continue
            if block.epoch != lane.epoch:
                detail = f"epoch {block.epoch}, while the lane is in epoch {lane.epoch}"
                self._set_aside(lane, partition, message, Defect.OTHER_EPOCH, detail)
            elif not lane.merge.push(partition, block.seq, offset, change):
                if offset >= (lane.starts[partition] or 0):
                    # Below that Kafka has sent us back (a truncated log, a lost broker): what we know is no news.
                    self._set_aside(lane, partition, message, Defect.REPEATED_NUMBER, f"number {block.seq} came before")
            elif block.ties is not None and block.ties.after:
                lane.comes_after(block.seq, block.ties.after)
            if offset >= (lane.starts[partition] or 0):
                lane.starts[partition] = offset + 1
        return touched

    def _event(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            partition = self._partition_of[message.topic()]  # type: ignore[index]
            self._gaps.reached(message.partition(), partition, message.offset())  # type: ignore[arg-type]
        elif error.fatal():
            raise ConsumerFailed(f"Kafka's client gave up: {error.str()}; start the applier again")
        else:
            self._complaints.hear(error)

    def _set_aside(self, lane: Lane, partition: int, message: Message, defect: Defect, detail: str) -> None:
        """Makes a dead letter of a message; its number, where it can be read, counts as taken: nothing waits for it."""
        offset: int = message.offset()  # type: ignore[assignment]
        key, value = message.key(), message.value()
        letter = Letter(self._topics[partition], lane.number, offset, key, value, defect.value, detail)
        self._dead_letters.put(letter)
        block = lane_block(value) if defect is Defect.UNDECODABLE else None
        user_id = self._user_of(letter, lane.number)
        numbered = block is not None and block.epoch == lane.epoch
        if block is not None and numbered:
            unread = end_of(block) if user_id is None else unreadable(block, user_id, LANE_TABLES[partition], detail)
            numbered = lane.merge.push(partition, block.seq, offset, unread)
        elif defect is not Defect.REPEATED_NUMBER:
            lane.merge.pass_over(partition, offset)
        ours = defect is Defect.UNDECODABLE and (user_id is not None or LANE_TOPICS[partition] == HEARTBEATS)
        lane.set_aside(defect, user_id, blank=(partition, offset) if ours and not numbered else None)

    def _user_of(self, letter: Letter, number: int) -> int | None:
        """The user that a message is about, where it is one of this lane."""
        user_id = user_of(letter)
        return user_id if user_id is not None and lane_of(user_id, self._lane_count) == number else None


class Complaints:
    """librdkafka's complaints, each in one line, and none over and over: it recovers by itself from what it can."""

    def __init__(self) -> None:
        self._said: dict[int, float] = {}

    def hear(self, error: KafkaError) -> None:
        """Logs a complaint unless the same was logged just now."""
        now = time.monotonic()
        if now >= self._said.get(error.code(), 0.0) + QUIET_SECONDS:
            self._said[error.code()] = now
            log.warning("kafka_complains", name=error.name(), reason=error.str())
