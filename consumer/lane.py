"""Which lane a user's changes travel in: the one rule that reader, appliers and reconciler share."""

from __future__ import annotations

from zlib import crc32


def lane_of(user_id: int, lanes: int) -> int:
    """The lane (0 … lanes - 1) of a user: CRC32 of the decimal id, as librdkafka's `consistent` partitioner has it."""
    return crc32(b"%d" % user_id) % lanes


def lane_of_key(key: bytes, lanes: int) -> int:
    """The lane of a message by its key: a user's id in decimal, or where that is not known, that of the row."""
    return crc32(key) % lanes
