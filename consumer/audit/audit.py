"""A stretch of the binlog held against Kafka: where it begins and ends, both sides added up, and what differs.

Bounds are places where the stream stood, as its heartbeats say: whatever the binlog has between two of them is in
Kafka behind the first one, or it is missing.
"""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zlib import crc32

from confluent_kafka import KafkaException

from consumer.audit import library, tool
from consumer.audit.library import COMPRESSED, Place, Read, Unreadable
from consumer.audit.messages import Heartbeat, Misplaced, Stream
from consumer.audit.rows import PART_BYTES, Difference, Message, Part, Row, Spot, Sums, compare, expected, part_of
from consumer.capture import CAPTURED
from consumer.mysql.errors import PreconditionFailed
from consumer.mysql.session import Replica
from consumer.settings import KafkaSettings, ReplicaSettings
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog, demand_database
from consumer.stream.errors import KafkaLost
from consumer.stream.topics import retention_seconds

LOOKED_AT: Final = 32
"""Parts in which something differs that are looked at row by row."""
SHOWN: Final = 100
"""Differences that are kept; the others are counted."""
SILENT_MS: Final = 300_000
"""For how long a reader that is well may not have said where it stands."""
SLACK_MS: Final = 60_000
"""How much earlier than a heartbeat messages are looked for that were written after it."""

_UNREADABLE_TYPES: Final = ("uuid", "inet4", "inet6", "vector")
"""Types of MariaDB and MySQL after which the library reads other bytes of a row than it means to."""

Progress = Callable[[str, int, int], None]
"""Takes what is read, how many of it so far, and of how many (0: nobody knows)."""


class Times(NamedTuple):
    """From when to when (ms since 1970); `until` None: to what the reader has read."""

    since: int
    until: int | None


@dataclass
class Audit:
    """What an audit found."""

    since_ms: int
    until_ms: int
    start: Place
    end: Place
    rows: int = 0
    messages: int = 0
    by_tool: int = 0
    """Rows of compressed transactions, read by mysqlbinlog."""
    compressed: int = 0
    """Compressed transactions, or rows events of MariaDB's, whatever tables they are of."""
    unverified: int = 0
    """Messages of events that nothing here could read."""
    differences: int = 0
    """How many there are; each part of the binlog that was not looked at row by row counts as one."""
    shown: list[Difference] = field(default_factory=list)
    """The first of them."""
    noticed: int = 0
    """Rows in whose place Kafka has a notice that their leads be read live."""
    unread_values: int = 0
    """Values that nothing here could read, in rows that are equal otherwise."""
    statements: Counter[str] = field(default_factory=Counter)
    undecided: int = 0
    notes: list[str] = field(default_factory=list)
    """What is to be known, and takes nothing from the verdict."""
    gaps: list[str] = field(default_factory=list)
    """What could not be looked at."""

    @property
    def is_equal(self) -> bool:
        """Whether all that could be looked at is equal."""
        return not self.differences


class Nothing(PreconditionFailed):
    """There is nothing to look at; the message says why."""


def order(place: Place) -> tuple[int, int]:
    """Places of one server in their order."""
    number = re.search(r"(\d+)$", place[0])
    return int(number[1]) if number else 0, place[1]


def audit(source: ReplicaSettings, kafka: KafkaSettings, times: Times, progress: Progress) -> Audit:
    """Looks at a stretch. Raises Nothing, SourceError, StreamError."""
    with CheckpointLog(kafka) as log:
        checkpoint = log.require()
    try:
        with (
            closing(Replica(source.address, source.replica_query_seconds)) as replica,
            closing(Stream(kafka, checkpoint.epoch, replica.database())) as stream,
        ):
            return _Auditor(source, kafka, replica, stream, checkpoint, progress).audit(times)
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {kafka.kafka_bootstrap_servers} did not give us the stream ({error.args[0].str()})"
        ) from error


