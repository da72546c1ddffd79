"""Events of MariaDB 11.4 and later, which inside a transaction do not say where they end.

Source: `binlog_legacy_event_pos`, OFF by default, in MariaDB's `sql/sys_vars.cc`; `Log_event_writer::write_header` in
`sql/log_event_server.cc` writes an end of 0 for what goes through a transaction's cache. The GTID before it and the XID
or COMMIT behind it have theirs.
"""

from __future__ import annotations

import zlib

import pytest

from consumer.binlog.constants import EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Begin, Commit, Event, RowChange, Single
from tests.unit.binlog.wirebuild import Log, decoded, decoder

both_checksums = pytest.mark.parametrize("checksums", [True, False])


def new_log(*, checksums: bool = True) -> Log:
    log = Log(checksums=checksums)
    log.file()
    return log


def transaction(log: Log, number: int, *ids: int, told: bool = False) -> list[int]:
    """Users that are inserted in an event each; returns where their events start."""
    log.mariadb_gtid(number)
    log.told = told
    starts = []
    for id_ in ids:
        log.users(id_)
        starts.append(log.pos - 29 - 5 - (4 if log.checksums else 0))
    log.told = True
    log.xid()
    return starts


def places(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.pos, event.row) for event in events if isinstance(event, RowChange)]


@both_checksums
def test_rows_stand_where_they_would_if_it_were_told(checksums: bool) -> None:
    told, untold = new_log(checksums=checksums), new_log(checksums=checksums)
    for number in range(1, 4):
        transaction(told, number, 1, 2, 3, told=True)
        transaction(untold, number, 1, 2, 3)
    expected = decoded(told, decoder(mariadb=True))
    assert decoded(untold, decoder(mariadb=True)) == expected
    assert len(set(places(expected))) == 9
    first, row, *_, last = expected
    assert isinstance(first, Begin)
    assert isinstance(row, RowChange)
    assert isinstance(last, Commit)
    assert first.pos < row.pos < last.pos == untold.pos


@both_checksums
def test_transactions_of_one_row_that_are_read_by_templates_stand_there_too(checksums: bool) -> None:
    told, untold = new_log(checksums=checksums), new_log(checksums=checksums)
    for number in range(1, 9):
        transaction(told, number, number, told=True)
        transaction(untold, number, number)
    expected = decoded(told, decoder(mariadb=True, singles=True))
    assert decoded(untold, decoder(mariadb=True, singles=True)) == expected
    assert any(isinstance(event, Single) for event in expected)


@pytest.mark.parametrize("step", [1, 7, 64])
def test_bytes_may_arrive_in_any_pieces(step: int) -> None:
    log = new_log()
    starts = [start for number in range(1, 4) for start in transaction(log, number, 1, 2, 3)]
    target, waiting = decoder(mariadb=True), b""
    events: list[Event] = []
    for at in range(0, len(log.data), step):
        waiting += log.data[at : at + step]
        waiting = waiting[target.decode(waiting, events) :]
    assert len(places(events)) == len(starts)
    assert events == decoded(log, decoder(mariadb=True))


def test_only_the_rows_of_the_damaged_event_are_taken_back_and_it_is_named_by_its_place() -> None:
    log = new_log(checksums=False)
    log.mariadb_gtid(1)
    log.told = False
    log.users(1)
    log.users(2)
    place = log.pos
    log.add(EventType.WRITE_ROWS, (99).to_bytes(6, "little") + b"\1\0\2\0\1\xff\0" + bytes(4))
    events: list[Event] = []
    with pytest.raises(UndecodableEvent, match=f"binlog.000001:{place} "):
        decoder(mariadb=True).decode(log.data, events)
    again: list[Event] = []
    log.told = True
    log.xid()
    decoder(mariadb=True, skipped=[("binlog.000001", place)]).decode(log.data, again)
    assert [change.after_id for change in again if isinstance(change, RowChange)] == [1, 2]


def test_compressed_events_stand_there_too() -> None:
    told, untold = new_log(), new_log()
    for log, is_told in ((told, True), (untold, False)):
        log.mariadb_gtid(1)
        log.told = is_told
        log.users(1)
        for id_ in (2, 3):
            head = (70).to_bytes(6, "little") + b"\1\0\1\1"
            rows = b"\0" + id_.to_bytes(4, "little")
            log.add(
                EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1, head + b"\x81" + bytes((len(rows),)) + zlib.compress(rows)
            )
        log.told = True
        log.xid()
    expected = decoded(told, decoder(mariadb=True))
    assert [event.after_id for event in expected if isinstance(event, RowChange)] == [1, 2, 3]
    assert decoded(untold, decoder(mariadb=True)) == expected
