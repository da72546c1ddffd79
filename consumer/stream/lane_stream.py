"""The lanes that Kafka assigns to this process, as batches in the binlog's order.

A thread of its own fetches, decodes and merges the next batch while the caller is busy with the last one. Where a lane
stands is PostgreSQL's to say: positions are asked for on every assignment, and the offsets that Kafka is told are only
for lag tools. All four topics use the range assignor, so that a lane's partitions come together; that is checked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer.lane import lane_of
from consumer.settings import ApplierSettings, KafkaSettings
from consumer.stream.batches import PARTITIONS, Batch, Lane, LaneBatch, LanePosition, Positions
from consumer.stream.dead_letters import DeadLetters, Defect, Letter
from consumer.stream.envelope import READERS, Reader, Undecodable, end_of, lane_block
from consumer.stream.errors import StreamError
from consumer.stream.topics import HEARTBEATS, LANE_TOPICS, Topics

POLL_SECONDS: Final = 0.1
"""Longest wait for a message before the thread looks at other duties; also how soon it notices the end."""
CHUNK: Final = 2_000
"""Messages taken from librdkafka at once."""
BEAT_SECONDS: Final = 0.25
"""How long a batch of nothing but heartbeats waits for company: an idle system stays quiet."""
LOSS_SECONDS: Final = 1.0
"""How long a number may be missing before the partitions' ends are asked for."""
HAND_OVER_SECONDS: Final = 20.0
"""How long a revocation waits for the batch at hand, so that the next owner finds the lane settled."""
COMMIT_SECONDS: Final = 5.0
"""How often Kafka is told offsets, for lag tools."""
ANSWER_SECONDS: Final = 10.0
MOST_DIGITS: Final = 18
"""Of a key that is a user id and fits a bigint for sure."""

log: Final = structlog.get_logger()


class NotCoPartitioned(StreamError):
    """A lane's partitions were given to different processes."""


class ConsumerFailed(StreamError):
    """librdkafka gave up; only a new process helps."""


