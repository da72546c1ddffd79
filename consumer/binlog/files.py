"""Which binlog file is being read, and what of the binlog is complete: the position, and the GTIDs up to it.

Formats: MySQL's `libs/mysql/binlog/event/control_events.h`, MariaDB's `Gtid_list_log_event` in `sql/log_event.h`.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final
from uuid import UUID

from consumer.binlog.constants import CRC_OF_CHECKED, HEADER, WRAP, EventType, packed_integer
from consumer.binlog.errors import UndecodableEvent, refused
from consumer.binlog.events import Event
from consumer.binlog.gtid_event import Gtid, Source
from consumer.binlog.position import MariaDBGtids, MySQLGtids, Position, ordered_position
from consumer.mysql.errors import ConnectionLost

_domain = struct.Struct("<IIQ").unpack_from
_VERSION: Final = 4
_HEADER_SIZE_AT: Final = HEADER + 56
_DOMAIN_SIZE: Final = 16
_HEAD: Final = 4
_OK, _ERROR = 0, 0xFF
"""What a packet begins with, behind its head."""
_NAME, _POSITION = 1, 2
"""Fields of a HEARTBEAT_V2."""


class Files:
    """`file` and `pos` are where the first transaction starts that was not emitted whole."""

    def __init__(self, start: Position, *, mariadb: bool) -> None:
        """Raises ValueError for a GTID set that is none."""
        self.file = start.file
        self.pos = start.pos
        self.current = ""
        """The file that is being read: behind `file` while a server skips what we have; empty until it is named."""
        self.base = 0
        """Multiples of 4 GB that positions, 32 bits wide, have lost in this file."""
        self.reached = 0
        """Where the last event ended that was read in this file, `base` included."""
        self._begun = 0
        """When the server began the file at hand (s since the epoch); 0 before its first event."""
        self._begun_before = start.file, start.file_begun
        """A file before that, and when the server began it."""
        self.checksums = False
        self._elsewhere = False
        self._mariadb = mariadb
        self._mysql_gtids = MySQLGtids("" if mariadb else start.gtid_set)
        self._mariadb_gtids = MariaDBGtids(start.gtid_set if mariadb else "")
        self._gtids_known = bool(start.gtid_set)
        self._names = _Names()
        self._run_source: Source | None = None
        self._run_first = self._run_next = 0

    def restart(self, *, elsewhere: bool = False) -> None:
        """Begins anew at `file` and `pos`; `elsewhere` these are another server's, which was left by GTID, or of before
        this one was seeded anew, and hold until it says where it begins."""
        self._elsewhere = self._elsewhere or elsewhere
        self._begun_before = self.file, 0 if elsewhere else self.file_begun
        self._begun = 0
        self.current = ""
        self.base = self.reached = 0
        self.checksums = False

    @property
    def file_begun(self) -> int:
        """When the server began `file` (s since the epoch); 0: not known."""
        if self.current == self.file and self._begun:
            return self._begun
        name, begun = self._begun_before
        return begun if name == self.file else 0

    def complete(self, gtid: Gtid, end: int) -> int:
        """Moves the position behind a transaction that ends at `end` of 32 bits; returns where that is."""
        if end < gtid.pos:
            self.base += WRAP
            end += WRAP
        self.file, self.pos = self.current, end
        return end

    # What was executed.

    def gtid_set(self) -> str:
        """What precedes (`file`, `pos`); empty where the server has no GTIDs or we do not know them all yet."""
        if not self._gtids_known:
            return ""
        if self._mariadb:
            return str(self._mariadb_gtids)
        self._add_run()
        return str(self._mysql_gtids)

    def name(self, gtid: Gtid) -> str | None:
        """A transaction's GTID in the server's notation; None for an anonymous one."""
        source, number, server_id, _, _, _ = gtid
        return None if source is None else f"{self.prefix(source, server_id)}{number}"

    def prefix(self, source: Source, server_id: int) -> str:
        """What precedes the number in a GTID's notation."""
        return f"{source!s}-{server_id}-" if self._mariadb else self._names[source]

    def count(self, source: Source | None, server_id: int, first: int, past: int) -> None:
        """Adds the GTIDs with the numbers `first` to before `past` to those that are executed."""
        if source is None:
            return
        if self._mariadb:
            self._mariadb_gtids.last[source] = (server_id, past - 1)  # type: ignore[index]  # a domain is an integer
        elif source == self._run_source and first == self._run_next:
            self._run_next = past
        else:  # GTIDs mostly follow each other: the newest are one run, added to the set when asked for or broken
            self._add_run()
            self._run_source = source
            self._run_first = first
            self._run_next = past

    def _add_run(self) -> None:
        if self._run_source is not None and self._run_next > self._run_first:
            source = self._names[self._run_source][:-1]
            self._mysql_gtids.add_range(source, self._run_first, self._run_next - 1)
            self._run_first = self._run_next

    # Events.

    def rotation(self, event: bytes) -> tuple[str, int]:
        """The file and the position at which the stream goes on, from a whole ROTATE event."""
        with_checksum = zlib.crc32(event) == CRC_OF_CHECKED
        body = event[HEADER : len(event) - 4 if with_checksum else len(event)]
        return body[8:].decode(), int.from_bytes(body[:8], "little")

    def rotate(self, name: str, pos: int, *, artificial: bool) -> bool:
        """Goes on in another file; whether everything before it is complete.

        A made-up event at the start of a stream only names the first file, unless that is a later one than ours (by
        GTID, the files before it hold nothing more for us) or we come from elsewhere.
        """
        moved = self.current == self.file and name != self.current
        first = self.current == "" and (not artificial or self._is_later(name))
        if moved or first or self._elsewhere:
            self.file, self.pos = name, pos
        self._elsewhere = False
        if name != self.current:
            self._begun = 0
        self.current = name
        self.base = 0
        return moved

    def _is_later(self, name: str) -> bool:
        return self.file != "" and ordered_position(name, 0) > ordered_position(self.file, 0)

    def format_description(self, event: bytes) -> None:
        """A file's first event: says whether its events have checksums. Raises UndecodableEvent."""
        version = int.from_bytes(event[HEADER : HEADER + 2], "little")
        header = event[_HEADER_SIZE_AT]
        algorithm = event[-5]
        if version != _VERSION or header != HEADER or algorithm not in (0, 1):
            raise UndecodableEvent(f"binlog version {version}, headers of {header} bytes, checksum {algorithm}")
        self.checksums = algorithm == 1
        self._begun = int.from_bytes(event[:4], "little")

    def previous_gtids(self, body: bytes, prepared: list[Gtid]) -> None:
        """MySQL: what was executed before this file, of which prepared XA transactions do not count yet."""
        if self._gtids_known:
            return
        self._mysql_gtids = MySQLGtids.decode(body)
        self._run_first = self._run_next
        self._gtids_known = True
        for source, number, *_ in prepared:
            if source is not None:
                self._mysql_gtids.discard(self._names[source][:-1], number)

    def gtid_list(self, body: bytes) -> None:
        """MariaDB: where each domain stands at the start of a file."""
        if self._gtids_known:
            return
        count = int.from_bytes(body[:4], "little") & 0x0FFFFFFF
        for at in range(4, 4 + _DOMAIN_SIZE * count, _DOMAIN_SIZE):
            self._mariadb_gtids.add(*_domain(body, at))
        self._gtids_known = True

    def heartbeat(self, kind: int, body: bytes, position: int, *, idle: bool) -> None:
        """The server has sent everything up to a position; it is complete where no transaction is at hand (`idle`)."""
        name = body
        at = 0
        while kind == EventType.HEARTBEAT_V2 and at < len(body):
            field, at = packed_integer(body, at)
            if field == 0:
                break
            length, at = packed_integer(body, at)
            value = body[at : at + length]
            at += length
            if field == _NAME:
                name = value
            elif field == _POSITION:
                position, _ = packed_integer(value, 0)
        if idle and name.decode() == self.current == self.file and position > self.pos:
            self.pos = position


