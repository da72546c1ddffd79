"""Binlogs of MySQL 8.0 and 8.4, built byte by byte as the sources of these servers write them.

Neither could be had as a server where this was written (docs/reference/versions.md), so what they write otherwise than
MySQL 9.7, which the integration tests read for real, stands here. Docstrings name the source as 8.0 has it; in 8.4
`libbinlogevents/include` and `libbinlogevents/src` are `libs/mysql/binlog/event`.
"""

from __future__ import annotations

import json
import zlib
from typing import Final, NamedTuple

import pytest
import zstandard

from consumer.binlog.constants import EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import Begin, Commit, Event, Heartbeat, RowChange, UnreadableRow
from consumer.binlog.table_map import parse
from tests.unit.binlog.wirebuild import DATABASE, SOURCE, Log, decoded, decoder, packed

COMMITTED: Final = 1_700_000_000_123_456
ORIGINALLY: Final = 1_699_999_999_000_001
TABLE: Final = 0x5B


class Server(NamedTuple):
    """What a version writes of itself."""

    version: str
    number: int
    """As its GTID events have it; 0 where they have none (before 8.0.14)."""
    lengths: bytes
    """Of the post-headers of every kind of event that it knows, by their codes from 1 on."""


_UNTIL_39: Final = (
    "00 0d 00 08 00 00 00 00 04 00 04 00 00 00 {own} 00 04 1a 08 00 00 00 {v1} {v1} {v1} 02 00 00 00"
    " 0a 0a 0a 2a 2a 00 12 34 00 0a"
)
SERVERS: Final = (
    Server("8.0.13", 0, bytes.fromhex(_UNTIL_39.format(own="60", v1="08"))),
    Server("8.0.19", 80019, bytes.fromhex(_UNTIL_39.format(own="60", v1="08"))),
    Server("8.0.39", 80039, bytes.fromhex(_UNTIL_39.format(own="62", v1="08") + "28 00")),
    Server("8.4.0", 80400, bytes.fromhex(_UNTIL_39.format(own="63", v1="00") + "28 00 00")),
)
each_server = pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.version)
both_checksums = pytest.mark.parametrize("checksums", [True, False], ids=["crc32", "none"])


def new_log(server: Server, *, checksums: bool = True) -> Log:
    """A file's first two events, as a server sends them."""
    log = Log(checksums=checksums)
    log.add(EventType.ROTATE, (4).to_bytes(8, "little") + b"binlog.000001", flags=0x20, artificial=True)
    log.add(EventType.FORMAT_DESCRIPTION, format_description(server, checksums=checksums))
    return log


def format_description(server: Server, *, checksums: bool) -> bytes:
    """Binlog version, server version, creation, length of headers and post-headers, checksum algorithm.

    Source: `Format_description_event` in `libbinlogevents/src/control_events.cpp`, whose table of lengths is given here
    in bytes (version 2 of heartbeats since 8.0.26, compressed payloads since 8.0.20, tagged GTIDs and no rows events of
    version 1 in 8.4), and `Format_description_log_event::write` in `sql/log_event.cc`: there is room for a checksum
    where the file has none.
    """
    body = b"\4\0" + server.version.encode().ljust(50, b"\0") + bytes(4) + b"\x13" + server.lengths
    return body + (b"\1" if checksums else b"\0" + bytes(4))


def gtid(server: Server, number: int, *, original: int = COMMITTED, length: int = 300) -> bytes:
    """Flags, source, number, logical clock, times of commit, length of the transaction, versions of servers.

    Source: `Gtid_event` in `libbinlogevents/src/control_events.cpp`: the time on the original source follows where the
    highest of 56 bits is set, and likewise its version, where the highest of 32 is.
    """
    body = b"\0" + SOURCE.bytes + number.to_bytes(8, "little")
    body += b"\2" + (number - 1).to_bytes(8, "little") + number.to_bytes(8, "little")
    if original == COMMITTED:
        body += COMMITTED.to_bytes(7, "little")
    else:
        body += (COMMITTED | 1 << 55).to_bytes(7, "little") + original.to_bytes(7, "little")
    body += b"\xfc" + length.to_bytes(2, "little")
    if not server.number:
        return body
    if original == COMMITTED:
        return body + server.number.to_bytes(4, "little")
    return body + (server.number | 1 << 31).to_bytes(4, "little") + (50744).to_bytes(4, "little")


