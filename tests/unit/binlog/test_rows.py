"""Tables and their rows events: what can be captured, and which changes an event holds."""

from __future__ import annotations

import pytest

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import RowChange, UnreadableRow
from consumer.binlog.rows import TableDecoder
from consumer.binlog.table_map import Column, TableMap
from consumer.capture import CAPTURED
from consumer.mysql.errors import PreconditionFailed
from tests.unit.binlog.rowbuild import (
    CLAIMS,
    FILE,
    ID,
    LIVE,
    MOMENT,
    NOTE,
    POS,
    ROW,
    ROW_END,
    ROW_START,
    SIGNATURE,
    STATUS,
    USER_ID,
    USERS,
    changes,
    claim,
    column,
    event,
    i4,
    readable,
    reader,
    refused,
    short,
)
from tests.unit.binlog.wirebuild import CHARSETS

C, E = ColumnType, EventType


def user(id_: int, signature: int) -> bytes:
    """A whole image of `users`."""
    return b"\0" + i4(id_) + i4(signature)


# What can be captured.


@pytest.mark.parametrize(
    ("table", "columns", "sentence"),
    [
        ("users", (SIGNATURE,), "shop.users has no column id, without which its rows cannot be attributed"),
        ("claims", (ID, STATUS), "shop.claims has no column user_id, without which its rows cannot be attributed"),
        (
            "claim_requirements",
            (ID, column("claim_id", C.BLOB, 2)),
            "shop.claim_requirements.claim_id is BLOB; it may be an integer, CHAR, VARCHAR, BINARY or UUID",
        ),
        (
            "claims",
            (column("id", C.DOUBLE, 8), USER_ID),
            "shop.claims.id is DOUBLE; it may be an integer, CHAR, VARCHAR, BINARY or UUID",
        ),
        ("users", (column("id", C.VARCHAR, 36, collation=45),), "shop.users.id is VARCHAR, not an integer"),
        ("users", (column("id", C.YEAR),), "shop.users.id is YEAR, not an integer"),
        (
            "claims",
            (ID, column("user_id", C.STRING, 36, collation=45)),
            "shop.claims.user_id is STRING, not an integer",
        ),
    ],
)
def test_a_table_whose_rows_cannot_be_attributed_is_refused(
    table: str, columns: tuple[Column, ...], sentence: str
) -> None:
    with refused(PreconditionFailed, sentence):
        reader(table, *columns)


def test_only_where_it_is_strict_a_table_has_to_have_what_leads_are_judged_by() -> None:
    sentence = (
        "shop.users has no column current_signature_file_id here, without which no lead can be judged; put it back"
    )
    with refused(PreconditionFailed, sentence):
        reader("users", ID, strict=True)
    assert changes(reader("users", ID), event(E.WRITE_ROWS, 1, b"\0" + i4(1)))[0] == [
        RowChange("users", "c", None, '{"id":1}', None, None, 1, 1, POS, ROW)
    ]
    table_map = TableMap("shop", "users", (ID,), (0,))
    assert TableDecoder(table_map, CAPTURED["users"], CHARSETS).row_end is None
    assert reader("users", *USERS, strict=True).unreadable == ""


INTEGERS = [C.TINY, C.SHORT, C.INT24, C.LONG, C.LONGLONG]


@pytest.mark.parametrize("kind", [*INTEGERS, C.VARCHAR, C.VAR_STRING, C.STRING])
def test_claims_have_ids_of_numbers_and_texts(kind: ColumnType) -> None:
    assert not reader("claims", column("id", kind, 16, collation=45), USER_ID, STATUS, strict=True).unreadable


@pytest.mark.parametrize("kind", INTEGERS)
def test_users_have_ids_of_numbers(kind: ColumnType) -> None:
    assert not reader("users", column("id", kind), SIGNATURE, strict=True).unreadable


def test_columns_are_known_by_their_names_whatever_the_capitals_and_told_in_our_order() -> None:
    target = reader("claims", column("STATUS", C.VARCHAR, 80, collation=45), NOTE, column("User_ID", C.LONG),
                    column("Id", C.LONG), strict=True)  # fmt: skip
    row = b"\0" + short(b"open") + b"\x09" + i4(7) + i4(1)
    assert changes(target, event(E.WRITE_ROWS, 4, row))[0] == [
        RowChange("claims", "c", None, '{"id":1,"user_id":7,"status":"open"}', None, None, 1, 7, POS, ROW)
    ]


