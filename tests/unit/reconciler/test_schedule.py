"""When each run was last to start."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from reconciler.schedule import last_slot

UTC_ZONE = ZoneInfo("UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "now", "slot"),
    [
        ("new-users", "2026-03-02 09:00:00", "2026-03-02 09:00:00"),
        ("new-users", "2026-03-02 09:59:59", "2026-03-02 09:00:00"),
        ("new-requirements", "2026-03-02 09:14:59", "2026-03-02 08:15:00"),
        ("unsigned-conversions", "2026-03-02 09:30:00", "2026-03-02 09:30:00"),
        ("requirements-conversions", "2026-03-02 00:10:00", "2026-03-01 23:45:00"),
    ],
)
def test_a_sweep_has_its_minute_of_every_hour(name: str, now: str, slot: str) -> None:
    assert last_slot(name, at(now), UTC_ZONE) == at(slot)


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        ("2026-01-10 02:00:00", "2026-01-10 02:00:00"),
        ("2026-01-10 01:59:59", "2026-01-09 02:00:00"),
        ("2026-07-10 00:59:59", "2026-07-09 01:00:00"),
        ("2026-07-10 01:00:00", "2026-07-10 01:00:00"),
    ],
)
def test_scores_age_at_two_in_the_morning_where_the_company_is(now: str, slot: str) -> None:
    assert last_slot("age", at(now), ZoneInfo("Europe/London")) == at(slot)
