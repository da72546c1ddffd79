"""The decoder on events written by hand: what servers log too rarely, or never should."""

from __future__ import annotations

import json
import re
import zlib

import pytest

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.errors import BinlogCorrupt, BinlogPurged, IdTaken, UndecodableEvent, WrongServer
from consumer.binlog.events import (
    Begin,
    Commit,
    Event,
    Heartbeat,
    Id,
    Rollback,
    Rotate,
    RowChange,
    SchemaChange,
    Single,
    Statement,
    UnreadableRow,
)
from consumer.binlog.gtid_event import tagged_gtid
from consumer.binlog.position import Position
from consumer.mysql.errors import ConnectionLost, Passing, PreconditionFailed
from tests.unit.binlog.wirebuild import DATABASE, SOURCE, Log, Shape, decoded, decoder, packed, payload, table_map


def ids(events: list[Event]) -> list[Id | None]:
    return [event.after_id for event in events if isinstance(event, RowChange)]


def new_log(*, checksums: bool = False) -> Log:
    log = Log(checksums=checksums)
    log.file()
    return log


@pytest.mark.parametrize("checksums", [True, False])
def test_a_transaction_is_begin_rows_commit(checksums: bool) -> None:
    log = new_log(checksums=checksums)
    start = log.pos
    log.transaction(1, 5, 6)
    begin, first, second, commit = decoded(log)
    assert begin == Begin(f"{SOURCE}:1", 1, "binlog.000001", start, 1_700_000_000_000_000, 1_700_000_000_000_000)
    assert isinstance(first, RowChange)
    assert isinstance(second, RowChange)
    assert (first.after, first.row) == ('{"id":5}', 0)
    assert (second.after, second.row) == ('{"id":6}', 1)
    assert first.pos == second.pos > start
    assert commit == Commit("binlog.000001", log.pos)


def test_bytes_may_arrive_in_any_pieces() -> None:
    log = new_log(checksums=True)
    for number in range(1, 20):
        log.transaction(number, number)
    target = decoder()
    events: list[Event] = []
    waiting = b""
    for at in range(0, len(log.data), 13):
        waiting += log.data[at : at + 13]
        waiting = waiting[target.decode(waiting, events) :]
    assert ids(events) == list(range(1, 20))
    assert events == decoded(log)


def test_gtids_are_counted_and_start_with_those_of_the_file() -> None:
    log = new_log()
    log.add(
        EventType.PREVIOUS_GTIDS,
        (1).to_bytes(8, "little") + SOURCE.bytes + b"".join(n.to_bytes(8, "little") for n in (1, 1, 8)),
    )
    log.transaction(8, 1)
    log.transaction(10, 2)
    target = decoder()
    decoded(log, target)
    assert target.gtid_set() == f"{SOURCE}:1-8:10"
    log.transaction(9, 3)
    target = decoder()
    decoded(log, target)
    assert target.gtid_set() == f"{SOURCE}:1-10"


def test_a_file_that_ends_inside_a_transaction_rolls_it_back() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    place = log.pos
    log.pos = 4
    log.file("binlog.000002")
    log.transaction(1, 2)
    target = decoder()
    events = decoded(log, target)
    assert [type(event) for event in events] == [Begin, RowChange, Rollback, Rotate, Begin, RowChange, Commit]
    assert ids(events) == [1, 2]
    assert (target.file, target.pos) == ("binlog.000002", log.pos)
    assert place > 0


def test_savepoints_drop_the_rows_since() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    log.query("SAVEPOINT `a`")
    log.users(2)
    log.query("SAVEPOINT b")
    log.users(3)
    log.query("ROLLBACK TO `A`")
    log.users(4)
    log.query("ROLLBACK WORK TO SAVEPOINT a")
    log.users(5)
    log.query("RELEASE SAVEPOINT a")
    log.xid()
    log.transaction(2, 6)
    events = decoded(log)
    assert ids(events) == [1, 5, 6]
    undone = [event for event in events if isinstance(event, UnreadableRow)]
    kinds = [Begin, RowChange, *[UnreadableRow] * len(undone), RowChange, Commit, Begin, RowChange, Commit]
    assert [type(event) for event in events] == kinds
    assert [(row.table, row.op, row.after_id) for row in undone] == [("users", "c", number) for number in (2, 3, 4)]


