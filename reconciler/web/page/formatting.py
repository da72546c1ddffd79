"""Numbers and times as the page says them."""

from __future__ import annotations

from datetime import date, datetime
from math import isinf
from typing import Final
from zoneinfo import ZoneInfo

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400


def span(seconds: float) -> str:
    """A time span, as precise as anyone cares: `0.4 s`, `42 s`, `3 min`, `2 h 10 min`, `5 d`."""
    if isinf(seconds):
        return "no end"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    if seconds < 2 * DAY:
        hours, rest = divmod(int(seconds), HOUR)
        return f"{hours} h {rest // MINUTE} min" if rest >= MINUTE else f"{hours} h"
    return f"{seconds // DAY:.0f} d"


def ago(then: datetime, now: datetime) -> str:
    """How long ago something was."""
    seconds = (now - then).total_seconds()
    return "just now" if seconds < 10 else f"{span(seconds)} ago"


def clock(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    """The local time of day, with the date where it was another day."""
    local = moment.astimezone(zone)
    same_day = local.date() == now.astimezone(zone).date()
    return f"{local:%H:%M}" if same_day else f"{local:%-d %b %H:%M}"


def named(day: date) -> str:
    """A day of these weeks."""
    return f"{day:%a %-d %b}"


def counted(number: int, noun: str) -> str:
    """`1 lead`, `2,000 leads`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def difference(now: int, before: int) -> str:
    """How a number compares with the one before."""
    if not now and not before:
        return "none yesterday by now either"
    if now == before:
        return f"as many as yesterday by now ({before:,})"
    more = "more" if now > before else "fewer"
    return f"{abs(now - before):,} {more} than yesterday by now ({before:,})"


def size(count: int | None) -> str:
    """So many bytes of memory; a dash where nobody says."""
    return "—" if count is None else f"{count / 1e6:,.0f} MB"
