"""Rows that cannot be read, though it is certain where they end: what is said of them."""

from __future__ import annotations

import pytest

from consumer.binlog.constants import ColumnType, EventType
from consumer.binlog.errors import UndecodableEvent
from consumer.binlog.events import RowChange, UnreadableRow
from consumer.binlog.table_map import Column
from tests.unit.binlog.rowbuild import (
    CLAIMS,
    FILE,
    ID,
    LIVE,
    MOMENT,
    NOT_TEXT,
    NOTE,
    POS,
    ROW,
    ROW_END,
    ROW_START,
    STATUS,
    USER_ID,
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
from tests.unit.binlog.wirebuild import Log, Shape, decoded, decoder

C, E = ColumnType, EventType

BAD_TEXT = "a text in a row of claims is not written in its column's character set"


def unread(op: str, *keys: int | str | None, kept: bool = False, row: int = ROW, reason: str = BAD_TEXT,
           table: str = "claims") -> UnreadableRow:  # fmt: skip
    """An unreadable row with ids and refs before and after."""
    before_id, before_ref, after_id, after_ref = keys
    return UnreadableRow(table, op, before_id, before_ref, after_id, after_ref, kept, FILE, POS, row, reason)


def test_keys_are_read_of_a_row_with_a_text_that_cannot_be() -> None:
    target = reader("claims", *CLAIMS)
    good, bad = claim(2, 8, b"open"), claim(1, 7, NOT_TEXT)
    text = '{"id":2,"user_id":8,"status":"open"}'
    assert readable(target, event(E.WRITE_ROWS, 3, good, bad, good, explicit=True)) == (
        [
            RowChange("claims", "c", None, text, None, None, 2, 8, POS, 3, True),
            unread("c", None, None, 1, 7, row=4),
            RowChange("claims", "c", None, text, None, None, 2, 8, POS, 5, True),
        ],
        6,
    )
    assert readable(target, event(E.DELETE_ROWS, 3, bad, good, explicit=True)) == (
        [
            unread("d", 1, 7, None, None, row=3),
            RowChange("claims", "d", text, None, 2, 8, None, None, POS, 4, True),
        ],
        5,
    )
    assert readable(target, event(E.UPDATE_ROWS, 3, bad, good, good, bad, good, good, explicit=True)) == (
        [
            unread("u", 1, 7, 2, 8, row=3),
            unread("u", 2, 8, 1, 7, row=4),
            RowChange("claims", "u", text, text, 2, 8, 2, 8, POS, 5, True),
        ],
        6,
    )


@pytest.mark.parametrize(
    ("old", "new", "kept"), [(7, 7, True), (7, 8, False), (7, None, False), (None, 8, False), (None, None, False)]
)
def test_an_unreadable_row_that_leads_to_whom_it_led_is_kept(old: int | None, new: int | None, kept: bool) -> None:
    rows = event(E.UPDATE_ROWS, 3, claim(1, old, b"open"), claim(1, new, NOT_TEXT))
    assert readable(reader("claims", *CLAIMS), rows) == ([unread("u", 1, old, 1, new, kept=kept)], ROW + 1)


NOT_FULL = (
    "shop.claims.{} is missing from a row image; some session writes with another binlog_row_image than FULL, "
    "set it back to FULL"
)


@pytest.mark.parametrize(
    ("before", "after", "rows", "expected"),
    [
        # What MINIMAL writes: the key before, what has changed after.
        (b"\1", b"\4", b"\0" + i4(1) + b"\0" + short(b"done"), unread("u", 1, None, 1, None, kept=True)),
        (b"\1", b"\2", b"\0" + i4(1) + b"\0" + i4(8), unread("u", 1, None, 1, 8)),
        (b"\1", b"\1", b"\0" + i4(1) + b"\0" + i4(2), unread("u", 1, None, 2, None, kept=True)),
        (b"\1", b"\1", b"\0" + i4(1) + b"\1", unread("u", 1, None, 1, None, kept=True)),
        (b"\7", b"\2", claim(1, 7, b"open") + b"\0" + i4(7), unread("u", 1, 7, 1, 7, kept=True)),
        (b"\2", b"\7", b"\0" + i4(7) + claim(1, 7, b"open"), unread("u", None, 7, 1, 7, kept=True)),
    ],
)
def test_keys_are_read_of_images_that_lack_columns(
    before: bytes, after: bytes, rows: bytes, expected: UnreadableRow
) -> None:
    lacks = next(shown for shown in (before, after) if shown != b"\7")
    reason = NOT_FULL.format("id" if not lacks[0] & 1 else "user_id" if not lacks[0] & 2 else "status")
    assert readable(reader("claims", *CLAIMS), event(E.UPDATE_ROWS, 3, rows, before=before, after=after)) == (
        [expected._replace(reason=reason)],
        ROW + 1,
    )


@pytest.mark.parametrize("ref", [*range(18)])
def test_a_ref_is_found_wherever_its_bit_is(ref: int) -> None:
    notes = [column(f"note{n}", C.TINY) for n in range(17)]
    target = reader("claims", *notes[:ref], USER_ID, *notes[ref:], ID)
    alone = 1 << ref
    assert target.has_ref(alone.to_bytes(3, "little"))
    assert not target.has_ref((alone ^ 0xFFFFFF).to_bytes(3, "little"))


@pytest.mark.parametrize("lost", range(16))
def test_keys_are_read_whichever_other_column_is_left_out_or_null(lost: int) -> None:
    """Bits of what is present count the table's columns, NULL bits those of the image."""
    notes = [column(f"note{n}", C.TINY) for n in range(16)]
    target = reader("claims", *notes, ID, USER_ID, STATUS)
    present = ((1 << 19) - 1 ^ 1 << lost).to_bytes(3, "little")
    rows = [
        (1 << null).to_bytes(3, "little") + bytes(range(100, 114)) + i4(1) + i4(7) + short(NOT_TEXT)
        for null in range(15)
    ]
    assert readable(target, event(E.WRITE_ROWS, 19, *rows, before=present)) == (
        [unread("c", None, None, 1, 7, row=ROW + n) for n in range(15)],
        ROW + 15,
    )


@pytest.mark.parametrize(
    ("columns", "row", "keys", "reason"),
    [
        (
            (ID, USER_ID, column("Status", C.VARCHAR, 80, collation=99)),
            b"\0" + i4(1) + i4(7) + short(b"x"),
            (1, 7),
            "shop.claims.Status has collation 99, which is unknown",
        ),
        (
            (ID, USER_ID, column("Status", C.VARCHAR, 80, collation=3)),
            b"\0" + i4(1) + i4(7) + short(b"x"),
            (1, 7),
            "shop.claims.Status is written in dec8, which cannot be turned into UTF-8 exactly",
        ),
        (CLAIMS, b"\1" + i4(7) + short(b"x"), (None, 7), "shop.claims.id is NULL"),
        (CLAIMS, b"\2" + i4(1) + short(NOT_TEXT), (1, None), BAD_TEXT),
        (CLAIMS, b"\5" + i4(7), (None, 7), "shop.claims.id is NULL"),
        # A text that is not one in the id itself: then neither key is known.
        (
            (column("id", C.VARCHAR, 80, collation=45), USER_ID),
            b"\0" + short(NOT_TEXT) + i4(7),
            (None, None),
            BAD_TEXT,
        ),
        (
            (column("Id", C.VARCHAR, 80, collation=3), USER_ID),
            b"\0" + short(b"x") + i4(7),
            (None, 7),
            "shop.claims.Id is written in dec8, which cannot be turned into UTF-8 exactly",
        ),
        (
            (column("Id", C.VARCHAR, 80, collation=99), NOTE, USER_ID),
            b"\0" + short(b"x") + b"\5" + i4(7),
            (None, 7),
            "shop.claims.Id has collation 99, which is unknown",
        ),
    ],
)
def test_what_keys_can_be_read_are_and_the_reason_names_the_column(
    columns: tuple[Column, ...], row: bytes, keys: tuple[int | None, int | None], reason: str
) -> None:
    target = reader("claims", *columns)
    expected = [unread("c", None, None, *keys, row=number, reason=reason) for number in (3, 4)]
    assert readable(target, event(E.WRITE_ROWS, len(columns), row, row)) == (expected, 5)


def test_keys_of_an_unreadable_row_are_folded_as_those_of_others() -> None:
    target = reader("claims", column("id", C.VARCHAR, 80, collation=45), USER_ID, STATUS,
                    folds=lambda _: str.casefold)  # fmt: skip
    row = b"\0" + short(b"ABC") + i4(7) + short(NOT_TEXT)
    assert readable(target, event(E.DELETE_ROWS, 3, row))[0] == [unread("d", "abc", 7, None, None)]


def test_unreadable_history_is_no_row_either() -> None:
    """The keys of an image that is history, or absent, are not told: as in a RowChange."""
    target = reader("claims", *CLAIMS, ROW_START, ROW_END, primary_key=(0, 4))
    now = claim(1, 7, NOT_TEXT) + MOMENT + LIVE[0]
    then = claim(2, 8, NOT_TEXT) + MOMENT + MOMENT
    assert readable(target, event(E.WRITE_ROWS, 5, then, now)) == ([unread("c", None, None, 1, 7, row=4)], 5)
    assert readable(target, event(E.DELETE_ROWS, 5, then, now)) == ([unread("d", 1, 7, None, None, row=4)], 5)
    assert readable(target, event(E.UPDATE_ROWS, 5, now, now, now, then, then, now, then, then)) == (
        [
            unread("u", 1, 7, 1, 7, row=3, kept=True),
            unread("d", 1, 7, None, None, row=4),
            unread("c", None, None, 1, 7, row=5),
        ],
        7,
    )


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        # The last text ends behind its event, or the row is cut before its second column.
        (CLAIMS, event(E.WRITE_ROWS, 3, claim(1, 7, NOT_TEXT + b"x")[:-1])),
        (CLAIMS, event(E.WRITE_ROWS, 3, claim(1, 7, NOT_TEXT), claim(2, 8, b"")[:-3])),
        (CLAIMS, event(E.WRITE_ROWS, 2, claim(1, 7, NOT_TEXT))),
        (CLAIMS, event(E.DELETE_ROWS, 3, b"rest", before=b"\0")),
        (CLAIMS, event(E.UPDATE_ROWS, 3, b"rest", before=b"\0", after=b"\0")),
        ((ID, USER_ID, column("old", C.DECIMAL)), event(E.WRITE_ROWS, 3, b"\0" + i4(1) + i4(7) + b"1234")),
    ],
)
def test_nothing_is_known_where_it_is_not_certain_where_rows_end(columns: tuple[Column, ...], rows: object) -> None:
    target = reader("claims", *columns)
    assert readable(target, rows)[1] is None  # type: ignore[arg-type]


