"""What setup says that it created, and what it checks."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.settings import KafkaSettings
from consumer.stream import topics
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.trouble import Trouble

SETTINGS = KafkaSettings(kafka_bootstrap_servers="kafka:9092", topic_prefix="ls", lanes=2, topic_replication_factor=1)
NAMES = [topic.name for topic in topics.wanted_by_setup(SETTINGS)]


def done(result: Any = None) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def exists() -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS)))
    return future


class Cluster:
    """Topics, of which the broker that is asked knows nothing the first `blind` times."""

    def __init__(self, blind: float, **there: dict[str, str]) -> None:
        self._blind = blind
        self._there = {f"ls.{name}": settings for name, settings in there.items()}

    def list_topics(self, timeout: float) -> Any:
        assert timeout
        self._blind -= 1
        shown = self._there if self._blind < 0 else {}
        return SimpleNamespace(topics={name: SimpleNamespace(partitions=dict.fromkeys(range(2))) for name in shown})

    def describe_configs(self, asked: list[Any], **_: float) -> dict[Any, Future[Any]]:
        return {
            one: done({key: SimpleNamespace(value=value) for key, value in self._there[one.name].items()})
            for one in asked
        }

    def create_topics(self, asked: list[Any], **_: float) -> dict[str, Future[Any]]:
        answers = {one.topic: exists() if one.topic in self._there else done() for one in asked}
        self._there |= {one.topic: dict(one.config) for one in asked if one.topic not in self._there}
        return answers


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "LOOK_SECONDS", 0.01)


def prepare(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(topics, "client", lambda _: (cluster, Trouble()))
    return topics.prepare(SETTINGS)


FIT = {topic.name.removeprefix("ls."): {**topic.fixed, **topic.settings} for topic in topics.wanted_by_setup(SETTINGS)}


def test_what_is_missing_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(Cluster(0), monkeypatch) == NAMES
    assert prepare(Cluster(0, users=FIT["users"]), monkeypatch) == [name for name in NAMES if name != "ls.users"]


@pytest.mark.parametrize("blind", [1, 3])
def test_what_a_broker_did_not_know_of_was_not_created(blind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(Cluster(blind, **FIT), monkeypatch) == []
    some = {name: FIT[name] for name in ("users", "claims")}
    created = prepare(Cluster(blind, **some), monkeypatch)
    assert created == [name for name in NAMES if name not in ("ls.users", "ls.claims")]


def test_what_a_broker_did_not_know_of_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    compacted = FIT | {"users": {"cleanup.policy": "compact"}}
    with pytest.raises(TopicMismatch, match=r"ls\.users has cleanup\.policy=compact"):
        prepare(Cluster(1, **compacted), monkeypatch)


def test_setup_goes_no_further_where_brokers_do_not_come_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "ANSWER_SECONDS", 0.05)
    with pytest.raises(KafkaLost, match=r"ls\.users, .* exist, and brokers do not know of them yet; run setup again"):
        prepare(Cluster(1000, **FIT), monkeypatch)
