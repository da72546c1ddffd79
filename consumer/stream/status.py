"""Where the stream stands in Kafka, asked over a connection that lasts: the reader's checkpoint."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import KafkaException

from consumer.settings import KafkaSettings
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import StreamError


class Unknown(Exception):
    """Kafka did not tell; the message says why."""


class ReaderPosition(NamedTuple):
    """`version` (µs) is up to when everything committed is in Kafka, `next_seqs` each lane's next number there."""

    version: int
    next_seqs: tuple[int, ...]


class KafkaLook:
    """A context manager for one thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Asks nothing yet. Raises Unknown where Kafka's client refuses its settings."""
        try:
            self._checkpoints = CheckpointLog(settings)
        except KafkaException as error:
            reason = error.args[0].str()
            raise Unknown(f"Kafka's client refuses its settings ({reason}); look at the variables KAFKA_…") from error

    def look(self) -> ReaderPosition:
        """Asks Kafka. Raises Unknown."""
        try:
            found = self._checkpoints.require()
            return ReaderPosition(found.version, tuple(found.next_seqs))
        except StreamError as error:
            raise Unknown(str(error)) from error
        except KafkaException as error:
            raise Unknown(f"Kafka did not answer ({error.args[0].str()})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checkpoints.close()
