"""Which days age scores, which are recorded alone, and what is recorded of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from threading import Event
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import psycopg
import pytest
from structlog.testing import capture_logs

from consumer.leads.rules import Rules
from consumer.store.errors import StoreError, StoreUnavailable
from consumer.store.runs import START
from reconciler import runner
from reconciler.runs import aging
from reconciler.runs.aging import AGE, AGE_SOME, FAIL, LAST_AGED, RECORD, Aged, age, day_of, days_due
from reconciler.runs.run_log import Runs
from reconciler.settings import AgingSettings

SETTINGS = AgingSettings(aging_skipped_weekdays=frozenset())
EVERYBODY = (1, 2, 3, 4, 5)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Memory:
    """PostgreSQL as aging knows it: the runs that were recorded, and how often scores grew."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.grown = 0
        self.rowcount = 5
        self.refused: set[int] = set()
        """Of the customers 1 to 5, those whose scores it refuses."""
        self.fails: Exception | None = None
        """What it answers to whoever would have scores grow."""
        self.fails_to_record: Exception | None = None
        self.found: list[tuple[Any, ...]] = []

    @property
    def days(self) -> list[str]:
        """The dates that were aged, in the order in which they were."""
        return [run["counts"]["day"] for run in self.runs if run["outcome"] == "ok"]

    @contextmanager
    def session(self) -> Iterator[Memory]:
        yield self

    @contextmanager
    def transaction(self) -> Iterator[None]:
        runs, grown = [dict(run) for run in self.runs], self.grown
        try:
            yield
        except BaseException:
            self.runs, self.grown = runs, grown
            raise

    def rules(self) -> Rules:
        return Rules()

    def is_open(self) -> bool:
        return True

    def execute(self, statement: str, given: Any = None) -> Memory:
        self.found = [(True,)]
        if statement in (AGE, AGE_SOME):
            self.grow(statement, set(given.get("users", EVERYBODY)))
        elif statement == START:
            name, midnight, _, _, _ = given
            self.runs.append({"name": name, "outcome": "running", "midnight": midnight, "counts": {}, "error": None})
            self.found = [(len(self.runs) - 1,)]
        elif statement == RECORD:
            run_id = given["id"]
            running = run_id < len(self.runs) and self.runs[run_id]["outcome"] == "running"
            self.found = [(run_id,)] if running else []
            for (run_id,) in self.found:
                self.runs[run_id] |= {"outcome": "ok", "counts": given["counts"].obj}
        elif statement == FAIL:
            if self.fails_to_record is not None:
                raise self.fails_to_record
            if self.runs[given["id"]]["outcome"] != "ok":
                self.runs[given["id"]] |= {"outcome": "failed", "error": given["error"]}
        elif statement == LAST_AGED:
            (until,) = given
            aged = [run for run in self.runs if run["outcome"] == "ok" and run["midnight"] <= until]
            newest = sorted(aged, key=lambda run: run["midnight"], reverse=True)[:10]
            self.found = [(run["counts"].get("day"), run["midnight"]) for run in newest]
        return self

    def grow(self, statement: str, users: set[int]) -> None:
        if self.fails is not None:
            raise self.fails
        if users & self.refused:
            raise psycopg.errors.CheckViolation("Failing row contains (8911)")
        self.grown += statement == AGE
        self.rowcount = len(users)

    def __iter__(self) -> Iterator[tuple[int]]:
        return iter([(user,) for user in EVERYBODY])

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(iter(self.found), None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.found

    def ages(self, now: datetime, *, ours: bool, zone: str = "UTC") -> int:
        """For how many days."""
        postgres = cast(Any, self)
        return len(age(postgres, Runs(postgres), in_zone(zone), now, ours=ours))


def in_zone(zone: str) -> AgingSettings:
    return SETTINGS.model_copy(update={"aging_timezone": zone})


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
    postgres = cast(Any, memory)
    with capture_logs() as logs:
        assert age(postgres, Runs(postgres), SETTINGS, NOON) == {date(2026, 3, 2): Aged(grown=3, refused=2)}
    assert memory.runs[0]["counts"] == {"day": "2026-03-02", "aged": 3, "failed": 2}
    assert [(line["event"], line["user_ids"]) for line in logs] == [("aging_refused", [2, 5])]
    assert "8911" not in str(logs)
    assert memory.ages(NOON, ours=True) == 0, "the day is over for all"


def test_where_postgresql_refuses_too_many_nobody_ages_and_a_failed_run_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aging, "REFUSED_AT_MOST", 2)
    memory = Memory()
    memory.refused = {1, 2, 3}
    with pytest.raises(psycopg.errors.CheckViolation):
        memory.ages(NOON, ours=True)
    assert memory.days == []
    (run,) = memory.runs
    assert (run["name"], run["outcome"], run["midnight"]) == ("age", "failed", NOON.replace(hour=0))
    assert run["error"].startswith("PostgreSQL refused it with 23514")
    assert "8911" not in run["error"]


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), StoreError("it is full")])
def test_a_day_that_fails_is_a_failed_run_and_is_aged_once_by_the_next(error: StoreError) -> None:
    memory = Memory()
    memory.fails = error
    with pytest.raises(type(error)):
        memory.ages(NOON, ours=True)
    assert [(run["outcome"], run["error"]) for run in memory.runs] == [("failed", str(error))]
    memory.fails = None
    assert memory.ages(NOON, ours=True) == 1
    assert (memory.days, memory.grown) == (["2026-03-02"], 1)


