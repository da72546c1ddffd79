"""Transactions of one row that look like one before: read by template wherever they do, and with all their bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Event, RowChange, Single
from consumer.binlog.files import Files
from consumer.binlog.templates import Templates
from consumer.mysql.errors import ConnectionLost, SourceError
from tests.spelled_out import spelled_out
from tests.unit.binlog.wirebuild import CHARSETS, DATABASE, FIRST, SCOPE, SOURCE, Log, Shape, decoder

CLAIMS = [
    Shape("id", ColumnType.LONG),
    Shape("user_id", ColumnType.LONG),
    Shape("status", ColumnType.VARCHAR, b"\x20\0", 45),
]


class Counting(Templates):
    """Counts what was read by template."""

    count_read = 0

    def read(self, data: bytes, at: int, check: int, files: Files, emit: Callable[[Event], None]) -> int:
        def counted(event: Event) -> None:
            self.count_read += 1
            emit(event)

        return super().read(data, at, check, files, counted)


def counting(*, mariadb: bool = False) -> tuple[BinlogDecoder, Counting]:
    target, templates = decoder(singles=True, mariadb=mariadb), Counting(mariadb=mariadb)
    target._templates = templates
    return target, templates


def claim(number: int, status: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "little") + (number % 9).to_bytes(4, "little") + bytes((len(status),)) + status


FLAVORS = pytest.mark.parametrize("mariadb", [False, True])


def transaction(
    log: Log,
    number: int,
    *,
    mariadb: bool = False,
    database: str = DATABASE,
    late_us: int | None = None,
    flags: int = 1,
    gtid_flags: int = 12,
) -> None:
    """Inserts, changes and deletes of claims and inserts of users by turns; of `status` every length."""
    at = 1_700_000_000_000_000 + number
    if mariadb:
        log.mariadb_gtid(number, flags=gtid_flags)
    else:
        log.gtid(number, ts_us=at, original_us=None if late_us is None else at - late_us)
        log.query("BEGIN", database)
    if number % 4 == 3:
        log.users(number)
    else:
        log.table_map(CLAIMS, table="claims", table_id=71)
        extra = b"" if mariadb else b"\2\0"
        head = (71).to_bytes(6, "little") + flags.to_bytes(2, "little") + extra + b"\3\7"
        image = claim(number, b"s" * (number % 30))
        if number % 4 == 0:
            log.add(EventType.WRITE_ROWS_V1 if mariadb else EventType.WRITE_ROWS, head + image)
        elif number % 4 == 1:
            after = b"\7" + image + claim(number, b"t" * (number % 17))
            log.add(EventType.UPDATE_ROWS_V1 if mariadb else EventType.UPDATE_ROWS, head + after)
        else:
            log.add(EventType.DELETE_ROWS_V1 if mariadb else EventType.DELETE_ROWS, head + image)
    log.xid()


def started(*, checksums: bool = True) -> Log:
    """A log with nothing but its beginning."""
    log = Log(checksums=checksums)
    log.file()
    return log


def both(log: Log, *, mariadb: bool = False) -> tuple[list[Event], int]:
    """What is read, which is the same as event by event, and how much of it by template."""
    target, templates = counting(mariadb=mariadb)
    plain = decoder(mariadb=mariadb)
    found: list[Event] = []
    one_by_one: list[Event] = []
    assert target.decode(log.data, found) == plain.decode(log.data, one_by_one) == len(log.data)
    assert spelled_out(found) == one_by_one
    assert (target.file, target.pos, target.gtid_set()) == (plain.file, plain.pos, plain.gtid_set())
    return found, templates.count_read


@FLAVORS
@pytest.mark.parametrize("checksums", [True, False])
def test_transactions_of_one_row_say_what_they_say_event_by_event(mariadb: bool, checksums: bool) -> None:
    log = started(checksums=checksums)
    for number in range(1, 601):  # packets are numbered by one byte: all 256 come first in some transaction
        transaction(log, number, mariadb=mariadb)
    found, by_template = both(log, mariadb=mariadb)
    assert by_template > 590
    assert len([event for event in found if isinstance(event, Single)]) == by_template


@pytest.mark.parametrize("flags", [0x11, 0x03])
def test_flags_of_rows_are_not_those_of_their_table_map(flags: int) -> None:
    """MySQL from 9.6 on logs what foreign keys do, and says so in every rows event."""
    log = started()
    for number in range(1, 101):
        transaction(log, number, flags=flags)
    found, by_template = both(log)
    assert by_template > 80
    said = {(event.table, event.explicit) for event in found if isinstance(event, Single)}
    assert said == {("claims", True), ("users", False)}


def test_each_transaction_says_for_itself_whether_foreign_keys_acted() -> None:
    log = started()
    for number in range(1, 101):
        transaction(log, number, flags=1 if number < 50 else 3)
    assert both(log)[1] > 80


@pytest.mark.parametrize("flags", [1, 64, 128])
def test_what_mariadb_marks_as_no_plain_transaction_is_read_by_no_template(flags: int) -> None:
    log = started()
    for number in range(1, 41):
        transaction(log, number, mariadb=True)
    start = log.pos
    log.mariadb_gtid(41, flags=flags)
    log.users(41)
    log.xid()
    for number in range(42, 81):
        transaction(log, number, mariadb=True)
    found, by_template = both(log, mariadb=True)
    assert by_template > 60
    assert not any(isinstance(event, Single) and event.pos == start for event in found)


def test_other_flags_of_mariadb_vary_and_with_them_the_size_of_the_event() -> None:
    log = started()
    for number in range(1, 101):
        if number % 3 == 0:  # committed in a group, whose number follows
            body = number.to_bytes(8, "little") + bytes(4) + bytes((14,)) + number.to_bytes(8, "little")
            log.add(EventType.MARIADB_GTID, body)
            log.users(number)
            log.xid()
        else:
            transaction(log, number, mariadb=True, gtid_flags=12 if number % 2 else 4)
    assert both(log, mariadb=True)[1] > 90


def test_sources_by_turns_have_their_own_templates() -> None:
    log = started()
    for number in range(1, 101):
        log.gtid(number, source=SOURCE if number % 2 else UUID(int=7))
        log.query("BEGIN")
        log.users(number)
        log.xid()
    assert both(log)[1] > 90


@FLAVORS
def test_a_transaction_of_more_rows_is_none_like_that_of_one(mariadb: bool) -> None:
    log = started()
    for number in range(1, 101):
        if number % 5:
            transaction(log, number, mariadb=mariadb)
        else:
            if mariadb:
                log.mariadb_gtid(number)
            else:
                log.gtid(number)
                log.query("BEGIN")
            log.users(number, number + 1)
            log.users(number)
            log.xid()
    assert both(log, mariadb=mariadb)[1] > 70


@FLAVORS
def test_statements_logged_beside_their_rows_are_passed_and_keep_templates_away(mariadb: bool) -> None:
    log = started()
    for number in range(1, 41):
        if mariadb:
            log.mariadb_gtid(number)
            log.add(EventType.MARIADB_ANNOTATE_ROWS, b"INSERT INTO users VALUES (1)")
        else:
            log.gtid(number)
            log.query("BEGIN")
            log.add(EventType.ROWS_QUERY, b"\x1cINSERT INTO users VALUES (1)")
        log.users(number)
        log.xid()
    found, by_template = both(log, mariadb=mariadb)
    assert by_template == 0
    assert len(found) == 3 * 40


def test_a_database_whose_name_is_longer_makes_another_begin() -> None:
    log = started()
    for number in range(1, 101):
        transaction(log, number, database=DATABASE if number % 2 else "somewhere_else")
    assert both(log)[1] > 80


@pytest.mark.parametrize("kind", ["source", "gap", "table", "position"])
def test_what_changes_on_the_way_is_read_as_it_is(kind: str) -> None:
    log = started()
    for number in range(1, 41):
        transaction(log, number)
    if kind == "source":
        for number in range(41, 81):
            log.gtid(number, source=SOURCE if number % 2 else UUID(int=7))
            log.query("BEGIN")
            log.users(number)
            log.xid()
    elif kind == "table":
        log.gtid(41)
        log.query("BEGIN")
        log.table_map([Shape("id", ColumnType.LONG), Shape("is_enabled", ColumnType.TINY)], table_id=71)
        log.insert(2, b"\0" + (5).to_bytes(4, "little") + b"\1", table_id=71)
        log.xid()
    elif kind == "position":
        log.pos = 0xFFFFFFFF - 700
    for number in range(90 if kind == "gap" else 81, 130):  # to 4 GB and over, for a position
        transaction(log, number)
    assert both(log)[1] > 60


def test_a_table_id_means_what_the_last_table_map_said_whoever_read_it() -> None:
    log = started()
    for number in range(1, 41):
        transaction(log, number)
    log.gtid(41)
    log.query("BEGIN")
    log.table_map([Shape("id", ColumnType.LONG), Shape("is_enabled", ColumnType.TINY)], table_id=71)
    log.xid()
    for number in range(42, 50):
        transaction(log, number)
    log.gtid(50)
    log.query("BEGIN")
    head = (71).to_bytes(6, "little") + b"\1\0\2\0\3\7"
    log.add(EventType.WRITE_ROWS, head + claim(50, b"open"))
    log.xid()
    found, _ = both(log)
    row = spelled_out(found)[-2]
    assert isinstance(row, RowChange)
    assert (row.table, row.after_id) == ("claims", 50)


@FLAVORS
def test_the_gtid_of_another_kind_of_server_is_an_unknown_event(mariadb: bool) -> None:
    log = started(checksums=False)
    for number in range(1, 13):
        transaction(log, number, mariadb=mariadb)
    transaction(log, 13, mariadb=not mariadb)
    for target in (counting(mariadb=mariadb)[0], decoder(mariadb=mariadb)):
        found: list[Event] = []
        with pytest.raises(UndecodableEvent, match="this kind of event is unknown"):
            target.decode(log.data, found)
        assert len([event for event in spelled_out(found) if isinstance(event, RowChange)]) == 12


@FLAVORS
def test_a_gtid_of_the_number_0_is_damage(mariadb: bool) -> None:
    log = started(checksums=False)
    for number in [*range(1, 13), 0]:
        transaction(log, number, mariadb=mariadb)
    for target in (counting(mariadb=mariadb)[0], decoder(mariadb=mariadb)):
        found: list[Event] = []
        with pytest.raises(UndecodableEvent, match="no GTID has the number 0"):
            target.decode(log.data, found)
        assert len([event for event in spelled_out(found) if isinstance(event, RowChange)]) == 12


@FLAVORS
def test_every_byte_counts(mariadb: bool) -> None:
    log = started()
    for number in range(1, 13):
        transaction(log, number, mariadb=mariadb)
    whole: list[Event] = []
    target, templates = counting(mariadb=mariadb)
    target.decode(log.data, whole)
    assert templates.count_read >= 4
    start = len(b"".join(log.packets[:-10]))
    for at in range(start, len(log.data)):
        damaged = bytearray(log.data)
        damaged[at] ^= 1 + at % 255
        seen: list[Event] = []
        with suppress(SourceError):
            counting(mariadb=mariadb)[0].decode(bytes(damaged), seen)
        rows = spelled_out(seen)
        assert rows == spelled_out(whole)[: len(rows)]


@FLAVORS
@pytest.mark.parametrize("checksums", [True, False])
def test_a_stream_that_is_cut_anywhere_says_what_is_whole(mariadb: bool, checksums: bool) -> None:
    log = started(checksums=checksums)
    for number in range(1, 13):
        transaction(log, number, mariadb=mariadb)
    whole: list[Event] = []
    counting(mariadb=mariadb)[0].decode(log.data, whole)
    for end in range(0, len(log.data), 3):
        target = counting(mariadb=mariadb)[0]
        seen: list[Event] = []
        used = target.decode(log.data[:end], seen)
        target.decode(log.data[used:], seen)
        assert spelled_out(seen) == spelled_out(whole)


HOURS_US = 3 * 3600 * 1_000_000


@pytest.mark.parametrize("late", [lambda _: HOURS_US, lambda number: HOURS_US if number % 3 else None])
def test_what_a_replica_logs_is_dated_by_its_source_and_versioned_by_itself(late: Callable[[int], int | None]) -> None:
    log = started()
    for number in range(1, 61):
        transaction(log, number, late_us=late(number))
    found, by_template = both(log)
    assert by_template > 25 or not late(3)
    singles = {event.gtid: event for event in found if isinstance(event, Single)}
    for number in range(20, 61):
        single = singles[f"{SOURCE}:{number}"]
        assert single.applied_us == 1_700_000_000_000_000 + number
        assert single.ts_us == single.applied_us - (late(number) or 0)


@pytest.mark.parametrize("known", range(1, 6))
def test_what_was_read_before_a_question_failed_lies_behind_the_position(known: int) -> None:
    """The weight of a key beyond ASCII is asked of the server, which may be gone."""
    columns = [Shape("id", ColumnType.VARCHAR, b"\x90\0", 45), Shape("claim_id", ColumnType.LONG)]
    log = Log(checksums=True)
    log.file()
    starts = []
    for number in range(1, 7):
        starts.append(log.pos)
        log.gtid(number)
        log.query("BEGIN")
        log.table_map(columns, table="claim_requirements", table_id=71)
        key = f"führer-{number}".encode()
        log.insert(2, b"\0" + bytes((len(key),)) + key + (7).to_bytes(4, "little"), table_id=71)
        log.xid()
    asked: list[object] = []

    def fold(key: str) -> str:
        asked.append(key)
        if len(asked) > known:
            raise ConnectionLost("gone")
        return key

    target = BinlogDecoder(SCOPE, FIRST, mariadb=False, charsets=CHARSETS, folds=lambda _: fold)
    events: list[Event] = []
    with pytest.raises(ConnectionLost):
        target.decode(log.data, events)
    changes = [event for event in spelled_out(events) if isinstance(event, RowChange)]
    assert len(changes) == known
    assert target.pos == starts[known]
