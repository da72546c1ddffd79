"""Damage where `test_fuzz` seldom gets: inside compressed transactions and events, and in transactions of one row.

Here the compression and the checksums around the damage are right, so that it reaches what lies behind them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.binlog.constants import HEADER, ColumnType, EventType, packed_integer
from consumer.binlog.events import Event, RowChange, Single
from consumer.binlog.payload import PLAIN, inflate, pieces
from consumer.binlog.position import Position
from tests.unit.binlog.damage import both_ways, damaged_event, decode_all, examples, packets
from tests.unit.binlog.test_fuzz import events_of, groups, whole
from tests.unit.binlog.wirebuild import DATABASE, Log, Recording, Shape, payload

COMPRESSED = {plain: kind for kind, plain in PLAIN.items()}
"""MariaDB's compressed kinds by what they hold."""


COMPRESSIBLE = {EventType.WRITE_ROWS_V1, EventType.UPDATE_ROWS_V1, EventType.DELETE_ROWS_V1, *PLAIN}
TRANSACTION_PAYLOAD = EventType.TRANSACTION_PAYLOAD


def kinds(events: Iterable[bytes]) -> list[int]:
    """What kind of event each is."""
    return [event[4] for event in events]


def resized(event: bytes) -> bytes:
    """An event whose header says its length."""
    return event[:9] + len(event).to_bytes(4, "little") + event[13:]


def inner_events(body: bytes) -> list[bytes]:
    """The events in the body of a TRANSACTION_PAYLOAD event."""
    content = b"".join(pieces(body))
    events = []
    while content:
        size = int.from_bytes(content[9:13], "little")
        events.append(content[:size])
        content = content[size:]
    return events


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_damage_inside_compressed_transactions_ends_in_named_errors(data: st.DataObject) -> None:
    group = data.draw(st.sampled_from([each for each in groups("mysql") if TRANSACTION_PAYLOAD in kinds(each)]))
    number = kinds(group).index(TRANSACTION_PAYLOAD)
    inner = inner_events(group[number][HEADER:])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(inner) - 1))
        inner[at] = damaged_event(data, inner[at])
    content = b"".join(inner)
    said = data.draw(st.sampled_from([None, None, None, 0, len(content) + 1, 2**62]))
    body = payload(content, compression=data.draw(st.sampled_from([0, 255])), length=said)
    wrapped = resized(group[number][:HEADER] + body)
    both_ways(whole("mysql")[0], packets([*events_of("mysql")[:2], *group[:number], wrapped, *group[number + 1 :]]))


def compressed(event: bytes) -> bytes:
    """A plain rows event of MariaDB as `log_bin_compress` writes it."""
    at = HEADER + 8
    columns, at = packed_integer(event, at)
    at += (columns + 7) // 8 * (2 if event[4] == EventType.UPDATE_ROWS_V1 else 1)
    rows = event[at:]
    head = b"\x04" + len(rows).to_bytes(4, "big")
    return resized(event[:4] + bytes((COMPRESSED[event[4]],)) + event[5:at] + head + zlib.compress(rows))


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_damage_inside_compressed_events_ends_in_named_errors(data: st.DataObject) -> None:
    group = list(data.draw(st.sampled_from([each for each in groups("mariadb") if COMPRESSIBLE & {*kinds(each)}])))
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.sampled_from([n for n, kind in enumerate(kinds(group)) if kind in COMPRESSIBLE]))
        event = group[number]
        plain = bytearray(inflate(event) if event[4] in PLAIN else event)
        for _ in range(data.draw(st.integers(1, 3))):
            plain[data.draw(st.integers(HEADER + 10, len(plain) - 1))] = data.draw(st.integers(0, 255))
        group[number] = compressed(bytes(plain))
    if data.draw(st.booleans()):
        group[number] = damaged_event(data, group[number])
    both_ways(whole("mariadb")[0], packets([*events_of("mariadb")[:2], *filter(None, group)]))


COLUMNS = [
    Shape("note", ColumnType.VARCHAR, (400).to_bytes(2, "little"), 45),
    Shape("id", ColumnType.LONG, unsigned=True),
    Shape("is_enabled", ColumnType.TINY),
    Shape("created_at", ColumnType.DATETIME2, b"\3"),
    Shape("current_signature_file_id", ColumnType.VARCHAR, (40).to_bytes(2, "little"), 45),
    Shape("updated_at", ColumnType.TIMESTAMP2, b"\6"),
]


