"""What dashboards show of the day is what the status page adds up, by whatever midnight."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.monitor import today
from reconciler.monitor.today import since_midnight
from tests.integration.reconciler.clocks import clock_says
from tests.integration.reconciler.world import ReconcilerWorld

AUCKLAND = ZoneInfo("Pacific/Auckland")
ADD = """
INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason,
                               conversion_type, source)
VALUES (%s, 1, 'unsigned_users', %s, 'registered', %s, 'signature_obtained', 'signature_obtained', %s)
"""
RUN = "INSERT INTO leadstream.runs (name, started_at, outcome, counts) VALUES ('new-users', %s, 'ok', %s::jsonb)"
pytestmark = pytest.mark.servers


def test_dashboards_and_page_have_the_same_day_of_the_same_time_zone(mysql_world: ReconcilerWorld) -> None:
    world, now = mysql_world, datetime(2026, 7, 1, 14, 0, tzinfo=UTC)  # two in the morning of the 2nd in Auckland
    opened = now - timedelta(days=3)
    for user, (hours, source) in enumerate(
        [(1, "stream"), (1.5, "sweep"), (1.9, "stream"), (3, "stream"), (13, "sweep")]
    ):
        world.centre.execute(ADD, [user, opened, now - timedelta(hours=hours), source])
    for hours, repaired in ((1, 2), (1.9, 3), (2.1, 50)):
        world.centre.execute(RUN, [now - timedelta(hours=hours), f'{{"repaired": {repaired}}}'])
    with clock_says(world, now) as postgres:
        for zone, conversions, repaired in (
            (AUCKLAND, {("signature_obtained", "stream"): 2, ("signature_obtained", "sweep"): 1}, 5),
            (ZoneInfo("UTC"), {("signature_obtained", "stream"): 3, ("signature_obtained", "sweep"): 2}, 55),
        ):
            found, page = since_midnight(postgres, zone), today.look(postgres, zone)
            assert found.conversions == conversions
            assert found.repaired == repaired == sum(page.repaired.values())
            by_type: Counter[str] = Counter()
            for (kind, _), count in found.conversions.items():
                by_type[kind] += count
            assert by_type == page.days.types
