"""What we need of the call centre's three tables, in plain words: the one description of them.

They exist in production and are theirs. `setup` creates them from this description where they are absent; it and
`doctor` hold existing ones against it (`consumer.store.call_centre.fit`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from consumer.leads.model import ConversionType, QueueType, Reason

Labels = Collection[str | None]
"""What the columns of queue types hold, by the rules in force; None where a customer in no queue has SQL NULL."""

LABELS: Final[Labels] = tuple(queue.value for queue in QueueType)
"""The plan's own names."""


class Use(Enum):
    """What we do with a column."""

    INSERTED = auto()
    """Every row that we add names it."""
    INSERTED_IF_THERE = auto()
    """The same, where the table has it."""
    UPDATED = auto()
    READ = auto()
    THEIRS = auto()
    """Nothing: a new row must do without it."""


class Need(NamedTuple):
    """A column; `kind` is the type that we create. Which others fit as well, `consumer.store.call_centre.fit` knows."""

    kind: str
    use: Use
    constraint: str = ""
    """What follows the type where we create it."""
    writes_null: bool = False
    """Whether we write NULL into it, sometimes."""


class TableNeeds(NamedTuple):
    """A table; `key` is the column by which we find a row again, which needs a unique index of its own."""

    columns: Mapping[str, Need]
    key: str | None
    privileges: tuple[str, ...]
    """What we must be allowed to do with it, and no more."""
    indexes: Mapping[str, tuple[str, ...]]
    """Indexes that we create with it."""

    def needed(self) -> dict[str, Need]:
        """The columns that must be there."""
        none_of_ours = (Use.THEIRS, Use.INSERTED_IF_THERE)
        return {name: column for name, column in self.columns.items() if column.use not in none_of_ours}


ADDED_COLUMN: Final = "last_conversion_check_at"
"""The column of `user_call_scores` that `setup` adds where it is missing."""
ADDED_INDEX: Final = "idx_user_call_scores_queue_type_last_call"
"""Its index that `setup` adds."""
BY_CUSTOMER: Final = {
    "conversions": ("ix_conversions_user_id", "behind an outage every batch reads the whole table"),
    "call_queue": ("idx_call_queue_user_status", "every change of a queue reads the whole table"),
}
"""Indexes that `setup` adds, where it may, unless one begins with the customer already; and what it costs without."""
STAMPS: Final = ("created_at", "updated_at")
"""Columns of `conversions` that some call centres have, filled where they are there."""

_ID: Final = Need("uuid", Use.INSERTED, "PRIMARY KEY DEFAULT gen_random_uuid()")
_COUNT: Final = Need("integer", Use.THEIRS, "NOT NULL DEFAULT 0")
_STAMP: Final = Need("timestamp", Use.INSERTED, "NOT NULL DEFAULT (now() AT TIME ZONE 'utc')")

