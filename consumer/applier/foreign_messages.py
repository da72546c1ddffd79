"""Messages whose number or version no reader gave out: somebody else's, which would take their lane with them.

The newest committed checkpoint is the authority on which of them exist. It lies in the Kafka transaction of the rows
that it covers, so it is never behind a row that we were given. Asking costs Kafka a round trip; it is asked before
numbers are given up as lost, where what a lane holds furthest ahead stays the same for long, and where a message is of
a time that has not come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

import structlog
from confluent_kafka import KafkaException

from consumer.applier.assigned_lane import Doubt, Lane
from consumer.settings import KafkaSettings
from consumer.store.dead_letters import Content, Defect, dead_letter
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.ends import ends_in_kafka
from consumer.stream.envelope import NOBODY
from consumer.stream.errors import CheckpointUnreadable, KafkaLost, KafkaRefused, NoCheckpoint
from consumer.stream.partition import Partitions
from consumer.stream.topics import CHECKPOINTS

ANSWER_SECONDS: Final = 5.0
"""How long Kafka may take to give one message once more; the lanes stand still meanwhile."""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
MOST_AT_ONCE: Final = 100
"""Foreign messages of a lane set aside at one look; the next one takes the next."""
ASIDE_SECONDS: Final = 1.0
"""After so long a look sets aside no more of them, of whatever lane: each is read from Kafka once more, and the process
neither polls nor stops meanwhile."""
JUDGE_SECONDS: Final = 0.5
"""How long after one question about doubtful messages the next one is asked."""
STILL_SECONDS: Final = 5.0
"""What a lane holds furthest ahead is suspicious where it stays the same for so long."""

log: Final = structlog.get_logger()


Newest = Callable[[], Checkpoint]
"""The newest committed checkpoint by now. Raises KafkaLost, NoCheckpoint, CheckpointUnreadable."""
Originals = Callable[[int, int, int], Content]
"""A message's bytes, by lane, partition (0 … 3) and offset; empty where it is gone. Raises KafkaLost, KafkaRefused."""


