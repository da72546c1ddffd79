"""Column values of a row image as JSON text.

Every function here takes the bytes of one value and returns a finished JSON value; `quote` makes text a JSON string.
Formats: MySQL's `mysys/my_time.cc`, `strings/decimal.cc`, `libs/mysql/binlog/event/export/binary_log_funcs.h`;
MariaDB's `sql/field_comp.cc` for compressed columns.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring as quote
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBERED: Final = 10_000
_LONGEST_REMEMBERED: Final = 256


class Remembered(dict[bytes, str]):
    """Bytes and the JSON text they stand for, computed once; forgets everything when it holds 10,000.

    Nothing of more than 256 bytes is remembered.
    """

    __slots__ = ("_compute",)

    def __init__(self, compute: Callable[[bytes], str]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, value: bytes) -> str:
        text = self._compute(value)
        if len(value) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[value] = text
        return text


def fraction_bytes(digits: int) -> int:
    """How many bytes so many digits after a second's point take."""
    return (digits + 1) // 2


def _fraction(value: bytes, digits: int) -> str:
    """`.123`, or nothing for 0 digits; an odd number of digits is stored with one more."""
    if not digits:
        return ""
    number = int.from_bytes(value, "big")
    if number >= 100 ** len(value):
        raise ValueError(f"{number} is no fraction of a second in {2 * len(value)} digits")
    return f".{number:0{2 * len(value)}d}"[: digits + 1]


def timestamp2(digits: int) -> Callable[[bytes], str]:
    """TIMESTAMP: seconds since 1970 (big-endian), then the fraction; 0 is the zero date."""

    def compute(value: bytes) -> str:
        seconds = int.from_bytes(value[:4], "big")
        if not seconds:
            return "null"
        moment = _EPOCH + timedelta(seconds=seconds)
        return f'"{moment:%Y-%m-%dT%H:%M:%S}{_fraction(value[4:], digits)}Z"'

    return compute


def old_timestamp(value: bytes) -> str:
    """TIMESTAMP of tables that were created before MySQL 5.6: seconds since 1970, little-endian."""
    seconds = int.from_bytes(value, "little")
    return f'"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"' if seconds else "null"


