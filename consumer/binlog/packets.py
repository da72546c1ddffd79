"""Packets out of one receive buffer: bytes come in by `recv_into`, and leave as slices that hold whole packets.

Source: MySQL's "Protocol basics": a packet is a length of 3 bytes, a number, and so many bytes; one of 2**24 - 1 bytes
is continued by the next.
"""

from __future__ import annotations

from typing import Final, Protocol

_FULL: Final = 0xFFFFFF
_HEAD: Final = 4
FIRST_SIZE: Final = 1 << 18
"""Bytes that are received at once; the buffer grows only for an event that is larger."""


class Socket(Protocol):
    """The part of a socket, plain or TLS, that bytes are received with."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Fills (part of) the buffer; 0 at the end."""


class PacketBuffer:
    """What was received and not used yet. `fill` adds to it, `take` shows it, `use` drops its front."""

    def __init__(self) -> None:
        self._buffer = bytearray(FIRST_SIZE)
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def clear(self) -> None:
        """Drops everything."""
        self._start = self._end = 0

    def fill(self, socket: Socket, wanted: int) -> int:
        """Receives once, with room for `wanted` bytes in all; returns how many came, 0 at the connection's end."""
        if self._start and (self._start == self._end or len(self._buffer) - self._start < wanted or self._is_late()):
            self._buffer[: len(self)] = self._buffer[self._start : self._end]
            self._end -= self._start
            self._start = 0
        if self._end == len(self._buffer):
            # Doubling keeps the copying of a large event linear, and believes a length only as its bytes arrive.
            self._buffer += bytes(min(max(wanted, FIRST_SIZE), 2 * len(self._buffer)) - len(self._buffer))
        elif len(self._buffer) > FIRST_SIZE and wanted <= FIRST_SIZE and not self._start and self._end < FIRST_SIZE:
            del self._buffer[FIRST_SIZE:]
        with memoryview(self._buffer) as view:
            count = socket.recv_into(view[self._end :])
        self._end += count
        return count

    def _is_late(self) -> bool:
        return self._start > len(self._buffer) // 2

    def take(self) -> bytes:
        """All that is here, as immutable bytes (slices of which can be looked up in dicts)."""
        return bytes(memoryview(self._buffer)[self._start : self._end])

    def use(self, count: int) -> None:
        """Drops the first so many bytes."""
        self._start += count

    def missing(self) -> int:
        """How many bytes must be here for the next event to be whole, as far as is known; 0 when it is."""
        at = self._start
        while True:
            if self._end - at < _HEAD:
                return at - self._start + _HEAD
            length = int.from_bytes(self._buffer[at : at + 3], "little")
            at += _HEAD + length
            if at > self._end:
                return at - self._start
            if length < _FULL:
                return 0

    def is_continued(self) -> bool:
        """Whether the next event is too large for one packet."""
        return len(self) >= _HEAD and int.from_bytes(self._buffer[self._start : self._start + 3], "little") == _FULL

    def take_continued(self) -> bytes:
        """The bytes of the next event, whole and continued over packets, without their heads; drops them."""
        parts = []
        while True:
            length = int.from_bytes(self._buffer[self._start : self._start + 3], "little")
            self._start += _HEAD
            parts.append(bytes(memoryview(self._buffer)[self._start : self._start + length]))
            self._start += length
            if length < _FULL:
                return b"".join(parts)
