"""Transactions that came at one stroke, event by event."""

from __future__ import annotations

from collections.abc import Iterable

from consumer.binlog.events import Event, Single


def spelled_out(events: Iterable[Event]) -> list[Event]:
    """The same events, with each Single as its Begin, RowChange and Commit."""
    plain: list[Event] = []
    for event in events:
        plain += event.parts() if isinstance(event, Single) else (event,)
    return plain
