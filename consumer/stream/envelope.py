"""The message format (design, section 5): written and read here and nowhere else.

Debezium's envelope in JSON, with one more object, `lane`. A heartbeat is a message with no row: `op` is `"h"`,
`before` and `after` are absent, and `lane.last` is true: it says that its lane has passed `lane.version`.
"""

from __future__ import annotations

import msgspec

from consumer.leads.model import ClaimRow, RequirementRow, UserRow


class Source(msgspec.Struct):
    """Where a change comes from; Debezium's block, of which an applier needs this much."""

    ts_us: int
    table: str


class LaneBlock(msgspec.Struct):
    """A message's place in its lane: `seq` counts without gaps, `last` ends a source transaction there."""

    epoch: int
    seq: int
    version: int
    user_id: int | None
    last: bool
    moved: bool = False


class Users(msgspec.Struct):
    """Captured columns of `users` that the rules look at."""

    id: int
    current_signature_file_id: int | str | None = None
    is_enabled: bool | int | None = True

    def row(self) -> UserRow:
        """As the ledger takes it."""
        signature = self.current_signature_file_id
        return UserRow(self.id, None if signature is None or signature == "" else str(signature), self.is_enabled != 0)


class Claims(msgspec.Struct):
    """Captured columns of `claims` that the rules look at."""

    id: int
    user_id: int
    status: int | str | None = None

    def row(self) -> ClaimRow:
        """As the ledger takes it."""
        return ClaimRow(self.id, self.user_id, None if self.status is None else str(self.status))


class ClaimRequirements(msgspec.Struct):
    """Captured columns of `claim_requirements` that the rules look at."""

    id: int
    claim_id: int
    type: int | str | None = None
    status: int | str | None = None
    claim_requirement_reason: str | None = None

    def row(self) -> RequirementRow:
        """As the ledger takes it."""
        return RequirementRow(
            self.id,
            self.claim_id,
            None if self.type is None else str(self.type),
            None if self.status is None else str(self.status),
            self.claim_requirement_reason,
        )
