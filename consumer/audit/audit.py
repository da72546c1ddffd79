"""A stretch of the binlog held against Kafka: where it begins and ends, both sides added up, and what differs.

Bounds are positions where the stream stood, as its heartbeats say: whatever the binlog has between two of them is in
Kafka behind the first one, or it is missing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isinf
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from consumer.audit import library, tool
from consumer.audit.library import COMPRESSED, Read, Unreadable
from consumer.audit.messages import BinlogNow, Misplaced, Stream, StreamBeat
from consumer.audit.rows import (
    PART_BYTES,
    FilePosition,
    Lost,
    Mark,
    Message,
    Part,
    PartComparison,
    Row,
    RowDifference,
    Spot,
    Sums,
    Undecided,
    expected,
    folded,
    is_unchanged,
    order,
    part_of,
)
from consumer.capture import CAPTURED
from consumer.mysql.errors import PreconditionFailed, SourceError
from consumer.mysql.key_folding import Foldings, KeyFolding
from consumer.mysql.keys import KeyKind
from consumer.mysql.live_read import folding_of_column
from consumer.mysql.schema import Columns, Schema, columns_of
from consumer.mysql.session import Replica
from consumer.process import own_server_id
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
"""For how long a reader that is well may not have reported where it stands."""
AHEAD_MS: Final = 60_000
"""How much earlier than the stretch the binlog is read: an XA transaction of it may have been prepared before."""
SKIPPED: Final = "updates of nothing but updated_at were left out on both sides (SKIP_UNCHANGED_UPDATES)"
SLACK_MS: Final = 60_000
"""How much earlier than a heartbeat messages are looked for that were written after it."""

_UNREADABLE_TYPES: Final = ("uuid", "inet4", "inet6", "vector")
"""Types of MariaDB and MySQL after which the library reads other bytes of a row than it means to."""

OnProgress = Callable[[str, int, int], None]
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
    start: FilePosition
    end: FilePosition
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
    shown: list[RowDifference] = field(default_factory=list)
    """The first of them."""
    noticed: int = 0
    """Messages in whose place Kafka has a notice that their leads be read live."""
    unjudged: int = 0
    """Rows and messages that nothing is left to be held against: of a purged binlog, or deleted by Kafka."""
    rolled_back: int = 0
    """Transactions that are in the binlog though they were rolled back; every lead is read live for them."""
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


@dataclass
class _BinlogSums:
    """What was added up of rows."""

    sums: Sums
    rows: int = 0

    def add(self, row: Row) -> None:
        self.rows += 1
        for image in expected(row):
            self.sums.add(row.spot, row.table, image)

    def add_all(self, other: _BinlogSums) -> None:
        self.rows += other.rows
        self.sums.add_all(other.sums)


class Nothing(PreconditionFailed):
    """A stretch in which there is nothing to look at; the message says why."""


def audit(
    source: ReplicaSettings, kafka: KafkaSettings, times: Times, progress: OnProgress, *, skip_unchanged: bool = False
) -> Audit:
    """Looks at a stretch; with `skip_unchanged` not at updates that change nothing captured but `updated_at`.

    Raises Nothing, SourceError, StreamError.
    """
    with CheckpointLog(kafka) as log:
        checkpoint = log.require()
    try:
        with (
            closing(Replica(source.address, source.replica_query_seconds)) as replica,
            closing(Stream(kafka, checkpoint.epoch, replica.database())) as stream,
        ):
            auditor = _Auditor(source, kafka, replica, stream, checkpoint, progress, skip_unchanged)
            return auditor.audit(times)
    except KafkaException as error:
        raise KafkaLost(
            f"Kafka at {kafka.kafka_bootstrap_servers} did not give us the stream ({error.args[0].str()})"
        ) from error


@dataclass
class _Auditor:
    _source: ReplicaSettings
    _kafka: KafkaSettings
    _replica: Replica
    _stream: Stream
    _checkpoint: Checkpoint
    _progress: OnProgress
    _skip_unchanged: bool

    def __post_init__(self) -> None:
        self._database = self._replica.database()
        self._flavor = "mariadb" if self._replica.is_mariadb() else "mysql"
        self._server_id = own_server_id(f"{self._kafka.topic_prefix}.audit.{os.getpid()}")
        self._tables = frozenset(CAPTURED)
        self._folds: dict[str, dict[str, KeyFolding]] = {}
        """By table and column, what folds ids that are texts, as the reader does."""
        self._read = Read()
        self._restarts: dict[Part, FilePosition] = {}
        self._tool = ""
        self._by_tool: list[FilePosition] = []
        self._sizes: dict[str, int] = {}
        self._asked: FilePosition = ("", 0)
        """Where the stretch begins that was asked for, whatever is purged of it."""

    def audit(self, times: Times) -> Audit:
        """Bounds, binlog, tool, Kafka, and what differs."""
        found, since_ms = self._bounds(times)
        binlog = _BinlogSums(Sums())
        columns = columns_of(self._replica.query)
        self._leave_out_tables(columns, found)
        self._fold_keys(Schema(columns))
        self._add_library_rows(binlog, found)
        self._ask_tool(binlog, found)
        found.rows = binlog.rows
        kafka = Sums(binlog.sums.key)
        for message in self._messages(found, since_ms):
            position = message.spot.file, message.spot.pos
            if isinstance(message, Misplaced):
                where = f"{message.where}: {message.why}"
                self._differ(found, [RowDifference("misplaced", message.table, message.spot, where)])
            elif order(position) < order(found.start):
                found.unjudged += 1
            elif position in self._read.unread:
                found.unverified += 1
            else:
                found.messages += 1
                kafka.add(message.spot, message.table, (message.op, message.before, message.after))
        differing = binlog.sums.differing(kafka)
        if differing:
            self._look_closely(found, differing, since_ms)
        if found.unjudged:
            found.gaps.append(f"{found.unjudged} rows and messages cannot be judged: one side of them is gone")
        if self._skip_unchanged:
            found.notes.append(SKIPPED)
        found.undecided = self._read.undecided
        found.rolled_back = self._read.rolled_back
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
        gaps: list[str] = []
        since_ms = times.since
        now_ms = self._replica.clock() // 1000
        kept = retention_seconds(self._kafka)
        kept_ms = 0 if isinf(kept) else now_ms - int(kept * 1000)
        if times.until is not None and times.until <= kept_ms:
            raise Nothing(
                f"Kafka keeps its topics from {_text(kept_ms)} on, and the stretch ends before; ask for a later one"
            )
        if since_ms < kept_ms:
            gaps.append(f"Kafka keeps its topics from {_text(kept_ms)} on; what is older cannot be judged")
            since_ms = kept_ms
        binlog = BinlogNow(replica.binlog_position(), checkpoint.file, checkpoint.file_begun * 1000)
        beats = self._stream.heartbeats(since_ms, server, binlog)
        if not beats:
            raise Nothing(
                f"there is no heartbeat of the reader on this server since {_text(since_ms)}: nothing was read;"
                " ask for an earlier stretch, or look at `consumer status`"
            )
        begin = beats[0]
        if begin.ms > since_ms:
            sentence = f"what Kafka holds of this server's stream begins at {_text(begin.ms)}"
            if _is_over(times, begin):
                raise Nothing(f"{sentence}, and the stretch ends before; ask for a later one")
            if self._stream.had_earlier:
                gaps.append(f"{sentence}; what is older cannot be judged")
            else:
                notes.append(sentence)
        self._asked = begin.file, begin.pos
        begin = self._not_purged(begin, beats, times, gaps)
        end, until_ms = self._end(times, beats)
        if beats[-1].ms < min(times.until or now_ms, now_ms) - SILENT_MS:
            gaps.append(
                f"the reader is silent since {_text(beats[-1].ms)}; what the server wrote later was not looked at"
            )
        found = Audit(begin.ms, until_ms, (begin.file, begin.pos), end, notes=notes, gaps=gaps)
        return found, begin.ms - SLACK_MS

    def _not_purged(self, begin: StreamBeat, beats: list[StreamBeat], times: Times, gaps: list[str]) -> StreamBeat:
        """Where the binlog that is still there begins; `gaps` gets what to say of it."""
        self._sizes = {str(name): int(size) for name, size, *_ in self._replica.query("SHOW BINARY LOGS")}
        if begin.file in self._sizes:
            return begin
        there = [beat for beat in beats if beat.file in self._sizes]
        if not there:
            raise Nothing(
                f"{begin.file} and what follows is purged on {self._source.address}: there is no binlog to read"
            )
        sentence = f"the binlog before {there[0].file}:{there[0].pos} ({_text(there[0].ms)}) is purged"
        if _is_over(times, there[0]):
            raise Nothing(f"{sentence}, and the stretch ends before; ask for a later one")
        gaps.append(f"{sentence}; what is older cannot be judged")
        return there[0]

    def _end(self, times: Times, beats: list[StreamBeat]) -> tuple[FilePosition, int]:
        stands = self._checkpoint.file, self._checkpoint.pos
        later = [beat for beat in beats if times.until is not None and beat.ms >= times.until]
        if later and order((later[0].file, later[0].pos)) < order(stands):
            return (later[0].file, later[0].pos), later[0].ms
        return stands, beats[-1].ms

    def _leave_out_tables(self, columns: Columns, found: Audit) -> None:
        for (table, column), declared in columns.items():
            if table in self._tables and (
                declared.data_type in _UNREADABLE_TYPES or "COMPRESSED" in declared.column_type.upper()
            ):
                self._tables -= {table}
                kind = declared.data_type.upper()
                found.gaps.append(
                    f"{table} was not looked at: mysql-replication cannot read its column {column} ({kind})"
                )

    def _fold_keys(self, schema: Schema) -> None:
        foldings = Foldings(self._replica.query)
        for table in self._tables:
            self._folds[table] = {
                name: folding_of_column(foldings, schema, (table, name), self._source.address)
                for name in CAPTURED[table].keys
                if schema.kind(table, name) is KeyKind.TEXT
            }

    # The binlog.

    def _add_library_rows(self, binlog: _BinlogSums, found: Audit) -> None:
        """The rows of the stretch that count; where the library fails, that ends there."""
        ahead = self._stream.newest_before(found.since_ms - AHEAD_MS)
        first = found.start if ahead is None or ahead.file not in self._sizes else (ahead.file, ahead.pos)
        total = self._bytes_between(first, found.end)

        def begun(position: FilePosition) -> None:
            self._progress("binlog", self._bytes_between(first, position), total)

        end = order(found.end)
        undecided: Undecided[_BinlogSums] = Undecided(lambda: _BinlogSums(Sums(binlog.sums.key)), _BinlogSums.add_all)
        items = self._library(first, found.start, lambda position: order(position) < end, self._read, begun)
        try:
            for item in items:
                if isinstance(item, Mark):
                    counted = undecided.mark(item)
                    if counted is not None:
                        binlog.add_all(counted)
                else:
                    self._note_begin(item)
                    undecided.newest.add(item)
        except Unreadable as error:
            found.gaps.append(f"{error}; the binlog from {error.position[0]}:{error.position[1]} on was not looked at")
            found.end = error.position
        found.statements = self._read.statements

    def _library(
        self,
        first: FilePosition,
        start: FilePosition,
        before: Callable[[FilePosition], bool],
        read: Read,
        begun: Callable[[FilePosition], None],
    ) -> Iterator[Row | Mark]:
        address, database = self._source.address, self._database
        for item in library.read(address, database, self._server_id, first, start, before, read, begun):
            if isinstance(item, Mark):
                yield item
            elif item.table in self._tables:
                row = folded(item, self._folds[item.table])
                if not self._is_skipped(row):
                    yield row

    def _is_skipped(self, item: Row | Message) -> bool:
        return self._skip_unchanged and is_unchanged(item)

    def _note_begin(self, row: Row) -> None:
        """Remembers from where the rows of a part have to be read."""
        part = part_of(row.spot.file, row.spot.pos)
        known = self._restarts.get(part)
        if known is None or order(row.begun) < order(known):
            self._restarts[part] = row.begun

    def _bytes_between(self, start: FilePosition, end: FilePosition) -> int:
        names = [name for name in self._sizes if order((start[0], 0)) <= order((name, 0)) < order((end[0], 0))]
        return sum(self._sizes[name] for name in names) - start[1] + end[1]

    def _ask_tool(self, binlog: _BinlogSums, found: Audit) -> None:
        """Has mysqlbinlog read what is compressed; what it read is no longer unread."""
        unread = self._read.unread
        positions = sorted((position for position, why in unread.items() if why == COMPRESSED), key=order)
        found.compressed = len(positions)
        path = tool.installed(self._flavor) if positions else None
        if path is not None:
            self._tool = path
            theirs = _BinlogSums(Sums(binlog.sums.key))
            try:
                for row in self._tool_rows(found, positions):
                    theirs.add(row)
            except tool.ToolFailed as error:
                found.gaps.append(str(error))
            else:
                binlog.add_all(theirs)
                found.by_tool = theirs.rows
                self._by_tool = positions
                for position in positions:
                    del unread[position]
        kinds = Counter(unread.values())
        for why, count in sorted(kinds.items()):
            if why == COMPRESSED:
                what = f"{count} compressed transactions, which mysql-replication cannot read"
                name = tool.TOOL_NAMES[self._flavor][0]
                hint = "" if path is not None else f"; install {name}, which checks them"
                found.gaps.append(f"{what}, were not checked{hint}")
            else:
                found.gaps.append(f"{count} events could not be read ({why})")

    def _tool_rows(self, found: Audit, positions: list[FilePosition]) -> Iterator[Row]:
        wanted = set(positions)
        for file in sorted({file for file, _ in positions}, key=lambda name: order((name, 0))):
            start = found.start[1] if file == found.start[0] else 4
            end = found.end[1] if file == found.end[0] else None
            last = max(pos for name, pos in positions if name == file)
            address = self._source.address
            for shown in tool.rows(self._tool, address, self._database, file, start, end, last, self._flavor):
                position = shown.spot.file, shown.spot.pos
                if position not in wanted or shown.table not in self._tables:
                    continue
                row = folded(shown, self._folds[shown.table])
                if not self._is_skipped(row):
                    yield row._replace(transaction=self._read.transactions[position])

    # Kafka.

    def _messages(self, found: Audit, since_ms: int) -> Iterator[Message | Misplaced]:
        first, last = order(self._asked), order(found.end)
        for number, message in enumerate(self._stream.rows(since_ms), 1):
            self._progress("messages", number, 0)
            position = order((message.spot.file, message.spot.pos))
            unplaced = isinstance(message, Misplaced) and not message.spot.file
            if isinstance(message, Message) and self._is_skipped(message):
                continue
            if unplaced or (first <= position < last and message.table in self._tables):
                yield message

    # What differs.

    def _look_closely(self, found: Audit, differing: list[Part], since_ms: int) -> None:
        """Row by row, in the first parts that differ; those of which Kafka lost something come last."""
        lost = self._stream.lost(since_ms)
        doubtful = {part for part in differing if any(_concerns(each, part) for each in lost)}
        parts = sorted(differing, key=lambda part: (part in doubtful, order(part)))
        looked_at, left = parts[:LOOKED_AT], parts[LOOKED_AT:]
        wanted = frozenset(looked_at)
        try:
            rows = self._again(found, wanted)
            positions = [(file, pos) for file, pos in self._by_tool if part_of(file, pos) in wanted]
            rows.update((row.spot, row) for row in self._tool_rows(found, positions))
        except (SourceError, Unreadable, tool.ToolFailed) as error:
            found.gaps.append(
                f"{len(differing)} parts of {PART_BYTES >> 20} MiB of the binlog cannot be judged: {error}"
            )
            return
        messages: dict[Spot, list[Message]] = {}
        for message in self._messages(found, since_ms):
            position = message.spot.file, message.spot.pos
            is_known = position not in self._read.unread and order(position) >= order(found.start)
            if isinstance(message, Message) and part_of(*position) in wanted and is_known:
                messages.setdefault(message.spot, []).append(message)
        comparison = PartComparison(self._kafka.lanes, self._stream.notices(since_ms), lost)
        compared = comparison.compare(rows, messages)
        found.noticed, found.unread_values = compared.noticed, compared.unread_values
        found.unjudged += compared.unjudged
        self._differ(found, compared.differences)
        self._note_unexamined(found, left, doubtful, are_differences=bool(compared.differences))

    def _note_unexamined(self, found: Audit, parts: list[Part], doubtful: set[Part], *, are_differences: bool) -> None:
        """What there is to report of parts that differ and were not looked at."""
        more = f"more parts of {PART_BYTES >> 20} MiB of the binlog"
        if gone := len(doubtful.intersection(parts)):
            found.gaps.append(f"{gone} {more} cannot be judged: Kafka has deleted messages of them")
        if others := len(parts) - gone:
            if are_differences:
                found.differences += others
                found.notes.append(f"{others} {more} differ and were not looked at row by row")
            else:  # a value that cannot be read makes a part differ, too
                found.gaps.append(f"{others} {more} were not looked at row by row; audit a shorter stretch")

    def _again(self, found: Audit, wanted: frozenset[Part]) -> dict[Spot, Row]:
        """The rows of some parts that count, by where they lie. Raises SourceError.

        Each part is read from where the first transaction begins that has a row there; transactions that fill several
        parts are read once.
        """
        rows: dict[Spot, Row] = {}
        reached = (0, 0)
        starts = {part: self._restarts[part] for part in wanted if part in self._restarts}
        for part, start in sorted(starts.items(), key=lambda item: order(item[1])):
            end = min(order(found.end), order((part[0], (part[1] + 1) * PART_BYTES)))
            if end <= reached:
                continue
            reached = end

            def before(position: FilePosition, end: tuple[int, int] = end) -> bool:
                nonlocal reached
                reached = max(reached, order(position))
                return order(position) < end

            undecided: Undecided[list[Row]] = Undecided(list, list.extend)
            for item in self._library(start, start, before, Read(), lambda _: None):
                if isinstance(item, Mark):
                    rows.update((row.spot, row) for row in undecided.mark(item) or ())
                elif part_of(item.spot.file, item.spot.pos) in wanted:
                    undecided.newest.append(item)
        return rows

    def _differ(self, found: Audit, differences: list[RowDifference]) -> None:
        found.differences += len(differences)
        found.shown.extend(differences[: SHOWN - len(found.shown)])


def _is_over(times: Times, first: StreamBeat) -> bool:
    """Whether a stretch is over by the first moment that there is anything of."""
    return times.until is not None and times.until <= first.ms


def _concerns(lost: Lost, part: Part) -> bool:
    """Whether Kafka may have deleted messages of this part's rows."""
    return lost.position is None or order((part[0], part[1] * PART_BYTES)) <= order(lost.position)


def _text(ms: float) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
