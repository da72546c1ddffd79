"""What the call centre sees of an outcome: its scores, its conversions and its queue."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha1
from typing import Final
from uuid import UUID

import msgspec

from consumer.leads.model import CALLED, Conversion, ConversionType, QueueChange, QueueType, Reason
from consumer.leads.rules import Rules
from consumer.store import sql
from consumer.store.arrays import bigints, booleans, integers, moments, stored, texts, uuids
from consumer.store.call_centre import entries
from consumer.store.connection import Connection, Cursor

_DECIMAL: Final = re.compile("0|-?[1-9][0-9]{0,18}").fullmatch

CONVERSIONS: Final = UUID("5c0f6a63-3f0e-5f5e-9d8e-6f1f3f6a2b11")
"""Namespace of the ids of conversions."""
_NAMESPACE: Final = CONVERSIONS.bytes

RECENT: Final = 600_000_000
"""A conversion of the stream that is younger (µs) is its daily work, and no history that is replayed."""


def conversion_id(user_id: int, conversion_type: ConversionType, converted_at: int) -> UUID:
    """The id of the one conversion of a lead at a moment (µs): writing it twice is impossible, not merely avoided.

    It says nothing of how we count stints: what was recorded is known again though our schema is of another age.
    """
    return UUID(bytes=_id_bytes(user_id, conversion_type, converted_at))


def _id_bytes(user_id: int, conversion_type: ConversionType, converted_at: int) -> bytes:
    """The id as its 16 bytes: a version 5 UUID (RFC 9562, 5.5), made in a third of the time that `uuid5` takes."""
    name = f"{user_id}/{conversion_type}/{converted_at}"
    made = bytearray(sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def of_long_ago(conversions: Iterable[Conversion], now: int) -> list[Conversion]:
    """Those that may be a history that is replayed into a schema of ours that was restored.

    It may have been paid at another moment then, which a read or other rules made. Of the last minutes nobody asks: it
    would cost the stream a round trip each time.
    """
    return [one for one in conversions if one.converted_at < now - RECENT]


def write_effects(
    connection: Connection,
    conversions: Sequence[Conversion],
    queue_changes: Iterable[QueueChange],
    rules: Rules,
    add_conversions: str,
    held: Collection[int] = (),
    passed: Collection[int] = (),
    *,
    once: bool = False,
    by_read: bool = False,
) -> Cursor | None:
    """Writes conversions, scores and queue entries, in this order: a conversion copies the score as it was.

    That of a lead shown by the present is the one remembered until its lane has `passed`, and it is no longer shown so.

    Queues stand there under the labels of `rules`, and nobody who must not be called is made active or queued.
    A change that is only of the present (READ_LIVE) puts the entries right by what our tables say, which is written.
    The leads concerned must be locked. Rows of those that are `held` by another session are only read. Rows of the call
    centre are taken in this order, so that whoever does the same never meets us in a deadlock: scores by user, then
    entries by user. `add_conversions` is the statement for the table as it is; `once`: what was paid at another
    moment is not paid again; `by_read`: their moment is that of a read. Returns the cursor with the ids of the
    conversions added.
    """
    changes = sorted(queue_changes)
    if not changes and not conversions:
        return None
    connection.execute(sql.PLAN_FREELY)
    added = None
    if conversions:
        concerned = {one.user_id for one in conversions}.union(change.user_id for change in changes)
        connection.execute(sql.LOCK_SCORES, {"user_id": bigints(sorted(concerned.difference(held)))})
        added = insert_conversions(connection, add_conversions, conversions, rules, once=once, by_read=by_read)
    if passed:
        connection.execute(sql.HIDE, {"user_id": bigints(sorted(passed))})
    _put_scores(connection, changes, rules)
    happened = [change for change in changes if change.reason is not Reason.READ_LIVE]
    _close_entries(connection, happened, rules)
    _add_entries(connection, happened, rules)
    if len(happened) < len(changes):
        present = [change for change in changes if change.reason is Reason.READ_LIVE]
        entered = [change.user_id for change in present if change.entered or change.first_sight]
        users = [change.user_id for change in present]
        connection.execute(entries.REPAIR, entries.parameters(rules, users, entered))
    return added


def insert_conversions(
    connection: Connection,
    statement: str,
    conversions: Iterable[Conversion],
    rules: Rules,
    *,
    once: bool = False,
    late: bool = False,
    by_read: bool = False,
) -> Cursor:
    """Adds conversions that are not there; the cursor has the ids of those.

    `late`: long after they happened; `by_read`: when they happened is not known, only that a read found them.
    """
    ordered = sorted(conversions)
    return connection.execute(
        statement,
        {
            "id": uuids([_id_bytes(one.user_id, one.conversion_type, one.converted_at) for one in ordered]),
            "user_id": bigints([conversion.user_id for conversion in ordered]),
            "stint": integers([conversion.stint for conversion in ordered]),
            "previous": texts([rules.label(conversion.previous_queue_type) for conversion in ordered]),
            "type": texts([conversion.conversion_type for conversion in ordered]),
            "reason": texts([_reason(conversion) for conversion in ordered]),
            "version": bigints([None if by_read else conversion.converted_at for conversion in ordered]),
            "reset_version": bigints([conversion.reset_at for conversion in ordered]),
            "at": moments([conversion.converted_at for conversion in ordered]),
            "documents": texts([_documents(conversion) for conversion in ordered]),
            "signed": booleans([_signed(conversion) for conversion in ordered]),
            "requirements": texts([_requirements(conversion) for conversion in ordered]),
            "once": once,
            "late": late,
        },
    )


def _put_scores(connection: Connection, changes: list[QueueChange], rules: Rules) -> None:
    if changes:
        connection.execute(
            sql.PUT_SCORES,
            {
                "user_id": bigints([change.user_id for change in changes]),
                "queued": booleans([change.queue_type is not QueueType.NONE for change in changes]),
                "label": texts([rules.label(change.queue_type) for change in changes]),
                "reset_at": moments([change.at if change.entered else None for change in changes]),
                "never": texts(rules.never),
                "none": rules.label(QueueType.NONE),
            },
        )


def _close_entries(connection: Connection, changes: list[QueueChange], rules: Rules) -> None:
    """Entries of queues that were left, by whatever label they were made; those of the queue entered are looked at
    too, for they are closed where the customer must not be called."""
    labels: dict[QueueType, list[str]] = {queue: rules.labels_ever(queue) for queue in CALLED}
    gone = [
        (change.user_id, label, queue in change.left, change.at - (queue is change.queue_type))
        for change in changes
        for queue in sorted({*change.left, change.queue_type} - {QueueType.NONE})
        for label in labels[queue]
    ]
    if gone:
        connection.execute(
            sql.CLOSE_ENTRIES,
            {
                "user_id": bigints([user for user, *_ in gone]),
                "label": texts([label for _, label, *_ in gone]),
                "is_left": booleans([is_left for _, _, is_left, _ in gone]),
                "until": bigints([until for *_, until in gone]),
                "never": texts(rules.never),
            },
        )


def _add_entries(connection: Connection, changes: list[QueueChange], rules: Rules) -> None:
    entered = [change for change in changes if change.queue_type is not QueueType.NONE]
    if entered:
        connection.execute(
            sql.ADD_ENTRIES,
            {
                "user_id": bigints([change.user_id for change in entered]),
                "label": texts([rules.label(change.queue_type) for change in entered]),
                "reason": texts([change.reason for change in entered]),
                "opened": bigints([change.at for change in entered]),
                "never": texts(rules.never),
            },
        )


def _signed(conversion: Conversion) -> bool:
    return conversion.conversion_type is ConversionType.SIGNATURE_OBTAINED


def _reason(conversion: Conversion) -> str:
    if _signed(conversion):
        return "signature obtained"
    count = len(conversion.requirements)
    if not count:
        return "requirements settled"
    return f"{count} requirement{'' if count == 1 else 's'} settled"


def _documents(conversion: Conversion) -> str | None:
    """The signature file, as a JSON list."""
    if conversion.signature is None or not _signed(conversion):
        return None
    return _json([conversion.signature])


def _requirements(conversion: Conversion) -> str | None:
    """The ids of the requirements settled, as a JSON list; those of integer columns as numbers."""
    if _signed(conversion) or not conversion.requirements:
        return None
    return _json([int(key) if _DECIMAL(key) else key for key in conversion.requirements])


def _json(values: Sequence[int | str]) -> str:
    """A list in JSON, which writes NUL as an escape that jsonb takes no more than a text takes NUL itself."""
    return msgspec.json.encode([stored(value) if isinstance(value, str) else value for value in values]).decode()
