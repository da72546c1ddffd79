"""What grows in a soak, how fast, and whether it may: pure, from samples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final

Points = Sequence[tuple[float, float]]
"""(seconds, value)"""

HOUR: Final = 3600.0
OUTAGE: Final = "outage: now"
"""The series that is 1 while something is away for minutes or being caught up with, else 0."""
_WARM_UP: Final = 0.25
"""The share of the time that is not looked at: caches fill, tables reach their working size."""
_WORKED_OFF: Final = 1 / 24
"""The share of the time, five minutes of two hours, that what an outage left behind may take to be worked off."""
_FEWEST: Final = 4
_MOST: Final = 240
"""Points that a slope is taken from, spread over the time: pairs of them are squares."""


@dataclass(frozen=True)
class Bound:
    """How fast a kind of series may grow: so much an hour, and so much that is mere noise; a `share`: of its level.

    One that outages raise by themselves is looked at `between` them: neither then nor shortly behind.
    """

    series: str
    """A pattern of names."""
    an_hour: float
    noise: float
    share: bool = False
    between: bool = False
    why: str = ""


BOUNDS: Final = (
    Bound(r"memory MB: .*", 20, 40, why="a process holds what it works on, not what it has done"),
    Bound(r"lag s: .*", 1, 10, between=True, why="the pipeline is faster than the load"),
    Bound(r"rows: dead_letters", 0, 0.5, why="no message of ours is refused"),
    Bound(r"rows: (rechecks|shown|left_behind)", 1_000, 2_000, between=True, why="what waits is worked off"),
    Bound(r"rows: (lanes|lags|processes|rules|published_events)", 5, 20,
          why="as many as there are lanes, processes and quarters of an hour"),
    Bound(r"table MB: (rechecks|shown|left_behind)", 1, 8, between=True,
          why="vacuum keeps up with what waited and is worked off"),
    Bound(r"table MB: (lanes|lags|processes|rules|published_events|dead_letters)", 1, 8,
          why="vacuum keeps up with what is written over and over"),
    Bound(r"bytes a row: .*", 0.1, 0.3, share=True, why="vacuum and indexes keep up with updates"),
    Bound(r"dead rows, share: .*", 0.05, 0.3, why="vacuum keeps up"),
    Bound(r"Kafka bytes a transaction: .*", 0.05, 0.3, share=True, why="a change takes the same room always"),
)  # fmt: skip
"""What must not grow. Everything else grows with the work: that is told and not judged."""


@dataclass(frozen=True)
class Growth:
    """How a series grew after the warm-up."""

    name: str
    level: float
    """Its median."""
    an_hour: float
    bound: Bound | None
    allowed: float
    """Over the time looked at."""
    grown: float

    @property
    def wrong(self) -> bool:
        return self.bound is not None and self.grown > self.allowed

    @property
    def sentence(self) -> str:
        """What it did."""
        told = f"{self.name}: {self.level:,.4g}, {self.an_hour:+,.3g} an hour"
        if self.bound is None:
            return f"{told}; grows with the work"
        verdict = "WRONG" if self.wrong else "right"
        return f"{told}; grew {self.grown:+,.3g} of {self.allowed:,.3g} allowed: {verdict} ({self.bound.why})"


def judged(samples: Mapping[str, Points], seconds: float, bounds: Sequence[Bound] = BOUNDS) -> list[Growth]:
    """Every series with enough points after the warm-up; where outages leave too few of one, all of it."""
    found = []
    away = [at for at, value in samples.get(OUTAGE, ()) if value]
    for name, points in sorted(samples.items()):
        warm: Points = [(at, value) for at, value in points if at >= seconds * _WARM_UP]
        if name == OUTAGE or len(warm) < _FEWEST:
            continue
        bound = next((bound for bound in bounds if re.fullmatch(bound.series, name)), None)
        if bound is not None and bound.between:
            quiet = _between(warm, away, seconds * _WORKED_OFF)
            warm = quiet if len(quiet) >= _FEWEST else warm
        spread = warm[:: -(-len(warm) // _MOST)]
        level, slope = median(value for _, value in warm), _slope(spread)
        hours = (warm[-1][0] - warm[0][0]) / HOUR
        unit = abs(level) if bound is not None and bound.share else 1.0
        allowed = (bound.an_hour * hours + bound.noise) * unit if bound is not None else 0.0
        found.append(Growth(name, level, slope * HOUR, bound, allowed, slope * HOUR * hours))
    return found


def _between(points: Points, away: Sequence[float], behind: float) -> Points:
    """Those that are not within `behind` seconds after a moment of an outage."""
    return [(at, value) for at, value in points if not any(moment <= at <= moment + behind for moment in away)]


def _slope(points: Points) -> float:
    """The median of the slopes of all pairs (Theil and Sen): a few wild points, as in outages, do not move it."""
    return median((two[1] - one[1]) / (two[0] - one[0]) for one, two in combinations(points, 2) if two[0] > one[0])
