"""The reader: MySQL's binlog into Kafka, every change once, in order, with the checkpoint it resumes from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec
import structlog

from consumer import measures, metrics
from consumer.binlog.errors import BinlogPurged, IdTaken
from consumer.binlog.events import Begin, Event, SchemaChange, Single, Statement, UnreadableRow, hides_rows
from consumer.binlog.position import OrderedPosition, Position, PreparedGroup, ordered_position
from consumer.binlog.stream import BinlogStream
from consumer.capture import OF_CLAIMS
from consumer.mysql.errors import Passing
from consumer.mysql.foreign_keys import Action, ForeignKeys, foreign_keys
from consumer.mysql.key_folding import Foldings
from consumer.mysql.session import ClockAndPosition, Replica
from consumer.patience import Patience
from consumer.process import own_server_id
from consumer.reader.claim_owners import ClaimOwners, ReplicaClaims
from consumer.reader.commit_times import CommitTimes, Wrong
from consumer.reader.lag import Backlog
from consumer.reader.progress import ReaderProgress
from consumer.reader.router import RolledBack, Router
from consumer.reader.sequencer import Send, Sequencer
from consumer.settings import KafkaSettings, ReaderSettings, ReplicaSettings
from consumer.stopping import Stop
from consumer.stream.checkpoint import Checkpoint, PreparedTransaction
from consumer.stream.checkpoint_log import CheckpointLog, demand_database
from consumer.stream.envelope import EnvelopeWriter, StreamPosition, transaction_id
from consumer.stream.errors import KafkaLost, KafkaRefused, ReaderFenced, StreamError
from consumer.stream.producer import ReaderTransactions
from consumer.stream.topics import await_kafka
from consumer.tuning import collect_seldom

log = structlog.get_logger()

PASSING: Final = (Passing, KafkaLost, RolledBack)
"""What trying again from the last checkpoint gets over."""
BURST_SECONDS: Final = 60.0
"""Wrong commit times with less than this between them are one burst."""
CORRECTED_HINT: Final = {
    Wrong.AHEAD: "find out whose session has SET timestamp, or whether the server's or its source's clock was wrong",
    Wrong.BEHIND: "find out whose session has SET timestamp; MariaDB's secure_timestamp forbids it",
}
SUCCESSOR_SECONDS: Final = 15.0
"""Within this a reader that took over has written its name."""
PURGED: Final = "binlogs were purged before they were read"

VERBS: Final = {"c": "INSERT", "u": "UPDATE", "d": "DELETE"}
UNREADABLE: Final = "whom it concerns, or everybody where that is unknown, is read live; `consumer doctor` shows why"

NOTHING_CUT: Final[dict[str, Any]] = {
    "rows": 0,
    "lanes_open": [],
    "unfinished": "",
    "unfinished_version": 0,
    "unfinished_ts_us": 0,
    "prepared": [],
}
"""A checkpoint's fields where no transaction is cut and none prepared."""
_NEVER: Final = float("inf")

PATIENCE_SECONDS: Final = 5.0
"""For how long a batch that is not full waits for more where the stream brings little that is captured: what it holds
is visible to nobody meanwhile."""
OPEN_SECONDS: Final = 120.0
"""After which it waits for the end of a source transaction no longer: Kafka ends a transaction that stays open for
transaction.timeout.ms, and what it ended is read from the binlog once more."""

SHORTEST_HEARTBEAT_SECONDS: Final = 0.001
"""MySQL takes less for none."""

T = TypeVar("T")


class UndoneTransaction(StreamError):
    """A transaction that is in Kafka in part, and was rolled back on the server."""


