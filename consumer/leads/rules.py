"""Which queue a lead belongs in: every rule of the business, without a clock or a database in sight.

What the business means by closed, settled, outstanding and excluded is data (`consumer.leads.rule_file`). Words compare
as the columns they come from do in MySQL (`consumer.leads.words`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from consumer.leads.model import Key, Lead, QueueType, Requirement, Rule
from consumer.leads.rule_file import (
    CLAIM_STATUS,
    DEFAULT,
    REQUIREMENT_REASON,
    REQUIREMENT_STATUS,
    REQUIREMENT_TYPE,
    Exclusion,
    RuleFile,
)
from consumer.leads.words import PLAIN, Comparison

_REMEMBERED: Final = 10_000

_USER_GONE: Final = (QueueType.NONE, Rule.USER_GONE)
_USER_DISABLED: Final = (QueueType.NONE, Rule.USER_DISABLED)
_CLAIMS_CLOSED: Final = (QueueType.NONE, Rule.CLAIMS_CLOSED)
_NO_SIGNATURE: Final = (QueueType.UNSIGNED_USERS, Rule.NO_SIGNATURE)
_REQUIREMENT_OUTSTANDING: Final = (QueueType.REQUIREMENTS_OUTSTANDING, Rule.REQUIREMENT_OUTSTANDING)
_NOTHING_OWED: Final = (QueueType.NONE, Rule.NOTHING_OWED)


class _Words(dict[str | None, bool]):
    """Whether a status is one of the words, by `words[status]`; each distinct spelling is compared once.

    `null` is the answer for NULL; with `others`, every word counts that is none of them. What is remembered is bounded,
    for the case that a column holds free text.
    """

    def __init__(
        self, words: Iterable[str], comparison: Comparison, *, null: bool = False, others: bool = False
    ) -> None:
        super().__init__({None: null})
        self._key = comparison.key
        self._keys = frozenset(map(comparison.key, words))
        self._others = others

    def __missing__(self, word: str | None) -> bool:
        answer = word is not None and (self._key(word) in self._keys) is not self._others
        if len(self) < _REMEMBERED:
            self[word] = answer
        return answer


class _Excluded(dict[str | None, "bool | _Words"]):
    """Whether a type counts, by `excluded[type]`: never, always, or which reasons never count with it."""

    def __init__(self, exclusions: Iterable[Exclusion], types: Comparison, reasons: Comparison) -> None:
        super().__init__()
        self._types, self._reasons = types, reasons
        self._by_type: dict[Hashable, list[Exclusion]] = {}
        self._of_any_type: list[Exclusion] = []
        for exclusion in exclusions:
            if exclusion.type is None:
                self._of_any_type.append(exclusion)
            else:
                self._by_type.setdefault(types.key(exclusion.type), []).append(exclusion)

    def __missing__(self, type_: str | None) -> bool | _Words:
        matching = list(self._of_any_type)
        if type_ is not None:
            matching += self._by_type.get(self._types.key(type_), ())
        answer: bool | _Words = bool(matching)
        reasons = [exclusion.reason for exclusion in matching if exclusion.reason is not None]
        if matching and len(reasons) == len(matching):
            answer = _Words(reasons, self._reasons)
        if len(self) < _REMEMBERED:
            self[type_] = answer
        return answer


@dataclass(frozen=True)
class Rules:
    """One version of the rules: a file, and how the columns compare that its words are held against.

    `comparisons` are by table and column (`claims.status`); where one is missing, words compare plainly. `adopted_at`
    is when these rules came into force (µs), `earlier` are those before them by their versions.
    """

    file: RuleFile = DEFAULT
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    version: int = 1
    adopted_at: int = 0
    earlier: Mapping[int, Rules] = field(default_factory=dict, repr=False, compare=False)
    _closed: _Words = field(init=False, repr=False, compare=False)
    _settled: _Words = field(init=False, repr=False, compare=False)
    _owed: _Words = field(init=False, repr=False, compare=False)
    _excluded: _Excluded = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        file, given = self.file, self.comparisons.get
        status = given(REQUIREMENT_STATUS, PLAIN)
        if file.settled is not None:
            settled, owed = _Words(file.settled, status), _Words(file.settled, status, null=True, others=True)
        else:
            assert file.outstanding is not None, "one of them is given"
            settled, owed = _Words(file.outstanding, status, others=True), _Words(file.outstanding, status)
        excluded = _Excluded(file.excluded, given(REQUIREMENT_TYPE, PLAIN), given(REQUIREMENT_REASON, PLAIN))
        object.__setattr__(self, "_closed", _Words(file.closed, given(CLAIM_STATUS, PLAIN)))
        object.__setattr__(self, "_settled", settled)
        object.__setattr__(self, "_owed", owed)
        object.__setattr__(self, "_excluded", excluded)

    @cached_property
    def never(self) -> tuple[str, ...]:
        """Outcomes of calls, trimmed, after which a customer must not be called: in lower case, in upper case and as
        the file has them, because PostgreSQL's `lower` leaves letters beyond ASCII alone where the collation is C."""
        words = [word.strip(" ") for word in self.file.never]
        return tuple(sorted({spelling for word in words for spelling in (word, word.lower(), word.upper())}))

    @cached_property
    def mentions_reasons(self) -> bool:
        """Whether a requirement's reason makes a difference."""
        return any(exclusion.reason is not None for exclusion in self.file.excluded)

    def by(self, version: int) -> Rules:
        """The rules of a version up to this one."""
        return self if version == self.version else self.earlier[version]

    def label(self, queue_type: QueueType) -> str | None:
        """What the call centre's tables hold for a queue; None is SQL NULL."""
        return self.file.labels.of(queue_type)

    def labels_ever(self, queue_type: QueueType) -> list[str]:
        """Every text that stands, or by earlier rules stood, for a queue in the call centre's tables."""
        texts = (rules.label(queue_type) for rules in (self, *self.earlier.values()))
        return sorted({text for text in texts if text is not None})

    def queue_labelled(self, text: str) -> QueueType | None:
        """The queue with this label or, where no label is spelt so, with this name of the plan."""
        for queue_type in QueueType:
            if self.label(queue_type) == text:
                return queue_type
        return next((queue_type for queue_type in QueueType if queue_type.value == text), None)

    def closes(self, status: str | None) -> bool:
        """Whether nothing is owed any more on a claim with this status; without a status it is open."""
        return self._closed[status]

    def settles(self, status: str | None) -> bool:
        """Whether a document with this status was handed in and accepted; without a status it was not."""
        return self._settled[status]

    def sees_in_claim(self, status: str | None) -> tuple[bool, ...]:
        """All that the rules look at in a claim's words: where two rules give the same, they judge it alike."""
        return (self.closes(status),)

    def sees_in_requirement(self, status: str | None, type_: str | None, reason: str | None) -> tuple[bool, ...]:
        """The same of a requirement's words."""
        return self.settles(status), self.owes(status, type_, reason)

    def owes(self, status: str | None, type_: str | None, reason: str | None) -> bool:
        """Whether a requirement with these words is outstanding."""
        return self.is_outstanding(Requirement("", "", type_, status, reason, 0))

    def is_outstanding(self, requirement: Requirement) -> bool:
        """The document is still to be handed in, and is one that counts; whatever became of its claim."""
        if not self._owed[requirement.status]:
            return False
        excluded = self._excluded[requirement.type]
        return not (excluded if isinstance(excluded, bool) else excluded[requirement.reason])


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
    return claim is not None and not rules.closes(claim.status)


def outstanding(lead: Lead, rules: Rules) -> list[Key]:
    """The ids of the requirements that are outstanding, on whatever claim."""
    owed, excluded = rules._owed, rules._excluded
    return [
        id_
        for id_, asked in lead.requirements.items()
        if owed[asked.status]
        and not (never if isinstance(never := excluded[asked.type], bool) else never[asked.reason])
    ]
