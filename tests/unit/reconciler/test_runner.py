"""What the log says of runs that are others' work, and of what is dropped for its age."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from consumer.metrics import DEAD_LETTERS_EXPIRED
from consumer.store import dead_letters
from consumer.store.dead_letters import Expired
from consumer.store.errors import NotPrepared, StoreError, StoreUnavailable
from reconciler import runner
from reconciler.runs import attribution
from reconciler.runs.attribution import Attributed
from reconciler.runs.run_log import AlreadyRunning


class NoServer:
    """A session that nothing is asked of."""

    def __init__(self, _: str) -> None:
        pass

    def session(self) -> AbstractContextManager[object]:
        return nullcontext(object())

    def close(self) -> None:
        pass


def expiring(
    monkeypatch: pytest.MonkeyPatch, stop: Event, *portions: Expired
) -> tuple[list[dict[str, Any]], list[int]]:
    """What the log says while these portions of dead letters are dropped, and after how many days each was."""
    left = iter(portions)
    days: list[int] = []

    def expire(_: object, kept: int) -> Expired:
        days.append(kept)
        return next(left)

    monkeypatch.setattr(runner, "Postgres", NoServer)
    monkeypatch.setattr(dead_letters, "expire", expire)
    settings = cast(Any, SimpleNamespace(replica=None, database=SimpleNamespace(conninfo="")))
    with capture_logs() as logs:
        runner.Jobs(settings, cast(Any, None), stop, dead_letter_days=30).expire_dead_letters()
    return [dict(line) for line in logs], days


def counted() -> float:
    (family,) = DEAD_LETTERS_EXPIRED.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_total"))


def test_dead_letters_are_dropped_until_none_is_old_and_the_unresolved_ones_are_logged_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = counted()
    logs, days = expiring(monkeypatch, Event(), Expired(9, 7), Expired(9, 0), Expired(1, 1), Expired(0, 0))
    assert [(line["event"], line["count"], line["days"]) for line in logs] == [
        ("dead_letters_expired", 7, 30), ("dead_letters_expired", 1, 30),
    ]  # fmt: skip
    assert (counted() - before, days) == (8, [30] * 4)


def test_whoever_is_told_to_stop_drops_no_further_portion(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Event()
    stop.set()
    assert expiring(monkeypatch, stop, Expired(9, 9)) == ([], [])


@pytest.mark.parametrize(("user_id", "logged"), [(7, ["dead_letter_resolved"]), (None, [])])
def test_a_dead_letter_that_names_no_lead_stays_and_is_not_logged_as_resolved(
    monkeypatch: pytest.MonkeyPatch, user_id: int | None, logged: list[str]
) -> None:
    letters = SimpleNamespace(retry_dead_letters=lambda _: [SimpleNamespace(user_id=user_id)])
    tools = SimpleNamespace(store=SimpleNamespace(transaction=lambda: nullcontext(letters)))
    monkeypatch.setattr(runner, "open_tools", lambda *_: nullcontext(tools))
    settings = SimpleNamespace(replica=None, discovery=SimpleNamespace(shadow_mode=False, smart_discovery_enabled=True))
    jobs = runner.Jobs(cast(Any, settings), cast(Any, None), Event())
    with capture_logs() as logs:
        assert jobs.retry_dead_letter(3, "anna") is (user_id is not None)
    assert [line["event"] for line in logs] == logged


def test_that_others_attribute_conversions_is_said_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    others, none = "others do", "there are no calls"
    found = iter([others, others, none, none, Attributed(3, 1), others])
    monkeypatch.setattr(runner, "open_tools", lambda *_: nullcontext(cast(Any, SimpleNamespace(postgres=0, runs=0))))
    monkeypatch.setattr(attribution, "attribute", lambda *_: next(found))
    settings = cast(Any, SimpleNamespace(replica=None, discovery=SimpleNamespace(shadow_mode=False)))
    jobs = runner.Jobs(settings, cast(Any, None), Event())
    with capture_logs() as logs:
        for _ in range(6):
            jobs.attribute()
    assert [line.get("reason", line["event"]) for line in logs] == [others, none, "run_ended", others]


def test_for_attribution_somebody_waits_once_it_is_known_to_be_ours_until_others_do_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its last success would otherwise grow old for ever in the metrics, and with it an alert."""
    found: list[str | Attributed | Exception] = [
        "others do", StoreUnavailable("away"), AlreadyRunning("it runs"), StoreUnavailable("away"), "others do",
        Attributed(1, 1), NotPrepared("a column is missing"), "others do",
    ]  # fmt: skip

    def attribute(*_: object) -> str | Attributed:
        done = found.pop(0)
        if isinstance(done, Exception):
            raise done
        return done

    monkeypatch.setattr(runner, "open_tools", lambda *_: nullcontext(cast(Any, SimpleNamespace(postgres=0, runs=0))))
    monkeypatch.setattr(attribution, "attribute", attribute)
    settings = cast(Any, SimpleNamespace(replica=None, discovery=SimpleNamespace(shadow_mode=False)))
    jobs = runner.Jobs(settings, cast(Any, None), Event())
    assert jobs.left_to_others() == {"attribution"}, "nobody knows yet"
    left = []
    while found:
        with suppress(StoreError, AlreadyRunning):
            jobs.attribute()
        left.append("attribution" in jobs.left_to_others())
    assert left == [True, True, False, False, True, False, False, True]
