"""What must have become of every customer, computed from the company's own transaction log.

Written from design section 3 alone: it imports nothing of what it judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.demo.transaction_log import Key, Step, Transaction

UNSIGNED: Final = "unsigned_users"
OUTSTANDING: Final = "requirements_outstanding"
NONE: Final = "none"

FAR: Final = 1 << 62


class Exclusion(NamedTuple):
    """Requirements that never count, in lower case: what is given must match."""

    type: str | None = None
    reason: str | None = None


class Words(NamedTuple):
    """What the company calls closed, settled, outstanding and excluded, in lower case, and how it names its queues.

    The defaults are the plan's. Where `outstanding` is given, every other word is settled, and `settled` says nothing.
    """

    closed: frozenset[str] = frozenset({"cancelled"})
    settled: frozenset[str] = frozenset({"approved"})
    outstanding: frozenset[str] | None = None
    excluded: tuple[Exclusion, ...] = ()
    never: frozenset[str] = frozenset({"do_not_contact"})
    """Outcomes of calls to people who must not be called again."""
    labels: tuple[str, str, str | None] = (UNSIGNED, OUTSTANDING, NONE)
    """What the call centre's tables hold for the unsigned, the outstanding and those in no queue (None: NULL)."""

    def label(self, queue: str) -> str | None:
        """A queue as the call centre's tables name it."""
        return self.labels[(UNSIGNED, OUTSTANDING, NONE).index(queue)]

    def is_closed(self, status: str | None) -> bool:
        """Whether a claim of this status is given up; NULL is no word."""
        return _plain(status) in self.closed

    def is_settled(self, status: str | None) -> bool:
        """Whether a requirement of this status is done with; NULL is no word."""
        if self.outstanding is None:
            return _plain(status) in self.settled
        return status is not None and _plain(status) not in self.outstanding

    def is_owed(self, kind: str | None, status: str | None, reason: str | None) -> bool:
        """Whether a requirement is still to be handed in, whatever became of its claim."""
        if any(one.type in (None, _plain(kind)) and one.reason in (None, _plain(reason)) for one in self.excluded):
            return False
        if self.outstanding is None:
            return not self.is_settled(status)
        return _plain(status) in self.outstanding

    def is_never(self, outcome: str | None) -> bool:
        """Whether somebody whose last call ended so must not be called again."""
        return _plain(outcome) in self.never


def _plain(word: str | None) -> str | None:
    """A word without case and trailing blanks; the company's words are ASCII."""
    return None if word is None else word.rstrip(" ").lower()


class Span(NamedTuple):
    """When something happened at the earliest and at the latest, in µs since the epoch."""

    low: int
    high: int


@dataclass(slots=True)
class Stay:
    """One stint as it must be."""

    number: int
    queue: str
    opened: Span
    opened_reason: str
    closed: Span | None = None
    closed_reason: str | None = None
    conversion: str | None = None
    signature: str | None = None


@dataclass(slots=True)
class Document:
    """A requirement as the company's tables hold it."""

    claim: Key
    type: str | None
    status: str | None
    reason: str | None = None


@dataclass(slots=True)
class Case:
    """A claim as the company's tables hold it."""

    status: str | None
    documents: dict[Key, Document] = field(default_factory=dict)


@dataclass(slots=True)
class Person:
    """A customer, living or deleted, and the stays it must have had."""

    id: int
    there: bool = True
    enabled: bool = True
    signature: str | None = None
    cases: dict[Key, Case] = field(default_factory=dict)
    stays: list[Stay] = field(default_factory=list)
    kept_by: str = ""
    """Which of the rules decided at the last look; it names the reason when `none` ends."""
    owed_in_stay: set[Key] = field(default_factory=set)
    paid_signatures: set[str] = field(default_factory=set)

    @property
    def queue(self) -> str:
        """Where the customer must be now."""
        return self.stays[-1].queue


