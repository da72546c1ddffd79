"""Where events end that the audit's library reads, though a server may not say so."""

from __future__ import annotations

from consumer.audit.library import Ends, unwrapped


def packet(size: int, end: int) -> bytes:
    """A packet that holds an event."""
    return b"\0" + bytes(9) + size.to_bytes(4, "little") + end.to_bytes(4, "little") + bytes(size - 17)


def test_ends_that_are_not_told_are_counted_from_the_last_one_that_was() -> None:
    ends = Ends(4)
    ends.note(packet(40, 300))
    assert ends.at == 300
    ends.note(packet(50, 0))
    ends.note(packet(60, 0))
    assert ends.at == 410
    ends.note(packet(31, 500))  # what the server keeps to itself in between is made up for
    assert ends.at == 500


def test_packets_without_an_event_move_nothing() -> None:
    ends = Ends(4)
    ends.note(b"\0\0\0\2\0\0\0")
    ends.note(b"\xfe\0\0\2\0")
    ends.note(b"")
    assert ends.at == 4


def test_an_end_is_said_in_32_bits() -> None:
    assert unwrapped(100, 2**32 - 50) == 2**32 + 100
    assert unwrapped(2**31 + 5, 2**32 + 2**31) == 2**32 + 2**31 + 5
    assert unwrapped(700, 600) == 700