class ForeignMessages:
    """The search for foreign messages, which become dead letters of their lanes."""

    def __init__(
        self, topics: Sequence[str], newest: Newest, originals: Originals, overtaken: Callable[[], None]
    ) -> None:
        """`topics` are the full names, in the order of a lane's partitions.

        `overtaken` is called where the newest checkpoint is of a later epoch than the lane: PostgreSQL, which is moved
        into an epoch first, knows where the lanes stand now.
        """
        self._topics = topics
        self._newest = newest
        self._originals = originals
        self._overtaken = overtaken
        self._given: dict[int, tuple[int, int]] = {}
        self._tops: dict[int, int] = {}
        self._looked_at = 0.0
        self._judge_at = 0.0
        self._ask_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def look(self, lanes: Mapping[int, Lane], now: float) -> list[int]:
        """Searches lanes that go on while a foreign message waits for its turn; those of which some were set aside."""
        if now < self._looked_at + STILL_SECONDS:
            return []
        self._looked_at = now
        before, self._tops = self._tops, {number: lane.merge.top for number, lane in lanes.items() if len(lane.merge)}
        still = [number for number, top in self._tops.items() if before.get(number) == top]
        return [number for number in still if not self.all_numbered(lanes[number], now) and lanes[number].remarkable]

    def all_numbered(self, lane: Lane, now: float) -> bool:
        """Whether all that the lane holds has a number that a reader gave out; False also where Kafka does not say.

        Sets aside what has none. `now` is time.monotonic().
        """
        top = lane.merge.top
        if top < self._next_seq(lane):
            return True
        due = 0

        def search(_: Checkpoint) -> None:
            nonlocal due
            due = self._next_seq(lane)
            for seq, partition, offset in lane.merge.beyond(due, MOST_AT_ONCE):
                detail = f"number {seq}, while the reader gives out {due} next"
                about = lane.merge.held(seq)
                self._set_aside(
                    lane, partition, offset, Defect.SKIPPED_NUMBER, detail, about.user_id if about else NOBODY
                )
                lane.drop(seq)

        return self._ask([lane], now, search) and top < due

    def judge_versions(self, lanes: Sequence[Lane], now: float) -> int:
        """Goes on with the doubtful messages of lanes that a reader gave out, and sets the others aside.

        One answer is about all lanes: it is never behind what was given to us before the question. Returns the newest
        version (µs) that a reader gave out, as far as we know; 0: Kafka does not say, or was asked just now, and the
        lanes stand. `now` is as in `all_numbered`.
        """
        if now < self._judge_at:
            return 0
        latest = 0

        def search(newest: Checkpoint) -> None:
            nonlocal latest
            latest = max(newest.version, newest.unfinished_version)
            for lane in lanes:
                lane.believe(latest)
            until = time.monotonic() + ASIDE_SECONDS
            for lane in lanes:
                self._set_doubts_aside(lane, latest, until)

        self._ask(lanes, now, search)
        self._judge_at = time.monotonic() + JUDGE_SECONDS
        return latest

    def _set_doubts_aside(self, lane: Lane, latest: int, until: float) -> None:
        for doubt in list(islice(lane.doubts.values(), MOST_AT_ONCE)):
            if time.monotonic() >= until:
                return
            self._set_aside_doubtful(lane, doubt, latest)
            lane.drop(doubt.seq)
        for doubt in lane.displaced[:MOST_AT_ONCE]:
            if time.monotonic() >= until:
                return
            is_given_out = doubt.change.version <= latest
            if is_given_out and not doubt.is_aside and lane.push(doubt):
                lane.displaced.remove(doubt)  # who had its number was somebody else
                continue
            self._set_aside_doubtful(lane, doubt, latest)
            lane.displaced.remove(doubt)
            if is_given_out:  # it may have been the reader's: nobody says which of the two was
                lane.lose(doubt.change, latest)

    def _set_aside_doubtful(self, lane: Lane, doubt: Doubt, latest: int) -> None:
        if doubt.is_aside:
            return
        ahead = (doubt.change.version - latest) / 1e6
        defect, detail = Defect.REPEATED_NUMBER, f"number {doubt.seq} came twice"
        if ahead > 0:
            defect, detail = Defect.FOREIGN, f"{ahead:.0f} s later than the newest that the reader gave out"
        self._set_aside(lane, doubt.partition, doubt.offset, defect, detail, doubt.change.user_id)

    def _ask(self, lanes: Sequence[Lane], now: float, search: Callable[[Checkpoint], None]) -> bool:
        """Searches lanes by the newest checkpoint; False where Kafka does not say, or was asked in vain just now."""
        if now < self._ask_at:
            return False
        try:
            found = self._newest()
            self._given = {number: (found.epoch, next_seq) for number, next_seq in enumerate(found.next_seqs)}
            if any(found.epoch > lane.epoch for lane in lanes):
                self._overtaken()
            for lane in lanes:
                if not self._next_seq(lane):
                    raise NoCheckpoint(f"the newest checkpoint is not of epoch {lane.epoch}")
            search(found)
        except (KafkaLost, KafkaRefused, NoCheckpoint, CheckpointUnreadable) as error:
            self._ask_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            log.warning(
                "sequence_unknown",
                lanes=[lane.number for lane in lanes],
                reason=str(error),
                hint="the lanes stand until it is known; it is asked again",
            )
            return False
        self._pause = FIRST_PAUSE_SECONDS
        return True

    def _next_seq(self, lane: Lane) -> int:
        """The number that a reader gives out next, as far as we know; 0: we know nothing."""
        epoch, next_seq = self._given.get(lane.number, (0, 0))
        return next_seq if epoch == lane.epoch else 0

    def _set_aside(self, lane: Lane, partition: int, offset: int, defect: Defect, detail: str, about: int) -> None:
        content = self._originals(lane.number, partition, offset)
        if content.value is None:
            detail += "; the message is gone from its topic"
        user_id = None if about == NOBODY else about
        letter = dead_letter(self._topics[partition], lane.number, offset, defect, detail, user_id, content)
        lane.set_aside(letter, user_id)


def newest_in_kafka(settings: KafkaSettings) -> Newest:
    """Reads the checkpoints topic up to where it ends when asked: a commit reaches one partition after the other."""
    topic = settings.topic(CHECKPOINTS)

    def newest() -> Checkpoint:
        found = ends_in_kafka([topic], settings)(0)
        if found is None:
            raise KafkaLost(f"Kafka at {settings.kafka_bootstrap_servers} does not say where {topic} ends")
        with CheckpointLog(settings) as checkpoints:
            checkpoint = checkpoints.newest(decided=found[0])
        if checkpoint is None:
            raise NoCheckpoint(f"{topic} holds no checkpoint")
        return checkpoint

    return newest


def originals_in_kafka(settings: KafkaSettings, topics: Sequence[str]) -> Originals:
    """Reads messages once more; `topics` are the full names, in the order of a lane's partitions."""

    def original(lane: int, partition: int, offset: int) -> Content:
        # The name is older than ours for these messages: companies have granted it by their ACLs.
        with Partitions(settings, "strays", ANSWER_SECONDS) as partitions:
            try:
                message = next(partitions.messages(topics[partition], lane, offset), None)
            except KafkaException as error:
                what = f"give us offset {offset} of {topics[partition]}[{lane}]"
                raise partitions.trouble.lost(settings.kafka_bootstrap_servers, what, error) from error
        if message is None or message.offset() != offset:
            return Content(None, None)
        return Content(message.key(), message.value())

    return original
