"""What is judged of the types of the company's columns: can they be read exactly? Pure: facts in, checks out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Final

from consumer.capture import CAPTURED, CHARACTERS, MOMENTS, OF_CLAIMS, SWITCHES, Captured, Declared, Kind
from consumer.doctor.check import Check, State, judged
from consumer.doctor.mysql_facts import MySQLFacts
from consumer.mysql.charsets import decoder

SERVER: Final = "mysql"
END_OF_BIGINT: Final = 2**63
"""The first id that the call centre's `user_id` cannot hold."""

_NUMBERS: Final = frozenset({"float", "double", "decimal", "bit", "year"})
"""Types whose values an integer column takes over; those of text types only where each of them is a number."""
_WITHOUT: Final[Mapping[tuple[str, str], str]] = {
    ("users", "created_at"): "the sweep new-users has no window without it, reconciler verify finds the same",
    ("claim_requirements", "created_at"): (
        "the sweep new-requirements has no window without it, reconciler verify finds the same"
    ),
    ("claims", "updated_at"): "the reader does not see without it which claims changed hands behind its position",
}
_UNDATED: Final = "what the reconciler repairs has the time of its read without it"
"""What goes otherwise where a column that says a time does not."""

_check = partial(judged, SERVER)


def judge(facts: MySQLFacts, mentioned: Collection[str] = ()) -> Iterator[Check]:
    """One check for each table whose columns are all read, and one for each column that is not.

    `mentioned` are informative columns that the rules in force look at after all.
    """
    for table, captured in CAPTURED.items():
        seen = {name: column for name, column in facts.columns.get(table, {}).items() if name in captured.kinds}
        wrong = [
            check
            for name, column in seen.items()
            for check in _column(f"{facts.schema}.{table}", captured, name, column, mentioned)
        ]
        if table in OF_CLAIMS and not wrong:
            wrong = list(_claim_id(facts, table))
        if table == "users" and not wrong:
            wrong = list(_highest_user(facts))
        if seen and not wrong:
            yield _check(f"types of {table}", False, f"every captured column of {facts.schema}.{table} is read", "")
        yield from wrong


def _column(table: str, captured: Captured, name: str, column: Declared, mentioned: Collection[str]) -> Iterator[Check]:
    kinds, check = captured.kinds[name], f"type of {captured.table}.{name}"
    typed = f"{table}.{name} is {column.column_type}"
    if column.kind not in kinds:
        if kinds is MOMENTS:
            lacks = _WITHOUT.get((captured.table, name), _UNDATED)
            yield _check(check, State.WARNING, f"{typed}, which says no time; {lacks}", _moment(table, name, column))
            return
        yield _check(check, True, f"{typed} and has to be {_listed(kinds)}", _other_type(table, name, column, kinds))
    elif column.kind in CHARACTERS and decoder(column.charset) is None:
        spelled = f"{typed} in charset {column.charset or 'binary'}, which cannot be turned into UTF-8 exactly"
        hint = f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4"
        if column.charset in ("", "binary"):  # which CONVERT leaves as it is
            hint = _modify(table, name, f"{column.plain_type} CHARACTER SET utf8mb4", column)
        lenient = name in captured.informative and name not in mentioned
        if lenient:
            spelled += "; nobody judges by it, so what is not ASCII is taken as U+FFFD"
        yield _check(check, State.WARNING if lenient else State.FAILED, spelled, hint)


_IMPLIED: Final = {Kind.PADDED: Kind.INTEGER, Kind.DIGITS: Kind.ENUM, Kind.KEY_BYTES: Kind.BYTES}
"""Kinds that are named with another one."""


def _listed(kinds: tuple[Kind, ...]) -> str:
    *others, last = [kind for kind in kinds if _IMPLIED.get(kind) not in kinds]
    return f"{', '.join(others)} or {last}" if others else last


def _other_type(table: str, name: str, column: Declared, kinds: tuple[Kind, ...]) -> str:
    """What makes a column readable: a statement, and more where a statement alone is not enough."""
    if kinds is SWITCHES:
        return _switch(table, name, column)
    if Kind.WORD not in kinds and column.data_type not in _NUMBERS:
        return (
            f"give every customer an integer in {name}, as the call centre's user_id is one:"
            f" {_modify(table, name, 'BIGINT', column)} once the values are integers"
        )
    if column.kind is Kind.PADDED:
        return _modify(table, name, column.plain_type, column)
    if column.data_type in _NUMBERS and Kind.INTEGER in kinds:
        return _modify(table, name, "BIGINT", column)
    if column.kind is Kind.BYTES and Kind.KEY_BYTES in kinds:
        return _modify(table, name, "BINARY(16)", column)
    return _modify(table, name, "VARCHAR(255)", column)


