"""Which tables and columns leave the reader: these and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Captured(NamedTuple):
    """A captured table: the columns that leave MySQL, and the one that leads to the user.

    `needed` are those without which no lead can be judged; the others may be absent. `few` are columns that hold few
    distinct texts, which are worth remembering.
    """

    table: str
    ref: str
    columns: tuple[str, ...]
    needed: tuple[str, ...]
    few: frozenset[str]


CAPTURED: Final[Mapping[str, Captured]] = {
    captured.table: captured
    for captured in (
        Captured(
            "users",
            "id",
            ("id", "current_signature_file_id", "is_enabled", "created_at", "updated_at"),
            ("id", "current_signature_file_id"),
            frozenset(),
        ),
        Captured(
            "claims",
            "user_id",
            ("id", "user_id", "status", "created_at", "updated_at"),
            ("id", "user_id", "status"),
            frozenset({"status"}),
        ),
        Captured(
            "claim_requirements",
            "claim_id",
            ("id", "claim_id", "type", "status", "claim_requirement_reason", "created_at", "updated_at"),
            ("id", "claim_id", "type", "status"),
            frozenset({"type", "status"}),
        ),
    )
}
"""By table name."""
