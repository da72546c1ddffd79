"""Where the stream stands: reader, lanes, what waits; for people as a table, for programs as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from consumer.settings import DatabaseSettings, KafkaSettings
from consumer.store.connection import classified, open_session
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.dead_letter_log import LetterBox
from consumer.versions import age

LANES = """
SELECT lane, epoch, next_seq, version, owner,
       CASE WHEN owner IS NOT NULL THEN extract(epoch FROM clock_timestamp() - moved_at)::float8 END
FROM leadstream.lanes ORDER BY lane
"""
"""How far each lane was applied, by whom last, and how long ago that was."""

RECHECKS = "SELECT count(*), count(*) FILTER (WHERE not_before <= now()) FROM leadstream.rechecks"
"""Leads that wait to be read live, and those of them that are due."""

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
    """Everything at one moment. `dead_letters` are those not settled; `lag_seconds` is that of the reader."""

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
        lanes = connection.execute(LANES).fetchall()
        rechecks = connection.execute(RECHECKS).fetchone() or (0, 0)
    now = time.time()
    applied = [_lane(row, checkpoint, now) for row in lanes]
    return Status(
        file=checkpoint.file,
        pos=checkpoint.pos,
        gtid_set=checkpoint.gtid_set,
        lag_seconds=_age(checkpoint.version, now),
        waiting=sum(lane.waiting for lane in applied),
        rechecks=rechecks[0],
        rechecks_due=rechecks[1],
        dead_letters=_dead_letters(kafka),
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


def _lane(row: tuple[int, int, int, int, str | None, float | None], checkpoint: Checkpoint, now: float) -> LaneStatus:
    lane, epoch, next_seq, version, owner, moved = row
    known = epoch == checkpoint.epoch and lane < len(checkpoint.next_seqs)
    waiting = max(0, checkpoint.next_seqs[lane] - next_seq) if known else 0
    moved_seconds = None if moved is None else round(max(0.0, moved), 1)
    return LaneStatus(lane, owner, moved_seconds, next_seq, waiting, _age(version, now))


def _age(version: int, now: float) -> float | None:
    old = age(version, now)
    return None if old is None else round(old, 1)


def _seconds(lag: float | None) -> str:
    return "unknown" if lag is None else f"{lag:,.1f} s"


def _dead_letters(kafka: KafkaSettings) -> int:
    with LetterBox(kafka) as box:
        return len(box.letters())
