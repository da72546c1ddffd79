"""Conversions written to the topic `{prefix}.conversions`, by one `reconciler serve` of however many there are.

The conversions that are committed in PostgreSQL are the outbox, so nothing that sweeps or repairs waits for Kafka. What
was sent is noted after Kafka has it: whoever is killed between the two leaves it to be sent again.
"""

from __future__ import annotations

import time
from contextlib import closing
from threading import Event, Thread
from typing import Final

import psycopg
import structlog

from consumer.patience import Patience
from consumer.settings import SettingsError
from consumer.store import conversion_events
from consumer.store.conversion_events import Waiting
from consumer.store.errors import StoreError
from consumer.stream.errors import StreamError
from consumer.stream.event_producer import Event as Message
from consumer.stream.event_producer import EventProducer
from reconciler import cloud_events, metrics
from reconciler.postgres import Postgres
from reconciler.runs.repair import why
from reconciler.settings import StreamSettings

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0
"""How often new conversions are looked for, and whether the one who publishes is gone."""
LOOK_SECONDS: Final = 10.0
"""How often what waits is counted."""
AT_ONCE: Final = 1000
"""Conversions read at once."""


class Publisher:
    """A thread of its own. Whatever goes wrong in it, it is tried again until `stop`, and nothing else suffers.

    An error that nobody foresaw is logged with its traceback; the process goes on, for pre-call checks need no events.
    """

    def __init__(self, settings: StreamSettings, conninfo: str, stop: Event) -> None:
        self._settings = settings
        self._topic = settings.topic("conversions")
        self._conninfo = conninfo
        self._stop = stop
        self._waiting: Waiting | None = None
        self._look_due = 0.0
        self._failing: tuple[float, type[BaseException]] | None = None
        """Since when (s, monotonic) nothing could be published, and what it was last."""
        self._patience = Patience(lambda error: isinstance(error, Exception), stop, self._failed)
        self._thread = Thread(target=self._run, name="publish conversions")

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self) -> None:
        """Waits for what is under way, after `stop` was set."""
        self._thread.join()

    def state(self) -> metrics.Publishing:
        """How it stands."""
        failing = self._failing
        return metrics.Publishing(self._waiting, 0.0 if failing is None else time.monotonic() - failing[0])

    def _run(self) -> None:
        try:
            self._patience(self._attempt)
        except Exception:  # any error is tried again, so one comes out only where waiting ended because of `stop`
            if not self._stop.is_set():
                raise

    def _attempt(self) -> None:
        """Publishes until `stop`. Whatever is raised ends the session, and with it the turn."""
        with closing(Postgres(self._conninfo)) as postgres:
            self._publish(postgres)

    def _failed(self, error: BaseException, _attempt: int, _pause: float) -> None:
        """Logs it, once for each kind of error."""
        since, before = self._failing or (time.monotonic(), None)
        self._failing = since, type(error)
        if before is type(error):
            return
        if isinstance(error, SettingsError | StoreError | StreamError | psycopg.Error):
            log.warning("conversions_not_published", topic=self._topic, reason=why(error))
        else:
            log.error(
                "conversions_not_published", topic=self._topic, kind=type(error).__name__, reason=str(error),
                hint="nobody foresaw this error: keep the log; it is tried again", exc_info=error,
            )  # fmt: skip

    def _went_well(self) -> None:
        self._failing = None
        self._patience.progressed()

    def _publish(self, postgres: Postgres) -> None:
        """Waits until it is this process's turn, and publishes until `stop`. Raises StoreError, StreamError."""
        while not self._look(postgres, is_ours=False):
            self._went_well()
            if self._stop.wait(PAUSE_SECONDS):
                return
        with EventProducer(self._settings, self._topic) as producer:
            log.info("publisher_started", topic=self._topic)
            while not self._stop.is_set():
                has_sent = self._send(postgres, producer)
                self._went_well()
                self._look(postgres, is_ours=True)
                if not has_sent and self._stop.wait(PAUSE_SECONDS):
                    return

    def _look(self, postgres: Postgres, *, is_ours: bool) -> bool:
        """Looks at what waits, numbers what is new, and says whether it is this process's turn.

        What waits is seen though numbering fails.
        """
        with postgres.session() as connection:
            if time.monotonic() >= self._look_due:
                self._waiting = conversion_events.waiting(connection, self._topic, self._waiting)
                self._look_due = time.monotonic() + LOOK_SECONDS
            is_ours = is_ours or conversion_events.take_over(connection, self._topic)
            if is_ours:
                conversion_events.number(connection)
        return is_ours

    def _send(self, postgres: Postgres, producer: EventProducer) -> bool:
        """Publishes what is not noted as being in the topic, some of it; whether there was any.

        The note is read each time: whoever deletes it has everything sent again.
        """
        has_sent = False
        with postgres.session() as connection:
            upto = conversion_events.published_up_to(connection, self._topic)
            for wave in cloud_events.waves(conversion_events.after(connection, upto, AT_ONCE)):
                if self._stop.is_set():
                    break
                producer.send(
                    [Message(str(one.user_id), cloud_events.encode(one, self._settings.topic_prefix)) for one in wave]
                )
                conversion_events.published(connection, self._topic, wave[-1].event_number)
                metrics.EVENTS_PUBLISHED.inc(len(wave))
                has_sent = True
        return has_sent
