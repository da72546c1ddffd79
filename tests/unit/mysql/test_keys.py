"""Ids of any type, in SQL."""

from __future__ import annotations

import pytest

from consumer.mysql.keys import KeyKind, among, as_text


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
