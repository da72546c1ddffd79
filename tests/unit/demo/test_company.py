"""Histories as the simulated company invents them are judged alike by the oracle and by the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from consumer.leads.ledger import replay
from consumer.leads.model import Change, ClaimRow, Lead, RequirementRow, Row, Stint, Table, UserRow
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import parse
from consumer.leads.rules import Rules
from tests.demo.caseload import Caseload
from tests.demo.company_schema import COMPANY, SHAPES
from tests.demo.oracle import Oracle, Stay
from tests.demo.shape import Shape, canonical
from tests.demo.transaction_log import Key, Step, Transaction
from tests.servers.places import PROJECT

CUSTOMERS = 30
TRANSACTIONS = 1500


class Binlog:
    """Turns the company's steps into row changes as a binlog without cascades would hold them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Key], Row] = {}
        self._owners: dict[str, int] = {}

    def changes(self, transaction: Transaction) -> list[Change]:
        """The transaction as one lane sees it."""
        parts = [part for step in transaction.steps for part in self._parts(step)]
        return [
            Change(user, table, before, after, transaction.high, transaction.high, number == len(parts))
            for number, (user, table, before, after) in enumerate(parts, start=1)
        ]

    def _parts(self, step: Step) -> Iterator[tuple[int, Table, Row | None, Row | None]]:
        table = Table(step.table)
        before = self._rows.pop((step.table, step.id), None) if step.op != "c" else None
        after = None if step.op in "dk" else self._after(step, before)
        owner = self._owner(after or before)
        if after is not None:
            self._rows[step.table, step.id] = after
        yield owner, table, before, after
        if step.op == "k":
            assert isinstance(before, RequirementRow)
            moved = before._replace(id=str(step.values["id"]))
            self._rows[step.table, step.values["id"]] = moved
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
                return row._replace(
                    type=values.get("type", row.type),
                    status=values.get("status", row.status),
                    reason=values.get("reason", row.reason),
                )
            case "users":
                return UserRow(step.user, values["signature"] or None, values["enabled"])
            case "claims":
                self._owners[str(step.id)] = values["user"]
                return ClaimRow(str(step.id), values["user"], values["status"])
            case _:
                claim, kind, status, reason = (values[name] for name in ("claim", "type", "status", "reason"))
                return RequirementRow(str(step.id), str(claim), kind, status, reason)

    def _owner(self, row: Row | None) -> int:
        match row:
            case UserRow():
                return row.id
            case ClaimRow():
                return row.user_id
            case RequirementRow():
                return self._owners[str(row.claim_id)]
        raise AssertionError


def history(seed: int, shape: Shape) -> Iterator[Transaction]:
    caseload = Caseload(0, 1, seed, moves=False, shape=shape)
    number = 0
    while number < TRANSACTIONS:
        number += 1
        draft = caseload.initial() if number <= CUSTOMERS else caseload.next()
        if not draft.rollback:
            caseload.commit(draft)
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


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_oracle_and_ledger_agree_on_every_stint_of_every_customer(seed: int, shape: Shape) -> None:
    oracle, binlog = Oracle(shape.words), Binlog()
    rules = Rules(parse(shape.rules_file.read_text()))
    leads: dict[int, Lead] = {}
    stints: dict[tuple[int, int], Stint] = {}
    conversions = version = 0
    for transaction in history(seed, shape):
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


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_same_seed_tells_the_same_story(shape: Shape) -> None:
    assert list(history(7, shape)) == list(history(7, shape))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_no_id_is_given_twice_in_whatever_spelling(shape: Shape) -> None:
    for table in ("claims", "claim_requirements"):
        keys = [step.id for one in history(3, shape) for step in one.steps if (step.table, step.op) == (table, "c")]
        assert len({canonical(key) for key in keys}) == len(keys) > 100
        assert keys == [canonical(key) for key in keys]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_brings_customers_into_and_out_of_every_queue(shape: Shape) -> None:
    oracle = Oracle(shape.words)
    oracle.replay(history(5, shape))
    stays = [stay for person in oracle.people.values() for stay in person.stays]
    assert {stay.queue for stay in stays} == {"unsigned_users", "requirements_outstanding", "none"}
    paid = Counter(stay.conversion for stay in stays)
    assert min(paid["signature_obtained"], paid["requirements_completed"]) > 30


def test_some_shapes_have_users_of_ids_0_and_below() -> None:
    users = [step.user for one in history(1, SHAPES["int"]) for step in one.steps if step.table == "users"]
    assert 0 in users
    assert min(users) < 0 < max(users)


def test_ids_in_text_are_spelled_differently_and_mean_the_same() -> None:
    shape, random = SHAPES["text"], Random(1)
    spellings = {shape.spelled(shape.claim_id, "doc-0af1-000001", random) for _ in range(100)}
    assert len(spellings) > 5
    assert {canonical(one.strip("'")) for one in spellings} == {"doc-0af1-000001"}


def test_the_tables_that_compose_starts_with_are_the_companys() -> None:
    deployed = (PROJECT / "deploy" / "mysql" / "05-company.sql").read_text().split("USE company;")[1]
    statements = [" ".join(one.replace("IF NOT EXISTS ", "").split()) for one in deployed.split(";") if one.strip()]
    assert statements == [" ".join(one.split()) for one in COMPANY.layout.tables(COMPANY)]
