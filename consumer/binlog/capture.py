"""Which tables and columns leave MySQL (design, section 5): these and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Captured(NamedTuple):
    """A captured table: the columns that leave MySQL, and the one that leads to the user.

    `few` are columns that hold few distinct texts, which are worth remembering.
    """

    table: str
    ref: str
    columns: tuple[str, ...]
    few: frozenset[str]


CAPTURED: Final[Mapping[str, Captured]] = {
    captured.table: captured
    for captured in (
        Captured(
            "users",
            "id",
            ("id", "current_signature_file_id", "is_enabled", "created_at", "updated_at"),
            frozenset(),
        ),
        Captured("claims", "user_id", ("id", "user_id", "status", "created_at", "updated_at"), frozenset({"status"})),
        Captured(
            "claim_requirements",
            "claim_id",
            ("id", "claim_id", "type", "status", "claim_requirement_reason", "created_at", "updated_at"),
            frozenset({"type", "status"}),
        ),
    )
}
"""By table name."""
