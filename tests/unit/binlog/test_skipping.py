"""Events that cannot be read and are skipped: the binlog is read on behind each, and whom it concerns is asked for."""

from __future__ import annotations

import pytest

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.events import Begin, Commit, Event, Rollback, RowChange, UnreadableRow
from consumer.mysql.errors import SourceError
from tests.unit.binlog.wirebuild import Log, Shape, decoded, decoder, payload

USERS = [Shape("id", ColumnType.LONGLONG), Shape("is_enabled", ColumnType.TINY)]
CLAIMS = [Shape("id", ColumnType.LONGLONG), Shape("user_id", ColumnType.LONGLONG)]
"""Without its status no lead can be judged by a claim."""
STATUS = Shape("status", ColumnType.VARCHAR, (40).to_bytes(2, "little"), 45)
STRUCTURE = {EventType.ROTATE, EventType.FORMAT_DESCRIPTION, EventType.GTID}

FilePosition = tuple[str, int]


def history(*, checksums: bool) -> Log:
    """Three transactions, of which the second inserts two users."""
    log = Log(checksums=checksums)
    log.file()
    log.transaction(1, 1)
    log.transaction(2, 2, 3)
    log.transaction(3, 4)
    return log


def read_on(log: Log, *, singles: bool, strict: bool = False) -> tuple[list[Event], list[FilePosition], BinlogDecoder]:
    """Everything, and which events had to be skipped for it: each is named by the error before."""
    positions: list[FilePosition] = []
    while True:
        target = decoder(singles=singles, strict=strict, skipped=positions)
        try:
            return decoded(log, target), positions, target
        except SourceError as error:
            positions.append(named_position(error, positions))


def named_position(error: SourceError, known: list[FilePosition]) -> FilePosition:
    """The position that an error names, which is another one than before."""
    assert error.position is not None
    assert error.position not in known
    assert f"consumer read --skip-event {error.position[0]}:{error.position[1]} " in str(error)
    return error.position


def ids(events: list[Event]) -> list[object]:
    """The ids of the rows that were read."""
    return [event.after_id for event in events if isinstance(event, RowChange)]


