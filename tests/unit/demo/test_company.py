"""Histories as the simulated company invents them are judged alike by the oracle and by the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.leads.ledger import replay
from consumer.leads.model import Change, ClaimRow, Key, Lead, RequirementRow, Row, Stint, Table, UserRow
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import Exclusion, RuleFile
from consumer.leads.rules import Rules
from tests.demo.desk import Desk
from tests.demo.journal import Step, Transaction
from tests.demo.oracle import Oracle, Stay
from tests.demo.pipeline import WORDS

CUSTOMERS = 30
TRANSACTIONS = 3000


class Binlog:
    """Turns the company's steps into row changes as a binlog without cascades would hold them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int | Key], Row] = {}
        self._owners: dict[Key, int] = {}

    def changes(self, transaction: Transaction) -> list[Change]:
        """The transaction as one lane sees it."""
        parts = [part for step in transaction.steps for part in self._parts(step)]
        return [
            Change(user, table, before, after, transaction.high, transaction.high, number == len(parts))
            for number, (user, table, before, after) in enumerate(parts, start=1)
        ]

    def _parts(self, step: Step) -> Iterator[tuple[int, Table, Row | None, Row | None]]:
        table = Table(step.table)
        key = step.table, step.id if table is Table.USERS else str(step.id)
        before = self._rows.pop(key, None) if step.op != "c" else None
        after = None if step.op in "dk" else self._after(step, before)
        owner = self._owner(after or before)
        if after is not None:
            self._rows[key] = after
        yield owner, table, before, after
        if step.op == "k":
            assert isinstance(before, RequirementRow)
            moved = before._replace(id=str(step.values["id"]))
            self._rows[step.table, moved.id] = moved
            yield owner, table, None, moved

    def _after(self, step: Step, before: Row | None) -> Row:
        values = step.values
        match before or step.table:
            case UserRow() as row:
                signature = values.get("signature", row.signature) or None
                return row._replace(signature=signature, enabled=values.get("enabled", row.enabled))
            case ClaimRow() as row:
                return row._replace(status=values.get("status", row.status))
            case RequirementRow() as row:
                return row._replace(status=values.get("status", row.status))
            case "users":
                return UserRow(step.id, values["signature"] or None, values["enabled"])
            case "claims":
                self._owners[str(step.id)] = values["user"]
                return ClaimRow(str(step.id), values["user"], values["status"])
            case _:
                return RequirementRow(str(step.id), str(values["claim"]), values["type"], values["status"], None)

    def _owner(self, row: Row | None) -> int:
        match row:
            case UserRow():
                return row.id
            case ClaimRow():
                return row.user_id
            case RequirementRow():
                return self._owners[str(row.claim_id)]
        raise AssertionError


def history(seed: int) -> Iterator[Transaction]:
    desk = Desk(0, 1, seed, moves=False)
    number = 0
    while number < TRANSACTIONS:
        number += 1
        draft = desk.initial() if number <= CUSTOMERS else desk.next()
        if not draft.rollback:
            desk.commit(draft)
            yield Transaction(number, number * 100, number * 100 + 50, False, draft.steps)


def as_stint(user_id: int, stay: Stay) -> Stint:
    closed = None if stay.closed is None else stay.closed.high
    return Stint(
        user_id,
        stay.number,
        stay.queue,  # type: ignore[arg-type]
        stay.opened.high,
        stay.opened_reason,  # type: ignore[arg-type]
        closed,
        stay.closed_reason,  # type: ignore[arg-type]
        stay.conversion,  # type: ignore[arg-type]
        stay.signature,
    )


@pytest.mark.parametrize("seed", range(5))
def test_oracle_and_ledger_agree_on_every_stint_of_every_customer(seed: int) -> None:
    oracle, binlog = Oracle(WORDS), Binlog()
    closed, settled, excluded = (tuple(sorted(words)) for words in WORDS)
    rules = Rules(RuleFile(closed=closed, settled=settled, excluded=tuple(map(Exclusion, excluded))))
    leads: dict[int, Lead] = {}
    stints: dict[tuple[int, int], Stint] = {}
    conversions = version = 0
    for transaction in history(seed):
        oracle.play(transaction)
        outcome = Outcome()
        version = replay(binlog.changes(transaction), leads, version, rules, outcome)
        for key, stint in outcome.stints.items():  # a replay that only closes a stint leaves its opening to the store
            reason = stints[key].opened_reason if key in stints else stint.opened_reason
            stints[key] = stint._replace(opened_reason=reason)
        conversions += len(outcome.conversions)
    expected = {
        (person.id, stay.number): as_stint(person.id, stay)
        for person in oracle.people.values()
        for stay in person.stays
    }
    assert [(stints.get(key), stint) for key, stint in expected.items() if stints.get(key) != stint] == []
    assert len(stints) == len(expected)
    assert conversions == sum(stint.conversion_type is not None for stint in expected.values()) > 100


def test_the_same_seed_tells_the_same_story() -> None:
    assert list(history(7)) == list(history(7))
