"""Leads, claims, requirements and stints as plain data.

Times are integers: microseconds since the Unix epoch, UTC. Versions are the reader's: commit times in
microseconds, strictly increasing from one source transaction to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

Key = str
"""A claim's or requirement's id: an integer as decimal digits, a text in the one spelling that stands for all that are
equal in MySQL, 16 bytes as hexadecimal digits with a UUID's dashes."""


def numerically(key: Key) -> tuple[int, Key]:
    """What sorts decimal digits as numbers, and texts of one length as texts."""
    return len(key), key


def held_text(text: str) -> str:
    """A text as PostgreSQL holds it, which can hold no NUL character: U+FFFD stands in its place."""
    return text.replace("\0", "\ufffd")


NEVER: Final = 2**63 - 1
"""`judge_after` of a lead about which too little is known to judge it; a recheck is queued."""


class QueueType(StrEnum):
    """Where the call centre finds a lead; the call centre's names."""

    UNSIGNED_USERS = "unsigned_users"
    REQUIREMENTS_OUTSTANDING = "requirements_outstanding"
    NONE = "none"


CALLED: Final = tuple(queue_type for queue_type in QueueType if queue_type is not QueueType.NONE)
"""The queues that are called."""


class ConversionType(StrEnum):
    """What the call centre earns money with; the call centre's names."""

    SIGNATURE_OBTAINED = "signature_obtained"
    REQUIREMENTS_COMPLETED = "requirements_completed"


class Rule(StrEnum):
    """The rule that decided a lead's queue; first match wins."""

    USER_GONE = "user_gone"
    USER_DISABLED = "user_disabled"
    CLAIMS_CLOSED = "claims_closed"
    NO_SIGNATURE = "no_signature"
    REQUIREMENT_OUTSTANDING = "requirement_outstanding"
    NOTHING_OWED = "nothing_owed"


class Reason(StrEnum):
    """Why a stint was closed and the next one opened."""

    FIRST_SEEN = "first_seen"
    USER_DELETED = "user_deleted"
    USER_DISABLED = "user_disabled"
    CLAIMS_CLOSED = "claims_closed"
    SIGNATURE_REMOVED = "signature_removed"
    SIGNATURE_OBTAINED = "signature_obtained"
    REQUIREMENTS_COMPLETED = "requirements_completed"
    REQUIREMENTS_WITHDRAWN = "requirements_withdrawn"
    USER_RETURNED = "user_returned"
    USER_ENABLED = "user_enabled"
    CLAIM_REOPENED = "claim_reopened"
    SIGNATURE_MISSING = "signature_missing"
    REQUIREMENT_ADDED = "requirement_added"
    READ_LIVE = "read_live"
    """No stint's: the call centre sees the present, of which the stream has yet to bring the history."""
    RULES_CHANGED = "rules_changed"


class Table(StrEnum):
    """The captured tables of the claims company."""

    USERS = "users"
    CLAIMS = "claims"
    CLAIM_REQUIREMENTS = "claim_requirements"


class UserRow(NamedTuple):
    """The captured part of a `users` row that rules look at.

    `signature` is None where `current_signature_file_id` is NULL, empty or the number 0; `enabled` is True
    where the server's table has no `is_enabled`.
    """

    id: int
    signature: str | None
    enabled: bool


class ClaimRow(NamedTuple):
    """The captured part of a `claims` row that rules look at."""

    id: Key
    user_id: int
    status: str | None


class RequirementRow(NamedTuple):
    """The captured part of a `claim_requirements` row that rules look at; `claim_id` None: it is on no claim."""

    id: Key
    claim_id: Key | None
    type: str | None
    status: str | None
    reason: str | None


Row = UserRow | ClaimRow | RequirementRow
OF_CLAIM: Final = (RequirementRow,)
"""Kinds of row that belong to a claim, by their `claim_id`."""
TABLES_OF_CLAIM: Final = (Table.CLAIM_REQUIREMENTS,)
"""The tables that these are rows of."""


class LiveState(NamedTuple):
    """Everything MySQL holds of one user, read in one consistent snapshot; `user` None: the row is gone.

    Nothing has a default: a table that somebody forgot to read would look as if its rows were gone.
    """

    user: UserRow | None
    claims: Sequence[ClaimRow]
    requirements: Sequence[RequirementRow]

    def rows(self) -> Iterator[Row]:
        """All of them; what belongs to another row comes after that."""
        if self.user is not None:
            yield self.user
        yield from self.claims
        yield from self.requirements


@dataclass(frozen=True, slots=True)
class Ties:
    """What a change has to do with rows beside its own; only few changes have any."""

    stays: bool = False
    """A user or claim goes, and what belongs to it stays in MySQL: a user's claims with the user's id, a claim's
    requirements with the claim's."""
    unknown: bool = False
    """A user or claim goes, and nobody can say whether what belongs to it stays."""
    leaves: bool = False
    """A user goes, and the claims become those of the user who comes with `was`."""
    claimless: bool = False
    """The change of a requirement whose claim is nobody's at that point, or of such a claim."""
    likely: bool = False
    """The user is likely the row's, and every lane has a notice of it: the row counts where the claim is held."""
    was: int | str | None = None
    """The id that the user or claim that comes had before; what was left under that id belongs to it."""
    after: tuple[tuple[int, int], ...] = ()
    """Lanes and numbers: this change comes after those, which lie in other lanes."""
    sure: bool = True
    """Whether the stream has brought all that was left, as far as the reader can say."""


