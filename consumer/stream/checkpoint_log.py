"""The checkpoints topic: what the reader finds there when it starts, and what it writes there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Event
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException

from consumer.patience import Patience
from consumer.process import Process
from consumer.settings import KafkaSettings
from consumer.stream import checkpoint, presence
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.errors import CheckpointUnreadable, NoCheckpoint, WrongDatabase
from consumer.stream.partition import Partitions
from consumer.stream.topics import CHECKPOINTS

KEY: Final = b"reader"
ANSWER_SECONDS: Final = 10.0
FIRST_LOOK_BACK: Final = 64
"""Offsets read at first, from the end; doubled until a committed checkpoint is among them."""


def demand_database(found: str, database: str, topic_prefix: str) -> None:
    """Raises WrongDatabase where the stream is that of another database than this one; "" is any."""
    if found not in ("", database):
        raise WrongDatabase(
            f"the stream {topic_prefix} is that of database {found}, and REPLICA_DATABASE_URL names"
            f" {database}; set it to {found}, or set another TOPIC_PREFIX"
        )


def _is_settling(error: BaseException) -> bool:
    """Whether a partition has no leader at the moment, as right after it was created."""
    return isinstance(error, KafkaException) and error.args[0].code() in (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    )


class CheckpointLog(AbstractContextManager["CheckpointLog"]):
    """Committed checkpoints, read from their topic.

    Whoever is to go on from one has to call `init_transactions` first: it waits until what an older reader left open is
    decided, so that the last checkpoint found is the last one there will be.
    """

    def __init__(self, settings: KafkaSettings, within: float | None = None) -> None:
        """`within` is in how many seconds a person wants what is found, or why nothing is, and sooner where nothing
        listens; None: a Kafka that is away is waited for."""
        self._topic = settings.topic(CHECKPOINTS)
        self._servers = settings.kafka_bootstrap_servers
        self._lanes = settings.lanes
        self.written_at: float | None = None
        """When the checkpoint that was found last was written, by its writer's clock (s since 1970)."""
        self.written_by: Process | None = None
        """The reader that wrote it, as it reported itself then; None where it did not."""
        self._patience = ANSWER_SECONDS if within is None else within
        self._partitions = Partitions(settings, CHECKPOINTS, ANSWER_SECONDS, within)

    def last(self) -> Checkpoint | None:
        """The newest committed checkpoint; None where there is none.

        Raises KafkaLost, and CheckpointUnreadable where it is not ours, has another number of lanes, or stands amid the
        raising of lanes.
        """
        found = self.newest()
        command = None if found is None else checkpoint.cut_off(found)
        if command is not None:
            raise CheckpointUnreadable(f"raising the lanes was cut off; stop everything and run `{command}` again")
        if found is not None and len(found.next_seqs) != self._lanes:
            held = len(found.next_seqs)
            raising = f", or raise them with `consumer setup --lanes {self._lanes}`" if held < self._lanes else ""
            raise CheckpointUnreadable(
                f"the checkpoint in {self._topic} has {held} lanes, LANES is {self._lanes}; set LANES={held}{raising}"
            )
        return found

    def newest(self, decided: int = 0) -> Checkpoint | None:
        """As `last`, with however many lanes, once it is decided what is committed of all that lies before `decided`.

        That is an offset of the checkpoints topic. Raises KafkaLost too where it is not decided within ANSWER_SECONDS.
        """
        try:
            value = Patience(_is_settling, Event(), seconds=self._patience)(self._last_value, decided)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                return None
            raise self._partitions.trouble.lost(self._servers, f"give us {self._topic}", error) from error
        if value is None:
            return None
        try:
            return checkpoint.decode(value)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise CheckpointUnreadable(
                f"the last message of {self._topic} is not a checkpoint of ours ({error}); use another TOPIC_PREFIX"
            ) from error

    def require(self) -> Checkpoint:
        """The newest committed checkpoint. Raises NoCheckpoint where there is none, else as `last`."""
        found = self.last()
        if found is None:
            raise NoCheckpoint(f"{self._topic} holds no checkpoint yet; run consumer setup")
        return found

    def _last_value(self, decided: int) -> bytes | None:
        low, high = self._partitions.bounds(self._topic)
        high = max(high, decided)
        look_back = FIRST_LOOK_BACK
        while True:
            start = max(low, high - look_back)
            found = self._newest_from(start, high)
            if found is not None or start == low:
                return found
            look_back *= 2

    def _newest_from(self, start: int, high: int) -> bytes | None:
        """The newest one of those before `high`, or a later one: a reader at work may write on and on.

        Another broker that has just become the leader may not know yet that the partition goes as far as that.
        """
        newest = headers = None
        for message in self._partitions.messages(self._topic, 0, start, decided=high):
            if message.key() == KEY:
                newest = message.value()
                self.written_at = message.timestamp()[1] / 1000
                headers = message.headers()
                if (message.offset() or 0) >= high:
                    break
        self.written_by = presence.process_of(headers)
        return newest

    @property
    def outdated(self) -> bool:
        """Whether our certificate was renewed since this was made, so that another one has to be."""
        return self._partitions.outdated

    def close(self) -> None:
        """Ends the connection."""
        self._partitions.close()

    def __exit__(self, *_: object) -> None:
        self.close()
