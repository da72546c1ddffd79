"""Where what we hold of a lead differs from what MySQL holds: compared and confirmed here, without I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from consumer.leads.model import NEVER, ClaimRow, Key, Lead, RequirementRow, Row, Table, UserRow
from consumer.leads.rules import Rules, queue_for
from consumer.store.call_centre.entries import EntryDrift
from reconciler.replica import LiveLead


class Drift(StrEnum):
    """The kinds of difference that reports count."""

    UNKNOWN = "unknown"
    """The user is in MySQL, and nothing of them was ever judged here."""
    UNSETTLED = "unsettled"
    """The stream left the lead to a recheck: too little was known to judge it."""
    USER_MISSING = "user_missing"
    USER_GONE = "user_gone"
    SIGNATURE = "signature"
    ENABLED = "enabled"
    CLAIM_MISSING = "claim_missing"
    CLAIM_GONE = "claim_gone"
    CLAIM_STATUS = "claim_status"
    REQUIREMENT_MISSING = "requirement_missing"
    REQUIREMENT_GONE = "requirement_gone"
    REQUIREMENT_STATUS = "requirement_status"
    REQUIREMENT_OTHER = "requirement_other"
    QUEUE = "queue"
    """The rows are the same, but the lead is not in the queue that the rules say."""


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


class Difference(NamedTuple):
    """One row that differs, or with `table` None the lead as a whole."""

    kind: Drift
    table: Table | None = None
    row_id: Key = ""


def differences(held: Lead | None, live: LiveLead, rules: Rules) -> list[Difference]:
    """How what we hold differs from what MySQL holds; empty where nothing is to be done.

    Of a user that MySQL does not have only that is compared: claims left behind by it put nobody into a queue.
    """
    if held is None:
        return [] if live.user is None else [Difference(Drift.UNKNOWN)]
    if held.judge_after == NEVER:
        return [Difference(Drift.UNSETTLED)]
    if held.stint == 0:
        return [Difference(Drift.UNKNOWN)]
    found = _user(held, live.user)
    if live.user is not None:
        found += _claims(held, live.claims) + _requirements(held, live.requirements)
    if not found and held.judge_after is None and queue_for(held, rules)[0] is not held.queue_type:
        found.append(Difference(Drift.QUEUE))
    return found


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
    if table is Table.USERS:
        return held.version
    row = held.claims.get(row_id) if table is Table.CLAIMS else held.requirements.get(row_id)
    return held.read_floor if row is None else row.version


def row_of(live: LiveLead, table: Table, row_id: Key) -> Row | None:
    """One row of a live read; None where MySQL has none."""
    if table is Table.USERS:
        return live.user
    if table is Table.CLAIMS:
        return live.claims.get(row_id)
    return live.requirements.get(row_id)


def _user(held: Lead, user: UserRow | None) -> list[Difference]:
    if user is None:
        return [Difference(Drift.USER_GONE, Table.USERS)] if held.exists else []
    if not held.exists:
        return [Difference(Drift.USER_MISSING, Table.USERS)]
    found = []
    if not same_text(held.signature, user.signature):
        found.append(Difference(Drift.SIGNATURE, Table.USERS))
    if held.enabled != user.enabled:
        found.append(Difference(Drift.ENABLED, Table.USERS))
    return found


def _claims(held: Lead, live: dict[Key, ClaimRow]) -> list[Difference]:
    found = [Difference(Drift.CLAIM_GONE, Table.CLAIMS, id_) for id_ in held.claims if id_ not in live]
    for id_, row in live.items():
        claim = held.claims.get(id_)
        if claim is None:
            found.append(Difference(Drift.CLAIM_MISSING, Table.CLAIMS, id_))
        elif not same_text(claim.status, row.status):
            found.append(Difference(Drift.CLAIM_STATUS, Table.CLAIMS, id_))
    return found


def _requirements(held: Lead, live: dict[Key, RequirementRow]) -> list[Difference]:
    table = Table.CLAIM_REQUIREMENTS
    found = [Difference(Drift.REQUIREMENT_GONE, table, id_) for id_ in held.requirements if id_ not in live]
    for id_, row in live.items():
        requirement = held.requirements.get(id_)
        if requirement is None:
            found.append(Difference(Drift.REQUIREMENT_MISSING, table, id_))
        elif not same_text(requirement.status, row.status):
            found.append(Difference(Drift.REQUIREMENT_STATUS, table, id_))
        elif not (
            requirement.claim_id == row.claim_id
            and same_text(requirement.type, row.type)
            and same_text(requirement.reason, row.reason)
        ):
            found.append(Difference(Drift.REQUIREMENT_OTHER, table, id_))
    return found


def same_text(held: str | None, live: str | None) -> bool:
    """Whether PostgreSQL holds this text; it can hold no NUL character and has U+FFFD instead."""
    return held == live or (held is not None and live is not None and held == live.replace("\0", "\ufffd"))
