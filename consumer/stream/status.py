"""Where the stream stands in Kafka, asked over a connection that lasts: the reader's checkpoint."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from consumer.process import Process
from consumer.settings import KafkaSettings, SettingsError
from consumer.stream.checkpoint_log import ANSWER_SECONDS, CheckpointLog
from consumer.stream.errors import StreamError
from consumer.stream.topics import retention_seconds


class Unknown(Exception):
    """A question that Kafka did not answer; the message says why."""


SILENT_SECONDS: Final = 30.0
"""A reader at work writes a checkpoint every few seconds, however far it is behind."""
RETENTION_SECONDS: Final = 600.0
"""How often the topics are asked for how long they keep changes."""


def is_silent(written_at: float, now: float) -> bool:
    """Whether a reader whose last checkpoint is of that time (s) is not at work any more."""
    return now - written_at > SILENT_SECONDS


class ReaderPosition(NamedTuple):
    """The reader's checkpoint: `version` (µs) is up to when everything committed is in Kafka, `next_seqs` each lane's
    next number there, `written_at` (s) when it was written."""

    version: int
    next_seqs: tuple[int, ...]
    written_at: float


class StreamStatus(AbstractContextManager["StreamStatus"]):
    """A context manager for one thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Asks nothing yet. Raises Unknown where Kafka's client refuses its settings."""
        self._settings = settings
        self._retention = settings.topic_retention_hours * 3600.0
        self._retention_due = 0.0
        try:
            self._checkpoints = CheckpointLog(settings, within=ANSWER_SECONDS)
        except KafkaException as error:
            reason = error.args[0].str()
            raise Unknown(f"Kafka's client refuses its settings ({reason}); look at the variables KAFKA_…") from error
        except SettingsError as error:
            raise Unknown(str(error)) from error

    def look(self) -> ReaderPosition:
        """Asks Kafka. Raises Unknown."""
        try:
            if self._checkpoints.outdated:
                self._checkpoints.close()
                self._checkpoints = CheckpointLog(self._settings, within=ANSWER_SECONDS)
            found = self._checkpoints.require()
            return ReaderPosition(found.version, tuple(found.next_seqs), self._checkpoints.written_at or 0.0)
        except (SettingsError, StreamError) as error:
            raise Unknown(str(error)) from error
        except KafkaException as error:
            raise Unknown(f"Kafka did not answer ({error.args[0].str()})") from error

    def reader(self) -> Process | None:
        """The reader that wrote the checkpoint read last; None where that does not say."""
        return self._checkpoints.written_by

    def retention(self) -> float:
        """For how long (s) the lanes' topics keep changes; TOPIC_RETENTION_HOURS where Kafka does not say."""
        if time.monotonic() >= self._retention_due:
            self._retention_due = time.monotonic() + RETENTION_SECONDS
            try:
                self._retention = retention_seconds(self._settings)
            except (KafkaException, SettingsError):
                self._retention = self._settings.topic_retention_hours * 3600.0
        return self._retention

    def __exit__(self, *_: object) -> None:
        self._checkpoints.close()
