"""How far the newest checkpoint is sought."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.settings import KafkaSettings
from consumer.stream import checkpoint
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import KEY, CheckpointLog

LAST = 100


class Written:
    """A message of the topic."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return KEY

    def value(self) -> bytes:
        return checkpoint.encode(
            Checkpoint(
                epoch=1, flavor="mysql", server="s", gtid_set="", file="f", pos=self._offset, version=1, next_seqs=[1]
            )
        )

    def timestamp(self) -> tuple[int, int]:
        return 0, 0

    def headers(self) -> None:
        return None


class JustElected:
    """A leader that does not know yet that the last message is committed: its end comes before that at first."""

    def bounds(self, _: str, __: int = 0) -> tuple[int, int]:
        return 0, LAST + 1

    def messages(self, _: str, __: int, start: int, decided: int = 0) -> Iterator[Written]:
        for offset in range(start, LAST):
            yield Written(offset)
        if decided > LAST:
            yield Written(LAST)

    def close(self) -> None:
        """Nothing is open."""


def test_the_newest_checkpoint_is_sought_as_far_as_kafka_says_that_its_topic_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with CheckpointLog(KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1", lanes=1)) as log:
        log._partitions.close()
        monkeypatch.setattr(log, "_partitions", JustElected())
        found = log.newest()
    assert found is not None
    assert found.pos == LAST
