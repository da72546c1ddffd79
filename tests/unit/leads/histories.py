"""Random histories of the make-believe company, as hypothesis strategies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hypothesis import strategies as st

from consumer.leads.rule_file import Exclusion, RuleFile
from consumer.leads.rules import Rules
from tests.unit.leads.company import MINUTE, SECOND, Company
from tests.unit.leads.naive_model import NaiveWords

USERS: Final = (1, 2)
RULES: Final = Rules(
    RuleFile(closed=("cancelled", "Lost "), settled=("approved", "waived"), excluded=(Exclusion("Optional"),))
)
WORDS: Final = NaiveWords(("cancelled", "lost"), ("approved", "waived"), ("optional",))

Step = tuple[object, ...]
Transaction = tuple[int, tuple[Step, ...]]

_users = st.sampled_from(USERS)
_claims = st.sampled_from(("11", "11", "12", "13"))
_requirements = st.sampled_from(("101", "101", "102", "103"))
_pauses = st.sampled_from((1, 1, 300_000, SECOND, 7 * SECOND, 40 * SECOND, 3 * MINUTE))

_requirement_changes = st.tuples(
    st.just("requirement"),
    _requirements,
    _claims,
    st.sampled_from(("pending", None, "approved", "approved", "APPROVED ", "waived", "rejected")),
    st.sampled_from(("passport", "passport", "passport", "passport", None, "OPTIONAL ")),
    st.sampled_from(("", "blurred")),
)
_user_changes = st.tuples(
    st.just("user"), _users, st.sampled_from((None, "f1", "f1", "f2")), st.sampled_from((1,) * 9 + (0,))
)
_steps = st.one_of(
    _user_changes,
    _requirement_changes,
    _requirement_changes,
    st.tuples(st.just("claim"), _claims, _users, st.sampled_from(("open", "open", None, "Cancelled", "LOST  "))),
    st.tuples(st.sampled_from(("touch", "replace user", "delete user")), _users),
    st.tuples(
        st.sampled_from(("touch claim", "replace claim", "delete claim", "replace requirement", "delete requirement")),
        st.sampled_from(("11", "12", "13", "101", "102", "103")),
    ),
)

transactions: Final = st.tuples(_pauses, st.lists(_steps, min_size=1, max_size=4).map(tuple))
"""A pause in µs, and the rows that change together after it."""

_busy_steps = st.one_of(
    st.tuples(
        st.just("requirement"),
        st.sampled_from(("101", "102")),
        st.just("11"),
        st.sampled_from(("pending", "approved")),
        st.just("passport"),
        st.just(""),
    ),
    st.tuples(st.just("user"), st.just(1), st.sampled_from((None, "f1", "f2")), st.just(1)),
    st.tuples(st.sampled_from(("delete requirement", "replace requirement")), st.sampled_from(("101", "102"))),
    st.tuples(st.just("claim"), st.sampled_from(("11", "12")), st.sampled_from((1, 1, 2)), st.just("open")),
)
busy_transactions: Final = st.tuples(
    st.sampled_from((1, 300_000, SECOND, 20 * SECOND)), st.lists(_busy_steps, min_size=1, max_size=2).map(tuple)
)
"""Everything happens to one customer, quickly: what it takes for live reads and the stream to overtake each other."""

founding: Final[Transaction] = (
    SECOND,
    (
        ("user", 1, "f0", 1),
        ("user", 2, None, 1),
        ("claim", "11", 1, "open"),
        ("claim", "12", 2, "open"),
        ("requirement", "101", "11", "pending", "passport", ""),
        ("requirement", "102", "11", "rejected", "passport", ""),
        ("requirement", "103", "12", "pending", "passport", ""),
    ),
)
"""A first transaction that gives random ones something to change."""


def happen(company: Company, transaction: Transaction, *, moves: bool) -> None:
    """Lets one transaction happen; steps that foreign keys forbid are left out, moved claims too unless allowed."""
    pause, steps = transaction
    with company.transaction(after=pause):
        for step in steps:
            _step(company, step, moves)


def happen_all(company: Company, history: Iterable[Transaction], *, moves: bool) -> None:
    """One after the other, with a heartbeat after each pause of more than a second."""
    for transaction in history:
        happen(company, transaction, moves=moves)
        if transaction[0] > SECOND:
            company.heartbeat()


def _step(company: Company, step: Step, moves: bool) -> None:
    match step:
        case ("user", int(id_), signature, int(dice)):
            assert signature is None or isinstance(signature, str)
            company.user(id_, signature, enabled=dice > 0)
        case ("claim", str(id_), int(user), status) if user in company.users:
            assert status is None or isinstance(status, str)
            held = company.claims.get(id_)
            company.claim(id_, user if held is None or moves else held.user_id, status)
        case ("requirement", str(id_), str(claim), status, type_, str(reason)) if claim in company.claims:
            assert status is None or isinstance(status, str)
            assert type_ is None or isinstance(type_, str)
            before = company.requirements.get(id_)
            held_on = str(before.claim_id) if before else claim
            if company.claims[held_on].user_id != company.claims[claim].user_id:
                claim = held_on
            company.requirement(id_, claim, status, type_, reason)
        case ("touch", int(id_)) if id_ in company.users:
            company.user(id_, company.users[id_].signature, enabled=company.users[id_].enabled)
        case ("replace user", int(id_)) if id_ in company.users:
            replaced = company.users[id_]
            company.delete_user(id_)
            company.user(id_, replaced.signature, enabled=replaced.enabled)
        case ("delete user", int(id_)) if id_ in company.users:
            company.delete_user(id_)
        case ("touch claim", str(id_)) if id_ in company.claims:
            company.claim(id_, company.claims[id_].user_id, company.claims[id_].status)
        case ("replace claim", str(id_)) if id_ in company.claims:
            row = company.claims[id_]
            company.delete_claim(id_)
            company.claim(id_, row.user_id, row.status)
        case ("delete claim", str(id_)) if id_ in company.claims:
            company.delete_claim(id_)
        case ("replace requirement", str(id_)) if id_ in company.requirements:
            asked = company.requirements[id_]
            company.delete_requirement(id_)
            company.requirement(id_, str(asked.claim_id), asked.status, asked.type, asked.reason or "")
        case ("delete requirement", str(id_)) if id_ in company.requirements:
            company.delete_requirement(id_)
        case _:
            pass