def test_an_empty_event_has_no_rows() -> None:
    target = reader("claims", *CLAIMS)
    assert changes(target, event(E.UPDATE_ROWS, 3)) == readable(target, event(E.UPDATE_ROWS, 3)) == ([], ROW)


def test_what_no_type_is_known_of_cannot_be_stepped_over() -> None:
    target = reader("users", ID, column("Old", C.DECIMAL))
    with refused(UndecodableEvent, "column Old has the type DECIMAL, whose size is unknown"):
        changes(target, event(E.WRITE_ROWS, 2, b"\0" + i4(1) + b"1"))
    assert changes(target, event(E.WRITE_ROWS, 2, b"\2" + i4(1)))[1] == ROW + 1  # NULL takes no room


def test_a_compressed_column_that_is_damaged_is_an_event_that_cannot_be_read() -> None:
    """And one that can be skipped: not an error of zlib's, which would end the reader wherever it starts again."""
    log = Log()
    log.file()
    log.mariadb_gtid(1)
    log.table_map([Shape("id", C.LONG), Shape("current_signature_file_id", C.BLOB_COMPRESSED, b"\2", 45)])
    place = ("binlog.000001", log.pos)
    log.insert(2, b"\0" + i4(1) + b"\5\0" + b"\x81\3\xff\xff\xff")
    log.xid()
    with pytest.raises(UndecodableEvent, match="a compressed column cannot be inflated") as caught:
        decoded(log, decoder(mariadb=True))
    assert caught.value.position == place
