"""Single column values as JSON text."""

from __future__ import annotations

import json
import struct
import zlib
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.binlog import values
from consumer.binlog.rows import is_live


@pytest.mark.parametrize(
    ("digits", "data", "expected"),
    [
        (0, "65abd220", '"2024-01-20T14:01:04Z"'),
        (1, "65abd22032", '"2024-01-20T14:01:04.5Z"'),
        (3, "65abd22004d2", '"2024-01-20T14:01:04.123Z"'),
        (6, "65abd22001e240", '"2024-01-20T14:01:04.123456Z"'),
        (6, "00000000000000", "null"),
        (0, "ffffffff", '"2106-02-07T06:28:15Z"'),
    ],
)
def test_timestamps_are_iso_8601_in_utc(digits: int, data: str, expected: str) -> None:
    assert values.timestamp2(digits)(bytes.fromhex(data)) == expected


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(0, 6))
def test_datetimes_are_unpacked_as_they_were_packed(moment: datetime, digits: int) -> None:
    size = (digits + 1) // 2
    packed = 0x8000000000 | (moment.year * 13 + moment.month) << 22 | moment.day << 17
    packed |= moment.hour << 12 | moment.minute << 6 | moment.second
    shown = f"{moment.microsecond:06d}"[:digits]
    stored = int(shown.ljust(2 * size, "0") or 0)
    text = values.datetime2(digits)(packed.to_bytes(5, "big") + stored.to_bytes(size, "big"))
    assert text == f'"{moment.isoformat(timespec="seconds")}{"." + shown if digits else ""}"'


@pytest.mark.parametrize("month_and_day", [(0, 0), (1, 0), (0, 5)])
def test_zero_dates_are_null(month_and_day: tuple[int, int]) -> None:
    month, day = month_and_day
    packed = 0x8000000000 | (2024 * 13 + month) << 22 | day << 17
    assert values.datetime2(0)(packed.to_bytes(5, "big")) == "null"


def test_what_is_no_date_is_an_error() -> None:
    for packed in (0, 0x8000000000 | 25 << 12, 0x8000000000 | 60 << 6):
        with pytest.raises(ValueError, match="no date"):
            values.datetime2(0)(packed.to_bytes(5, "big"))


def test_old_times_are_read() -> None:
    assert values.old_timestamp((1705759264).to_bytes(4, "little")) == '"2024-01-20T14:01:04Z"'
    assert values.old_timestamp(bytes(4)) == "null"
    assert values.old_datetime((20240120140104).to_bytes(8, "little")) == '"2024-01-20T14:01:04"'
    assert values.old_datetime(bytes(8)) == "null"
    assert values.date((2024 << 9 | 1 << 5 | 20).to_bytes(3, "little")) == '"2024-01-20"'
    assert values.date(bytes(3)) == "null"


@pytest.mark.parametrize(
    ("digits", "clock", "fraction", "expected"),
    [
        (0, (15, 7, 5), 0, '"15:07:05"'),
        (0, (-15, 7, 5), 0, '"-15:07:05"'),
        (2, (15, 7, 5), 50, '"15:07:05.50"'),
        (2, (-15, 7, 5), 50, '"-15:07:05.50"'),
        (6, (0, 0, 0), 123456, '"00:00:00.123456"'),
        (0, (838, 59, 59), 0, '"838:59:59"'),
    ],
)
def test_times_of_day_have_a_sign(digits: int, clock: tuple[int, int, int], fraction: int, expected: str) -> None:
    size = (digits + 1) // 2
    hour, minute, second = clock
    packed = (abs(hour) << 12 | minute << 6 | second) << 8 * size | fraction
    packed = (0x800000 << 8 * size) + (packed if hour >= 0 else -packed)
    assert values.time2(digits)(packed.to_bytes(3 + size, "big")) == expected


