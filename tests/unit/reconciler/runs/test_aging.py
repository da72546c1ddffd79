"""Which days age scores, and which are recorded alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.leads.rules import Rules
from reconciler import runner
from reconciler.runs.aging import AGE, LAST_AGED, RECORD, age
from reconciler.runs.run_log import Runs
from reconciler.settings import AgingSettings

SETTINGS = AgingSettings(aging_skipped_weekdays=frozenset())
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Memory:
    """PostgreSQL as aging knows it: the midnights of the days that were recorded, and how often scores grew."""

    def __init__(self) -> None:
        self.midnights: list[datetime] = []
        self.grown = 0
        self.rowcount = 5

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
        self.grown += statement == AGE
        if statement == RECORD:
            self.midnights.append(given["midnight"])
        self.wanted = statement == LAST_AGED
        return self

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
