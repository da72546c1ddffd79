"""What the status page says of a Kafka that cannot be looked at."""

from __future__ import annotations

from threading import Event

import pytest

from reconciler.monitor.kafka import NOT_WATCHED, KafkaMonitor
from reconciler.settings import StreamSettings


def test_a_client_that_refuses_its_settings_is_said_and_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SERVICE_HOST", "10.0.0.1")
    monitor = KafkaMonitor(StreamSettings(kafka_bootstrap_servers="127.0.0.1:1"), Event())
    monitor.start()
    monitor.join()
    assert "service.host" in monitor.seen().problem
    assert "look at the variables KAFKA_" in monitor.seen().problem


def test_without_kafka_nothing_is_watched() -> None:
    monitor = KafkaMonitor(StreamSettings(kafka_bootstrap_servers=""), Event())
    monitor.start()
    monitor.join()
    assert monitor.seen() == NOT_WATCHED
