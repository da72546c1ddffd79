"""What the status page says of a Kafka that cannot be looked at."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Event

import pytest
from structlog.testing import capture_logs

from consumer.stream import status
from consumer.stream.status import ReaderPosition, Unknown
from reconciler.monitor import kafka
from reconciler.monitor.kafka import NOT_WATCHED, KafkaMonitor
from reconciler.settings import StreamSettings
from tests.support.waiting import until


def test_a_client_that_refuses_its_settings_is_said_and_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SERVICE_HOST", "10.0.0.1")
    stop = Event()
    watch = KafkaMonitor(StreamSettings(kafka_bootstrap_servers="127.0.0.1:1"), stop)
    watch.start()
    until(lambda: watch.seen().failed, "it was asked")
    stop.set()
    watch.join()
    assert "service.host" in watch.seen().problem
    assert "look at the variables KAFKA_" in watch.seen().problem


def test_what_keeps_the_client_from_being_made_may_pass_and_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that comes into the pod after the process; it would otherwise be an outage until somebody came."""
    made: list[int] = []

    class Status(AbstractContextManager["Status"]):
        def __init__(self, _: object) -> None:
            made.append(1)
            if len(made) < 3:
                raise Unknown("there is no such file")

        def look(self) -> ReaderPosition:
            return ReaderPosition(7, (1,), 8.0)

        def retention(self) -> float:
            return 60.0

        def reader(self) -> None:
            return None

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(status, "StreamStatus", Status)
    monkeypatch.setattr(kafka, "LOOK_SECONDS", 0.01)
    stop = Event()
    watch = KafkaMonitor(StreamSettings(kafka_bootstrap_servers="127.0.0.1:1"), stop)
    with capture_logs() as logs:
        watch.start()
        until(lambda: watch.seen().reader_version == 7, "Kafka was asked")
        stop.set()
        watch.join()
    assert [(line["event"], line["reason"]) for line in logs] == [("server_away", "there is no such file")]


def test_without_kafka_nothing_is_watched() -> None:
    watch = KafkaMonitor(StreamSettings(kafka_bootstrap_servers=""), Event())
    watch.start()
    watch.join()
    assert watch.seen() == NOT_WATCHED