@pytest.mark.parametrize("number", range(2 + 3 * 5))
def test_an_event_with_a_wrong_checksum_is_skipped_whatever_it_is(number: int) -> None:
    log = history(checksums=True)
    packet = log.packets[number]
    log.packets[number] = packet[:-1] + bytes((packet[-1] ^ 1,))
    kind = packet[9]
    if kind in STRUCTURE:
        if kind == EventType.GTID:
            with pytest.raises(SourceError, match="consumer setup --repair --from now begins anew") as found:
                decoded(log, decoder())
            assert "its checksum is wrong" in str(found.value)
        return
    events, _, target = read_on(log, singles=False)
    begins = [event for event in events if isinstance(event, Begin | Commit)]
    assert [type(event) for event in begins] == [Begin, Commit] * (len(begins) // 2)
    lost = ({1}, {2, 3}, {4})[(number - 2) // 5]
    assert {1, 2, 3, 4} - lost <= set(ids(events))
    assert any(isinstance(event, UnreadableRow) and event.table is None for event in events)
    assert (target.file, target.pos) == ("binlog.000001", log.pos)


def test_a_row_that_does_not_fill_its_event_is_skipped_and_its_transaction_read_on() -> None:
    log = Log()
    log.file()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    position = ("binlog.000001", log.pos)
    log.insert(2, b"\0" + (2).to_bytes(8, "little"))
    log.users(3)
    log.xid()
    events, positions, _ = read_on(log, singles=True)
    assert ids(events) == [1, 3]
    unread = [event for event in events if isinstance(event, UnreadableRow)]
    assert positions in ([position], [(position[0], unread[0].pos)])
    assert [(event.table, event.row) for event in unread] == [(None, 0)]
    assert "is skipped" in unread[0].reason


@pytest.mark.parametrize("singles", [True, False])
def test_a_table_that_cannot_be_judged_by_is_unreadable_until_its_shape_changes(singles: bool) -> None:
    log = Log()
    log.file()
    row = b"\0" + (10).to_bytes(8, "little") + (1).to_bytes(8, "little")
    for number in (1, 2):
        log.gtid(number)
        log.query("BEGIN")
        log.table_map(CLAIMS, table="claims", table_id=71)
        log.insert(2, row, table_id=71)
        log.xid()
    log.gtid(3)
    log.query("BEGIN")
    log.table_map([*CLAIMS, STATUS], table="claims", table_id=72)
    log.insert(3, row + b"\4open", table_id=72)
    log.xid()
    events, positions, _ = read_on(log, singles=singles, strict=True)
    assert len(positions) == 1, "one option is enough for all rows of this shape"
    unread = [event for event in events if isinstance(event, UnreadableRow)]
    assert [event.table for event in unread] == [None, "claims", "claims"]
    assert all("no column" in event.reason for event in unread)
    assert any(getattr(event, "after_id", None) == 10 for event in events if not isinstance(event, UnreadableRow))


def test_an_event_that_stands_alone_gets_a_transaction_of_its_own() -> None:
    log = history(checksums=False)
    position = ("binlog.000001", log.pos)
    log.add(99, b"xyz")
    log.transaction(4, 5)
    events, positions, _ = read_on(log, singles=False)
    assert positions == [position]
    at = next(n for n, event in enumerate(events) if isinstance(event, UnreadableRow))
    begin, unread, commit = events[at - 1 : at + 2]
    assert isinstance(begin, Begin)
    assert isinstance(unread, UnreadableRow)
    assert isinstance(commit, Commit)
    assert (begin.pos, begin.ts_us) == (position[1], 1_700_000_000_000_000)
    assert ids(events) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("damage", ["frame", "size", "row"])
def test_what_is_damaged_inside_a_compressed_transaction_is_skipped(damage: str) -> None:
    inside = Log()
    inside.pos = 0
    inside.query("BEGIN")
    inside.users(2)
    inside.users(3)
    inside.xid()
    parts = [packet[5:] for packet in inside.packets]
    if damage == "size":
        parts[2] = parts[2][:9] + bytes(4) + parts[2][13:]
    elif damage == "row":
        parts[2] = parts[2][:-1]
        parts[2] = parts[2][:9] + len(parts[2]).to_bytes(4, "little") + parts[2][13:]
    body = payload(b"".join(parts))
    if damage == "frame":
        body = body[:-6] + bytes((body[-6] ^ 0xFF,)) + body[-5:]
    log = Log()
    log.file()
    log.transaction(1, 1)
    log.gtid(2)
    position = ("binlog.000001", log.pos)
    log.add(EventType.TRANSACTION_PAYLOAD, body)
    log.transaction(3, 4)
    events, positions, target = read_on(log, singles=True)
    assert positions == [position]
    assert any(isinstance(event, UnreadableRow) and event.pos == position[1] for event in events)
    assert (target.file, target.pos) == ("binlog.000001", log.pos)
    read = {getattr(event, "after_id", None) for event in events}
    assert {1, 4} <= read
    assert damage != "row" or 3 in read


def test_a_large_event_with_a_wrong_checksum_is_skipped() -> None:
    log = Log(checksums=True)
    log.file()
    log.gtid(1)
    log.query("BEGIN")
    event = log.event(EventType.WRITE_ROWS, b"x" * 50)
    position = ("binlog.000001", log.pos - len(event))
    damaged = event[:-1] + bytes((event[-1] ^ 1,))
    for skipped in ([], [position]):
        target = decoder(skipped=skipped)
        events: list[Event] = []
        target.decode(log.data, events)
        if not skipped:
            with pytest.raises(SourceError, match="its checksum is wrong"):
                target.decode_event(damaged, events)
            continue
        target.decode_event(damaged, events)
        assert [type(event) for event in events] == [Begin, UnreadableRow]


@pytest.mark.parametrize("piecewise", [True, False])
@pytest.mark.parametrize("damaged", ["xid", "table map"])
def test_rows_before_an_event_that_is_skipped_stay(damaged: str, piecewise: bool) -> None:
    log = Log(checksums=True)
    log.file()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1, 2)
    if damaged == "table map":
        log.table_map(CLAIMS, table="claims", table_id=71)
    else:
        log.xid()
    log.packets[-1] = log.packets[-1][:-1] + bytes((log.packets[-1][-1] ^ 1,))
    position = ("binlog.000001", log.pos - (len(log.packets[-1]) - 5))
    target = decoder(skipped=[position])
    events: list[Event] = []
    for data in log.packets if piecewise else [log.data]:
        assert target.decode(data, events) == len(data)
    assert ids(events) == [1, 2]


@pytest.mark.parametrize("ends", [True, False])
def test_a_statement_that_is_skipped_ends_its_transaction_only_where_nothing_else_does(ends: bool) -> None:
    log = Log()
    log.file()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    position = ("binlog.000001", log.pos)
    log.query("ROLLBACK TO SAVEPOINT `nobody set it`")
    log.users(2)
    if ends:
        log.xid()
    log.transaction(2, 3)
    events, positions, target = read_on(log, singles=False)
    assert positions == [position]
    assert ids(events) == [1, 2, 3]
    assert [type(event) for event in events if isinstance(event, Begin | Commit)] == [Begin, Commit] * 2
    assert target.gtid_set().endswith(":1-2") or target.gtid_set() == ""


def test_another_decoder_knows_what_table_is_skipped() -> None:
    log = Log()
    log.file()
    row = b"\0" + (10).to_bytes(8, "little") + (1).to_bytes(8, "little")
    positions = []
    for number in (1, 2):
        log.gtid(number)
        log.query("BEGIN")
        positions.append(("binlog.000001", log.pos))
        log.table_map(CLAIMS, table="claims", table_id=71)
        log.insert(2, row, table_id=71)
        log.xid()
    uncaptured: dict[bytes, str] = {}
    decoded(log, decoder(strict=True, skipped=positions[:1], uncaptured=uncaptured))
    events = decoded(log, decoder(strict=True, uncaptured=uncaptured))
    assert [event.table for event in events if isinstance(event, UnreadableRow)] == ["claims", "claims"]


def test_images_without_any_column_are_no_endless_rows() -> None:
    log = Log()
    log.file()
    log.gtid(1)
    log.query("BEGIN")
    log.table_map([Shape("id", ColumnType.LONG)])
    position = ("binlog.000001", log.pos)
    log.add(EventType.WRITE_ROWS, (70).to_bytes(6, "little") + b"\1\0\2\0\1\0" + b"rest")
    log.xid()
    with pytest.raises(SourceError, match="is missing from a row image") as caught:
        decoded(log, decoder())
    assert caught.value.position == position


def test_a_statement_that_was_skipped_ends_no_later_transaction() -> None:
    log = Log()
    log.file()
    log.gtid(1)
    log.query("BEGIN")
    log.users(1)
    log.query("ROLLBACK TO SAVEPOINT `nobody set it`")
    log.users(2)
    log.xid()
    log.gtid(2)
    log.query("BEGIN")
    log.users(3)
    log.transaction(3, 4)
    events, _, target = read_on(log, singles=False)
    ends = [type(event) for event in events if isinstance(event, Begin | Commit | Rollback)]
    assert ends == [Begin, Commit, Begin, Rollback, Begin, Commit]
    assert not target.gtid_set().endswith(":1-3")
