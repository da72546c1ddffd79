"""Leads, claims, requirements and stints as columns: the parameters of the statements that write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from consumer.leads.left_behind import claim_of
from consumer.leads.model import Claim, Key, Lead, Left, Requirement, Stint
from consumer.store.arrays import Array, bigints, booleans, integers, moments, nested_texts, stored, texts

Columns = dict[str, Array]


def lead_columns(leads: Sequence[Lead]) -> Columns:
    """For `UPDATE_LEADS`, and all but the lane for `ADD_LEADS`. A time of 0 means none."""
    return {
        "user_id": bigints([lead.user_id for lead in leads]),
        "present": booleans([lead.exists for lead in leads]),
        "enabled": booleans([lead.enabled for lead in leads]),
        "signature": texts([lead.signature for lead in leads]),
        "version": bigints([lead.version for lead in leads]),
        "read_floor": bigints([lead.read_floor for lead in leads]),
        "judge_after": bigints([lead.judge_after for lead in leads]),
        "changed_at": moments([lead.changed_at or None for lead in leads]),
        "stint": integers([lead.stint for lead in leads]),
        "queue_type": texts([lead.queue_type for lead in leads]),
        "rule": texts([lead.rule for lead in leads]),
        "opened_at": moments([lead.opened_at or None for lead in leads]),
        "outstanding_seen": texts([nested_texts(lead.outstanding_seen) for lead in leads]),
        "converted_signatures": texts([nested_texts(lead.converted_signatures) for lead in leads]),
        "rules_version": integers([lead.rules_version for lead in leads]),
    }


def claim_columns(held: Sequence[tuple[int, Claim]]) -> Columns:
    """For `PUT_CLAIMS`, of (user, claim)."""
    claims = [claim for _, claim in held]
    return {
        "user_id": bigints([user_id for user_id, _ in held]),
        "id": texts([claim.id for claim in claims]),
        "status": texts([claim.status for claim in claims]),
        "version": bigints([claim.version for claim in claims]),
    }


def requirement_columns(held: Sequence[tuple[int, Requirement]]) -> Columns:
    """For `PUT_REQUIREMENTS`, of (user, requirement)."""
    requirements = [requirement for _, requirement in held]
    return {
        "user_id": bigints([user_id for user_id, _ in held]),
        "id": texts([requirement.id for requirement in requirements]),
        "claim_id": texts([requirement.claim_id for requirement in requirements]),
        "type": texts([requirement.type for requirement in requirements]),
        "status": texts([requirement.status for requirement in requirements]),
        "reason": texts([requirement.reason for requirement in requirements]),
        "version": bigints([requirement.version for requirement in requirements]),
    }


def closing_columns(stints: Sequence[Stint]) -> Columns:
    """For `CLOSE_STINTS`."""
    return {
        "user_id": bigints([stint.user_id for stint in stints]),
        "number": integers([stint.number for stint in stints]),
        "closed_at": moments([stint.closed_at for stint in stints]),
        "closed_reason": texts([stint.closed_reason for stint in stints]),
        "conversion_type": texts([stint.conversion_type for stint in stints]),
        "signature": texts([stint.signature for stint in stints]),
    }


def stint_columns(stints: Sequence[Stint]) -> Columns:
    """For `ADD_STINTS`."""
    return closing_columns(stints) | {
        "queue_type": texts([stint.queue_type for stint in stints]),
        "opened_at": moments([stint.opened_at for stint in stints]),
        "opened_reason": texts([stint.opened_reason for stint in stints]),
    }


def key_columns(keys: Iterable[tuple[int, Key]]) -> Columns:
    """For `DELETE_CLAIMS` and `DELETE_REQUIREMENTS`, of (user, id)."""
    users, ids = zip(*keys, strict=True)
    return {"user_id": bigints(users), "id": texts(ids)}


_Kept = tuple[
    bool,
    list[tuple[str, str | None, int]],
    list[tuple[str, str | None, str | None, str | None, str | None, int]],
]
"""What `left_behind.content` holds: whether it is whole, claims and requirements, each in the ledger's order."""
_kept: Final = msgspec.json.Decoder(_Kept).decode


def left_columns(kept: Mapping[str, Left]) -> Columns:
    """For `PUT_LEFT`, by name."""
    names = sorted(kept)
    return {
        "name": texts(names),
        "claim_id": texts([claim_of(name) for name in names]),
        "version": bigints([kept[name].version for name in names]),
        "content": texts([_content(kept[name]) for name in names]),
    }


def _content(left: Left) -> str:
    claims = [(_clean(claim.id), _clean(claim.status), claim.version) for claim in left.claims.values()]
    requirements = [
        (
            _clean(asked.id),
            _clean(asked.claim_id),
            _clean(asked.type),
            _clean(asked.status),
            _clean(asked.reason),
            asked.version,
        )
        for asked in left.requirements.values()
    ]
    return msgspec.json.encode((left.whole, claims, requirements)).decode()


def _clean(text: str | None) -> str | None:
    return None if text is None else stored(text)


def left_of(version: int, content: str) -> Left:
    """A row of `left_behind` as the ledger takes it."""
    whole, claims, requirements = _kept(content)
    return Left(
        version, whole, {row[0]: Claim(*row) for row in claims}, {row[0]: Requirement(*row) for row in requirements}
    )
