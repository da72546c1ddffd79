"""The plan's health page."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.monitor.servers import LastSuccess, Snapshot
from reconciler.web.health import smart_discovery


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
