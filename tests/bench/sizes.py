"""How large each benchmark is: what the figures are made with, and a small one in which everything runs once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes of every part."""

    rows: int = 1_000_000
    """Changes in the history of single rows, which reader and applier share."""
    touched_rows: int = 400_000
    """Changes in the history of which most change no captured column but `updated_at`."""
    every_peer_twice: bool = True
    """Whether peers read the touched history also without leaving out what did not change."""
    larger_rows: int = 1_000_000
    """Changes in histories of larger transactions."""
    larger: tuple[int, ...] = (100, 0)
    """Rows in one of those transactions; 0: all."""
    runs: int = 3
    """Rounds, in each of which every contestant has its turn."""
    library_rows: int = 50_000
    """What mysql-replication reads: at some 4,000 rows/s the whole would take four minutes a round."""
    most_appliers: int = 3
    outage: int = 10_000_000
    """Changes that pile up in Kafka; 0: not measured with the rest."""
    changes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    """What the pipeline's costs are measured at as changes grow."""
    users: tuple[int, ...] = (12_000, 100_000, 1_000_000)
    """What the safety net's costs are measured at as users grow; all of it at the last."""
    probes: int = 300
    """Commits timed for each figure of latency."""
    precall_seconds: float = 20.0
    """How long pre-call checks go on for each figure."""


QUICK = Sizes(
    rows=10_000,
    touched_rows=4_000,
    every_peer_twice=False,
    larger_rows=5_000,
    larger=(0,),
    runs=1,
    library_rows=2_000,
    most_appliers=1,
    outage=0,
    changes=(5_000,),
    users=(1_000,),
    probes=20,
    precall_seconds=2.0,
)
