"""Every column type in every place, and every type that a captured column may have: none is left to chance.

`test_types` mixes them at random; here each has its turn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle, islice

import pytest

from tests.integration.binlog.source import Source, replayed
from tests.integration.binlog.test_types import (
    ENABLED,
    INTEGERS,
    MARIADB_TYPES,
    MOMENTS,
    MYSQL_TYPES,
    SIGNATURES,
    TYPES,
    WORDS,
    Value,
    expected,
    number_between,
)

ROWS = 5
Columns = dict[str, tuple[str, Value]]


def fill(source: Source, table: str, columns: Columns, dice: random.Random) -> None:
    """Creates a table and gives it rows, one of them all NULL but for its id; then changes and deletes some."""
    source.run(
        f"DROP TABLE IF EXISTS {table}",
        f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, (kind, _) in columns.items())}, PRIMARY KEY (id))"
        " CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC",
    )
    for number in range(1, ROWS + 1):
        values = [str(number) if name == "id" else value(dice) for name, (_, value) in columns.items()]
        source.run(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(values)})")
    others = [name for name in columns if name != "id"]
    changed = ", ".join(f"{name} = {columns[name][1](dice)}" for name in others)
    source.run(
        f"INSERT INTO {table} (id) VALUES ({ROWS + 1})",
        f"UPDATE {table} SET {changed} WHERE id > {ROWS - 1}",
        f"UPDATE {table} SET {', '.join(f'{name} = NULL' for name in others)} WHERE id = 2",
        f"DELETE FROM {table} WHERE id = 1",
    )


def told(source: Source, table: str, names: list[str], columns: Columns) -> None:
    """What the stream said of a table amounts to what it holds."""
    kinds = {name: columns[name][0] for name in names}
    held = {
        (table, row[0]): {name: expected(value, kind) for (name, kind), value in zip(kinds.items(), row, strict=True)}
        for row in source.ask(f"SELECT {', '.join(kinds)} FROM {table}")
    }
    assert len(held) == ROWS
    assert replayed(source.changes()) == held


def turned(*types: dict[str, Value]) -> list[Iterator[tuple[str, Value]]]:
    """Each over and over."""
    return [cycle(each.items()) for each in types]


def half(types: dict[str, Value], which: int) -> list[tuple[str, Value]]:
    """Every other type: InnoDB takes no row of all of them at once."""
    return list(islice(types.items(), which, None, 2))


@pytest.mark.parametrize("place", ["before", "between", "after"])
@pytest.mark.parametrize("which", [0, 1])
def test_every_type_is_stepped_over_wherever_it_stands(source: Source, place: str, which: int) -> None:
    known = {**TYPES, **(MARIADB_TYPES if source.is_mariadb else MYSQL_TYPES)}
    others: Columns = {f"o{number}": column for number, column in enumerate(half(known, which))}
    ids: Columns = {"id": ("BIGINT UNSIGNED", str)}
    ends: Columns = {
        "current_signature_file_id": ("VARCHAR(36)", SIGNATURES["CHAR(36)"]),
        "is_enabled": ("BIT(1)", ENABLED["BIT(1)"]),
        "updated_at": ("TIMESTAMP(3) NULL", MOMENTS["TIMESTAMP(3) NULL"]),
    }
    columns = {
        "before": {**others, **ids, **ends},
        "between": {**ids, **others, **ends},
        "after": {**ids, **ends, **others},
    }[place]
    source.run("SET sql_mode = ''")
    fill(source, "users", columns, random.Random(which))
    told(source, "users", [*ids, *ends], columns)


def test_every_type_that_a_captured_column_may_have_is_read(source: Source) -> None:
    dice = random.Random(8911)
    source.run("SET sql_mode = ''")
    turns = zip(SIGNATURES.items(), *turned(ENABLED, MOMENTS), cycle(INTEGERS), strict=False)
    for signature, enabled, moment, integer in turns:
        columns: Columns = {
            "created_at": moment,
            "current_signature_file_id": signature,
            "id": (integer, str),
            "is_enabled": enabled,
        }
        source.start = source.here()
        fill(source, "users", columns, dice)
        told(source, "users", ["id", *(name for name in columns if name != "id")], columns)


def test_every_type_of_a_status_and_of_a_claim_id_is_read(source: Source) -> None:
    dice = random.Random(8912)
    source.run("SET sql_mode = ''")
    turns = zip(INTEGERS.items(), *turned(WORDS, dict(reversed(WORDS.items())), MOMENTS), strict=False)
    for (integer, bounds), status, kind, moment in turns:
        columns: Columns = {
            "status": status,
            "claim_id": (integer, number_between(*bounds)),
            "claim_requirement_reason": ("TEXT CHARACTER SET utf16", WORDS["TEXT"]),
            "id": ("INT", str),
            "type": kind,
            "updated_at": moment,
        }
        source.start = source.here()
        fill(source, "claim_requirements", columns, dice)
        told(source, "claim_requirements", ["id", *(name for name in columns if name != "id")], columns)


def test_every_type_has_had_its_turn() -> None:
    assert len(SIGNATURES) >= len(MOMENTS) >= len(ENABLED)
    assert len(SIGNATURES) >= len(INTEGERS) >= len(WORDS)
