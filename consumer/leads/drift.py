"""How a live read differs from what we hold of a lead: the one comparison. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from consumer.leads.model import NEVER, ClaimRow, Key, Lead, LiveState, RequirementRow, Table, UserRow, held_text
from consumer.leads.rules import Rules, queue_for


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


class Difference(NamedTuple):
    """One row that differs, or with `table` None the lead as a whole."""

    kind: Drift
    table: Table | None = None
    row_id: Key = ""


def differences(held: Lead | None, live: LiveState, rules: Rules) -> list[Difference]:
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
        found += _claims(held, {claim.id: claim for claim in live.claims})
        found += _requirements(held, {requirement.id: requirement for requirement in live.requirements})
    # What only waits to be judged is where the rules of its last judgement put it no more; of those it is no drift.
    is_due = held.judge_after is None or (
        held.rules_version < rules.version and queue_for(held, rules.by(held.rules_version))[0] is held.queue_type
    )
    if not found and is_due and queue_for(held, rules)[0] is not held.queue_type:
        found.append(Difference(Drift.QUEUE))
    return found


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
    """Whether PostgreSQL holds this text, as far as it can."""
    return held == live or (held is not None and live is not None and held == held_text(live))
