"""Rows as the binlog and the topics have them, and how they are held against each other (pure).

Both sides are added up in parts of the binlog: a part whose sums are equal holds equal rows, whatever their order, and
only the others are looked at row by row. So memory is bounded by the parts, not by the rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from consumer.capture import CAPTURED

Value = int | str | None
Values = dict[str, Value]

PART_BYTES: Final = 1 << 20
"""Bytes of a binlog file that are added up together."""
_SUM: Final = (1 << 128) - 1

UNREAD: Final = "\0unread"
"""Stands for a value that the witness cannot read; it is held against nothing."""


class Spot(NamedTuple):
    """Where a row lies: its event's start in a binlog file, and its number there."""

    file: str
    pos: int
    row: int

    def __str__(self) -> str:
        return f"{self.file}:{self.pos} row {self.row}"


Part = tuple[str, int]
"""A binlog file, and which of its parts of PART_BYTES."""


def part_of(file: str, pos: int) -> Part:
    """The part in which an event lies."""
    return file, pos // PART_BYTES


class Row(NamedTuple):
    """One changed row of the binlog: `op` is c, u or d; the images hold captured columns as messages have them.

    `second` is when it was changed, by its event (s since 1970).
    """

    spot: Spot
    table: str
    op: str
    before: Values | None
    after: Values | None
    second: int


class Message(NamedTuple):
    """One message of a row, and where it lies: topic without prefix, partition and offset."""

    spot: Spot
    table: str
    op: str
    before: Values | None
    after: Values | None
    partition: int
    offset: int

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return f"{self.table}[{self.partition}] offset {self.offset}"


Image = tuple[str, Values | None, Values | None]
"""Operation, and the row before and after."""


def expected(row: Row) -> list[Image]:
    """What messages a row makes: one, or a delete and a create where its key or its owner changes."""
    before, after = row.before, row.after
    if before is not None and after is not None and _moves(row.table, before, after):
        return [("d", before, None), ("c", None, after)]
    return [(row.op, before, after)]


def _moves(table: str, before: Values, after: Values) -> bool:
    return any(before.get(name) != after.get(name) for name in ("id", CAPTURED[table].ref))


class Sums:
    """The sum of all rows of each part, in a number and a count; the key is one run's own."""

    def __init__(self, key: bytes | None = None) -> None:
        self.key = key or secrets.token_bytes(16)
        self.parts: dict[Part, list[int]] = {}

    def add(self, spot: Spot, table: str, image: Image) -> None:
        """Adds one message, or what one is expected to be."""
        self.add_number(part_of(spot.file, spot.pos), self.number(spot, table, image))

    def add_number(self, part: Part, number: int) -> None:
        """Adds what `number` made of a message."""
        found = self.parts.get(part)
        if found is None:
            self.parts[part] = [number, 1]
        else:
            found[0] = (found[0] + number) & _SUM
            found[1] += 1

    def add_all(self, other: Sums) -> None:
        """Adds all that was added to another with the same key."""
        for part, (number, count) in other.parts.items():
            found = self.parts.setdefault(part, [0, 0])
            found[0] = (found[0] + number) & _SUM
            found[1] += count

    def number(self, spot: Spot, table: str, image: Image) -> int:
        """A message as a number of 128 bits."""
        op, before, after = image
        text = msgspec.json.encode([*spot, table, op, before, after], order="deterministic")
        return int.from_bytes(blake2b(text, digest_size=16, key=self.key).digest(), "big")

    def differing(self, other: Sums) -> list[Part]:
        """The parts in which these are not the same."""
        return sorted(
            part for part in self.parts.keys() | other.parts.keys() if self.parts.get(part) != other.parts.get(part)
        )


class Difference(NamedTuple):
    """One thing that is not as it should be: `what` is missing, extra, twice, different or misplaced."""

    what: str
    table: str
    spot: Spot
    where: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" in {', '.join(self.columns)}" if self.columns else ""
        return f"{self.what}: {self.table} at {self.spot}{named} ({self.where})"


