"""Claims that move, users and claims that go and come back: lanes and batches make no difference to history."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from consumer.leads.left_behind import CAME_EARLIER
from tests.unit.applier.lanes_at_work import Firm, Store, found, held_requirements, play, truth

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
Transaction = tuple[list[tuple[Any, ...]], bool]
"""Steps, and whether foreign keys are checked."""

FOUNDING: Transaction = (
    [
        *(("user", number, 7, 1) for number in (1, 2, 3, 4)),
        *(("claim", 10 + number, number, "open") for number in (1, 2, 3, 4)),
        *(("requirement", 100 + number, 10 + number, "pending") for number in (1, 2, 3, 4)),
    ],
    True,
)


def firm_of(history: list[Transaction], kind: str) -> Firm:
    firm = Firm(kind)
    for steps, checks in [FOUNDING, *history]:
        firm.transaction(steps, checks=checks)
    return firm


def differences(firm: Firm, store: Store) -> list[object]:
    """What is not as it was, of users that do not wait for a live read."""
    stints, conversions = truth(firm)
    our_stints, our_conversions = found(store)
    waiting = {user_id for user_id, lead in store.leads.items() if lead.judge_after is not None}
    assert waiting <= store.rechecks.keys()
    return [
        *(
            (key, our_stints.get(key), stints.get(key))
            for key in sorted(stints.keys() | our_stints.keys())
            if key[0] not in waiting and stints.get(key) != our_stints.get(key)
        ),
        *(won for won in {*conversions} ^ {*our_conversions} if won.user_id not in waiting),
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(transactions, max_size=20), keys, st.integers(0, 2**32))
def test_any_history_in_any_lanes_and_batches_is_the_one_that_was(
    history: list[Transaction], kind: str, seed: int
) -> None:
    firm = firm_of(history, kind)
    store = play(firm, Random(seed))
    assert not differences(firm, store)
    event(f"conversions: {min(len(store.conversions), 3)}")
    event(f"waiting: {sum(lead.judge_after is not None for lead in store.leads.values())}")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.lists(common, min_size=1, max_size=4), st.just(True)), max_size=20),
    keys,
    st.integers(0, 2**32),
)
def test_claims_that_only_move_need_no_live_read(history: list[Transaction], kind: str, seed: int) -> None:
    firm = firm_of(history, kind)
    store = play(firm, Random(seed))
    assert set(store.rechecks.values()) <= {CAME_EARLIER}
    assert all(lead.judge_after is None for lead in store.leads.values())
    assert found(store) == truth(firm)
    assert held_requirements(store) == {
        str(row["id"]): (firm.claims[row["claim_id"]]["user_id"], row["status"])
        for row in firm.requirements.values()
        if row["claim_id"] in firm.claims
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(transactions, max_size=20), keys, st.integers(0, 2**32), st.sampled_from((2, 1_000)))
@example([([("renumber_user", 1, 5), ("user", 1, None, 1)], True)], "native", 0, 2)
def test_a_reader_that_lags_behind_the_servers_answers_makes_no_difference(
    history: list[Transaction], kind: str, seed: int, capacity: int
) -> None:
    firm = firm_of(history, kind)
    assert not differences(firm, play(firm, Random(seed), capacity=capacity, behind=True))
