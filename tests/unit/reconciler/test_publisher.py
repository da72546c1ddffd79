"""The thread that publishes conversions: whatever goes wrong in it, the process goes on and it is tried again."""

from __future__ import annotations

from threading import Event

import pytest

from reconciler.postgres import Postgres
from reconciler.publisher import Publisher
from reconciler.settings import StreamSettings
from tests.support.waiting import until


def publisher(stop: Event) -> Publisher:
    return Publisher(StreamSettings(kafka_bootstrap_servers="nowhere:1"), "postgresql://nobody@127.0.0.1:1/none", stop)


def test_any_error_is_tried_again_and_forgotten_once_it_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, left, well = Event(), [ZeroDivisionError(), KeyError("x"), MemoryError()], Event()

    def publish(self: Publisher, _: Postgres) -> None:
        if left:
            raise left.pop()
        well.wait()
        self._went_well()
        stop.wait()

    monkeypatch.setattr(Publisher, "_publish", publish)
    one = publisher(stop)
    assert one.state() == (None, 0.0)
    one.start()
    until(lambda: not left, "it was tried again")
    until(lambda: one.state().failing_seconds > 0, "it is told")
    well.set()
    until(lambda: one.state().failing_seconds == 0, "it went well")
    assert not stop.is_set(), "the process goes on"
    stop.set()
    one.join()


def test_one_that_fails_ends_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, tried = Event(), Event()

    def publish(_: Publisher, __: Postgres) -> None:
        tried.set()
        raise ZeroDivisionError

    monkeypatch.setattr(Publisher, "_publish", publish)
    one = publisher(stop)
    one.start()
    assert tried.wait(60)
    stop.set()
    one.join()
