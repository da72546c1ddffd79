"""Columns of a row image, type by type: what a captured one says, and how far others reach.

Bytes as MySQL's `sql/field.cc` (`Field_*::pack`) and `mysys/my_time.cc` store them.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import RowChange
from consumer.binlog.rows import Fold, fixed_width, length_bytes
from consumer.binlog.table_map import Column
from consumer.binlog.values import Remembered
from tests.unit.binlog.rowbuild import (
    ID,
    NOTE,
    POS,
    ROW_END,
    ROW_START,
    USER_ID,
    changes,
    column,
    event,
    i4,
    reader,
    refused,
    short,
)

C, E = ColumnType, EventType

ENABLED = column("is_enabled", C.TINY)
LATIN1, UTF8, UTF16, BYTES, ASCII, DEC8, UNKNOWN = 8, 45, 54, 63, 11, 3, 99
"""Collations; Python cannot read dec8."""
X = b"x"
DATE = bytes.fromhex("34d00f")
DATETIME = bytes.fromhex("99b268e044")
STAMP = bytes.fromhex("65abd220")
"""2024-01-20 14:01:04."""
NAMED = (b"red", b"gr\xfcn", b"blue")

_V = "value"
INTEGERS = [
    (column(_V, C.TINY), b"\xff", "-1"),
    (column(_V, C.TINY, unsigned=True), b"\xff", "255"),
    (column(_V, C.SHORT), b"\xfe\xff", "-2"),
    (column(_V, C.SHORT, unsigned=True), b"\xfe\xff", "65534"),
    (column(_V, C.INT24), b"\xfd\xff\xff", "-3"),
    (column(_V, C.INT24, unsigned=True), b"\xfd\xff\xff", "16777213"),
    (column(_V, C.LONG), b"\xfc\xff\xff\xff", "-4"),
    (column(_V, C.LONG, unsigned=True), b"\xfc\xff\xff\xff", "4294967292"),
    (column(_V, C.LONGLONG), b"\xfb" + b"\xff" * 7, "-5"),
    (column(_V, C.LONGLONG, unsigned=True), b"\xfb" + b"\xff" * 7, "18446744073709551611"),
]
NUMBERS = [
    *INTEGERS,
    (column(_V, C.YEAR), b"\x7c", "2024"),
    (column(_V, C.YEAR), b"\xff", "2155"),
    (column(_V, C.YEAR), b"\0", "0"),
    (column(_V, C.FLOAT, 4), bytes.fromhex("cdcccc3d"), "0.1"),
    (column(_V, C.DOUBLE, 8), bytes.fromhex("00000000000004c0"), "-2.5"),
    (column(_V, C.NEWDECIMAL, 10, 2), bytes.fromhex("8012d687 59"), '"1234567.89"'),
    (column(_V, C.NEWDECIMAL, 10, 2), bytes.fromhex("7fed2978 a6"), '"-1234567.89"'),
    (column(_V, C.NEWDECIMAL, 3, 0), bytes.fromhex("8007"), '"7"'),
    (column(_V, C.BIT, 1), b"\1", "1"),
    (column(_V, C.BIT, 12), b"\x0a\xbc", "2748"),
]
TIMES = [
    (column(_V, C.DATE), DATE, '"2024-01-20"'),
    (column(_V, C.NEWDATE), DATE, '"2024-01-20"'),
    (column(_V, C.NEWDATE), bytes(3), "null"),
    (column(_V, C.TIME2, 0), bytes.fromhex("80f1c5"), '"15:07:05"'),
    (column(_V, C.TIME2, 2), bytes.fromhex("80f1c5 32"), '"15:07:05.50"'),
    (column(_V, C.TIMESTAMP2, 0), STAMP, '"2024-01-20T14:01:04Z"'),
    (column(_V, C.TIMESTAMP2, 3), STAMP + bytes.fromhex("04d2"), '"2024-01-20T14:01:04.123Z"'),
    (column(_V, C.TIMESTAMP2, 0), bytes(4), "null"),
    (column(_V, C.DATETIME2, 0), DATETIME, '"2024-01-20T14:01:04"'),
    (column(_V, C.DATETIME2, 6), DATETIME + bytes.fromhex("01e240"), '"2024-01-20T14:01:04.123456"'),
    (column(_V, C.TIMESTAMP), STAMP[::-1], '"2024-01-20T14:01:04Z"'),
    (column(_V, C.DATETIME), (20240120140104).to_bytes(8, "little"), '"2024-01-20T14:01:04"'),
]
LISTS = [
    (column(_V, C.ENUM, 1, collation=LATIN1, members=NAMED), b"\2", '"grün"'),
    (column(_V, C.ENUM, 2, collation=LATIN1, members=NAMED), b"\3\0", '"blue"'),
    (column(_V, C.ENUM, 1, collation=BYTES, members=NAMED), b"\2", '"grün"'),
    (column(_V, C.ENUM, 1, collation=UTF8, members=("grün".encode(),)), b"\1", '"grün"'),
    (column(_V, C.ENUM, 1, collation=UTF8, members=(b"a",)), b"\0", '""'),
    (column(_V, C.SET, 1, collation=LATIN1, members=NAMED), b"\5", '"red,blue"'),
    (column(_V, C.SET, 2, collation=BYTES, members=NAMED), b"\3\0", '"red,grün"'),
]
TEXTS = [
    (column(_V, C.STRING, 80, collation=UTF8), short("é€".encode()), '"é€"'),
    (column(_V, C.STRING, 300, collation=UTF8), b"\2\0hi", '"hi"'),
    (column(_V, C.VARCHAR, 255, collation=UTF8), b"\xff" + X * 255, f'"{"x" * 255}"'),
    (column(_V, C.VARCHAR, 256, collation=UTF8), b"\0\1" + X * 256, f'"{"x" * 256}"'),
    (column(_V, C.VARCHAR, 400, collation=UTF8), b"\x2c\1" + X * 300, f'"{"x" * 300}"'),
    (column(_V, C.VARCHAR, 80, collation=UTF8), short(b'a"\n\\b'), r'"a\"\n\\b"'),
    (column(_V, C.VARCHAR, 80, collation=ASCII), short(b"hi"), '"hi"'),
    (column(_V, C.VAR_STRING, 20, collation=LATIN1), short(b"\xe9\x80"), '"é€"'),
    (column(_V, C.VARCHAR, 80, collation=UTF16), short(b"\0h\x20\xac"), '"h€"'),
    (column(_V, C.BLOB, 1, collation=UTF8), short(b"hi"), '"hi"'),
    (column(_V, C.BLOB, 2, collation=LATIN1), b"\1\1" + b"\xe9" * 257, f'"{"é" * 257}"'),
    (column(_V, C.BLOB, 3, collation=UTF8), b"\x70\x11\x01" + X * 70000, f'"{"x" * 70000}"'),
    (column(_V, C.BLOB, 4, collation=UTF8), b"\x70\x11\x01\0" + X * 70000, f'"{"x" * 70000}"'),
    (column(_V, C.TINY_BLOB, 1, collation=UTF8), short(b"hi"), '"hi"'),
    (column(_V, C.MEDIUM_BLOB, 3, collation=UTF8), b"\2\0\0hi", '"hi"'),
    (column(_V, C.LONG_BLOB, 4, collation=UTF8), b"\2\0\0\0hi", '"hi"'),
    (column(_V, C.VARCHAR_COMPRESSED, 82, collation=UTF8), short(b"\0hi"), '"hi"'),
    (column(_V, C.VARCHAR_COMPRESSED, 300, collation=LATIN1), b"\2\0\0\xe9", '"é"'),
    (column(_V, C.BLOB_COMPRESSED, 1, collation=UTF8), short(b"\x81\5" + zlib.compress(b"hello")), '"hello"'),
]
BINARIES = [
    (column(_V, C.STRING, 4, collation=BYTES), short(b"\1\2"), '"01020000"'),  # zeros at the end are not stored
    (
        column(_V, C.STRING, 16, collation=BYTES),
        short(bytes(range(1, 16))),
        '"01020304-0506-0708-090a-0b0c0d0e0f00"',
    ),
    (
        column(_V, C.VARCHAR, 16, collation=BYTES),
        short(bytes(range(16))),
        '"000102030405060708090a0b0c0d0e0f"',
    ),
    (column(_V, C.VARCHAR, 300, collation=BYTES), b"\2\0\xab\0", '"ab00"'),
    (column(_V, C.BLOB, 2, collation=BYTES), b"\2\0\0\xff", '"00ff"'),
    (column(_V, C.VARCHAR_COMPRESSED, 17, collation=BYTES), short(b"\0\xab\xcd"), '"abcd"'),
    (column(_V, C.BLOB_COMPRESSED, 2, collation=BYTES), b"\3\0\0\xab\xcd", '"abcd"'),
]
SHOWN = [*NUMBERS, *TIMES, *LISTS, *TEXTS, *BINARIES]
REFUSED = [
    (column(_V, C.JSON, 4), b"\3\0\0\0abc", ""),
    (column(_V, C.GEOMETRY, 4), b"\3\0\0\0abc", ""),
    (column(_V, C.VECTOR, 4), b"\3\0\0\0abc", ""),
    (column(_V, C.TIME), b"abc", ""),
    (column(_V, C.NULL), b"", ""),
]


def named(case: object) -> str | None:
    """A name for pytest."""
    return f"{case.type.name}-{case.length}-{case.collation}" if isinstance(case, Column) else ""


def inserted(text: str, id_: int, row: int) -> RowChange:
    """A user that is inserted."""
    return RowChange("users", "c", None, text, None, None, id_, id_, POS, row)


@pytest.mark.parametrize(("shape", "data", "text"), SHOWN, ids=named)
def test_a_captured_column_says_its_value(shape: Column, data: bytes, text: str) -> None:
    target = reader("users", ID, replace(shape, name="current_signature_file_id"), ENABLED)
    rows = event(E.WRITE_ROWS, 3, b"\0" + i4(1) + data + b"\1", b"\2" + i4(2) + b"\0", b"\4" + i4(3) + data)
    assert changes(target, rows) == (
        [
            inserted(f'{{"id":1,"current_signature_file_id":{text},"is_enabled":1}}', 1, 3),
            inserted('{"id":2,"current_signature_file_id":null,"is_enabled":0}', 2, 4),
            inserted(f'{{"id":3,"current_signature_file_id":{text},"is_enabled":null}}', 3, 5),
        ],
        6,
    )


@pytest.mark.parametrize(("shape", "data", "text"), [*SHOWN, *REFUSED], ids=named)
def test_a_column_that_is_not_captured_is_stepped_over(shape: Column, data: bytes, text: str) -> None:
    target = reader("users", shape, ID, replace(shape, name="another"), ENABLED, replace(shape, name="last"))
    whole = b"\0" + data + i4(1) + data + b"\1" + data
    assert changes(target, event(E.WRITE_ROWS, 5, whole, b"\x15" + i4(2) + b"\0", whole)) == (
        [
            inserted('{"id":1,"is_enabled":1}', 1, 3),
            inserted('{"id":2,"is_enabled":0}', 2, 4),
            inserted('{"id":1,"is_enabled":1}', 1, 5),
        ],
        6,
    )


@pytest.mark.parametrize(("shape", "data", "text"), REFUSED, ids=named)
def test_some_types_cannot_be_captured(shape: Column, data: bytes, text: str) -> None:
    target = reader("users", ID, replace(shape, name="Current_Signature_File_ID"))
    sentence = f"shop.users.Current_Signature_File_ID has the type {shape.type.name}, which cannot be captured"
    with refused(UndecodableEvent, sentence):
        changes(target, event(E.WRITE_ROWS, 2, b"\0" + i4(1) + data))
    assert changes(target, event(E.WRITE_ROWS, 2, b"\2" + i4(1)))[0] == [
        inserted('{"id":1,"current_signature_file_id":null}', 1, 3)
    ]


@pytest.mark.parametrize(
    "shape",
    [
        column("Status", C.VARCHAR, 80),
        column("Status", C.BLOB, 2),
        column("Status", C.BLOB_COMPRESSED, 1),
        column("Status", C.ENUM, 1, members=(b"a",)),
        column("Status", C.SET, 1, members=(b"a",)),
    ],
    ids=named,
)
def test_texts_that_leads_are_judged_by_are_read_exactly_or_not_at_all(shape: Column) -> None:
    row = event(E.WRITE_ROWS, 3, b"\0" + i4(1) + i4(7) + b"\1\0a")
    with refused(UndecodableEvent, "shop.claims.Status has collation 99, which is unknown"):
        changes(reader("claims", ID, USER_ID, replace(shape, collation=UNKNOWN)), row)
    sentence = "shop.claims.Status is written in dec8, which cannot be turned into UTF-8 exactly"
    with refused(UndecodableEvent, sentence):
        changes(reader("claims", ID, USER_ID, replace(shape, collation=DEC8)), row)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        (column("status", C.VARCHAR, 80, collation=UTF8), short(b"\xff")),
        (column("status", C.VARCHAR, 80, collation=UTF16), short(b"\xd8\0")),
        (column("status", C.ENUM, 1, collation=UTF8, members=(b"\xff",)), b"\1"),
        (column("status", C.SET, 1, collation=UTF8, members=(b"\xff",)), b"\1"),
        (column("id", C.VARCHAR, 80, collation=UTF8), short(b"\xff")),
        (column("id", C.VARCHAR, 80, collation=UTF16), short(b"\xd8\0")),
    ],
    ids=named,
)
def test_bytes_that_are_no_text_are_an_error(shape: Column, data: bytes) -> None:
    columns = (shape, USER_ID) if shape.name == "id" else (shape, ID, USER_ID)
    with pytest.raises(UnicodeDecodeError):
        changes(reader("claims", *columns), event(E.WRITE_ROWS, len(columns), b"\0" + data + i4(1) + i4(7)))


@pytest.mark.parametrize(
    ("shape", "data", "text"),
    [
        (column("created_at", C.VARCHAR, 80, collation=UTF8), short(b"a\xff"), '"a\ufffd"'),
        (column("created_at", C.VARCHAR, 80, collation=LATIN1), short(b"\xe9"), '"é"'),
        (column("created_at", C.VARCHAR, 80, collation=UTF16), short(b"\0a\0"), '"a\ufffd"'),
        (column("created_at", C.BLOB, 2, collation=DEC8), b"\2\0a\xe9", '"a\ufffd"'),
        (column("created_at", C.VARCHAR, 80, collation=UNKNOWN), short(b"a\xe9"), '"a\ufffd"'),
        (column("created_at", C.BLOB_COMPRESSED, 1, collation=UTF8), short(b"\0a\xff"), '"a\ufffd"'),
        (column("created_at", C.VARCHAR, 80, collation=BYTES), short(b"\xff"), '"ff"'),
        (column("created_at", C.ENUM, 1, collation=UTF8, members=(b"a\xff",)), b"\1", '"a\ufffd"'),
        (column("created_at", C.ENUM, 1, collation=UNKNOWN, members=(b"a\xe9",)), b"\1", '"a\ufffd"'),
        (column("created_at", C.ENUM, 1, collation=LATIN1, members=(b"\xe9",)), b"\1", '"é"'),
        (column("created_at", C.SET, 1, collation=DEC8, members=(b"a", b"\xe9")), b"\3", '"a,\ufffd"'),
        (column("created_at", C.DATETIME2, 0), DATETIME, '"2024-01-20T14:01:04"'),
        (column("created_at", C.TIME), b"abc", "null"),
        (column("created_at", C.JSON, 4), b"\2\0\0\0\xff\xff", "null"),
        (column("created_at", C.VECTOR, 4), b"\2\0\0\0\xff\xff", "null"),
    ],
    ids=named,
)
def test_a_column_that_nobody_judges_by_stops_no_reader(shape: Column, data: bytes, text: str) -> None:
    target = reader("users", ID, shape, replace(ENABLED, name="current_signature_file_id"))
    assert changes(target, event(E.WRITE_ROWS, 3, b"\0" + i4(1) + data + b"\2", b"\2" + i4(2) + b"\3")) == (
        [
            inserted(f'{{"id":1,"current_signature_file_id":2,"created_at":{text}}}', 1, 3),
            inserted('{"id":2,"current_signature_file_id":3,"created_at":null}', 2, 4),
        ],
        5,
    )


def test_a_requirement_has_all_its_columns_in_our_order() -> None:
    words = [column(name, C.VARCHAR, 80, collation=UTF8) for name in ("claim_requirement_reason", "status", "type")]
    times = [column("updated_at", C.TIMESTAMP2, 0), column("created_at", C.DATETIME2, 0)]
    target = reader("claim_requirements", *times, *words, column("claim_id", C.LONGLONG), NOTE, ID, strict=True)
    row = b"\0" + STAMP + DATETIME + short(b"why \xff") + short(b"open") + short(b"photo")
    assert changes(target, event(E.DELETE_ROWS, 8, row + (70).to_bytes(8, "little") + b"\5" + i4(1))) == (
        [
            RowChange(
                "claim_requirements",
                "d",
                '{"id":1,"claim_id":70,"type":"photo","status":"open","claim_requirement_reason":"why \ufffd",'
                '"created_at":"2024-01-20T14:01:04","updated_at":"2024-01-20T14:01:04Z"}',
                None,
                *(1, 70, None, None),
                POS,
                3,
            )
        ],
        4,
    )


@pytest.mark.parametrize(
    ("shape", "remembered"),
    [
        (column("status", C.VARCHAR, 80, collation=UTF8), True),
        (column("status", C.VARCHAR, 80, collation=LATIN1), True),
        (column("status", C.VARCHAR_COMPRESSED, 80, collation=UTF8), False),
        (column("user_note", C.VARCHAR, 80, collation=UTF8), False),
    ],
)
def test_texts_of_columns_with_few_of_them_are_remembered(shape: Column, remembered: bool) -> None:
    source, _ = reader("claims", ID, USER_ID, shape).written(b"\7", b"\0")
    assert ("remembered" in source) is remembered


def test_the_functions_of_all_images_remember_in_one_place() -> None:
    target = reader("users", ID, column("created_at", C.DATETIME2, 0), column("updated_at", C.TIMESTAMP2, 0), NOTE)
    memories: set[int] = set()
    for nulls in range(16):
        if not nulls & 1:
            _, constants = target.written(b"\x0f", bytes((nulls,)))
            memories |= {id(value) for value in constants.values() if isinstance(value, Remembered)}
    assert len(memories) == 2, "one for each column, not one for each image"


# Keys.


def lower_of_utf8(collation: int) -> Fold | None:
    """Two texts of utf8mb4 are one where only their capitals differ."""
    return str.lower if collation == UTF8 else None


@pytest.mark.parametrize(
    ("shape", "data", "key", "text"),
    [
        (column(_V, C.VARCHAR, 80, collation=UTF8), short(b"ABc"), "abc", '"abc"'),
        (column(_V, C.VARCHAR, 80, collation=46), short(b"ABc"), "ABc", '"ABc"'),
        (column(_V, C.VARCHAR, 300, collation=UTF8), b'\3\0A"c', 'a"c', r'"a\"c"'),
        (column(_V, C.STRING, 36, collation=LATIN1), short(b"\xc9"), "É", '"É"'),
        (column(_V, C.VAR_STRING, 36, collation=UTF16), short(b"\0A\x20\xac"), "A€", '"A€"'),
        (column(_V, C.VARCHAR, 16, collation=BYTES), short(b"\xab\0"), "ab00", '"ab00"'),
        (column(_V, C.STRING, 4, collation=BYTES), short(b"\xab"), "ab000000", '"ab000000"'),
        (
            column(_V, C.STRING, 16, collation=BYTES),
            short(bytes(range(0xA0, 0xAF))),
            "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadae00",
            '"a0a1a2a3-a4a5-a6a7-a8a9-aaabacadae00"',
        ),
        *((shape, data, int(text), text) for shape, data, text in INTEGERS),
    ],
    ids=named,
)
def test_keys_are_the_one_spelling_that_stands_for_equal_ones(
    shape: Column, data: bytes, key: str | int, text: str
) -> None:
    table = "claim_requirements"
    columns = replace(shape, name="id"), NOTE, replace(shape, name="claim_id")
    target = reader(table, *columns, folds=lower_of_utf8)
    rows = event(E.WRITE_ROWS, 3, b"\0" + data + b"\5" + data, b"\4" + data + b"\5")
    assert changes(target, rows) == (
        [
            RowChange(table, "c", None, f'{{"id":{text},"claim_id":{text}}}', None, None, key, key, POS, 3),
            RowChange(table, "c", None, f'{{"id":{text},"claim_id":null}}', None, None, key, None, POS, 4),
        ],
        5,
    )


@pytest.mark.parametrize(
    ("collation", "sentence"),
    [
        (DEC8, "shop.claims.Id is written in dec8, which cannot be turned into UTF-8 exactly"),
        (UNKNOWN, "shop.claims.Id has collation 99, which is unknown"),
    ],
)
def test_keys_are_read_exactly_or_not_at_all(collation: int, sentence: str) -> None:
    target = reader("claims", column("Id", C.VARCHAR, 80, collation=collation), USER_ID)
    with refused(UndecodableEvent, sentence):
        changes(target, event(E.WRITE_ROWS, 2, b"\0" + short(b"a") + i4(7)))


# Sizes.


@pytest.mark.parametrize(
    ("shape", "width"),
    [
        *((column(_V, kind), width) for kind, width in (
            (C.NULL, 0), (C.TINY, 1), (C.YEAR, 1), (C.SHORT, 2), (C.INT24, 3), (C.DATE, 3), (C.NEWDATE, 3), (C.TIME, 3),
            (C.LONG, 4), (C.FLOAT, 4), (C.TIMESTAMP, 4), (C.LONGLONG, 8), (C.DOUBLE, 8), (C.DATETIME, 8),
        )),
        *((column(_V, kind, digits), least + extra)
          for kind, least in ((C.TIME2, 3), (C.TIMESTAMP2, 4), (C.DATETIME2, 5))
          for digits, extra in enumerate((0, 1, 1, 2, 2, 3, 3))),
        *((column(_V, C.BIT, bits), width) for bits, width in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (64, 8))),
        *((column(_V, kind, width), width) for kind, width in ((C.ENUM, 1), (C.ENUM, 2), (C.SET, 1), (C.SET, 8))),
        *((column(_V, C.NEWDECIMAL, precision, scale), width) for precision, scale, width in (
            (10, 2, 5), (18, 9, 8), (5, 5, 3), (65, 30, 30),
        )),
        *((column(_V, kind, 4), None) for kind in (
            C.STRING, C.VARCHAR, C.VAR_STRING, C.VARCHAR_COMPRESSED, C.TINY_BLOB, C.BLOB, C.MEDIUM_BLOB, C.LONG_BLOB,
            C.BLOB_COMPRESSED, C.JSON, C.GEOMETRY, C.VECTOR,
        )),
    ],
    ids=named,
)  # fmt: skip
def test_the_width_of_values_that_do_not_say_it(shape: Column, width: int | None) -> None:
    assert fixed_width(shape) == width


@pytest.mark.parametrize(
    ("kind", "length", "size"),
    [
        *((C.BLOB, size, size) for size in (1, 2, 3, 4)),
        (C.JSON, 4, 4),
        (C.BLOB_COMPRESSED, 3, 3),
        (C.VARCHAR, 255, 1),
        (C.VARCHAR, 256, 2),
        (C.STRING, 255, 1),
        (C.STRING, 1020, 2),
        (C.VARCHAR_COMPRESSED, 65535, 2),
    ],
)
def test_how_many_bytes_say_how_long_a_value_is(kind: ColumnType, length: int, size: int) -> None:
    assert length_bytes(column(_V, kind, length)) == size


def test_a_column_of_unknown_size_is_refused_wherever_it_is_looked_at() -> None:
    sentence = "column Created_At has the type DECIMAL, whose size is unknown"
    shape = column("Created_At", C.DECIMAL)
    with refused(UndecodableEvent, sentence):
        fixed_width(shape)
    with refused(UndecodableEvent, sentence):
        changes(reader("users", ID, shape), event(E.WRITE_ROWS, 2, b"\0" + i4(1) + b"1"))


GENERATED = r"""
def image(data, p):
    p += (data[p] | data[p + 1] << 8 if data[p + 1] else data[p]) + 2
    a = p + 1
    p = a + data[p]
    c_id = fold_2(decode_1(data[a:p]))
    a = p + 1
    p = a + data[p]
    c_claim_id = dashed_3(data[a:p].ljust(16, b'\0'))
    p += 2
    a = p + 1
    p = a + data[p]
    c_type = remembered_4[data[a:p]]
    a = p + 3
    p = a + int.from_bytes(data[p:p + 3], 'little')
    c_status = quote(decode_6(uncompressed_5(data[a:p])))
    a = p + 1
    p = a + data[p]
    c_claim_requirement_reason = quote(decode_7(data[a:p]))
    c_created_at, c_updated_at, row_end, = unpack_11(data, p)
    p += 23
    return f'{{"id":{quote(c_id)},"claim_id":{quote(c_claim_id)},"type":{c_type},"status":{c_status},"""
GENERATED += (
    '"claim_requirement_reason":{c_claim_requirement_reason},"created_at":{remembered_8[c_created_at]},'
    "\"updated_at\":{number_9(c_updated_at)}}}' if is_live_10(row_end) else '', c_id, c_claim_id, p\n"
)


def test_a_generated_function_reads_like_one_written_by_hand() -> None:
    target = reader(
        "claim_requirements",
        column("note", C.VARCHAR, 300, collation=UTF8),
        column("id", C.VARCHAR, 80, collation=LATIN1),
        column("claim_id", C.STRING, 16, collation=BYTES),
        column("amount", C.SHORT),
        column("type", C.VARCHAR, 80, collation=UTF8),
        column("status", C.BLOB_COMPRESSED, 3, collation=LATIN1),
        column("claim_requirement_reason", C.VARCHAR, 80, collation=LATIN1),
        column("created_at", C.DATETIME2, 0),
        column("updated_at", C.INT24),
        ROW_START,
        ROW_END,
        NOTE,
        row_end="row_end",
        folds=lambda _: str.lower,
    )
    source, _ = target.written(b"\xff\xff", b"\0\0")
    assert source == GENERATED[1:]
