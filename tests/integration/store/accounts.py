"""What the store has to hold of every customer, worked out by the naive model as changes are applied.

Shares no code with the ledger or the store: states come from `tests.unit.leads.naive_model`, out of the whole history.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from consumer.leads.model import Change, Key
from tests.unit.leads.naive_model import (
    NaiveStint,
    NaiveWords,
    State,
    is_one_of,
    outstanding_in,
    queue_of,
    reason_for,
    settled_on_open_claims,
    state_at,
    user_signature,
)

PLAN: Final = NaiveWords(excluded=("signature",))
"""The rules that setup puts in force, as far as these histories have their words."""


SECOND: Final = 1_000_000


def rounded(at: int) -> int:
    """A time (µs) as the call centre's column holds it."""
    return (at + 500) // 1000 * 1000


@dataclass
class Account:
    """One customer whose history the store has met."""

    words: NaiveWords
    stints: list[NaiveStint] = field(default_factory=list)
    seen: set[Key] = field(default_factory=set)
    """Requirements that were outstanding in the open stint."""
    why: str = ""
    completed: tuple[Key, ...] = ()
    """Requirements that were settled when the last stint closed."""

    def judge(self, state: State, at: int) -> str | None:
        """One judgement at the end of a transaction; returns what was converted."""
        queue, why = queue_of(state, self.words)
        conversion = None
        if not self.stints:
            self._open(queue, at, "first_seen", state)
        elif queue != self.stints[-1].queue:
            stint = self.stints[-1]
            self.completed = tuple(sorted(self.seen & settled_on_open_claims(state, self.words)))
            reason = reason_for(stint.queue, queue, why, self.why, self.completed)
            signature = None
            if reason == "requirements_completed":
                conversion = reason
            elif reason == "signature_obtained" and user_signature(state) not in {one.signature for one in self.stints}:
                conversion, signature = reason, user_signature(state)
            self._move(queue, at, reason, state, conversion, signature)
        else:
            self.seen |= outstanding_in(state, self.words)
        self.why = why
        return conversion

    def rejudge(self, state: State, words: NaiveWords, at: int) -> None:
        """Other rules, and nothing else."""
        old, self.words = self.words, words
        queue, self.why = queue_of(state, words)
        if queue != self.stints[-1].queue:
            self._move(queue, at, "rules_changed", state)
        else:
            self.seen -= {id_ for id_ in self.seen if _is_done_by_rules(state, id_, old, words)}
            if queue == "requirements_outstanding":
                self.seen |= outstanding_in(state, words)

    def _move(
        self,
        queue: str,
        at: int,
        reason: str,
        state: State,
        conversion: str | None = None,
        signature: str | None = None,
    ) -> None:
        stint = self.stints[-1]
        at = max(at, stint.opened_at + 1)
        self.stints[-1] = stint._replace(closed_at=at, closed_reason=reason, conversion=conversion, signature=signature)
        self._open(queue, at, reason, state)

    def _open(self, queue: str, at: int, reason: str, state: State) -> None:
        self.stints.append(NaiveStint(len(self.stints) + 1, queue, at, reason, None, None, None, None, ()))
        self.seen = outstanding_in(state, self.words)


def _is_done_by_rules(state: State, id_: Key, old: NaiveWords, new: NaiveWords) -> bool:
    row = state[2].get(id_)
    if row is None:
        return False
    owed = [
        not is_one_of(row.status, words.settled) and not is_one_of(row.type, words.excluded) for words in (old, new)
    ]
    settled = [is_one_of(row.status, words.settled) for words in (old, new)]
    return (owed[0] and not owed[1]) or (settled[1] and not settled[0])


@dataclass
class Books:
    """What PostgreSQL has to hold, all of it: put away and brought back as a dump is."""

    words: NaiveWords = PLAN
    accounts: dict[int, Account] = field(default_factory=dict)
    upto: dict[int, int] = field(default_factory=dict)
    """How many changes of each lane were applied."""
    version: dict[int, int] = field(default_factory=dict)
    """How far each lane has come (µs)."""
    begun: dict[int, set[int]] = field(default_factory=dict)
    """Customers of whom a transaction that is applied in part has altered something, by lane."""
    shown: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Queues by a live read, and up to which version of the lane."""
    paid: set[tuple[int, str, int]] = field(default_factory=set)
    """Conversions (customer, type, time) that the call centre has."""
    files: set[tuple[int, str | None]] = field(default_factory=set)
    """Signature files (customer, file) that were paid, each once at whatever moment."""
    documents: set[tuple[int, int, tuple[Key, ...]]] = field(default_factory=set)
    """Requirements (customer, time, ids) that were paid; none of them twice for one stay."""

    def copy(self) -> Books:
        """A dump."""
        return deepcopy(self)

    def apply(self, lane: int, stream: list[Change], upto: int) -> None:
        """The changes of a lane up to the `upto`th, whatever batches they came in."""
        begun = self.begun.setdefault(lane, set())
        for number in range(self.upto.get(lane, 0), upto):
            change = stream[number]
            if change.table is not None and change.before != change.after:
                begun.add(change.user_id)
            if change.last:
                self.version[lane] = change.version
                for user_id in begun:
                    account = self.accounts.setdefault(user_id, Account(self.words))
                    state = state_at(user_id, stream, change.version)
                    conversion = account.judge(state, change.at)
                    if conversion is not None:
                        self._pay(user_id, conversion, account)
                    if account.words != self.words:
                        account.rejudge(state, self.words, change.version)
                begun.clear()
        self.upto[lane] = upto

    def _pay(self, user_id: int, conversion: str, account: Account) -> None:
        """What the stint that has just closed earned."""
        stint, at = account.stints[-2], account.stints[-1].opened_at
        if conversion == "signature_obtained":
            if (user_id, stint.signature) in self.files:
                return
            self.files.add((user_id, stint.signature))
        else:
            since = [
                ids
                for user, paid_at, ids in self.documents
                if user == user_id and rounded(paid_at) > stint.opened_at + SECOND
            ]
            if set(account.completed) <= {id_ for ids in since for id_ in ids}:
                return
            self.documents.add((user_id, at, account.completed))
        self.paid.add((user_id, conversion, at))

    def adopt(self, words: NaiveWords, streams: dict[int, list[Change]]) -> None:
        """Other rules for everybody who is not in the midst of a transaction; for those at its end."""
        self.words = words
        for lane, stream in streams.items():
            for user_id in {change.user_id for change in stream if change.table is not None} & self.accounts.keys():
                if user_id not in self.begun.get(lane, ()):
                    version = self.version[lane]
                    self.accounts[user_id].rejudge(state_at(user_id, stream, version), words, version)

    def queue(self, user_id: int) -> str | None:
        """Where the call centre has to see a customer; None: nowhere, for it was never told."""
        if user_id in self.shown:
            return self.shown[user_id][0]
        account = self.accounts.get(user_id)
        return None if account is None else account.stints[-1].queue
