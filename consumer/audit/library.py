"""The binlog as the library mysql-replication reads it: no line of our own decoder has a part in it."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import pymysql
from pymysql.protocol import MysqlPacket
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.constants import FIELD_TYPE
from pymysqlreplication.event import (
    GtidEvent,
    MariadbGtidEvent,
    NotImplementedEvent,
    QueryEvent,
    RotateEvent,
    XAPrepareEvent,
    XidEvent,
)
from pymysqlreplication.exceptions import MalformedBinLogEvent, StatusVariableMismatch, TableMetadataUnavailableError
from pymysqlreplication.row_event import DeleteRowsEvent, PartialUpdateRowsEvent, UpdateRowsEvent, WriteRowsEvent

from consumer.audit.rows import UNREAD, FilePosition, Mark, Row, Spot, Value, Values, counted, order
from consumer.capture import CAPTURED
from consumer.mysql.errors import ConnectionLost, SourceError, named
from consumer.mysql.login import Session, tls_arguments
from consumer.settings import MySQLAddress, PasswordCommandFailed

_ROWS: Final = (WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent, PartialUpdateRowsEvent)
_EVENTS: Final = (
    *_ROWS, QueryEvent, GtidEvent, MariadbGtidEvent, XidEvent, XAPrepareEvent, RotateEvent, NotImplementedEvent
)  # fmt: skip

COMPRESSED: Final = "compressed"
"""Why an event is not read: what `mysqlbinlog` can be asked about."""
_PAYLOAD: Final = 40
_COMPRESSED_ROWS: Final = frozenset(range(166, 172))
_BEGINNINGS: Final = frozenset((34, 42))
"""Anonymous and tagged GTIDs, of which the library says the kind and nothing more: a transaction begins."""
_HARMLESS: Final = frozenset((5, 13, 14, 28, 29, 35, 36, 37, 41, 160, 161, 163, 164, 165))
"""Kinds without rows that the library does not know or that are left out here (mysql/binlog/event/binlog_event.h)."""
_KINDS_WITHOUT_ROWS: Final = _BEGINNINGS | _HARMLESS

_DAMAGE: Final = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, struct.error, RuntimeError,
    TableMetadataUnavailableError, MalformedBinLogEvent, StatusVariableMismatch,
)  # fmt: skip
"""What the library raises for bytes that it does not understand, subclasses (UnicodeDecodeError) included."""

_PREPARED_FLAG: Final = 64
"""FL_PREPARED_XA of MariaDB's GTID events (sql/log_event.h)."""
_XA: Final = re.compile(r"XA (START|END|PREPARE|COMMIT|ROLLBACK) (.*)", re.IGNORECASE | re.DOTALL)
_CONTROL: Final = re.compile(r"\s*(COMMIT|ROLLBACK|SAVEPOINT)\b(.*)", re.IGNORECASE | re.DOTALL)
_UNDO: Final = re.compile(r"\s*(?:WORK\s+)?TO\s+(?:SAVEPOINT\s+)?(.*)", re.IGNORECASE | re.DOTALL)
_STATEMENT: Final = re.compile(
    r"\s*(?:/\*.*?\*/\s*)*(INSERT|UPDATE|DELETE|REPLACE|LOAD|TRUNCATE|DROP|RENAME|ALTER|CREATE)\b",
    re.IGNORECASE | re.DOTALL,
)
_NAMED: Final = re.compile(rf"\b({'|'.join(CAPTURED)})\b", re.IGNORECASE)

PREPARED_BEFORE: Final = "XA transactions that were prepared before the stretch, or compressed"
"""Why the rows of an XA COMMIT are not read."""
MAX_PREPARED: Final = 100_000
"""Rows of XA transactions that are remembered until they are decided."""
MAX_UNREAD: Final = 200_000
"""Events that are remembered as unread."""


class Unreadable(Exception):
    """An event at which the library cannot go on; `position` is where the transaction begins that it failed in."""

    def __init__(self, message: str, position: tuple[str, int]) -> None:
        super().__init__(message)
        self.position = position


@dataclass
class Read:
    """What reading a stretch found besides rows."""

    unread: dict[tuple[str, int], str] = field(default_factory=dict)
    """Events that hold rows, perhaps of ours, which the library cannot read, and why."""
    transactions: dict[tuple[str, int], FilePosition] = field(default_factory=dict)
    """Where the transactions of these begin."""
    statements: Counter[str] = field(default_factory=Counter)
    """Statements that name a captured table: their rows are not in the binlog."""
    undecided: int = 0
    """Rows of XA transactions that are prepared and neither committed nor rolled back."""
    rolled_back: int = 0
    """Transactions that are in the binlog though they were rolled back: nothing says which of their rows stand."""