class Missed(NamedTuple):
    """Changes of a lane that are not known.

    All that waits for a version up to `whole_until` is known to be whole (None: nobody is, however judged). A live read
    has to hold everything up to `floor` (version), and what was missed led to something by `at` (µs) at the latest.
    """

    whole_until: int | None
    floor: int
    at: int


class Change(NamedTuple):
    """One row change of one lead, or with `table` None the end of a source transaction in a lane (a heartbeat).

    `before` is None for an insert, `after` is None for a delete. `at` is the commit time on the server, `last`
    says that no further change of the same source transaction follows in this lane. `moved` marks a user or claim of
    which too little is known, because what belongs to it was not left by anybody: it has to be read live. `recheck` is
    why all leads of the lane have to be read live, or, where there is a `table` but no row, why this one has to: its
    row could not be read. Without a `table`, `moved` says that changes are missing here, whoever's they are.
    """

    user_id: int
    table: Table | None
    before: Row | None
    after: Row | None
    version: int
    at: int
    last: bool
    moved: bool = False
    recheck: str | None = None
    ties: Ties | None = None


@dataclass(slots=True)
class Claim:
    """A claim as we hold it; `version` is that of the change that wrote it."""

    id: Key
    status: str | None
    version: int


@dataclass(slots=True)
class Requirement:
    """A document asked for on a claim, as we hold it; `version` is that of the change that wrote it."""

    id: Key
    claim_id: Key | None
    type: str | None
    status: str | None
    reason: str | None
    version: int


@dataclass(slots=True)
class Lead:
    """Everything we hold about one customer: the working copy that a replay changes and the store writes back.

    `stint` 0 means that nothing was judged yet: no stint is open and `queue_type`, `rule` are None.
    """

    user_id: int
    exists: bool = False
    enabled: bool = True
    signature: str | None = None
    version: int = 0
    """Version of the change that wrote the user's row."""
    read_floor: int = 0
    """Changes up to this version are contained in what we hold, because the reconciler read it live or the stream
    removed a row then, and are skipped."""
    judge_after: int | None = None
    """Judged only when the lead's lane has passed this version; None: at every transaction boundary."""
    changed_at: int = 0
    """Commit time of the last change that altered this lead; what a later judgement is dated."""
    stint: int = 0
    queue_type: QueueType | None = None
    rule: Rule | None = None
    opened_at: int = 0
    outstanding_seen: frozenset[Key] = frozenset()
    """Requirements that were outstanding at some judged moment of the open stint."""
    converted_signatures: frozenset[str] = frozenset()
    """Signature files for which a `signature_obtained` was recorded already."""
    claims: dict[Key, Claim] = field(default_factory=dict)
    requirements: dict[Key, Requirement] = field(default_factory=dict)
    rules_version: int = 1
    """The version of the rules that this lead was last judged by."""


@dataclass(slots=True)
class Left:
    """What one claim (`requirements`) or user (`claims` too) left behind; `whole` False: there may be more.

    `version` is that of the newest change in it. Nothing at all, and that whole, is as if it had never been.
    """

    version: int
    whole: bool = True
    claims: dict[Key, Claim] = field(default_factory=dict)
    requirements: dict[Key, Requirement] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.claims or self.requirements or not self.whole)


class Stint(NamedTuple):
    """One stay of one lead in one queue; the open one has None in all that follows `opened_reason`.

    `opened_reason` is None where the stint was opened before the replay at hand: its row exists, and only its closing
    is to be written.
    """

    user_id: int
    number: int
    queue_type: QueueType
    opened_at: int
    opened_reason: Reason | None
    closed_at: int | None = None
    closed_reason: Reason | None = None
    conversion_type: ConversionType | None = None
    signature: str | None = None
    """The signature file of a `signature_obtained` conversion; unique per user."""


class Conversion(NamedTuple):
    """Money: one per stint at most. `requirements` are the ids settled; `reset_at` says when an earlier queue change of
    the same replay began the lead's score again at 0 (µs), if one did."""

    user_id: int
    stint: int
    previous_queue_type: QueueType
    conversion_type: ConversionType
    converted_at: int
    signature: str | None
    requirements: tuple[Key, ...]
    reset_at: int | None


class QueueChange(NamedTuple):
    """What the call centre's tables need to know of one lead after a replay.

    Also of a lead that is shown by the present while its history has yet to come (`reason` READ_LIVE).

    `left` are the queues that were left on the way, `queue_type` is where the lead is now, `reason` and `at` those
    of the last opening. `first_sight` says that the lead was never judged before; `entered` that it moved into a queue
    other than `none` afterwards, which resets the score. A first sight alone resets nothing, but where `queue_type` is
    not `none` it needs its pending entry like any lead that entered. Of a lead that is put right by the present it says
    that somebody else had put it elsewhere.
    """

    user_id: int
    queue_type: QueueType
    left: frozenset[QueueType]
    entered: bool
    first_sight: bool
    reason: Reason
    at: int
