"""The plan's health page."""

from __future__ import annotations

from asyncio import gather, run, wait_for
from datetime import UTC, datetime
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from structlog.testing import capture_logs

from reconciler.monitor.servers import LastSuccess, Snapshot
from reconciler.web import app as web
from reconciler.web.health import smart_discovery
from tests.support.waiting import PATIENCE


def test_the_page_is_the_plans_json() -> None:
    times = {"new-users": 0, "new-requirements": 15, "unsigned-conversions": 30, "requirements-conversions": 45}
    runs = {
        name: LastSuccess(datetime(2024, 1, 20, 14, minute, 0, 250_000, UTC), 1125, 20, 5)
        for name, minute in times.items()
    }
    seen = Snapshot(last_runs={**runs, "age": LastSuccess(datetime.now(UTC), 9, 9, 9)}, streamed_users=7,
                    streamed_conversions=3)  # fmt: skip
    assert smart_discovery(seen).model_dump() == {
        "lastRun": {
            "newUsers": "2024-01-20T14:00:00Z",
            "newRequirements": "2024-01-20T14:15:00Z",
            "unsignedConversions": "2024-01-20T14:30:00Z",
            "requirementsConversions": "2024-01-20T14:45:00Z",
        },
        "metrics": {"newUsersFound": 87, "conversionsDetected": 23, "processingTimeMs": 4500},
    }


def test_what_never_ran_is_null() -> None:
    page = smart_discovery(Snapshot()).model_dump()
    assert set(page["lastRun"].values()) == {None}
    assert page["metrics"] == {"newUsersFound": 0, "conversionsDetected": 0, "processingTimeMs": 0}


def test_a_postgresql_that_hangs_keeps_no_poller_waiting_and_one_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have their threads from the same few: after six polls nobody would see the status page any more."""
    answers, looks = Event(), list[int]()

    def hangs(*_: object) -> None:
        looks.append(1)
        answers.wait()

    monkeypatch.setattr(web, "HEALTH_SECONDS", 0.05)
    monkeypatch.setattr(web, "_look_at_runs", hangs)
    app = FastAPI()
    web._health(app, cast(Any, None), cast(Any, SimpleNamespace(snapshot=Snapshot)))
    (ask,) = (
        route.endpoint
        for route in app.routes
        if isinstance(route, APIRoute) and route.path == "/health/smart-discovery"
    )

    async def poll() -> None:
        try:
            for page in await wait_for(gather(*(ask() for _ in range(10))), PATIENCE):
                assert page == smart_discovery(Snapshot())
        finally:
            answers.set()

    with capture_logs() as logs:
        run(poll())
    assert looks == [1]
    assert {line["event"] for line in logs} == {"health_outdated"}
