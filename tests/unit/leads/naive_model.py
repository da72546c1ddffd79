"""What the design's section 3 says, read literally and computed from the whole history again for every question.

Shares no code with the ledger: only the shape of a change. Slow, and meant to be obviously right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consumer.leads.model import Change, ClaimRow, Key, RequirementRow, UserRow


class NaiveWords(NamedTuple):
    """The three settings of section 3, in lower case."""

    closed: tuple[str, ...] = ("cancelled",)
    settled: tuple[str, ...] = ("approved",)
    excluded: tuple[str, ...] = ()


class NaiveRead(NamedTuple):
    """A backfill: every change up to `read_version` is in it, it had ended at `ended`, and it says `opened_at`."""

    read_version: int
    ended: int
    opened_at: int


class NaiveStint(NamedTuple):
    """Like the table `leadstream.stints`, in plain words."""

    number: int
    queue: str
    opened_at: int
    opened_reason: str
    closed_at: int | None
    closed_reason: str | None
    conversion: str | None
    signature: str | None
    completed: tuple[Key, ...]


class Moment(NamedTuple):
    """A state that is judged: all changes up to a version, dated."""

    upto: int
    at: int


def stints_of(
    user_id: int, history: Sequence[Change], words: NaiveWords, read: NaiveRead | None = None
) -> list[NaiveStint] | None:
    """Every stint of a user; None where the stream alone cannot tell, because it did not see the user begin."""
    moments = judged_moments(user_id, history, read)
    if moments is None:
        return None
    stints: list[NaiveStint] = []
    seen_in_stint: set[Key] = set()
    previous_why = ""
    for moment in moments:
        state = state_at(user_id, history, moment.upto)
        queue, why = queue_of(state, words)
        if not stints:
            stints.append(NaiveStint(1, queue, moment.at, "first_seen", None, None, None, None, ()))
            seen_in_stint = outstanding_in(state, words)
        elif queue == stints[-1].queue:
            seen_in_stint |= outstanding_in(state, words)
        else:
            stint = stints[-1]
            completed = tuple(sorted(seen_in_stint & settled_on_open_claims(state, words)))
            reason = reason_for(stint.queue, queue, why, previous_why, completed)
            conversion = signature = None
            if reason == "signature_obtained":
                if (user_signature(state)) not in [s.signature for s in stints if s.signature]:
                    conversion, signature = "signature_obtained", user_signature(state)
                completed = ()
            elif reason == "requirements_completed":
                conversion = "requirements_completed"
            else:
                completed = ()
            at = max(moment.at, stint.opened_at + 1)
            stints[-1] = stint._replace(
                closed_at=at, closed_reason=reason, conversion=conversion, signature=signature, completed=completed
            )
            stints.append(NaiveStint(stint.number + 1, queue, at, reason, None, None, None, None, ()))
            seen_in_stint = outstanding_in(state, words)
        previous_why = why
    return stints


def judged_moments(user_id: int, history: Sequence[Change], read: NaiveRead | None) -> list[Moment] | None:
    """When this user is judged: after each source transaction that names them; with a read, from the read on."""
    finished: list[int] = []
    for change in history:
        if change.last:
            finished.append(change.version)
    own = [change for change in history if change.user_id == user_id and change.table is not None]
    after_read = []
    moments = []
    if read is not None:
        moments.append(Moment(read.read_version, read.opened_at))
        while_reading = [c for c in own if read.read_version < c.version <= read.ended and c.before != c.after]
        if while_reading and max(finished) >= while_reading[-1].version:
            moments.append(Moment(read.ended, while_reading[-1].at))
        after_read = [c for c in own if c.version > max(read.read_version, read.ended)]
    else:
        after_read = own
        if not own or not isinstance(own[0].after, UserRow) or own[0].before is not None:
            return None
    blind = False
    for version in finished:
        mine = [change for change in after_read if change.version == version]
        blind = blind or any(change.moved for change in mine)
        if mine and not blind:
            moments.append(Moment(version, mine[0].at))
    return moments


State = tuple[UserRow | None, dict[Key, ClaimRow], dict[Key, RequirementRow]]


def state_at(user_id: int, history: Sequence[Change], upto: int) -> State:
    """The rows of a user after all changes up to a version."""
    user: UserRow | None = None
    claims: dict[Key, ClaimRow] = {}
    requirements: dict[Key, RequirementRow] = {}
    for change in history:
        if change.user_id != user_id or change.version > upto:
            continue
        for gone in [change.before] if change.before is not None and change.after is None else []:
            if isinstance(gone, UserRow):
                user, claims, requirements = None, {}, {}
            elif isinstance(gone, ClaimRow):
                claims.pop(gone.id, None)
                requirements = {id_: row for id_, row in requirements.items() if row.claim_id != gone.id}
            else:
                requirements.pop(gone.id, None)
        if isinstance(change.after, UserRow):
            user = change.after
        elif isinstance(change.after, ClaimRow):
            claims[change.after.id] = change.after
        elif isinstance(change.after, RequirementRow):
            requirements[change.after.id] = change.after
    return user, claims, requirements


def queue_of(state: State, words: NaiveWords) -> tuple[str, str]:
    """Rules 1 to 5: first match wins; with the rule's name."""
    user, claims, requirements = state
    if user is None:
        return "none", "gone"
    if not user.enabled:
        return "none", "disabled"
    if len(claims) > 0 and len(open_claims(state, words)) == 0:
        return "none", "closed"
    if user.signature is None or user.signature == "":
        return "unsigned_users", "unsigned"
    for id_ in outstanding_in(state, words):
        if requirements[id_].claim_id in open_claims(state, words):
            return "requirements_outstanding", "owes"
    return "none", "nothing owed"


