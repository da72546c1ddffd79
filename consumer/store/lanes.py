"""Where each lane stands in PostgreSQL: what an applier resumes from, and moves by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from consumer.store.connection import classified, open_session


class LaneState(NamedTuple):
    """A lane as PostgreSQL has it.

    `next_seq` is the first number not yet applied, `version` that of the last completed transaction or heartbeat in
    µs, `offsets` the next offset to read per topic.
    """

    epoch: int
    next_seq: int
    version: int
    offsets: dict[str, int]


class LaneMove(NamedTuple):
    """One lane's step forward: from (`epoch`, `expected_seq`) to (`new_epoch`, `next_seq`, `version`, `offsets`).

    `new_epoch` None keeps the epoch. `owner` names the process, for people who look.
    """

    lane: int
    epoch: int
    expected_seq: int
    next_seq: int
    version: int
    offsets: Mapping[str, int]
    owner: str
    new_epoch: int | None = None


def lanes_there(conninfo: str) -> dict[int, LaneState]:
    """Every lane that PostgreSQL has, none where our schema is not there yet. Raises StoreUnavailable."""
    with classified(conninfo), open_session(conninfo, "leadstream setup") as connection:
        if connection.execute("SELECT to_regclass('leadstream.lanes')").fetchone() == (None,):
            return {}
        rows = connection.execute(
            "SELECT lane, epoch, next_seq, version, offsets FROM leadstream.lanes ORDER BY lane"
        ).fetchall()
    return {lane: LaneState(epoch, seq, version, offsets) for lane, epoch, seq, version, offsets in rows}
