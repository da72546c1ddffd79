"""What the one question for the columns answers, and what is read of them."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.capture import CAPTURED, Declared
from consumer.mysql.errors import PreconditionFailed
from consumer.mysql.keys import KeyKind
from consumer.mysql.schema import COLUMNS, SCHEMA, HeldColumn, Schema, columns_of, columns_there, readable, schema_of
from consumer.settings import MySQLAddress

ADDRESS = MySQLAddress("mysql://us:secret@replica:3306/company")
NUMBER = Declared("bigint", "bigint unsigned")
WORD = Declared("varchar", "varchar(20)", "utf8mb4", "utf8mb4_unicode_ci")
MOMENT = Declared("datetime", "datetime")
WHOLE = {
    ("users", "id"): NUMBER,
    ("users", "current_signature_file_id"): WORD,
    ("users", "is_enabled"): Declared("tinyint", "tinyint(1)"),
    ("users", "created_at"): MOMENT,
    ("claims", "id"): Declared("binary", "binary(16)"),
    ("claims", "user_id"): NUMBER,
    ("claims", "status"): WORD,
    ("claim_requirements", "id"): NUMBER,
    ("claim_requirements", "claim_id"): Declared("binary", "binary(16)"),
    ("claim_requirements", "type"): NUMBER,
    ("claim_requirements", "status"): WORD,
}
"""A company that lacks what can be done without."""

ROWS: list[tuple[Any, ...]] = [
    ("Users", "ID", "BIGINT", "bigint unsigned", None, None, "NO", None, "auto_increment"),
    ("users", "is_enabled", "enum", "enum('0','1')", "latin1", "latin1_bin", "YES", "'1'", "DEFAULT_GENERATED"),
    ("claims", "id", "binary", "binary(16)", None, None, "NO", None, ""),
]


def answers(sql: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
    assert arguments == ()
    if sql == COLUMNS:
        return ROWS
    assert sql == SCHEMA
    return [*ROWS, ("users", "id", *[None] * 7), ("users", None, *[None] * 7)]


def test_columns_and_indexes_come_with_one_question() -> None:
    found = schema_of(answers)
    assert found.columns == columns_of(answers)
    assert found.columns["users", "id"] == Declared("bigint", "bigint unsigned", "", "", False, None, "auto_increment")
    assert found.columns["users", "is_enabled"] == Declared(
        "enum", "enum('0','1')", "latin1", "latin1_bin", True, "'1'", "default_generated"
    )
    assert found.indexed == {("users", "id")}
    assert columns_there(answers) == {
        ("users", "id"): HeldColumn(KeyKind.INTEGER),
        ("users", "is_enabled"): HeldColumn(KeyKind.TEXT, "latin1_bin", "latin1"),
        ("claims", "id"): HeldColumn(KeyKind.UUID_BYTES),
    }


def test_both_texts_are_limited_by_a_hint_after_their_first_word() -> None:
    assert COLUMNS.lstrip().startswith("SELECT ")
    assert SCHEMA.lstrip().startswith("SELECT ")


def test_a_company_without_what_can_be_done_without_is_read() -> None:
    assert readable(WHOLE, ADDRESS) == WHOLE
    schema = Schema(WHOLE)
    assert schema.words("claim_requirements", "claim_requirement_reason") == "NULL"
    assert schema.moment("claims", "created_at") == "NULL"
    assert (schema.enabled(), Schema({}).enabled()) == ("t.is_enabled + 0", "1")
    assert schema.has_numbers()
    assert schema.kind("claims", "id") is KeyKind.UUID_BYTES


def test_a_time_that_is_none_is_done_without() -> None:
    odd = WHOLE | {("users", "created_at"): WORD}
    assert readable(odd, ADDRESS) == {place: kind for place, kind in WHOLE.items() if place != ("users", "created_at")}


@pytest.mark.parametrize("table", CAPTURED)
def test_what_leads_are_judged_by_is_missed_with_its_name_and_its_grant(table: str) -> None:
    for column in CAPTURED[table].needed:
        left = {place: kind for place, kind in WHOLE.items() if place != (table, column)}
        said = (
            f"there is no table {table}"
            if column == "id"
            else f"company.{table} on replica:3306 has no column {column}"
        )
        with pytest.raises(PreconditionFailed, match=said) as missed:
            readable(left, ADDRESS)
        assert "run GRANT SELECT" in str(missed.value)


def test_a_switch_that_is_no_number_is_not_guessed() -> None:
    with pytest.raises(PreconditionFailed, match=r"company\.users\.is_enabled on replica:3306 is varchar\(20\), which"):
        readable(WHOLE | {("users", "is_enabled"): WORD}, ADDRESS)
