"""What a replay or a repair decided: everything the store has to write, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from consumer.leads.model import Conversion, Key, Lead, Left, QueueChange, Stint


@dataclass(slots=True)
class Outcome:
    """Collected while changes are replayed; the store writes it in one transaction.

    `leads` are those whose own row must be written. `claims` and `requirements` are (user_id, id) of rows that
    changed: present in the lead, they are written, absent, they are deleted. `stints` holds the final state of every
    stint that was opened or closed, by (user_id, number). `rechecks` maps a user to the reason.
    """

    leads: dict[int, Lead] = field(default_factory=dict)
    claims: set[tuple[int, Key]] = field(default_factory=set)
    requirements: set[tuple[int, Key]] = field(default_factory=set)
    stints: dict[tuple[int, int], Stint] = field(default_factory=dict)
    conversions: list[Conversion] = field(default_factory=list)
    queue_changes: dict[int, QueueChange] = field(default_factory=dict)
    rechecks: dict[int, str] = field(default_factory=dict)
    left: dict[str, Left] = field(default_factory=dict)
    """What claims and users have left behind now, where that was altered; empty: nothing any more."""
    there: set[tuple[int, int]] = field(default_factory=set)
    """After it was written: stints whose conversions had been recorded before, as a history is that is replayed."""
    more_wait: bool = False
    """More leads wait to be judged, in lanes that have passed what they waited for, than one transaction takes on."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Changes that were not applied, by reason (older than what we hold, orphaned)."""
