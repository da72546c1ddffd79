"""A server whose one collation ignores case and blanks at the end, and weighs `ch` as a letter of its own."""

from __future__ import annotations

import re
from typing import Any

CHARSET = "latin1"
COLLATION = "latin1_toy_ci"

_TEXT = re.compile(rf"SELECT (\d+) n, CONVERT\(x'([0-9a-f]*)' USING {CHARSET}\) c")
_NAMES = re.compile(r"\b(?:table|column|character|collation|data|is|extra)(?:_[a-z_]+)?\b")
"""Columns of information_schema.columns."""
_LETTERS = re.compile(b"ch|.", re.IGNORECASE | re.DOTALL)


class ToyServer:
    """What `consumer.mysql` asks of a server about texts, answered from Python; `columns` are those of its tables.

    One that `lies` calls no two texts equal, whatever their weights are.
    """

    def __init__(self, *columns: dict[str, str], lies: bool = False) -> None:
        self.columns = columns
        self.lies = lies
        self.asked: list[str] = []

    def query(self, statement: str, _arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """The rows that answer a statement."""
        self.asked.append(statement)
        if statement.startswith("SELECT VERSION()"):
            return [("9.4.0", 1, b"A", 1, 0)]
        if statement.startswith("SELECT * FROM (SELECT HEX(c)"):
            return [(f"{code:02X}", weight(bytes([code]))) for code in range(256)]
        if statement.startswith("SELECT HEX(c)"):
            return [(text.hex().upper(), weight(text)) for _, text in _texts(statement)]
        if statement.startswith("WITH h AS"):
            pairs = [(h, t, head, tail) for (h, head), (t, tail) in _pairs(statement)]
            return [(h, t, weight(a + b)) for h, t, a, b in pairs if weight(a + b) != weight(a) + weight(b)]
        if statement.startswith("WITH x AS"):
            equal = [(x, y) for (x, a), (y, b) in _pairs(statement) if weight(a).rstrip(b" ") == weight(b).rstrip(b" ")]
            return [] if self.lies else equal
        asked = _NAMES.findall(statement.partition("FROM")[0])
        return [tuple(column.get(name, "") for name in asked) for column in self.columns]


def column(table: str, name: str, *, text: bool) -> dict[str, str]:
    """A column as information_schema.columns has it: of the toy collation, or of numbers."""
    held = {"table_name": table, "column_name": name, "data_type": "bigint", "column_type": "bigint"}
    if text:
        held |= {"data_type": "varchar", "column_type": "varchar(20)"}
        held |= {"character_set_name": CHARSET, "collation_name": COLLATION}
    return held


def weight(text: bytes) -> bytes:
    """A byte for each letter."""
    return b"".join(b"\xff" if len(letter) == 2 else letter.upper() for letter in _LETTERS.findall(text))


def _texts(statement: str) -> list[tuple[int, bytes]]:
    return [(int(number), bytes.fromhex(digits)) for number, digits in _TEXT.findall(statement)]


def _pairs(statement: str) -> list[tuple[tuple[int, bytes], tuple[int, bytes]]]:
    first, second = re.split(r"\), [ty] AS \(", statement)
    return [(one, other) for one in _texts(first) for other in _texts(second)]
