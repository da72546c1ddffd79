"""Dead letters that an older release kept in a topic, carried over into PostgreSQL's table.

There a dead letter is a message with the original key and value and the headers `reason`, `detail`, `topic`,
`partition` and `offset`. A message with the headers `settles` (`topic/partition/offset`) and `digest` resolves one; one
without `digest` resolves whatever lies in that place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from consumer.applier.decoding import user_of
from consumer.settings import KafkaSettings
from consumer.store import dead_letters
from consumer.store.connection import classified, connect
from consumer.store.dead_letters import Content, DeadLetter, dead_letter
from consumer.stream.errors import KafkaLost
from consumer.stream.partition import Partitions
from consumer.stream.topics import HEARTBEATS

TOPIC: Final = "dead-letters"
ANSWER_SECONDS: Final = 10.0
AT_ONCE: Final = 100
MISSING: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC)


def carry_over(kafka: KafkaSettings, conninfo: str) -> list[str]:
    """Adds the unresolved ones that the table does not have yet; a sentence where there were any.

    Twice changes nothing. Raises KafkaLost, StoreUnavailable, NotPrepared.
    """
    name = kafka.topic(TOPIC)
    added = 0
    try:
        with Partitions(kafka, TOPIC, ANSWER_SECONDS) as partitions:
            if unresolved := _unresolved(partitions, name):
                with classified(conninfo), connect(conninfo, "leadstream setup") as connection:
                    letters = _letters(partitions, name, unresolved)
                    while some := list(islice(letters, AT_ONCE)):
                        added += dead_letters.add(connection, some)
                    connection.commit()
    except KafkaException as error:
        if error.args[0].code() in MISSING:
            return []
        raise KafkaLost(
            f"Kafka at {kafka.kafka_bootstrap_servers} did not give us {name} ({error.args[0].str()}); run setup again"
        ) from error
    return [f"carried {added} dead letters over from topic {name}, which nothing uses any more"] if added else []


def _unresolved(partitions: Partitions, name: str) -> set[int]:
    """Offsets of the dead letters that nobody has resolved."""
    found: dict[str, dict[str, int]] = {}
    for message in partitions.messages(name, 0, partitions.bounds(name)[0]):
        headers = _headers(message)
        if "settles" in headers:
            here = found.get(headers["settles"], {})
            for digest in [headers["digest"]] if "digest" in headers else list(here):
                here.pop(digest, None)
        elif (letter := _letter(message, headers)) is not None:
            place = f"{letter.topic}/{letter.partition}/{letter.offset}"
            found.setdefault(place, {}).setdefault(letter.digest, message.offset() or 0)
    return {offset for here in found.values() for offset in here.values()}


def _letters(partitions: Partitions, name: str, wanted: set[int]) -> Iterator[DeadLetter]:
    for message in partitions.messages(name, 0, min(wanted)):
        if message.offset() in wanted and (letter := _letter(message, _headers(message))) is not None:
            yield letter


def _letter(message: Message, headers: dict[str, str]) -> DeadLetter | None:
    """The dead letter that a message holds; None where somebody else wrote it."""
    partition, offset = headers.get("partition", ""), headers.get("offset", "")
    if not (headers.keys() >= {"reason", "topic"} and partition.isdecimal() and offset.isdecimal()):
        return None
    content = Content(message.key(), message.value())
    topic, detail = headers["topic"], headers.get("detail", "")
    user_id = user_of(*content, is_heartbeat=topic.endswith(f".{HEARTBEATS}"))
    return dead_letter(topic, int(partition), int(offset), headers["reason"], detail, user_id, content)


def _headers(message: Message) -> dict[str, str]:
    pairs: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    return {name: (value or b"").decode(errors="replace") for name, value in pairs}
