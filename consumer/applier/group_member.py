"""The lanes that Kafka assigns to this process, as batches in the binlog's order.

A thread of its own fetches, decodes and merges the next batch while the caller is busy with the last one. Where a lane
stands is PostgreSQL's to say: positions are asked for on every assignment, and the offsets that Kafka gets are only
for lag tools. All four topics use the range assignor, so that a lane's partitions come together; that is checked.
It is an eager one: all lanes stand still for the moment of a rebalance. The cooperative-sticky assignor, which would
move only some, tears lanes apart: it counts partitions, whatever their numbers (of two members each got two topics).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer.applier.assigned_lane import PARTITIONS, Lane, Positions
from consumer.applier.batches import Batch
from consumer.applier.decoding import Complaints, Intake
from consumer.applier.foreign_messages import ForeignMessages, newest_in_kafka, originals_in_kafka
from consumer.applier.gaps import Gaps
from consumer.applier.other_lanes import OtherLanes
from consumer.metrics import Reached
from consumer.settings import ApplierSettings, KafkaSettings
from consumer.store.lanes import LaneState
from consumer.stream import topics
from consumer.stream.credentials import Credentials
from consumer.stream.ends import ends_in_kafka
from consumer.stream.errors import ConsumerFailed, KafkaLost, KafkaRefused, NotCoPartitioned
from consumer.stream.topic_fit import uneven
from consumer.stream.topics import LANE_TOPICS, lane_topics
from consumer.tuning import give_back_freed

POLL_SECONDS: Final = 0.1
"""Longest wait for a message before the thread looks at other duties; also how soon it notices the end."""
CHUNK: Final = 2_000
"""Messages taken from librdkafka at once."""
WAIT_SECONDS: Final = 0.005
"""The same while a lane waits for another one."""
BEAT_SECONDS: Final = 0.25
"""How long a batch of nothing but heartbeats waits for company: an idle system stays quiet."""
SET_ASIDE_BYTES: Final = 16 * 1024 * 1024
"""Of dead letters in a batch; more of them wait for the next one."""
LOOK_SECONDS: Final = 0.5
"""How often lanes are searched for missing numbers."""
HAND_OVER_SECONDS: Final = 20.0
"""How long a revocation waits for the batch at hand, so that the next owner finds the lane settled."""
REPORT_SECONDS: Final = 5.0
"""How often Kafka gets offsets, for lag tools, and the system the memory that was freed."""

log: Final = structlog.get_logger()


class LaneStream:
    """Member of the group of appliers; a context manager that joins on entering and leaves on exit.

    `positions` gives where lanes stand (asked from the stream's own thread). `batches` ends when `stop` is set.
    """

    def __init__(
        self, kafka: KafkaSettings, applier: ApplierSettings, positions: Positions, stop: threading.Event
    ) -> None:
        self.group: Final = applier.group(kafka.topic_prefix)
        self.stop: Final = stop
        self._positions: Final = positions
        self._batch_rows: Final = applier.applier_batch_rows
        self._buffer: Final = applier.applier_lane_buffer
        self._topics: Final = lane_topics(kafka)
        self._kafka: Final = kafka
        self._gaps: Final = Gaps(ends_in_kafka(self._topics, kafka))
        self._intake: Final = Intake(self._topics, kafka.lanes, self._gaps)
        self._foreign: Final = ForeignMessages(
            self._topics, newest_in_kafka(kafka), originals_in_kafka(kafka, self._topics), self.reposition
        )
        self._credentials: Final = Credentials(kafka)
        self._consumer: Final = _consumer(kafka.librdkafka, self.group)
        self._worker: Final = ThreadPoolExecutor(1, thread_name_prefix="lanes")
        self._running: Future[None] | None = None

        self._changed: Final = threading.Condition()
        # Shared between the threads, under _changed:
        self._generation = 0
        self._gathered: dict[int, Lane] = {}
        self._rows = 0
        self._has_rows = False
        self._set_aside_bytes = 0
        self._gathered_at = 0.0
        self._busy = False
        self._reposition = False
        self._applied: dict[int, Mapping[str, int]] = {}
        self._reached: dict[int, Reached] = {}
        # The stream's own thread's:
        self._lanes: dict[int, Lane] = {}
        self._paused: set[tuple[int, int]] = set()
        self._others: Final = OtherLanes(positions)
        self._looked_at = 0.0
        self._reported_at = 0.0

    def __enter__(self) -> Self:
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._running = self._worker.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the group."""
        self.stop.set()
        with self._changed:
            self._busy = False
            self._changed.notify_all()
        self._worker.shutdown()
        self._report_offsets()
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

    def reached(self) -> dict[int, Reached]:
        """How far PostgreSQL is with the lanes that we have."""
        with self._changed:
            return dict(self._reached)

    def reposition(self) -> None:
        """Forgets what was read ahead and asks again where the lanes stand: another process moved one of them."""
        with self._changed:
            self._forget()
            self._reposition = True
            self._changed.notify_all()

    def _next(self) -> Batch | None:
        with self._changed:
            while not self.stop.is_set():
                if self._running is not None and self._running.done():
                    self._running.result()
                if self._rows and (self._has_rows or time.monotonic() >= self._gathered_at + BEAT_SECONDS):
                    self._busy = True
                    return self._hand_over()
                self._changed.wait(POLL_SECONDS)
        return None

    def _hand_over(self) -> Batch:
        parts = [part for lane in self._gathered.values() if (part := lane.take()) is not None]
        batch = Batch(self._generation, parts, self._rows)
        self._gathered.clear()
        self._rows = 0
        self._has_rows = False
        self._set_aside_bytes = 0
        self._changed.notify_all()
        return batch

    def _done(self, batch: Batch) -> None:
        with self._changed:
            self._busy = False
            if batch.generation == self._generation:
                self._applied.update((part.lane, part.offsets) for part in batch.lanes)
                self._reached.update((part.lane, Reached(part.version, part.next_seq)) for part in batch.lanes)
            self._changed.notify_all()

    def _forget(self) -> None:
        """Drops everything read ahead; called under the lock."""
        self._generation += 1
        self._gathered.clear()
        self._applied.clear()
        self._reached.clear()
        self._rows = 0
        self._has_rows = False
        self._set_aside_bytes = 0

    # --- the stream's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.stop.is_set():
            self._fetch()

    def _fetch(self) -> None:
        if self._reposition:
            self._reposition = False
            if self._lanes:
                self._place(list(self._lanes))
        if self._others.waiting:
            self._others.look(busy=self._busy)
            self._gather(list(self._others.waiting))
            self._throttle()
        first = self._consumer.poll(WAIT_SECONDS if self._others.waiting else POLL_SECONDS)
        if first is not None:
            touched = self._intake.take([first, *self._consumer.consume(CHUNK, 0)], self._lanes)
            self._gather(touched)
            self._throttle()
        self._credentials.look(self._consumer)
        if self._credentials.outdated:
            raise ConsumerFailed(
                "our certificate for Kafka was renewed, and its client reads it only when it begins; start the applier"
                " again"
            )
        now = time.monotonic()
        self._judge_doubts(now)
        if now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            self._pass_gaps(now)
        if now >= self._reported_at + REPORT_SECONDS:
            self._reported_at = now
            self._report_offsets()
            give_back_freed()

    def _gather(self, numbers: Iterable[int]) -> None:
        """Pops what is in order into the batch that comes next; waits while that one is full."""
        lanes = [self._lanes[number] for number in numbers if number in self._lanes]
        waiting = [lane for lane in lanes if self._others.may_go(lane, self._lanes)]
        remarkable = [lane for lane in lanes if lane.remarkable]
        with self._changed:
            while remarkable and self._set_aside_bytes >= SET_ASIDE_BYTES and not self._reposition:
                if self.stop.is_set():
                    return
                self._changed.wait(POLL_SECONDS)
            if remarkable and not self._reposition:
                for lane in remarkable:
                    self._set_aside_bytes += lane.set_aside_bytes
                    lane.gather(0)
                    self._gathered[lane.number] = lane
                self._rows += len(remarkable)
                self._has_rows = True
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
                if not self._others.may_go(lane, self._lanes):
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

    def _judge_doubts(self, now: float) -> None:
        """Goes on with doubtful messages that a reader gave out, and sets the others aside."""
        doubtful = [number for number, lane in self._lanes.items() if lane.in_doubt]
        if doubtful:
            latest = self._foreign.judge_versions([self._lanes[number] for number in doubtful], now)
            self._intake.latest = max(self._intake.latest, latest)
            self._gather(doubtful)
            self._throttle()

    def _pass_gaps(self, now: float) -> None:
        """Sets aside what has no number of ours, and goes on behind numbers that are lost."""
        for number in self._gaps.in_turn(self._lanes):
            lane = self._lanes[number]
            if lane.in_doubt:
                continue
            missing = self._gaps.lost(lane, now)
            if not missing:
                continue
            if self._foreign.all_numbered(lane, now):
                self._skip(lane, missing)
            self._gather([number])
        self._gather(self._foreign.look(self._lanes, now))
        self._throttle()

    def _skip(self, lane: Lane, missing: int) -> None:
        first = lane.merge.next_seq
        lost = lane.skip(missing)
        if lost:
            log.error(
                "numbers_lost",
                lane=lane.number,
                seq=first,
                count=lost,
                hint="the lane goes on behind them; its leads are queued to be read live",
            )

    # --- assignment ---------------------------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = {topic: set[int]() for topic in self._topics}
        for assigned in partitions:
            if assigned.partition < self._kafka.lanes:  # nothing is ever written to the others
                numbers[assigned.topic].add(assigned.partition)
        lanes = numbers[self._topics[0]]
        if any(others != lanes for others in numbers.values()):
            raise NotCoPartitioned(
                f"the topics' partitions were not assigned together ({ {t: sorted(n) for t, n in numbers.items()} });"
                f" {self._why_torn()}"
            )
        log.info("lanes_assigned", lanes=sorted(lanes))
        with self._changed:
            self._forget()
        self._place(sorted(lanes))

    def _why_torn(self) -> str:
        try:
            torn = uneven(topics.partitions_of_lanes(self._kafka))
        except (KafkaLost, KafkaRefused):
            torn = None
        return torn or (
            f"every member of the group {self.group} has to subscribe to all four topics with the range assignor"
        )

    def _place(self, numbers: list[int]) -> None:
        """Starts reading these lanes where PostgreSQL says that they stand."""
        positions = self._positions(numbers) if numbers else {}
        with self._changed:
            self._reached = {
                number: Reached(positions[number].version, positions[number].next_seq) for number in numbers
            }
        self._lanes = {number: Lane(number, positions[number], self._buffer) for number in numbers}
        self._others.forget()
        self._paused.clear()
        self._gaps.forget()
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
        self._report_offsets()
        with self._changed:
            self._gathered.clear()
            self._rows = 0
            self._set_aside_bytes = 0
            while self._busy and not self.stop.is_set() and time.monotonic() < deadline:
                self._changed.wait(POLL_SECONDS)
            self._forget()
        self._lanes = {}
        log.info("lanes_revoked", lanes=self._among(partitions))

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """The group went on without us; whoever has the lanes now is protected by compare-and-set."""
        with self._changed:
            self._forget()
        self._lanes = {}
        log.warning("lanes_lost", lanes=self._among(partitions))

    def _among(self, partitions: Iterable[TopicPartition]) -> list[int]:
        """The lanes that partitions are of."""
        return sorted({one.partition for one in partitions if one.partition < self._kafka.lanes})

    def _report_offsets(self) -> None:
        with self._changed:
            applied, self._applied = self._applied, {}
        offsets = [
            TopicPartition(self._topics[partition], number, reached[topic])
            for number, reached in applied.items()
            for partition, topic in enumerate(LANE_TOPICS)
            if topic in reached
        ]
        if offsets:
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                log.warning("offsets_not_committed", reason=str(error.args[0]))


def _start(position: LaneState, partition: int) -> int:
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
    "log_level": 0,
    "fetch.wait.max.ms": 100,
    "max.partition.fetch.bytes": 65_536,
    "fetch.max.bytes": 16_777_216,
    "queued.max.messages.kbytes": 32_768,
    "queued.min.messages": 100_000,
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
}
"""Memory of a few dozen MB however far behind we are, and a few seconds until a dead applier's lanes move on.

The client's queue takes 32 MB: with 16 MB one topic's large messages kept the others out, and the merge waited (46,000
rows/s where requirements have UUIDs, 58,000 with 32 MB, for 30 MB more memory; 64 MB gained no more). It is looked at
between answers, and what an answer brings is decompressed to eight times its size: a partition gives as much as one of
the reader's batches takes, 64 KB. With 256 KB, the client took 30 MB more.
"""


def _consumer(properties: dict[str, str], group: str) -> Consumer:
    complaints = Complaints()
    try:
        return Consumer({**_DEFAULTS, **properties, **_OURS, "group.id": group, "error_cb": complaints.report})
    except KafkaException as error:
        raise ConsumerFailed(
            f"Kafka's client refuses its settings ({error.args[0].str()}); look at the variables KAFKA_…"
        ) from error
