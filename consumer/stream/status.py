"""Where the stream stands in Kafka, asked over connections that last: the reader's checkpoint and the dead letters."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import KafkaException

from consumer.settings import KafkaSettings
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.dead_letter_log import LetterBox
from consumer.stream.errors import StreamError


class Unknown(Exception):
    """Kafka did not tell; the message says why."""


class Standing(NamedTuple):
    """`version` (µs) is up to when everything committed is in Kafka; `dead_letters` are those nobody has settled."""

    version: int
    next_seqs: tuple[int, ...]
    dead_letters: int


class KafkaLook:
    """A context manager for one thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Asks nothing yet. Raises Unknown where Kafka's client refuses its settings."""
        try:
            self._checkpoints = CheckpointLog(settings)
            self._letters = LetterBox(settings)
        except KafkaException as error:
            reason = error.args[0].str()
            raise Unknown(f"Kafka's client refuses its settings ({reason}); look at the variables KAFKA_…") from error
        self._counted: tuple[int, int] | None = None

    def look(self) -> Standing:
        """Asks Kafka. Raises Unknown."""
        try:
            found = self._checkpoints.require()
            return Standing(found.version, tuple(found.next_seqs), self._dead_letters())
        except StreamError as error:
            raise Unknown(str(error)) from error
        except KafkaException as error:
            raise Unknown(f"Kafka did not answer ({error.args[0].str()})") from error

    def _dead_letters(self) -> int:
        """The journal is read anew only when it has grown."""
        end = self._letters.end()
        if self._counted is None or self._counted[0] != end:
            self._counted = end, len(self._letters.letters())
        return self._counted[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checkpoints.close()
        self._letters.close()