class Reader:
    """The process that follows the binlog until it is stopped."""

    def __init__(
        self,
        replica: ReplicaSettings,
        kafka: KafkaSettings,
        settings: ReaderSettings,
        stop: Stop,
        skipped: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """`skipped` are files and positions of events that are passed over where they cannot be read."""
        self._skipped = skipped
        self._uncaptured: dict[bytes, str] = {}
        self._source = replica
        self._kafka = kafka
        self._settings = settings
        self._stop = stop
        self._replica = Replica(replica.address, replica.replica_query_seconds)
        self._foldings = Foldings(self._replica.query)
        self._transactions = ReaderTransactions(kafka, stop.event.is_set)
        self._lag = metrics.Lag(measures.READER)
        self._progress = ReaderProgress(self._lag.seconds)
        self._left_out: frozenset[Begin] = frozenset()
        self._unread = unread_reports()
        self._patience = Patience(self._is_passing, stop.event, report_lost)
        self._connected = False
        self._id = uuid4().hex
        self._database = ""
        self._claimed = False
        self._in_charge = False
        """Whether older readers are fenced, and what was committed last is known since."""

    def run(self) -> None:
        """Reads until stopped.

        Raises ReaderFenced when another reader took over, NoCheckpoint before `consumer setup`, WrongDatabase,
        UndoneTransaction, KafkaRefused, and what BinlogStream raises except Passing, which like KafkaLost is
        tried again.
        """
        collect_seldom()
        try:
            self._patience(self._begin)
            owners = claim_owners(self._replica, self._source, self._settings, self._foldings)
            with measures.registered(metrics.Sent(self._next_seqs)):
                self._patience(self._follow, owners)
        except PASSING:
            if not self._stop:
                raise
        finally:
            self._replica.close()
            self._transactions.close()
        log.info("process_stopped", process=measures.READER)

    def _is_passing(self, error: BaseException) -> bool:
        """Whether to try again: a password that Kafka refuses may be renewed there and not yet in its file."""
        return isinstance(error, PASSING) or (isinstance(error, KafkaRefused) and self._transactions.may_be_let_in())

    def _next_seqs(self) -> list[int]:
        committed = self._transactions.committed
        return committed.next_seqs if committed is not None else []

    def _begin(self) -> None:
        """Takes over from an older reader, once it is certain that we can go on where it stands."""
        await_kafka(self._kafka, self._stop.event)
        with CheckpointLog(self._kafka) as checkpoints:
            found = checkpoints.require()
        self._database = self._replica.database()
        demand_database(found.database, self._database, self._kafka.topic_prefix)
        for file, pos in self._skipped:
            if ordered_position(file, pos) < ordered_position(found.file, found.pos):
                log.warning(
                    "skip_event_passed",
                    position=f"{file}:{pos}",
                    reason=f"the reader is at {found.file}:{found.pos} already",
                    hint="leave --skip-event away",
                )
        try:
            open_stream(self._source, self._kafka, self._settings, position(found), found.server).check()
        except BinlogPurged:
            if self._settings.on_purged == "fail":
                raise
        self._take_over()

    def _take_over(self) -> None:
        """Fences older readers, only then asks what was committed last, and writes our name below it.

        By that name whoever was fenced knows that it was by a successor. Raises ReaderFenced where we had written it
        already and another one stands there now.
        """
        self._in_charge = False
        self._transactions.take_over()
        with CheckpointLog(self._kafka) as checkpoints:
            last = checkpoints.require()
        if self._claimed and last.reader != self._id:
            raise ReaderFenced(
                f"another reader has taken over the stream {self._kafka.topic_prefix}; run one reader per TOPIC_PREFIX"
            )
        demand_database(last.database, self._database, self._kafka.topic_prefix)
        self._transactions.ready()
        self._transactions.commit(msgspec.structs.replace(last, reader=self._id, database=self._database))
        self._transactions.await_commit()
        self._claimed = self._in_charge = True

    def _look_for_successor(self, fenced: ReaderFenced) -> None:
        """Raises that we were fenced where a successor's name is written; returns where nobody wrote one for long.

        Then it was Kafka that ended our transaction: it took longer than transaction.timeout.ms, as when this process
        or its machine stood still.
        """
        deadline = time.monotonic() + SUCCESSOR_SECONDS
        while not self._stop:
            try:
                with CheckpointLog(self._kafka) as checkpoints:
                    found = checkpoints.newest()
            except KafkaLost as error:
                log.warning("server_away", server="kafka", reason=str(error))
            except KafkaRefused as error:
                if not self._transactions.may_be_let_in():
                    raise fenced from error
            else:
                if found is not None and found.reader != self._id:
                    raise fenced
                if time.monotonic() >= deadline:
                    log.warning(
                        "transaction_timed_out",
                        reason=str(fenced.__cause__),  # what Kafka says, not what we took it for
                        hint="no other reader has written anything, so this one goes on from its last checkpoint",
                    )
                    return
            self._stop.wait(1.0)

    def _follow(self, owners: ClaimOwners) -> None:
        """Reads from the last checkpoint on, over purged binlogs where ON_PURGED says so, until stopped or failing."""
        while not self._stop:
            try:
                self._copy(owners)
            except ReaderFenced as fenced:
                if not self._transactions.broken:
                    raise
                self._look_for_successor(fenced)
            except BinlogPurged as purged:
                if self._settings.on_purged == "fail":
                    raise
                self._pass_over(purged)
                owners.forget()

    def _pass_over(self, purged: BinlogPurged) -> None:
        """Goes on at the server's present, and asks every lane to have its leads read live."""
        self._transactions.abort()
        last = self._transactions.committed
        if last is None:
            raise purged
        self._transactions.ready()
        self._replica.stay_at()
        database = self._source.address.database
        now = at_present(last, self._replica, self._kafka, database, self._transactions.send, PURGED)
        log.error(
            "binlogs_purged",
            reason=str(purged),
            hint="the reader goes on at the present, and every lead is queued to be read live",
            last_position=f"{last.file}:{last.pos}",
            position=f"{now.file}:{now.pos}",
        )
        self._transactions.commit(now)
        self._transactions.await_commit()

    def _copy(self, owners: ClaimOwners) -> None:
        """Reads from the last checkpoint on, until stopped or until something fails."""
        if self._transactions.broken or not self._in_charge:
            self._in_charge = False
            self._transactions.renew()
            self._take_over()
            owners.forget()
        elif self._transactions.abort():
            owners.forget()  # it knows claims from beyond the checkpoint
        start = self._transactions.committed
        if self._stop or start is None:
            return
        if self._connected:
            self._transactions.assure()  # the server ends the stream of whoever has our id: that may be our successor
        stream = open_stream(
            self._source,
            self._kafka,
            self._settings,
            position(start),
            start.server,
            self._foldings,
            self._skipped,
            self._uncaptured,
        )
        self._replica.stay_at()
        with self._stop.waking(stream.close), stream:
            stream.connect()
            self._connected = True
            self._replica.stay_at(stream.server)  # its binlog and its answers are held against each other
            if stream.server != start.server:
                owners.forget()  # places that the other server's answers were given at mean nothing on this one
            log.info(
                "reader_connected",
                address=str(self._source.address),
                position=f"{start.file}:{start.pos}",
                gtid_set=start.gtid_set,
            )
            begun: OrderedPosition | None = ordered_position(start.file, start.pos)
            if stream.server != start.server:  # whose binlog may have what is prepared still far before what we lack
                begun = None if start.prepared else (0, 0)
            writer = EnvelopeWriter(self._kafka.topic_prefix, start.flavor, self._source.address.database, start.epoch)
            times = commit_times(self._replica, start.flavor)
            sequencer = Sequencer(
                start,
                self._kafka.topic,
                writer,
                self._transactions.send,
                times,
                self._transactions.largest,
                self._report_oversized,
            )
            router = Router(
                sequencer,
                owners,
                self._unread,
                self._left_out,
                reached=lambda: ordered_position(stream.file, stream.pos),
                foreign_keys=partial(ask_foreign_keys, self._replica),
                skip_unchanged=self._settings.skip_unchanged_updates,
            )
            copy = Copy(
                stream,
                router,
                sequencer,
                writer,
                self._transactions,
                Heart(self._replica, self._settings.reader_heartbeat_seconds, begun),
                self._settings,
                self._lag,
                self._progress,
            )
            try:
                for _ in proven(copy.batches(self._stop), lambda: self._transactions.committed):
                    self._patience.progressed()
            except RolledBack as undone:
                self._leave_out(undone, start)
                raise
            except IdTaken:
                self._transactions.abort()
                self._transactions.assure()  # it may have been our successor, which is no wrong setting
                raise

    def _report_oversized(self, table: str, op: str, file: str, pos: int, row: int, reason: str) -> None:
        self._unread(UnreadableRow(table, op, None, None, None, None, False, file, pos, row, reason))

    def _leave_out(self, undone: RolledBack, start: Checkpoint) -> None:
        committed, begin = self._transactions.committed or start, undone.begin
        if committed.rows and committed.unfinished == transaction_id(begin.gtid, begin.file, begin.pos):
            raise UndoneTransaction(
                f"{undone} and {committed.rows} of its rows are in Kafka; run consumer setup with another TOPIC_PREFIX"
                " and reconciler verify --repair"
            ) from undone
        self._left_out |= {begin}


def proven(batches: Iterable[None], committed: Callable[[], Checkpoint | None]) -> Iterator[None]:
    """Those batches by which one more is `committed` for certain: beginning to commit is nothing got on with yet."""
    last = committed()
    for _ in batches:
        newest = committed()
        if newest is not last:
            last = newest
            yield


class Copy:
    """One run of the stream, from one checkpoint: read, number, send, commit."""

    def __init__(
        self,
        stream: BinlogStream,
        router: Router,
        sequencer: Sequencer,
        writer: EnvelopeWriter,
        transactions: ReaderTransactions,
        heart: Heart,
        settings: ReaderSettings,
        lag: metrics.Lag,
        progress: ReaderProgress,
    ) -> None:
        self._stream = stream
        self._router = router
        self._sequencer = sequencer
        self._writer = writer
        self._transactions = transactions
        self._batch_rows = settings.reader_batch_rows
        self._heart = heart
        self._covered = 0
        self._due = _NEVER
        self._lag = lag
        self._progress = progress

    def batches(self, stop: Stop) -> Iterator[None]:
        """Copies until `stop`, and yields after each batch that it began to commit.

        Raises Passing, after committing what had arrived whole, KafkaLost, ReaderFenced, RolledBack.
        """
        stream, transactions, sequencer = self._stream, self._transactions, self._sequencer
        while not stop:
            try:
                events = stream.read()
            except Passing:
                self._finish()
                raise
            transactions.ready()
            self._writer.clock(time.time_ns() // 1_000_000)
            self._router.feed(events)
            self._heart.beat(stream, sequencer)
            if self._is_full() or (sequencer.may_rest and stream.drained and sequencer.sent > self._covered):
                self._commit()
                yield
            self._progress.log_if_due(stream.file, stream.pos)
        self._finish()

    def _is_full(self) -> bool:
        """A batch ends with a source transaction, and inside of one only where that alone fills a batch or lasts."""
        sequencer = self._sequencer
        waiting = sequencer.sent - self._covered
        if waiting < self._batch_rows:
            return waiting > 0 and self._is_due()
        return sequencer.may_rest or sequencer.rows >= self._batch_rows or waiting >= 2 * self._batch_rows

    def _is_due(self) -> bool:
        """Whether the batch at hand, in which something was sent, has waited for long enough."""
        now = time.monotonic()
        if self._due == _NEVER:
            self._due = now + PATIENCE_SECONDS
        return now >= self._due + (0 if self._sequencer.may_rest else OPEN_SECONDS)

    def _finish(self) -> None:
        self._sequencer.cut()
        if self._sequencer.sent > self._covered:
            self._commit()
        self._transactions.await_commit()

    def _commit(self) -> None:
        """Commits everything that `read` returned so far; inside a source transaction, its rows so far too."""
        stream, sequencer = self._stream, self._sequencer
        sequencer.cut()
        prepared = [PreparedTransaction(group.xid, group.file, group.pos) for group in stream.prepared()]
        self._transactions.commit(
            sequencer.checkpoint(stream.server, stream.gtid_set(), stream.file, stream.pos, prepared, stream.file_begun)
        )
        self._covered = sequencer.sent
        self._due = _NEVER
        self._count()

    def _count(self) -> None:
        """Moves the counts of the batch to the metrics."""
        metrics.VERSIONS_AHEAD.set(self._sequencer.ahead_us / 1e6)
        self._lag.processed(self._sequencer.applied_us)
        asked, queries = self._router.owners.taken_counts()
        counts = self._router.taken_counts()
        hits = max(0, sum(sum(counts[table].values()) for table in OF_CLAIMS) - asked)
        rows = sum(sum(of_table.values()) for of_table in counts.values())
        self._progress.add(rows, hits, asked, queries)
        metrics.CLAIM_HITS.inc(hits)
        metrics.CLAIMS_ASKED.inc(asked)
        metrics.CLAIM_QUERIES.inc(queries)
        for table, of_table in counts.items():
            for op, rows in of_table.items():
                metrics.ROWS.labels(measures.READER, table, op).inc(rows)
        for took in self._transactions.taken_commit_seconds():
            metrics.BATCH_SECONDS.labels(measures.READER).observe(took)


class Heart:
    """Lets every lane's version move on where its users do not."""

    def __init__(self, replica: Replica, seconds: float, begun: OrderedPosition | None = (0, 0)) -> None:
        """`begun` is where the stream stood on this server when it began; None: not known before all was read once."""
        self._replica = replica
        self._backlog = Backlog(replica)
        self._seconds = seconds
        self._begun = begun
        self._due = time.monotonic() + seconds
        self._waiting: ClockAndPosition | None = None
        self._read_at = 0.0

    def beat(self, stream: BinlogStream, sequencer: Sequencer) -> None:
        """Sends heartbeats when they are due and the stream has seen all that was committed until the server's clock.

        On a busy server that moment may never come; then they carry the version of the last transaction. They say where
        the stream stands, but not while the server sends something once more, as MySQL does by GTID with prepared XA
        transactions: what was sent before lies behind that place. Raises Passing, LoginRefused, PreconditionFailed, and
        what sending raises.
        """
        if not sequencer.may_rest:
            return
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._backlog.measure(stream.file, stream.pos, sequencer.sent, drained=stream.drained)
            if stream.drained:
                self._begun = self._begun or (0, 0)
                self._read_at = time.monotonic()
                self._waiting = self._replica.clock_and_position()
            else:
                is_past = self._begun is not None and ordered_position(stream.file, stream.pos) >= self._begun
                sequencer.heartbeat(0, _stands(stream) if is_past else None)
        waiting = self._waiting
        if waiting is not None and ordered_position(stream.file, stream.pos) >= ordered_position(
            waiting.file, waiting.pos
        ):
            self._waiting = None
            sequencer.heartbeat(waiting.ts_us, _stands(stream), time.monotonic() - self._read_at)


def _stands(stream: BinlogStream) -> StreamPosition:
    return StreamPosition(stream.server, stream.file, stream.pos)


def position(checkpoint: Checkpoint) -> Position:
    """Where BinlogStream starts for a checkpoint."""
    prepared = tuple(PreparedGroup(group.xid, group.file, group.pos) for group in checkpoint.prepared)
    return Position(checkpoint.gtid_set, checkpoint.file, checkpoint.pos, prepared, checkpoint.file_begun)


def at_present(
    last: Checkpoint, replica: Replica, kafka: KafkaSettings, database: str, send: Send, reason: str
) -> Checkpoint:
    """The server's present behind a checkpoint; sends what has every lane's leads read live.

    The clock is read before the position: what a live read at that time shows, the stream repeats at most.
    """
    now = replica.clock_and_position()
    writer = EnvelopeWriter(kafka.topic_prefix, last.flavor, database, last.epoch)
    writer.clock(time.time_ns() // 1_000_000)
    version = max(last.version, last.unfinished_version)  # rows of a transaction that was cut lie in Kafka with it
    present = msgspec.structs.replace(last, version=version, **NOTHING_CUT)
    sequencer = Sequencer(present, kafka.topic, writer, send)
    sequencer.recheck_all(reason, now.ts_us)
    return sequencer.checkpoint(replica.server(), now.gtid_set, now.file, now.pos, [])


def open_stream(
    source: ReplicaSettings,
    kafka: KafkaSettings,
    settings: ReaderSettings,
    start: Position,
    server: str,
    foldings: Foldings | None = None,
    skipped: frozenset[tuple[str, int]] = frozenset(),
    uncaptured: dict[bytes, str] | None = None,
) -> BinlogStream:
    """The binlog from `start` on, not connected yet."""
    return BinlogStream(
        source.address,
        source.address.database,
        start,
        server_id(source, kafka),
        server_heartbeat_seconds(settings),
        settings.reader_deadline_seconds,
        server,
        strict=True,
        foldings=foldings,
        skipped=skipped,
        uncaptured=uncaptured,
    )


def server_heartbeat_seconds(settings: ReaderSettings) -> float:
    """How often a server with nothing to send shows that it is there: well before it would be taken for dead."""
    return max(SHORTEST_HEARTBEAT_SECONDS, min(settings.reader_heartbeat_seconds, settings.reader_deadline_seconds) / 2)


def server_id(source: ReplicaSettings, kafka: KafkaSettings) -> int:
    """Our id among the server's replicas: the one that is set, else one of our own."""
    return source.replica_server_id or own_server_id(kafka.topic_prefix)


def claim_owners(
    replica: Replica, source: ReplicaSettings, settings: ReaderSettings, foldings: Foldings
) -> ClaimOwners:
    """An empty memory of whose claims are whose, which asks the replica."""
    return ClaimOwners(settings.claim_cache_size, ReplicaClaims(replica, source.replica_query_seconds, foldings))


def ask_foreign_keys(replica: Replica) -> ForeignKeys:
    """What the company's foreign keys do, and a warning where the account may not see it."""
    found = foreign_keys(replica)
    if Action.UNKNOWN in found:
        log.warning(
            "foreign_keys_unknown",
            reason="the account may not see the foreign keys of claims and claim_requirements",
            hint="GRANT REFERENCES on both tables; until then, who returns after a deletion is read live",
        )
    return found


def commit_times(replica: Replica, flavor: str) -> CommitTimes:
    """Commit times held against the replica's clock; of a burst of wrong ones, one is logged and all are counted."""
    logged = -float("inf")

    def report(wrong: Wrong, found: int, taken: int) -> None:
        nonlocal logged
        metrics.CORRECTED_TIMES.labels(wrong.value).inc()
        now = time.monotonic()
        if now - logged >= BURST_SECONDS:
            log.warning(
                "commit_time_corrected",
                wrong=wrong.value,
                binlog_time=as_text(found),
                taken_time=as_text(taken),
                hint=CORRECTED_HINT[wrong],
            )
        logged = now

    return CommitTimes(replica.clock, report, mariadb=flavor == "mariadb")


def as_text(us: int) -> str:
    """A time (µs since the epoch) for people."""
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Bursts:
    """Reasons that were logged less than BURST_SECONDS ago."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def begins(self, reason: str, now: float) -> bool:
        """Whether a reason is to be logged (again); `now` in seconds of a clock that never goes back."""
        if now - self._logged.get(reason, -BURST_SECONDS) < BURST_SECONDS:
            return False
        self._logged = {known: at for known, at in self._logged.items() if now - at < BURST_SECONDS}
        self._logged[reason] = now
        return True

    def __len__(self) -> int:
        return len(self._logged)


def unread_reports() -> Callable[[Statement | SchemaChange | UnreadableRow], None]:
    """What reports changes without readable rows; of a burst for one reason, one is logged and all are counted."""
    bursts = Bursts()

    def report(event: Statement | SchemaChange | UnreadableRow) -> None:
        table = event.table or "unknown"
        verb = VERBS[event.op] if isinstance(event, UnreadableRow) else event.verb
        metrics.UNREADABLE.labels(table, verb if verb in metrics.VERBS else "OTHER").inc()
        if not isinstance(event, UnreadableRow):
            if hides_rows(event):
                log.error("rows_not_logged", table=table, verb=verb, hint="every lead is queued to be read live")
            else:
                log.warning("schema_changed", table=table, verb=verb)
        elif bursts.begins(event.reason, time.monotonic()):
            position = f"{event.file}:{event.pos}"
            log.error("row_unreadable", table=table, position=position, reason=event.reason, hint=UNREADABLE)

    return report


def report_lost(error: BaseException, _attempt: int, pause: float) -> None:
    """Reports that something passing failed and when it is tried again."""
    server = "kafka" if isinstance(error, KafkaLost | KafkaRefused) else "mysql"
    metrics.RECONNECTS.labels(measures.READER, server).inc()
    log.warning("connection_lost", server=server, reason=str(error), pause_seconds=round(pause, 1))


def print_changes(
    source: ReplicaSettings,
    kafka: KafkaSettings,
    settings: ReaderSettings,
    stop: Stop,
    show: Callable[[str], None],
    begin: Position | None = None,
    end: OrderedPosition | None = None,
) -> None:
    """Shows the messages that `run` would send, from the last checkpoint or `begin` on, and sends none.

    It ends before the first transaction that starts at `end` or later, or else when stopped. From `begin` on, versions
    are counted anew. Raises NoCheckpoint before `consumer setup`, and what BinlogStream raises.
    """
    with CheckpointLog(kafka) as checkpoints:
        start = checkpoints.require()
    if begin is not None:
        start = msgspec.structs.replace(start, version=0, **NOTHING_CUT)
    writer = EnvelopeWriter(kafka.topic_prefix, start.flavor, source.address.database, start.epoch)
    with closing(Replica(source.address, source.replica_query_seconds)) as replica:
        foldings = Foldings(replica.query)
        owners = claim_owners(replica, source, settings, foldings)
        sequencer = Sequencer(
            start,
            kafka.topic,
            writer,
            lambda _topic, value, _key, _lane: show(str(value)),
            commit_times(replica, start.flavor),
        )
        # The server ends whoever comes with an id that is taken: the reader, if it were its own.
        guest = source.model_copy(update={"replica_server_id": own_server_id(f"{kafka.topic_prefix}.{os.getpid()}")})
        stream = open_stream(guest, kafka, settings, begin or position(start), start.server, foldings)
        router = Router(
            sequencer,
            owners,
            unread_reports(),
            reached=lambda: ordered_position(stream.file, stream.pos),
            foreign_keys=partial(ask_foreign_keys, replica),
            skip_unchanged=settings.skip_unchanged_updates,
        )
        with stop.waking(stream.close), stream:
            stream.connect()
            replica.stay_at(stream.server)
            while not stop:
                events = stream.read()
                writer.clock(time.time_ns() // 1_000_000)
                router.feed(events if end is None else list(takewhile(partial(is_before, end), events)))
                if end is not None and ordered_position(stream.file, stream.pos) >= end:
                    return


def is_before(end: OrderedPosition, event: Event) -> bool:
    """False for the start of a transaction at `end` or later."""
    return not isinstance(event, Begin | Single) or ordered_position(event.file, event.pos) < end
