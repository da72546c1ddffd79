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
from consumer.store.dead_letters import Content, Defect, dead_letter
from consumer.stream.envelope import LANE_TABLES, READERS, MessageReader, Undecodable, end_of, lane_block, unreadable
from consumer.stream.errors import ConsumerFailed
from consumer.stream.topics import HEARTBEATS, LANE_TOPICS
from consumer.versions import AHEAD_SECONDS

QUIET_SECONDS: Final = 30.0
"""How often librdkafka's same complaint is logged."""

MOST_DIGITS: Final = 18
"""Of a key that is a user id and fits a bigint for sure."""

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
        self._complaints = Complaints()

    def take(self, messages: Iterable[Message], lanes: Mapping[int, Lane]) -> set[int]:
        """Decodes messages into these lanes; the lanes they came for. Raises ConsumerFailed."""
        partition_of = self._partition_of
        readers = self._readers
        touched: set[int] = set()
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
            try:
                block, change = readers[partition](message.value())
            except Undecodable as error:
                self._set_aside(lane, partition, message, Defect.UNDECODABLE, str(error))
                continue
            if block.epoch != lane.epoch:
                detail = f"epoch {block.epoch}, while the lane is in epoch {lane.epoch}"
                self._set_aside(lane, partition, message, Defect.OTHER_EPOCH, detail)
            elif block.ties is not None and not all(0 <= other < self._lane_count for other, _ in block.ties.after):
                self._set_aside(
                    lane, partition, message, Defect.UNDECODABLE, "it comes after a lane that does not exist"
                )
            elif not lane.merge.push(partition, block.seq, offset, change):
                if block.seq < lane.merge.next_seq and lane.is_news(change):
                    lane.lose(change, round((time.time() + AHEAD_SECONDS) * 1e6))
                    self._complaints.set_back(number)
                if offset >= (lane.starts[partition] or 0):
                    # Below that Kafka has sent us back (a truncated log, a lost broker): what we know is no news.
                    self._set_aside(lane, partition, message, Defect.REPEATED_NUMBER, f"number {block.seq} came before")
            elif block.ties is not None and block.ties.after:
                lane.comes_after(block.seq, block.ties.after)
            if offset >= (lane.starts[partition] or 0):
                lane.starts[partition] = offset + 1
        return touched

    def _event(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            partition = self._partition_of[message.topic()]  # type: ignore[index]
            self._gaps.reached(message.partition(), partition, message.offset())  # type: ignore[arg-type]
        elif error.fatal():
            raise ConsumerFailed(f"Kafka's client gave up: {error.str()}; start the applier again")
        else:
            self._complaints.report(error)

    def _set_aside(self, lane: Lane, partition: int, message: Message, defect: Defect, detail: str) -> None:
        """Makes a dead letter of a message; its number, where it can be read, counts as taken: nothing waits for it."""
        offset: int = message.offset()  # type: ignore[assignment]
        key, value = message.key(), message.value()
        topic = self._topics[partition]
        about = user_of(key, value, is_heartbeat=LANE_TOPICS[partition] == HEARTBEATS)
        letter = dead_letter(topic, lane.number, offset, defect, detail, about, Content(key, value))
        block = lane_block(value) if defect is Defect.UNDECODABLE else None
        # One of another lane is read live where that one brings it.
        user_id = about if about is not None and lane_of(about, self._lane_count) == lane.number else None
        numbered = block is not None and block.epoch == lane.epoch
        if block is not None and numbered:
            unread = end_of(block) if user_id is None else unreadable(block, user_id, LANE_TABLES[partition], detail)
            numbered = lane.merge.push(partition, block.seq, offset, unread)
        elif defect is not Defect.REPEATED_NUMBER:
            lane.merge.pass_over(partition, offset)
        ours = defect is Defect.UNDECODABLE and (user_id is not None or LANE_TOPICS[partition] == HEARTBEATS)
        lane.set_aside(letter, user_id, unnumbered=(partition, offset) if ours and not numbered else None)


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

    def _is_new(self, complaint: int | str) -> bool:
        now = time.monotonic()
        if now < self._said.get(complaint, -QUIET_SECONDS) + QUIET_SECONDS:
            return False
        self._said[complaint] = now
        return True
