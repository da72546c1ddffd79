"""The geometry of the charts: numbers in, rectangles out. Labels are text of the page, so that they never shrink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

HOURS: Final = 24
SLOT: Final = 30
"""Width of an hour."""
WIDTH: Final = HOURS * SLOT
HEIGHT: Final = 120
BAR: Final = 18


@dataclass(frozen=True)
class Hour:
    """One hour of both days, as drawn: a bar for today, a level for yesterday. `y` counts from the top."""

    hour: int
    today: int
    yesterday: int
    x: float
    bar_y: float
    bar_height: float
    level_x1: float
    level_x2: float
    level_y: float

    @property
    def span(self) -> str:
        """The hour as people write it."""
        return f"{self.hour:02}:00"


@dataclass(frozen=True)
class Chart:
    """24 hours, and the number that the top stands for."""

    hours: list[Hour]
    top: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def busiest(self) -> Hour | None:
        """Today's hour with the most; None where there was nothing."""
        best = max(self.hours, key=lambda hour: hour.today)
        return best if best.today else None


def scale_top(highest: int) -> int:
    """The smallest even round number (2, 4, 10, 20, 40, 50, 100 …) that is not below `highest`."""
    if highest <= 2:
        return 2
    power = int(10 ** floor(log10(highest)))
    return next(top for step in (1, 2, 4, 5, 10) if (top := step * power) >= highest and top % 2 == 0)


def chart(today: Mapping[int, int], yesterday: Mapping[int, int]) -> Chart:
    """Both days by hour of the local clock."""
    top = scale_top(max([*today.values(), *yesterday.values(), 0]))

    def height(count: int) -> float:
        return round(HEIGHT * count / top, 1)

    hours = []
    for hour in range(HOURS):
        middle = hour * SLOT + SLOT / 2
        now, before = today.get(hour, 0), yesterday.get(hour, 0)
        hours.append(
            Hour(
                hour, now, before, middle - BAR / 2, HEIGHT - height(now), height(now),
                middle - SLOT / 2 + 2, middle + SLOT / 2 - 2, HEIGHT - height(before),
            )
        )  # fmt: skip
    return Chart(hours, top)


def share(seconds: float | None, full: float) -> int:
    """How much of a bar to fill (0 … 100); what lags at all shows at least 2."""
    if seconds is None or seconds <= 0:
        return 0
    return max(2, min(100, ceil(100 * seconds / full)))
