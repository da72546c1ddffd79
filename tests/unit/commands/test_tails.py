"""How far the newest messages are sought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consumer.commands import tails
from consumer.settings import KafkaSettings
from consumer.stream.envelope import EnvelopeWriter, StreamPosition

LAST = 100


class Beat:
    """A heartbeat whose number is its offset."""

    def __init__(self, offset: int) -> None:
        self._seq = offset

    def value(self) -> bytes:
        writer = EnvelopeWriter("ls", "mysql", "company", 1)
        return writer.heartbeat(self._seq, self._seq, self._seq, StreamPosition("s", "b.000001", self._seq)).encode()


class JustElected:
    """Leaders that do not know yet that the last message is committed: their ends come before that at first."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> JustElected:
        return self

    def __exit__(self, *_: object) -> None: ...

    def bounds(self, topic: str, _: int) -> tuple[int, int]:
        return (0, LAST + 1) if topic.endswith("heartbeats") else (0, 0)

    def messages(self, _: str, __: int, start: int, decided: int = 0) -> Iterator[Beat]:
        for offset in range(start, LAST):
            yield Beat(offset)
        if decided > LAST:
            yield Beat(LAST)


def test_the_newest_messages_are_sought_as_far_as_kafka_says_that_a_partition_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream that begins again behind an older one would number its messages as others are."""
    monkeypatch.setattr(tails, "Partitions", JustElected)
    found = tails.ends(KafkaSettings(kafka_bootstrap_servers="kafka:9092", topic_prefix="ls", lanes=2))
    assert [(tail.lane, tail.seq, tail.pos) for tail in found.tails] == [(0, LAST, LAST), (1, LAST, LAST)]
