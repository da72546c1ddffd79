"""Every column type, standing anywhere among the captured columns, and every type a captured column may have.

The tables are random and so are their rows; what is left after replaying the stream must equal what SELECT gives.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.integration.binlog.source import Source, replayed

Value = Callable[[random.Random], str]


def _text(longest: int) -> Value:
    return lambda dice: (
        "'" + "".join(dice.choices("aZ0 \\'\"ä€".replace("\\", "").replace("'", ""), k=dice.randint(0, longest))) + "'"
    )


def _hex(longest: int) -> Value:
    return lambda dice: "X'" + dice.randbytes(dice.randint(0, longest)).hex() + "'"


def number_between(low: int, high: int) -> Value:
    return lambda dice: str(dice.choice([low, high, 0, dice.randint(low, high)]))


def _moment(digits: int) -> Value:
    def value(dice: random.Random) -> str:
        moment = datetime(1971, 1, 1) + timedelta(microseconds=dice.randrange(60 * 366 * 86_400 * 10**6))
        return f"'{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond:06d}'"

    return value


INTEGERS: dict[str, tuple[int, int]] = {
    "TINYINT": (-128, 127),
    "TINYINT UNSIGNED": (0, 255),
    "SMALLINT": (-32768, 32767),
    "SMALLINT UNSIGNED": (0, 65535),
    "MEDIUMINT": (-(2**23), 2**23 - 1),
    "MEDIUMINT UNSIGNED": (0, 2**24 - 1),
    "INT": (-(2**31), 2**31 - 1),
    "INT UNSIGNED": (0, 2**32 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
    "BIGINT UNSIGNED": (0, 2**64 - 1),
}
TYPES: dict[str, Value] = {
    **{name: number_between(*bounds) for name, bounds in INTEGERS.items()},
    "INT(5) UNSIGNED ZEROFILL": number_between(0, 99999),
    "BOOLEAN": number_between(0, 1),
    "YEAR": number_between(1901, 2155),
    "FLOAT": lambda dice: repr(dice.uniform(-1e30, 1e30)),
    "FLOAT UNSIGNED": lambda dice: repr(dice.uniform(0, 1e6)),
    "DOUBLE": lambda dice: repr(dice.uniform(-1e300, 1e300)),
    "DECIMAL(1,0)": number_between(-9, 9),
    "DECIMAL(10,2) UNSIGNED": lambda dice: f"{dice.randint(0, 10**10 - 1) / 100:.2f}",
    "DECIMAL(65,30)": lambda dice: f"{dice.randint(-(10**35), 10**35)}.{dice.randint(0, 10**29)}",
    "DECIMAL(9,9)": lambda dice: f"0.{dice.randint(0, 10**9 - 1):09d}",
    "DECIMAL(18,9)": lambda dice: f"{dice.randint(-(10**9) + 1, 10**9 - 1)}.5",
    **{f"BIT({bits})": number_between(0, 2**bits - 1) for bits in (1, 2, 8, 9, 31, 64)},
    "DATE": lambda dice: f"'{date(1000, 1, 1) + timedelta(days=dice.randrange(3_000_000))}'",
    **{
        f"TIME{digits}": lambda dice: f"'{dice.randint(-838, 837)}:{dice.randint(0, 59)}:{dice.randint(0, 59)}.123456'"
        for digits in ("", *(f"({n})" for n in range(7)))
    },
    **{f"DATETIME({digits})": _moment(digits) for digits in range(7)},
    **{f"TIMESTAMP({digits}) NULL": _moment(digits) for digits in range(7)},
    **{f"CHAR({n})": _text(n) for n in (1, 63, 64, 255)},
    "CHAR(0)": lambda dice: "''",
    "CHAR(255) CHARACTER SET latin1": _text(200),
    "CHAR(50) CHARACTER SET utf16": _text(50),
    "BINARY(1)": _hex(1),
    "BINARY(16)": _hex(16),
    "BINARY(255)": _hex(255),
    **{f"VARCHAR({n})": _text(min(n, 300)) for n in (0, 1, 63, 64, 255, 300)},
    "VARCHAR(255) CHARACTER SET latin1": _text(255),
    "VARCHAR(256) CHARACTER SET latin1": _text(256),
    "VARCHAR(100) CHARACTER SET utf32": _text(100),
    "VARBINARY(255)": _hex(255),
    "VARBINARY(256)": _hex(256),
    "TINYTEXT": _text(50),
    "TEXT": _text(300),
    "MEDIUMTEXT": _text(300),
    "LONGTEXT": _text(300),
    "TINYBLOB": _hex(255),
    "BLOB": _hex(1000),
    "MEDIUMBLOB": _hex(70_000),
    "LONGBLOB": _hex(300),
    "ENUM('a','b','ä')": lambda dice: dice.choice(["'a'", "'b'", "'ä'"]),
    "ENUM(" + ",".join(f"'m{n}'" for n in range(300)) + ")": lambda dice: f"'m{dice.randrange(300)}'",
    "SET('a','b','c')": lambda dice: dice.choice(["'a,b'", "''", "'c'"]),
    "SET(" + ",".join(f"'m{n}'" for n in range(64)) + ")": lambda dice: f"'m{dice.randrange(64)},m63'",
    "JSON": lambda dice: "'" + json.dumps({"k": [dice.random(), None, "x" * dice.randint(0, 300)]}) + "'",
    "GEOMETRY": lambda dice: f"ST_GeomFromText('POINT({dice.randint(0, 9)} 1)')",
    "POINT": lambda dice: f"ST_GeomFromText('POINT({dice.randint(0, 9)} 2)')",
    "POLYGON": lambda dice: "ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))')",
}
MYSQL_TYPES: dict[str, Value] = {
    "VECTOR": lambda dice: f"TO_VECTOR('[{dice.randint(0, 9)},2,3]')",
    "VECTOR(5)": lambda dice: f"TO_VECTOR('[{dice.randint(0, 9)}]')",
}
MARIADB_TYPES: dict[str, Value] = {
    "UUID": lambda dice: "UUID()",
    "INET6": lambda dice: "'2001:db8::1'",
    "INET4": lambda dice: "'10.0.0.1'",
    "VARCHAR(200) COMPRESSED": _text(200),
    "VARCHAR(300) COMPRESSED CHARACTER SET latin1": _text(300),
    "BLOB COMPRESSED": _hex(400),
    "TEXT COMPRESSED": _text(300),
    "LONGTEXT COMPRESSED CHARACTER SET utf16": _text(300),
}
SIGNATURES: dict[str, Value] = {
    **{name: number_between(*bounds) for name, bounds in INTEGERS.items()},
    "CHAR(36)": lambda dice: f"'{dice.randbytes(18).hex()}'",
    "VARCHAR(36) CHARACTER SET ascii": lambda dice: f"'{dice.randbytes(18).hex()}'",
    "VARCHAR(100)": _text(100),
    "VARCHAR(300)": _text(300),
    "VARCHAR(30) CHARACTER SET latin1": _text(30),
    "CHAR(30) CHARACTER SET utf16": _text(30),
    "TEXT CHARACTER SET utf16": _text(30),
    "TINYTEXT": _text(30),
    "LONGTEXT CHARACTER SET latin1": _text(30),
    "BINARY(16)": _hex(16),
    "VARBINARY(16)": _hex(16),
    "BLOB": _hex(20),
    "ENUM('a','b','ä') CHARACTER SET latin1": lambda dice: dice.choice(["'a'", "'b'", "'ä'"]),
    "SET('a','b','ä') CHARACTER SET utf16": lambda dice: dice.choice(["'a'", "'b,ä'", "''"]),
    "DECIMAL(20,3)": lambda dice: f"{dice.randint(-(10**17) + 1, 10**17 - 1)}.{dice.randint(0, 999)}",
    "DECIMAL(3,3)": lambda dice: f"{dice.choice(['', '-'])}0.{dice.randint(0, 999):03d}",
    "DOUBLE": lambda dice: repr(dice.uniform(-1e300, 1e300)),
    "YEAR": number_between(1901, 2155),
    "DATE": lambda dice: "'2024-02-29'",
}
ENABLED: dict[str, Value] = {
    name: number_between(0, 1)
    for name in ("BIT(1)", "TINYINT(1)", "BOOLEAN", "TINYINT UNSIGNED", "INT", "BIT(8)", "BIGINT")
}
MOMENTS: dict[str, Value] = {
    **{f"DATETIME({digits})": _moment(digits) for digits in range(7)},
    **{f"TIMESTAMP({digits}) NULL": _moment(digits) for digits in range(7)},
    "DATETIME": _moment(0),
    "TIMESTAMP NULL": _moment(0),
    "DATE": lambda dice: "'2024-01-20'",
}
WORDS: dict[str, Value] = {
    "VARCHAR(50)": _text(50),
    "VARCHAR(500)": _text(300),
    "CHAR(20) CHARACTER SET latin1": _text(20),
    "ENUM('open','cancelled','ö')": lambda dice: dice.choice(["'open'", "'cancelled'", "'ö'"]),
    "TEXT": _text(300),
    "VARCHAR(40) CHARACTER SET utf16": _text(40),
    "TINYINT": number_between(-128, 127),
}


def expected(value: Any, kind: str) -> Any:
    """What the stream should say for a value of a captured column as PyMySQL gives it."""
    if value is None:
        return None
    if kind.startswith("BIT"):
        return int.from_bytes(value, "big")
    if isinstance(value, bytes):
        return str(UUID(bytes=value)) if kind == "BINARY(16)" else value.hex()
    if isinstance(value, datetime):
        digits = int(kind.split("(")[1][0]) if "(" in kind else 0
        fraction = f".{value.microsecond:06d}"[: digits + 1] if digits else ""
        return f"{value:%Y-%m-%dT%H:%M:%S}{fraction}{'Z' if kind.startswith('TIMESTAMP') else ''}"
    if isinstance(value, date | Decimal):
        return f"{value}"
    return value


class RandomTables:
    """The three tables with random columns of every type around the captured ones."""

    def __init__(self, source: Source, dice: random.Random, skipped: tuple[str, ...] = ()) -> None:
        """`skipped` are words; types that have one in their name are left out."""
        self._source = source
        self._dice = dice

        def among(types: dict[str, Value]) -> dict[str, Value]:
            return {name: value for name, value in types.items() if not any(word in name for word in skipped)}

        others = among({**TYPES, **(MARIADB_TYPES if source.is_mariadb else MYSQL_TYPES)})
        signatures, words = among(SIGNATURES), among(WORDS)
        self.captured = {
            "users": {
                "current_signature_file_id": dice.choice(list(signatures.items())),
                "is_enabled": dice.choice(list(ENABLED.items())),
                "created_at": dice.choice(list(MOMENTS.items())),
                "updated_at": dice.choice(list(MOMENTS.items())),
            },
            "claims": {
                "user_id": ("INT UNSIGNED", number_between(0, 2**32 - 1)),
                "status": dice.choice(list(words.items())),
                "created_at": dice.choice(list(MOMENTS.items())),
                "updated_at": dice.choice(list(MOMENTS.items())),
            },
            "claim_requirements": {
                "claim_id": dice.choice([(name, number_between(*bounds)) for name, bounds in INTEGERS.items()]),
                "type": dice.choice(list(words.items())),
                "status": dice.choice(list(words.items())),
                "claim_requirement_reason": dice.choice(list(words.items())),
                "created_at": dice.choice(list(MOMENTS.items())),
                "updated_at": dice.choice(list(MOMENTS.items())),
            },
        }
        self.columns: dict[str, dict[str, tuple[str, Value]]] = {}
        for table, captured in self.captured.items():
            names = dice.sample(sorted(others), dice.randint(0, 40))
            columns = list(captured.items()) + [(f"o{n}", (name, others[name])) for n, name in enumerate(names)]
            dice.shuffle(columns)
            columns.insert(dice.randint(0, len(columns)), ("id", ("INT UNSIGNED", number_between(0, 2**32 - 1))))
            self.columns[table] = dict(columns)
            source.run(
                f"CREATE TABLE {table} ("
                + ", ".join(f"{name} {kind}" for name, (kind, _) in columns)
                + ", PRIMARY KEY (id)) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"
            )

    def change(self, table: str) -> None:
        """One random INSERT, UPDATE or DELETE of a few rows."""
        dice = self._dice
        columns = self.columns[table]

        def value(name: str) -> str:
            return "NULL" if name != "id" and dice.random() < 0.2 else columns[name][1](dice)

        what = dice.random()
        if what < 0.5:
            rows = ["(" + ", ".join(value(name) for name in columns) + ")" for _ in range(dice.randint(1, 4))]
            self._source.run(f"REPLACE INTO {table} ({', '.join(columns)}) VALUES {', '.join(rows)}")
        elif what < 0.85:
            names = dice.sample([name for name in columns if name != "id"], min(3, len(columns) - 1))
            changed = ", ".join(f"{name} = {value(name)}" for name in names)
            self._source.run(f"UPDATE {table} SET {changed} ORDER BY RAND() LIMIT {dice.randint(1, 4)}")
        else:
            self._source.run(f"DELETE FROM {table} ORDER BY RAND() LIMIT 2")

    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What the tables hold, as the stream should have said it."""
        rows = {}
        for table, captured in self.captured.items():
            kinds = {"id": "INT", **{name: kind for name, (kind, _) in captured.items()}}
            for row in self._source.ask(f"SELECT {', '.join(kinds)} FROM {table}"):
                said = {name: expected(value, kind) for (name, kind), value in zip(kinds.items(), row, strict=True)}
                rows[table, row[0]] = said
        return rows


@pytest.mark.parametrize("seed", range(30))
def test_rows_of_random_tables_are_read_as_they_are(source: Source, seed: int) -> None:
    dice = random.Random(seed)
    source.run("SET sql_mode = ''")
    tables = RandomTables(source, dice)
    for _ in range(40):
        tables.change(dice.choice(list(tables.captured)))
    assert replayed(source.changes()) == tables.rows()