class Notice(NamedTuple):
    """A message that asks for leads to be read live in place of a row: of one user, or with None of all of a lane.

    `second` is the commit's (s since 1970).
    """

    second: int
    user_id: int | None
    reason: str


NOTICE_SECONDS: Final = 60
"""How much later than its row's event a transaction may have committed for its notice to stand for the row."""


@dataclass
class Compared:
    """What a look at rows and messages one by one found."""

    differences: list[Difference] = field(default_factory=list)
    noticed: int = 0
    """Rows without a message, in whose place a notice asks for their leads to be read live."""
    unread_values: int = 0
    """Values that the witness could not read, in rows that are equal otherwise."""


def compare(
    rows: dict[Spot, Row], messages: dict[Spot, list[Message]], notices: Sequence[Notice], optional: frozenset[Spot]
) -> Compared:
    """Holds rows and messages of the same spots against each other; rows that are `optional` may have messages."""
    found = Compared()
    for spot, row in rows.items():
        there = messages.get(spot, [])
        if there:
            found.differences.extend(_differences(row, there, found))
        elif _is_noticed(row, notices):
            found.noticed += 1
        else:
            found.differences.append(Difference("missing", row.table, spot, "no message in Kafka"))
    for spot, there in messages.items():
        if spot not in rows and spot not in optional:
            for message in there:
                where = f"{message.place}, and the binlog has no such row"
                found.differences.append(Difference("extra", message.table, spot, where))
    return found


def _differences(row: Row, messages: list[Message], found: Compared) -> Iterator[Difference]:
    wanted = expected(row)
    if len(wanted) == 2 and len(messages) == 1 and messages[0].op == "u" and _alike(row):
        wanted = [(row.op, row.before, row.after)]
    left = sorted(messages, key=lambda message: message.op != "d")
    for op, before, after in wanted:
        same = [message for message in left if message.op == op]
        if not same:
            yield Difference("missing", row.table, row.spot, f"no message with op {op} in Kafka")
            continue
        best = min(same, key=lambda message: len(_columns(message, row.table, before, after)))
        left.remove(best)
        columns = _columns(best, row.table, before, after)
        if columns:
            yield Difference("different", row.table, row.spot, best.place, columns)
        else:
            found.unread_values += _unread(before) + _unread(after)
    for message in left:
        what = "twice" if any(message.op == op for op, _, _ in wanted) else "extra"
        yield Difference(what, row.table, row.spot, message.place)


def _alike(row: Row) -> bool:
    """Whether what changed of the keys is text that the server's collation may take for the same."""
    before, after = row.before or {}, row.after or {}
    changed = [name for name in ("id", CAPTURED[row.table].ref) if before.get(name) != after.get(name)]
    return all(isinstance(before.get(name), str) and isinstance(after.get(name), str) for name in changed)


def _columns(message: Message, table: str, before: Values | None, after: Values | None) -> tuple[str, ...]:
    """The columns that a message has otherwise; `table` where that itself is another one."""
    if message.table != table:
        return ("table",)
    names: dict[str, None] = {}
    for image, wanted in ((message.before, before), (message.after, after)):
        if (image is None) != (wanted is None):
            names["before" if wanted is before else "after"] = None
            continue
        for name in (image or {}).keys() | (wanted or {}).keys():
            right = (wanted or {}).get(name)
            absent = image is not None and (name in image) != (name in (wanted or {}))
            if right != UNREAD and (absent or (image or {}).get(name) != right):
                names[name] = None
    return tuple(sorted(names))


def _unread(values: Values | None) -> int:
    return sum(value == UNREAD for value in (values or {}).values())


def _is_noticed(row: Row, notices: Sequence[Notice]) -> bool:
    ref = CAPTURED[row.table].ref
    owners = {image.get(ref) for image in (row.before, row.after) if image is not None}
    return any(
        row.second - 1 <= notice.second <= row.second + NOTICE_SECONDS
        and (notice.user_id is None or row.table == "claim_requirements" or notice.user_id in owners)
        for notice in notices
    )