def _iso(ymd: tuple[int, int, int], hms: tuple[int, int, int]) -> str:
    """A date and time, null where month or day is zero."""
    year, month, day = ymd
    hour, minute, second = hms
    if month > 12 or hour > 23 or minute > 59 or second > 59:
        raise ValueError("the bytes are no date and time")
    if not month or not day:
        return "null"
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def datetime2(digits: int) -> Callable[[bytes], str]:
    """DATETIME: sign, 17 bits 13 * year + month, 5 day, 5 hour, 6 minute, 6 second (big-endian), fraction."""

    def compute(value: bytes) -> str:
        packed = int.from_bytes(value[:5], "big") - 0x8000000000
        if packed < 0:
            raise ValueError("the bytes are no date and time")
        month = packed >> 22
        text = _iso((month // 13, month % 13, packed >> 17 & 31), (packed >> 12 & 31, packed >> 6 & 63, packed & 63))
        return text if text == "null" else f'"{text}{_fraction(value[5:], digits)}"'

    return compute


def old_datetime(value: bytes) -> str:
    """DATETIME of tables that were created before MySQL 5.6: the decimal number yyyymmddhhmmss, little-endian."""
    day, time = divmod(int.from_bytes(value, "little"), 1_000_000)
    text = _iso((day // 10000, day // 100 % 100, day % 100), (time // 10000, time // 100 % 100, time % 100))
    return text if text == "null" else f'"{text}"'


def date(value: bytes) -> str:
    """DATE: 15 bits year, 4 month, 5 day (little-endian)."""
    packed = int.from_bytes(value, "little")
    year, month, day = packed >> 9, packed >> 5 & 15, packed & 31
    if month > 12:
        raise ValueError("the bytes are no date")
    return f'"{year:04d}-{month:02d}-{day:02d}"' if month and day else "null"


def time2(digits: int) -> Callable[[bytes], str]:
    """TIME: an offset number of 24 bits (sign, hour, minute, second) and the fraction, as one big-endian number."""

    def compute(value: bytes) -> str:
        bits = 8 * len(value)
        packed = int.from_bytes(value, "big") - (1 << bits - 1)
        sign = "-" if packed < 0 else ""
        packed = abs(packed)
        size = bits - 24
        clock = packed >> size
        fraction = _fraction((packed & (1 << size) - 1).to_bytes(size // 8, "big"), digits)
        return f'"{sign}{clock >> 12 & 1023:02d}:{clock >> 6 & 63:02d}:{clock & 63:02d}{fraction}"'

    return compute


_DIGIT_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""How many bytes so many decimal digits take."""


def decimal_bytes(precision: int, scale: int) -> int:
    """The size of a DECIMAL."""
    whole = precision - scale
    return whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + scale // 9 * 4 + _DIGIT_BYTES[scale % 9]


def decimal(precision: int, scale: int) -> Callable[[bytes], str]:
    """DECIMAL, as a JSON string with all its digits after the point.

    Groups of nine digits in four bytes, the odd ones at both ends in fewer; the first bit is flipped, and of a
    negative number all the others too.
    """
    lead, tail = (precision - scale) % 9, scale % 9
    groups = (
        ([(lead, _DIGIT_BYTES[lead])] if lead else [])
        + [(9, 4)] * ((precision - scale) // 9 + scale // 9)
        + ([(tail, _DIGIT_BYTES[tail])] if tail else [])
    )

    def compute(value: bytes) -> str:
        negative = value[0] < 0x80
        flipped = bytes([value[0] ^ 0x80]) + value[1:]
        if negative:
            flipped = bytes(byte ^ 0xFF for byte in flipped)
        digits = ""
        at = 0
        for width, size in groups:
            group = f"{int.from_bytes(flipped[at : at + size], 'big'):0{width}d}"
            if len(group) > width:
                raise ValueError("the bytes are no DECIMAL")
            digits += group
            at += size
        whole, point = digits[: precision - scale].lstrip("0") or "0", digits[precision - scale :]
        return f'"{"-" if negative else ""}{whole}{"." if point else ""}{point}"'

    return compute


def unsigned_number(value: bytes) -> int:
    """An integer of any width (little-endian)."""
    return int.from_bytes(value, "little")


def dashed(value: bytes) -> str:
    """16 bytes as a UUID is written; MariaDB's UUID lies in its binlog in the order in which it is written."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def signed_number(value: bytes) -> int:
    """An integer of any width in two's complement (little-endian)."""
    return int.from_bytes(value, "little", signed=True)


def bit(value: bytes) -> str:
    """BIT(n) as a number (big-endian)."""
    return str(int.from_bytes(value, "big"))


def float4(value: bytes) -> str:
    """FLOAT as the shortest number that is stored in the same four bytes."""
    number = struct.unpack("<f", value)[0]
    for digits in (6, 7, 8):
        text = f"{number:.{digits}g}"
        if struct.pack("<f", float(text)) == value:
            return repr(float(text))
    return repr(float(f"{number:.9g}"))


def float8(value: bytes) -> str:
    """DOUBLE as the shortest number that is stored in the same eight bytes."""
    return repr(struct.unpack("<d", value)[0])


def enum_member(members: tuple[str, ...]) -> Callable[[bytes], str]:
    """ENUM: the member's number from 1; 0 is the empty string that stands for an invalid value."""
    texts = (quote(""), *map(quote, members))

    def compute(value: bytes) -> str:
        number = int.from_bytes(value, "little")
        if number >= len(texts):
            raise ValueError(f"member {number} of an ENUM with {len(texts) - 1}")
        return texts[number]

    return compute


def set_members(members: tuple[str, ...]) -> Callable[[bytes], str]:
    """SET: one bit per member; the members with commas between."""

    def compute(value: bytes) -> str:
        bits = int.from_bytes(value, "little")
        if bits >> len(members):
            raise ValueError(f"more members than the {len(members)} of a SET")
        return quote(",".join(member for n, member in enumerate(members) if bits >> n & 1))

    return compute


def uncompressed(value: bytes) -> bytes:
    """The content of MariaDB's COMPRESSED column: empty, plain behind a 0, or zlib behind a header.

    The header's upper four bits name the method (8: zlib), bit 3 says that there is no zlib header, the lower
    three bits how many bytes of length (big-endian) follow.
    """
    if not value:
        return b""
    head = value[0]
    if head == 0:
        return value[1:]
    size = head & 7
    if head >> 4 != 8 or not size:
        raise ValueError(f"compression {head:#x} of a column")
    length = int.from_bytes(value[1 : 1 + size], "big")
    inflate = zlib.decompressobj(-15 if head & 8 else 15)
    try:
        content = inflate.decompress(value[1 + size :], length + 1)
    except zlib.error as error:
        raise ValueError(f"a compressed column cannot be inflated: {error}") from error
    if len(content) != length or not inflate.eof:
        raise ValueError("a compressed column has another length than it says")
    return content
