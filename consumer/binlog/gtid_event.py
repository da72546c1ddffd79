"""MySQL's GTID events: the two commit times, and those with a tag, in MySQL's own serialization.

Tagged ones are GTID_TAGGED_LOG_EVENT, of MySQL 8.3 and later. Source: MySQL's
`libs/mysql/serialization/variable_length_integers.h` and `Gtid_event` in `libs/mysql/binlog/event/control_events.h`.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

COMMIT_TIME: Final = (1 << 55) - 1
ORIGINAL_FOLLOWS: Final = 1 << 55
"""Above an untagged event's time of the commit on this server: the time of the commit on its source follows."""
APPLIED_AT: Final = 42
ORIGINAL_AT: Final = 49
"""Where these times stand in its body, in seven bytes each."""

_FLAGS, _UUID, _NUMBER, _TAG, _LAST_COMMITTED, _SEQUENCE, _COMMITTED_AT, _ORIGINAL_AT = range(8)


class TaggedGtid(NamedTuple):
    """`source` is `uuid:tag` (or the uuid, where the tag is empty); `applied_us` is when this server committed, `ts_us`
    when the transaction did where it was made."""

    source: str
    number: int
    ts_us: int
    applied_us: int


def original_time(times: bytes, applied_us: int) -> int:
    """When a transaction committed on its source (µs), from what follows the commit on this server in its event.

    A source too old to know leaves 0 there.
    """
    return int.from_bytes(times[:7], "little") or applied_us


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
    number = applied_us = ts_us = 0
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
            applied_us, at = variable_integer(body, at)
        elif field == _ORIGINAL_AT:
            ts_us, at = variable_integer(body, at)
        elif field < _COMMITTED_AT:
            _, at = variable_integer(body, at)
        else:
            break
    if len(uuid) != 16 or number <= 0:
        raise ValueError("a GTID without uuid or number")
    source = str(UUID(bytes=uuid))
    return TaggedGtid(f"{source}:{tag.decode()}" if tag else source, number, ts_us or applied_us, applied_us)
