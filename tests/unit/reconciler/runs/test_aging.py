"""Which days age scores, and which are recorded alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from structlog.testing import capture_logs

from consumer.leads.rules import Rules
from reconciler import runner
from reconciler.runs import aging
from reconciler.runs.aging import AGE, AGE_SOME, LAST_AGED, RECORD, age
from reconciler.runs.run_log import Runs
from reconciler.settings import AgingSettings

SETTINGS = AgingSettings(aging_skipped_weekdays=frozenset())
EVERYBODY = (1, 2, 3, 4, 5)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Memory:
    """PostgreSQL as aging knows it: the midnights of the days that were recorded, and how often scores grew."""

    def __init__(self) -> None:
        self.midnights: list[datetime] = []
        self.grown = 0
        self.rowcount = 5
        self.refused: set[int] = set()
        """Of the customers 1 to 5, those whose scores it refuses."""
        self.counts: object = None

    @contextmanager
    def session(self) -> Iterator[Memory]:
        yield self

    def transaction(self) -> nullcontext[None]:
        return nullcontext()

    def rules(self) -> Rules:
        return Rules()

    def is_open(self) -> bool:
        return True

    def execute(self, statement: str, given: Any = None) -> Memory:
        if statement in (AGE, AGE_SOME):
            users = set(given.get("users", EVERYBODY))
            if users & self.refused:
                raise psycopg.errors.CheckViolation("Failing row contains (8911)")
            self.grown += statement == AGE
            self.rowcount = len(users)
        if statement == RECORD:
            self.midnights.append(given["midnight"])
            self.counts = given["counts"].obj
        self.wanted = statement == LAST_AGED
        return self

    def __iter__(self) -> Iterator[tuple[int]]:
        return iter([(user,) for user in EVERYBODY])

    def fetchone(self) -> tuple[Any, ...] | None:
        if not self.wanted:
            return (True,)
        return (max(self.midnights),) if self.midnights else None

    def ages(self, time: datetime, *, ours: bool) -> int:
        """For how many days."""
        postgres = cast(Any, self)
        return len(age(postgres, Runs(postgres), SETTINGS, time, ours=ours))


def test_days_on_which_the_old_system_ages_are_made_up_for_by_nobody() -> None:
    """Cut over, rolled back for two weeks, and cut over again."""
    memory = Memory()
    assert (memory.ages(NOON, ours=False), memory.grown) == (1, 0)
    assert (memory.ages(NOON, ours=True), memory.grown) == (0, 0), "it has aged them on the day of the cut-over"
    assert (memory.ages(NOON + timedelta(days=1), ours=True), memory.grown) == (1, 1)
    later = NOON + timedelta(days=15)
    assert (memory.ages(later, ours=False), memory.grown) == (14, 1)
    assert (memory.ages(later + timedelta(days=2), ours=True), memory.grown) == (2, 3)


def test_a_score_that_postgresql_refuses_is_in_nobodys_way() -> None:
    memory = Memory()
    memory.refused = {2, 5}
    with capture_logs() as logs:
        assert memory.ages(NOON, ours=True) == 1
    assert memory.counts == {"aged": 3, "failed": 2}
    assert [(line["event"], line["user_ids"]) for line in logs] == [("aging_refused", [2, 5])]
    assert "8911" not in str(logs)
    assert memory.ages(NOON, ours=True) == 0, "the day is over for all"


def test_where_postgresql_refuses_too_many_nobody_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aging, "REFUSED_AT_MOST", 2)
    memory = Memory()
    memory.refused = {1, 2, 3}
    with pytest.raises(psycopg.errors.CheckViolation):
        memory.ages(NOON, ours=True)
    assert memory.midnights == []


def test_the_schedule_notes_days_in_shadow_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    tools = SimpleNamespace(postgres=memory, runs=Runs(cast(Any, memory)))
    monkeypatch.setattr(runner, "open_tools", lambda *_: nullcontext(tools))
    for shadow, grown in ((True, 0), (False, 1)):
        modes = SimpleNamespace(shadow_mode=shadow)
        settings = SimpleNamespace(replica=None, discovery=modes, sweeps=SimpleNamespace(runs_kept_days=90))
        jobs = runner.Jobs(cast(Any, settings), SETTINGS, cast(Any, None))
        slot = NOON if shadow else NOON + timedelta(days=1)
        assert jobs.is_aging_due(cast(Any, memory), slot)
        jobs.age(slot)
        assert (memory.grown, jobs.is_aging_due(cast(Any, memory), slot)) == (grown, False)
