"""When a batch ends that nothing fills: what the stream brought is not kept from everybody by what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event as StopEvent
from typing import Any, cast

import pytest

from consumer import metrics
from consumer.binlog.events import Begin, Commit, Event, RowChange
from consumer.binlog.stream import BinlogStream
from consumer.mysql.session import Replica
from consumer.patience import Patience
from consumer.reader.claim_owners import Answer, ClaimOwners
from consumer.reader.progress import ReaderProgress
from consumer.reader.reader import OPEN_SECONDS, PATIENCE_SECONDS, Copy, Heart, proven, server_heartbeat_seconds
from consumer.reader.router import Router
from consumer.reader.sequencer import Sequencer
from consumer.settings import ReaderSettings
from consumer.stopping import Stop
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.envelope import EnvelopeWriter
from consumer.stream.producer import ReaderTransactions

BEGIN = Begin("g:1", 1, "b.000001", 4, 1_000)
ROW = RowChange("users", "c", None, "{}", None, None, 1, 1, 4, 0)
COMMIT = Commit("b.000001", 99)


class Backlog:
    """A stream that has always more to read; nearly all of it is of tables that are not captured."""

    server, file, pos, file_begun, drained = "s", "b.000001", 99, 1_700_000_000, False

    def __init__(self, reads: list[list[Event]], clock: Clock, stop: Stop) -> None:
        self.reads = reads
        self.clock = clock
        self.stop = stop

    def read(self) -> list[Event]:
        self.clock.now += 1.0
        found = self.reads.pop(0)
        if not self.reads:
            self.stop.event.set()
        return found

    def gtid_set(self) -> str:
        return ""

    def prepared(self) -> list[Any]:
        return []


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Kept:
    """Transactions that tell when they were committed."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.at: list[float] = []
        self.rows: list[int] = []

    def ready(self) -> None: ...

    def await_commit(self) -> None: ...

    def taken_commit_seconds(self) -> list[float]:
        return []

    def commit(self, reached: Checkpoint) -> None:
        self.at.append(self.clock.now)
        self.rows.append(reached.rows)


def batches(monkeypatch: pytest.MonkeyPatch, reads: list[list[Event]]) -> tuple[Kept, Iterator[None]]:
    clock, stop = Clock(), Stop()
    monkeypatch.setattr("consumer.reader.reader.time.monotonic", clock.monotonic)
    start = Checkpoint(
        epoch=1, flavor="mysql", server="s", gtid_set="", file="b.000001", pos=4, version=0, next_seqs=[1] * 3
    )
    kept = Kept(clock)
    writer = EnvelopeWriter("p", "mysql", "company", 1)
    sequencer = Sequencer(start, "p.{}".format, writer, lambda *_: None)
    owners = ClaimOwners(1000, lambda _: Answer({}, (1, 99)))
    copy = Copy(
        cast(BinlogStream, Backlog(reads, clock, stop)),
        Router(sequencer, owners, lambda _: None),
        sequencer,
        writer,
        cast(ReaderTransactions, kept),
        Heart(cast(Replica, None), 100_000),
        ReaderSettings(),
        metrics.Lag("reader"),
        ReaderProgress(lambda: 0.0),
    )
    return kept, copy.batches(stop)


def test_rows_in_a_backlog_of_other_tables_are_committed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take longer than Kafka leaves a transaction open: each try would end at the same place."""
    kept, copied = batches(monkeypatch, [[BEGIN, ROW, COMMIT], *([[]] * 30)])
    next(copied)
    assert kept.at == [101.0 + PATIENCE_SECONDS]


def test_a_source_transaction_that_lasts_is_checkpointed_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Event] = [BEGIN, *([ROW] * 5)]
    kept, copied = batches(monkeypatch, [rows, *([[]] * 300)])
    next(copied)
    assert kept.at == [101.0 + PATIENCE_SECONDS + OPEN_SECONDS]
    assert kept.rows == [5]


def test_nothing_is_committed_where_nothing_came(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, copied = batches(monkeypatch, [[]] * 300)
    assert not list(copied)
    assert not kept.at


@pytest.mark.parametrize(("ours", "deadline", "theirs"), [(2, 30, 1), (300, 30, 15), (2, 0.5, 0.25), (1e-9, 30, 0.001)])
def test_a_quiet_server_is_heard_of_before_it_is_taken_for_dead(ours: float, deadline: float, theirs: float) -> None:
    settings = ReaderSettings(reader_heartbeat_seconds=ours, reader_deadline_seconds=deadline)
    assert server_heartbeat_seconds(settings) == theirs


def checkpoint(version: int) -> Checkpoint:
    return Checkpoint(
        epoch=1, flavor="mysql", server="s", gtid_set="", file="b.000001", pos=4, version=version, next_seqs=[1]
    )


class Refused(Exception):
    """What a broker says at the end of every transaction."""


def test_a_kafka_that_takes_no_commit_is_not_asked_again_and_again_at_once() -> None:
    """Each attempt begins to commit a batch, and hears only then that it may not."""
    pauses: list[float] = []
    start = checkpoint(1)

    def attempt() -> None:
        for _ in proven([None], lambda: start):
            patience.progressed()
        if len(pauses) < 4:
            raise Refused

    patience = Patience(
        lambda error: isinstance(error, Refused), StopEvent(), lambda _error, _attempt, s: pauses.append(s)
    )
    patience(attempt)
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]


def test_a_batch_is_got_on_with_once_the_one_before_is_committed() -> None:
    first, second = checkpoint(1), checkpoint(2)
    known = iter([first, first, second, second, second])
    assert len(list(proven([None] * 4, lambda: next(known)))) == 1
