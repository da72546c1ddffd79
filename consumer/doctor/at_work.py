"""Whether somebody reads and somebody applies. Pure; what was set up and never started lacks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from consumer.doctor.check import Check, State, judged
from consumer.process import Process
from consumer.store.lanes import LanePoint, ahead_of, stalled
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.status import is_silent

CLOCKS_SECONDS: Final = 10.0
"""How far the clocks of PostgreSQL and of the reader's machine may be apart."""
GOES_ON: Final = "the last line of its log says why, and it goes on where it stood"


class ReaderStatus(NamedTuple):
    """What Kafka says of the reader: its checkpoint (None before setup), when (s) it was written, and by whom.

    `problem` says why Kafka says nothing; else it is empty.
    """

    checkpoint: Checkpoint | None = None
    written_at: float = 0.0
    written_by: Process | None = None
    problem: str = ""


def judge(found: ReaderStatus, points: Mapping[int, LanePoint], now: float, *, idle: bool) -> list[Check]:
    """Reader and appliers, as far as Kafka and PostgreSQL say anything. `now` is in seconds since 1970.

    `idle` is whether appliers are set to do nothing.
    """
    if found.checkpoint is None:
        return []
    checks = [_reader(found, found.checkpoint, now)]
    if points:
        checks.append(_appliers(found.checkpoint, points, now, idle=idle))
    set_back = _set_back(found, found.checkpoint, points, now)
    return checks if set_back is None else [*checks, set_back]


def _set_back(found: ReaderStatus, checkpoint: Checkpoint, points: Mapping[int, LanePoint], now: float) -> Check | None:
    """What is wrong where Kafka lost its newest messages. Lanes move on while we ask: what was applied just now may be
    ahead of a checkpoint that was read before."""
    age = now - found.written_at
    settled = is_silent(found.written_at, now)
    lanes = [
        lane
        for lane in ahead_of(points, checkpoint.epoch, checkpoint.next_seqs)
        if settled or points[lane].still > age + CLOCKS_SECONDS
    ]
    if not lanes:
        return None
    sentence = f"lane {', '.join(map(str, lanes))}: more is applied than the checkpoint knows of; Kafka lost the rest"
    return judged("kafka", "set back", State.FAILED, sentence, "stop the reader and run consumer setup --repair")


def _reader(found: ReaderStatus, checkpoint: Checkpoint, now: float) -> Check:
    check = partial(judged, "kafka", "reader")
    if not checkpoint.reader or found.written_by is None:
        return check(State.OK, "nobody has read the binlog since it was set up; consumer read does", "")
    name = found.written_by.name
    if not is_silent(found.written_at, now):
        return check(State.OK, f"the reader {name} is at work", "")
    sentence = f"the reader {name} has written nothing since {_clock(found.written_at)}: it is not running, or cut off"
    return check(State.WARNING, f"{sentence} from Kafka", f"consumer read; {GOES_ON}")


def _appliers(checkpoint: Checkpoint, points: Mapping[int, LanePoint], now: float, *, idle: bool) -> Check:
    check = partial(judged, "postgres", "appliers")
    if idle:
        return check(State.OK, "SMART_DISCOVERY_ENABLED is false: appliers do nothing", "")
    if all(point.owner is None for point in points.values()):
        return check(State.OK, "nobody has applied anything since it was set up; consumer apply does", "")
    ours = {lane: point for lane, point in points.items() if point.epoch == checkpoint.epoch}
    still = stalled(ours, checkpoint.next_seqs)
    if not still:
        return check(State.OK, "nothing waits for an applier that is not there", "")
    since = _clock(now - min(still.values()))
    if len(still) == len(points):
        sentence = f"nothing was applied since {since}: no applier is running, or none gets through"
    else:
        lanes = ", ".join(map(str, sorted(still)))
        sentence = f"nothing was applied in lane {lanes} since {since}: whoever has it does not get through"
    return check(State.WARNING, sentence, f"consumer apply; {GOES_ON}")


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