def begin(server: Server) -> bytes:
    """BEGIN as a client's session logs it: thread, seconds, length of the database's name, error, status variables.

    Source: `Query_log_event::write` in `sql/log_event.cc`, codes in `libbinlogevents/include/statement_events.h`: here
    flags2 (0), sql_mode (1), catalog (6), charset (4), default collation of utf8mb4 (18).
    """
    status = b"\0" + bytes(4) + b"\1" + (0x40A00020).to_bytes(8, "little") + b"\x06\x03std"
    status += (
        b"\4" + (255).to_bytes(2, "little") * 2 + (255).to_bytes(2, "little") + b"\x12" + (255).to_bytes(2, "little")
    )
    head = (9).to_bytes(4, "little") + bytes(4) + bytes((len(DATABASE),)) + bytes(2) + len(status).to_bytes(2, "little")
    return head + status + DATABASE.encode() + b"\0BEGIN"


def claims(*, full: bool = True, visibility: bool = True) -> bytes:
    """The table map of `claims (id BIGINT UNSIGNED PRIMARY KEY, year YEAR, user_id INT UNSIGNED, status VARCHAR(20),
    kind ENUM('a','b'), price DECIMAL(5,2), document JSON, hidden INT INVISIBLE)`.

    Source: `Table_map_log_event::init_metadata_fields` and the fields that it calls for in `sql/log_event.cc`, in that
    order; YEAR has a bit of signedness (`has_signedess_information_type` in `sql/field_common_properties.h`). MINIMAL
    metadata end with the charset; which columns are visible is told since 8.0.23.
    """
    types = bytes((8, 13, 3, 15, 254, 246, 245, 3))
    metadata = (80).to_bytes(2, "little") + b"\xf7\x01" + b"\5\2" + b"\4"
    body = TABLE.to_bytes(6, "little") + b"\1\0" + packed(DATABASE.encode()) + b"\0" + packed(b"claims") + b"\0"
    body += bytes((len(types),)) + types + packed(metadata) + b"\xfe"
    body += b"\1\1" + bytes((0b11100000,))  # SIGNEDNESS of id, year, user_id, price, hidden
    body += b"\2" + packed(b"\xfc\xff\0")  # DEFAULT_CHARSET utf8mb4_0900_ai_ci
    if not full:
        return body
    names = (b"id", b"year", b"user_id", b"status", b"kind", b"price", b"document", b"hidden")
    body += b"\4" + packed(b"".join(map(packed, names)))
    body += b"\x0a" + packed(b"\xfc\xff\0")  # ENUM_AND_SET_DEFAULT_CHARSET
    body += b"\6" + packed(b"\2" + packed(b"a") + packed(b"b"))  # ENUM_STR_VALUE
    body += b"\x08" + packed(b"\0")  # SIMPLE_PRIMARY_KEY
    return body + (b"\x0c" + packed(bytes((0b11111110,))) if visibility else b"")


def image(id_: int, user: int, status: bytes, *, document: bytes | None = b"\0\0\0\0\0") -> bytes:
    """A row with every column; a JSON value is a length of four bytes and what it says (here an empty object)."""
    nulls = b"\x80" if document is not None else b"\xc0"
    price = b"\x80\x7b\x2d"  # 123.45
    body = nulls + id_.to_bytes(8, "little") + b"\x7d" + user.to_bytes(4, "little") + packed(status) + b"\1" + price
    return body + (len(document).to_bytes(4, "little") + document if document is not None else b"")


def rows(images: bytes, *, extra: bytes | None = b"", update: bool = False, columns: int = 8) -> bytes:
    """Table, flags, length of the extra data with itself (None: an event of version 1, which has none), columns.

    Source: `Rows_log_event::write_data_header` and `write_data_body` in `sql/log_event.cc`.
    """
    head = TABLE.to_bytes(6, "little") + b"\1\0"
    if extra is not None:
        head += (2 + len(extra)).to_bytes(2, "little") + extra
    return head + bytes((columns,)) + b"\xff" * (2 if update else 1) + images


def transaction(
    log: Log, server: Server, number: int, kind: EventType, body: bytes, table: bytes | None = None
) -> None:
    """A whole transaction of one rows event."""
    log.add(EventType.GTID, gtid(server, number))
    log.add(EventType.QUERY, begin(server), flags=8)
    log.add(EventType.TABLE_MAP, claims() if table is None else table)
    log.add(kind, body)
    log.add(EventType.XID, (number).to_bytes(8, "little"))


