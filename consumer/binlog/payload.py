"""Compressed events: MySQL's whole transactions (zstd), MariaDB's single events (zlib).

Sources: MySQL's `libs/mysql/binlog/event/codecs/binary.cpp` and `compression/payload_event_buffer_istream.cpp`;
MariaDB's `sql/log_event.cc` (`binlog_buf_compress`, `row_log_event_uncompress`, `query_event_uncompress`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Final

import zstandard

from consumer.binlog.constants import HEADER, EventType, packed_integer

_E = EventType

PIECE: Final = 1 << 18
"""A compressed transaction is taken in pieces of so many bytes, whatever its size."""

_HEADER_END, _SIZE, _COMPRESSION, _UNCOMPRESSED_SIZE = range(4)
_ZSTD, _UNCOMPRESSED = 0, 255

PLAIN: Final[Mapping[int, int]] = {
    _E.MARIADB_QUERY_COMPRESSED: _E.QUERY,
    _E.MARIADB_WRITE_ROWS_COMPRESSED_V1: _E.WRITE_ROWS_V1,
    _E.MARIADB_UPDATE_ROWS_COMPRESSED_V1: _E.UPDATE_ROWS_V1,
    _E.MARIADB_DELETE_ROWS_COMPRESSED_V1: _E.DELETE_ROWS_V1,
    _E.MARIADB_WRITE_ROWS_COMPRESSED: _E.WRITE_ROWS,
    _E.MARIADB_UPDATE_ROWS_COMPRESSED: _E.UPDATE_ROWS,
    _E.MARIADB_DELETE_ROWS_COMPRESSED: _E.DELETE_ROWS,
}
"""MariaDB's compressed events and what they are once they are inflated."""
_WITH_EXTRA_DATA: Final = frozenset((_E.WRITE_ROWS, _E.UPDATE_ROWS, _E.DELETE_ROWS))
_WITH_TWO_BITMAPS: Final = frozenset((_E.UPDATE_ROWS, _E.UPDATE_ROWS_V1))


def pieces(body: bytes) -> Iterator[bytes]:
    """The events in the body of a TRANSACTION_PAYLOAD event, back to back, in pieces that may cut them anywhere.

    The body is fields (kind, length, number), then the payload. Raises ValueError, IndexError or zstandard.ZstdError
    for one that is damaged, at the latest with the last piece.
    """
    fields = {}
    at = 0
    while True:
        kind, at = packed_integer(body, at)
        if kind == _HEADER_END:
            break
        length, at = packed_integer(body, at)
        fields[kind], _ = packed_integer(body, at)
        at += length
    payload = body[at:]
    if fields.get(_SIZE) != len(payload):
        raise ValueError(f"its payload has {len(payload)} bytes, its header says {fields.get(_SIZE)}")
    compression = fields.get(_COMPRESSION)
    if compression == _UNCOMPRESSED:
        return iter((payload,))
    if compression != _ZSTD:
        raise ValueError(f"compression {compression} is unknown")
    return _decompressed(payload, fields.get(_UNCOMPRESSED_SIZE, -1))


def _decompressed(payload: bytes, length: int) -> Iterator[bytes]:
    total = 0
    with zstandard.ZstdDecompressor().stream_reader(payload, read_across_frames=True) as reader:
        while piece := reader.read(PIECE):
            total += len(piece)
            if total > length:
                break
            yield piece
    if total != length:
        raise ValueError(f"its payload holds another number of bytes than the {length} its header says")


def inflate(event: bytes) -> bytes:
    """An event of MariaDB's `log_bin_compress` (header and body) as the plain event that it stands for.

    Raises ValueError or IndexError for one that is damaged.
    """
    plain = PLAIN[event[4]]
    if plain == _E.QUERY:
        at = HEADER + 14 + event[HEADER + 8] + int.from_bytes(event[HEADER + 11 : HEADER + 13], "little")
    else:
        at = HEADER + 8
        if plain in _WITH_EXTRA_DATA:
            at += int.from_bytes(event[at : at + 2], "little")
        columns, at = packed_integer(event, at)
        at += (columns + 7) // 8 * (2 if plain in _WITH_TWO_BITMAPS else 1)
    head = event[at]
    size = head & 7
    if head & 0x70 or not 1 <= size <= 4:
        raise ValueError(f"compression {head:#x} is unknown")
    length = int.from_bytes(event[at + 1 : at + 1 + size], "big")
    inflating = zlib.decompressobj()
    try:
        content = inflating.decompress(event[at + 1 + size :], length + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) != length or not inflating.eof:
        raise ValueError("it holds another number of bytes than it says")
    event = event[:4] + bytes((plain,)) + event[5:at] + content
    return event[:9] + len(event).to_bytes(4, "little") + event[13:]
