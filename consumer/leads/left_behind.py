"""What users and claims leave behind when they go or move, until it is taken over: rows that are nobody's meanwhile.

Requirements stay in MySQL where their claim goes without them, come before it, or move with it to another user; the
lane that sees a claim come takes over what was left of it, exactly as it stood. So it is with claims where a user's id
changes. What nobody knows whole is read live.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from consumer.leads.merge_row import put
from consumer.leads.model import (
    NEVER,
    OF_CLAIM,
    Change,
    ClaimRow,
    Key,
    Lead,
    Left,
    Requirement,
    RequirementRow,
    UserRow,
)
from consumer.leads.outcome import Outcome

INCOMPLETE: Final = "what belongs to the user or claim that came is not known whole"
CAME_EARLIER: Final = "requirements came before their claim"

MOST: Final = 1_000
"""Requirements that are kept of one claim that nobody has: a number that no claim ever gets may stand for "none".

Of more nothing is kept, and whoever gets that claim is read live.
"""

LeftBehind = dict[str, Left]
"""What was left, by `of_claim`, `of_user` or `of_gone`."""


def of_claim(claim_id: Key) -> str:
    """The name under which a claim leaves its requirements."""
    return f"claim:{claim_id}"


def of_user(user_id: int | str) -> str:
    """The name under which a user whose id changes leaves claims, to the user who comes with that id as `was`."""
    return f"user:{user_id}"


def of_gone(user_id: int) -> str:
    """The name under which a user is gone of whom nobody knows what stays; it concerns who comes with the same id."""
    return f"gone:{user_id}"


def claim_of(name: str) -> Key | None:
    """The claim that something was left under this name by; None: by a user."""
    kind, _, id_ = name.partition(":")
    return id_ if kind == "claim" else None


class Arrival(NamedTuple):
    """A claim that comes from another lane: its id there, the user who gets it, and the version of that change."""

    claim_id: Key
    user_id: int
    version: int


def arrival(change: Change) -> Arrival | None:
    """The claim that comes from another lane with this change, if one does."""
    row, ties = change.after, change.ties
    if ties is None or not ties.after or not isinstance(row, ClaimRow) or change.before is not None:
        return None
    return Arrival(row.id if ties.was is None else str(ties.was), change.user_id, change.version)


def miss(arrivals: Iterable[Arrival], held: Collection[Key], left: LeftBehind) -> None:
    """Of claims that came while another lead is `held` to have them, the message that they left was lost or unreadable.

    So what they left is not known whole.
    """
    for claim_id, _, version in arrivals:
        name = of_claim(claim_id)
        if claim_id in held and name not in left:
            left[name] = Left(version, whole=False)


def names_in(change: Change) -> list[str]:
    """Names of what has to be at hand when this change is replayed."""
    row = change.after or change.before
    ties = change.ties
    if isinstance(row, ClaimRow) and change.before is None:
        return [of_claim(row.id), *([of_claim(str(ties.was))] if ties is not None and ties.was is not None else [])]
    if isinstance(row, UserRow) and change.before is None:
        return [of_gone(row.id), *([of_user(ties.was)] if ties is not None and ties.was is not None else [])]
    if ties is None:
        return []
    if isinstance(row, ClaimRow) and ties.stays:
        return [of_claim(row.id)]
    if isinstance(row, OF_CLAIM) and ties.claimless and row.claim_id is not None:
        return [of_claim(row.claim_id)]
    return []


def leave(change: Change, lead: Lead, left: LeftBehind, outcome: Outcome) -> None:
    """Leaves behind what stays where a claim goes, or goes elsewhere with its user, before the change is applied."""
    row, ties = change.before, change.ties
    assert ties is not None
    passed = change.version <= lead.read_floor
    if ties.unknown and row is not None and not isinstance(row, OF_CLAIM):
        name = of_claim(row.id) if isinstance(row, ClaimRow) else of_gone(row.id)
        _set(name, Left(change.version, whole=False), left, outcome)
    elif isinstance(row, ClaimRow) and ties.stays:
        _leave_claim(row.id, change.version, lead, left, outcome, passed=passed)
    elif isinstance(row, UserRow) and ties.leaves:
        whole = not passed and lead.judge_after != NEVER
        claims, requirements = ({}, {}) if passed else (dict(lead.claims), dict(lead.requirements))
        _set(of_user(row.id), Left(change.version, whole, claims, requirements), left, outcome)


def _leave_claim(claim_id: Key, version: int, lead: Lead, left: LeftBehind, outcome: Outcome, *, passed: bool) -> None:
    held = lead.claims.get(claim_id)
    whole = not (passed or held is None or held.version > version or lead.judge_after == NEVER)
    kept = {} if passed else {asked.id: asked for asked in lead.requirements.values() if asked.claim_id == claim_id}
    ahead = left.get(of_claim(claim_id))
    if ahead and ahead.version > version:  # another lane has brought what came later before we got here
        kept.update((asked.id, asked) for asked in ahead.requirements.values() if asked.version > version)
        version, whole = ahead.version, False
    _set(of_claim(claim_id), Left(version, whole, {}, kept), left, outcome)


def take_over(change: Change, lead: Lead, left: LeftBehind, outcome: Outcome) -> tuple[bool, str | None]:
    """Gives a lead what was left for the user or claim that has come; after the change was applied.

    Returns whether that altered what we hold, and why the lead has to be read live, if it has to.
    """
    row, ties = change.after, change.ties
    was = None if ties is None else ties.was
    if isinstance(row, ClaimRow):
        names, claim_id = [of_claim(row.id), *([] if was is None else [of_claim(str(was))])], row.id
    else:
        names, claim_id = [of_gone(lead.user_id), *([] if was is None else [of_user(was)])], None
    altered, reason = False, None
    for name in names:
        more, why = _take(name, claim_id, change.version, lead, left, outcome)
        altered, reason = altered or more, reason or why
    return altered, reason


def _take(
    name: str, claim_id: Key | None, version: int, lead: Lead, left: LeftBehind, outcome: Outcome
) -> tuple[bool, str | None]:
    """As `take_over`, of what was left under one name; a claim's is for the claim with the id `claim_id`."""
    kept = left.get(name)
    if not kept:
        return False, None
    if kept.version > version:
        later = kept.whole and all(asked.version > version for asked in kept.requirements.values())
        # Of a claim with the same id that comes later, nothing is ours.
        return False, None if later and claim_id is not None else INCOMPLETE
    altered = False
    if version > lead.read_floor:
        for claim in kept.claims.values():
            altered |= bool(put(lead, ClaimRow(claim.id, lead.user_id, claim.status), claim.version, outcome))
        for asked in kept.requirements.values():
            now = asked.claim_id if claim_id is None else claim_id
            row = RequirementRow(asked.id, now, asked.type, asked.status, asked.reason)
            altered |= bool(put(lead, row, asked.version, outcome))
    _set(name, Left(version), left, outcome)
    return altered, None if kept.whole else INCOMPLETE


def take_claimless(change: Change, left: LeftBehind, outcome: Outcome) -> None:
    """A requirement whose claim is nobody's at that point, or such a claim, which goes with all that was left of it."""
    row = change.after or change.before
    if isinstance(row, ClaimRow):
        _set(of_claim(row.id), Left(change.version), left, outcome)
        return
    if not isinstance(row, RequirementRow) or row.claim_id is None:
        return
    name = of_claim(row.claim_id)
    kept = left.get(name) or Left(change.version)
    kept.version = max(kept.version, change.version)
    held = kept.requirements.get(row.id)
    if held is not None and held.version > change.version:
        return
    if change.after is None:
        kept.requirements.pop(row.id, None)
    else:
        kept.requirements[row.id] = Requirement(row.id, row.claim_id, row.type, row.status, row.reason, change.version)
    if len(kept.requirements) > MOST:
        kept = Left(kept.version, whole=False)
    _set(name, kept, left, outcome)


def _set(name: str, now: Left, left: LeftBehind, outcome: Outcome) -> None:
    left[name] = outcome.left[name] = now
