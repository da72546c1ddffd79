"""Rows as the binlog and the topics have them, and how they are held against each other (pure).

Both sides are added up in parts of the binlog: a part whose sums are equal holds equal rows, whatever their order, and
only the others are looked at row by row. So memory is bounded by the parts, not by the rows.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Generic, NamedTuple, TypeGuard, TypeVar

import msgspec

from consumer.capture import CAPTURED, OF_CLAIMS
from consumer.lane import lane_of

FilePosition = tuple[str, int]
"""A binlog file and a position in it."""

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

    `transaction` is where the transaction begins that made it count, `begun` where the one does that holds it: another
    one for XA, whose rows lie where they were committed.
    """

    spot: Spot
    table: str
    op: str
    before: Values | None
    after: Values | None
    transaction: FilePosition
    begun: FilePosition


class Mark(NamedTuple):
    """What becomes of the rows of the transaction at hand: `what` is savepoint or undo (to the one of that name),
    commit or rollback."""

    what: str
    name: str = ""


T = TypeVar("T")


class Undecided(Generic[T]):
    """What was gathered of the transaction at hand, apart for each savepoint, until it is known what of it counts."""

    def __init__(self, make: Callable[[], T], merge: Callable[[T, T], None]) -> None:
        """`merge` adds the second to the first."""
        self._make = make
        self._merge = merge
        self._levels: list[tuple[str, T]] = [("", make())]

    @property
    def newest(self) -> T:
        """Where the next row is gathered."""
        return self._levels[-1][1]

    def mark(self, mark: Mark) -> T | None:
        """Takes account of a mark; what counts where that is decided."""
        names = [name for name, _ in self._levels]
        at = names.index(mark.name) if mark.name in names else 0
        if mark.what == "savepoint":
            if at:  # its name is another's from now on
                _, whole = self._levels.pop(at)
                self._merge(self._levels[at - 1][1], whole)
            self._levels.append((mark.name, self._make()))
        elif mark.what == "undo":
            if at:
                self._levels[at:] = [(mark.name, self._make())]
        else:
            levels, self._levels = self._levels, [("", self._make())]
            if mark.what == "commit":
                (_, whole), *others = levels
                for _, more in others:
                    self._merge(whole, more)
                return whole
        return None


def counted(items: Sequence[Row | Mark]) -> list[Row]:
    """The rows of a transaction, without those that its savepoints undid."""
    gathered: Undecided[list[Row]] = Undecided(list, list.extend)
    for item in items:
        if isinstance(item, Mark):
            gathered.mark(item)
        else:
            gathered.newest.append(item)
    return gathered.mark(Mark("commit")) or []


class Message(NamedTuple):
    """One message of a row, and where it lies: topic without prefix, partition and offset.

    That one `is_misplaced` is reported where it is read, and nothing else is said of its being there.
    """

    spot: Spot
    table: str
    op: str
    before: Values | None
    after: Values | None
    partition: int
    offset: int
    is_misplaced: bool = False

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


def folded(row: Row, folds: Mapping[str, Callable[[str], str]]) -> Row:
    """A row with those of its columns in which texts are ids as messages have them: in one spelling for all equal."""
    if not folds:
        return row
    before, after = (
        values and values | {name: fold(text) for name, fold in folds.items() if _is_text(text := values.get(name))}
        for values in (row.before, row.after)
    )
    return row._replace(before=before, after=after)


def _is_text(value: Value) -> TypeGuard[str]:
    return isinstance(value, str) and value != UNREAD


def is_unchanged(image: Row | Message) -> bool:
    """Whether this is an update of nothing captured but `updated_at`. What cannot be read is taken for the same."""
    before, after = image.before, image.after
    return before is not None and after is not None and before | {"updated_at": None} == after | {"updated_at": None}


def _moves(table: str, before: Values, after: Values) -> bool:
    return any(before.get(name) != after.get(name) for name in ("id", CAPTURED[table].ref))


class Sums:
    """The sum of all rows of each part, in a number and a count; the key is one run's own."""

    def __init__(self, key: bytes | None = None) -> None:
        self.key = key or secrets.token_bytes(16)
        self.parts: dict[Part, list[int]] = {}

    def add(self, spot: Spot, table: str, image: Image) -> None:
        """Adds one message, or what one is expected to be, as a number of 128 bits."""
        op, before, after = image
        text = msgspec.json.encode([*spot, table, op, before, after], order="deterministic")
        digest = blake2b(text, digest_size=16, key=self.key).digest()
        self._add(part_of(spot.file, spot.pos), int.from_bytes(digest, "big"), 1)

    def add_all(self, other: Sums) -> None:
        """Adds all that was added to another with the same key."""
        for part, (number, count) in other.parts.items():
            self._add(part, number, count)

    def _add(self, part: Part, number: int, count: int) -> None:
        found = self.parts.setdefault(part, [0, 0])
        found[0] = (found[0] + number) & _SUM
        found[1] += count

    def differing(self, other: Sums) -> list[Part]:
        """The parts in which these are not the same."""
        return sorted(
            part for part in self.parts.keys() | other.parts.keys() if self.parts.get(part) != other.parts.get(part)
        )


class RowDifference(NamedTuple):
    """One thing that is not as it should be: `what` is missing, extra, twice, different or misplaced."""

    what: str
    table: str
    spot: Spot
    where: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" in {', '.join(self.columns)}" if self.columns else ""
        place = f" at {self.spot}" if self.spot.file else ""
        return f"{self.what}: {self.table}{place}{named} ({self.where})"


