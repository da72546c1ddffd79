"""What real servers sent, damaged: only the reader's own errors may come out, never a wrong row, a hang or a flood.

Two ways: with the servers' checksums nothing that was changed may pass; and with checksums taken off, so that damage
reaches every decoder, whatever comes out must be an event or a named error.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.binlog.constants import EventType
from consumer.binlog.events import Commit, Event, RowChange, Single
from consumer.mysql.errors import SourceError
from tests.unit.binlog.damage import both_ways, damaged_event, decode_all, examples, packets
from tests.unit.binlog.wirebuild import Recording, recording

STRETCH = 6
"""At most so many transactions are damaged at once: to decode a whole recording under tracemalloc takes 0.1 s."""


@cache
def whole(name: str) -> tuple[Recording, list[Event]]:
    """A recording and what it says."""
    recorded = recording(name)
    events: list[Event] = []
    assert decode_all(recorded.decoder(), recorded.packets, events) == len(recorded.packets)
    return recorded, events


@cache
def events_of(name: str) -> tuple[bytes, ...]:
    """The recording's events without packets and checksums."""
    recorded, _ = whole(name)
    events = []
    at = 0
    while at < len(recorded.packets):
        length = int.from_bytes(recorded.packets[at : at + 3], "little")
        event = recorded.packets[at + 5 : at + 4 + length]
        if event[4] == EventType.FORMAT_DESCRIPTION:
            event = event[:-5] + b"\0" + event[-4:]
        else:
            event = event[:9] + (len(event) - 4).to_bytes(4, "little") + event[13:-4]
        events.append(event)
        at += 4 + length
    return tuple(events)


@cache
def groups(name: str) -> list[tuple[bytes, ...]]:
    """The transactions of a recording: each from its GTID to before the next."""
    events = events_of(name)
    starts = [n for n, event in enumerate(events) if event[4] in (EventType.GTID, EventType.MARIADB_GTID)]
    return [events[start:end] for start, end in pairwise([*starts, len(events)])]


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
def test_transactions_of_one_row_read_at_one_stroke_say_the_same(name: str) -> None:
    recorded, events = whole(name)
    at_one_stroke: list[Event] = []
    recorded.decoder().decode(recorded.packets, at_one_stroke)
    assert any(isinstance(event, Single) for event in at_one_stroke)
    one_by_one: list[Event] = []
    decode_all(recorded.decoder(singles=False), recorded.packets, one_by_one)
    assert events == one_by_one


def test_the_recordings_hold_what_they_should() -> None:
    for name in ("mysql", "mariadb"):
        _, events = whole(name)
        assert len([event for event in events if isinstance(event, RowChange)]) > 20
        assert {type(event).__name__ for event in events} >= {
            "Begin",
            "Commit",
            "RowChange",
            "Statement",
            "SchemaChange",
            "Rotate",
        }
        stripped: list[Event] = []
        decode_all(whole(name)[0].decoder(), packets(list(events_of(name))), stripped)
        rows = [event for event in events if isinstance(event, RowChange)]
        assert [event[:8] for event in stripped if isinstance(event, RowChange)] == [row[:8] for row in rows]


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_nothing_changed_passes_the_checksums(name: str, data: st.DataObject) -> None:
    recorded, expected = whole(name)
    damaged = bytearray(recorded.packets)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    seen: list[Event] = []
    with suppress(SourceError):
        decode_all(recorded.decoder(), bytes(damaged), seen)
    rows = [event for event in seen if isinstance(event, RowChange)]
    assert rows == [event for event in expected if isinstance(event, RowChange)][: len(rows)]
    ends = [event for event in seen if isinstance(event, Commit)]
    assert len(ends) <= len([event for event in expected if isinstance(event, Commit)])


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
@settings(max_examples=examples(600), deadline=None)
@given(st.data())
def test_damage_behind_the_checksums_ends_in_named_errors(name: str, data: st.DataObject) -> None:
    recorded, _ = whole(name)
    first = data.draw(st.integers(0, len(groups(name)) - 1))
    stretch = groups(name)[first : first + data.draw(st.integers(1, STRETCH))]
    events = [*events_of(name)[:2], *chain.from_iterable(stretch)]
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(1, len(events) - 1))
        events[number] = damaged_event(data, events[number])
    damaged = packets([event for event in events if event])
    both_ways(recorded, damaged)


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
def test_a_commit_that_is_cut_short_is_damage_at_one_stroke_too(name: str) -> None:
    recorded, _ = whole(name)
    events = events_of(name)
    commits = [number for number, event in enumerate(events) if event[4] == EventType.XID]
    assert commits
    for number in commits:
        commit = events[number]
        cut = commit[:9] + (15).to_bytes(4, "little") + commit[13:15]
        damaged = packets([*events[:number], cut, *events[number + 1 :]])
        for singles in (True, False):
            with pytest.raises(SourceError):
                decode_all(recorded.decoder(singles=singles), damaged, [])
