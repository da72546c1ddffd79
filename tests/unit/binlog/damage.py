"""Damage done to binlog events, and what must hold whatever it is.

FUZZ_TIMES in the environment multiplies the examples:
`FUZZ_TIMES=50 pytest --timeout=0 tests/unit/binlog --hypothesis-seed=7`.
"""

from __future__ import annotations

import os
import tracemalloc
from contextlib import suppress

from hypothesis import strategies as st

from consumer.binlog.constants import EventType
from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.events import Begin, Event
from consumer.mysql.errors import SourceError
from tests.spelled_out import spelled_out
from tests.unit.binlog.wirebuild import Recording

FLOOD_BYTES = 64 * 2**20


def examples(usual: int) -> int:
    """How many examples a test draws."""
    return usual * int(os.environ.get("FUZZ_TIMES", "1"))


def decode_all(target: BinlogDecoder, data: bytes, events: list[Event]) -> int:
    """Everything in `data`, as a connection would feed it, event by event; returns how many bytes were used."""
    at = 0
    found: list[Event] = []
    try:
        while True:
            used = target.decode(data[at:], found)
            at += used
            while target.has_payload:
                target.decode_payload(found)
                used += 1
            if not used:
                return at
    finally:
        events += spelled_out(found)


def packets(events: list[bytes]) -> bytes:
    """Events as packets, numbered and each as long as it is, whatever its header says."""
    return b"".join(
        (len(event) + 1).to_bytes(3, "little") + bytes((number & 0xFF, 0)) + event
        for number, event in enumerate(events)
    )


def damaged_event(data: st.DataObject, event: bytes) -> bytes:
    """An event with one thing wrong with it; empty where it is gone. Its size may be put right afterwards."""
    if len(event) < 5:
        return event
    wrong = bytearray(event)
    match data.draw(st.sampled_from(["byte", "cut", "insert", "number", "drop", "swap"])):
        case "byte":
            wrong[data.draw(st.integers(4, len(wrong) - 1))] = data.draw(st.integers(0, 255))
        case "cut":
            del wrong[data.draw(st.integers(0, len(wrong))) :]
        case "insert":
            at = data.draw(st.integers(19, max(19, len(wrong))))
            wrong[at:at] = data.draw(st.binary(max_size=20))
        case "number":
            at = data.draw(st.integers(19, max(19, len(wrong) - 1)))
            wrong[at : at + 4] = data.draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\xff\x7f"]))
        case "drop":
            wrong.clear()
        case "swap":
            wrong[4:5] = bytes((data.draw(st.sampled_from(list(EventType))),))
    if data.draw(st.booleans()):
        wrong[9:13] = len(wrong).to_bytes(4, "little")
    return bytes(wrong)


def both_ways(recorded: Recording, damaged: bytes) -> list[Event]:
    """Reads transactions of one row at one stroke and event by event: both say the same, or raise the reader's errors.

    Memory stays bounded. Returns what was said.
    """
    at_one_stroke: list[Event] = []
    one_by_one: list[Event] = []
    tracemalloc.start()
    try:
        with suppress(SourceError):
            decode_all(recorded.decoder(), damaged, at_one_stroke)
        with suppress(SourceError):
            decode_all(recorded.decoder(singles=False), damaged, one_by_one)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FLOOD_BYTES
    assert without_bare_begin(at_one_stroke) == without_bare_begin(one_by_one)
    return at_one_stroke


def without_bare_begin(events: list[Event]) -> list[Event]:
    """What was said before an error, less the beginning of a transaction of which nothing else was said."""
    return events[:-1] if events and isinstance(events[-1], Begin) else events
