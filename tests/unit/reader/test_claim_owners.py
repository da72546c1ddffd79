"""An entry is what the claim's user was at this point of the stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.binlog.events import Id, RowChange
from consumer.binlog.position import OrderedPosition
from consumer.reader.claim_owners import UNKNOWN, Answer, ClaimOwners

NOW: OrderedPosition = (7, 1_000)


class Replica:
    """Answers from `users` while its binlog ends at `end`, and notes what it was asked."""

    def __init__(self, users: dict[Id, int | None] | None = None, end: OrderedPosition = NOW) -> None:
        self.users = users or {}
        self.end = end
        self.asked: list[list[Id]] = []

    def __call__(self, claim_ids: list[Id]) -> Answer:
        self.asked.append(claim_ids)
        return Answer({claim_id: self.users[claim_id] for claim_id in claim_ids if claim_id in self.users}, self.end)


def requirement(claim_id: int) -> RowChange:
    return RowChange("claim_requirements", "c", None, "{}", None, None, 1, claim_id, 4, 0)


def user_deleted(user_id: int) -> RowChange:
    return RowChange("users", "d", "{}", None, user_id, user_id, None, None, 4, 0)


def claim(op: str, claim_id: int, before: int | None, after: int | None) -> RowChange:
    gone, come = (None if op == "c" else claim_id), (None if op == "d" else claim_id)
    return RowChange("claims", op, None, None, gone, before, come, after, 4, 0)


def test_claims_that_are_not_remembered_are_asked_for_in_one_query() -> None:
    replica = Replica({1: 10, 2: 20, 3: None})
    owners = ClaimOwners(1000, replica)
    owners.put(5, 50)
    owners.learn([requirement(1), requirement(5), requirement(2), requirement(3), requirement(4), requirement(1)], NOW)
    assert replica.asked == [[1, 2, 3, 4]]
    assert [owners.get(claim_id) for claim_id in (1, 2, 3, 4, 5)] == [10, 20, None, None, 50]
    assert owners.taken_counts() == (4, 1)
    assert owners.taken_counts() == (0, 0)


def test_what_the_stream_says_next_is_exact_and_spares_the_question() -> None:
    replica = Replica({1: 11, 2: 22})
    owners = ClaimOwners(1000, replica)
    coming = [requirement(1), claim("u", 1, 10, 11), claim("c", 2, None, 20), requirement(2), requirement(3)]
    owners.learn([*coming, claim("c", 3, None, 30)], NOW)
    assert replica.asked == []
    assert [owners.get(1), owners.get(2)] == [10, UNKNOWN]
    assert owners.get(3) is None, "it is inserted later"
    assert not owners.uncertain


def test_a_claim_inserted_later_may_have_been_there_where_a_user_goes_before_that() -> None:
    replica = Replica({2: 20})
    owners = ClaimOwners(1000, replica)
    owners.learn([requirement(2), user_deleted(10), claim("c", 2, None, 20)], NOW)
    assert replica.asked == [[2]], "claims may have gone with the user, which no event says"


def test_an_answer_from_behind_the_stream_is_nobodys_until_the_stream_says_whose_the_claim_is() -> None:
    owners = ClaimOwners(1000, Replica({1: 11, 2: 22}, end=(7, 1_001)))
    owners.learn([requirement(1), requirement(2)], NOW)
    assert [owners.get(1), owners.get(2)] == [None, None]
    assert owners.uncertain == {1: 11, 2: 22}
    owners.put(1, 10)
    assert [owners.get(1), owners.get(2)] == [10, None]


def test_an_answer_is_certain_once_the_stream_has_passed_where_the_binlog_ended_then() -> None:
    replica = Replica({1: 11, 2: None, 4: 40}, end=(8, 4))
    owners = ClaimOwners(1000, replica)
    owners.learn([requirement(claim_id) for claim_id in (1, 2, 3, 4)], NOW)
    owners.put(4, 41)
    owners.passed((7, 900_000))
    assert owners.uncertain == {1: 11, 2: None, 3: None}
    owners.passed((8, 4))
    assert [owners.get(claim_id) for claim_id in (1, 2, 3, 4)] == [11, None, None, 41]
    assert not owners.uncertain
    assert len(replica.asked) == 1


def test_claims_of_which_nothing_is_certain_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that reads history asks for every claim there is, and none of the answers is certain yet."""
    monkeypatch.setattr("consumer.reader.claim_owners.UNCERTAIN_KEPT", 10)
    replica = Replica(dict.fromkeys(range(20_000), 7), end=(8, 4))
    owners = ClaimOwners(1000, replica)
    for number in range(100):
        owners.learn([requirement(number)], NOW)
        assert owners.get(number) is None
        assert len(owners.uncertain) <= 11
    assert owners.get(0) == UNKNOWN, "it is asked for again"
    owners.learn([requirement(number) for number in range(12_000)], NOW)
    assert {owners.get(number) for number in range(12_000)} == {None}, "in however many queries they were asked for"


