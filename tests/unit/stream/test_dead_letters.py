"""Letters before they are in Kafka: whom they are about, and what becomes of them where no Kafka answers."""

from __future__ import annotations

import json

import pytest

from consumer.settings import KafkaSettings
from consumer.stream import dead_letters
from consumer.stream.dead_letters import DeadLetters, Letter, user_of
from consumer.stream.errors import KafkaLost

NOBODY_LISTENS = KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1", topic_prefix="ls", lanes=4)


def letter(key: bytes | None, value: bytes | None = b"?", topic: str = "users") -> Letter:
    return Letter(f"ls.{topic}", 0, 7, key, value, "undecodable", "no JSON")


def block(user_id: int | None) -> bytes:
    lane = {"epoch": 1, "seq": 1, "version": 1, "user_id": user_id, "last": True}
    return json.dumps({"after": {"id": "?"}, "lane": lane}).encode()


@pytest.mark.parametrize(
    ("about", "user_id"),
    [
        (letter(b"5"), 5),
        (letter(b"8", block(5)), 5),
        (letter(b"8", block(None)), None),
        (letter(b"5", None), 5),
        (letter(None), None),
        (letter(b""), None),
        (letter(b"-5"), None),
        (letter(b"\xd9\xa5"), None),
        (letter(b"9" * 18), 10**18 - 1),
        (letter(b"9" * 19), None),
        (letter(b"5", topic="heartbeats"), None),
    ],
)
def test_a_letter_is_about_the_user_of_its_lane_block_or_else_of_its_key(about: Letter, user_id: int | None) -> None:
    assert user_of(about) == user_id


def test_letters_that_no_kafka_takes_are_given_up_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(dead_letters, "ANSWER_SECONDS", 0.1)
    unsent = DeadLetters(NOBODY_LISTENS, lambda: False)
    unsent.put(letter(b"5"))
    with pytest.raises(KafkaLost, match=r"127\.0\.0\.1:1 did not take dead letters .* look at its brokers"):
        unsent.settle()


def test_letters_are_not_waited_for_by_a_process_that_is_to_stop() -> None:
    unsent = DeadLetters(NOBODY_LISTENS, lambda: True)
    assert unsent.settle()
    unsent.put(letter(b"5"))
    assert not unsent.settle()