def test_rows_after_a_savepoint_alone_begin_only_where_they_stay() -> None:
    log = new_log()
    for number, end in ((1, "ROLLBACK TO a"), (2, "RELEASE SAVEPOINT a")):
        log.gtid(number)
        log.query("BEGIN")
        log.query("SAVEPOINT a")
        log.users(number)
        log.query(end)
        log.query("COMMIT")
    kinds = [type(event) for event in decoded(log)]
    assert kinds == [Begin, UnreadableRow, Commit, Begin, RowChange, Commit]


def test_a_rollback_to_an_unknown_savepoint_is_an_error() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.query("ROLLBACK TO a")
    with pytest.raises(UndecodableEvent, match="savepoint 'a'"):
        decoded(log)


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows that wait for a decision are many."""
    monkeypatch.setattr("consumer.binlog.transaction.BUFFERED_KEPT", 3)


def long_transaction(log: Log, *ends: str) -> None:
    """Rows in a nested transaction and behind it, as an application with savepoints makes them."""
    log.gtid(1)
    log.query("BEGIN")
    log.query("SAVEPOINT outer_one")
    for number in range(1, 9):
        log.users(number)
    log.query("SAVEPOINT inner_one")
    log.users(9)
    for end in ends:
        log.query(end)


def held(target: BinlogDecoder) -> int:
    """How many events wait in a decoder."""
    return len(target._transaction._buffered or ())


@pytest.mark.usefixtures("few_kept")
@pytest.mark.parametrize("pieces", [1, 40, 100_000])
def test_a_long_transaction_with_savepoints_is_handed_out_as_it_comes(pieces: int) -> None:
    log = new_log()
    long_transaction(log, "COMMIT")
    target, events, rest = decoder(), list[Event](), b""
    for at in range(0, len(log.data), pieces):
        rest += log.data[at : at + pieces]
        rest = rest[target.decode(rest, events) :]
        assert held(target) <= 5
    assert ids(events) == [*range(1, 10)]
    assert [type(event) for event in events] == [Begin, *[RowChange] * 9, Commit]


@pytest.mark.usefixtures("few_kept")
def test_what_is_undone_of_a_long_transaction_has_everybody_read_live_before_it_ends() -> None:
    log = new_log()
    long_transaction(log, "ROLLBACK TO outer_one", "COMMIT")
    log.transaction(2, 10)
    events = decoded(log)
    kinds = [type(event) for event in events]
    assert kinds[0] is Begin
    assert kinds[kinds.index(Statement) :] == [Statement, Commit, Begin, RowChange, Commit]
    assert Statement(None, "ROLLBACK") in events
    assert len([event for event in events if isinstance(event, RowChange | UnreadableRow)]) == 10


@pytest.mark.usefixtures("few_kept")
def test_a_savepoint_behind_many_rows_is_still_known() -> None:
    log = new_log()
    long_transaction(log, "ROLLBACK TO inner_one", "COMMIT")
    events = decoded(log)
    assert ids(events) == [*range(1, 9)]
    assert [event.after_id for event in events if isinstance(event, UnreadableRow)] == [9]
    assert Statement(None, "ROLLBACK") not in events


@pytest.mark.usefixtures("few_kept")
def test_a_long_transaction_that_is_rolled_back_is_undone_and_reported() -> None:
    log = new_log()
    long_transaction(log, "ROLLBACK")
    kinds = [type(event) for event in decoded(log)]
    assert kinds[0] is Begin
    assert kinds[kinds.index(Rollback) :] == [Rollback, Begin, Statement, Commit]


@pytest.mark.parametrize("savepoint", [True, False])
def test_a_rolled_back_transaction_is_undone_and_reported(savepoint: bool) -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    if savepoint:
        log.query("SAVEPOINT a")
        log.users(2)
    place = log.pos
    log.query("ROLLBACK")
    events = decoded(log)
    assert [type(event) for event in events] == [Begin, RowChange, Rollback, Begin, Statement, Commit]
    again = events[3]
    assert isinstance(again, Begin)
    assert again.pos == place
    assert events[4] == Statement(None, "ROLLBACK")


def test_a_rolled_back_transaction_of_other_tables_is_nothing() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.query("SAVEPOINT a")
    log.query("ROLLBACK")
    assert decoded(log) == []


def test_an_incident_orders_a_look_at_the_tables() -> None:
    log = new_log()
    log.gtid(1)
    log.add(EventType.INCIDENT, b"\1\0" + packed(b"LOST_EVENTS"))
    log.add(EventType.INCIDENT, b"\1\0" + packed(b"LOST_EVENTS"))
    events = decoded(log)
    assert [type(event) for event in events] == [Begin, Statement, Commit] * 2
    assert Statement(None, "INCIDENT") in events


def test_unknown_events_are_errors_unless_they_may_be_ignored() -> None:
    log = new_log()
    log.add(99, b"xyz", flags=0x80)
    log.transaction(1, 1)
    assert ids(decoded(log)) == [1]
    place = "binlog.000001", log.pos
    log.add(99, b"xyz")
    log.transaction(2, 2)
    events: list[Event] = []
    target = decoder()
    with pytest.raises(UndecodableEvent) as found:
        target.decode(log.data, events)
    assert ids(events) == [1], "what was complete before is handed out"
    assert str(found.value) == (
        f"the event type 99 event at {place[0]}:{place[1]} cannot be read: this kind of event is unknown;"
        f" consumer read --skip-event {place[0]}:{place[1]} goes on behind it and has every lead read live"
    )
    assert found.value.position == place
    assert ids(decoded(log, decoder(skipped={place}))) == [1, 2]


def test_rows_of_an_unknown_table_id_are_an_error_but_for_the_closing_one() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.insert(1, b"", table_id=0xFFFFFF)
    log.xid()
    assert decoded(log) == []
    log.gtid(2)
    log.query("BEGIN")
    log.insert(1, b"\0" + bytes(4), table_id=7)
    with pytest.raises(UndecodableEvent, match="no table map precedes rows of table id 7"):
        decoded(log)


def test_rows_outside_a_transaction_are_an_error() -> None:
    log = new_log()
    log.users(1)
    with pytest.raises(UndecodableEvent, match="rows outside a transaction"):
        decoded(log)


def test_rows_that_do_not_fill_their_event_are_an_error() -> None:
    for rows in (b"\0\1\0\0\0\0", b"\0\1\0\0"):
        log = new_log()
        log.gtid(1)
        log.query("BEGIN")
        log.table_map([Shape("id", ColumnType.LONG)])
        log.insert(1, b"\0\7\0\0\0" + rows)
        events: list[Event] = []
        with pytest.raises(UndecodableEvent, match=r"WRITE_ROWS event at binlog.000001:\d+"):
            decoder().decode(log.data, events)
        assert ids(events) == [], "nothing of a damaged event is believed"


def test_a_table_id_may_come_to_mean_another_table() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    log.table_map([Shape("x", ColumnType.LONG)], table="visits")
    log.insert(1, b"\0" + bytes(4))
    log.table_map([Shape("id", ColumnType.TINY, unsigned=True)])
    log.insert(1, b"\0\xff")
    log.table_map([Shape("id", ColumnType.TINY)])
    log.insert(1, b"\0\xff")
    log.xid()
    assert ids(decoded(log)) == [1, 255, -1]


def test_positions_beyond_four_gigabytes_are_counted_on() -> None:
    log = Log(2**32 - 400)
    log.add(EventType.ROTATE, (4).to_bytes(8, "little") + b"binlog.000001", flags=0x20, artificial=True)
    target = decoder(start=Position("", "binlog.000001", log.pos))
    for number in range(1, 5):
        log.transaction(number, number)
    events = decoded(log, target)
    begins = [event.pos for event in events if isinstance(event, Begin)]
    commits = [event.pos for event in events if isinstance(event, Commit)]
    assert begins[1:] == commits[:-1]
    assert commits[-1] == log.pos > 2**32
    assert target.pos == log.pos


def test_rotation_moves_the_position_and_heartbeats_follow_it() -> None:
    log = new_log()
    log.transaction(1, 1)
    log.add(EventType.ROTATE, (4).to_bytes(8, "little") + b"binlog.000002")
    log.pos = 4
    log.file("binlog.000002")
    log.add(EventType.HEARTBEAT, b"binlog.000002")
    beat = b"\1" + packed(b"binlog.000002") + b"\2" + packed(b"\xfd\0\0\1") + b"\0"
    log.add(EventType.HEARTBEAT_V2, beat, artificial=True)
    target = decoder()
    events = decoded(log, target)
    assert events[-3] == Rotate("binlog.000002", 4)
    assert isinstance(events[-2], Heartbeat)
    assert events[-1] == Heartbeat("binlog.000002", 65536)
    assert (target.file, target.pos) == ("binlog.000002", 65536)


def test_a_server_that_starts_in_an_earlier_file_does_not_move_the_position_back() -> None:
    log = Log()
    log.file("binlog.000007")
    log.add(EventType.HEARTBEAT, b"binlog.000007")
    log.add(EventType.ROTATE, (4).to_bytes(8, "little") + b"binlog.000008")
    log.pos = 4
    log.file("binlog.000008")
    start = Position(f"{SOURCE}:1-5", "binlog.000009", 500)
    target = decoder(start=start)
    decoded(log, target)
    assert (target.file, target.pos) == ("binlog.000009", 500)


@pytest.mark.parametrize("checkpoint", [("binlog.000009", 500), ("binlog.000009", 5_000_000_000)])
def test_a_server_that_starts_in_a_later_file_moves_the_position_there(checkpoint: tuple[str, int]) -> None:
    """One that was restarted begins a new file, and by GTID it starts there, whether anybody writes or not."""
    log = Log()
    log.file("binlog.000010")
    log.add(EventType.PREVIOUS_GTIDS, bytes(8))
    beat = log.pos
    target = decoder(start=Position(f"{SOURCE}:1-5", *checkpoint, (), 5))
    decoded(log, target)
    assert (target.file, target.pos, target.file_begun) == ("binlog.000010", 4, 1_700_000_000)
    log.packets.clear()
    log.add(EventType.HEARTBEAT_V2, b"\1" + packed(b"binlog.000010") + b"\2" + packed(bytes((beat,))) + b"\0")
    assert decoded(log, target) == [Heartbeat("binlog.000010", beat)]
    assert target.gtid_set() == f"{SOURCE}:1-5"


@pytest.mark.parametrize("left", [("binlog.000007", 9000), ("binlog.000009", 500), ("binlog.000002", 500)])
def test_on_another_server_the_position_is_where_that_one_begins(left: tuple[str, int]) -> None:
    log = Log()
    log.file("binlog.000007")
    target = decoder(start=Position(f"{SOURCE}:1-5", *left))
    target.restart(elsewhere=True)
    target.restart()  # the connection broke before it said anything
    decoded(log, target)
    assert (target.file, target.pos) == ("binlog.000007", 4)
    beat = log.pos
    log.packets.clear()
    log.add(EventType.HEARTBEAT_V2, b"\1" + packed(b"binlog.000007") + b"\2" + packed(bytes((beat,))) + b"\0")
    decoded(log, target)
    assert (target.file, target.pos) == ("binlog.000007", beat)


def test_an_xa_transaction_whose_commit_comes_alone_is_reported() -> None:
    log = new_log()
    log.gtid(1)
    log.query("XA COMMIT X'61',X'62',7")
    log.gtid(2)
    log.query("XA ROLLBACK X'61',X'62',7")
    events = decoded(log)
    assert [type(event) for event in events] == [Begin, Statement, Commit]


def test_prepared_xa_transactions_do_not_count_as_executed() -> None:
    log = new_log()
    log.add(EventType.PREVIOUS_GTIDS, bytes(8))
    log.gtid(1)
    log.query("XA START X'61',X'',1")
    log.users(1)
    log.query("XA END X'61',X'',1")
    name = b"\0" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4) + b"a"
    log.add(EventType.XA_PREPARE, name)
    log.transaction(2, 2)
    target = decoder()
    events: list[Event] = []
    used = target.decode(log.data, events)
    assert ids(events) == [2]
    assert target.gtid_set() == f"{SOURCE}:2"
    assert [group.xid for group in target.prepared()] == ["X'61',X'',1"]
    log.gtid(3)
    log.query("XA COMMIT X'61',X'',1")
    target.decode(log.data[used:], events)
    assert ids(events) == [2, 1]
    assert target.gtid_set() == f"{SOURCE}:1-3"
    assert target.prepared() == ()


@pytest.mark.usefixtures("few_kept")
@pytest.mark.parametrize("one_phase", [False, True])
@pytest.mark.parametrize("rows", [3, 9])
def test_of_a_long_xa_transaction_nothing_is_kept_but_that_it_was(rows: int, one_phase: bool) -> None:
    log = new_log()
    log.gtid(1)
    log.query("XA START X'61',X'',1")
    for number in range(rows):
        log.users(number)
    log.query("XA END X'61',X'',1")
    name = (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4) + b"a"
    log.add(EventType.XA_PREPARE, bytes((one_phase,)) + name)
    if not one_phase:
        log.gtid(2)
        log.query("XA COMMIT X'61',X'',1")
    log.gtid(3)
    log.query("XA START X'62',X'',1")
    log.users(7)
    log.query("XA END X'62',X'',1")
    log.add(EventType.XA_PREPARE, b"\1" + name)
    events = decoded(log)
    found = events[: events.index(next(event for event in events if isinstance(event, Commit)))]
    assert found[1:] == [Statement(None, "XA COMMIT")] if rows == 9 else ids(found) == [0, 1, 2]
    assert ids(events[len(found) :]) == [7], "the next one is as long as it is"


def compressed_transaction(rows: int) -> bytes:
    inner = Log(0)
    events = []
    for kind, body in (
        (EventType.QUERY, bytes(8) + b"\4" + bytes(4) + b"shop\0BEGIN"),
        (EventType.TABLE_MAP, table_map([Shape("id", ColumnType.LONG)])),
    ):
        events.append(inner.event(kind, body))
    for number in range(rows):
        body = (70).to_bytes(6, "little") + b"\1\0\2\0\1\1\0" + number.to_bytes(4, "little")
        events.append(inner.event(EventType.WRITE_ROWS, body))
    events.append(inner.event(EventType.XID, bytes(8)))
    return b"".join(events)


@pytest.mark.parametrize("behind_xa", [False, True])
@pytest.mark.parametrize("cut_off", [False, True])
def test_behind_an_xa_transaction_of_one_phase_come_ordinary_ones(behind_xa: bool, cut_off: bool) -> None:
    log = new_log()
    if behind_xa:
        log.gtid(1)
        log.query("XA START X'61',X'',1")
        log.users(1)
        log.query("XA END X'61',X'',1")
        log.add(EventType.XA_PREPARE, b"\1" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4) + b"a")
    log.gtid(2)
    log.query("BEGIN")
    log.users(2)
    if cut_off:
        log.gtid(3)
        log.query("BEGIN")
        log.users(3)
        log.xid()
        assert Rollback in map(type, decoded(log))
        return
    log.query("SAVEPOINT a")
    log.users(3)
    log.query("ROLLBACK TO a")
    log.xid()
    assert 3 not in ids(decoded(log))


@pytest.mark.parametrize("compression", [0, 255])
def test_compressed_transactions_come_in_pieces(compression: int) -> None:
    log = new_log(checksums=True)
    log.gtid(1)
    start = log.pos
    log.add(EventType.TRANSACTION_PAYLOAD, payload(compressed_transaction(50_000), compression=compression))
    end = log.pos
    log.transaction(2, 7)
    target = decoder()
    events: list[Event] = []
    used = target.decode(log.data, events)
    reads = 0
    while target.has_payload:
        before = len(events)
        target.decode_payload(events)
        assert len(events) - before < 10_000 or compression == 255
        reads += 1
    target.decode(log.data[used:], events)
    assert reads > 5 or compression == 255
    assert ids(events) == [*range(50_000), 7]
    rows = [event for event in events if isinstance(event, RowChange)][:50_000]
    assert {row.pos for row in rows} == {start}
    assert [row.row for row in rows] == list(range(50_000))
    assert Commit("binlog.000001", end) in events


@pytest.mark.parametrize(
    "body",
    [
        payload(compressed_transaction(9), length=10),
        payload(compressed_transaction(9))[:-5],
        payload(compressed_transaction(9)[:-3]),
        payload(compressed_transaction(9)).replace(b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfe"),
        payload(b"x", compression=9),
    ],
)
def test_damaged_payloads_are_errors(body: bytes) -> None:
    log = new_log()
    log.gtid(1)
    log.add(EventType.TRANSACTION_PAYLOAD, body)
    with pytest.raises(UndecodableEvent, match=r"TRANSACTION_PAYLOAD event at binlog.000001:\d+"):
        decoded(log)


def test_damaged_compressed_events_of_mariadb_are_errors() -> None:
    for damage in (
        b"\x12\0\5" + zlib.compress(b"\0" + bytes(4)),
        b"\x02\0\6" + zlib.compress(b"\0" + bytes(4)),
        b"\x02\0\5x",
    ):
        log = new_log()
        log.mariadb_gtid(1)
        log.table_map([Shape("id", ColumnType.LONG)])
        log.add(EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1, (70).to_bytes(6, "little") + b"\1\0\1\1" + damage)
        with pytest.raises(UndecodableEvent, match=r"COMPRESSED_V1 event at"):
            decoded(log, decoder(mariadb=True))


def test_mariadb_transactions_are_counted_by_domain() -> None:
    log = new_log()
    log.add(
        EventType.MARIADB_GTID_LIST,
        (1).to_bytes(4, "little") + bytes(4) + (9).to_bytes(4, "little") + (4).to_bytes(8, "little"),
    )
    log.mariadb_gtid(5, server_id=3)
    log.users(1)
    log.xid()
    log.mariadb_gtid(1, domain=7, flags=1)
    log.query("TRUNCATE users")
    target = decoder(mariadb=True)
    events = decoded(log, target)
    assert [event.gtid for event in events if isinstance(event, Begin)] == ["0-3-5", "7-1-1"]
    assert SchemaChange("users", "TRUNCATE") in events
    assert target.gtid_set() == "0-3-5,7-1-1"


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (1236, "the source has purged binary logs containing GTIDs that the replica requires", BinlogPurged),
        (1236, "Cannot replicate because the source purged required binary logs. Replicate the missing", BinlogPurged),
        (1236, "Could not find first log file name in binary log index file", BinlogPurged),
        (1236, "could not find next log", BinlogPurged),
        (1236, "Could not open log file", BinlogPurged),
        (1236, "Could not find GTID state requested by slave in any binlog files. ... purged", BinlogPurged),
        (1236, "Client requested source to start replication from position > file size", WrongServer),
        (1236, "Client requested master to start replication from position < 4", WrongServer),
        (1236, "Client requested master to start replication from impossible position; the first", WrongServer),
        (1236, "Replica has more GTIDs than the source has, using the source's SERVER_UUID.", WrongServer),
        (1236, "Error: connecting slave requested to start from GTID 0-1-5, which is not in the mas", WrongServer),
        (1236, "The binlog on the master is missing the GTID 0-1-5 requested by the slave (even though", WrongServer),
        (1236, "A replica with the same server_uuid/server_id as this replica has connected", IdTaken),
        (1236, "Cannot replicate GTID-transaction when @@GLOBAL.GTID_MODE = OFF, at file b", PreconditionFailed),
        (1236, "Cannot replicate anonymous transaction when @@GLOBAL.GTID_MODE = ON, at", PreconditionFailed),
        (1236, "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file b", ConnectionLost),
        (
            1236,
            "The replication sender thread cannot start in AUTO_POSITION mode: this server has"
            " GTID_MODE = ON_PERMISSIVE instead of ON.",
            ConnectionLost,
        ),
        (1236, "memory allocation failed reading log event", ConnectionLost),
        (1236, "Out of memory initializing format_description event", ConnectionLost),
        (1236, "I/O error reading log event; the first event 'b' at 4", ConnectionLost),
        (1236, "I/O error reading the header from the binary log", ConnectionLost),
        (1236, "Binary log is not open", PreconditionFailed),
        (1236, "Binary log is not open and failed to open index file to retrieve next", PreconditionFailed),
        (1236, "Misconfigured master - master server_id is 0", PreconditionFailed),
        (1236, "Slave can not handle replication events with the checksum that master is", PreconditionFailed),
        (1236, "log event entry exceeded max_allowed_packet; Increase max_allowed_packet", PreconditionFailed),
        (1236, "Event too big", PreconditionFailed),
        (1236, "binlog truncated in the middle of event; consider out of disk space on source", BinlogCorrupt),
        (1236, "bogus data in log event; some more", BinlogCorrupt),
        (1236, "corrupted data in log event", BinlogCorrupt),
        (1236, "event read from binlog did not pass crc check", BinlogCorrupt),
        (1236, "Event crc check failed! Most likely there is event corruption.", BinlogCorrupt),
        (1236, "Found invalid Format description event in binary log", BinlogCorrupt),
        (1236, "Found invalid event in binary log", BinlogCorrupt),
        (1236, "Found invalid binary log encryption header", BinlogCorrupt),
        (1236, "Binlog has bad magic number;  It's not a binary log file that can be used by", BinlogCorrupt),
        (1236, "Could not find format_description_event in binlog file", BinlogCorrupt),
        (1236, "Failed to find format descriptor event in start of binlog", BinlogCorrupt),
        (1236, "Corrupt Format_description event found or out-of-memory", BinlogCorrupt),
        (1236, "Cannot get file password for encrypted replication log file, please check", PreconditionFailed),
        (1236, "Failed to decrypt content read from binlog file.", PreconditionFailed),
        (1236, "Could not decrypt binlog: encryption key error", PreconditionFailed),
        (1236, "event decryption failure", PreconditionFailed),
        (1236, "something that no server says today", ConnectionLost),
        (1053, "Server shutdown in progress", ConnectionLost),
    ],
)
def test_refusals_of_the_server_are_named(code: int, text: str, error: type[Exception]) -> None:
    refusal = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + text.encode()
    packet = len(refusal).to_bytes(3, "little") + b"\0" + refusal
    log = new_log()
    for cut in range(len(packet)):
        decoder().decode(log.data + packet[:cut], [])
    with pytest.raises(error, match=re.escape(text)) as raised:
        decoder().decode(log.data + packet, [])
    assert isinstance(raised.value, Passing) == (error is ConnectionLost)
    if error not in (ConnectionLost, PreconditionFailed, BinlogPurged, IdTaken):
        assert "consumer setup --repair --from now" in str(raised.value)


def test_the_end_of_the_stream_is_a_lost_connection() -> None:
    log = new_log()
    with pytest.raises(ConnectionLost, match="ended the stream"):
        decoder().decode(log.data + b"\5\0\0\0\xfe\0\0\2\0", [])


def test_a_changed_byte_anywhere_is_found_by_its_checksum() -> None:
    log = new_log(checksums=True)
    head = len(log.data)
    log.transaction(1, 5)
    log.transaction(2, 6)
    whole = decoded(log)
    for at in range(head, len(log.data)):
        data = bytearray(log.data)
        data[at] ^= 0x10
        events: list[Event] = []
        try:
            used = decoder().decode(bytes(data), events)
        except (BinlogCorrupt, ConnectionLost):
            pass
        else:
            starts = [sum(map(len, log.packets[:n])) for n in range(len(log.packets))]
            assert used < len(data) or at - 3 in starts, "only a packet's number is not protected"
        assert whole[: len(events)] == events


def test_generated_decoders_can_be_read() -> None:
    log = new_log()
    log.gtid(1)
    log.query("BEGIN")
    columns = [
        Shape("a", ColumnType.LONG),
        Shape("name", ColumnType.VARCHAR, b"\x2c\1", 45),
        Shape("b", ColumnType.DATETIME2, b"\3"),
        Shape("id", ColumnType.LONGLONG),
        Shape("is_enabled", ColumnType.TINY),
    ]
    log.table_map(columns)
    log.insert(5, b"\0" + bytes(4) + b"\1\0x" + bytes(7) + (9).to_bytes(8, "little") + b"\1")
    log.xid()
    target = decoder()
    events = decoded(log, target)
    assert json.loads(next(event.after or "" for event in events if isinstance(event, RowChange))) == {
        "id": 9,
        "is_enabled": 1,
    }
    (table,) = target._decoders.values()
    source, _ = table.written(b"\x1f", b"\0")
    assert source.startswith("def image(data, p):\n    p += 4\n    p += ")
    assert "name" not in source
    assert DATABASE not in source


APPLIED, ORIGINAL = 1_700_000_000_000_000, 1_699_990_000_000_001


@pytest.mark.parametrize("kind", [EventType.GTID, EventType.ANONYMOUS_GTID])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("checksums", [True, False])
def test_a_replicas_transaction_has_the_time_of_its_source_and_the_replicas_own(
    kind: EventType, rows: int, checksums: bool
) -> None:
    log = new_log(checksums=checksums)
    log.gtid(1, ts_us=APPLIED, original_us=ORIGINAL, kind=kind)
    log.query("BEGIN")
    log.users(*range(1, rows + 1))
    log.xid()
    log.gtid(2, ts_us=APPLIED, original_us=0, kind=kind)  # its source is too old to know
    log.query("BEGIN")
    log.users(7)
    log.xid()
    events: list[Event] = []
    decoder(singles=True).decode(log.data, events)
    for found in (events, decoded(log)):
        times = [(event.ts_us, event.applied_us) for event in found if isinstance(event, Begin | Single)]
        assert times == [(ORIGINAL, APPLIED), (APPLIED, APPLIED)]


def test_a_replicas_ddl_in_a_transaction_begun_anew_has_both_times() -> None:
    """The second GTID event finds the first one's transaction cut off, and is read by another way."""
    log = new_log()
    log.gtid(1)
    log.gtid(1, ts_us=APPLIED, original_us=ORIGINAL)
    log.query("DROP TABLE users")
    begin = next(event for event in decoded(log) if isinstance(event, Begin))
    assert (begin.ts_us, begin.applied_us) == (ORIGINAL, APPLIED)


