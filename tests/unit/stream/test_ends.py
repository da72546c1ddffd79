"""Where partitions end, asked of a Kafka that is away."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.settings import KafkaSettings
from consumer.stream import ends
from tests.support.ports import free_port
from tests.support.waiting import until

TOPICS = ("users", "claims", "claim_requirements", "heartbeats")
QUESTIONS = 5


@pytest.fixture(autouse=True)
def _short_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "ANSWER_SECONDS", 0.05)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """As in an applier that has nothing to read: the collector does not come."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.usefixtures("uncollected")
def test_each_question_that_kafka_does_not_answer_leaves_no_client_behind() -> None:
    ask = ends.ends_in_kafka(TOPICS, KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}", lanes=1))
    before = threads()
    for _ in range(QUESTIONS):
        assert ask(0) is None
    until(lambda: threads() <= before, "the clients' threads are gone", within=10, seen=threads)


def test_while_a_password_is_being_replaced_kafka_does_not_say_and_nothing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    for name, value in {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_SASL_USERNAME": "us",
        "KAFKA_SASL_PASSWORD_FILE": str(password),
    }.items():
        monkeypatch.setenv(name, value)
    ask = ends.ends_in_kafka(TOPICS, KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}", lanes=1))
    assert ask(0) is None
    password.write_text("")
    assert ask(0) is None
    password.unlink()
    assert ask(0) is None
    password.write_text("another")
    assert ask(0) is None