class Notice(NamedTuple):
    """A message that asks for leads to be read live in place of rows: of one user, or with None of all of its lane.

    `position` is where the transaction of these rows begins, or with a `row` the event of the one it stands for.
    """

    position: FilePosition
    row: int | None
    user_id: int | None
    lane: int


class Lost(NamedTuple):
    """What Kafka deleted of a lane's messages: of rows that lie before `position` (None: wherever they lie).

    Without a `table` it is notices, which may have stood for rows of any.
    """

    table: str
    lane: int
    position: FilePosition | None


def order(position: FilePosition) -> tuple[int, int]:
    """Positions of one server in their order."""
    number = re.search(r"(\d+)$", position[0])
    return int(number[1]) if number else 0, position[1]


@dataclass
class Compared:
    """What a look at rows and messages one by one found."""

    differences: list[RowDifference] = field(default_factory=list)
    noticed: int = 0
    """Messages that are not there, in whose place a notice asks for their leads to be read live."""
    unjudged: int = 0
    """Messages that are not there, and may have been: Kafka deleted what lay there, or a notice may stand for them."""
    unread_values: int = 0
    """Values that the witness could not read, in rows that are equal otherwise."""


class PartComparison:
    """Rows and messages of the same spots, held against each other."""

    def __init__(self, lanes: int, notices: Sequence[Notice] = (), lost: Sequence[Lost] = ()) -> None:
        self.found = Compared()
        self._lanes = lanes
        self._lost = lost
        self._exact: dict[Spot, list[Notice]] = {}
        self._of_transactions: dict[FilePosition, list[Notice]] = {}
        for notice in notices:
            if notice.row is None:
                self._of_transactions.setdefault(notice.position, []).append(notice)
            else:
                self._exact.setdefault(Spot(*notice.position, notice.row), []).append(notice)

    def compare(self, rows: dict[Spot, Row], messages: dict[Spot, list[Message]]) -> Compared:
        """Looks at all of them."""
        for spot, row in rows.items():
            self.found.differences.extend(self._of_row(row, messages.get(spot, [])))
        for spot, there in messages.items():
            if spot not in rows:
                for message in _well_placed(there):
                    where = f"{message.place}, and the binlog has no such row"
                    self.found.differences.append(RowDifference("extra", message.table, spot, where))
        return self.found

    def _of_row(self, row: Row, messages: list[Message]) -> Iterator[RowDifference]:
        found = self.found
        wanted = expected(row)
        if len(wanted) == 2 and len(messages) == 1 and messages[0].op == "u" and _alike(row):
            wanted = [(row.op, row.before, row.after)]
        left = sorted(messages, key=lambda message: message.op != "d")
        missing = []
        for image in wanted:
            op, before, after = image
            same = [message for message in left if message.op == op]
            if not same:
                if self._is_noticed(row, image):
                    found.noticed += 1
                elif self._may_be_lost(row, image):
                    found.unjudged += 1
                else:
                    missing.append(op)
                continue
            best = min(
                same, key=lambda message: (message.is_misplaced, len(_columns(message, row.table, before, after)))
            )
            left.remove(best)
            columns = _columns(best, row.table, before, after)
            if columns:
                yield RowDifference("different", row.table, row.spot, best.place, columns)
            else:
                found.unread_values += _unread(before) + _unread(after)
        if messages or len(missing) < len(wanted):
            for op in missing:
                yield RowDifference("missing", row.table, row.spot, f"no message with op {op} in Kafka")
        elif missing:
            yield RowDifference("missing", row.table, row.spot, "no message in Kafka")
        for message in _well_placed(left):
            what = "twice" if any(message.op == op for op, _, _ in wanted) else "extra"
            yield RowDifference(what, row.table, row.spot, message.place)

    def _lane(self, owner: Value) -> int | None:
        return lane_of(owner, self._lanes) if isinstance(owner, int) else None

    def _is_noticed(self, row: Row, image: Image) -> bool:
        """Whether a notice is about this very row, or about its owner or lane in its transaction."""
        owner = _owner(row.table, image)
        exact = self._exact.get(row.spot, [])
        for notice in exact:
            if row.table in OF_CLAIMS or notice.user_id == owner:
                exact.remove(notice)
                return True
        there = self._of_transactions.get(row.transaction, [])
        if owner is not None and any(notice.user_id == owner for notice in there):
            return True
        lanes = {notice.lane for notice in there if notice.user_id is None}
        return self._lane(owner) in lanes or len(lanes) == self._lanes

    def _may_be_lost(self, row: Row, image: Image) -> bool:
        if row.table in OF_CLAIMS and any(
            notice.user_id is not None for notice in self._of_transactions.get(row.transaction, [])
        ):
            return True  # it names a user, and nothing here says whose the requirement's claim was
        lane = self._lane(_owner(row.table, image))
        return any(
            lost.table in ("", row.table)
            and lane in (None, lost.lane)
            and (lost.position is None or order((row.spot.file, row.spot.pos)) <= order(lost.position))
            for lost in self._lost
        )


def _well_placed(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if not message.is_misplaced]


def _owner(table: str, image: Image) -> Value:
    """The user that one message is about; None where its row names none."""
    _, before, after = image
    values = after if after is not None else before
    return None if table in OF_CLAIMS or values is None else values.get(CAPTURED[table].ref)


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
