"""What we need of the call centre's tables, which exist in production and are theirs: plain words, for `setup`, which
checks or creates them, and for `doctor`, which must be quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WRITTEN: Final[Mapping[str, Mapping[str, str]]] = {
    "user_call_scores": {
        "id": "uuid", "user_id": "bigint", "current_score": "integer", "is_active": "boolean",
        "current_queue_type": "text", "last_reset_date": "timestamp", "created_at": "timestamp",
        "updated_at": "timestamp", "last_conversion_check_at": "timestamp",
    },
    "conversions": {
        "id": "uuid", "user_id": "bigint", "previous_queue_type": "text", "conversion_type": "text",
        "conversion_reason": "text", "final_score": "integer", "total_call_attempts": "integer",
        "last_call_at": "timestamp", "converted_at": "timestamp", "documents_received": "json",
        "signature_obtained": "boolean", "requirements_met": "json",
    },
    "call_queue": {
        "id": "uuid", "user_id": "bigint", "queue_type": "text", "status": "text", "queue_reason": "text",
        "created_at": "timestamp", "updated_at": "timestamp",
    },
}  # fmt: skip
"""Columns that we write, and their types; every other one must do without us."""

READ: Final[Mapping[str, Mapping[str, str]]] = {
    "user_call_scores": {"total_attempts": "integer", "last_call_at": "timestamp", "last_outcome": "text"},
    "conversions": {},
    "call_queue": {},
}
"""Columns that we only read."""

PRIVILEGES: Final[Mapping[str, tuple[str, ...]]] = {
    "user_call_scores": ("SELECT", "INSERT", "UPDATE"),
    "conversions": ("SELECT", "INSERT"),
    "call_queue": ("SELECT", "INSERT", "UPDATE"),
}
"""What we must be allowed to do with them, and no more."""

UNIQUE: Final[Mapping[str, str]] = {"user_call_scores": "user_id", "conversions": "id"}
"""The column by which a row is found again, which needs a unique index of its own."""

ADDED_COLUMN: Final = "last_conversion_check_at"
ADDED_INDEX: Final = "idx_user_call_scores_queue_type_last_call"
