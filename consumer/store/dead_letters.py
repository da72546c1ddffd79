"""Messages that no applier can apply: written by the batch that met them, then listed and resolved by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from consumer.store import sql
from consumer.store.arrays import Array, bigints, byteas, integers, texts
from consumer.store.connection import Connection
from consumer.store.errors import StoreError

LONGEST_BYTES: Final = 16 * 1024 * 1024
"""Of key and value, up to which a message is kept whole: more than a lane's topic takes."""
KEPT_BYTES: Final = 1024 * 1024
"""What is kept of a longer one: one that was compressed, or whose topic takes larger messages than ours."""

EXPIRED_AT_ONCE: Final = 10_000
"""Dead letters that one statement drops for their age."""


class Defect(StrEnum):
    """Why a message cannot be applied."""

    UNDECODABLE = "undecodable"
    OTHER_EPOCH = "other_epoch"
    REPEATED_NUMBER = "repeated_number"
    SKIPPED_NUMBER = "skipped_number"
    FOREIGN = "foreign"


class NoSuchDeadLetter(StoreError):
    """A number that no unresolved dead letter has."""


class DeadLetter(NamedTuple):
    """A message set aside: where it lies, what is wrong with it, and its bytes as they came, or the first of them.

    `size` counts the bytes of key and value as they came, `digest` is of these. `user_id` is the user that it is about,
    None where nobody can say.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    user_id: int | None
    key: bytes | None
    value: bytes | None
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A dead letter that nobody has resolved, without its bytes. `number` is what the commands call it."""

    number: int
    set_aside_at: datetime
    reason: str
    detail: str
    user_id: int | None
    topic: str
    partition: int
    offset: int
    size: int


class Expired(NamedTuple):
    """How many dead letters were dropped for their age, and how many of them nobody had resolved."""

    dropped: int
    unresolved: int


class Content(NamedTuple):
    """A message's bytes."""

    key: bytes | None
    value: bytes | None


def dead_letter(
    topic: str,
    partition: int,
    offset: int,
    reason: str,
    detail: str,
    user_id: int | None,
    content: Content,
) -> DeadLetter:
    """A message to be set aside; of one that is longer than LONGEST_BYTES the first KEPT_BYTES are kept."""
    key, value = content
    size = len(key or b"") + len(value or b"")
    digest = blake2b(b"%d:" % len(key or b""), digest_size=12)
    digest.update(key or b"")
    digest.update(value or b"")
    if size > LONGEST_BYTES:
        detail += f"; of {size} bytes the first {KEPT_BYTES} are kept"
        key = None if key is None else key[:KEPT_BYTES]
        value = None if value is None else value[: KEPT_BYTES - len(key or b"")]
    return DeadLetter(topic, partition, offset, reason, detail, user_id, key, value, size, digest.hexdigest())


def columns(letters: Sequence[DeadLetter]) -> dict[str, Array]:
    """For `sql.ADD_DEAD_LETTERS`."""
    return {
        "topic": texts([letter.topic for letter in letters]),
        "partition": integers([letter.partition for letter in letters]),
        "message_offset": bigints([letter.offset for letter in letters]),
        "reason": texts([letter.reason for letter in letters]),
        "detail": texts([letter.detail for letter in letters]),
        "user_id": bigints([letter.user_id for letter in letters]),
        "key": byteas([letter.key for letter in letters]),
        "value": byteas([letter.value for letter in letters]),
        "size": bigints([letter.size for letter in letters]),
        "digest": texts([letter.digest for letter in letters]),
    }


def add(connection: Connection, letters: Sequence[DeadLetter]) -> int:
    """Adds dead letters over a session that `connect` made; how many of them were not there before."""
    return connection.execute(sql.ADD_DEAD_LETTERS, columns(letters)).rowcount


def expire(connection: Connection, days: int, limit: int = EXPIRED_AT_ONCE) -> Expired:
    """Drops the oldest dead letters of more than so many days, `limit` at most, that no other session holds."""
    row = connection.execute(sql.EXPIRE_DEAD_LETTERS, {"days": days, "limit": limit}).fetchone()
    assert row is not None
    return Expired(*row)


def unresolved(connection: Connection, limit: int, after: int = 0) -> list[Unresolved]:
    """Dead letters that nobody has resolved, oldest first, `limit` at most, of the numbers above `after`."""
    return [Unresolved(*row) for row in connection.execute(sql.DEAD_LETTERS, {"limit": limit, "after": after})]


def counts(connection: Connection) -> dict[str, int]:
    """How many dead letters nobody has resolved, by what is wrong with them, most first."""
    return dict(connection.execute(sql.UNRESOLVED_DEAD_LETTERS).fetchall())


def choose(connection: Connection, numbers: Sequence[int] | None) -> list[Unresolved]:
    """Unresolved dead letters by their numbers, None: all; held until the transaction ends. Raises NoSuchDeadLetter."""
    chosen = None if numbers is None else list(numbers)
    found = [Unresolved(*row) for row in connection.execute(sql.CHOSEN_DEAD_LETTERS, {"id": chosen})]
    missing = set(numbers or ()) - {letter.number for letter in found}
    if missing:
        named = ", ".join(map(str, sorted(missing)))
        raise NoSuchDeadLetter(f"there is no unresolved dead letter {named}; see `consumer dead-letters list`")
    return found


def content(connection: Connection, number: int) -> Content:
    """The bytes of a dead letter. Raises NoSuchDeadLetter."""
    row = connection.execute(sql.DEAD_LETTER_BYTES, {"id": number}).fetchone()
    if row is None:
        raise NoSuchDeadLetter(f"there is no dead letter {number} any more; see `consumer dead-letters list`")
    return Content(*row)


def resolve(connection: Connection, letters: Sequence[Unresolved], resolution: str) -> None:
    """Notes that nothing is left to be done about these."""
    numbers = [letter.number for letter in letters]
    connection.execute(sql.RESOLVE_DEAD_LETTERS, {"id": numbers, "resolution": resolution})
