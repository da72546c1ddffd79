"""What MySQL holds of one customer at this moment, as the ledger takes it; for `consumer explain`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from consumer.capture import CAPTURED
from consumer.leads.model import LiveState, Table
from consumer.mysql.errors import NotThere, PreconditionFailed
from consumer.mysql.key_folding import Foldings, KeyFolding
from consumer.mysql.keys import BYTES, NUMBER, HeldColumn, KeyKind, as_text, columns_there
from consumer.mysql.session import Replica
from consumer.mysql.weights import UnsupportedCollation
from consumer.stream.envelope import ClaimRequirements, Claims, Users

_WANTED: Final[dict[Table, tuple[str, type[msgspec.Struct]]]] = {
    Table.USERS: ("FROM users t WHERE t.id = %s", Users),
    Table.CLAIMS: ("FROM claims t WHERE t.user_id = %s", Claims),
    Table.CLAIM_REQUIREMENTS: (
        "FROM claim_requirements t JOIN claims c ON c.id = t.claim_id WHERE c.user_id = %s",
        ClaimRequirements,
    ),
}
"""Where a user's rows are found, and the message's struct, whose fields are the columns that are read."""


class LiveLead(NamedTuple):
    """A live read and when it was made (µs on the server's clock)."""

    state: LiveState
    as_of: int


def read_lead(replica: Replica, user_id: int) -> LiveLead:
    """Reads one customer's rows by primary key and by foreign keys, all as they stood at one moment.

    Raises ConnectionLost, LoginRefused and PreconditionFailed.
    """
    try:
        return _read(replica, user_id)
    except NotThere:  # a column went between our looking at the tables and our asking
        return _read(replica, user_id)


def _read(replica: Replica, user_id: int) -> LiveLead:
    there = columns_there(replica.query)
    needed = [(table, column) for table, captured in CAPTURED.items() for column in captured.needed]
    missing = [".".join(place) for place in needed if place not in there]
    if missing:
        raise PreconditionFailed(
            f"no lead can be judged without {', '.join(missing)}, which we may not read or which are not there;"
            " consumer doctor says what to do"
        )
    foldings = Foldings(replica.query)
    as_of = replica.clock()
    try:
        with replica.snapshot():
            rows = {table: _rows(replica, table, user_id, there, foldings) for table in Table}
    except UnsupportedCollation as error:
        raise PreconditionFailed(f"ids of claims or requirements are texts: {error}") from error
    users = rows[Table.USERS]
    return LiveLead(LiveState(users[0] if users else None, rows[Table.CLAIMS], rows[Table.CLAIM_REQUIREMENTS]), as_of)


def _rows(
    replica: Replica, table: Table, user_id: int, there: Mapping[tuple[str, str], HeldColumn], foldings: Foldings
) -> list[Any]:
    where, shape = _WANTED[table]
    names = (field.name for field in msgspec.structs.fields(shape))
    columns = [name for name in names if name == "id" or (table.value, name) in there]
    known = {column: there.get((table.value, column), NUMBER) for column in columns}
    picked = ", ".join(
        as_text(f"t.{name}", column.kind) if column.kind in BYTES and name != "is_enabled" else f"t.{name}"
        for name, column in known.items()
    )
    folds = {
        name: foldings.of(column.collation, column.charset)
        for name, column in known.items()
        if name in ("id", "claim_id") and column.kind is KeyKind.TEXT and column.collation
    }
    found = replica.query(f"SELECT {picked} {where}", (user_id,))
    return [_shaped(shape, dict(zip(columns, row, strict=True)), folds) for row in found]


def _shaped(shape: type[msgspec.Struct], values: dict[str, object], folds: Mapping[str, KeyFolding]) -> Any:
    plain = {name: _plain(value) for name, value in values.items()}
    for name, fold in folds.items():
        plain[name] = fold(str(plain[name]))
    return msgspec.convert(plain, shape).row()  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    """A value as the stream's messages have it: BIT as a number, DECIMAL as its digits."""
    if isinstance(value, bytes):
        return int.from_bytes(value)
    return str(value) if isinstance(value, Decimal) else value
