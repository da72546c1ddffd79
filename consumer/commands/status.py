"""Where the stream stands: reader, lanes, what waits; for people as a table, for programs as JSON.

Kafka and PostgreSQL are asked side by side; where one is silent, the other's half is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table

from consumer.settings import DatabaseSettings, KafkaSettings
from consumer.store import dead_letters, lanes, lookups
from consumer.store.connection import classified, open_session
from consumer.store.errors import StoreError
from consumer.store.lanes import LanePoint
from consumer.store.lookups import Rechecks
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.errors import StreamError
from consumer.stream.status import is_silent
from consumer.versions import age

ANSWER_SECONDS: Final = 4
"""How long somebody on call waits for what a server that is away cannot say."""

T = TypeVar("T")


@dataclass(frozen=True)
class LaneStatus:
    """One lane: `waiting` are messages in Kafka that were not applied, `lag_seconds` is the age of its version.

    `owner` is the applier that moved it last, `moved_seconds` ago: it may be gone since. Both are None where none did;
    `waiting` is None where Kafka does not say.
    """

    lane: int
    owner: str | None
    moved_seconds: float | None
    next_number: int
    waiting: int | None
    lag_seconds: float | None


@dataclass(frozen=True)
class Status:
    """Everything at one moment; None where a server is silent, and `problems` says of each why.

    `lag_seconds` is that of the reader, `silent_seconds` how long it has written nothing: None while it is at work.
    `stalled_seconds` is for how long nothing was applied in any lane, though something waits: None while appliers are
    at work. `dead_letters` are those not resolved.
    """

    file: str | None
    pos: int | None
    gtid_set: str | None
    lag_seconds: float | None
    silent_seconds: float | None
    waiting: int | None
    rechecks: int | None
    rechecks_due: int | None
    dead_letters: int | None
    lanes: list[LaneStatus]
    problems: list[str]
    stalled_seconds: float | None = None


class SilentServer(Exception):
    """A server that is silent; the message says why, as far as it is known."""


class _ReaderAnswer(NamedTuple):
    checkpoint: Checkpoint
    written_at: float


class _AppliedAnswer(NamedTuple):
    lanes: dict[int, LanePoint]
    rechecks: Rechecks
    dead_letters: int


def status(kafka: KafkaSettings, database: DatabaseSettings) -> Status:
    """Asks Kafka and PostgreSQL; no answer of theirs may take longer than ANSWER_SECONDS."""
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(_answer, lambda: _reader(kafka)), pool.submit(_answer, lambda: _applied(database))
    reader, applied = (part.result() for part in asked)
    problems = [part for part in (reader, applied) if isinstance(part, str)]
    now = time.time()
    read = reader if isinstance(reader, _ReaderAnswer) else None
    there = applied if isinstance(applied, _AppliedAnswer) else None
    checkpoint = read.checkpoint if read is not None else None
    points = there.lanes if there is not None else {}
    rows = [_lane(lane, point, checkpoint, now) for lane, point in points.items()]
    return Status(
        file=checkpoint.file if checkpoint is not None else None,
        pos=checkpoint.pos if checkpoint is not None else None,
        gtid_set=checkpoint.gtid_set if checkpoint is not None else None,
        lag_seconds=_age(checkpoint.version, now) if checkpoint is not None else None,
        silent_seconds=_silent(read, now),
        waiting=sum(row.waiting or 0 for row in rows) if checkpoint is not None and there is not None else None,
        rechecks=there.rechecks.waiting if there is not None else None,
        rechecks_due=there.rechecks.due if there is not None else None,
        dead_letters=there.dead_letters if there is not None else None,
        lanes=rows,
        problems=problems,
        stalled_seconds=_stalled(points, checkpoint),
    )


def as_json(found: Status) -> dict[str, object]:
    """The status as plain data."""
    return asdict(found)


def show(found: Status, console: Console) -> None:
    """The status as a table."""
    if found.file is not None:
        if found.silent_seconds is not None:
            state = (
                f"has written nothing for {_seconds(found.silent_seconds)}: it is not running, or cut off from Kafka;"
                " the last line of its log says why, and it goes on where it stood: consumer read"
            )
        else:
            state = f"{_seconds(found.lag_seconds)} behind"
        console.print(f"reader  {found.file}:{found.pos}, {state}", soft_wrap=True)
        if found.gtid_set:
            console.print(f"GTIDs   {found.gtid_set}", soft_wrap=True)
    if found.lanes:
        console.print(_table(found.lanes))
    if found.stalled_seconds is not None:
        console.print(
            f"nothing was applied for {_seconds(found.stalled_seconds)}: no applier is running, or none gets through;"
            " the last line of its log says why, and it goes on where it stood: consumer apply",
            soft_wrap=True,
        )
    if found.rechecks is not None:
        waiting = "" if found.waiting is None else f"{found.waiting:,} messages waiting; "
        console.print(
            f"{waiting}{found.rechecks:,} rechecks, {found.rechecks_due:,} due; {found.dead_letters:,} dead letters"
        )


def _table(rows: list[LaneStatus]) -> Table:
    table = Table("lane", "last moved by", "ago", "next number", "waiting", "behind")
    for column in table.columns[2:]:
        column.justify = "right"
    for lane in rows:
        ago = "" if lane.moved_seconds is None else _seconds(lane.moved_seconds)
        waiting = "" if lane.waiting is None else f"{lane.waiting:,}"
        numbers = f"{lane.next_number:,}", waiting
        table.add_row(str(lane.lane), lane.owner or "nobody yet", ago, *numbers, _seconds(lane.lag_seconds))
    return table


def _reader(kafka: KafkaSettings) -> _ReaderAnswer:
    with CheckpointLog(kafka, within=ANSWER_SECONDS) as checkpoints:
        return _ReaderAnswer(checkpoints.require(), checkpoints.written_at or 0.0)


def _applied(database: DatabaseSettings) -> _AppliedAnswer:
    with (
        classified(database.conninfo),
        open_session(
            database.conninfo, "leadstream status", seconds=ANSWER_SECONDS, answer_seconds=ANSWER_SECONDS
        ) as connection,
    ):
        letters = sum(dead_letters.counts(connection).values())
        return _AppliedAnswer(lanes.lanes(connection), lookups.rechecks(connection), letters)


def _answer(ask: Callable[[], T]) -> T | str:
    """What a server says, or why it says nothing."""
    try:
        return ask()
    except (StreamError, StoreError) as error:
        return str(error)


def _lane(lane: int, point: LanePoint, checkpoint: Checkpoint | None, now: float) -> LaneStatus:
    waiting = None
    if checkpoint is not None:
        known = point.epoch == checkpoint.epoch and lane < len(checkpoint.next_seqs)
        waiting = max(0, checkpoint.next_seqs[lane] - point.next_seq) if known else 0
    moved_seconds = None if point.owner is None else round(max(0.0, point.still), 1)
    return LaneStatus(lane, point.owner, moved_seconds, point.next_seq, waiting, _age(point.version, now))


def _stalled(points: dict[int, LanePoint], checkpoint: Checkpoint | None) -> float | None:
    """For how long nothing was applied in any lane; None where one is at work, or where that is not known."""
    if checkpoint is None or any(point.epoch != checkpoint.epoch for point in points.values()):
        return None
    found = lanes.stalled(points, checkpoint.next_seqs)
    return round(min(found.values()), 1) if found and len(found) == len(points) else None


def _silent(read: _ReaderAnswer | None, now: float) -> float | None:
    return round(now - read.written_at, 1) if read is not None and is_silent(read.written_at, now) else None


def _age(version: int, now: float) -> float | None:
    old = age(version, now)
    return None if old is None else round(old, 1)


def _seconds(lag: float | None) -> str:
    return "unknown" if lag is None else f"{lag:,.1f} s"
