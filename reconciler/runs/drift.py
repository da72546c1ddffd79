"""Which differences between what we hold and a live read are drift, and what is wrong with entries. Pure."""

from __future__ import annotations

from enum import StrEnum

from consumer.leads.drift import Difference
from consumer.leads.model import Claim, Key, Lead, Requirement, Table
from consumer.store.call_centre.entries import EntryDrift


class EntryKind(StrEnum):
    """What may be wrong with the call centre's entries of a lead, as reports count it."""

    MISSING = "entry_missing"
    """No entry was made for the stay in the queue that agents see the lead in."""
    STALE = "entry_stale"
    """A pending one of a queue they are not in, or of somebody who must not be called."""
    DOUBLE = "entry_double"
    """More than one pending."""


def entry_kinds(drift: EntryDrift) -> list[EntryKind]:
    """What is wrong with the entries of one lead."""
    wrong = {EntryKind.MISSING: drift.missing, EntryKind.STALE: drift.stale, EntryKind.DOUBLE: drift.double}
    return [kind for kind, is_so in wrong.items() if is_so]


def confirmed(found: list[Difference], held: Lead | None, floor: int) -> list[Difference]:
    """Those of the differences between `held` and a live read that the stream is not about to settle.

    It has passed the read, whose floor (µs) is given. A row that the stream wrote or removed above the floor may have
    changed there and back again, and be held as it was for a while: the rest is on its way. A lead that differs as a
    whole is confirmed.
    """
    return [
        difference
        for difference in found
        if difference.table is None or written(held, difference.table, difference.row_id) <= floor
    ]


def written(held: Lead | None, table: Table, row_id: Key) -> int:
    """The version of a row that we hold; where we hold none, the one up to which it may have been removed."""
    if held is None:
        return 0
    row: Claim | Requirement | None
    match table:
        case Table.USERS:
            return held.version
        case Table.CLAIMS:
            row = held.claims.get(row_id)
        case Table.CLAIM_REQUIREMENTS:
            row = held.requirements.get(row_id)
    return held.read_floor if row is None else row.version