# Tables of which no row can be read.

NO_NAMES = (
    "the binlog holds shop.claims without column names; "
    "run SET GLOBAL binlog_row_metadata = 'FULL' (SET PERSIST on MySQL)"
)


@pytest.mark.parametrize(
    ("kind", "op"),
    [
        (E.WRITE_ROWS, "c"),
        (E.WRITE_ROWS_V1, "c"),
        (E.UPDATE_ROWS, "u"),
        (E.UPDATE_ROWS_V1, "u"),
        (E.PARTIAL_UPDATE_ROWS, "u"),
        (E.DELETE_ROWS, "d"),
        (E.DELETE_ROWS_V1, "d"),
    ],
)
@pytest.mark.parametrize(
    ("columns", "given", "reason"),
    [(None, "", NO_NAMES), (None, "it is skipped", "it is skipped"), ((STATUS,), "it is skipped", "it is skipped")],
)
def test_a_table_that_cannot_be_read_has_one_unreadable_row_an_event(
    kind: int, op: str, columns: tuple[Column, ...] | None, given: str, reason: str
) -> None:
    target = TableDecoder(
        TableMap("shop", "claims", columns, ()), CAPTURED["claims"], CHARSETS, strict=True, unreadable=given
    )
    assert target.unreadable == reason
    assert target.row_end is None
    assert changes(target, event(kind, 3, b"whatever")) == (
        [UnreadableRow("claims", op, None, None, None, None, False, FILE, POS, ROW, reason)],
        ROW + 1,
    )


# Rows events.


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("old", [True, False], ids=["version 1", "version 2"])
def test_every_row_of_an_event_is_a_change(explicit: bool, old: bool) -> None:
    first, second = '{"id":1,"user_id":7,"status":"open"}', '{"id":2,"user_id":8,"status":null}'
    images = claim(1, 7, b"open"), claim(2, 8, None)
    target = reader("claims", *CLAIMS)
    insert, update, delete = (
        (E.WRITE_ROWS_V1, E.UPDATE_ROWS_V1, E.DELETE_ROWS_V1) if old else (E.WRITE_ROWS, E.UPDATE_ROWS, E.DELETE_ROWS)
    )
    # Version 1 has no extra data; that of version 2 is stepped over, whatever it is.
    extra = b"" if old else b"\1\4\0"
    assert changes(target, event(insert, 3, *images, extra=extra, explicit=explicit)) == (
        [
            RowChange("claims", "c", None, first, None, None, 1, 7, POS, 3, explicit),
            RowChange("claims", "c", None, second, None, None, 2, 8, POS, 4, explicit),
        ],
        5,
    )
    assert changes(target, event(update, 3, *images, extra=extra, explicit=explicit)) == (
        [RowChange("claims", "u", first, second, 1, 7, 2, 8, POS, 3, explicit)],
        4,
    )
    assert changes(target, event(delete, 3, *images, extra=extra, explicit=explicit)) == (
        [
            RowChange("claims", "d", first, None, 1, 7, None, None, POS, 3, explicit),
            RowChange("claims", "d", second, None, 2, 8, None, None, POS, 4, explicit),
        ],
        5,
    )


def test_a_ref_may_be_null_and_an_id_may_not() -> None:
    target = reader("claims", *CLAIMS)
    assert changes(target, event(E.WRITE_ROWS, 3, claim(1, None, b""))) == (
        [RowChange("claims", "c", None, '{"id":1,"user_id":null,"status":""}', None, None, 1, None, POS, ROW)],
        ROW + 1,
    )
    with refused(UndecodableEvent, "shop.claims.id is NULL"):
        changes(target, event(E.WRITE_ROWS, 3, claim(None, 7, b"open")))


def test_an_event_has_as_many_columns_as_its_table() -> None:
    with refused(UndecodableEvent, "2 columns where the table map has 3"):
        changes(reader("claims", *CLAIMS), event(E.WRITE_ROWS, 2, claim(1, 7, b"open")))


