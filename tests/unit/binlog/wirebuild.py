"""Binlog events and packets written by hand, for what servers log too rarely to be provoked."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import zstandard

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.events import Event
from consumer.binlog.position import Position
from consumer.binlog.statements import Scope
from consumer.capture import CAPTURED
from tests.spelled_out import spelled_out

DATABASE = "shop"
SOURCE = UUID("11111111-2222-3333-4444-555555555555")
CHARSETS = {8: "latin1", 33: "utf8mb3", 45: "utf8mb4", 46: "utf8mb4", 54: "utf16", 63: "binary", 255: "utf8mb4"}
SCOPE = Scope(DATABASE, frozenset(CAPTURED), fold=False)
FIRST = Position("", "binlog.000001", 4)


def decoder(
    *,
    mariadb: bool = False,
    start: Position = FIRST,
    scope: Scope = SCOPE,
    singles: bool = False,
    strict: bool = False,
    skipped: Collection[tuple[str, int]] = (),
    uncaptured: dict[bytes, str] | None = None,
) -> BinlogDecoder:
    """A decoder for the database `shop`."""
    return BinlogDecoder(
        scope,
        start,
        mariadb=mariadb,
        charsets=CHARSETS,
        singles=singles,
        strict=strict,
        skipped=skipped,
        uncaptured=uncaptured,
    )


class Log:
    """A binlog file in the making: each event is a packet; `pos` is where the next one starts."""

    def __init__(self, pos: int = 4, *, checksums: bool = False) -> None:
        self.pos = pos
        self.checksums = checksums
        self.told = True
        """Whether events say where they end; those of MariaDB 11.4 and later do not inside a transaction."""
        self.packets: list[bytes] = []

    def add(self, kind: int, body: bytes, *, flags: int = 0, artificial: bool = False, server_id: int = 1) -> None:
        """One event."""
        event = self.event(kind, body, flags=flags, artificial=artificial, server_id=server_id)
        number = len(self.packets) & 0xFF
        self.packets.append((len(event) + 1).to_bytes(3, "little") + bytes((number, 0)) + event)

    def event(self, kind: int, body: bytes, *, flags: int = 0, artificial: bool = False, server_id: int = 1) -> bytes:
        """An event's bytes, header first."""
        size = 19 + len(body) + (4 if self.checksums else 0)
        if not artificial:
            self.pos += size
        position = self.pos & 0xFFFFFFFF if self.told and not artificial else 0
        head = (1_700_000_000).to_bytes(4, "little") + bytes((kind,)) + server_id.to_bytes(4, "little")
        head += size.to_bytes(4, "little") + position.to_bytes(4, "little") + flags.to_bytes(2, "little")
        event = head + body
        return event + zlib.crc32(event).to_bytes(4, "little") if self.checksums else event

    def file(self, name: str = "binlog.000001") -> None:
        """What a server sends first: the file's name and its format."""
        self.add(EventType.ROTATE, (4).to_bytes(8, "little") + name.encode(), flags=0x20, artificial=True)
        self.format()

    def format(self) -> None:
        """The format description, whose own last four bytes are always a checksum's place."""
        algorithm = 1 if self.checksums else 0
        body = (4).to_bytes(2, "little") + b"9.7".ljust(50, b"\0") + bytes(4) + bytes((19,)) + bytes(41)
        body += bytes((algorithm,))
        self.add(EventType.FORMAT_DESCRIPTION, body if self.checksums else body + bytes(4))

    def gtid(
        self,
        number: int,
        *,
        source: UUID = SOURCE,
        ts_us: int = 1_700_000_000_000_000,
        original_us: int | None = None,
        kind: EventType = EventType.GTID,
    ) -> None:
        """MySQL's start of a transaction, as a replica writes it where the time of the original commit is given."""
        body = b"\0" + source.bytes + number.to_bytes(8, "little") + b"\x02" + bytes(16)
        if original_us is None:
            body += ts_us.to_bytes(7, "little") + b"\x05" + (90700).to_bytes(4, "little")
        else:
            body += (ts_us | 1 << 55).to_bytes(7, "little") + original_us.to_bytes(7, "little")
            body += b"\x05" + (90700 | 1 << 31).to_bytes(4, "little") + (90700).to_bytes(4, "little")
        self.add(kind, body)

    def mariadb_gtid(self, number: int, *, domain: int = 0, flags: int = 0, server_id: int = 1) -> None:
        """MariaDB's start of a transaction."""
        body = number.to_bytes(8, "little") + domain.to_bytes(4, "little") + bytes((flags,)) + bytes(6)
        self.add(EventType.MARIADB_GTID, body, server_id=server_id)

    def query(self, sql: str, database: str = DATABASE) -> None:
        """A statement."""
        name = database.encode()
        body = bytes(8) + bytes((len(name),)) + bytes(4) + name + b"\0" + sql.encode()
        self.add(EventType.QUERY, body)

    def table_map(self, columns: list[Shape], *, table: str = "users", table_id: int = 70) -> None:
        """A table map with FULL metadata."""
        self.add(EventType.TABLE_MAP, table_map(columns, table=table, table_id=table_id))

    def insert(self, columns: int, rows: bytes, *, table_id: int = 70) -> None:
        """Rows, every column present."""
        present = ((1 << columns) - 1).to_bytes((columns + 7) // 8, "little")
        head = table_id.to_bytes(6, "little") + b"\1\0\2\0" + bytes((columns,)) + present
        self.add(EventType.WRITE_ROWS, head + rows)

    def xid(self) -> None:
        """A commit."""
        self.add(EventType.XID, bytes(8))

    def users(self, *ids: int) -> None:
        """A table map of `users (id INT)` and an insert of these."""
        self.table_map([Shape("id", ColumnType.LONG)])
        self.insert(1, b"".join(b"\0" + id_.to_bytes(4, "little") for id_ in ids))

    def transaction(self, number: int, *ids: int) -> None:
        """A whole transaction that inserts users."""
        self.gtid(number)
        self.query("BEGIN")
        self.users(*ids)
        self.xid()

    @property
    def data(self) -> bytes:
        """All packets."""
        return b"".join(self.packets)


class Shape(NamedTuple):
    """A column of a table map."""

    name: str
    type: ColumnType
    metadata: bytes = b""
    collation: int = 0
    unsigned: bool = False


def packed(data: bytes) -> bytes:
    """A string with its length."""
    return bytes((len(data),)) + data


def table_map(columns: list[Shape], *, table: str = "users", table_id: int = 70, database: str = DATABASE) -> bytes:
    """The body of a table map."""
    metadata = b"".join(column.metadata for column in columns)
    body = table_id.to_bytes(6, "little") + b"\1\0" + packed(database.encode()) + b"\0" + packed(table.encode()) + b"\0"
    body += bytes((len(columns),)) + bytes(column.type for column in columns) + packed(metadata)
    body += bytes((len(columns) + 7) // 8)
    numeric = [column for column in columns if column.type in range(1, 14) and column.type not in (6, 7, 10, 11, 12)]
    signs = sum(0x80 >> n % 8 << 8 * (n // 8) for n, column in enumerate(numeric) if column.unsigned)
    if numeric:
        body += b"\1" + packed(signs.to_bytes((len(numeric) + 7) // 8, "little"))
    texts = [column.collation for column in columns if column.collation]
    if texts:
        body += b"\3" + packed(bytes(n if n < 251 else 255 for n in texts).replace(b"\xff", b"\xfc\xff\0"))
    return body + b"\4" + packed(b"".join(packed(column.name.encode()) for column in columns))


def decoded(log: Log, target: BinlogDecoder | None = None) -> list[Event]:
    """Everything that a log says; without a decoder of the caller's, read at one stroke and event by event alike."""
    if target is None:
        target = decoder()
        assert spelled_out(decoded(log, decoder(singles=True))) == decoded(log, decoder())
    events: list[Event] = []
    data = log.data
    used = target.decode(data, events)
    while target.has_payload:
        target.decode_payload(events)
        if not target.has_payload:
            used += target.decode(data[used:], events)
    assert used == len(data)
    return events


def payload(content: bytes, *, compression: int = 0, length: int | None = None) -> bytes:
    """The body of a TRANSACTION_PAYLOAD event; `length` is what it says of its content, `compression` 255 none."""
    compressed = content if compression == 255 else zstandard.ZstdCompressor().compress(content)
    length = len(content) if length is None else length
    fields = b""
    for kind, number in ((2, compression), (3, length), (1, len(compressed))):
        data = number.to_bytes(1, "little") if number < 251 else b"\xfe" + number.to_bytes(8, "little")
        fields += bytes((kind,)) + packed(data)
    return fields + b"\0" + compressed


class Recording(NamedTuple):
    """What a real server sent."""

    packets: bytes
    database: str
    start: Position
    mariadb: bool

    def decoder(self, *, singles: bool = True) -> BinlogDecoder:
        """A decoder at the start of the recording."""
        scope = Scope(self.database, frozenset(CAPTURED), fold=False)
        return BinlogDecoder(scope, self.start, mariadb=self.mariadb, charsets=CHARSETS, singles=singles)


def recording(name: str) -> Recording:
    """One of the recordings beside this file."""
    folder = Path(__file__).with_name("recorded")
    database, file, pos = (folder / f"{name}.start").read_text().split()
    packets = zlib.decompress((folder / f"{name}.packets.z").read_bytes())
    return Recording(packets, database, Position("", file, int(pos)), name == "mariadb")