def changes(events: list[Event]) -> list[RowChange]:
    return [event for event in events if isinstance(event, RowChange)]


@pytest.mark.parametrize(("server", "end"), list(zip(SERVERS, (124, 124, 126, 127), strict=True)))
@both_checksums
def test_a_format_description_ends_where_the_first_event_of_such_a_file_is_known_to_start(
    server: Server, end: int, checksums: bool
) -> None:
    assert new_log(server, checksums=checksums).pos == end


@each_server
@both_checksums
def test_a_transaction_is_read(server: Server, checksums: bool) -> None:
    log = new_log(server, checksums=checksums)
    start = log.pos
    transaction(log, server, 7, EventType.WRITE_ROWS, rows(image(2**63, 2**32 - 1, b"open")))
    first, change, last = decoded(log)
    assert first == Begin(f"{SOURCE}:7", 1, "binlog.000001", start, COMMITTED, COMMITTED)
    assert isinstance(change, RowChange)
    assert json.loads(change.after or "") == {"id": 2**63, "user_id": 2**32 - 1, "status": "open"}
    assert last == Commit("binlog.000001", log.pos)


@each_server
def test_a_transaction_of_another_server_has_the_time_of_its_commit_there(server: Server) -> None:
    log = new_log(server)
    log.add(EventType.GTID, gtid(server, 3, original=ORIGINALLY))
    log.add(EventType.QUERY, begin(server), flags=8)
    log.add(EventType.TABLE_MAP, claims())
    log.add(EventType.WRITE_ROWS, rows(image(1, 2, b"open")))
    log.add(EventType.XID, bytes(8))
    first = decoded(log)[0]
    assert isinstance(first, Begin)
    assert (first.ts_us, first.applied_us) == (ORIGINALLY, COMMITTED)


@each_server
def test_a_changed_bit_is_found_by_the_checksum(server: Server) -> None:
    """Source: `Log_event::write_footer` in `sql/log_event.cc`: a CRC32 of header and body."""
    log = new_log(server)
    transaction(log, server, 1, EventType.WRITE_ROWS, rows(image(1, 2, b"open")))
    event = log.packets[-2][5:]
    assert zlib.crc32(event[:-4]) == int.from_bytes(event[-4:], "little")
    broken = bytearray(log.packets[-2])
    broken[-10] ^= 1
    log.packets[-2] = bytes(broken)
    with pytest.raises(Exception, match="checksum"):
        decoder().decode(log.data, [])


@pytest.mark.parametrize("visibility", [True, False], ids=["8.0.23 and later", "before 8.0.23"])
def test_a_table_map_is_read_with_and_without_the_columns_visibility(visibility: bool) -> None:
    body = claims(visibility=visibility)
    read = parse(body[8:], mariadb=False)
    assert read.columns is not None
    assert [(column.name, column.unsigned) for column in read.columns] == [
        ("id", True), ("year", True), ("user_id", True), ("status", False), ("kind", False), ("price", False),
        ("document", False), ("hidden", False),
    ]  # fmt: skip
    assert [column.collation for column in read.columns] == [0, 0, 0, 255, 255, 0, 0, 0]
    assert read.columns[4].members == (b"a", b"b")
    assert read.primary_key == (0,)
    log = new_log(SERVERS[1])
    transaction(log, SERVERS[1], 1, EventType.WRITE_ROWS, rows(image(1, 2, b"open")), body)
    assert [change.after_id for change in changes(decoded(log))] == [1]


@each_server
def test_minimal_metadata_name_no_columns_and_how_to_change_it(server: Server) -> None:
    """`binlog_row_metadata` is MINIMAL unless somebody set it: `sql/sys_vars.cc`."""
    log = new_log(server)
    transaction(log, server, 1, EventType.WRITE_ROWS, rows(image(1, 2, b"open")), claims(full=False))
    assert parse(claims(full=False)[8:], mariadb=False).columns is None
    _, row, _ = decoded(log)
    assert isinstance(row, UnreadableRow)
    assert "binlog_row_metadata = 'FULL'" in row.reason


