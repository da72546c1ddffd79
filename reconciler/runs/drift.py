"""Which differences between what we hold and two live reads are drift, and what is wrong with entries. Pure."""

from __future__ import annotations

from enum import StrEnum

from consumer.leads.drift import Difference
from consumer.leads.model import Claim, Key, Lead, Requirement, Row, Table
from consumer.mysql.live_read import LiveLead
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


def confirmed(
    found: list[Difference], held: Lead | None, first: LiveLead, second: LiveLead, floor: int
) -> list[Difference]:
    """Those of the differences between `held` and the second read that the stream is not about to settle.

    It has passed the first read, whose floor (µs) is given. A row that is not the same in both reads changed in
    between, and one that the stream wrote or removed above the floor may have changed there and back again, and be held
    as it was for a while: the rest is on its way. A lead that differs as a whole is confirmed.
    """
    return [
        difference
        for difference in found
        if difference.table is None
        or (
            row_of(first, difference.table, difference.row_id) == row_of(second, difference.table, difference.row_id)
            and written(held, difference.table, difference.row_id) <= floor
        )
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


def row_of(live: LiveLead, table: Table, row_id: Key) -> Row | None:
    """One row of a live read; None where MySQL has none."""
    match table:
        case Table.USERS:
            return live.user
        case Table.CLAIMS:
            return live.claims.get(row_id)
        case Table.CLAIM_REQUIREMENTS:
            return live.requirements.get(row_id)
