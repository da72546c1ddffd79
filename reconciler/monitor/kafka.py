"""A look at Kafka every few seconds, for the status page and metrics alone: how far the reader is.

Nothing that sweeps or repairs depends on it; it runs only where KAFKA_BOOTSTRAP_SERVERS is set.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Final

import structlog

from consumer.process import Process
from consumer.stopping import EssentialThread
from consumer.versions import age
from reconciler.settings import StreamSettings

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0


@dataclass(frozen=True)
class StreamSeen:
    """What was seen last. `problem` says why nothing is known, else it is empty.

    `reader_version` is the commit time (µs) up to which everything is in Kafka, `next_seqs` each lane's next number
    there.
    """

    problem: str = "Kafka has not been asked yet"
    is_watched: bool = True
    failed: bool = False
    """Kafka was asked and could not answer."""
    reader_version: int = 0
    next_seqs: tuple[int, ...] = ()
    written_at: float = 0.0
    """When the reader last wrote a checkpoint (seconds since 1970)."""
    seen_at: float = 0.0
    """When that was (seconds since 1970)."""
    retention: float = 0.0
    """For how long (s) the lanes' topics keep changes."""
    reader: Process | None = None
    """The reader, as it reported itself with its last checkpoint."""

    @property
    def reader_lag(self) -> float | None:
        """How far (s) the reader was behind MySQL at that moment; None where that is not known."""
        return age(self.reader_version, self.seen_at)

    @property
    def reader_silent_since(self) -> datetime | None:
        """Since when the reader has written nothing; None while it is at work, or where that is not known."""
        from consumer.stream.status import is_silent

        if not self.written_at or not is_silent(self.written_at, self.seen_at):
            return None
        return datetime.fromtimestamp(self.written_at, UTC)


NOT_WATCHED: Final = StreamSeen("KAFKA_BOOTSTRAP_SERVERS is not set for this process", is_watched=False)


class KafkaMonitor:
    """A thread of its own that asks Kafka."""

    def __init__(self, settings: StreamSettings, stop: Event) -> None:
        self._settings = settings
        self._stop = stop
        self._seen = StreamSeen() if settings.kafka_bootstrap_servers else NOT_WATCHED
        self._thread = EssentialThread("watch stream", self._watch, stop)

    def start(self) -> None:
        """Begins to look, where there is a Kafka to look at."""
        if self._seen.is_watched:
            self._thread.start()

    def join(self) -> None:
        """Waits for the last look, after `stop` was set."""
        if self._seen.is_watched:
            self._thread.join()

    def seen(self) -> StreamSeen:
        """What was seen last."""
        return self._seen

    def _watch(self) -> None:
        from consumer.stream.status import StreamStatus, Unknown

        while not self._stop.is_set():
            try:
                look = StreamStatus(self._settings)
            except Unknown as error:  # perhaps a certificate that is yet to come
                self._failed(error)
                self._stop.wait(LOOK_SECONDS)
                continue
            with look as kafka:
                while not self._stop.is_set():
                    try:
                        position, now = kafka.look(), time.time()
                        self._seen = StreamSeen("", True, False, *position, now, kafka.retention(), kafka.reader())
                    except Unknown as error:
                        self._failed(error)
                    self._stop.wait(LOOK_SECONDS)

    def _failed(self, error: Exception) -> None:
        """Logs it, once until Kafka answers again."""
        if not self._seen.failed:
            log.warning("server_away", server="kafka", reason=str(error))
        self._seen = StreamSeen(str(error), failed=True)
