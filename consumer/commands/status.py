"""Where the stream stands: reader, lanes, what waits; for people as a table, for programs as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from consumer.settings import DatabaseSettings, KafkaSettings
from consumer.store import dead_letters, lanes, lookups
from consumer.store.connection import classified, open_session
from consumer.store.lanes import LanePoint
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.versions import age

ANSWER_SECONDS = 10


@dataclass(frozen=True)
class LaneStatus:
    """One lane: `waiting` are messages in Kafka that were not applied, `lag_seconds` is the age of its version.

    `owner` is the applier that moved it last, `moved_seconds` ago: it may be gone since. Both are None where none did.
    """

    lane: int
    owner: str | None
    moved_seconds: float | None
    next_number: int
    waiting: int
    lag_seconds: float | None


@dataclass(frozen=True)
class Status:
    """Everything at one moment. `dead_letters` are those not resolved; `lag_seconds` is that of the reader."""

    file: str
    pos: int
    gtid_set: str
    lag_seconds: float | None
    waiting: int
    rechecks: int
    rechecks_due: int
    dead_letters: int
    lanes: list[LaneStatus]


def status(kafka: KafkaSettings, database: DatabaseSettings) -> Status:
    """Asks Kafka and PostgreSQL.

    Raises NoCheckpoint or NotPrepared before `consumer setup`, KafkaLost and StoreUnavailable.
    """
    with CheckpointLog(kafka) as checkpoints:
        checkpoint = checkpoints.require()
    with (
        classified(database.conninfo),
        open_session(database.conninfo, "leadstream status", seconds=ANSWER_SECONDS) as connection,
    ):
        points = lanes.lanes(connection)
        rechecks = lookups.rechecks(connection)
        letters = sum(dead_letters.counts(connection).values())
    now = time.time()
    applied = [_lane(lane, point, checkpoint, now) for lane, point in points.items()]
    return Status(
        file=checkpoint.file,
        pos=checkpoint.pos,
        gtid_set=checkpoint.gtid_set,
        lag_seconds=_age(checkpoint.version, now),
        waiting=sum(lane.waiting for lane in applied),
        rechecks=rechecks.waiting,
        rechecks_due=rechecks.due,
        dead_letters=letters,
        lanes=applied,
    )


def as_json(found: Status) -> dict[str, object]:
    """The status as plain data."""
    return asdict(found)


def show(found: Status, console: Console) -> None:
    """The status as a table."""
    console.print(f"reader  {found.file}:{found.pos}, {_seconds(found.lag_seconds)} behind")
    if found.gtid_set:
        console.print(f"GTIDs   {found.gtid_set}")
    table = Table("lane", "last moved by", "ago", "next number", "waiting", "behind")
    for column in table.columns[2:]:
        column.justify = "right"
    for lane in found.lanes:
        ago = "" if lane.moved_seconds is None else _seconds(lane.moved_seconds)
        numbers = f"{lane.next_number:,}", f"{lane.waiting:,}"
        table.add_row(str(lane.lane), lane.owner or "nobody yet", ago, *numbers, _seconds(lane.lag_seconds))
    console.print(table)
    console.print(
        f"{found.waiting:,} messages waiting; {found.rechecks:,} rechecks, {found.rechecks_due:,} due;"
        f" {found.dead_letters:,} dead letters"
    )


def _lane(lane: int, point: LanePoint, checkpoint: Checkpoint, now: float) -> LaneStatus:
    known = point.epoch == checkpoint.epoch and lane < len(checkpoint.next_seqs)
    waiting = max(0, checkpoint.next_seqs[lane] - point.next_seq) if known else 0
    moved_seconds = None if point.owner is None else round(max(0.0, point.still), 1)
    return LaneStatus(lane, point.owner, moved_seconds, point.next_seq, waiting, _age(point.version, now))


def _age(version: int, now: float) -> float | None:
    old = age(version, now)
    return None if old is None else round(old, 1)


def _seconds(lag: float | None) -> str:
    return "unknown" if lag is None else f"{lag:,.1f} s"