def test_a_claim_whose_likely_user_departed_meanwhile_is_asked_for_again() -> None:
    owners = ClaimOwners(1000, Replica({1: 11}, end=(8, 4)))
    owners.learn([requirement(1)], NOW)
    owners.user_renumbered(11)
    owners.passed((8, 4))
    assert owners.get(1) == UNKNOWN


def test_a_claim_is_whose_the_replica_says_where_its_binlog_has_not_gone_on() -> None:
    owners = ClaimOwners(1000, Replica({1: 11}))
    owners.learn([requirement(1)], NOW)
    assert owners.get(1) == 11


def test_a_claim_whose_user_departed_is_not_taken_for_the_one_before_who_had_it() -> None:
    owners = ClaimOwners(4, Replica())
    for claim_id in (1, 2, 3):
        owners.put(claim_id, 10)
    owners.put(1, 20)
    owners.user_renumbered(20)
    assert owners.get(1) == UNKNOWN
    assert owners.get(1) == UNKNOWN
    assert owners.get(2) == 10


def test_a_user_who_departs_again_leaves_the_claims_of_others_remembered() -> None:
    owners = ClaimOwners(1000, Replica())
    owners.put(1, 10)
    owners.put(2, 20)
    owners.user_renumbered(10)
    owners.put(1, 10)
    assert owners.get(1) == 10
    owners.user_renumbered(10)
    assert [owners.get(1), owners.get(2)] == [UNKNOWN, 20]


def test_a_claim_that_came_to_a_returned_user_and_went_on_departs_with_the_next_one() -> None:
    owners = ClaimOwners(1000, Replica())
    owners.user_renumbered(10)
    owners.put(1, 10)
    owners.put(1, 20)
    assert owners.get(1) == 20
    owners.user_renumbered(20)
    assert owners.get(1) == UNKNOWN


def test_a_deleted_claim_is_forgotten_in_every_generation() -> None:
    owners = ClaimOwners(4, Replica())
    for claim_id in (1, 2, 3):
        owners.put(claim_id, 10)
    owners.put(1, 10)
    owners.deleted(1, 10)
    owners.transaction_ended()
    assert owners.get(1) == UNKNOWN


def test_many_claims_are_asked_for_in_several_queries() -> None:
    replica = Replica()
    owners = ClaimOwners(100_000, replica)
    owners.learn([requirement(claim_id) for claim_id in range(12_000)], NOW)
    assert [len(asked) for asked in replica.asked] == [5_000, 5_000, 2_000]


def test_a_deleted_claim_is_remembered_until_its_transaction_ends() -> None:
    owners = ClaimOwners(1000, Replica())
    owners.put(1, 10)
    owners.deleted(1, 10)
    assert owners.get(1) == 10
    owners.transaction_ended()
    assert owners.get(1) == UNKNOWN


def test_a_claim_deleted_and_created_again_in_one_transaction_stays() -> None:
    owners = ClaimOwners(1000, Replica())
    owners.deleted(1, 10)
    owners.put(1, 11)
    owners.transaction_ended()
    assert owners.get(1) == 11


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 9)), max_size=400), st.integers(2, 50))
def test_the_memory_is_bounded_and_never_wrong(writes: list[tuple[int, int]], capacity: int) -> None:
    owners = ClaimOwners(capacity, Replica())
    truth: dict[int, int] = {}
    for claim_id, user_id in writes:
        owners.put(claim_id, user_id)
        truth[claim_id] = user_id
        assert owners.get(claim_id) == user_id
        assert len(owners) <= capacity + 2
    lately = list(dict.fromkeys(claim_id for claim_id, _ in reversed(writes)))[: max(1, capacity // 2)]
    assert [owners.get(claim_id) for claim_id in lately] == [truth[claim_id] for claim_id in lately]
    assert all(owners.get(claim_id) in (UNKNOWN, user_id) for claim_id, user_id in truth.items())
