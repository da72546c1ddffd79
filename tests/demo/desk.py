"""One worker's desk: the customers it looks after, and what it decides to do with them next. No I/O in here.

A customer belongs to one desk for good, so that the order of everything that happens to it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.demo import company_schema as schema
from tests.demo.journal import Step

CLOSED: Final = ("cancelled", "rejected")
"""Statuses in which this company calls a claim closed."""
SETTLED: Final = ("approved", "waived")
"""Statuses in which it asks for a document no longer."""
EXCLUDED: Final = ("marketing_consent",)
"""Types of requirement for which it calls nobody."""

_OPEN_CLAIM = ("open", "in_review", "submitted", "Open", None)
_OWED = ("requested", "submitted", "rejected", "unreadable", None)
_CLOSED_WRITTEN = ("cancelled", "Cancelled", "rejected", "cancelled ")
_SETTLED_WRITTEN = ("approved", "approved", "approved", "APPROVED", "waived", "approved  ")
_FIRST_CLAIM = 5_000_000_000  # ids that need more than 32 bits
_LONGEST_LINE = 12  # customers looked at in search of one who fits


@dataclass(slots=True)
class Requirement:
    """A document the company asked for."""

    kind: str | None
    status: str | None

    @property
    def owed(self) -> bool:
        """Whether it is still to be handed in, as this company's own rules say."""
        return (self.status or "").strip().lower() not in SETTLED


@dataclass(slots=True)
class Claim:
    """A claim with its documents."""

    status: str | None
    requirements: dict[int, Requirement] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        """Whether it is given up."""
        return (self.status or "").strip().lower() in CLOSED


@dataclass(slots=True)
class Customer:
    """A customer as its desk knows it; `signatures` are the files it ever signed with."""

    id: int
    signature: str | None
    enabled: bool
    claims: dict[int, Claim] = field(default_factory=dict)
    signatures: list[str] = field(default_factory=list)
    at_rest: bool = False
    """Left alone for good: a claim was moved to it, and what it is sent next would race with its recheck."""

    def owed(self) -> Iterator[tuple[int, Requirement]]:
        """The documents still to be handed in on open claims."""
        for claim in self.claims.values():
            if not claim.closed:
                yield from ((key, requirement) for key, requirement in claim.requirements.items() if requirement.owed)


@dataclass(slots=True)
class Draft:
    """A transaction to be: SQL statements without BEGIN and COMMIT, and what they change."""

    name: str
    statements: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    rollback: bool = False


