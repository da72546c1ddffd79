"""The worst lag of today by hour, and of seven days by day, as the page says it. Hours without one are left out."""

from __future__ import annotations

from datetime import date

from reconciler.monitor.lags import HourLag
from reconciler.web.page.chart import share
from reconciler.web.page.formatting import named, span
from reconciler.web.page.view_model import VERY_LATE_SECONDS, Facts, LagRow, lag_state


def notes(facts: Facts) -> tuple[str, ...]:
    """The worst of today and of seven days, each with its time."""
    today, days = _today(facts), _days(facts)
    found = []
    if today:
        worst = max(today, key=lambda one: one.seconds)
        found.append(f"today at worst {span(worst.seconds)}, after {worst.hour:02}:00")
    if days:
        day, seconds = max(days.items(), key=lambda one: one[1])
        found.append(f"seven days at worst {span(seconds)}, on {named(day)}")
    return tuple(found)


def by_hour(facts: Facts) -> list[LagRow]:
    """Today's hours."""
    return [_row(f"{one.hour:02}:00", one.seconds) for one in _today(facts)]


def by_day(facts: Facts) -> list[LagRow]:
    """Seven days, today first."""
    return [_row(named(day), seconds) for day, seconds in sorted(_days(facts).items(), reverse=True)]


def _today(facts: Facts) -> list[HourLag]:
    if facts.today is None:
        return []
    day = facts.today.seen_at.astimezone(facts.policy.zone).date()
    return [one for one in facts.today.lags if one.day == day]


def _days(facts: Facts) -> dict[date, float]:
    worst: dict[date, float] = {}
    for one in [] if facts.today is None else facts.today.lags:
        worst[one.day] = max(one.seconds, worst.get(one.day, 0.0))
    return worst


def _row(when: str, seconds: float) -> LagRow:
    return LagRow(when, span(seconds), share(seconds, VERY_LATE_SECONDS), lag_state(seconds))