def test_rows_that_end_behind_their_event_are_refused() -> None:
    with refused(UndecodableEvent, "the rows do not fill the event"):
        changes(reader("claims", *CLAIMS), event(E.WRITE_ROWS, 3, claim(1, 7, b"open")[:-1]))


@pytest.mark.parametrize(("captured", "shown"), [(True, "shop.claims.Status"), (False, None)])
def test_images_need_the_captured_columns_alone(captured: bool, shown: str | None) -> None:
    """As they come where a session sets binlog_row_image to NOBLOB or MINIMAL."""
    last = column("Status", C.BLOB, 2, collation=45) if captured else column("note", C.BLOB, 2, collation=45)
    target = reader("claims", ID, USER_ID, last)
    rows = event(E.WRITE_ROWS, 3, b"\0" + i4(1) + i4(7), b"\2" + i4(2), before=b"\3")
    if shown is None:
        assert changes(target, rows) == (
            [
                RowChange("claims", "c", None, '{"id":1,"user_id":7}', None, None, 1, 7, POS, 3),
                RowChange("claims", "c", None, '{"id":2,"user_id":null}', None, None, 2, None, POS, 4),
            ],
            5,
        )
        return
    sentence = f"{shown} is missing from a row image; some session writes with another binlog_row_image than FULL, set it back to FULL"  # noqa: E501
    with refused(UndecodableEvent, sentence):
        changes(target, rows)


def test_null_bits_count_the_columns_that_are_in_the_image() -> None:
    """Ten columns, of which the first and the ninth are left out: the tenth is the eighth bit."""
    notes = [column(f"note{n}", C.TINY) for n in range(7)]
    target = reader("claims", column("lost", C.LONG), ID, *notes, USER_ID)
    present = bytes((0b1111_1110, 0b0000_0010))
    row = b"\x80" + i4(1) + bytes(6)
    assert changes(target, event(E.WRITE_ROWS, 10, row, row, before=present)) == (
        [RowChange("claims", "c", None, '{"id":1,"user_id":null}', None, None, 1, None, POS, 3 + n) for n in (0, 1)],
        5,
    )
    # With all ten the bitmap has two bytes, and the bits beyond the tenth say nothing.
    whole = b"\x01\xfc" + i4(1) + bytes(7) + i4(7)
    text = '{"id":1,"user_id":7}'
    for rows in (event(E.DELETE_ROWS, 10, whole), event(E.DELETE_ROWS, 10, whole, before=b"\xff\xff")):
        assert changes(target, rows)[0] == [RowChange("claims", "d", text, None, 1, 7, None, None, POS, ROW)]
    whole = b"\x01\x02" + i4(1) + bytes(7)
    text = '{"id":1,"user_id":null}'
    assert changes(target, event(E.DELETE_ROWS, 10, whole))[0] == [
        RowChange("claims", "d", text, None, 1, None, None, None, POS, ROW)
    ]


