"""What the status page says of a Kafka that cannot be looked at."""

from __future__ import annotations

from threading import Event

import pytest

from reconciler.monitor.kafka import NOT_WATCHED, KafkaMonitor
from reconciler.settings import StreamSettings


def test_a_client_that_refuses_its_settings_is_said_and_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SERVICE_HOST", "10.0.0.1")
    watch = KafkaMonitor(StreamSettings(kafka_bootstrap_servers="127.0.0.1:1"), Event())
    watch.start()
    watch.join()
    assert "service.host" in watch.seen().problem
    assert "look at the variables KAFKA_" in watch.seen().problem


def test_without_kafka_nothing_is_watched() -> None:
    watch = KafkaMonitor(StreamSettings(kafka_bootstrap_servers=""), Event())
    watch.start()
    watch.join()
    assert watch.seen() == NOT_WATCHED