class LaneStream:
    """Member of the group of appliers; a context manager that joins on entering and leaves on exit.

    `positions` tells where lanes stand (asked from the stream's own thread). `batches` ends when `stop` is set.
    """

    def __init__(
        self, kafka: KafkaSettings, applier: ApplierSettings, positions: Positions, stop: threading.Event
    ) -> None:
        self.group: Final = applier.consumer_group or f"{kafka.topic_prefix}.appliers"
        self.stop: Final = stop
        self._positions: Final = positions
        self._batch_rows: Final = applier.applier_batch_rows
        self._buffer: Final = applier.applier_lane_buffer
        names = Topics(kafka.topic_prefix)
        self._topics: Final = [names.name(topic) for topic in LANE_TOPICS]
        self._partition_of: Final = {topic: partition for partition, topic in enumerate(self._topics)}
        self._readers: Final[list[Reader]] = [READERS[topic] for topic in LANE_TOPICS]
        properties = _properties(kafka.librdkafka)
        self._consumer: Final = Consumer({**properties, **_OURS, "group.id": self.group, "error_cb": _log_error})
        self._lane_count: Final = kafka.lanes
        self._dead_letters: Final = DeadLetters(kafka, stop.is_set)
        self._admin: Final = AdminClient({**kafka.librdkafka, "log_level": 3})
        self._thread: Final = threading.Thread(target=self._run, name="lanes", daemon=True)

        self._changed: Final = threading.Condition()
        # Shared between the threads, under _changed:
        self._generation = 0
        self._gathered: dict[int, Lane] = {}
        self._rows = 0
        self._has_rows = False
        self._gathered_at = 0.0
        self._busy = False
        self._reposition = False
        self._applied: dict[int, LaneBatch] = {}
        self._versions: dict[int, int] = {}
        self._failure: BaseException | None = None
        # The stream's own thread's:
        self._lanes: dict[int, Lane] = {}
        self._paused: set[tuple[int, int]] = set()
        self._ends_seen: dict[tuple[int, int], int] = {}
        self._ends_wanted: dict[int, list[int]] = {}
        self._looked_at = 0.0
        self._committed_at = 0.0

    def __enter__(self) -> Self:
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the group."""
        self.stop.set()
        with self._changed:
            self._busy = False
            self._changed.notify_all()
        self._thread.join()
        self._tell_offsets()
        self._consumer.close()

    # --- the caller's side --------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """Batches of the assigned lanes until `stop` is set; asking for the next one says that the last one is done.

        Raises what the stream's thread died of: NotCoPartitioned, ConsumerFailed, and whatever `positions` raises.
        """
        while (batch := self._next()) is not None:
            yield batch
            self._done(batch)

    def holds(self, generation: int) -> bool:
        """Whether the lanes of a batch of this generation are still ours, as far as we know."""
        return generation == self._generation

    def versions(self) -> dict[int, int]:
        """How far PostgreSQL is with the lanes that we have: lane → version in µs."""
        with self._changed:
            return dict(self._versions)

    def reposition(self) -> None:
        """Forgets what was read ahead and asks again where the lanes stand: another process moved one of them."""
        with self._changed:
            self._forget()
            self._reposition = True
            self._changed.notify_all()

    def _next(self) -> Batch | None:
        with self._changed:
            while not self.stop.is_set() and self._failure is None:
                if self._rows and (self._has_rows or time.monotonic() >= self._gathered_at + BEAT_SECONDS):
                    self._busy = True
                    return self._hand_over()
                self._changed.wait(POLL_SECONDS)
            if self._failure is not None and not self.stop.is_set():
                raise self._failure
        return None

    def _hand_over(self) -> Batch:
        parts = [part for lane in self._gathered.values() if (part := lane.take()) is not None]
        batch = Batch(self._generation, parts, self._rows)
        self._gathered.clear()
        self._rows = 0
        self._has_rows = False
        self._changed.notify_all()
        return batch

    def _done(self, batch: Batch) -> None:
        with self._changed:
            self._busy = False
            if batch.generation == self._generation:
                self._applied.update((part.lane, part) for part in batch.lanes)
                self._versions.update((part.lane, part.version) for part in batch.lanes)
            self._changed.notify_all()

    def _forget(self) -> None:
        """Drops everything read ahead; called under the lock."""
        self._generation += 1
        self._gathered.clear()
        self._applied.clear()
        self._versions.clear()
        self._rows = 0
        self._has_rows = False

    # --- the stream's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self._fetch()
        except BaseException as error:  # noqa: BLE001 - raised again by `batches`, in the caller's thread
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _fetch(self) -> None:
        if self._reposition:
            self._place(list(self._lanes))
        first = self._consumer.poll(POLL_SECONDS)
        if first is not None:
            touched = self._receive([first, *self._consumer.consume(CHUNK, 0)])
            self._gather(touched)
            self._throttle()
        now = time.monotonic()
        if now >= self._looked_at + LOSS_SECONDS:
            self._looked_at = now
            self._look_for_losses(now)
        if now >= self._committed_at + COMMIT_SECONDS:
            self._committed_at = now
            self._tell_offsets()

    def _receive(self, messages: Iterable[Message]) -> set[int]:
        """Decodes messages into their lanes' merges; the lanes they came for."""
        lanes = self._lanes
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
            partition = partition_of[message.topic()]  # type: ignore[index]
            offset: int = message.offset()  # type: ignore[assignment]
            try:
                block, change = readers[partition](message.value())
            except Undecodable as error:
                self._set_aside(lane, partition, message, Defect.UNDECODABLE, str(error))
                touched.add(number)
                continue
            touched.add(number)
            if block.epoch != lane.epoch:
                detail = f"epoch {block.epoch}, while the lane is in epoch {lane.epoch}"
                self._set_aside(lane, partition, message, Defect.OTHER_EPOCH, detail)
            elif not lane.merge.push(partition, block.seq, offset, change) and offset >= (lane.starts[partition] or 0):
                # Below the start Kafka has sent us back (a truncated log): what we know already is no news.
                self._set_aside(lane, partition, message, Defect.REPEATED_NUMBER, f"number {block.seq} came before")
        return touched

    def _set_aside(self, lane: Lane, partition: int, message: Message, defect: Defect, detail: str) -> None:
        """Makes a dead letter of a message that cannot be applied; its lane goes on."""
        offset: int = message.offset()  # type: ignore[assignment]
        key, value = message.key(), message.value()
        topic = self._topics[partition]
        self._dead_letters.put(Letter(topic, lane.number, offset, key, value, defect.value, detail))
        block = lane_block(value) if defect is Defect.UNDECODABLE else None
        user_id = block.user_id if block else self._user_of(key, lane.number, partition)
        if (
            block is not None
            and block.epoch == lane.epoch
            and lane.merge.push(partition, block.seq, offset, end_of(block))
        ):
            lane.set_aside(defect, user_id, holds_number=False)
            return
        if defect is not Defect.REPEATED_NUMBER:
            lane.merge.pass_over(partition, offset)
        ours = defect is Defect.UNDECODABLE and (user_id is not None or LANE_TOPICS[partition] == HEARTBEATS)
        lane.set_aside(defect, user_id, holds_number=ours)

    def _user_of(self, key: bytes | None, number: int, partition: int) -> int | None:
        """The user that a message's key names, where it is one of this lane; a heartbeat's key names its lane."""
        if key is None or not key.isdigit() or len(key) > MOST_DIGITS or LANE_TOPICS[partition] == HEARTBEATS:
            return None
        user_id = int(key)
        return user_id if lane_of(user_id, self._lane_count) == number else None

    def _event(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            lane, partition = message.partition(), self._partition_of[message.topic()]  # type: ignore[index]
            self._ends_seen[lane, partition] = message.offset()  # type: ignore[index, assignment]
        elif error.fatal():
            raise ConsumerFailed(f"Kafka's client gave up: {error.str()}; start the applier again")
        else:
            log.warning("kafka", event_kind=error.name(), detail=error.str())

    def _gather(self, numbers: Iterable[int]) -> None:
        """Pops what is in order into the batch that comes next; waits while that one is full."""
        lanes = [self._lanes[number] for number in numbers if number in self._lanes]
        waiting = [lane for lane in lanes if lane.merge.ready]
        remarkable = [lane for lane in lanes if lane.remarkable]
        if remarkable and not self._dead_letters.settle():
            return
        with self._changed:
            for lane in remarkable:
                self._rows += 1
                self._has_rows = True
                self._gathered[lane.number] = lane
            while waiting and not self._reposition and not self.stop.is_set():
                if self._rows >= self._batch_rows:
                    self._changed.wait(POLL_SECONDS)
                    continue
                lane = waiting[-1]
                count, has_rows = lane.gather(self._batch_rows - self._rows)
                if not self._rows:
                    self._gathered_at = time.monotonic()
                self._rows += count
                self._has_rows |= has_rows
                self._gathered[lane.number] = lane
                if not lane.merge.ready:
                    waiting.pop()
            if self._has_rows:
                self._changed.notify_all()

    def _throttle(self) -> None:
        """Pauses partitions that ran ahead, and resumes those that found room again."""
        pause, resume = [], []
        for number, lane in self._lanes.items():
            merge = lane.merge
            for partition in PARTITIONS:
                key = number, partition
                if key in self._paused:
                    if merge.roomy(partition):
                        self._paused.discard(key)
                        resume.append(TopicPartition(self._topics[partition], number))
                elif merge.full(partition):
                    self._paused.add(key)
                    pause.append(TopicPartition(self._topics[partition], number))
        if pause:
            self._consumer.pause(pause)
        if resume:
            self._consumer.resume(resume)

    # --- numbers that can no longer arrive ----------------------------------------------------------------------------

    def _look_for_losses(self, now: float) -> None:
        for number, lane in self._lanes.items():
            if not len(lane.merge) or lane.merge.ready:
                lane.stalled_at = None
                self._ends_wanted.pop(number, None)
                continue
            if lane.stalled_at is None:
                lane.stalled_at = now
            elif now >= lane.stalled_at + LOSS_SECONDS:
                self._judge_gap(number, lane)

    def _judge_gap(self, number: int, lane: Lane) -> None:
        """A partition of which nothing is held is past the gap once we have read up to an end that was asked for
        after the gap was seen: what lies behind the gap was committed, so what belongs into it was written by then."""
        past = []
        if lane.merge.waits_for():
            wanted = self._ends_wanted.get(number)
            if wanted is None:
                wanted = self._ends_of(number)
                if wanted is None:
                    return
                self._ends_wanted[number] = wanted
            past = [p for p in PARTITIONS if self._ends_seen.get((number, p), -1) >= wanted[p]]
        missing = lane.merge.lost(past)
        if missing:
            first = lane.merge.next_seq
            lost = lane.skip(missing)
            if lost:
                log.error(
                    "numbers lost",
                    lane=number,
                    first=first,
                    count=lost,
                    mend="the lane goes on behind them; its leads are queued to be read live",
                )
            lane.stalled_at = None
            self._ends_wanted.pop(number, None)
            self._gather([number])

    def _ends_of(self, number: int) -> list[int] | None:
        """Where the lane's partitions end right now, uncommitted messages included; None where Kafka does not say."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): latest for topic in self._topics}
        try:
            answers = self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_SECONDS
            )
            ends = {answer.topic: future.result().offset for answer, future in answers.items()}
        except KafkaException as error:
            log.warning("ends of partitions unknown", lane=number, detail=str(error.args[0]))
            return None
        return [ends[topic] for topic in self._topics]

    # --- assignment ---------------------------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = {topic: set[int]() for topic in self._topics}
        for assigned in partitions:
            numbers[assigned.topic].add(assigned.partition)
        lanes = numbers[self._topics[0]]
        if any(others != lanes for others in numbers.values()):
            raise NotCoPartitioned(
                f"the topics' partitions were not assigned together ({ {t: sorted(n) for t, n in numbers.items()} });"
                f" every member of the group {self.group} has to subscribe to all four topics with the range assignor"
            )
        log.info("lanes assigned", lanes=sorted(lanes))
        with self._changed:
            self._forget()
        self._place(sorted(lanes))

    def _place(self, numbers: list[int]) -> None:
        """Starts reading these lanes where PostgreSQL says that they stand."""
        positions = self._positions(numbers) if numbers else {}
        with self._changed:
            self._reposition = False
            self._versions = {number: positions[number].version for number in numbers}
        self._lanes = {number: Lane(number, positions[number], self._buffer) for number in numbers}
        self._paused.clear()
        self._ends_seen.clear()
        self._ends_wanted.clear()
        wanted = [
            TopicPartition(self._topics[partition], number, _start(positions[number], partition))
            for number in numbers
            for partition in PARTITIONS
        ]
        self._consumer.assign(wanted)
        if wanted:
            self._consumer.resume(wanted)

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Drops what was read ahead, and lets the batch at hand be finished before others take the lanes over."""
        deadline = time.monotonic() + HAND_OVER_SECONDS
        self._tell_offsets()
        with self._changed:
            self._gathered.clear()
            self._rows = 0
            while self._busy and not self.stop.is_set() and time.monotonic() < deadline:
                self._changed.wait(POLL_SECONDS)
            self._forget()
        self._lanes = {}
        log.info("lanes revoked", lanes=sorted({revoked.partition for revoked in partitions}))

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """The group went on without us; whoever has the lanes now is protected by compare-and-set."""
        with self._changed:
            self._forget()
        self._lanes = {}
        log.warning("lanes lost", lanes=sorted({lost.partition for lost in partitions}))

    def _tell_offsets(self) -> None:
        with self._changed:
            applied, self._applied = self._applied, {}
        offsets = [
            TopicPartition(self._topics[partition], part.lane, part.offsets[topic])
            for part in applied.values()
            for partition, topic in enumerate(LANE_TOPICS)
            if topic in part.offsets
        ]
        if offsets:
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                log.warning("offsets not told to kafka", detail=str(error.args[0]))


def _start(position: LanePosition, partition: int) -> int:
    return position.offsets.get(LANE_TOPICS[partition], _BEGINNING)


_BEGINNING: Final = -2
"""librdkafka's RD_KAFKA_OFFSET_BEGINNING."""

_OURS: Final[dict[str, str | int | bool]] = {
    "partition.assignment.strategy": "range",
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
}
"""What the order and exactly-once rest on; the environment cannot change these."""

_DEFAULTS: Final[dict[str, str | int | bool]] = {
    "client.id": "leadstream-applier",
    "log_level": 3,
    "fetch.wait.max.ms": 100,
    "max.partition.fetch.bytes": 262_144,
    "fetch.max.bytes": 16_777_216,
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 100_000,
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
}
"""Memory of a few dozen MB however far behind we are, and a few seconds until a dead applier's lanes move on."""


def _properties(given: dict[str, str]) -> dict[str, str | int | bool]:
    return {**_DEFAULTS, **given}


def _log_error(error: KafkaError) -> None:
    log.warning("kafka", event_kind=error.name(), detail=error.str())
