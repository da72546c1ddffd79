"""Where in a server's history we are: GTID sets of MySQL and MariaDB, and file positions.

Formats: MySQL's `sql/rpl_gtid_set.cc` (`Gtid_set::encode`, `Gtid_set::to_string`), MariaDB's knowledge base, "GTID".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final, NamedTuple
from uuid import UUID

_TAGGED: Final = 1

OrderedPosition = tuple[int, int]
"""A binlog's number and a position in it."""


def ordered_position(file: str, pos: int) -> OrderedPosition:
    """A position by which those of one server are ordered: the number ending the file's name outgrows six digits."""
    return int(file.rpartition(".")[2]), pos


class PreparedGroup(NamedTuple):
    """An XA transaction that is prepared and not decided yet: its rows lie at `pos` in `file`, before our position."""

    xid: str
    file: str
    pos: int


class Position(NamedTuple):
    """Where to read on: everything in `gtid_set` was read; without GTIDs, everything before `pos` in `file`.

    `file_begun` is when the server began that file (s since the epoch), by which it is told from another one of that
    name; 0: not known.
    """

    gtid_set: str
    file: str
    pos: int
    prepared: tuple[PreparedGroup, ...] = ()
    file_begun: int = 0


class MySQLGtids:
    """A set of MySQL's GTIDs: numbers by source, a source being a server's uuid, or `uuid:tag`."""

    def __init__(self, text: str = "") -> None:
        """Takes MySQL's notation, `uuid:1-5:7,uuid:tag:1-3`. Raises ValueError for anything else."""
        self._intervals: dict[str, list[tuple[int, int]]] = {}
        for part in re.sub(r"\s", "", text).split(","):
            if part:
                self._parse(part)

    def _parse(self, part: str) -> None:
        uuid, *words = part.split(":")
        source = str(UUID(uuid))
        if not words:
            raise ValueError(f"{part!r} is no GTID set")
        uuid = source
        for word in words:
            interval = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
            if interval:
                first = int(interval[1])
                self.add_range(source, first, int(interval[2] or first))
            elif re.fullmatch(r"[A-Za-z_]\w{0,31}", word):
                source = f"{uuid}:{word.lower()}"
            else:
                raise ValueError(f"{part!r} is no GTID set")

    def add_range(self, source: str, first: int, last: int) -> None:
        """Adds all GTIDs of a source from one number to another."""
        if not 0 < first <= last:
            raise ValueError(f"{first}-{last} is no interval of GTIDs")
        intervals = self._intervals.setdefault(source, [])
        if intervals and intervals[-1][1] + 1 == first:
            intervals[-1] = (intervals[-1][0], last)
            return
        at = bisect_right(intervals, (first,))
        if at and intervals[at - 1][1] + 1 >= first:
            at -= 1
            first = intervals[at][0]
        end = at
        while end < len(intervals) and intervals[end][0] <= last + 1:
            last = max(last, intervals[end][1])
            end += 1
        intervals[at:end] = [(first, last)]

    def contains(self, other: MySQLGtids) -> bool:
        """Whether every GTID of the other set is in this one."""
        for source, wanted in other._intervals.items():
            ours = self._intervals.get(source, [])
            for first, last in wanted:
                at = bisect_right(ours, (first, 2**64))
                if not at or ours[at - 1][1] < last:
                    return False
        return True

    def has_any_of(self, server: str) -> bool:
        """Whether a server (its uuid) gave out one of these."""
        uuid = str(UUID(server))
        return any(source.partition(":")[0] == uuid for source in self._intervals)

    def discard(self, source: str, number: int) -> None:
        """Takes one GTID out, if it is there."""
        intervals = self._intervals.get(source, [])
        for at, (first, last) in enumerate(intervals):
            if first <= number <= last:
                parts = ((first, number - 1), (number + 1, last))
                intervals[at : at + 1] = [part for part in parts if part[0] <= part[1]]
                break
        if not intervals:
            self._intervals.pop(source, None)

    def __str__(self) -> str:
        """In MySQL's notation and order: each uuid once, its numbers without tag first."""
        by_uuid: dict[str, list[str]] = {}
        for source in sorted(self._intervals):
            uuid, _, tag = source.partition(":")
            words = by_uuid.setdefault(uuid, [])
            if tag:
                words.append(tag)
            words += [f"{first}-{last}" if first < last else f"{first}" for first, last in self._intervals[source]]
        return ",".join(f"{uuid}:{':'.join(words)}" for uuid, words in by_uuid.items())

    def encode(self) -> bytes:
        """As COM_BINLOG_DUMP_GTID takes it: intervals half open; with tags, in the format of MySQL 8.3."""
        tagged = any(":" in source for source in self._intervals)
        count = len(self._intervals)
        if tagged:
            head = (_TAGGED << 56 | count << 8 | _TAGGED).to_bytes(8, "little")
        else:
            head = count.to_bytes(8, "little")
        parts = [head]
        for source in sorted(self._intervals):
            uuid, _, tag = source.partition(":")
            parts.append(UUID(uuid).bytes)
            if tagged:
                parts += [bytes([len(tag) << 1]), tag.encode()]  # a length of MySQL's serialization: low bit 0
            intervals = self._intervals[source]
            parts.append(len(intervals).to_bytes(8, "little"))
            parts += [first.to_bytes(8, "little") + (last + 1).to_bytes(8, "little") for first, last in intervals]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> MySQLGtids:
        """What `encode` wrote; the body of a PREVIOUS_GTIDS event too. Raises IndexError, ValueError."""
        head = int.from_bytes(data[:8], "little")
        tagged = head >> 56 == _TAGGED
        count = head >> 8 & 0xFFFFFFFFFFFF if tagged else head
        gtids = cls()
        at = 8
        for _ in range(count):
            source = str(UUID(bytes=data[at : at + 16]))
            at += 16
            if tagged:
                length = data[at] >> 1
                if length:
                    source += ":" + data[at + 1 : at + 1 + length].decode()
                at += 1 + length
            if at + 8 > len(data):
                raise IndexError("a GTID set is cut off")
            intervals = int.from_bytes(data[at : at + 8], "little")
            at += 8
            for _ in range(intervals):
                if at + 16 > len(data):
                    raise IndexError("a GTID set is cut off")
                first = int.from_bytes(data[at : at + 8], "little")
                gtids.add_range(source, first, int.from_bytes(data[at + 8 : at + 16], "little") - 1)
                at += 16
        return gtids


class MariaDBGtids:
    """A MariaDB position: in each domain the last GTID, which stands for all before it."""

    def __init__(self, text: str = "") -> None:
        """Takes MariaDB's notation, `0-1-100,1-2-7`. Raises ValueError for anything else."""
        self.last: dict[int, tuple[int, int]] = {}
        """Server id and number of the last GTID, by domain."""
        for part in re.sub(r"\s", "", text).split(","):
            if not part:
                continue
            gtid = re.fullmatch(r"(\d+)-(\d+)-(\d+)", part)
            if gtid is None:
                raise ValueError(f"{part!r} is no GTID of MariaDB")
            self.add(int(gtid[1]), int(gtid[2]), int(gtid[3]))

    def add(self, domain: int, server: int, number: int) -> None:
        """Moves a domain to this GTID."""
        self.last[domain] = (server, number)

    def has_any_of(self, server: str) -> bool:
        """Whether a server (its server_id) gave out one of these."""
        return any(str(last) == server for last, _ in self.last.values())

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{number}" for domain, (server, number) in sorted(self.last.items()))
