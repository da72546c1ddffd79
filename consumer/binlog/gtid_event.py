"""MySQL's GTID events with a tag (GTID_TAGGED_LOG_EVENT, MySQL 8.3+), written in MySQL's own serialization.

Source: MySQL's `libs/mysql/serialization/variable_length_integers.h` and `Gtid_event` in
`libs/mysql/binlog/event/control_events.h`.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

_FLAGS, _UUID, _NUMBER, _TAG, _LAST_COMMITTED, _SEQUENCE, _COMMITTED_AT, _ORIGINAL_AT = range(8)


class TaggedGtid(NamedTuple):
    """`source` is `uuid:tag` (or the uuid, where the tag is empty); `ts_us` is when this server committed."""

    source: str
    number: int
    ts_us: int


def variable_integer(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer whose first byte has a 1 bit, from the lowest, for every byte that follows."""
    first = data[at]
    more = (~first & (first + 1)).bit_length() - 1
    end = at + 1 + more
    if end > len(data):
        raise IndexError("an integer is cut off")
    number = int.from_bytes(data[at:end], "little")
    return number >> min(more + 1, 8), end


def tagged_gtid(body: bytes) -> TaggedGtid:
    """The event's body without checksum. Raises IndexError or ValueError."""
    uuid = tag = b""
    number = ts_us = 0
    version, at = variable_integer(body, 0)
    if version != 1:
        raise ValueError(f"version {version} of MySQL's serialization")
    _, at = variable_integer(body, at)
    _, at = variable_integer(body, at)
    while at < len(body):
        field, at = variable_integer(body, at)
        if field == _UUID:
            for _ in range(16):
                byte, at = variable_integer(body, at)
                uuid += bytes([byte])
        elif field == _TAG:
            length, at = variable_integer(body, at)
            tag = body[at : at + length]
            at += length
        elif field == _NUMBER:
            twice, at = variable_integer(body, at)
            number = twice >> 1  # the lowest bit is the sign
        elif field == _COMMITTED_AT:
            ts_us, at = variable_integer(body, at)
        elif field < _COMMITTED_AT:
            _, at = variable_integer(body, at)
        else:
            break
    if len(uuid) != 16 or number <= 0:
        raise ValueError("a GTID without uuid or number")
    source = str(UUID(bytes=uuid))
    return TaggedGtid(f"{source}:{tag.decode()}" if tag else source, number, ts_us)