def pack_decimal(number: Decimal, precision: int, scale: int) -> bytes:
    """As `decimal2bin` does, digit by digit."""
    whole, point = f"{number.copy_abs():f}".partition(".")[::2]
    whole = whole.rjust(precision - scale, "0")[-(precision - scale) :] if precision > scale else ""
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    lead = len(whole) % 9
    groups = [whole[:lead]] if lead else []
    groups += [whole[at : at + 9] for at in range(lead, len(whole), 9)]
    groups += [point[at : at + 9] for at in range(0, len(point), 9)]
    data = b"".join(int(group).to_bytes(sizes[len(group)], "big") for group in groups)
    if number < 0:
        data = bytes(byte ^ 0xFF for byte in data)
    return bytes((data[0] ^ 0x80,)) + data[1:]


@given(st.data())
def test_decimals_keep_all_their_digits(data: st.DataObject) -> None:
    precision = data.draw(st.integers(1, 65))
    scale = data.draw(st.integers(0, min(30, precision)))
    unscaled = data.draw(st.integers(1 - 10**precision, 10**precision - 1))
    number = Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))
    packed = pack_decimal(number, precision, scale)
    assert len(packed) == values.decimal_bytes(precision, scale)
    said = json.loads(values.decimal(precision, scale)(packed))
    assert Decimal(said) == number
    assert len(said.partition(".")[2]) == scale


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_are_the_shortest_number_that_is_stored_the_same(number: float) -> None:
    packed = struct.pack("<f", number)
    text = values.float4(packed)
    assert struct.pack("<f", json.loads(text)) == packed
    assert len(text.lstrip("-").split("e")[0].replace(".", "").strip("0")) <= 9


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_come_back_exactly(number: float) -> None:
    assert json.loads(values.float8(struct.pack("<d", number))) == number


def test_members_of_enums_and_sets_are_texts() -> None:
    enum = values.enum_member(("a", 'b"', "ö"))
    assert [enum(bytes((n,))) for n in range(4)] == ['""', '"a"', '"b\\""', '"ö"']
    with pytest.raises(ValueError, match="member 4"):
        enum(b"\4")
    members = values.set_members(("a", "b", "c"))
    assert [members(bytes((n,))) for n in (0, 5, 7)] == ['""', '"a,c"', '"a,b,c"']
    with pytest.raises(ValueError, match="more members"):
        members(b"\x08")


def test_compressed_columns_of_mariadb_are_inflated() -> None:
    text = b"x" * 1000
    assert values.uncompressed(b"") == b""
    assert values.uncompressed(b"\0plain") == b"plain"
    packed = zlib.compress(text)
    assert values.uncompressed(b"\x82" + (1000).to_bytes(2, "big") + packed) == text
    raw = zlib.compressobj(wbits=-15)
    assert values.uncompressed(b"\x8a" + (1000).to_bytes(2, "big") + raw.compress(text) + raw.flush()) == text
    with pytest.raises(ValueError, match="another length"):
        values.uncompressed(b"\x82" + (999).to_bytes(2, "big") + packed)
    with pytest.raises(ValueError, match="compression"):
        values.uncompressed(b"\x72" + packed)


def test_what_is_remembered_is_bounded() -> None:
    calls = []

    def compute(value: bytes) -> str:
        calls.append(value)
        return value.hex()

    remembered = values.Remembered(compute)
    for number in range(120_000):
        key = number.to_bytes(3, "big")
        assert remembered[key] == remembered[key] == key.hex()
        assert len(remembered) <= 10_000
    assert len(calls) == 120_000
    assert remembered[b"x" * 257] == remembered[b"x" * 257]
    assert len(calls) == 120_002
    assert b"x" * 257 not in remembered


def test_the_end_of_time_says_that_a_versioned_row_is_valid_still() -> None:
    last = (999_999).to_bytes(3, "big")
    for seconds, valid in ((2**31 - 1, True), (2**32 - 1, True), (1_700_000_000, False)):
        assert is_live(seconds.to_bytes(4, "big") + last) is valid
    assert not is_live((2**31 - 1).to_bytes(4, "big") + bytes(3))