@pytest.mark.parametrize("server", SERVERS[:3], ids=lambda server: server.version)
def test_rows_of_version_1_are_read(server: Server) -> None:
    """`log_bin_use_v1_row_events`, which is gone in 8.4: `Rows_log_event::write_data_header` in `sql/log_event.cc`."""
    log = new_log(server)
    transaction(log, server, 1, EventType.WRITE_ROWS_V1, rows(image(1, 2, b"open"), extra=None))
    two = image(1, 2, b"open") + image(1, 3, b"won")
    transaction(log, server, 2, EventType.UPDATE_ROWS_V1, rows(two, extra=None, update=True))
    transaction(log, server, 3, EventType.DELETE_ROWS_V1, rows(image(1, 3, b"won"), extra=None))
    assert [(change.op, change.before_ref, change.after_ref) for change in changes(decoded(log))] == [
        ("c", None, 2), ("u", 2, 3), ("d", 3, None),
    ]  # fmt: skip


@each_server
def test_the_partition_of_a_row_is_stepped_over(server: Server) -> None:
    """Since 8.0.16 rows events of partitioned tables tell the partition, and updates that of the old row as well.

    Source: `Rows_log_event::write_data_header` in `sql/log_event.cc`, `enum_extra_row_info_typecode` in
    `libbinlogevents/include/rows_event.h` (PART is 1).
    """
    log = new_log(server)
    partition, source = b"\1\5\0", b"\2\0"
    two = image(1, 2, b"open") + image(1, 3, b"won")
    transaction(log, server, 1, EventType.WRITE_ROWS, rows(image(1, 2, b"open"), extra=partition))
    transaction(log, server, 2, EventType.UPDATE_ROWS, rows(two, extra=partition + source, update=True))
    transaction(log, server, 3, EventType.DELETE_ROWS, rows(image(1, 3, b"won"), extra=partition))
    assert [(change.op, change.before_ref, change.after_ref) for change in changes(decoded(log))] == [
        ("c", None, 2), ("u", 2, 3), ("d", 3, None),
    ]  # fmt: skip


@each_server
@pytest.mark.parametrize("partial", [True, False], ids=["a diff", "a whole value"])
def test_updates_of_parts_of_a_json_value_are_read_but_for_that_value(server: Server, partial: bool) -> None:
    """`binlog_row_value_options = PARTIAL_JSON`: options, and a bit for each JSON column, before the image after.

    Source: `pack_row` in `sql/rpl_record.cc`; a diff is an operation, a path and a value, `sql-common/json_diff.h`.
    """
    log = new_log(server)
    diff = b"\0" + packed(b"$.a") + packed(b"\5\2\0")
    after = image(1, 3, b"won", document=diff if partial else b"\0\0\0\4\0")
    options = b"\1" + bytes((1 if partial else 0,)) if partial else b"\0"
    body = rows(image(1, 2, b"open") + options + after, update=True)
    transaction(log, server, 1, EventType.PARTIAL_UPDATE_ROWS, body)
    (change,) = changes(decoded(log))
    assert json.loads(change.after or "") == {"id": 1, "user_id": 3, "status": "won"}
    assert (change.before_ref, change.after_ref) == (2, 3)


@pytest.mark.parametrize("server", SERVERS[2:], ids=lambda server: server.version)
@pytest.mark.parametrize("compressed", [True, False], ids=["zstd", "none"])
def test_the_payload_of_a_transaction_is_read(server: Server, compressed: bool) -> None:
    """`binlog_transaction_compression`, since 8.0.20: type, length and value of three fields, a 0, then the events.

    Source: `Transaction_payload::encode` in `libbinlogevents/src/codecs/binary.cpp`; numbers are packed. Events inside
    have no checksums of their own, though the file has.
    """
    log = new_log(server)
    log.add(EventType.GTID, gtid(server, 4))
    inner = Log(log.pos, checksums=False)
    parts = (
        inner.event(EventType.QUERY, begin(server), flags=8),
        inner.event(EventType.TABLE_MAP, claims()),
        inner.event(EventType.WRITE_ROWS, rows(image(1, 2, b"open") + image(2, 2, b"won", document=None))),
        inner.event(EventType.XID, bytes(8)),
    )
    content = b"".join(parts)
    data = zstandard.ZstdCompressor(level=3).compress(content) if compressed else content
    fields = ((2, 0 if compressed else 255), *(((3, len(content)),) if compressed else ()), (1, len(data)))
    log.add(
        EventType.TRANSACTION_PAYLOAD, b"".join(bytes((kind,)) + packed_number(n) for kind, n in fields) + b"\0" + data
    )
    events = decoded(log)
    assert [change.after_id for change in changes(events)] == [1, 2]
    assert events[-1] == Commit("binlog.000001", log.pos)


