"""Customers who do things: changes through the real ledger into a store, one source transaction a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consumer.leads.ledger import replay
from consumer.leads.model import Change, ClaimRow, Key, Lead, RequirementRow, Row, Table, UserRow
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules
from consumer.store.leads import LeadStore, LeadTransaction
from tests.support.company_tables import key

LANES: Final = 4
RULES: Final = Rules()
START: Final = 1_700_000_000_000_000
"""2023-11-14 22:13:20 UTC in µs; the first transaction commits a second later, and so on."""

_TABLES: Final = {UserRow: Table.USERS, ClaimRow: Table.CLAIMS, RequirementRow: Table.CLAIM_REQUIREMENTS}


def user(user_id: int, signature: str | None = None, *, enabled: bool = True) -> UserRow:
    """A customer."""
    return UserRow(user_id, signature, enabled)


def claim(user_id: int, claim_id: int | Key, status: str = "open") -> ClaimRow:
    """A claim of a customer."""
    return ClaimRow(str(claim_id), user_id, status)


def requirement(claim_id: int | Key, requirement_id: int, status: str = "pending") -> RequirementRow:
    """A document asked for on a claim; its id is `key` of the number."""
    return RequirementRow(key(requirement_id), str(claim_id), "passport", status, None)


def attempt(store: LeadStore, *steps: Callable[[LeadTransaction], object]) -> None:
    """Steps in one transaction."""
    with store.transaction() as tx:
        for step in steps:
            step(tx)


def fail(_: object) -> None:
    """A step that goes wrong."""
    raise ZeroDivisionError


class Replayer:
    """Applies transactions of one customer, each a list of (row before, row after)."""

    def __init__(self, store: LeadStore) -> None:
        self.store = store
        self.now = START
        """Commit time of the latest transaction, µs."""

    def commit(
        self, user_id: int, *transactions: list[tuple[Row | None, Row | None]], past_held: bool = False
    ) -> LeadTransaction:
        """Source transactions, a second apart, applied in one PostgreSQL transaction.

        With `past_held` nobody is waited for who holds the call centre's rows.
        """
        changes = []
        for transaction in transactions:
            self.now += 1_000_000
            for number, (before, after) in enumerate(transaction, 1):
                row = after if after is not None else before
                assert row is not None
                table, last = _TABLES[type(row)], number == len(transaction)
                changes.append(Change(user_id, table, before, after, self.now, self.now, last))
        outcome = Outcome()
        with self.store.transaction(past_held=past_held) as tx:
            replay(changes, tx.load([user_id]), 0, RULES, outcome)
            tx.write(outcome)
        return tx

    def register(self, user_id: int, signature: str | None = None) -> LeadTransaction:
        """A new customer with one claim, of the same number, and nothing asked for."""
        return self.commit(user_id, [(None, user(user_id, signature)), (None, claim(user_id, user_id))])

    def sign(self, user_id: int, signature: str = "file-1") -> LeadTransaction:
        """The customer signs."""
        return self.commit(user_id, [(user(user_id), user(user_id, signature))])

    def load(self, *user_ids: int) -> dict[int, Lead]:
        """What the store holds."""
        with self.store.transaction() as tx:
            return tx.load(user_ids)
