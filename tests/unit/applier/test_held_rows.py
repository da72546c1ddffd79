"""A batch that waits for rows in somebody's hands, whatever is passed over: its lanes go on without their leads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import pytest

from consumer.applier import applier
from consumer.applier.batches import Batch, LaneBatch
from consumer.applier.bisect import Reach, refused_leads
from consumer.lane import lane_of
from consumer.leads.model import Change, Lead, RequirementRow, Table
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules
from consumer.store.errors import RowLocked
from consumer.store.leads import Before
from consumer.stream.envelope import NOBODY

BATCH = Batch(1, [LaneBatch(0, 1, 1, 2, 0, 10, {}, [], frozenset({1, 2}), False, 0, (), {})], 1)


class Store:
    """One that answers who is held."""

    lane_count = 4

    def __init__(self, *held: int) -> None:
        self._held = set(held)
        self.asked: list[set[int]] = []

    def held(self, user_ids: Collection[int]) -> set[int]:
        self.asked.append(set(user_ids))
        return self._held.intersection(user_ids)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[int], bool, bool]]:
    """Every attempt: who was set aside, and what was passed over. It goes through without lead 1."""
    attempts: list[tuple[set[int], bool, bool]] = []

    def attempt(
        _batch: Batch, _store: Store, refused: Mapping[int, str], _reach: Reach, *, past_held: bool, past_unseen: bool
    ) -> Outcome:
        attempts.append((set(refused), past_held, past_unseen))
        if 1 not in refused:
            raise RowLocked("held")
        return Outcome(rechecks=dict(refused))

    monkeypatch.setattr(applier, "_apply", attempt)
    return attempts


def test_who_is_held_is_set_aside_when_passing_over_is_of_no_use(tried: list[tuple[set[int], bool, bool]]) -> None:
    store = Store(1)
    outcome = applier.apply(BATCH, cast("Any", store))
    assert outcome.rechecks == {1: applier.HELD}
    assert tried == [(set(), False, False), (set(), True, False), (set(), True, True), ({1}, True, True)]
    assert store.asked == [{1, 2}]


def test_where_nobody_is_held_the_batch_is_tried_again_as_it_is(tried: list[tuple[set[int], bool, bool]]) -> None:
    """A lock on a whole table, or on a row of ours."""
    with pytest.raises(RowLocked):
        applier.apply(BATCH, cast("Any", Store()))
    assert len(tried) == 3


def test_who_was_set_aside_is_not_looked_for_again(tried: list[tuple[set[int], bool, bool]]) -> None:
    store = Store(2)
    with pytest.raises(RowLocked):
        applier.apply(BATCH, cast("Any", store))
    assert store.asked == [{1, 2}, {1}]
    assert len(tried) == 4


def test_who_is_refused_is_looked_for_without_waiting_for_rows_that_somebody_holds() -> None:
    """Trial after trial would wait as long as PostgreSQL lets it, and no lane of the batch would move meanwhile."""
    how: list[tuple[bool, bool]] = []

    class Transaction:
        rules = Rules()

        def load(self, _: Collection[int]) -> dict[int, Lead]:
            return {}

        def write(self, _: Outcome) -> None:
            pass

        def check_deferred(self) -> None:
            pass

        def before(self, _: Mapping[int, int], _limit: int) -> None:
            pass

    class Patient(Store):
        @contextmanager
        def transaction(self, *, past_held: bool = False, past_unseen: bool = False) -> Iterator[Transaction]:
            how.append((past_held, past_unseen))
            yield Transaction()

    for past_unseen in (False, True):
        store = cast("Any", Patient())
        assert refused_leads(BATCH, Reach(), psycopg.DataError(), store, past_unseen=past_unseen) == {}
    assert how == [(True, False)] * 3 + [(True, True)] * 3


OWED = RequirementRow("100", "10", "id", "requested", None)
OWNER = 8911


@pytest.mark.parametrize("lane", range(Store.lane_count))
def test_an_orphan_which_comes_through_every_lane_locks_its_lead_in_that_leads_own_lane_alone(lane: int) -> None:
    """Appliers of the other lanes would wait for each other's batches over and over."""
    locked: list[set[int]] = []

    class Transaction:
        rules = Rules()
        more_wait = False
        dead_letters_expired = 0

        def take(self, _: object) -> None:
            pass

        def before(self, _: Mapping[int, int], _limit: int, **asked: Any) -> Before:
            assert list(asked["claims"]) == ["10"]
            return Before([], [("10", OWNER)], {}, set())

        def load(self, user_ids: Collection[int]) -> dict[int, Lead]:
            locked.append(set(user_ids))
            return {}

        def write(self, _: Outcome) -> None:
            pass

        def set_aside(self, _: object) -> None:
            pass

    class Counting(Store):
        @contextmanager
        def transaction(self, **_: bool) -> Iterator[Transaction]:
            yield Transaction()

    orphan = Change(NOBODY, Table.CLAIM_REQUIREMENTS, OWED, OWED._replace(status="approved"), 10, 10, True)
    part = LaneBatch(lane, 1, 1, 2, 0, 10, {}, [orphan], frozenset(), True, 0, (), {})
    applier.apply(Batch(1, [part], 1), cast("Any", Counting()))
    assert locked == [{OWNER} if lane == lane_of(OWNER, Store.lane_count) else set()]