def varint(value: int) -> bytes:
    """An unsigned integer in MySQL's serialization."""
    more = next(more for more in range(9) if more == 8 or value < 1 << 7 * (more + 1))
    if more == 8:
        return b"\xff" + value.to_bytes(8, "little")
    return (value << (more + 1) | (1 << more) - 1).to_bytes(more + 1, "little")


@pytest.mark.parametrize("original", [None, ORIGINAL])
def test_a_tagged_gtid_has_both_times_too(original: int | None) -> None:
    fields = b"".join((
        varint(0), varint(0),
        varint(1), *map(varint, SOURCE.bytes),
        varint(2), varint(9 << 1),
        varint(3), varint(3), b"tag",
        varint(6), varint(APPLIED),
        b"" if original is None else varint(7) + varint(original),
    ))  # fmt: skip
    found = tagged_gtid(varint(1) + varint(len(fields)) + varint(8) + fields, 7, 126)
    assert found == (f"{SOURCE}:tag", 9, 7, 126, original or APPLIED, APPLIED)


@pytest.mark.parametrize("checksums", [True, False])
def test_a_compressed_transaction_may_be_larger_than_a_packet(checksums: bool) -> None:
    inside = Log()
    inside.query("BEGIN")
    inside.users(1, 2)
    inside.users(3)
    inside.xid()
    log = Log(checksums=checksums)
    log.file()
    log.gtid(1)
    target, events = decoder(), list[Event]()
    target.decode(log.data, events)
    large = log.event(EventType.TRANSACTION_PAYLOAD, payload(b"".join(packet[5:] for packet in inside.packets)))
    target.decode_event(large, events)
    while target.has_payload:
        target.decode_payload(events)
    rows = [event for event in events if isinstance(event, RowChange)]
    assert [(row.after_id, row.row) for row in rows] == [(1, 0), (2, 1), (3, 2)]
    assert len({row.pos for row in rows}) == 1
    assert (target.pos, isinstance(events[-1], Commit)) == (log.pos, True)
    rest = Log(log.pos, checksums=checksums)
    rest.transaction(2, 4)
    target.decode(rest.data, events)
    assert [event.row for event in events if isinstance(event, RowChange)][-1] == 0