class Ends:
    """Where the last event ended that the server sent, those included that the library keeps to itself.

    Inside a transaction MariaDB logs no ends from 11.4 on (`binlog_legacy_event_pos` is OFF): they are counted.
    """

    def __init__(self, at: int) -> None:
        self.at = at

    def note(self, packet: bytes) -> None:
        """Takes up a packet: a 0 and an event, whose size and end stand in its header; or anything else."""
        size = int.from_bytes(packet[10:14], "little")
        if packet[:1] == b"\0" and size == len(packet) - 1:
            end = int.from_bytes(packet[14:18], "little")
            self.at = unwrapped(end, self.at) if end else self.at + size


def unwrapped(end: int, before: int) -> int:
    """An end, of which an event says 32 bits, behind where the event before it ended."""
    return end + max(0, (before - end + 2**31) // 2**32) * 2**32


class _Followed(Session):
    """The connection that events come from."""

    def __init__(self, ends: Ends, arguments: dict[str, Any]) -> None:
        self._ends = ends
        super().__init__(**arguments)

    def _read_packet(self, packet_type: Any = MysqlPacket) -> Any:
        packet = super()._read_packet(packet_type)  # type: ignore[no-untyped-call]
        self._ends.note(packet.get_all_data())
        return packet


def read(
    address: MySQLAddress,
    database: str,
    server_id: int,
    first: FilePosition,
    start: FilePosition,
    before: Callable[[FilePosition], bool],
    found: Read,
    begun: Callable[[FilePosition], None],
) -> Iterator[Row | Mark]:
    """The captured rows from `start` on, as long as what begins there is `before` the end, and which of them count.

    The binlog is read from `first` on, where a transaction begins, too: what is prepared there may be committed later.
    `begun` gets where each transaction begins. Raises Passing, LoginRefused, PreconditionFailed and Unreadable.
    """
    connections = 0
    ends = Ends(first[1])

    def connect(**arguments: Any) -> Any:
        nonlocal connections
        try:
            password = address.renewed_password()
        except PasswordCommandFailed as error:
            raise pymysql.err.OperationalError(2003, str(error)) from error
        if arguments.get("db") != "information_schema":
            connections += 1
            if connections > 1:  # it would go on amid a transaction, and pass over rows whose table it has not seen
                raise ConnectionLost(f"{address} ended the connection that the audit reads from; run it again")
            return _Followed(ends, {**arguments, "password": password})
        return Session(**{**arguments, "password": password})

    stream = BinLogStreamReader(
        connection_settings={
            "host": address.host,
            "port": address.port,
            "user": address.user,
            "charset": "utf8mb4",
            "connect_timeout": 10,
            "read_timeout": 60,
            **tls_arguments(address.options),
        },
        server_id=server_id,
        log_file=first[0],
        log_pos=first[1],
        resume_stream=True,
        only_schemas=[database],
        only_tables=list(CAPTURED),
        only_events=_EVENTS,
        filter_non_implemented_events=False,
        enable_logging=False,
        pymysql_wrapper=connect,
    )
    try:
        with closing(stream):
            yield from _Events(database, first, start, before, found, begun, ends).rows(stream)
    except (pymysql.err.MySQLError, OSError, EOFError) as error:
        raise named(error, address, "read the binlog of") from error


@dataclass
class _Events:
    """The events of one reading, in order; all but `_ends` is as in `read`."""

    _database: str
    _transaction: FilePosition
    _from: FilePosition
    _before: Callable[[FilePosition], bool]
    _wanted: Read
    _begun: Callable[[FilePosition], None]
    _ends: Ends

    def __post_init__(self) -> None:
        self._file, self._end = self._transaction
        self._start = order(self._from)
        self._found = self._wanted if self._transaction == self._from else Read()
        self._has_rows = False
        self._unread_here: list[FilePosition] = []
        """Events of the transaction at hand that could not be read."""
        self._xa_rows: list[Row | Mark] | None = None
        self._prepared: dict[str, list[Row]] = {}

    def rows(self, stream: Any) -> Iterator[Row | Mark]:
        while True:
            try:
                event = stream.fetchone()
            except (pymysql.err.MySQLError, SourceError, OSError):
                raise
            except _DAMAGE as error:
                kind = type(error).__name__
                raise Unreadable(
                    f"mysql-replication fails behind {self._file}:{self._end} ({kind})", self._transaction
                ) from error
            if event is None:
                at = self._file, self._ends.at
                if self._before(at):  # a server that shuts down ends the binlog like this, too
                    raise ConnectionLost(
                        f"the server ended the binlog at {at[0]}:{at[1]}, before the end of the stretch; run it again"
                    )
                break
            if isinstance(event, RotateEvent):
                self._file, self._ends.at = event.next_binlog.partition("\0")[0], event.position
                self._end = event.position
                continue
            self._end = self._ends.at
            start = self._end - event.packet.event_size
            if isinstance(event, GtidEvent | MariadbGtidEvent) or event.event_type in _BEGINNINGS:
                if self._has_rows:  # the server stopped while it wrote them
                    yield self._ended("rollback")
                self._unread_here.clear()
                if not self._begin(event, start):
                    break
            for item in self._rows_of(event, start):
                if self._found is self._wanted:
                    yield item
        self._found.undecided = sum(map(len, self._prepared.values()))

    def _begin(self, event: Any, start: int) -> bool:
        """Notes where a transaction begins; whether that is in the stretch."""
        self._transaction = self._file, start
        if not self._before(self._transaction):
            return False
        if order(self._transaction) >= self._start:
            self._found = self._wanted
        self._begun(self._transaction)
        prepared = isinstance(event, MariadbGtidEvent) and event.flags & _PREPARED_FLAG
        self._xa_rows = [] if prepared else None
        return True

    def _ended(self, what: str) -> Mark:
        if what == "rollback":
            for position in self._unread_here:
                del self._found.unread[position]
        self._has_rows = False
        self._unread_here.clear()
        return Mark(what)

    def _rows_of(self, event: Any, start: int) -> Iterator[Row | Mark]:
        if isinstance(event, _ROWS):
            rows = self._read(event, start)
            if self._xa_rows is None:
                self._has_rows = self._has_rows or bool(rows)
                yield from rows
            else:
                self._remember(rows)
        elif isinstance(event, QueryEvent):
            yield from self._query(event)
        elif isinstance(event, XidEvent):
            yield self._ended("commit")
        elif isinstance(event, XAPrepareEvent):
            rows, self._xa_rows = counted(self._xa_rows or []), None
            if event.one_phase:
                yield from rows
                yield self._ended("commit")
            else:
                self._prepared[_xid(event.xid_gtrid, event.xid_bqual, event.xid_format_id)] = rows
        elif isinstance(event, NotImplementedEvent) and event.event_type not in _KINDS_WITHOUT_ROWS:
            kind = event.event_type
            is_compressed = kind == _PAYLOAD or kind in _COMPRESSED_ROWS
            self._pass_over(start, COMPRESSED if is_compressed else f"event of kind {kind}")

    def _remember(self, rows: list[Row]) -> None:
        assert self._xa_rows is not None
        if len(self._xa_rows) + len(rows) + sum(map(len, self._prepared.values())) > MAX_PREPARED:
            raise Unreadable(f"XA transactions with more than {MAX_PREPARED} rows are undecided", self._transaction)
        self._xa_rows.extend(rows)

    def _pass_over(self, start: int, reason: str) -> None:
        if len(self._found.unread) >= MAX_UNREAD:
            raise Unreadable(f"mysql-replication left {MAX_UNREAD} events unread", self._transaction)
        self._found.unread[self._file, start] = reason
        self._found.transactions[self._file, start] = self._transaction
        self._unread_here.append((self._file, start))

    def _query(self, event: Any) -> Iterator[Row | Mark]:
        text = event.query if isinstance(event.query, str) else event.query.decode("utf-8", "replace")
        if (verb := _XA.match(text)) is not None:
            yield from self._xa(verb[1].upper(), verb[2])
        elif (control := _CONTROL.match(text)) is not None:
            mark = self._mark(control[1].upper(), control[2])
            if self._xa_rows is None:
                yield mark
            else:
                self._xa_rows.append(mark)
        else:
            self._statement(event, text)

    def _mark(self, verb: str, more: str) -> Mark:
        undo = _UNDO.match(more) if verb == "ROLLBACK" else None
        if verb == "SAVEPOINT" or undo is not None:
            name = (undo[1] if undo is not None else more).strip().strip("`").replace("``", "`").lower()
            return Mark("savepoint" if undo is None else "undo", name)
        if verb == "ROLLBACK" and (self._has_rows or self._unread_here):
            self._found.rolled_back += 1
        return self._ended(verb.lower())

    def _xa(self, verb: str, name: str) -> Iterator[Row | Mark]:
        if verb == "START":
            self._xa_rows = []
        elif verb in ("COMMIT", "ROLLBACK"):
            rows = self._prepared.pop(_xid_of(name), None)
            if rows is None and verb == "COMMIT":
                self._pass_over(self._transaction[1], PREPARED_BEFORE)
            elif rows is not None and verb == "COMMIT":
                for number, row in enumerate(rows):
                    yield row._replace(spot=Spot(*self._transaction, number), transaction=self._transaction)
            yield self._ended("commit")

    def _statement(self, event: Any, text: str) -> None:
        verb, table = _STATEMENT.match(text), _NAMED.search(text)
        schema = event.schema.decode("utf-8", "replace") if isinstance(event.schema, bytes) else event.schema
        if verb is not None and table is not None and (schema == self._database or self._database in text):
            self._found.statements[f"{verb[1].upper()} of {table[1].lower()}"] += 1

    def _read(self, event: Any, start: int) -> list[Row]:
        try:
            columns = {column.name: column for column in event.columns}
            captured = [name for name in CAPTURED[event.table].columns if name in columns]
            if "id" not in captured or isinstance(event, PartialUpdateRowsEvent):
                self._pass_over(start, "a rows event without names, or of partial JSON")
                return []
            op = "u" if isinstance(event, UpdateRowsEvent) else "d" if isinstance(event, DeleteRowsEvent) else "c"
            rows = []
            for number, row in enumerate(event.rows):
                values = row.get("values")
                before = row.get("before_values") if op == "u" else values if op == "d" else None
                after = row.get("after_values") if op == "u" else values if op == "c" else None
                was, is_ = (
                    None if image is None else _image(image, columns, captured, event.table)
                    for image in (before, after)
                )
                spot = Spot(self._file, start, number)
                rows.append(Row(spot, event.table, op, was, is_, self._transaction, self._transaction))
        except _DAMAGE as error:
            self._pass_over(start, f"{type(error).__name__} in mysql-replication")
            return []
        return rows


def _xid(gtrid: bytes, bqual: bytes, format_id: int) -> str:
    return f"{gtrid.hex()},{bqual.hex()},{format_id}"


def _xid_of(text: str) -> str:
    """An XA transaction's name as the servers log it: X'6162',X'',1."""
    gtrid, bqual, *_ = [*re.findall(r"X'([0-9a-fA-F]*)'", text), "", ""]
    number = re.search(r",\s*(\d+)\s*$", text)
    return f"{gtrid},{bqual},{number[1] if number else 1}".lower()


def _image(values: dict[str, Any], columns: dict[str, Any], captured: list[str], table: str) -> Values:
    """The captured columns of one image as messages have them."""
    keys = CAPTURED[table].keys
    return {name: _value(values[name], columns[name], is_key=name in keys) for name in captured}


def _value(value: Any, column: Any, *, is_key: bool) -> Value:
    kind = column.type
    if value is None:
        return None
    if isinstance(value, datetime):
        return _moment(value, column, zoned=kind in (FIELD_TYPE.TIMESTAMP, FIELD_TYPE.TIMESTAMP2))
    if isinstance(value, bytes):
        size = getattr(column, "max_length", 0)
        if kind == FIELD_TYPE.STRING:
            value = value.ljust(size, b"\0")
        digits = str(value.hex())
        if is_key and kind == FIELD_TYPE.STRING and size == 16:
            return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        return digits
    if kind == FIELD_TYPE.BIT:
        return int(value, 2)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if isinstance(value, int | str) else UNREAD


def _moment(value: datetime, column: Any, *, zoned: bool) -> str | None:
    if zoned and value.year == 1970 and value == datetime(1970, 1, 1):
        return None  # the zero date
    digits = getattr(column, "fsp", 0)
    fraction = f".{value.microsecond:06d}"[: digits + 1] if digits else ""
    return f"{value:%Y-%m-%d}T{value:%H:%M:%S}{fraction}{'Z' if zoned else ''}"