class Oracle:
    """Takes transactions in the order in which they were committed; `people` is what must have come of them.

    Transactions of different customers may come in any order.
    """

    def __init__(self, words: Words) -> None:
        self.words = words
        self.people: dict[int, Person] = {}
        self._owner: dict[Key, int] = {}
        self._claim: dict[Key, Key] = {}

    def replay(self, transactions: Iterable[Transaction]) -> None:
        """Plays a transaction log."""
        for transaction in transactions:
            self.play(transaction)

    def play(self, transaction: Transaction) -> None:
        """Applies one transaction and looks at everybody it touched, once, at its end."""
        touched: set[int] = set()
        for step in transaction.steps:
            self._apply(step, touched)
        for user in touched:
            span = Span(0, FAR) if transaction.initial else Span(transaction.low, transaction.high)
            self._look(self.people[user], span)

    def _apply(self, step: Step, touched: set[int]) -> None:
        if step.table == "users":
            touched.add(step.user)
            self._user(step)
        elif step.table == "claims":
            self._case(step, touched)
        else:
            self._document(step, touched)

    def _user(self, step: Step) -> None:
        person = self.people.setdefault(step.user, Person(step.user))
        if step.op == "d":
            person.there = False
            for claim in person.cases:
                self._forget(claim, person)
            person.cases.clear()
            return
        person.there = True
        if "signature" in step.values:
            person.signature = step.values["signature"] or None
        if "enabled" in step.values:
            person.enabled = step.values["enabled"]

    def _case(self, step: Step, touched: set[int]) -> None:
        if step.op == "c":
            user = step.values["user"]
            self._owner[step.id] = user
            self.people[user].cases[step.id] = Case(step.values["status"])
            touched.add(user)
            return
        owner = self.people[self._owner[step.id]]
        touched.add(owner.id)
        if step.op == "d":
            self._forget(step.id, owner)
            del owner.cases[step.id]
            return
        case = owner.cases[step.id]
        if "status" in step.values:
            case.status = step.values["status"]
        taker = step.values.get("user", owner.id)
        if taker != owner.id:
            del owner.cases[step.id]
            self.people[taker].cases[step.id] = case
            self._owner[step.id] = taker
            touched.add(taker)

    def _document(self, step: Step, touched: set[int]) -> None:
        if step.op == "c":
            self._claim[step.id] = step.values["claim"]
        claim = self._claim[step.id]
        owner = self.people[self._owner[claim]]
        touched.add(owner.id)
        documents = owner.cases[claim].documents
        if step.op == "c":
            values = step.values
            documents[step.id] = Document(claim, values["type"], values["status"], values.get("reason"))
        elif step.op == "u":
            document, values = documents[step.id], step.values
            document.type = values.get("type", document.type)
            document.status = values.get("status", document.status)
            document.reason = values.get("reason", document.reason)
        else:
            document = documents.pop(step.id)
            del self._claim[step.id]
            if step.op == "k":
                documents[step.values["id"]] = document
                self._claim[step.values["id"]] = claim

    def _forget(self, claim: Key, owner: Person) -> None:
        for document in owner.cases[claim].documents:
            del self._claim[document]
        del self._owner[claim]

    # The rules.

    def _closed(self, case: Case) -> bool:
        return self.words.is_closed(case.status)

    def _owed(self, document: Document) -> bool:
        return self.words.is_owed(document.type, document.status, document.reason)

    def _place(self, person: Person) -> tuple[str, str]:
        """The queue a person belongs in, and the rule that says so."""
        if not person.there:
            return NONE, "deleted"
        if not person.enabled:
            return NONE, "disabled"
        cases = person.cases.values()
        if cases and all(self._closed(case) for case in cases):
            return NONE, "closed"
        if person.signature is None:
            return UNSIGNED, "unsigned"
        for case in cases:
            if not self._closed(case) and any(self._owed(document) for document in case.documents.values()):
                return OUTSTANDING, "owing"
        return NONE, "nothing"

    def _look(self, person: Person, when: Span) -> None:
        queue, rule = self._place(person)
        if not person.stays:
            person.stays.append(Stay(1, queue, when, "first_seen"))
        elif queue != person.queue:
            stay = person.stays[-1]
            reason = self._why(person, stay.queue, queue, rule)
            stay.closed, stay.closed_reason = when, reason
            if reason == "requirements_completed":
                stay.conversion = reason
            elif reason == "signature_obtained":
                assert person.signature is not None
                if person.signature not in person.paid_signatures:
                    person.paid_signatures.add(person.signature)
                    stay.conversion, stay.signature = reason, person.signature
            person.stays.append(Stay(stay.number + 1, queue, when, reason))
            person.owed_in_stay = set()
        person.kept_by = rule
        for case in person.cases.values():
            person.owed_in_stay |= {key for key, document in case.documents.items() if self._owed(document)}

    def _why(self, person: Person, old: str, new: str, rule: str) -> str:
        by_rule = {"deleted": "user_deleted", "disabled": "user_disabled", "closed": "claims_closed"}
        if rule in by_rule:
            return by_rule[rule]
        if new == UNSIGNED and old != NONE:
            return "signature_removed"
        if old == UNSIGNED:
            return "signature_obtained"
        if old == OUTSTANDING:
            done = any(
                key in person.owed_in_stay and self.words.is_settled(document.status)
                for case in person.cases.values()
                if not self._closed(case)
                for key, document in case.documents.items()
            )
            return "requirements_completed" if done else "requirements_withdrawn"
        return {
            "deleted": "user_returned",
            "disabled": "user_enabled",
            "closed": "claim_reopened",
            "nothing": "signature_missing" if new == UNSIGNED else "requirement_added",
        }[person.kept_by]
