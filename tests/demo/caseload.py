"""One worker's caseload: the customers it looks after, and what it decides to do with them next. No I/O in here.

A customer belongs to one caseload for good, so that the order of everything that happens to it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.demo.company_schema import COMPANY
from tests.demo.shape import Requested, Shape, literal
from tests.demo.transaction_log import Key, Step

_LONGEST_LINE: Final = 12  # customers looked at in search of one who fits
_UNTOUCHED: Final = 0.15  # of all changes leave `updated_at` as it was, where the application sets it


@dataclass(slots=True)
class Requirement:
    """A document the company asked for; `owed` by its own rules."""

    kind: str | None
    status: str | None
    reason: str | None
    owed: bool


@dataclass(slots=True)
class Claim:
    """A claim with its documents; `closed` where it is given up."""

    status: str | None
    closed: bool
    requirements: dict[Key, Requirement] = field(default_factory=dict)


@dataclass(slots=True)
class Customer:
    """A customer as its caseload knows it; `signatures` are the files it ever signed with."""

    id: int
    signature: str | None
    enabled: bool
    claims: dict[Key, Claim] = field(default_factory=dict)
    signatures: list[str] = field(default_factory=list)

    def owed(self) -> Iterator[tuple[Key, Requirement]]:
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
    nobodys: list[Key] = field(default_factory=list)
    """Requirements that come without a claim."""


class Caseload:
    """Decides what happens next; `commit` tells it what did happen."""

    untouched = _UNTOUCHED
    """The share of changes that leave `updated_at` alone, where the application sets it."""

    def __init__(self, worker: int, workers: int, seed: int, *, moves: bool = True, shape: Shape = COMPANY) -> None:
        self.shape = shape
        self.worker = worker
        self.workers = workers
        self.random = Random(f"{seed}/{worker}")
        self.customers: dict[int, Customer] = {}
        self.gone: list[int] = []
        self._ids: list[int] = []
        self._places: dict[int, int] = {}
        self.first_user = 0
        """New customers have higher ids."""
        self._claim_rows: dict[Key, Claim] = {}
        self._owner_of: dict[Key, int] = {}
        self._claim_of: dict[Key, Key] = {}
        self._nobodys_claims: list[Key] = []
        self._nobodys_requirements: list[Key] = []
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
            self.correct: 1.5,
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
            actions[self.move] = 1.2
            actions[self.swap_claims] = 0.5
            if not shape.foreign_keys:
                actions[self.replace_claim] = 0.3
                actions[self.swap_claim_ids] = 0.3
                actions[self.renumber_user] = 0.3
                actions[self.swap_users] = 0.3
        if shape.respelled:
            actions[self.respell] = 2
        if shape.claimless:
            actions[self.ask_nobody] = 1
        if not shape.foreign_keys or shape.claimless:
            actions[self.change_nobodys] = 1.5
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
            words = self.shape.vocabulary
            claim = self._new_claim(
                draft, user, self._word(words.open_claim if self.random.random() < 0.85 else words.closed_claim)
            )
            for _ in range(self.random.choice((0, 0, 1, 2))):
                status = self._word(words.owed if self.random.random() < 0.6 else words.approved)
                self._new_requirement(draft, claim, status)
        return draft

    def commit(self, draft: Draft) -> None:
        """The transaction happened."""
        self._nobodys_requirements += draft.nobodys
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
        claim = self._new_claim(draft, user, self.shape.vocabulary.open_claim[0])
        for _ in range(self.random.randrange(3)):
            self._new_requirement(draft, claim, self._asked())
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
        self._new_requirement(draft, self.random.choice(list(customer.claims)), self._asked())
        return True

    def sign_again(self, draft: Draft) -> bool:
        """A signature file that was removed is put back."""
        customer = self._find(lambda one: not one.signature and bool(one.signatures))
        return customer is not None and self._sign(draft, customer, self.random.choice(customer.signatures))

    def unsign(self, draft: Draft) -> bool:
        """A signature is found to be invalid."""
        customer = self._find(lambda one: bool(one.signature))
        return customer is not None and self._sign(draft, customer, None)

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
        claim = self._new_claim(draft, customer.id, self._word(self.shape.vocabulary.open_claim))
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            self._new_requirement(draft, claim, self._asked())
        return True

    def ask(self, draft: Draft) -> bool:
        """A document is asked for, on any claim."""
        customer = self._find(lambda one: bool(one.claims))
        if customer is None:
            return False
        self._new_requirement(draft, self.random.choice(list(customer.claims)), self._word(self.shape.vocabulary.owed))
        return True

    def hand_in(self, draft: Draft) -> bool:
        """A document arrives and waits to be looked at."""
        return self._change_owed(draft, self.shape.vocabulary.handed_in)

    def approve(self, draft: Draft) -> bool:
        """A document is approved."""
        return self._change_owed(draft, self._word(self.shape.vocabulary.approved))

    def approve_all(self, draft: Draft) -> bool:
        """Everything a customer owes is approved, in one statement a claim."""
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        word = self._word(self.shape.vocabulary.approved)
        for claim_id, claim in customer.claims.items():
            if claim.requirements:
                where = f"claim_id = {self._claim_key(claim_id)}"
                self._update(draft, "claim_requirements", f"status = {literal(word)}", where)
                draft.steps += [Step("claim_requirements", "u", key, {"status": word}) for key in claim.requirements]
        return True

    def approve_and_ask(self, draft: Draft) -> bool:
        """One document is approved and another asked for in the same transaction."""
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        key = self.random.choice([key for key, _ in customer.owed()])
        claim = next(claim_id for claim_id, claim in customer.claims.items() if key in claim.requirements)
        self._change(draft, key, self.shape.vocabulary.approved[0])
        self._new_requirement(draft, claim, self._asked())
        return True

    def reject(self, draft: Draft) -> bool:
        """A document that was handed in or approved turns out to be no good."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        return self._change(draft, key, self._word(self.shape.vocabulary.refused))

    def withdraw(self, draft: Draft) -> bool:
        """A document is not needed after all."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        return self._delete(draft, "claim_requirements", key)

    def correct(self, draft: Draft) -> bool:
        """A document turns out to be of another type, or asked for another reason."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        words = self.shape.vocabulary
        if self.random.random() < 0.5:
            column, values = "type", {"type": self._word(words.kinds)}
        else:
            column, values = "claim_requirement_reason", {"reason": self._word(words.reasons)}
        (word,) = values.values()
        self._update(draft, "claim_requirements", f"{column} = {literal(word)}", f"id = {self._requirement_key(key)}")
        draft.steps.append(Step("claim_requirements", "u", key, values))
        return True

    def renumber(self, draft: Draft) -> bool:
        """A requirement gets another id."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for claim in customer.claims.values() for key in claim.requirements])
        new = self._requirement_id()
        assignment = f"id = {self._requirement_key(new)}"
        self._update(draft, "claim_requirements", assignment, f"id = {self._requirement_key(key)}")
        draft.steps.append(Step("claim_requirements", "k", key, {"id": new}))
        return True

    def replace(self, draft: Draft) -> bool:
        """Two more ways to write a row: REPLACE and ON DUPLICATE KEY UPDATE."""
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        key, requirement = self.random.choice(list(customer.owed()))
        claim = next(claim_id for claim_id, claim in customer.claims.items() if key in claim.requirements)
        word = self._word(self.shape.vocabulary.approved)
        row = self._requirement_row(key, claim, requirement.kind, word, requirement.reason)
        if self.random.random() < 0.5:
            draft.statements.append(f"REPLACE INTO {row}")
        else:
            draft.statements.append(f"INSERT INTO {row} ON DUPLICATE KEY UPDATE status = VALUES(status)")
        draft.steps.append(Step("claim_requirements", "u", key, {"status": word}))
        return True

    def cancel(self, draft: Draft) -> bool:
        """A claim is given up."""
        customer = self._find(lambda one: any(not claim.closed for claim in one.claims.values()))
        return customer is not None and self._set_claim(
            draft, customer, self._word(self.shape.vocabulary.closed_claim), closed=False
        )

    def cancel_many(self, draft: Draft) -> bool:
        """Claims of several customers are given up in one transaction, which touches several lanes."""
        chosen: dict[int, Customer] = {}
        for _ in range(self.random.randrange(2, 8)):
            customer = self._find(lambda one: any(not claim.closed for claim in one.claims.values()))
            if customer is not None and customer.id not in chosen:
                chosen[customer.id] = customer
                self._set_claim(draft, customer, self.shape.vocabulary.closed_claim[0], closed=False)
        return bool(chosen)

    def reopen(self, draft: Draft) -> bool:
        """A claim that was given up is taken up again."""
        customer = self._find(lambda one: any(claim.closed for claim in one.claims.values()))
        return customer is not None and self._set_claim(
            draft, customer, self._word(self.shape.vocabulary.open_claim), closed=True
        )

    def drop_claim(self, draft: Draft) -> bool:
        """A claim is deleted; the server's cascade takes its requirements along, or they are left behind."""
        customer = self._find(lambda one: bool(one.claims))
        return customer is not None and self._delete(draft, "claims", self.random.choice(list(customer.claims)))

    def drop_claim_by_hand(self, draft: Draft) -> bool:
        """A claim is deleted after its requirements."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        key = self.random.choice([key for key, claim in customer.claims.items() if claim.requirements])
        self._clear_claim(draft, customer, key)
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
        """A customer is deleted; the server's cascades take claims and requirements along.

        Without foreign keys the company deletes them itself, or leaves some behind.
        """
        customer = self._find(lambda one: True)
        if customer is None:
            return False
        if not self.shape.foreign_keys and self.random.random() < 0.7:
            for key in customer.claims:
                self._clear_claim(draft, customer, key)
                if self.random.random() < 0.8:
                    self._delete(draft, "claims", key)
        return self._delete(draft, "users", customer.id)

    def bring_back(self, draft: Draft) -> bool:
        """A deleted customer returns under the old id."""
        if not self.gone:
            return False
        signature = self._file() if self.random.random() < 0.5 else None
        self._new_user(draft, signature, enabled=True, user_id=self.random.choice(self.gone))
        return True

    def profile(self, draft: Draft) -> bool:
        """Something personal changes that is nobody's business here."""
        customer = self._find(lambda one: True)
        if customer is None:
            return False
        change = self.shape.layout.personal_change(self.random, customer.id)
        self._update(draft, "users", change, f"id = {customer.id}")
        draft.steps.append(Step("users", "u", customer.id))
        return True

    def nothing(self, draft: Draft) -> bool:
        """A transaction that touches no captured table."""
        draft.statements.append("UPDATE users SET first_name = 'pii-' WHERE 1 = 0")
        return True

    def respell(self, draft: Draft) -> bool:
        """An id is written in other letters, which its column calls equal."""
        customer = self._find(lambda one: any(claim.requirements for claim in one.claims.values()))
        if customer is None:
            return False
        owned = [(key, claim) for key, claim in customer.claims.items() if claim.requirements]
        claim_id, claim = self.random.choice(owned)
        key = self.random.choice(list(claim.requirements))
        own = self.random.random() < 0.5
        assignment = f"id = {self._requirement_key(key)}" if own else f"claim_id = {self._claim_key(claim_id)}"
        self._update(draft, "claim_requirements", assignment, f"id = {self._requirement_key(key)}")
        draft.steps.append(Step("claim_requirements", "u", key))
        return True

    def ask_nobody(self, draft: Draft) -> bool:
        """A document is asked for before anybody says for which claim."""
        words = self.shape.vocabulary
        key = self._requirement_id()
        row = self._requirement_row(key, None, words.kinds[0], self._asked(), None)
        draft.statements.append(f"INSERT INTO {row}")
        draft.nobodys.append(key)
        return True

    def change_nobodys(self, draft: Draft) -> bool:
        """Something happens to what belongs to nobody: requirements without a claim, and what was left behind."""
        word = literal(self._word(self.shape.vocabulary.approved))
        if self._nobodys_claims and self.random.random() < 0.3:
            self._update(draft, "claims", f"status = {word}", f"id = {self._claim_key(self._nobodys_claims[-1])}")
            return True
        if not self._nobodys_requirements:
            return False
        where = f"id = {self._requirement_key(self.random.choice(self._nobodys_requirements))}"
        if self.random.random() < 0.3:
            draft.statements.append(f"DELETE FROM claim_requirements WHERE {where}")
        else:
            self._update(draft, "claim_requirements", f"status = {word}", where)
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
        """A claim turns out to be another customer's."""
        giver, taker = self._two(giving=1)
        if giver is None or taker is None:
            return False
        key = self.random.choice(list(giver.claims))
        self._update(draft, "claims", f"user_id = {taker.id}", f"id = {self._claim_key(key)}")
        draft.steps.append(Step("claims", "u", key, {"user": taker.id}))
        return True

    def replace_claim(self, draft: Draft) -> bool:
        """A claim is written anew, whole, for another customer; without foreign keys its requirements stay."""
        giver, taker = self._two(giving=1)
        if giver is None or taker is None:
            return False
        key = self.random.choice(list(giver.claims))
        status = giver.claims[key].status
        row = self.shape.layout.claim(self.random, self._claim_key(key), taker.id, status)
        draft.statements.append(f"REPLACE INTO {row}")
        draft.steps.append(Step("claims", "u", key, {"user": taker.id, "status": status}))
        return True

    def swap_claims(self, draft: Draft) -> bool:
        """Two customers had each other's claims."""
        giver, taker = self._two(giving=2)
        if giver is None or taker is None:
            return False
        for one, other in ((giver, taker), (taker, giver)):
            key = self.random.choice(list(one.claims))
            self._update(draft, "claims", f"user_id = {other.id}", f"id = {self._claim_key(key)}")
            draft.steps.append(Step("claims", "u", key, {"user": other.id}))
        return True

    def swap_claim_ids(self, draft: Draft) -> bool:
        """Two claims get each other's id; what was asked for stays with the id."""
        giver, taker = self._two(giving=2)
        if giver is None or taker is None:
            return False
        one, other = self.random.choice(list(giver.claims)), self.random.choice(list(taker.claims))
        self._claims += 1
        between = self.shape.claim_id.make(self.random, self._claims * self.workers + self.worker)
        for was, now in ((one, between), (other, one), (between, other)):
            self._update(draft, "claims", f"id = {self._claim_key(now)}", f"id = {self._claim_key(was)}")
        draft.steps.append(Step("claims", "u", one, {"user": taker.id, "status": taker.claims[other].status}))
        draft.steps.append(Step("claims", "u", other, {"user": giver.id, "status": giver.claims[one].status}))
        return True

    def renumber_user(self, draft: Draft) -> bool:
        """A customer gets another number, and the claims with it."""
        customer = self._find(lambda one: True)
        if customer is None:
            return False
        number = self._user_id()
        draft.statements.append(f"UPDATE users SET id = {number} WHERE id = {customer.id}")
        self._update(draft, "claims", f"user_id = {number}", f"user_id = {customer.id}")
        values = {"signature": customer.signature, "enabled": customer.enabled}
        draft.steps.append(Step("users", "c", number, values))
        draft.steps += [Step("claims", "u", key, {"user": number}) for key in customer.claims]
        draft.steps.append(Step("users", "d", customer.id))
        return True

    def swap_users(self, draft: Draft) -> bool:
        """Two customers get each other's number; the claims stay with the number."""
        one, other = self._two(giving=0)
        if one is None or other is None:
            return False
        between = self._user_id()
        for was, now in ((one.id, between), (other.id, one.id), (between, other.id)):
            draft.statements.append(f"UPDATE users SET id = {now} WHERE id = {was}")
        draft.steps.append(Step("users", "c", between, {"signature": one.signature, "enabled": one.enabled}))
        for user_id, row in ((one.id, other), (other.id, one)):
            draft.steps.append(Step("users", "u", user_id, {"signature": row.signature, "enabled": row.enabled}))
        draft.steps.append(Step("users", "d", between))
        return True

    # How they are written.

    def _two(self, *, giving: int) -> tuple[Customer | None, Customer | None]:
        """Two customers, of whom so many have claims."""
        one = self._find(lambda customer: not giving or bool(customer.claims))
        other = self._find(lambda customer: customer is not one and (giving < 2 or bool(customer.claims)))
        return one, other

    def _find(self, fits: Callable[[Customer], bool]) -> Customer | None:
        for _ in range(min(_LONGEST_LINE, len(self._ids))):
            customer = self.customers[self.random.choice(self._ids)]
            if fits(customer):
                return customer
        return None

    def _word(self, words: tuple[str | None, ...]) -> str | None:
        return self.random.choice(words)

    def _asked(self) -> str:
        return self.random.choice(self.shape.vocabulary.asked)

    def _file(self) -> str:
        return self.shape.signature.make(self.random)

    def _claim_key(self, key: Key) -> str:
        return self.shape.spelled(self.shape.claim_id, key, self.random)

    def _requirement_key(self, key: Key) -> str:
        return self.shape.spelled(self.shape.requirement_id, key, self.random)

    def _requirement_id(self) -> Key:
        self._requirements += 1
        number = self._requirements * self.workers + self.worker
        return self.shape.requirement_id.make(self.random, number)

    def _user_id(self) -> int:
        number = self._users * self.workers + self.worker
        self._users += 1
        if self.shape.low_ids and number % 3 == 0:
            return -number
        return self.first_user + self.workers + number

    def _signature(self, signature: str | None) -> str:
        kind = self.shape.signature
        return kind.literal(signature) if signature else self.random.choice(kind.none)

    def _flag(self, enabled: bool) -> str:
        return self.random.choice(self.shape.enabled.yes) if enabled else self.shape.enabled.no

    def _update(self, draft: Draft, table: str, assignments: str, where: str) -> None:
        if self.shape.own_times and self.random.random() >= self.untouched:
            assignments += ", updated_at = NOW()"
        draft.statements.append(f"UPDATE {table} SET {assignments} WHERE {where}")

    def _new_user(self, draft: Draft, signature: str | None, enabled: bool, user_id: int | None = None) -> int:
        if user_id is None:
            user_id = self._user_id()
        row = self.shape.layout.user(self.random, user_id, self._signature(signature), self._flag(enabled))
        draft.statements.append(f"INSERT INTO {row}")
        draft.steps.append(Step("users", "c", user_id, {"signature": signature, "enabled": enabled}))
        return user_id

    def _new_claim(self, draft: Draft, user_id: int, status: str | None) -> Key:
        self._claims += 1
        claim_id = self.shape.claim_id.make(self.random, self._claims * self.workers + self.worker)
        row = self.shape.layout.claim(self.random, self._claim_key(claim_id), user_id, status)
        draft.statements.append(f"INSERT INTO {row}")
        draft.steps.append(Step("claims", "c", claim_id, {"user": user_id, "status": status}))
        return claim_id

    def _new_requirement(self, draft: Draft, claim_id: Key, status: str | None) -> None:
        kind, reason = self._word(self.shape.vocabulary.kinds), self._word(self.shape.vocabulary.reasons)
        key = self._requirement_id()
        draft.statements.append(f"INSERT INTO {self._requirement_row(key, claim_id, kind, status, reason)}")
        values = {"claim": claim_id, "type": kind, "status": status, "reason": reason}
        draft.steps.append(Step("claim_requirements", "c", key, values))

    def _requirement_row(
        self, key: Key, claim_id: Key | None, kind: str | None, status: str | None, reason: str | None
    ) -> str:
        claim = "NULL" if claim_id is None else self._claim_key(claim_id)
        asked = Requested(self._requirement_key(key), claim, kind, status, reason)
        return self.shape.layout.requirement(self.random, asked)

    def _sign(self, draft: Draft, customer: Customer, signature: str | None) -> bool:
        value = self._signature(signature)
        self._update(draft, "users", f"current_signature_file_id = {value}", f"id = {customer.id}")
        draft.steps.append(Step("users", "u", customer.id, {"signature": signature}))
        return True

    def _enable(self, draft: Draft, customer: Customer, enabled: bool) -> bool:
        self._update(draft, "users", f"is_enabled = {self._flag(enabled)}", f"id = {customer.id}")
        draft.steps.append(Step("users", "u", customer.id, {"enabled": enabled}))
        return True

    def _set_claim(self, draft: Draft, customer: Customer, status: str | None, *, closed: bool) -> bool:
        key = self.random.choice([key for key, claim in customer.claims.items() if claim.closed == closed])
        self._update(draft, "claims", f"status = {literal(status)}", f"id = {self._claim_key(key)}")
        draft.steps.append(Step("claims", "u", key, {"status": status}))
        return True

    def _change_owed(self, draft: Draft, status: str | None) -> bool:
        customer = self._find(lambda one: any(True for _ in one.owed()))
        if customer is None:
            return False
        return self._change(draft, self.random.choice([key for key, _ in customer.owed()]), status)

    def _change(self, draft: Draft, key: Key, status: str | None) -> bool:
        where = f"id = {self._requirement_key(key)}"
        self._update(draft, "claim_requirements", f"status = {literal(status)}", where)
        draft.steps.append(Step("claim_requirements", "u", key, {"status": status}))
        return True

    def _clear_claim(self, draft: Draft, customer: Customer, key: Key) -> None:
        draft.statements.append(f"DELETE FROM claim_requirements WHERE claim_id = {self._claim_key(key)}")
        draft.steps += [Step("claim_requirements", "d", one) for one in customer.claims[key].requirements]

    def _delete(self, draft: Draft, table: str, key: Key) -> bool:
        kinds = {"claims": self.shape.claim_id, "claim_requirements": self.shape.requirement_id}
        where = literal(key) if table == "users" else self.shape.spelled(kinds[table], key, self.random)
        draft.statements.append(f"DELETE FROM {table} WHERE id = {where}")
        draft.steps.append(Step(table, "d", key))
        return True

    # What it remembers.

    def _commit_user(self, step: Step) -> None:
        user = step.user
        if step.op == "d":
            customer = self.customers.pop(user)
            last = self._ids.pop()
            place = self._places.pop(user)
            if last != user:
                self._ids[place] = last
                self._places[last] = place
            for key in customer.claims:
                self._forget_claim(key)
            if self.shape.foreign_keys:
                self.gone.append(user)
            elif customer.claims:  # whoever came back under this id would be given what was left behind
                self._nobodys_claims += customer.claims
            else:
                self.gone.append(user)
            return
        if step.op == "c":
            self.customers[user] = Customer(user, None, True)
            self._places[user] = len(self._ids)
            self._ids.append(user)
            if user in self.gone:
                self.gone.remove(user)
        customer = self.customers[user]
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
            status = step.values["status"]
            self._claim_rows[step.id] = Claim(status, self.shape.words.is_closed(status))
            self._owner_of[step.id] = step.values["user"]
            self.customers[step.values["user"]].claims[step.id] = self._claim_rows[step.id]
            return
        claim = self._claim_rows[step.id]
        claim.status = step.values.get("status", claim.status)
        claim.closed = self.shape.words.is_closed(claim.status)
        if "user" in step.values:
            del self.customers[self._owner_of[step.id]].claims[step.id]
            taker = self.customers[step.values["user"]]
            taker.claims[step.id] = claim
            self._owner_of[step.id] = taker.id

    def _commit_requirement(self, step: Step) -> None:
        if step.op == "c":
            claim_id = step.values["claim"]
            self._claim_of[step.id] = claim_id
            kind, status, reason = step.values["type"], step.values["status"], step.values["reason"]
            requirement = Requirement(kind, status, reason, self.shape.words.is_owed(kind, status, reason))
            self._claim_rows[claim_id].requirements[step.id] = requirement
            return
        requirements = self._claim_rows[self._claim_of[step.id]].requirements
        if step.op == "u":
            requirement = requirements[step.id]
            requirement.kind = step.values.get("type", requirement.kind)
            requirement.status = step.values.get("status", requirement.status)
            requirement.reason = step.values.get("reason", requirement.reason)
            requirement.owed = self.shape.words.is_owed(requirement.kind, requirement.status, requirement.reason)
            return
        requirement = requirements.pop(step.id)
        claim_id = self._claim_of.pop(step.id)
        if step.op == "k":
            requirements[step.values["id"]] = requirement
            self._claim_of[step.values["id"]] = claim_id

    def _forget_claim(self, key: Key) -> None:
        for requirement in self._claim_rows.pop(key).requirements:
            del self._claim_of[requirement]
            if not self.shape.foreign_keys:
                self._nobodys_requirements.append(requirement)
        del self._owner_of[key]

    def _owner(self, step: Step) -> int:
        if step.table == "users":
            return step.user
        if step.table == "claims":
            return self._owner_of[step.id]
        claim: Key = step.values["claim"] if step.op == "c" else self._claim_of[step.id]
        return self._owner_of[claim]
