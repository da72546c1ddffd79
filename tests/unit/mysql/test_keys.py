"""Ids of any type, in SQL."""

from __future__ import annotations

import pytest

from consumer.mysql.keys import HeldColumn, KeyKind, among, as_text, columns_there, kind_of


@pytest.mark.parametrize(
    ("data_type", "length", "kind"),
    [
        ("bigint", None, KeyKind.INTEGER),
        ("char", 36, KeyKind.TEXT),
        ("binary", 16, KeyKind.UUID_BYTES),
        ("binary", 8, KeyKind.BYTES),
        ("varbinary", 16, KeyKind.BYTES),
        ("uuid", None, KeyKind.UUID),
    ],
)
def test_the_type_and_its_length_say_what_a_column_of_ids_holds(
    data_type: str, length: int | None, kind: KeyKind
) -> None:
    assert kind_of(data_type, length) is kind


def test_columns_are_known_by_their_names_in_small_letters() -> None:
    rows = [("Claims", "ID", "BIGINT", None, "", ""), ("users", "x", "varchar", 9, "latin1_bin", "latin1")]
    assert columns_there(lambda *_: rows) == {
        ("claims", "id"): HeldColumn(KeyKind.INTEGER),
        ("users", "x"): HeldColumn(KeyKind.TEXT, "latin1_bin", "latin1"),
    }


def test_sixteen_bytes_are_read_with_the_dashes_of_a_uuid_and_others_as_their_digits() -> None:
    assert as_text("id", KeyKind.UUID_BYTES).count("'-'") == 4
    assert "HEX(id)" in as_text("id", KeyKind.BYTES)
    assert "HEX" not in as_text("id", KeyKind.TEXT)


def test_ids_are_looked_for_as_the_column_holds_them() -> None:
    def quoted(text: str) -> str:
        return f"'{text}'"

    assert among("id", KeyKind.INTEGER, ["7", 8], quoted) == "id IN (7, 8)"
    assert among("id", KeyKind.TEXT, ["a"], quoted) == "id IN ('a')"
    assert among("id", KeyKind.UUID, ["0a-1b"], quoted) == "id IN ('0a-1b')"
    assert among("id", KeyKind.UUID_BYTES, ["0a-1b"], quoted) == "id IN (UNHEX('0a1b'))"
    with pytest.raises(ValueError, match="invalid literal"):
        among("id", KeyKind.INTEGER, ["1 OR 1"], quoted)