def image(number: int) -> bytes:
    """One row of COLUMNS."""
    note, file = b"n" * (number % 7), b"file-%d" % number
    nulls = b"\x10" if number % 3 == 0 else b"\0"
    text = b"" if number % 3 == 0 else bytes((len(file),)) + file
    moment = bytes.fromhex("99b268e044") + (1230).to_bytes(2, "big")
    stamp = (1_700_000_000 + number).to_bytes(4, "big") + (123_456).to_bytes(3, "big")
    return nulls + len(note).to_bytes(2, "little") + note + number.to_bytes(4, "little") + b"\1" + moment + text + stamp


@cache
def one_row_transactions(mariadb: bool, checksums: bool) -> tuple[bytes, ...]:
    """A log of transactions of one row each: inserts, updates and deletes, without packets."""
    log = Log(checksums=checksums)
    log.file()
    for number in range(1, 9):
        if mariadb:
            log.mariadb_gtid(number)
        else:
            log.gtid(number)
            log.query("BEGIN")
        log.table_map(COLUMNS)
        head = (70).to_bytes(6, "little") + b"\1\0" + (b"" if mariadb else b"\2\0") + bytes((len(COLUMNS),)) + b"\x3f"
        if number % 3 == 0:
            kind = EventType.DELETE_ROWS_V1 if mariadb else EventType.DELETE_ROWS
            log.add(kind, head + image(number))
        elif number % 3 == 2:
            kind = EventType.UPDATE_ROWS_V1 if mariadb else EventType.UPDATE_ROWS
            log.add(kind, head + b"\x3f" + image(number) + image(number + 1))
        else:
            kind = EventType.WRITE_ROWS_V1 if mariadb else EventType.WRITE_ROWS
            log.add(kind, head + image(number))
        log.xid()
    return tuple(packet[5:] for packet in log.packets)


def log_of(mariadb: bool) -> Recording:
    """What the events above are read as."""
    return Recording(b"", DATABASE, Position("", "binlog.000001", 4), mariadb)


@pytest.mark.parametrize("mariadb", [False, True])
@pytest.mark.parametrize("checksums", [False, True])
def test_the_log_of_one_row_transactions_is_read_at_one_stroke(mariadb: bool, checksums: bool) -> None:
    data = packets(list(one_row_transactions(mariadb, checksums)))
    events: list[Event] = []
    log_of(mariadb).decoder().decode(data, events)
    singles = [event for event in events if isinstance(event, Single)]
    assert len(singles) == 8 - 3, "all whose table map and kind of event were seen before"
    assert len([event for event in both_ways(log_of(mariadb), data) if isinstance(event, RowChange)]) == 8


@pytest.mark.parametrize("mariadb", [False, True])
@settings(max_examples=examples(500), deadline=None)
@given(st.data())
def test_damage_in_transactions_of_one_row_ends_in_named_errors(mariadb: bool, data: st.DataObject) -> None:
    checksums = data.draw(st.booleans())
    events = list(one_row_transactions(mariadb, checksums))
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(2, len(events) - 1))
        event = events[number]
        if checksums and len(event) > 4:
            event = damaged_event(data, event[:-4])
            if event:
                event += zlib.crc32(event).to_bytes(4, "little")
                if data.draw(st.booleans()):
                    event = resized(event[:-4] + bytes(4))[:-4]
                    event += zlib.crc32(event).to_bytes(4, "little")
        else:
            event = damaged_event(data, event)
        events[number] = event
    both_ways(log_of(mariadb), packets([event for event in events if event]))


@pytest.mark.parametrize("mariadb", [False, True])
@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_a_stream_that_ends_anywhere_says_nothing_that_is_not_whole(mariadb: bool, data: st.DataObject) -> None:
    log = packets(list(one_row_transactions(mariadb, True)))
    end = data.draw(st.integers(0, len(log)))
    said = both_ways(log_of(mariadb), log[:end])
    full: list[Event] = []
    decode_all(log_of(mariadb).decoder(), log, full)
    assert said == full[: len(said)]
