"""Steps that are repeated while what they raise is passing."""

from __future__ import annotations

from threading import Event

import pytest

from consumer import patience
from consumer.patience import Patience


class Away(Exception):
    pass


def is_away(error: BaseException) -> bool:
    return isinstance(error, Away)


class Server:
    """Fails as often as is asked for, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    def ask(self, what: str) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise Away
        return what


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(patience, "LONGEST_SECONDS", 0.002)


def test_a_step_is_repeated_until_it_succeeds_and_each_failure_is_reported() -> None:
    server = Server(3)
    reports: list[tuple[type[BaseException], int, bool]] = []
    patient = Patience(
        is_away, Event(), lambda error, attempt, pause: reports.append((type(error), attempt, pause > 0))
    )
    assert patient(server.ask, "time") == "time"
    assert reports == [(Away, 1, True), (Away, 2, True), (Away, 3, True)]


def test_what_does_not_pass_is_raised_at_once() -> None:
    def wrong() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        Patience(is_away, Event())(wrong)


def test_the_last_error_is_raised_when_the_patience_is_over_the_result_unwanted_or_the_process_to_stop() -> None:
    with pytest.raises(Away):
        Patience(is_away, Event(), seconds=0.02)(Server(10**6).ask, "time")
    server = Server(10**6)
    with pytest.raises(Away):
        Patience(is_away, Event())(server.ask, "time", wanted=lambda: server.asked < 3)
    assert server.asked == 3
    stop = Event()
    stop.set()
    server = Server(10**6)
    with pytest.raises(Away):
        Patience(is_away, stop)(server.ask, "time")
    assert server.asked == 1


def test_after_progress_the_next_failure_counts_as_the_first() -> None:
    server, attempts = Server(3), []
    patient = Patience(is_away, Event(), lambda _, attempt, __: attempts.append(attempt))

    def step() -> str:
        if server.asked == 2:
            patient.progressed()
        return server.ask("time")

    assert patient(step) == "time"
    assert attempts == [1, 2, 1]
