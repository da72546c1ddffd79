"""Which queue a lead belongs in: every rule of the business, without a clock or a database in sight.

Three sets of words are the business's own (settings of the same names): which claim statuses are closed, which
requirement statuses are settled, which requirement types never count. Words compare as MySQL's default collation does
for the plain words that statuses are: without case, without trailing blanks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from consumer.leads.model import Claim, Key, Lead, QueueType, Requirement, Rule

_REMEMBERED: Final = 10_000

_USER_GONE: Final = (QueueType.NONE, Rule.USER_GONE)
_USER_DISABLED: Final = (QueueType.NONE, Rule.USER_DISABLED)
_CLAIMS_CLOSED: Final = (QueueType.NONE, Rule.CLAIMS_CLOSED)
_NO_SIGNATURE: Final = (QueueType.UNSIGNED_USERS, Rule.NO_SIGNATURE)
_REQUIREMENT_OUTSTANDING: Final = (QueueType.REQUIREMENTS_OUTSTANDING, Rule.REQUIREMENT_OUTSTANDING)
_NOTHING_OWED: Final = (QueueType.NONE, Rule.NOTHING_OWED)


def _normal(word: str) -> str:
    return word.rstrip(" ").casefold()


class _Words(dict[str | None, bool]):
    """Answers `words[status]`: is this status one of the words? Each distinct spelling is normalised once.

    NULL (None) is none of them. What is remembered is bounded, for the case that a column holds free text.
    """

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__({None: False})
        self._normal = frozenset(map(_normal, words))

    def __missing__(self, word: str | None) -> bool:
        answer = word is not None and _normal(word) in self._normal
        if len(self) < _REMEMBERED:
            self[word] = answer
        return answer


@dataclass(frozen=True)
class Rules:
    """What the business calls closed, settled and excluded; the defaults are those of the settings."""

    closed_claim_statuses: frozenset[str] = frozenset({"cancelled"})
    settled_requirement_statuses: frozenset[str] = frozenset({"approved"})
    excluded_requirement_types: frozenset[str] = frozenset()
    _closed: _Words = field(init=False, repr=False, compare=False)
    _settled: _Words = field(init=False, repr=False, compare=False)
    _excluded: _Words = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_closed", _Words(self.closed_claim_statuses))
        object.__setattr__(self, "_settled", _Words(self.settled_requirement_statuses))
        object.__setattr__(self, "_excluded", _Words(self.excluded_requirement_types))

    def is_closed(self, claim: Claim) -> bool:
        """Nothing is owed on this claim any more; a claim without a status is open."""
        return self._closed[claim.status]

    def is_settled(self, requirement: Requirement) -> bool:
        """The document was handed in and accepted; a requirement without a status is not settled."""
        return self._settled[requirement.status]

    def is_outstanding(self, requirement: Requirement) -> bool:
        """The document is still to be handed in, and of a type that counts; whatever became of its claim."""
        return not self._settled[requirement.status] and not self._excluded[requirement.type]


def queue_for(lead: Lead, rules: Rules) -> tuple[QueueType, Rule]:
    """The queue a lead belongs in and the rule that says so; first match wins."""
    if not lead.exists:
        return _USER_GONE
    if not lead.enabled:
        return _USER_DISABLED
    if lead.claims and all_closed(lead, rules):
        return _CLAIMS_CLOSED
    if not lead.signature:
        return _NO_SIGNATURE
    for requirement in lead.requirements.values():
        if rules.is_outstanding(requirement) and is_on_open_claim(requirement, lead, rules):
            return _REQUIREMENT_OUTSTANDING
    return _NOTHING_OWED


def all_closed(lead: Lead, rules: Rules) -> bool:
    """Whether no claim of the lead is open."""
    closed = rules._closed
    return False not in [closed[claim.status] for claim in lead.claims.values()]


def is_on_open_claim(requirement: Requirement, lead: Lead, rules: Rules) -> bool:
    """Whether the requirement's claim is known and not closed; a claim we do not hold is not an open one."""
    claim_id = requirement.claim_id
    claim = None if claim_id is None else lead.claims.get(claim_id)
    return claim is not None and not rules.is_closed(claim)


def outstanding(lead: Lead, rules: Rules) -> list[Key]:
    """The ids of the requirements that are outstanding, on whatever claim."""
    settled, excluded = rules._settled, rules._excluded
    return [id_ for id_, asked in lead.requirements.items() if not settled[asked.status] and not excluded[asked.type]]
