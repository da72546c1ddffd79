"""What the doctor says of the types of the company's columns, from facts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.capture import CAPTURED, Declared
from consumer.doctor.check import Check, State
from consumer.doctor.mysql import judge_quick
from consumer.doctor.mysql_facts import MySQLFacts
from consumer.doctor.mysql_types import judge
from tests.unit.doctor.test_mysql import COLUMNS, ID, READER, UNICODE, WELL, declared

UUID_TEXT = declared("char(36)", UNICODE, nullable=False)
BINARY = declared("binary(16)", nullable=False)
UUID = declared("uuid", nullable=False)


def having(place: str, column: Declared) -> MySQLFacts:
    """The company with one column of another type."""
    table, _, name = place.partition(".")
    return replace(WELL, columns={**COLUMNS, table: {**COLUMNS[table], name: column}})


def keyed(claim: Declared, requirement: Declared, ref: Declared) -> MySQLFacts:
    """The company with other keys."""
    facts = having("claims.id", claim)
    requirements = {**COLUMNS["claim_requirements"], "id": requirement, "claim_id": ref}
    return replace(facts, columns={**facts.columns, "claim_requirements": requirements})


def wrong(facts: MySQLFacts) -> list[Check]:
    return [check for check in judge(facts) if check.state is not State.OK]


def the_only(facts: MySQLFacts) -> Check:
    (check,) = wrong(facts)
    return check


def test_the_company_as_it_is_has_one_check_a_table() -> None:
    assert [(check.name, check.state) for check in judge(WELL)] == [
        (f"types of {table}", State.OK) for table in CAPTURED
    ]


INTEGERS = ("tinyint", "smallint unsigned", "mediumint(9)", "int", "bigint", "bigint(20) unsigned")
CHARACTERS = ("char(36)", "varchar(64)", "varchar(64) /*M!100301 COMPRESSED*/")
TEXTS = ("tinytext", "text", "mediumtext", "longtext")
ENUMS = ("enum('open','Cancelled')",)


@pytest.mark.parametrize(
    ("place", "types"),
    [
        ("users.id", INTEGERS),
        ("claims.user_id", (*INTEGERS, "int(5) unsigned zerofill")),
        ("users.current_signature_file_id", (*INTEGERS, "binary(16)", "varbinary(20)", "uuid")),
        ("users.is_enabled", (*INTEGERS, "tinyint(1)", "bit(1)", "bit(8)", "decimal(1,0)", "decimal(5,2) unsigned")),
        ("claims.status", INTEGERS),
        ("claim_requirements.id", (*INTEGERS, "binary(16)", "uuid")),
        ("users.created_at", ("timestamp", "timestamp(3)", "datetime", "datetime(6)")),
    ],
)
def test_types_without_a_charset_that_are_read(place: str, types: tuple[str, ...]) -> None:
    assert [kind for kind in types if wrong(having(place, declared(kind)))] == []


@pytest.mark.parametrize(
    ("place", "types"),
    [
        ("users.current_signature_file_id", (*CHARACTERS, *TEXTS)),
        ("users.is_enabled", ("enum('0','1')", "enum('1','0')")),
        ("claims.status", (*CHARACTERS, *TEXTS, *ENUMS)),
        ("claim_requirements.type", (*CHARACTERS, *TEXTS, *ENUMS)),
        ("claim_requirements.id", CHARACTERS),
        ("claim_requirements.claim_requirement_reason", (*CHARACTERS, *TEXTS, *ENUMS)),
    ],
)
@pytest.mark.parametrize("collation", [UNICODE, "utf8mb3_general_ci", "latin1_swedish_ci", "cp1251_bin"])
def test_types_with_a_charset_that_are_read(place: str, types: tuple[str, ...], collation: str) -> None:
    assert [kind for kind in types if wrong(having(place, declared(kind, collation)))] == []


@pytest.mark.parametrize(
    ("place", "column", "hint"),
    [
        ("users.id", declared("float", nullable=False), "ALTER TABLE company.users MODIFY id BIGINT NOT NULL"),
        (
            "users.id", UUID_TEXT,
            "give every customer an integer in id, as the call centre's user_id is one:"
            " ALTER TABLE company.users MODIFY id BIGINT NOT NULL once the values are integers",
        ),
        (
            "claims.user_id", BINARY,
            "give every customer an integer in user_id, as the call centre's user_id is one:"
            " ALTER TABLE company.claims MODIFY user_id BIGINT NOT NULL once the values are integers",
        ),
        (
            "claims.id", declared("decimal(20,0)", nullable=False, extra="auto_increment"),
            "ALTER TABLE company.claims MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
        ),
        (
            "claim_requirements.id", declared("int(5) unsigned zerofill", nullable=False),
            "ALTER TABLE company.claim_requirements MODIFY id int(5) unsigned NOT NULL",
        ),
        (
            "claim_requirements.id", declared("varbinary(16)", nullable=False),
            "ALTER TABLE company.claim_requirements MODIFY id BINARY(16) NOT NULL",
        ),
        (
            "claim_requirements.id", declared("text", UNICODE, nullable=False),
            "ALTER TABLE company.claim_requirements MODIFY id VARCHAR(255) NOT NULL",
        ),
        (
            "users.current_signature_file_id", declared("double"),
            "ALTER TABLE company.users MODIFY current_signature_file_id BIGINT NULL",
        ),
        (
            "users.current_signature_file_id", declared("json"),
            "ALTER TABLE company.users MODIFY current_signature_file_id VARCHAR(255) NULL",
        ),
        (
            "claims.status", declared("set('open','won''t')", UNICODE, nullable=False, default="won't"),
            "ALTER TABLE company.claims MODIFY status VARCHAR(255) NOT NULL DEFAULT 'won''t'",
        ),
        ("claims.status", declared("bit(1)"), "ALTER TABLE company.claims MODIFY status BIGINT NULL"),
        (
            "claim_requirements.claim_requirement_reason", declared("int", default="4"),
            "ALTER TABLE company.claim_requirements MODIFY claim_requirement_reason VARCHAR(255) NULL DEFAULT '4'",
        ),
    ],
)  # fmt: skip
def test_other_types_fail_with_what_makes_them_readable(place: str, column: Declared, hint: str) -> None:
    check = the_only(having(place, column))
    assert (check.name, check.state, check.hint) == (f"type of {place}", State.FAILED, hint)
    assert check.sentence.startswith(f"company.{place} is {column.column_type} and has to be ")


BESIDE = (
    "ALTER TABLE company.users RENAME COLUMN is_enabled TO is_enabled_word,"
    " ADD COLUMN is_enabled TINYINT(1) AS (is_enabled_word = 'Y') STORED, with your word for an enabled customer in"
    " place of 'Y', and have the application write is_enabled_word"
)


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        (
            declared("char(1)", UNICODE, nullable=False, default="Y"),
            f"ALTER TABLE company.users MODIFY is_enabled TINYINT(1) NOT NULL where it holds nothing but 0 and 1;"
            f" else {BESIDE}",
        ),
        (declared("enum('Y','N')", UNICODE), BESIDE),
        (declared("enum('0','1','2')", UNICODE), BESIDE),
        (declared("set('0','1')", UNICODE), BESIDE),
        (declared("json"), BESIDE),
        (
            declared("float", nullable=False, default="1"),
            "ALTER TABLE company.users MODIFY is_enabled TINYINT(1) NOT NULL DEFAULT '1'",
        ),
    ],
)
def test_a_switch_that_is_no_number_is_refused_and_never_guessed(column: Declared, hint: str) -> None:
    check = the_only(having("users.is_enabled", column))
    assert (check.state, check.hint) == (State.FAILED, hint)
    assert check.sentence == (
        f"company.users.is_enabled is {column.column_type} and has to be an integer type, BIT, DECIMAL or ENUM('0','1')"
    )


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("users.created_at", "the sweep new-users has no window without it"),
        ("claims.created_at", "what the reconciler repairs has the time of its read without it"),
        ("claims.updated_at", "the reader does not see without it which claims changed hands"),
        ("claim_requirements.created_at", "the sweep new-requirements has no window without it"),
    ],
)
def test_a_time_that_is_none_is_done_without_and_said_so(place: str, said: str) -> None:
    for kind in ("int", "varchar(20)", "date"):
        check = the_only(having(place, declared(kind, UNICODE if "char" in kind else "")))
        assert check.state is State.WARNING
        assert f"company.{place} is {kind}, which says no time; {said}" in check.sentence
    table, _, name = place.partition(".")
    assert check.hint == f"ALTER TABLE company.{table} MODIFY {name} TIMESTAMP NULL"


@pytest.mark.parametrize("charset", ["dec8", "geostd8", "swe7", "armscii8", "keybcs2"])
def test_a_charset_without_an_exact_codec_fails_where_it_is_judged_by_and_is_a_warning_elsewhere(charset: str) -> None:
    collation = f"{charset}_bin"
    for place in ("claims.status", "users.current_signature_file_id", "claim_requirements.id"):
        check = the_only(having(place, declared("varchar(9)", collation)))
        table = place.partition(".")[0]
        assert (check.state, check.hint) == (
            State.FAILED, f"ALTER TABLE company.{table} CONVERT TO CHARACTER SET utf8mb4",
        )  # fmt: skip
        assert f"is varchar(9) in charset {charset}, which cannot be turned into UTF-8 exactly" in check.sentence
    reason = having("claim_requirements.claim_requirement_reason", declared("text", collation))
    assert the_only(reason).state is State.WARNING
    mentioned = judge_quick(reason, READER, mentioned={"claim_requirement_reason"})
    assert [check.state for check in mentioned if check.name.startswith("type of")] == [State.FAILED]


def test_an_enum_of_bytes_is_given_a_charset_by_a_statement_that_changes_it() -> None:
    check = the_only(having("claims.status", declared("enum('a')")))
    assert check.hint == "ALTER TABLE company.claims MODIFY status enum('a') CHARACTER SET utf8mb4 NULL"


@pytest.mark.parametrize(
    ("claim", "ref"),
    [(ID, declared("int")), (UUID_TEXT, declared("varchar(36)", UNICODE)), (BINARY, BINARY), (UUID, UUID)],
)
def test_keys_of_one_kind_are_read(claim: Declared, ref: Declared) -> None:
    for requirement in (ID, UUID_TEXT, BINARY, UUID):
        assert wrong(keyed(claim, requirement, ref)) == []


@pytest.mark.parametrize(
    ("claim", "ref", "state", "said", "as_is"),
    [
        (
            UUID_TEXT, declared("bigint"), "failed", "is bigint and company.claims.id is char(36)",
            "char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL",
        ),
        (UUID, declared("binary(16)"), "failed", "is binary(16) and company.claims.id is uuid", "uuid NULL"),
        (ID, UUID_TEXT, "failed", "is char(36) and company.claims.id is bigint unsigned", "bigint unsigned NOT NULL"),
        (
            UUID_TEXT, declared("char(36)", "utf8mb4_general_ci"), "failed", "replica:3306 does not join them",
            "char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL",
        ),
        (
            UUID_TEXT, declared("char(36)", "utf8mb4_bin"), "failed", "replica:3306 joins them letter by letter",
            "char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL",
        ),
        (
            declared("char(36)", "utf8mb4_bin"), declared("char(36)", "utf8mb4_0900_bin"), "failed", "does not join",
            "char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",
        ),
        (
            UUID_TEXT, declared("char(36)", "latin1_bin"), "warning", "no index serves",
            "char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL",
        ),
    ],
)  # fmt: skip
def test_a_requirements_claim_is_spelled_as_the_claim_itself(
    claim: Declared, ref: Declared, state: str, said: str, as_is: str
) -> None:
    check = the_only(keyed(claim, ID, ref))
    assert (check.name, check.state.value) == ("type of claim_requirements.claim_id", state)
    assert said in check.sentence
    assert check.hint == f"ALTER TABLE company.claim_requirements MODIFY claim_id {as_is}"


def test_users_beyond_the_call_centres_bigint_are_named_as_refused() -> None:
    assert wrong(replace(WELL, highest_user=2**63 - 1)) == []
    check = the_only(replace(WELL, highest_user=2**63))
    assert (check.name, check.state) == ("type of users.id", State.WARNING)
    assert check.sentence == (
        "company.users has ids up to 9223372036854775808, and the call centre's bigint ends at 9223372036854775807:"
        " customers above it are refused, each as a dead letter"
    )


def test_columns_and_tables_that_are_not_seen_are_not_judged() -> None:
    assert [check.name for check in judge(replace(WELL, columns={"users": {"id": ID}}))] == ["types of users"]


def test_the_quick_checks_have_them_too() -> None:
    names = [check.name for check in judge_quick(having("users.id", declared("float")), READER)]
    assert "type of users.id" in names
