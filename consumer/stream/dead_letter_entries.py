"""What the journal of dead letters holds, message by message. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from confluent_kafka import Message

from consumer.stream.dead_letters import Letter, user_of


class Entry(NamedTuple):
    """A letter without its bytes. `number` is its offset in the journal, `size` counts the bytes of key and value."""

    number: int
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    user_id: int | None
    size: int
    digest: str
    """Of key and value: a topic that was created anew gives its offsets out again, to other messages."""

    @property
    def place(self) -> str:
        """Where the letter's message lies."""
        return f"{self.topic}/{self.partition}/{self.offset}"


def letter_of(message: Message, headers: dict[str, str]) -> Letter | None:
    """The letter that a message of the journal holds; None where somebody else wrote it."""
    partition, offset = headers.get("partition", ""), headers.get("offset", "")
    if not (headers.keys() >= {"reason", "topic"} and partition.isdecimal() and offset.isdecimal()):
        return None
    key, value, detail = message.key(), message.value(), headers.get("detail", "")
    return Letter(headers["topic"], int(partition), int(offset), key, value, headers["reason"], detail)


def entry_of(number: int, letter: Letter) -> Entry:
    """A letter without its bytes; `number` is its offset in the journal."""
    digest = blake2b(b"%d:" % len(letter.key or b""), digest_size=12)
    digest.update(letter.key or b"")
    digest.update(letter.value or b"")
    where = letter.topic, letter.partition, letter.offset
    return Entry(number, *where, letter.reason, letter.detail, user_of(letter), letter.size, digest.hexdigest())


def headers_of(message: Message) -> dict[str, str]:
    """A message's headers as text."""
    pairs: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    return {name: (value or b"").decode(errors="replace") for name, value in pairs}