TABLES: Final[Mapping[str, TableNeeds]] = {
    "user_call_scores": TableNeeds(
        {
            "id": _ID,
            "user_id": Need("bigint", Use.INSERTED, "NOT NULL UNIQUE"),
            "current_score": Need("integer", Use.INSERTED, "NOT NULL DEFAULT 0"),
            "next_call_after": Need("timestamp", Use.THEIRS),
            "last_call_at": Need("timestamp", Use.READ),
            "total_attempts": Need("integer", Use.READ, "NOT NULL DEFAULT 0"),
            "successful_calls": _COUNT,
            "last_outcome": Need("text", Use.READ),
            "base_score": _COUNT,
            "outcome_penalty_score": _COUNT,
            "time_penalty_score": _COUNT,
            "is_active": Need("boolean", Use.INSERTED, "NOT NULL DEFAULT true"),
            "current_queue_type": Need("text", Use.INSERTED),
            "last_reset_date": Need("timestamp", Use.INSERTED, writes_null=True),
            "last_queue_check": Need("timestamp", Use.THEIRS),
            ADDED_COLUMN: Need("timestamp", Use.UPDATED),
            "created_at": _STAMP,
            "updated_at": _STAMP,
        },
        "user_id",
        ("SELECT", "INSERT", "UPDATE"),
        {ADDED_INDEX: ("current_queue_type", "last_call_at")},
    ),
    "conversions": TableNeeds(
        {
            "id": _ID,
            "user_id": Need("bigint", Use.INSERTED, "NOT NULL"),
            "previous_queue_type": Need("text", Use.INSERTED),
            "conversion_type": Need("text", Use.INSERTED, "NOT NULL"),
            "conversion_reason": Need("text", Use.INSERTED),
            "final_score": Need("integer", Use.INSERTED),
            "total_call_attempts": Need("integer", Use.INSERTED),
            "last_call_at": Need("timestamp", Use.INSERTED, writes_null=True),
            "converted_at": Need("timestamp", Use.INSERTED, "NOT NULL"),
            "primary_agent_id": Need("integer", Use.THEIRS),
            "contributing_agents": Need("json", Use.THEIRS),
            "documents_received": Need("json", Use.INSERTED, writes_null=True),
            "signature_obtained": Need("boolean", Use.INSERTED, "DEFAULT false"),
            "requirements_met": Need("json", Use.INSERTED, writes_null=True),
            "claim_value": Need("numeric(10, 2)", Use.THEIRS),
            "estimated_commission": Need("numeric(10, 2)", Use.THEIRS),
            **dict.fromkeys(STAMPS, Need("timestamp", Use.INSERTED_IF_THERE)),
        },
        "id",
        ("SELECT", "INSERT"),
        {BY_CUSTOMER["conversions"][0]: ("user_id",)},
    ),
    "call_queue": TableNeeds(
        {
            "id": _ID,
            "user_id": Need("bigint", Use.INSERTED, "NOT NULL REFERENCES user_call_scores (user_id)"),
            "claim_id": Need("bigint", Use.THEIRS),
            "queue_type": Need("text", Use.INSERTED, "NOT NULL"),
            "priority_score": _COUNT,
            "queue_position": Need("integer", Use.THEIRS),
            "status": Need("text", Use.INSERTED, "NOT NULL DEFAULT 'pending'"),
            "queue_reason": Need("text", Use.INSERTED),
            "assigned_to_agent_id": Need("integer", Use.THEIRS),
            "assigned_at": Need("timestamp", Use.THEIRS),
            "callback_id": Need("uuid", Use.THEIRS),
            "available_from": Need("timestamp", Use.THEIRS),
            "created_at": _STAMP,
            "updated_at": _STAMP,
        },
        None,
        ("SELECT", "INSERT", "UPDATE"),
        {BY_CUSTOMER["call_queue"][0]: ("user_id", "status")},
    ),
}
"""In the order in which they can be created."""


def words(table: str, column: str, labels: Labels) -> list[str]:
    """The words that we write into a column of text, which it must be long enough for."""
    queues = [label for label in labels if label is not None]
    known: dict[tuple[str, str], list[str]] = {
        ("user_call_scores", "current_queue_type"): queues,
        ("conversions", "previous_queue_type"): queues,
        ("conversions", "conversion_type"): [kind.value for kind in ConversionType],
        ("conversions", "conversion_reason"): ["signature obtained", "1000000 requirements settled"],
        ("call_queue", "queue_type"): queues,
        ("call_queue", "status"): ["pending", "closed"],
        ("call_queue", "queue_reason"): [reason.value for reason in Reason],
    }
    return known.get((table, column), [])


def definition(table: str) -> list[str]:
    """The statements that create a table of this name, and its indexes."""
    known = TABLES[table]
    columns = ", ".join(
        f"{name} {column.kind} {column.constraint}".rstrip()
        for name, column in known.columns.items()
        if column.use is not Use.INSERTED_IF_THERE
    )
    indexes = [index(table, name) for name in known.indexes]
    return [f"CREATE TABLE {table} ({columns})", *indexes]


def index(table: str, name: str) -> str:
    """The statement that creates one of our indexes."""
    return f"CREATE INDEX {name} ON {table} ({', '.join(TABLES[table].indexes[name])})"
