"""The conversions that stints earned, held against the call centre's table: pure, and without I/O.

What is ours is known by its id, which is made of customer, type and moment. What another system wrote has other ids and
is left alone, except where a conversion of a time is to be published that both systems may have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from consumer.leads.model import Conversion, ConversionType
from consumer.store.call_centre.effects import conversion_id

CLOCKS: Final = 60_000_000
"""How far (µs) another system's clock may be behind the company's."""
_ROUNDED: Final = 500
"""Columns of milliseconds round a time (µs) by no more."""


class ConversionKind(StrEnum):
    """What may be wrong with conversions, as reports count it; one each."""

    MISSING = "conversion_missing"
    """A stint earned one, and the call centre's table has none with its id."""
    DIFFERS = "conversion_differs"
    """One with its id is another customer's, of another type or of another time. Nothing of ours writes that."""
    WITHOUT_STINT = "conversion_without_stint"
    """One of ours, by its id, that no stint earned: our schema is older than the call centre's table."""
    UNPUBLISHED = "conversion_unpublished"
    """Recorded in shadow mode, since the time that was asked about, and by no other system."""


class Row(NamedTuple):
    """A row of the call centre's table; `at` (µs) is its converted_at."""

    id: UUID
    user_id: int
    conversion_type: str
    at: int


def is_ours(row: Row) -> bool:
    """Whether a row was written by us: its id is made of what it holds; of a time that was rounded, any is tried."""
    try:
        kind = ConversionType(row.conversion_type)
    except ValueError:
        return False
    if row.id.version != 5:
        return False
    times = range(row.at - _ROUNDED, row.at + _ROUNDED + 1) if row.at % 1000 == 0 else (row.at,)
    return any(conversion_id(row.user_id, kind, at) == row.id for at in times)


def is_passed(row: Row, version: int) -> bool:
    """Whether a lane that has come so far (µs) is beyond a row, whatever its column rounded."""
    return version > row.at + _ROUNDED


def unpublished(ours: Iterable[Conversion], rows: Iterable[Row]) -> list[Conversion]:
    """Those of our conversions that nobody wrote: not we, by their ids, and no other system, one for one.

    Another system sees a conversion when it scans, so a row of the same customer and type stands for the earliest
    conversion up to its own time that no earlier row stands for.
    """
    by_id = {conversion_id(one.user_id, one.conversion_type, one.converted_at): one for one in ours}
    others: Mapping[tuple[int, str], list[int]] = defaultdict(list)
    for row in rows:
        if row.id in by_id:
            del by_id[row.id]
        elif not is_ours(row):
            others[row.user_id, row.conversion_type].append(row.at)
    left = sorted(by_id.values(), key=lambda one: (one.user_id, one.converted_at))
    for (user_id, kind), times in others.items():
        for time in sorted(times):
            for one in left:
                if (one.user_id, one.conversion_type) == (user_id, kind) and one.converted_at <= time + CLOCKS:
                    left.remove(one)
                    break
    return left