def packed_number(number: int) -> bytes:
    """Length and value of a field: `net_length_size` and `net_store_length` in `mysys/pack.cc`."""
    if number < 251:
        return packed(bytes((number,)))
    return packed(b"\xfc" + number.to_bytes(2, "little"))


def test_a_tagged_gtid_of_8_4_is_read() -> None:
    """MySQL's own serialization, since 8.3: version, size, last field that must be known, then the fields by their ids.

    Source: `Gtid_event::define_fields` in `libs/mysql/binlog/event/control_events.h` (8.4) and
    `libs/mysql/serialization/variable_length_integers.h`: an integer's first byte has as many 1 bits, from the lowest,
    as bytes follow; the number of a GTID has its sign in the lowest bit.
    """
    log = new_log(SERVERS[3])
    tag = b"leads"
    fields = b"\0" + integer(0)  # flags
    fields += integer(1) + b"".join(map(integer, SOURCE.bytes))
    fields += integer(2) + integer(9 << 1)
    fields += integer(3) + integer(len(tag)) + tag
    fields += integer(4) + integer(8 << 1) + integer(5) + integer(9 << 1)  # logical clock
    fields += integer(6) + integer(COMMITTED)
    body = integer(1) + integer(len(fields)) + integer(0) + fields
    log.add(EventType.GTID_TAGGED, body)
    log.add(EventType.QUERY, begin(SERVERS[3]), flags=8)
    log.add(EventType.TABLE_MAP, claims())
    log.add(EventType.WRITE_ROWS, rows(image(1, 2, b"open")))
    log.add(EventType.XID, bytes(8))
    first = decoded(log)[0]
    assert isinstance(first, Begin)
    assert (first.gtid, first.ts_us) == (f"{SOURCE}:leads:9", COMMITTED)


def integer(number: int) -> bytes:
    """An unsigned integer in MySQL's serialization."""
    more = max(0, (number.bit_length() - 1) // 7)
    if more > 7:
        return b"\xff" + number.to_bytes(8, "little")
    return (number << more + 1 | (1 << more) - 1).to_bytes(more + 1, "little")


@each_server
def test_the_gtids_before_a_file_and_a_heartbeat_move_the_position(server: Server) -> None:
    """Sources without tags and their intervals, ends exclusive: `Gtid_set::encode` in `sql/rpl_gtid_set.cc`.

    Heartbeats that were not asked for in version 2 name the file; where it stands is in the header
    (`Heartbeat_event` in `libbinlogevents/src/control_events.cpp`).
    """
    log = new_log(server)
    intervals = b"".join(number.to_bytes(8, "little") for number in (1, 1, 7))
    log.add(EventType.PREVIOUS_GTIDS, (1).to_bytes(8, "little") + SOURCE.bytes + intervals)
    transaction(log, server, 7, EventType.WRITE_ROWS, rows(image(1, 2, b"open")))
    end = log.pos
    beat = Log(end, checksums=True)
    event = bytearray(beat.event(EventType.HEARTBEAT, b"binlog.000001", artificial=True))
    event[13:17] = end.to_bytes(4, "little")
    event[-4:] = zlib.crc32(event[:-4]).to_bytes(4, "little")
    log.packets.append((len(event) + 1).to_bytes(3, "little") + b"\0\0" + bytes(event))
    target = decoder()
    events = decoded(log, target)
    assert events[-1] == Heartbeat("binlog.000001", end)
    assert target.gtid_set() == f"{SOURCE}:1-7"


@pytest.mark.parametrize("algorithm", [2, 255])
def test_a_checksum_algorithm_that_none_of_them_has_is_refused(algorithm: int) -> None:
    """NONE is 0 and CRC32 is 1: `enum_binlog_checksum_alg` in `libbinlogevents/include/binlog_event.h`."""
    log = Log()
    log.add(EventType.ROTATE, (4).to_bytes(8, "little") + b"binlog.000001", flags=0x20, artificial=True)
    body = format_description(SERVERS[2], checksums=False)
    log.add(EventType.FORMAT_DESCRIPTION, body[:-5] + bytes((algorithm,)) + bytes(4))
    with pytest.raises(UndecodableEvent, match=f"checksum {algorithm}"):
        decoded(log, decoder())
