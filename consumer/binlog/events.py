"""What the binlog says, as lean tuples: the interface between the binlog and whoever reads it.

Every RowChange, UnreadableRow, Statement and SchemaChange stands between a Begin and a Commit, or a RowChange in a
Single. A source transaction that touches nothing captured produces no events at all; only the stream's position moves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Id = int | str
"""An id as the column has it: a number, a text in the one spelling that stands for all equal ones, or the dashed
hexadecimal digits of 16 bytes."""


class Begin(NamedTuple):
    """A source transaction starts. `pos` is where its GTID event starts in `file`; `ts_us` is its commit time.

    `gtid` is None for an anonymous transaction. MySQL gives the commit time in µs, MariaDB in whole seconds (as µs).
    `ts_us` is when it committed where it was made, `applied_us` when it did on the server that we read (0: at `ts_us`):
    a replica of MySQL's knows both.
    """

    gtid: str | None
    server_id: int
    file: str
    pos: int
    ts_us: int
    applied_us: int = 0


class RowChange(NamedTuple):
    """One row written ("c"), changed ("u") or removed ("d").

    `before` and `after` are finished JSON objects of the captured columns, as text. `*_id` is the row's `id`, `*_ref`
    what leads to its user: users.id, claims.user_id (integers), claim_requirements.claim_id (None where that is NULL).
    `pos` is where the rows event starts in its file, `row` the row's index in it. `explicit`: foreign keys did nothing
    to other tables that the binlog does not show; they were off for this change, or what they did is logged.
    """

    table: str
    op: str
    before: str | None
    after: str | None
    before_id: Id | None
    before_ref: Id | None
    after_id: Id | None
    after_ref: Id | None
    pos: int
    row: int
    explicit: bool = False


class UnreadableRow(NamedTuple):
    """One row of a captured table that cannot be read as a RowChange, though where it ends is certain.

    Ids and refs as there, and None where they cannot be read either, or are NULL. `ref_kept`: the row leads to whom it
    led before. `table` None: of which table it is cannot be said. `reason` says why, without the row's content.
    """

    table: str | None
    op: str
    before_id: Id | None
    before_ref: Id | None
    after_id: Id | None
    after_ref: Id | None
    ref_kept: bool
    file: str
    pos: int
    row: int
    reason: str


class Commit(NamedTuple):
    """The transaction begun last is committed; `file` and `pos` are where the next one starts."""

    file: str
    pos: int


class Single(NamedTuple):
    """A whole transaction of one row, the commonest of all: its Begin, its RowChange (less `row`, which is 0), and
    where its Commit ends. One flat tuple, because a nested one costs 0.2 µs more to make and take apart.
    """

    gtid: str | None
    server_id: int
    file: str
    pos: int
    ts_us: int
    table: str
    op: str
    before: str | None
    after: str | None
    before_id: Id | None
    before_ref: Id | None
    after_id: Id | None
    after_ref: Id | None
    row_pos: int
    end: int
    applied_us: int = 0
    explicit: bool = False

    @property
    def begin(self) -> Begin:
        """Its start."""
        return Begin(*self[:5], self.applied_us)

    @property
    def change(self) -> RowChange:
        """Its row."""
        return RowChange(*self[5:14], 0, self.explicit)

    def parts(self) -> tuple[Begin, RowChange, Commit]:
        """The same event by event."""
        return self.begin, self.change, Commit(self.file, self.end)


class Rollback(NamedTuple):
    """What came since the last Begin never happened (the server stopped while it wrote the transaction)."""

    file: str
    pos: int


class Statement(NamedTuple):
    """A change of a captured table logged as a statement: its rows are unknown.

    `table` is None where the statement could not be attributed to one captured table: any of them may have changed.
    `verb` is its first word in capitals (INSERT, UPDATE, DELETE, REPLACE, LOAD, …).
    """

    table: str | None
    verb: str


class SchemaChange(NamedTuple):
    """A captured table was created, altered, emptied, renamed (from or to its name) or dropped.

    `verb` is CREATE, ALTER, MODIFY (an ALTER of a column that leads are judged by: the values in it may have changed),
    TRUNCATE, RENAME or DROP; dropping the database drops each table.
    """

    table: str
    verb: str


ALTERED: Final = "MODIFY"
"""A column got another type: what rows hold is converted, and mostly means what it did before."""
_ROWS_NOT_LOGGED: Final = frozenset(("TRUNCATE", "DROP", "RENAME", ALTERED))
"""Schema changes that rows come, go or change with."""


def hides_rows(change: Statement | SchemaChange) -> bool:
    """Whether rows may have come, gone or changed with it of which the binlog says nothing."""
    return isinstance(change, Statement) or change.verb in _ROWS_NOT_LOGGED


class Heartbeat(NamedTuple):
    """The server has nothing new: everything up to `pos` in `file` was sent."""

    file: str
    pos: int


class Rotate(NamedTuple):
    """The step into another file, where the binlog goes on at `pos`."""

    file: str
    pos: int


Event = Begin | RowChange | UnreadableRow | Commit | Single | Rollback | Statement | SchemaChange | Heartbeat | Rotate
