"""What is known of PostgreSQL while it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Event
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from consumer.settings import MySQLAddress
from consumer.store.errors import StoreUnavailable
from consumer.store.lanes import LanePoint
from reconciler.monitor import servers
from reconciler.monitor.servers import ServerMonitor
from tests.support.waiting import until


def test_a_server_that_is_away_from_the_beginning_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def look(_: ServerMonitor, __: object) -> None:
        looks.append(1)
        raise StoreUnavailable("away")

    monkeypatch.setattr(ServerMonitor, "_look_at_store", look)
    monkeypatch.setattr(servers, "LOOK_SECONDS", 0.01)
    stop = Event()
    monitor = ServerMonitor(settings(), stop, ZoneInfo("UTC"))
    with capture_logs() as logs:
        monitor.start()
        until(lambda: len(looks) > 2 and monitor.snapshot().replica_failed, "both were asked")
        stop.set()
        monitor.join()
    assert sorted(line["server"] for line in logs if line["event"] == "server_away") == ["mysql", "postgres"]


def settings() -> Any:
    return cast(
        Any,
        SimpleNamespace(
            replica=SimpleNamespace(address=MySQLAddress("mysql://u@127.0.0.1:1/db"), replica_query_seconds=1.0),
            database=SimpleNamespace(conninfo=""),
            discovery=SimpleNamespace(smart_discovery_enabled=False),
        ),
    )


def test_a_postgresql_whose_answer_does_not_come_is_away_though_its_connection_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a pooler, or on a host whose disk hangs, no connection ends, and no statement."""
    stop, answers, hangs = Event(), Event(), Event()

    def look(self: ServerMonitor, _: object) -> tuple[Mapping[int, LanePoint], datetime]:
        if hangs.is_set():
            answers.wait()
        self._see(store_up=True, store_error="")
        return {}, datetime.now(UTC)

    monkeypatch.setattr(ServerMonitor, "_look_at_store", look)
    monkeypatch.setattr(ServerMonitor, "_count", lambda *_: None)
    monkeypatch.setattr(servers, "LOOK_SECONDS", 0.01)
    monitor = ServerMonitor(settings(), stop, ZoneInfo("UTC"))
    monitor.start()
    try:
        until(lambda: monitor.snapshot().store_up, "it answered")
        hangs.set()
        monkeypatch.setattr(servers, "UNANSWERED_SECONDS", 0.1)
        seen = until(lambda: None if (seen := monitor.snapshot()).store_up else seen, "it was missed")
        assert seen is not None
        assert seen.store_failed
        assert seen.store_error.startswith("PostgreSQL has not answered for ")
        hangs.clear()
        answers.set()
        monkeypatch.setattr(servers, "UNANSWERED_SECONDS", 60.0)
        until(lambda: monitor.snapshot().store_up, "it answered again")
    finally:
        answers.set()
        stop.set()
        monitor.join()