class Desk:
    """Decides what happens next; `commit` tells it what did happen."""

    def __init__(self, worker: int, workers: int, seed: int, *, moves: bool = True) -> None:
        self.worker = worker
        self.workers = workers
        self.random = Random(f"{seed}/{worker}")
        self.customers: dict[int, Customer] = {}
        self.gone: list[int] = []
        self._ids: list[int] = []
        self._places: dict[int, int] = {}
        self._claim_rows: dict[int, Claim] = {}
        self._owner_of: dict[int, int] = {}
        self._claim_of: dict[int, int] = {}
        self._users = self._claims = self._requirements = 0
        actions: dict[Callable[[Draft], bool], float] = {
            self.register: 9,
            self.register_complete: 3,
            self.sign: 13,
            self.sign_and_ask: 3,
            self.sign_again: 2,
            self.unsign: 3,
            self.sign_and_unsign: 0.5,
            self.open_claim: 9,
            self.ask: 11,
            self.hand_in: 8,
            self.approve: 17,
            self.approve_all: 8,
            self.approve_and_ask: 4,
            self.reject: 6,
            self.withdraw: 3,
            self.renumber: 0.5,
            self.replace: 1,
            self.cancel: 4,
            self.cancel_many: 1,
            self.reopen: 4,
            self.drop_claim: 2,
            self.drop_claim_by_hand: 1,
            self.disable: 3,
            self.enable: 3,
            self.remove: 1.5,
            self.bring_back: 0.7,
            self.profile: 9,
            self.nothing: 1,
            self.mix: 5,
            self.give_up: 4,
            self.second_thoughts: 2,
        }
        if moves:
            actions[self.move] = 0.1
        self._actions = list(actions)
        self._weights = [sum(list(actions.values())[: place + 1]) for place in range(len(actions))]

    def next(self) -> Draft:
        """The next transaction, which fits what was committed so far."""
        while True:
            action = self.random.choices(self._actions, cum_weights=self._weights)[0]
            draft = Draft(action.__name__)
            if action(draft):
                return draft

    def initial(self) -> Draft:
        """A customer who was there before the pipeline: in any state a customer can be in."""
        draft = Draft("initial")
        signature = self._file() if self.random.random() < 0.5 else None
        user = self._new_user(draft, signature, enabled=self.random.random() < 0.95)
        for _ in range(self.random.choice((0, 1, 1, 1, 2))):
            claim = self._new_claim(draft, user, self._word(_OPEN_CLAIM if self.random.random() < 0.85 else CLOSED))
            for _ in range(self.random.choice((0, 0, 1, 2))):
                self._new_requirement(draft, claim, self._word(_OWED if self.random.random() < 0.6 else SETTLED))
        return draft

    def commit(self, draft: Draft) -> None:
        """The transaction happened."""
        for step in draft.steps:
            if step.table == "users":
                self._commit_user(step)
            elif step.table == "claims":
                self._commit_claim(step)
            else:
                self._commit_requirement(step)

    # What people and agents do. Each returns False where nobody fits.

    def register(self, draft: Draft) -> bool:
        """Somebody registers."""
        self._new_user(draft, None, enabled=True)
        return True

    def register_complete(self, draft: Draft) -> bool:
        """Somebody registers, signs and opens a claim at once."""
        user = self._new_user(draft, self._file() if self.random.random() < 0.7 else None, enabled=True)
        claim = self._new_claim(draft, user, "open")
        for _ in range(self.random.randrange(3)):
            self._new_requirement(draft, claim, "requested")
        return True

    def sign(self, draft: Draft) -> bool:
        """A customer signs."""
        customer = self._find(lambda one: not one.signature)
        return customer is not None and self._sign(draft, customer, self._file())

    def sign_and_ask(self, draft: Draft) -> bool:
        """A customer signs and is asked for a document in the same transaction."""
        customer = self._find(lambda one: not one.signature and bool(one.claims))
        if customer is None:
            return False
        self._sign(draft, customer, self._file())
        self._new_requirement(draft, self.random.choice(list(customer.claims)), "requested")
        return True

    def sign_again(self, draft: Draft) -> bool:
        """A signature file that was removed is put back."""
        customer = self._find(lambda one: not one.signature and bool(one.signatures))
        return customer is not None and self._sign(draft, customer, self.random.choice(customer.signatures))

    def unsign(self, draft: Draft) -> bool:
        """A signature is found to be invalid."""
        customer = self._find(lambda one: bool(one.signature))
        return customer is not None and self._sign(draft, customer, self.random.choice((None, None, "")))

    def sign_and_unsign(self, draft: Draft) -> bool:
        """A signature comes and goes within one transaction."""
        customer = self._find(lambda one: not one.signature)
        if customer is None:
            return False
        self._sign(draft, customer, self._file())
        return self._sign(draft, customer, None)

    def open_claim(self, draft: Draft) -> bool:
        """A customer opens a claim, mostly with documents to be handed in."""
        customer = self._find(lambda one: len(one.claims) < 4)
        if customer is None:
            return False
        claim = self._new_claim(draft, customer.id, self._word(_OPEN_CLAIM))
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            self._new_requirement(draft, claim, "requested")
        return True

    def ask(self, draft: Draft) -> bool:
        """A document is asked for, on any claim."""
        customer = self._find(lambda one: bool(one.claims))
        if customer is None:
            return False
        self._new_requirement(draft, self.random.choice(list(customer.claims)), self._word(_OWED))
        return True

    def hand_in(self, draft: Draft) -> bool:
        """A document arrives and waits to be looked at."""
        return self._change_owed(draft, "submitted")

    def approve(self, draft: Draft) -> bool:
        """A document is approved."""
        return self._change_owed(draft, self._word(_SETTLED_WRITTEN))

    def approve_all(self, draft: Draft) -> bool:
        """Everything a customer owes is approved, in one statement a claim."""
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        word = self._word(_SETTLED_WRITTEN)
        for claim_id, claim in customer.claims.items():
            if claim.requirements:
                draft.statements.append(
                    f"UPDATE claim_requirements SET status = {schema.literal(word)} WHERE claim_id = {claim_id}"
                )
                draft.steps += [Step("claim_requirements", "u", key, {"status": word}) for key in claim.requirements]
        return True

    def approve_and_ask(self, draft: Draft) -> bool:
        """One document is approved and another asked for in the same transaction."""
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        key = self.random.choice([key for key, _ in customer.owed()])
        claim = next(claim_id for claim_id, claim in customer.claims.items() if key in claim.requirements)
        self._change(draft, key, "approved")
        self._new_requirement(draft, claim, "requested")
        return True

    def reject(self, draft: Draft) -> bool:
        """A document that was handed in or approved turns out to be no good."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        return self._change(draft, key, self.random.choice(("rejected", "unreadable", None)))

    def withdraw(self, draft: Draft) -> bool:
        """A document is not needed after all."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        return self._delete(draft, "claim_requirements", key)

    def renumber(self, draft: Draft) -> bool:
        """A requirement gets another id."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        new = self._requirement_id()
        draft.statements.append(f"UPDATE claim_requirements SET id = {new} WHERE id = {key}")
        draft.steps.append(Step("claim_requirements", "k", key, {"id": new}))
        return True

    def replace(self, draft: Draft) -> bool:
        """Two more ways to write a row: REPLACE and ON DUPLICATE KEY UPDATE."""
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        key, requirement = self.random.choice(list(customer.owed()))
        claim = next(claim_id for claim_id, claim in customer.claims.items() if key in claim.requirements)
        word = self._word(_SETTLED_WRITTEN)
        values = schema.requirement_values(self.random, key, claim, requirement.kind, word)
        columns = f"claim_requirements ({schema.REQUIREMENT_COLUMNS}) VALUES {values}"
        if self.random.random() < 0.5:
            draft.statements.append(f"REPLACE INTO {columns}")
        else:
            draft.statements.append(f"INSERT INTO {columns} ON DUPLICATE KEY UPDATE status = VALUES(status)")
        draft.steps.append(Step("claim_requirements", "u", key, {"status": word}))
        return True

    def cancel(self, draft: Draft) -> bool:
        """A claim is given up."""
        customer = self._find(lambda one: any(not claim.closed for claim in one.claims.values()))
        return customer is not None and self._set_claim(draft, customer, self._word(_CLOSED_WRITTEN), closed=False)

    def cancel_many(self, draft: Draft) -> bool:
        """Claims of several customers are given up in one transaction, which touches several lanes."""
        chosen: dict[int, Customer] = {}
        for _ in range(self.random.randrange(2, 8)):
            customer = self._find(lambda one: any(not claim.closed for claim in one.claims.values()))
            if customer is not None and customer.id not in chosen:
                chosen[customer.id] = customer
                self._set_claim(draft, customer, "cancelled", closed=False)
        return bool(chosen)

    def reopen(self, draft: Draft) -> bool:
        """A claim that was given up is taken up again."""
        customer = self._find(lambda one: any(claim.closed for claim in one.claims.values()))
        return customer is not None and self._set_claim(draft, customer, self._word(_OPEN_CLAIM), closed=True)

    def drop_claim(self, draft: Draft) -> bool:
        """A claim is deleted; the server's cascade takes its requirements along."""
        customer = self._find(lambda one: bool(one.claims))
        return customer is not None and self._delete(draft, "claims", self.random.choice(list(customer.claims)))

    def drop_claim_by_hand(self, draft: Draft) -> bool:
        """A claim is deleted after its requirements."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for key, claim in customer.claims.items() if claim.requirements])
        draft.statements.append(f"DELETE FROM claim_requirements WHERE claim_id = {key}")
        draft.steps += [Step("claim_requirements", "d", one) for one in customer.claims[key].requirements]
        return self._delete(draft, "claims", key)

    def disable(self, draft: Draft) -> bool:
        """A customer's account is locked."""
        customer = self._find(lambda one: one.enabled)
        return customer is not None and self._enable(draft, customer, False)

    def enable(self, draft: Draft) -> bool:
        """A locked account is opened again."""
        customer = self._find(lambda one: not one.enabled)
        return customer is not None and self._enable(draft, customer, True)

    def remove(self, draft: Draft) -> bool:
        """A customer is deleted; the server's cascades take claims and requirements along."""
        customer = self._find(lambda one: True)
        return customer is not None and self._delete(draft, "users", customer.id)

    def bring_back(self, draft: Draft) -> bool:
        """A deleted customer returns under the old id."""
        if not self.gone:
            return False
        self._new_user(draft, self._file() if self.random.random() < 0.5 else None, True, self.random.choice(self.gone))
        return True

    def profile(self, draft: Draft) -> bool:
        """Something personal changes that is nobody's business here."""
        customer = self._find(lambda one: True)
        if customer is None:
            return False
        change = schema.personal_change(self.random, customer.id)
        draft.statements.append(f"UPDATE users SET {change} WHERE id = {customer.id}")
        draft.steps.append(Step("users", "u", customer.id))
        return True

    def nothing(self, draft: Draft) -> bool:
        """A transaction that touches no captured table."""
        draft.statements.append("UPDATE users SET login_count = login_count WHERE id = 0")
        return True

    def mix(self, draft: Draft) -> bool:
        """Several changes of several customers in one transaction."""
        parts = [Draft(action.__name__) for action in (self.sign, self.approve, self.cancel, self.ask)]
        done = [getattr(self, part.name)(part) for part in parts]
        customers: set[int] = set()
        for part, fits in zip(parts, done, strict=True):
            touched = {self._owner(step) for step in part.steps}
            if fits and not touched & customers:  # a second change of one customer would not know of the first
                customers |= touched
                draft.statements += part.statements
                draft.steps += part.steps
        return bool(draft.steps)

    def give_up(self, draft: Draft) -> bool:
        """A transaction that is rolled back."""
        other = self.random.choice((self.sign, self.approve_all, self.remove, self.cancel, self.register))
        draft.rollback = True
        return other(draft)

    def second_thoughts(self, draft: Draft) -> bool:
        """A transaction of which a part is rolled back to a savepoint."""
        other = self.random.choice((self.sign, self.approve_all, self.remove, self.cancel, self.unsign))
        part = Draft(other.__name__)
        if not other(part) or not self.profile(draft):
            return False
        draft.statements += ["SAVEPOINT before_it", *part.statements, "ROLLBACK TO SAVEPOINT before_it"]
        return True

    def move(self, draft: Draft) -> bool:
        """A claim turns out to be another customer's; the one who gets it is left alone from then on."""
        giver = self._find(lambda one: bool(one.claims))
        taker = self._find(lambda one: giver is not None and one.id != giver.id)
        if giver is None or taker is None:
            return False
        key = self.random.choice(list(giver.claims))
        draft.statements.append(f"UPDATE claims SET user_id = {taker.id} WHERE id = {key}")
        draft.steps.append(Step("claims", "u", key, {"user": taker.id}))
        return True

    # How they are written.

    def _find(self, fits: Callable[[Customer], bool]) -> Customer | None:
        for _ in range(min(_LONGEST_LINE, len(self._ids))):
            customer = self.customers[self.random.choice(self._ids)]
            if not customer.at_rest and fits(customer):
                return customer
        return None

    def _word(self, words: tuple[str | None, ...]) -> str | None:
        return self.random.choice(words)

    def _file(self) -> str:
        return f"{self.random.getrandbits(64):016x}"

    def _requirement_id(self) -> int:
        self._requirements += 1
        return self._requirements * self.workers + self.worker

    def _new_user(self, draft: Draft, signature: str | None, enabled: bool, user_id: int | None = None) -> int:
        if user_id is None:
            self._users += 1
            user_id = self._users * self.workers + self.worker
        values = schema.user_values(self.random, user_id, signature, enabled)
        draft.statements.append(f"INSERT INTO users ({schema.USER_COLUMNS}) VALUES {values}")
        draft.steps.append(Step("users", "c", user_id, {"signature": signature, "enabled": enabled}))
        return user_id

    def _new_claim(self, draft: Draft, user_id: int, status: str | None) -> int:
        self._claims += 1
        claim_id = _FIRST_CLAIM + self._claims * self.workers + self.worker
        values = schema.claim_values(self.random, claim_id, user_id, status)
        draft.statements.append(f"INSERT INTO claims ({schema.CLAIM_COLUMNS}) VALUES {values}")
        draft.steps.append(Step("claims", "c", claim_id, {"user": user_id, "status": status}))
        return claim_id

    def _new_requirement(self, draft: Draft, claim_id: int, status: str | None) -> None:
        kind = self.random.choice((*schema.REQUIREMENT_TYPES, None))
        key = self._requirement_id()
        values = schema.requirement_values(self.random, key, claim_id, kind, status)
        draft.statements.append(f"INSERT INTO claim_requirements ({schema.REQUIREMENT_COLUMNS}) VALUES {values}")
        draft.steps.append(Step("claim_requirements", "c", key, {"claim": claim_id, "type": kind, "status": status}))

    def _sign(self, draft: Draft, customer: Customer, signature: str | None) -> bool:
        value = schema.literal(signature)
        draft.statements.append(f"UPDATE users SET current_signature_file_id = {value} WHERE id = {customer.id}")
        draft.steps.append(Step("users", "u", customer.id, {"signature": signature}))
        return True

    def _enable(self, draft: Draft, customer: Customer, enabled: bool) -> bool:
        draft.statements.append(f"UPDATE users SET is_enabled = {enabled:d} WHERE id = {customer.id}")
        draft.steps.append(Step("users", "u", customer.id, {"enabled": enabled}))
        return True

    def _set_claim(self, draft: Draft, customer: Customer, status: str | None, *, closed: bool) -> bool:
        key = self.random.choice([key for key, claim in customer.claims.items() if claim.closed == closed])
        draft.statements.append(f"UPDATE claims SET status = {schema.literal(status)} WHERE id = {key}")
        draft.steps.append(Step("claims", "u", key, {"status": status}))
        return True

    def _change_owed(self, draft: Draft, status: str | None) -> bool:
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        return self._change(draft, self.random.choice([key for key, _ in customer.owed()]), status)

    def _change(self, draft: Draft, key: int, status: str | None) -> bool:
        draft.statements.append(f"UPDATE claim_requirements SET status = {schema.literal(status)} WHERE id = {key}")
        draft.steps.append(Step("claim_requirements", "u", key, {"status": status}))
        return True

    def _delete(self, draft: Draft, table: str, key: int) -> bool:
        draft.statements.append(f"DELETE FROM {table} WHERE id = {key}")
        draft.steps.append(Step(table, "d", key))
        return True

    # What it remembers.

    def _commit_user(self, step: Step) -> None:
        if step.op == "d":
            customer = self.customers.pop(step.id)
            last = self._ids.pop()
            place = self._places.pop(step.id)
            if last != step.id:
                self._ids[place] = last
                self._places[last] = place
            for key in customer.claims:
                self._forget_claim(key)
            self.gone.append(step.id)
            return
        if step.op == "c":
            self.customers[step.id] = Customer(step.id, None, True)
            self._places[step.id] = len(self._ids)
            self._ids.append(step.id)
            if step.id in self.gone:
                self.gone.remove(step.id)
        customer = self.customers[step.id]
        if "signature" in step.values:
            customer.signature = step.values["signature"]
            if customer.signature and customer.signature not in customer.signatures:
                customer.signatures.append(customer.signature)
        customer.enabled = step.values.get("enabled", customer.enabled)

    def _commit_claim(self, step: Step) -> None:
        if step.op == "d":
            self.customers[self._owner_of[step.id]].claims.pop(step.id)
            self._forget_claim(step.id)
            return
        if step.op == "c":
            self._claim_rows[step.id] = Claim(step.values["status"])
            self._owner_of[step.id] = step.values["user"]
            self.customers[step.values["user"]].claims[step.id] = self._claim_rows[step.id]
            return
        claim = self._claim_rows[step.id]
        claim.status = step.values.get("status", claim.status)
        if "user" in step.values:
            del self.customers[self._owner_of[step.id]].claims[step.id]
            taker = self.customers[step.values["user"]]
            taker.claims[step.id] = claim
            taker.at_rest = True
            self._owner_of[step.id] = taker.id

    def _commit_requirement(self, step: Step) -> None:
        if step.op == "c":
            claim_id = step.values["claim"]
            self._claim_of[step.id] = claim_id
            requirement = Requirement(step.values["type"], step.values["status"])
            self._claim_rows[claim_id].requirements[step.id] = requirement
            return
        requirements = self._claim_rows[self._claim_of[step.id]].requirements
        if step.op == "u":
            requirements[step.id].status = step.values["status"]
            return
        requirement = requirements.pop(step.id)
        claim_id = self._claim_of.pop(step.id)
        if step.op == "k":
            requirements[step.values["id"]] = requirement
            self._claim_of[step.values["id"]] = claim_id

    def _forget_claim(self, key: int) -> None:
        for requirement in self._claim_rows.pop(key).requirements:
            del self._claim_of[requirement]
        del self._owner_of[key]

    def _owner(self, step: Step) -> int:
        if step.table == "users":
            return step.id
        if step.table == "claims":
            return self._owner_of[step.id]
        claim: int = step.values["claim"] if step.op == "c" else self._claim_of[step.id]
        return self._owner_of[claim]
