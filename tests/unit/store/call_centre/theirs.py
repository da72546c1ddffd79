"""The call centre's tables as facts."""

from __future__ import annotations

from typing import Final

from consumer.store.call_centre.fit import TheirColumn, Theirs
from consumer.store.call_centre.needs import ADDED_INDEX, TABLES, Use

_BASES: Final = {"timestamp": "timestamp without time zone", "numeric(10, 2)": "numeric"}


def theirs(table: str) -> Theirs:
    """A table just as `setup` would create it, and a column more."""
    needs = TABLES[table]
    columns = {
        name: TheirColumn(_BASES.get(need.kind, need.kind), _BASES.get(need.kind, need.kind),
                          not_null="NOT NULL" in need.constraint or "PRIMARY" in need.constraint,
                          has_default="DEFAULT" in need.constraint)
        for name, need in needs.columns.items()
        if need.use is not Use.INSERTED_IF_THERE
    }  # fmt: skip
    return Theirs(
        name=table,
        columns={**columns, "notes": TheirColumn("text", "text")},
        unique=frozenset({("id",), ("user_id",)}),
        indexes=frozenset({ADDED_INDEX}),
        led_by=frozenset({"user_id"}),
    )
