"""Claims that move, users and claims that go and come back, in any lanes and batches: history is as if there were none."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from consumer.leads.left import CAME_EARLIER
from tests.unit.lanes_at_work import Firm, found, held_requirements, play, truth

users = st.integers(1, 6)
claims = st.integers(11, 15)
requirements = st.integers(101, 106)
statuses = st.sampled_from(("pending", "pending", "approved"))

common = st.one_of(
    st.tuples(st.just("user"), users, st.sampled_from((None, 7, 7, 8)), st.sampled_from((1, 1, 1, 1, 0))),
    st.tuples(st.just("claim"), claims, users, st.sampled_from(("open", "open", "open", "cancelled"))),
    st.tuples(st.just("claim"), claims, users, st.just("open")),
    st.tuples(st.just("requirement"), requirements, claims, statuses),
    st.tuples(st.just("requirement"), requirements, claims, statuses),
    st.tuples(st.just("requirement"), requirements, claims, statuses),
)
rare = st.one_of(
    st.tuples(st.just("claim"), claims, st.none(), st.just("open")),
    st.tuples(st.just("delete_requirement"), requirements),
    st.tuples(st.just("delete_claim"), claims),
    st.tuples(st.just("delete_user"), users),
    st.tuples(st.just("replace_claim"), claims, users, st.just("open")),
    st.tuples(st.just("replace_user"), users, st.sampled_from((None, 7))),
    st.tuples(st.just("renumber_user"), users, st.integers(1, 8)),
    st.tuples(st.just("renumber_claim"), claims, st.integers(11, 17)),
)
transactions = st.tuples(
    st.lists(st.one_of(common, common, rare), min_size=1, max_size=4), st.sampled_from((True, True, True, False))
)
keys = st.sampled_from(("none", "native", "logged"))
FOUNDING: tuple[list[tuple[Any, ...]], bool] = (
    [
        *(("user", number, 7, 1) for number in (1, 2, 3, 4)),
        *(("claim", 10 + number, number, "open") for number in (1, 2, 3, 4)),
        *(("requirement", 100 + number, 10 + number, "pending") for number in (1, 2, 3, 4)),
    ],
    True,
)


def firm_of(history: list[tuple[list[tuple[Any, ...]], bool]], kind: str) -> Firm:
    firm = Firm(kind)
    for steps, checks in [FOUNDING, *history]:
        firm.transaction(steps, checks=checks)
    return firm


@settings(max_examples=400, deadline=None)
@given(st.lists(transactions, max_size=25), keys, st.integers(0, 2**32), st.sampled_from((2, 1_000)))
def test_any_history_in_any_lanes_and_batches_is_the_one_that_was(
    history: list[tuple[list[tuple[Any, ...]], bool]], kind: str, seed: int, capacity: int
) -> None:
    firm = firm_of(history, kind)
    store = play(firm, Random(seed), capacity=capacity)
    stints, conversions = truth(firm)
    assert set(store.rechecks.values()) <= {CAME_EARLIER, "met in the stream before anything was known of it"}
    known = {user_id for user_id, lead in store.leads.items() if lead.stint}
    assert known == {user_id for user_id, _ in stints}
    assert found(store) == (stints, conversions)
    assert held_requirements(store) == {
        str(row["id"]): (firm.claims[row["claim_id"]]["user_id"], row["status"])
        for row in firm.requirements.values()
        if (claim := firm.claims.get(row["claim_id"])) is not None and claim["user_id"] in store.leads
    }
    event(f"conversions: {min(len(conversions), 3)}")