def _switch(table: str, name: str, column: Declared) -> str:
    """For `is_enabled`: numbers stay what they are, and of words only the company knows which of them means yes.

    The column's name is fixed, so that words go on under another name, with a column beside them that says 0 or 1.
    """
    modify = _modify(table, name, "TINYINT(1)", column)
    if column.data_type in _NUMBERS or column.data_type in ("float", "double"):
        return modify
    word = f"{name}_word"
    beside = (
        f"ALTER TABLE {table} RENAME COLUMN {name} TO {word}, ADD COLUMN {name} TINYINT(1) AS ({word} = 'Y') STORED,"
        f" with your word for an enabled customer in place of 'Y', and have the application write {word}"
    )
    if column.kind in (Kind.WORD, Kind.TEXT):
        return f"{modify} where it holds nothing but 0 and 1; else {beside}"
    return beside


def _moment(table: str, name: str, column: Declared) -> str:
    if column.data_type == "date":
        return f"ALTER TABLE {table} MODIFY {name} TIMESTAMP NULL"
    return (
        f"ALTER TABLE {table} RENAME COLUMN {name} TO {name}_value, ADD COLUMN {name} TIMESTAMP NULL,"
        f" and have the application write {name}"
    )


def _modify(table: str, name: str, new_type: str, column: Declared) -> str:
    """The statement that changes a type alone: what else the column has it keeps."""
    default = column.default
    if default is not None and (new_type.startswith(("VARCHAR", "ENUM", "enum")) or default.lstrip("-").isdigit()):
        default = " DEFAULT '" + default.replace("\\", "\\\\").replace("'", "''") + "'"
    else:
        default = ""
    return (
        f"ALTER TABLE {table} MODIFY {name} {new_type} {'NULL' if column.nullable else 'NOT NULL'}{default}"
        f"{' AUTO_INCREMENT' if 'auto_increment' in column.extra else ''}"
    )


def _claim_id(facts: MySQLFacts, of_claims: str) -> Iterator[Check]:
    """What belongs to a claim has to name it by what a claim's `id` is: they are compared here, there and in MySQL."""
    claim = facts.columns.get("claims", {}).get("id")
    ref = facts.columns.get(of_claims, {}).get("claim_id")
    if claim is None or ref is None or claim.kind not in CAPTURED["claims"].kinds["id"]:
        return
    table = f"{facts.schema}.{of_claims}"
    typed = f"{table}.claim_id is {ref.column_type} and {facts.schema}.claims.id is {claim.column_type}"
    as_is = claim.plain_type
    if claim.charset:
        as_is += f" CHARACTER SET {claim.charset} COLLATE {claim.collation}"
    hint, name = _modify(table, "claim_id", as_is, ref), f"type of {of_claims}.claim_id"
    if ref.kind is not claim.kind:
        yield _check(name, True, f"{typed}; they have to be of one type", hint)
    elif ref.charset != claim.charset:
        typed = f"{table}.claim_id is written in {ref.charset} and {facts.schema}.claims.id in {claim.charset}"
        yield _check(name, State.WARNING, f"{typed}, so that no index serves where they are joined", hint)
    elif ref.collation != claim.collation:
        typed = f"{table}.claim_id has the collation {ref.collation} and {facts.schema}.claims.id {claim.collation}"
        is_mixed = ref.collation.endswith("_bin") != claim.collation.endswith("_bin")
        if is_mixed:  # then MySQL takes that one for both (manual, Collation Coercibility in Expressions)
            joined = f"{facts.place} joins them letter by letter, where we read each by its own"
        else:
            joined = f"{facts.place} does not join them"
        yield _check(name, True, f"{typed}, and {joined}", hint)


def _highest_user(facts: MySQLFacts) -> Iterator[Check]:
    highest = facts.highest_user
    if highest is not None and highest >= END_OF_BIGINT:
        yield _check(
            "type of users.id",
            State.WARNING,
            f"{facts.schema}.users has ids up to {highest}, and the call centre's bigint ends at {END_OF_BIGINT - 1}:"
            " customers above it are refused, each as a dead letter",
            f"give other ids to SELECT id FROM {facts.schema}.users WHERE id >= {END_OF_BIGINT}",  # noqa: S608 (a hint)
        )