class FileBeginning:
    """The first events of a file, read only for when the server began it.

    `begun` (s since the epoch) is None until its first event came, and 0 where that does not say.
    A server that sends a file anew changes the position in its first event, and never the time (MySQL:
    `Binlog_sender::send_format_description_event`, MariaDB: `send_format_descriptor_event`).
    """

    def __init__(self, file: str) -> None:
        self.begun: int | None = None
        self._file = file

    def decode(self, data: bytes, events: list[Event]) -> int:
        """Looks at all complete packets in `data` and returns how many bytes they took.

        Raises what an error packet means, and ConnectionLost at the server's end of the stream.
        """
        at = 0
        while self.begun is None and len(data) - at > _HEAD:
            end = at + _HEAD + int.from_bytes(data[at : at + 3], "little")
            if end > len(data):
                break
            first, event = data[at + _HEAD], data[at + _HEAD + 1 : end]
            if first == _ERROR:
                refused(event, f"{self._file}:4")
            if first != _OK:
                raise ConnectionLost("the server ended the stream")
            self.decode_event(event, events)
            at = end
        return at

    def decode_event(self, event: bytes, _: list[Event]) -> None:
        """Looks at one event."""
        if len(event) > HEADER and event[4] == EventType.FORMAT_DESCRIPTION:
            self.begun = int.from_bytes(event[:4], "little")


class _Names(dict[bytes | str | int, str]):
    """Sources of MySQL's GTIDs as text, with the colon that precedes the number."""

    def __missing__(self, source: bytes | str | int) -> str:
        text = self[source] = f"{UUID(bytes=source) if isinstance(source, bytes) else source}:"
        return text
