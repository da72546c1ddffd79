"""What MySQL holds of one customer at this moment, as the ledger takes it; for `consumer explain`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from consumer.binlog.connection import Replica
from consumer.binlog.errors import NotThere
from consumer.leads.model import LiveRow, LiveState, Table
from consumer.mysql.keys import BYTES, KeyKind, as_text, kind_of
from consumer.stream.envelope import ClaimRequirements, Claims, Users

COLUMNS: Final = (
    "SELECT table_name, column_name, data_type, character_octet_length FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name IN ('users', 'claims', 'claim_requirements')"
)
"""Which of the columns we look at the server's tables have, their types and, in bytes, their sizes."""

CLOCK: Final = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)"
"""The server's time in µs."""

_WANTED: Final[dict[Table, tuple[str, type[msgspec.Struct], str]]] = {
    Table.USERS: ("FROM users t WHERE t.id = %s", Users, "current_signature_file_id is_enabled"),
    Table.CLAIMS: ("FROM claims t WHERE t.user_id = %s", Claims, "user_id status"),
    Table.CLAIM_REQUIREMENTS: (
        "FROM claim_requirements t JOIN claims c ON c.id = t.claim_id WHERE c.user_id = %s",
        ClaimRequirements,
        "claim_id type status claim_requirement_reason",
    ),
}


class LiveLead(NamedTuple):
    """A live read and when it was made (µs on the server's clock)."""

    state: LiveState
    as_of: int


def read_lead(replica: Replica, user_id: int) -> LiveLead:
    """Reads one customer's rows by primary key and by foreign keys.

    Raises ConnectionLost, LoginRefused and PreconditionFailed.
    """
    try:
        return _read(replica, user_id)
    except NotThere:  # a column went between our looking at the tables and our asking
        return _read(replica, user_id)


def _read(replica: Replica, user_id: int) -> LiveLead:
    there = {
        (str(table).lower(), str(column).lower()): kind_of(str(data_type).lower(), size)
        for table, column, data_type, size in replica.query(COLUMNS)
    }
    as_of = int(replica.value(CLOCK))
    rows = {table: _rows(replica, table, user_id, there) for table in Table}
    users = rows[Table.USERS]
    return LiveLead(LiveState(users[0] if users else None, rows[Table.CLAIMS], rows[Table.CLAIM_REQUIREMENTS]), as_of)


def _rows(replica: Replica, table: Table, user_id: int, there: dict[tuple[str, str], KeyKind]) -> list[LiveRow[Any]]:
    where, shape, names = _WANTED[table]
    columns = ["id", *(name for name in names.split() if (table.value, name) in there)]
    kinds = {column: there.get((table.value, column), KeyKind.INTEGER) for column in columns}
    picked = ", ".join(
        as_text(f"t.{column}", kind) if kind in BYTES and column != "is_enabled" else f"t.{column}"
        for column, kind in kinds.items()
    )
    found = replica.query(f"SELECT {picked} {where}", (user_id,))
    return [LiveRow(_shaped(shape, dict(zip(columns, row, strict=True))), None) for row in found]


def _shaped(shape: type[msgspec.Struct], values: dict[str, object]) -> Any:
    plain = {name: _plain(value) for name, value in values.items()}
    return msgspec.convert(plain, shape).row()  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    """A value as the stream's messages have it: BIT as a number, DECIMAL as its digits."""
    if isinstance(value, bytes):
        return int.from_bytes(value)
    return str(value) if isinstance(value, Decimal) else value
