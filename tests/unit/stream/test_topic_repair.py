"""What Kafka grants before its brokers know of it."""

from __future__ import annotations

import pytest

from consumer.stream.errors import KafkaLost
from consumer.stream.topic_repair import await_shown


def test_a_change_is_done_when_kafka_shows_it() -> None:
    answers = [["users", "claims"], ["claims"], []]
    await_shown(lambda: answers.pop(0), "its settings")
    assert answers == []


def test_who_does_not_show_it_in_time_is_named() -> None:
    with pytest.raises(KafkaLost, match=r"claims did not get its settings in time; run setup again"):
        await_shown(lambda: ["claims"], "its settings", seconds=0)
