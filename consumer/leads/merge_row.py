"""Rows into a lead's working copy, whether they come from the stream or from a live read; nothing is judged here."""

from __future__ import annotations

from consumer.leads.drift import same_text
from consumer.leads.model import Change, Claim, ClaimRow, Key, Lead, Requirement, RequirementRow, Row, UserRow
from consumer.leads.outcome import Outcome


def merge(change: Change, lead: Lead, outcome: Outcome) -> bool:
    """Takes one row change of the stream into the lead; returns whether what we hold was altered by it.

    A change up to the lead's `read_floor` and a row older than the one we hold are skipped and counted. `changed_at`
    moves when the change matters: when our state was altered, or when before and after differ although we hold the
    row as it came out already (it was read live).

    A removal leaves no row that could carry its version, so it raises `read_floor` to just below that version: a live
    read that began before may still show the row, and is refused by `repair`.
    """
    before, after, version = change.before, change.after, change.version
    if version <= lead.read_floor:
        outcome.skipped["read live already"] += 1
        return False
    if after is not None:
        altered = put(lead, after, version, outcome)
        if altered is False and before == after:
            return False
    elif before is not None:
        stays = change.ties is not None and change.ties.stays
        altered = remove(lead, before, version, outcome, user_alone=stays)
        if altered is not None:
            lead.read_floor = max(lead.read_floor, version - 1)
    else:
        return False
    if altered is None:
        outcome.skipped["older than what we hold"] += 1
        return False
    lead.changed_at = change.at
    outcome.leads[lead.user_id] = lead
    return altered


def put(lead: Lead, row: Row, version: int, outcome: Outcome) -> bool | None:
    """Writes a row into the lead, stamped with a version.

    Returns whether that altered what we hold; None where we hold a newer version of the row, which stays.
    """
    if isinstance(row, RequirementRow):
        return _put_requirement(lead, row, version, outcome)
    if isinstance(row, ClaimRow):
        return _put_claim(lead, row, version, outcome)
    if lead.version > version:
        return None
    if lead.exists and lead.signature == row.signature and lead.enabled == row.enabled:
        return False
    lead.exists, lead.signature, lead.enabled, lead.version = True, row.signature, row.enabled, version
    return True


def _put_requirement(lead: Lead, row: RequirementRow, version: int, outcome: Outcome) -> bool | None:
    held = lead.requirements.get(row.id)
    if held is None:
        lead.requirements[row.id] = Requirement(row.id, row.claim_id, row.type, row.status, row.reason, version)
    elif held.version > version:
        return None
    elif _is_held(held, row):
        return False
    else:
        held.claim_id, held.type, held.status, held.reason = row.claim_id, row.type, row.status, row.reason
        held.version = version
    outcome.requirements.add((lead.user_id, row.id))
    return True


def _put_claim(lead: Lead, row: ClaimRow, version: int, outcome: Outcome) -> bool | None:
    held = lead.claims.get(row.id)
    if held is None:
        lead.claims[row.id] = Claim(row.id, row.status, version)
    elif held.version > version:
        return None
    elif held.status == row.status:
        return False
    else:
        held.status, held.version = row.status, version
    outcome.claims.add((lead.user_id, row.id))
    return True


def _is_held(held: Requirement, row: RequirementRow) -> bool:
    return (
        held.status == row.status
        and held.type == row.type
        and held.claim_id == row.claim_id
        and held.reason == row.reason
    )


def remove(lead: Lead, row: Row, version: int, outcome: Outcome, *, user_alone: bool = False) -> bool | None:
    """Takes a row out of the lead; a user takes the claims along unless `user_alone`, and a claim its requirements.

    InnoDB's cascades are invisible in the binlog of most servers. Returns whether that altered what we hold; None
    where we hold a newer version of the row, which stays.
    """
    if version < version_held(lead, row):
        return None
    if isinstance(row, RequirementRow):
        return _remove_requirement(lead, row.id, outcome)
    if isinstance(row, ClaimRow):
        return _remove_claim(lead, row.id, outcome)
    _: UserRow = row  # whatever other rows there may be one day, only a user's takes everything along
    altered = lead.exists
    if not user_alone:
        altered = altered or bool(lead.claims) or bool(lead.requirements)
        for claim_id in list(lead.claims):
            _remove_claim(lead, claim_id, outcome)
        for requirement_id in list(lead.requirements):
            _remove_requirement(lead, requirement_id, outcome)
    lead.exists, lead.enabled, lead.signature, lead.version = False, True, None, version
    return altered


def _remove_claim(lead: Lead, claim_id: Key, outcome: Outcome) -> bool:
    altered = lead.claims.pop(claim_id, None) is not None
    for requirement in list(lead.requirements.values()):
        if requirement.claim_id == claim_id:
            altered = _remove_requirement(lead, requirement.id, outcome)
    if altered:
        outcome.claims.add((lead.user_id, claim_id))
    return altered


def _remove_requirement(lead: Lead, requirement_id: Key, outcome: Outcome) -> bool:
    if lead.requirements.pop(requirement_id, None) is None:
        return False
    outcome.requirements.add((lead.user_id, requirement_id))
    return True


def version_held(lead: Lead, row: Row) -> int:
    """The version of the row that we hold under the same id; -1 where we hold none."""
    held: Lead | Claim | Requirement | None = lead
    if isinstance(row, RequirementRow):
        held = lead.requirements.get(row.id)
    elif isinstance(row, ClaimRow):
        held = lead.claims.get(row.id)
    else:
        _: UserRow = row  # as in `remove`
    return -1 if held is None else held.version


def holds(lead: Lead, row: Row) -> bool:
    """Whether the lead holds this row of a live read, as far as PostgreSQL can hold its texts."""
    if isinstance(row, RequirementRow):
        requirement = lead.requirements.get(row.id)
        return (
            requirement is not None
            and requirement.claim_id == row.claim_id
            and same_text(requirement.status, row.status)
            and same_text(requirement.type, row.type)
            and same_text(requirement.reason, row.reason)
        )
    if isinstance(row, ClaimRow):
        claim = lead.claims.get(row.id)
        return claim is not None and same_text(claim.status, row.status)
    return lead.exists and same_text(lead.signature, row.signature) and lead.enabled == row.enabled