def reason_for(left: str, queue: str, why: str, previous_why: str, completed: tuple[Key, ...]) -> str:
    """The table of reasons, from top to bottom."""
    if why == "gone":
        return "user_deleted"
    if why == "disabled":
        return "user_disabled"
    if why == "closed":
        return "claims_closed"
    if queue == "unsigned_users" and left != "none":
        return "signature_removed"
    if left == "unsigned_users":
        return "signature_obtained"
    if left == "requirements_outstanding" and completed:
        return "requirements_completed"
    if left == "requirements_outstanding":
        return "requirements_withdrawn"
    if previous_why == "gone":
        return "user_returned"
    if previous_why == "disabled":
        return "user_enabled"
    if previous_why == "closed":
        return "claim_reopened"
    return "signature_missing" if queue == "unsigned_users" else "requirement_added"


def open_claims(state: State, words: NaiveWords) -> set[Key]:
    """Claims whose status is not one of the closed words; NULL is not closed."""
    return {id_ for id_, row in state[1].items() if not is_one_of(row.status, words.closed)}


def outstanding_in(state: State, words: NaiveWords) -> set[Key]:
    """Requirements neither settled nor excluded."""
    return {
        id_
        for id_, row in state[2].items()
        if not is_one_of(row.status, words.settled) and not is_one_of(row.type, words.excluded)
    }


def settled_on_open_claims(state: State, words: NaiveWords) -> set[Key]:
    """Requirements whose status is settled now, on a claim that is open now."""
    here = open_claims(state, words)
    return {id_ for id_, row in state[2].items() if row.claim_id in here and is_one_of(row.status, words.settled)}


def is_one_of(word: str | None, words: tuple[str, ...]) -> bool:
    """MySQL's way to compare: without case, without trailing blanks; NULL is none of them."""
    if word is None:
        return False
    while word.endswith(" "):
        word = word[:-1]
    return word.lower() in words


def user_signature(state: State) -> str | None:
    """The signature file of the user's row."""
    return state[0].signature if state[0] else None
