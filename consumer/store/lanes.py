"""Where each lane stands in PostgreSQL: what an applier resumes from, and moves by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


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