def test_days_before_the_one_that_fails_stay_aged() -> None:
    memory = Memory()
    memory.ages(NOON, ours=True)
    grow = memory.grow

    def thrice(statement: str, users: set[int]) -> None:
        memory.fails = StoreError("it is full") if memory.grown == 3 else None
        grow(statement, users)

    memory.grow = thrice  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        memory.ages(NOON + timedelta(days=4), ours=True)
    assert [run["outcome"] for run in memory.runs] == ["ok", "ok", "ok", "failed"]


def test_what_fails_where_nothing_can_be_recorded_is_raised_as_it_is() -> None:
    memory = Memory()
    memory.fails, memory.fails_to_record = StoreError("first"), StoreUnavailable("second")
    with pytest.raises(StoreError, match="first"):
        memory.ages(NOON, ours=True)
    assert [run["outcome"] for run in memory.runs] == ["running"]


def test_a_commit_that_was_done_though_its_answer_was_lost_stays_done() -> None:
    memory = Memory()
    transaction = memory.transaction

    @contextmanager
    def lost() -> Iterator[None]:
        with transaction():
            yield
        if memory.days:
            raise StoreUnavailable("the connection broke during the commit")

    memory.transaction = lost  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        memory.ages(NOON, ours=True)
    assert memory.days == ["2026-03-02"]
    assert memory.ages(NOON, ours=True) == 0


@pytest.mark.parametrize(
    "meanwhile", [list[Any].clear, lambda runs: runs[0].update(outcome="aborted")], ids=["deleted", "taken over"]
)
def test_a_day_whose_record_is_no_longer_ours_is_not_aged(meanwhile: Callable[[list[Any]], None]) -> None:
    """Somebody deleted it, or another process took the run for one whose process is gone, and ages the day itself."""
    memory = Memory()
    grow = memory.grow

    def losing(statement: str, users: set[int]) -> None:
        grow(statement, users)
        meanwhile(memory.runs)

    memory.grow = losing  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="deleted or taken over by another process"):
        memory.ages(NOON, ours=True)
    assert (memory.grown, memory.days) == (0, [])


def test_whoever_is_told_to_stop_ages_no_further_day() -> None:
    memory, stop = Memory(), Event()
    memory.ages(NOON, ours=True)
    grow = memory.grow

    def stopping(statement: str, users: set[int]) -> None:
        grow(statement, users)
        stop.set()

    memory.grow = stopping  # type: ignore[method-assign]
    postgres = cast(Any, memory)
    aged = age(postgres, Runs(postgres, stop=stop), SETTINGS, NOON + timedelta(days=5))
    assert list(aged) == [date(2026, 3, 3)]


ZONES = ("UTC", "America/New_York", "Pacific/Auckland", "Pacific/Pago_Pago", "Pacific/Kiritimati")


@pytest.mark.parametrize(("first", "second"), tuple(permutations(ZONES, 2)))
def test_each_date_ages_once_though_the_time_zone_changes(first: str, second: str) -> None:
    """The zone changes at some hour of a day, and back a day later."""
    for hour in range(0, 24, 6):
        memory = Memory()
        for hours in range(0, 96, 3):
            zone = second if 36 + hour <= hours < 60 + hour else first
            now = NOON + timedelta(hours=hours)
            memory.ages(now, ours=True, zone=zone)
        begin, end = (date.fromisoformat(day) for day in (memory.days[0], memory.days[-1]))
        assert memory.days == [(begin + timedelta(days=number)).isoformat() for number in range((end - begin).days + 1)]
        assert memory.grown == len(memory.days)
        assert end >= now.astimezone(ZoneInfo(first)).date(), "no date is left out"


def test_a_day_of_which_an_older_release_kept_no_date_is_one_of_the_zone_of_today() -> None:
    memory = Memory()
    london = ZoneInfo("Europe/London")
    midnight = day_of(date(2026, 7, 2), london).midnight
    memory.runs.append({"name": "age", "outcome": "ok", "midnight": midnight, "counts": {"aged": 5}, "error": None})
    postgres = cast(Any, memory)
    due = days_due(postgres, Runs(postgres), in_zone("Europe/London"), datetime(2026, 7, 3, 12, tzinfo=UTC))
    assert due == [date(2026, 7, 3)]


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
