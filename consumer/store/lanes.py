"""Where each lane stands in PostgreSQL: what an applier resumes from, and moves by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from consumer.store import sql
from consumer.store.connection import Connection, classified, open_session

STALLED_SECONDS: Final = 60.0
"""After so long in which nothing was applied, though something waits, whoever applies a lane is taken for dead."""


class LaneState(NamedTuple):
    """A lane as PostgreSQL has it.

    `next_seq` is the first number not yet applied, `version` that of the last completed transaction or heartbeat in
    µs, `offsets` the next offset to read per topic.
    """

    epoch: int
    next_seq: int
    version: int
    offsets: dict[str, int]


class LanePoint(NamedTuple):
    """How far a lane has come; version and number both move when anything is applied in it, heartbeats included.

    `version` is in µs, `still` is how long (s) nothing has been applied, by PostgreSQL's clock; `owner` is the applier
    that moved the lane last, or that was there first where none has yet; None before. `offsets` is the next offset to
    read per topic.
    """

    version: int
    next_seq: int
    still: float = 0.0
    owner: str | None = None
    epoch: int = 1
    offsets: Mapping[str, int] = MappingProxyType({})

    @property
    def state(self) -> LaneState:
        """What an applier resumes from."""
        return LaneState(self.epoch, self.next_seq, self.version, dict(self.offsets))


class LaneMove(NamedTuple):
    """One lane's step forward in its epoch: from `expected_seq` to `next_seq`, `version` and `offsets`.

    `owner` names the process, for people who look.
    """

    lane: int
    epoch: int
    expected_seq: int
    next_seq: int
    version: int
    offsets: Mapping[str, int]
    owner: str


def lanes(connection: Connection) -> dict[int, LanePoint]:
    """Every lane, in their order. Everybody who shows or compares lanes asks here."""
    return {lane: LanePoint(*point) for lane, *point in connection.execute(sql.LANE_POINTS)}


def wait_until_settled(connection: Connection) -> None:
    """Waits while `consumer setup` changes how many lanes there are.

    Whoever holds the lock of a run before it does this may rely on their number: setup refuses to change it until that
    lock is given free (`consumer.store.schema.raise_lanes`). In autocommit mode, so that the lane is not held.
    """
    connection.execute(sql.AWAIT_LANES)


def ahead_of(
    points: Mapping[int, LanePoint] | Mapping[int, LaneState], epoch: int, next_seqs: Sequence[int]
) -> list[int]:
    """Lanes of this epoch in which more is applied than a checkpoint knows of, that has these next numbers."""
    ours = {lane: point.next_seq for lane, point in points.items() if point.epoch == epoch and lane < len(next_seqs)}
    return sorted(lane for lane, seq in ours.items() if seq > next_seqs[lane])


def stalled(points: Mapping[int, LanePoint], sent: Sequence[int]) -> dict[int, float]:
    """For how long (s) nothing was applied in each lane in which something waits and nobody is at work.

    `sent` is each lane's next number in Kafka. A lane in which nothing was ever applied is none of these.
    """
    return {
        lane: point.still
        for lane, point in points.items()
        if point.owner is not None
        and point.still > STALLED_SECONDS
        and lane < len(sent)
        and sent[lane] > point.next_seq
    }


def lanes_there(conninfo: str) -> dict[int, LaneState]:
    """Every lane that PostgreSQL has, none where our schema is not there yet. Raises StoreUnavailable."""
    with classified(conninfo), open_session(conninfo, "leadstream setup") as connection:
        if connection.execute("SELECT to_regclass('leadstream.lanes')").fetchone() == (None,):
            return {}
        return {lane: point.state for lane, point in lanes(connection).items()}