class _Auditor:
    def __init__(
        self,
        source: ReplicaSettings,
        kafka: KafkaSettings,
        replica: Replica,
        stream: Stream,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> None:
        self._source = source
        self._kafka = kafka
        self._replica = replica
        self._stream = stream
        self._checkpoint = checkpoint
        self._progress = progress
        self._database = replica.database()
        self._flavor = "mariadb" if replica.is_mariadb() else "mysql"
        self._server_id = (
            crc32(f"{kafka.topic_prefix}.audit.{os.getpid()}@{socket.gethostname()}".encode()) % (2**32 - 2) + 1
        )
        self._tables = frozenset(CAPTURED)
        self._read = Read()
        self._restarts: dict[Part, Place] = {}
        self._tool = ""
        self._by_tool: list[Place] = []
        self._sizes: dict[str, int] = {}

    def audit(self, times: Times) -> Audit:
        """Bounds, binlog, tool, Kafka, and what differs."""
        found, since_ms = self._bounds(times)
        binlog = Sums()
        self._leave_out_tables(found)
        for row in self._library_rows(found):
            self._add(binlog, found, row)
        self._ask_tool(binlog, found)
        kafka = Sums(binlog.key)
        optional = self._optional()
        for message in self._messages(found, since_ms):
            if isinstance(message, Misplaced):
                where = f"{message.where}: {message.why}"
                self._differ(found, [Difference("misplaced", message.table, message.spot, where)])
            elif message.spot in optional:
                continue
            elif (message.spot.file, message.spot.pos) in self._read.unread:
                found.unverified += 1
            else:
                found.messages += 1
                kafka.add(message.spot, message.table, (message.op, message.before, message.after))
        differing = binlog.differing(kafka)
        if differing:
            self._look_closely(found, differing, since_ms, optional)
        found.undecided = len(self._read.undecided)
        return found

    # Bounds.

    def _bounds(self, times: Times) -> tuple[Audit, int]:
        checkpoint, replica = self._checkpoint, self._replica
        demand_database(checkpoint.database, self._database, self._kafka.topic_prefix)
        server = replica.server()
        if server != checkpoint.server:
            raise Nothing(
                f"{self._source.address} is not the server that the reader reads ({server}, not {checkpoint.server});"
                " set REPLICA_DATABASE_URL to that one"
            )
        notes: list[str] = []
        since_ms = times.since
        now_ms = self._replica.clock() // 1000
        kept_ms = self._kept_since_ms(now_ms)
        if times.until is not None and times.until <= kept_ms:
            raise Nothing(
                f"Kafka keeps its topics from {_text(kept_ms)} on, and the stretch ends before; ask for a later one"
            )
        if since_ms < kept_ms:
            notes.append(f"Kafka keeps its topics from {_text(kept_ms)} on; what is older was not looked at")
            since_ms = kept_ms
        beats = self._stream.heartbeats(since_ms, server)
        if not beats:
            raise Nothing(
                f"there is no heartbeat of the reader on this server since {_text(since_ms)}: nothing was read;"
                " ask for an earlier stretch, or look at `consumer status`"
            )
        begin = beats[0]
        if begin.ms > since_ms:
            notes.append(f"what Kafka holds of this server's stream begins at {_text(begin.ms)}")
        begin, gaps = self._not_purged(begin, beats)
        end, until_ms = self._end(times, beats)
        if beats[-1].ms < min(times.until or now_ms, now_ms) - SILENT_MS:
            gaps.append(
                f"the reader is silent since {_text(beats[-1].ms)}; what the server wrote later was not looked at"
            )
        found = Audit(begin.ms, until_ms, (begin.file, begin.pos), end, notes=notes, gaps=gaps)
        return found, begin.ms - SLACK_MS

    def _kept_since_ms(self, now_ms: int) -> int:
        kept = retention_seconds(self._kafka)
        return now_ms - int(kept * 1000) if kept != float("inf") else 0

    def _not_purged(self, begin: Heartbeat, beats: list[Heartbeat]) -> tuple[Heartbeat, list[str]]:
        """Where the binlog that is still there begins, and what to say of it."""
        self._sizes = {str(name): int(size) for name, size, *_ in self._replica.query("SHOW BINARY LOGS")}
        if begin.file in self._sizes:
            return begin, []
        there = [beat for beat in beats if beat.file in self._sizes]
        if not there:
            raise Nothing(
                f"{begin.file} and what follows is purged on {self._source.address}: there is no binlog to read"
            )
        gap = f"the binlog before {there[0].file}:{there[0].pos} ({_text(there[0].ms)}) is purged and was not looked at"
        return there[0], [gap]

    def _end(self, times: Times, beats: list[Heartbeat]) -> tuple[Place, int]:
        stands = self._checkpoint.file, self._checkpoint.pos
        later = [beat for beat in beats if times.until is not None and beat.ms >= times.until]
        if later and order((later[0].file, later[0].pos)) < order(stands):
            return (later[0].file, later[0].pos), later[0].ms
        return stands, beats[-1].ms

    def _leave_out_tables(self, found: Audit) -> None:
        rows = self._replica.query(
            "SELECT table_name, column_name, data_type, column_type FROM information_schema.columns"
            " WHERE table_schema = DATABASE()"
        )
        for table, column, data_type, column_type in rows:
            name = str(table)
            if name in self._tables and (
                str(data_type).lower() in _UNREADABLE_TYPES or "COMPRESSED" in str(column_type).upper()
            ):
                self._tables -= {name}
                kind = str(data_type).upper()
                found.gaps.append(
                    f"{name} was not looked at: mysql-replication cannot read its column {column} ({kind})"
                )

    # The binlog.

    def _library_rows(self, found: Audit) -> Iterator[Row]:
        """The rows of the stretch; where the library fails, that ends there."""
        transaction = found.start
        total = self._bytes_between(found.start, found.end)

        def begun(place: Place) -> None:
            nonlocal transaction
            transaction = place
            self._progress("binlog", self._bytes_between(found.start, place), total)

        end = order(found.end)
        address, database, read = self._source.address, self._database, self._read
        rows = library.read(
            address, database, self._server_id, found.start, lambda place: order(place) < end, read, begun
        )
        try:
            for row in rows:
                if row.table in self._tables:
                    self._restarts.setdefault(part_of(row.spot.file, row.spot.pos), transaction)
                    yield row
        except Unreadable as error:
            found.gaps.append(f"{error}; the binlog from {error.place[0]}:{error.place[1]} on was not looked at")
            found.end = error.place
        found.statements = read.statements

    def _bytes_between(self, start: Place, end: Place) -> int:
        names = [name for name in self._sizes if order((start[0], 0)) <= order((name, 0)) < order((end[0], 0))]
        return sum(self._sizes[name] for name in names) - start[1] + end[1]

    def _add(self, sums: Sums, found: Audit, row: Row) -> None:
        if order((row.spot.file, row.spot.pos)) < order(found.start):
            return  # an XA transaction's that was prepared before
        found.rows += 1
        for image in expected(row):
            sums.add(row.spot, row.table, image)

    def _ask_tool(self, sums: Sums, found: Audit) -> None:
        """Has mysqlbinlog read what is compressed; what it read is no longer unread."""
        unread = self._read.unread
        places = sorted((place for place, why in unread.items() if why == COMPRESSED), key=order)
        found.compressed = len(places)
        path = tool.installed(self._flavor) if places else None
        if path is not None:
            self._tool = path
            read = Audit(0, 0, found.start, found.end)
            theirs = Sums(sums.key)
            try:
                for row in self._tool_rows(found, places):
                    self._restarts.setdefault(part_of(row.spot.file, row.spot.pos), found.start)
                    self._add(theirs, read, row)
            except tool.ToolFailed as error:
                found.gaps.append(str(error))
            else:
                sums.add_all(theirs)
                found.rows += read.rows
                found.by_tool = read.rows
                self._by_tool = places
                for place in places:
                    del unread[place]
        kinds = Counter(unread.values())
        for why, count in sorted(kinds.items()):
            if why == COMPRESSED:
                what = f"{count} compressed transactions, which mysql-replication cannot read"
                name = tool.NAMES[self._flavor][0]
                hint = "" if path is not None else f"; install {name}, which checks them"
                found.gaps.append(f"{what}, were not checked{hint}")
            else:
                found.gaps.append(f"{count} events could not be read ({why})")

    def _tool_rows(self, found: Audit, places: list[Place]) -> Iterator[Row]:
        wanted = set(places)
        for file in sorted({file for file, _ in places}, key=lambda name: order((name, 0))):
            start = found.start[1] if file == found.start[0] else 4
            end = found.end[1] if file == found.end[0] else None
            address = self._source.address
            for row in tool.rows(self._tool, address, self._database, file, start, end, self._flavor):
                if (row.spot.file, row.spot.pos) in wanted and row.table in self._tables:
                    yield row

    def _optional(self) -> frozenset[Spot]:
        return frozenset([*(row.spot for row in self._read.undecided), *self._read.rolled_back])

    # Kafka.

    def _messages(self, found: Audit, since_ms: int) -> Iterator[Message | Misplaced]:
        first, last = order(found.start), order(found.end)
        for number, message in enumerate(self._stream.rows(since_ms), 1):
            self._progress("messages", number, 0)
            place = order((message.spot.file, message.spot.pos))
            unplaced = isinstance(message, Misplaced) and not message.spot.file
            if unplaced or (first <= place < last and message.table in self._tables):
                yield message

    # What differs.

    def _look_closely(self, found: Audit, differing: list[Part], since_ms: int, optional: frozenset[Spot]) -> None:
        """Row by row, in the first parts that differ."""
        looked_at = sorted(differing, key=order)[:LOOKED_AT]
        wanted = set(looked_at)
        rows: dict[Spot, Row] = {}
        for part in looked_at:
            if part in self._restarts:
                for row in self._again(found, part):
                    if part_of(row.spot.file, row.spot.pos) in wanted and row.spot not in optional:
                        rows[row.spot] = row
        places = [(file, pos) for file, pos in self._by_tool if part_of(file, pos) in wanted]
        if places:
            rows.update((row.spot, row) for row in self._tool_rows(found, places))
        messages: dict[Spot, list[Message]] = {}
        for message in self._messages(found, since_ms):
            spot = message.spot
            if (
                isinstance(message, Message)
                and part_of(spot.file, spot.pos) in wanted
                and (spot.file, spot.pos) not in self._read.unread
            ):
                messages.setdefault(spot, []).append(message)
        compared = compare(rows, messages, self._stream.notices(since_ms), optional)
        found.noticed, found.unread_values = compared.noticed, compared.unread_values
        self._differ(found, compared.differences)
        if len(differing) > len(looked_at):
            left = f"{len(differing) - len(looked_at)} more parts of {PART_BYTES >> 20} MiB of the binlog"
            if compared.differences:
                found.differences += len(differing) - len(looked_at)
                found.notes.append(f"{left} differ and were not looked at row by row")
            else:  # a value that cannot be read makes a part differ, too
                found.gaps.append(f"{left} were not looked at row by row; audit a shorter stretch")

    def _again(self, found: Audit, part: Part) -> Iterator[Row]:
        """The rows from where the transaction begins that holds the part's first row, to the part's end."""
        read, start = Read(), self._restarts[part]
        end = min(order(found.end), order((part[0], (part[1] + 1) * PART_BYTES)))
        address, database = self._source.address, self._database
        yield from library.read(
            address, database, self._server_id, start, lambda place: order(place) < end, read, lambda _: None
        )
        yield from read.undecided  # in this part; what is undecided in the stretch is left out by who asks

    def _differ(self, found: Audit, differences: list[Difference]) -> None:
        found.differences += len(differences)
        found.shown.extend(differences[: SHOWN - len(found.shown)])


def _text(ms: float) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
