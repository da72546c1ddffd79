"""Conversions as others are notified of them: each once, in an order in which nothing is added behind anybody's back.

The stints are the outbox: appliers and runs write nothing more for it. A transaction that commits late would hide
behind numbers given out when it began, so numbers are given to what is committed, by one at a time.
"""

from __future__ import annotations

import time
from binascii import crc32
from typing import Final, NamedTuple
from uuid import UUID

from consumer.leads.model import ConversionType, QueueType
from consumer.store import sql
from consumer.store.call_centre.effects import conversion_id
from consumer.store.connection import Connection
from consumer.versions import moment

LOCK: Final = 0x6C656164_0001
"""The advisory lock of whoever gives numbers."""
_PUBLISHER: Final = 0x6C656164
"""The first half of the advisory lock of whoever publishes to a topic."""
_AT_ONCE: Final = 5000
"""Conversions that are numbered in one transaction."""
MOST_COUNTED: Final = 10_000
"""So many of those that wait are counted, and no more: whoever looks pays for each."""


class Recorded(NamedTuple):
    """A conversion with its number; times in µs since 1970, queues by our names. `signature` is the file's id."""

    event_number: int
    user_id: int
    stint: int
    previous_queue_type: QueueType
    conversion_type: ConversionType
    signature: str | None
    opened_at: int
    converted_at: int

    @property
    def id(self) -> UUID:
        """The id that it has in the call centre's table, too."""
        return conversion_id(self.user_id, self.conversion_type, self.converted_at)


class Unnumbered(NamedTuple):
    """A conversion that has no number, and since when (s since 1970) we have known that."""

    user_id: int
    stint: int
    since: float


class Waiting(NamedTuple):
    """How many conversions a topic has yet to get, at least, and since when (s since 1970) the oldest has waited; 0:
    none has. `unnumbered` is the one without a number that has been seen longest."""

    events: int
    since: float
    unnumbered: Unnumbered | None = None


def number(connection: Connection) -> int:
    """Gives numbers to conversions that are committed and have none, the oldest first; how many. Raises psycopg.Error.

    `connection` is in autocommit mode, as `reconciler.postgres` opens it. Of one customer the earlier conversion is
    committed before the later one is made, so it has the smaller number; except where it was recorded in shadow mode
    and is published only after the later one.
    """
    with connection.transaction():
        connection.execute(sql.NUMBER_SOUNDLY)
        connection.execute(sql.HOLD_EVENTS, {"key": LOCK})
        return connection.execute(sql.NUMBER_EVENTS, {"limit": _AT_ONCE}).rowcount


def after(connection: Connection, cursor: int, limit: int) -> list[Recorded]:
    """Conversions whose numbers are greater, in their order. Raises psycopg.Error."""
    rows = connection.execute(sql.EVENTS_AFTER, {"after": cursor, "limit": limit})
    return [
        Recorded(number, user_id, stint, QueueType(queue_type), ConversionType(kind), signature, opened_at, at)
        for number, user_id, stint, queue_type, kind, signature, opened_at, at in rows
    ]


def take_over(connection: Connection, topic: str) -> bool:
    """Whether this session may publish to a topic, which it does alone until it ends. Raises psycopg.Error.

    Each topic has its own: a process with the TOPIC_PREFIX of before holds up nobody who has the new one.
    """
    which = crc32(topic.encode()) - 2**31
    row = connection.execute(sql.TAKE_TOPIC, {"kind": _PUBLISHER, "topic": which}).fetchone()
    return row == (True,)


def published_up_to(connection: Connection, topic: str) -> int:
    """The number up to which everything is in a topic; 0 at first. Raises psycopg.Error."""
    row = connection.execute(sql.PUBLISHED_UP_TO, {"topic": topic}).fetchone()
    return 0 if row is None else int(row[0])


def published(connection: Connection, topic: str, upto: int) -> None:
    """Notes that everything up to a number is in a topic. Raises psycopg.Error."""
    connection.execute(sql.PUBLISHED_EVENTS, {"topic": topic, "number": upto})


def waiting(connection: Connection, topic: str, before: Waiting | None = None) -> Waiting:
    """What a topic has yet to get. Raises psycopg.Error.

    How long a conversion has waited for its number is written nowhere: `before` is what was seen the last time.
    """
    known = before.unnumbered if before is not None else None
    wanted = {
        "topic": topic,
        "user_id": None if known is None else known.user_id,
        "stint": None if known is None else known.stint,
        "most": MOST_COUNTED,
    }
    ((count, seconds, user_id, stint, is_known),) = connection.execute(sql.EVENTS_WAITING, wanted).fetchall()
    now = time.time()
    if not is_known:
        known = None if user_id is None else Unnumbered(user_id, stint, now)
    since = [] if seconds is None else [now - max(0.0, seconds)]
    if known is not None:
        since.append(known.since)
    return Waiting(count, min(since, default=0.0), known)


def as_data(one: Recorded) -> dict[str, object]:
    """What is reported of a conversion: ids, words and times, and nothing of the person."""
    return {
        "id": str(one.id),
        "user_id": one.user_id,
        "conversion_type": one.conversion_type.value,
        "previous_queue_type": one.previous_queue_type.value,
        "queued_at": iso(one.opened_at),
        "converted_at": iso(one.converted_at),
        "signature_file_id": one.signature if one.conversion_type is ConversionType.SIGNATURE_OBTAINED else None,
        "stint": one.stint,
        "cursor": str(one.event_number),
    }


def iso(at: int) -> str:
    """A time (µs) as RFC 3339 writes it, in UTC."""
    return moment(at).isoformat(timespec="microseconds").replace("+00:00", "Z")
