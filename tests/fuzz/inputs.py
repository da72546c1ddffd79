"""Damaged stretches of binlog, each made of a seed and a number alone, and what has to hold of every one.

What the property tests in `tests/unit/binlog` try by the hundred, with whole recordings and decoders that know nothing,
is tried here by the million: short stretches, and table decoders that are as old as a reader's.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

from consumer.binlog.constants import HEADER, EventType
from consumer.binlog.events import Commit, Event, RowChange
from consumer.binlog.payload import PLAIN, inflate
from consumer.mysql.errors import SourceError
from tests.spelled_out import spelled_out
from tests.unit.binlog.damage import packets, without_bare_begin
from tests.unit.binlog.test_fuzz import events_of, groups, whole
from tests.unit.binlog.test_fuzz_inside import (
    COMPRESSIBLE,
    TRANSACTION_PAYLOAD,
    compressed,
    inner_events,
    log_of,
    one_row_transactions,
    resized,
)
from tests.unit.binlog.wirebuild import Recording, payload

KINDS: Final = [int(kind) for kind in EventType]
NUMBERS: Final = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\xff\x7f", b"\xfb", b"\xfc", b"\xfd\xff\xff\xff", b"\xfe")
LENGTHS: Final = (None, None, None, 0, 1, 2**62)


class Origin(NamedTuple):
    """Where stretches are cut out: events without packets, and what reads them."""

    recorded: Recording
    head: tuple[bytes, ...]
    """The first events, which say how the others are written."""
    transactions: tuple[tuple[bytes, ...], ...]
    checked: bool
    """Whether each event ends with a checksum."""


@cache
def origins() -> list[Origin]:
    """Two recordings of servers without checksums, and logs of one-row transactions with and without."""
    found = []
    for name in ("mysql", "mariadb"):
        recorded, _ = whole(name)
        found.append(Origin(recorded, events_of(name)[:2], tuple(groups(name)), checked=False))
    for mariadb in (False, True):
        for checked in (False, True):
            events = one_row_transactions(mariadb, checked)
            size = (len(events) - 2) // 8
            cut = tuple(events[at : at + size] for at in range(2, len(events), size))
            found.append(Origin(log_of(mariadb), events[:2], cut, checked))
    return found


def made(seed: int, number: int) -> tuple[Origin, bytes, list[int], bytes | None]:
    """An input: origin, bytes, where they are cut into pieces, and the right bytes where nothing wrong may pass."""
    chance = Random(seed << 40 | number)
    origin = chance.choice(origins())
    first = chance.randrange(len(origin.transactions))
    cut = origin.transactions[first : first + chance.choice((1, 1, 2, 3, 4))]
    events = [event for transaction in cut for event in transaction]
    right = packets([*origin.head, *events]) if origin.checked and chance.random() < 0.3 else None
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(events))
        if right is not None:
            events[at] = _bytes_changed(chance, events[at])
        else:
            whole_still = any(events[at] in transaction for transaction in cut)
            events[at] = _damaged(chance, events[at], origin) if whole_still else _wrong(chance, events[at])
        events = [event for event in events if event]
        if not events:
            break
    data = packets([*origin.head, *events])
    cuts = sorted(chance.randrange(len(data)) for _ in range(chance.choice((0, 0, 1, 3))))
    return origin, data, cuts, right


def _bytes_changed(chance: Random, event: bytes) -> bytes:
    wrong = bytearray(event)
    for _ in range(chance.choice((1, 1, 2, 4))):
        wrong[chance.randrange(len(wrong))] = chance.randrange(256)
    return bytes(wrong)


def _damaged(chance: Random, event: bytes, origin: Origin) -> bytes:
    """An event with something wrong behind compression and checksum, which are right mostly."""
    if origin.checked and len(event) > HEADER + 4:
        wrong = _wrong(chance, event[:-4])
        if wrong and chance.random() < 0.9:
            wrong = resized(wrong + bytes(4))[:-4]
        return wrong and wrong + zlib.crc32(wrong).to_bytes(4, "little")
    kind = event[4]
    if kind == TRANSACTION_PAYLOAD and chance.random() < 0.8:
        inner = inner_events(event[HEADER:])
        at = chance.randrange(len(inner))
        inner[at] = _wrong(chance, inner[at])
        content = b"".join(inner)
        body = payload(content, compression=chance.choice((0, 255)), length=chance.choice(LENGTHS))
        return resized(event[:HEADER] + body)
    if kind in COMPRESSIBLE and origin.recorded.mariadb and chance.random() < 0.5:
        plain = bytearray(inflate(event) if kind in PLAIN else event)
        for _ in range(chance.randint(1, 3)):
            plain[chance.randrange(HEADER + 10, len(plain))] = chance.randrange(256)
        return compressed(bytes(plain))
    return _wrong(chance, event)


def _wrong(chance: Random, event: bytes) -> bytes:
    """An event with one thing wrong with it; empty where it is gone."""
    if len(event) <= HEADER:
        return event
    wrong = bytearray(event)
    match chance.randrange(9):
        case 0 | 1:
            wrong[chance.randrange(4, len(wrong))] = chance.randrange(256)
        case 2:
            wrong[chance.randrange(HEADER, len(wrong))] ^= 1 << chance.randrange(8)
        case 3:
            del wrong[chance.randrange(len(wrong)) :]
        case 4:
            at = chance.randrange(HEADER, len(wrong) + 1)
            wrong[at:at] = chance.randbytes(chance.randrange(20))
        case 5:
            at = chance.randrange(HEADER, len(wrong))
            value = chance.choice(NUMBERS)
            wrong[at : at + len(value)] = value
        case 6:
            wrong[4] = chance.choice(KINDS)
        case 7:
            at, size = chance.randrange(HEADER, len(wrong)), chance.randrange(1, 9)
            del wrong[at : at + size]
        case _:
            at, size = chance.randrange(HEADER, len(wrong)), chance.randrange(1, 40)
            wrong[at:at] = wrong[at : at + size]
    if chance.random() < 0.9 and len(wrong) >= HEADER:
        wrong[9:13] = len(wrong).to_bytes(4, "little")
    return b"" if chance.random() < 0.02 else bytes(wrong)


_tables: dict[tuple[bool, bool], dict[bytes, Any]] = {}
"""Table decoders by what is in a table map, as a reader keeps them: by the server, and by the way of reading."""


def said(origin: Origin, data: bytes, cuts: list[int], *, singles: bool) -> list[Event]:
    """What a decoder says of these bytes, in pieces as a connection would feed them, until it refuses them.

    Raises what a decoder may not raise.
    """
    target = origin.recorded.decoder(singles=singles)
    tables = _tables.setdefault((origin.recorded.mariadb, singles), {})
    target._decoders = tables
    events: list[Event] = []
    with suppress(SourceError):
        rest = b""
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            rest += data[start:end]
            used = -1
            while used:
                used = target.decode(rest, events)
                rest = rest[used:]
                while target.has_payload:
                    target.decode_payload(events)
                    used = -1
    return spelled_out(events)


@cache
def _right(origin: int, data: bytes) -> list[RowChange]:
    found = said(origins()[origin], data, [], singles=False)
    return [event for event in found if isinstance(event, RowChange)]


def _ended(events: list[Event]) -> list[Event]:
    """What was said up to the last commit: of a transaction that cannot be read to its end, pieces may say more."""
    last = max((number for number, event in enumerate(events, 1) if isinstance(event, Commit)), default=0)
    return events[:last]


def fault(seed: int, number: int) -> str | None:
    """What is wrong with how an input is read; None where all is well."""
    origin, data, cuts, right = made(seed, number)
    try:
        at_one_stroke = said(origin, data, cuts, singles=True)
        one_by_one = said(origin, data, cuts, singles=False)
        whole_data = said(origin, data, [], singles=False) if cuts else one_by_one
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what is looked for
        return f"{type(error).__name__}: {error}"
    if without_bare_begin(at_one_stroke) != without_bare_begin(one_by_one):
        return "templates say something else than the loop"
    if _ended(whole_data) != _ended(one_by_one):
        return "in pieces it says something else than at once"
    if right is not None:
        rows = [event for event in one_by_one if isinstance(event, RowChange)]
        expected = _right(origins().index(origin), right)
        if rows != expected[: len(rows)]:
            return "what was changed passed the checksums"
        if sum(isinstance(event, Commit) for event in one_by_one) > len(expected):
            return "more commits than there were"
    return None