@pytest.mark.parametrize("lost", range(16))
def test_images_are_read_whichever_other_column_is_left_out_or_null(lost: int) -> None:
    notes = [column(f"note{n}", C.TINY) for n in range(16)]
    target = reader("claims", *notes, ID, USER_ID)
    present = ((1 << 18) - 1 ^ 1 << lost).to_bytes(3, "little")
    rows = [(1 << null).to_bytes(3, "little") + bytes(range(100, 114)) + i4(1) + i4(7) for null in range(15)]
    text = '{"id":1,"user_id":7}'
    assert changes(target, event(E.WRITE_ROWS, 18, *rows, before=present)) == (
        [RowChange("claims", "c", None, text, None, None, 1, 7, POS, ROW + n) for n in range(15)],
        ROW + 15,
    )


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("documents", [1, 8, 9])
def test_partial_updates_of_json_say_first_which_values_are_partial(partial: bool, documents: int) -> None:
    """One bit for each JSON column of the table, where the options say that there are any."""
    target = reader("users", ID, *[column(f"doc{n}", C.JSON, 4) for n in range(documents)])
    nulls = bytes((documents + 8) // 8)
    values = b"".join(b"\3\0\0\0" + bytes((n, 0xAA, 0xFF)) for n in range(documents))
    old, new = nulls + i4(1) + values, nulls + i4(2) + values
    options = b"\1" + b"\xff" * ((documents + 7) // 8) if partial else b"\0"
    update = event(E.PARTIAL_UPDATE_ROWS, documents + 1, old + options + new, new + options + old)
    expected = [
        RowChange("users", "u", '{"id":1}', '{"id":2}', 1, 1, 2, 2, POS, 3),
        RowChange("users", "u", '{"id":2}', '{"id":1}', 2, 2, 1, 1, POS, 4),
    ]
    assert changes(target, update) == readable(target, update) == (expected, 5)
    assert target.usual == {}


# What is remembered of a table.


@pytest.mark.parametrize("kind", [E.WRITE_ROWS, E.DELETE_ROWS, E.UPDATE_ROWS, E.UPDATE_ROWS_V1])
def test_how_an_event_of_whole_images_starts_is_remembered(kind: int) -> None:
    target = reader("users", *USERS)
    start = b"\2\3" + (b"\3" if kind in (E.UPDATE_ROWS, E.UPDATE_ROWS_V1) else b"")
    start = start if kind == E.UPDATE_ROWS_V1 else b"\4\0\7\7" + start
    changes(target, event(kind, 2, user(1, 2), user(1, 3), extra=b"\7\7"))
    assert target.usual == {kind: (start, "users", 1, target.images)}
    assert target.usual[kind][3] is target.images


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [(E.UPDATE_ROWS, b"\3", b"\7"), (E.UPDATE_ROWS, b"\7", b"\3"), (E.PARTIAL_UPDATE_ROWS, b"\7", b"\7")],
)
def test_how_an_event_of_other_images_starts_is_not_remembered(kind: int, before: bytes, after: bytes) -> None:
    target = reader("users", *USERS, NOTE)
    old, new = (user(1, n) + (b"\5" if shown == b"\7" else b"") for n, shown in ((2, before), (3, after)))
    options = b"\0" if kind == E.PARTIAL_UPDATE_ROWS else b""
    assert changes(target, event(kind, 3, old, options, new, before=before, after=after))[0] == [
        RowChange(
            "users",
            "u",
            '{"id":1,"current_signature_file_id":2}',
            '{"id":1,"current_signature_file_id":3}',
            *(1, 1, 1, 1),
            POS,
            ROW,
        )
    ]
    assert target.usual == {}


def test_the_functions_of_a_table_are_written_once_and_forgotten_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.binlog.rows._IMAGES_KEPT", 4)
    target = reader("users", ID, *[column(f"note{n}", C.TINY) for n in range(7)])
    kept = [target.images[bytes((2 * n,))] for n in range(4)]
    assert [target.images[bytes((2 * n,))] for n in range(4)] == kept
    one_more = target.images[bytes((8,))]
    assert list(target.images) == [bytes((8,))]
    assert target.images[bytes((8,))] is one_more
    assert target.images[b"\0"] is not kept[0]


def test_the_functions_for_images_that_lack_columns_are_written_once_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumer.binlog.rows._IMAGES_KEPT", 4)
    target = reader("users", ID, *[column(f"note{n}", C.TINY) for n in range(7)])
    row = i4(1) + bytes(6)
    for n in (0, 0, 1, 2, 3, 4, 5):
        notes = bytes((2 * n,))
        shown = event(E.WRITE_ROWS, 8, notes + row[: 10 - n.bit_count()], before=b"\x7f")
        assert len(changes(target, shown)[0]) == 1
    found = target._partial.cache_info()
    assert (found.misses, found.currsize) == (6, 4)


def test_the_functions_of_unreadable_rows_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.binlog.rows._IMAGES_KEPT", 4)
    target = reader("users", ID, *[column(f"note{n}", C.TINY) for n in range(7)])
    for n in range(9):
        nulls = bytes((2 * n,))
        row = i4(n) + bytes(7 - n.bit_count())
        assert target.keys(b"\xff", nulls, row, 0) == ("{}", n, n, len(row))
        assert target._keys_of.cache_info().currsize == min(n + 1, 4)


def test_a_generated_function_says_what_table_it_reads() -> None:
    assert reader("users", *USERS).images[b"\0"].__code__.co_filename == "<image of shop.users>"


# System-versioned tables of MariaDB.


def versioned_user(id_: int, row_end: bytes) -> bytes:
    """An image of `users (id, row_start, row_end)`."""
    return b"\0" + i4(id_) + MOMENT + row_end


def versioned() -> TableDecoder:
    """`users` with system versioning: MariaDB adds `row_end` to the primary key."""
    return reader("users", ID, ROW_START, ROW_END, primary_key=(0, 2))


@pytest.mark.parametrize("live", LIVE, ids=["2038", "2106"])
def test_the_history_of_a_versioned_table_is_no_row(live: bytes) -> None:
    target = versioned()
    assert target.row_end == 2
    now, then = versioned_user(1, live), versioned_user(2, MOMENT)
    text = '{"id":1}'
    assert changes(target, event(E.WRITE_ROWS, 3, then, now)) == (
        [RowChange("users", "c", None, text, None, None, 1, 1, POS, 4)],
        5,
    )
    assert changes(target, event(E.DELETE_ROWS, 3, now, then, now, explicit=True)) == (
        [RowChange("users", "d", text, None, 1, 1, None, None, POS, row, True) for row in (3, 5)],
        6,
    )
    update = event(E.UPDATE_ROWS, 3, now, now, now, then, then, now, then, then, now, then, explicit=True)
    expected = [
        RowChange("users", "u", text, text, 1, 1, 1, 1, POS, 3, True),
        RowChange("users", "d", text, None, 1, 1, None, None, POS, 4, True),
        RowChange("users", "c", None, text, None, None, 1, 1, POS, 5, True),
        RowChange("users", "d", text, None, 1, 1, None, None, POS, 7, True),
    ]
    assert changes(target, update) == readable(target, update) == (expected, 8)
    assert target.usual == {}


@pytest.mark.parametrize(
    ("columns", "primary_key", "given", "number"),
    [
        ((ID, ROW_START, ROW_END), (0, 2), "", 2),
        ((ID, column("ROW_START", C.TIMESTAMP2, 6), column("Row_End", C.TIMESTAMP2, 6)), (0, 2), "", 2),
        ((ID, ROW_END), (0, 1), "", None),  # a column of the company's own, as are the next three
        ((ID, ROW_START, ROW_END), (0,), "", None),
        ((ID, ROW_START, column("row_end", C.DATETIME2, 6)), (0, 2), "", None),
        ((ID, ROW_START, column("row_end", C.TIMESTAMP2, 3)), (0, 2), "", None),
        ((ID, column("Valid_To", C.TIMESTAMP2, 6)), (0,), "valid_TO", 1),
        ((ID, column("valid_to", C.TIMESTAMP2, 3)), (0,), "valid_to", None),
        ((ID, ROW_START, ROW_END), (0, 2), "valid_to", None),
        ((ID,), (0,), "", None),
    ],
)
def test_which_column_says_until_when_a_row_is_valid(
    columns: tuple[Column, ...], primary_key: tuple[int, ...], given: str, number: int | None
) -> None:
    target = reader("users", *columns, primary_key=primary_key, row_end=given)
    assert target.row_end == number
    sizes = {(C.TIMESTAMP2, 6): 7, (C.TIMESTAMP2, 3): 6, (C.DATETIME2, 6): 8}
    row = b"\0" + i4(1) + bytes(sum(sizes[one.type, one.length] for one in columns[1:]))
    found = [] if number else [RowChange("users", "c", None, '{"id":1}', None, None, 1, 1, POS, ROW)]
    assert changes(target, event(E.WRITE_ROWS, len(columns), row)) == (found, ROW + 1)


def test_images_of_a_versioned_table_need_the_column_that_says_until_when() -> None:
    sentence = (
        "shop.users.row_end is missing from a row image; some session writes with another binlog_row_image than "
        "FULL, set it back to FULL"
    )
    with refused(UndecodableEvent, sentence):
        changes(versioned(), event(E.WRITE_ROWS, 3, b"\0" + i4(1) + MOMENT, before=b"\3"))
