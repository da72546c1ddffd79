"""A list behind a number, as its page shows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from reconciler.web.lists import SEVEN_DAYS, SINCE_MIDNIGHT, Entry, Extract, ListKind


@dataclass(frozen=True)
class ListPage:
    """One page of a list, times in local time. `further` and `first` are addresses, empty where there is no such page;
    `spans` are those of the other days that can be asked for, with their words."""

    title: str
    about: str
    when: str
    empty: str
    rows: list[Entry]
    further: str
    first: str
    spans: list[tuple[str, str, bool]]


def list_page(name: str, kind: ListKind, days: str, found: Extract, zone: ZoneInfo, *, is_first: bool) -> ListPage:
    """The page of what was found."""
    address = f"/lists/{name}"
    chosen = f"?days={days}" if days == SEVEN_DAYS else ""
    spans = [
        ("Today", address, days == SINCE_MIDNIGHT),
        ("Seven days", f"{address}?days={SEVEN_DAYS}", days == SEVEN_DAYS),
    ]
    title = kind.title
    if kind.days:
        title += ", seven days" if days == SEVEN_DAYS else " today"
    return ListPage(
        title,
        kind.about,
        kind.when,
        kind.empty if is_first else "There is nobody further.",
        [entry._replace(at=entry.at.astimezone(zone)) for entry in found.entries],
        f"{address}{chosen}{'&' if chosen else '?'}after={found.further}" if found.further else "",
        "" if is_first else f"{address}{chosen}",
        spans if kind.days else [],
    )
