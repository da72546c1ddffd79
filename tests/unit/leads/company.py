"""A make-believe claims company: tables, transactions, and the changes that its binlog would show of them.

Everything travels in one lane. Deletes cascade as InnoDB's do: the tables lose the rows, the binlog does not say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from consumer.leads.model import Change, ClaimRow, Key, LiveState, RequirementRow, Row, Table, UserRow

START: Final = 1_700_000_000_000_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND

R = TypeVar("R", bound=Row)

AnyKey = int | Key
"""A key, or a number whose digits are one."""


class Company:
    """Its tables now, its clock (µs), and the whole stream of changes since it was founded."""

    def __init__(self) -> None:
        self.now = START
        self.version = 0
        self.users: dict[int, UserRow] = {}
        self.claims: dict[Key, ClaimRow] = {}
        self.requirements: dict[Key, RequirementRow] = {}
        self.stream: list[Change] = []
        self._open: list[tuple[int, Table, Row | None, Row | None, bool]] | None = None

    @contextmanager
    def transaction(self, after: int = SECOND) -> Iterator[None]:
        """One source transaction, committed `after` µs from the last moment."""
        self.now += after
        self._open = []
        yield
        rows, self._open = self._open, None
        if rows:
            self.now = self.version = max(self.now, self.version + 1)
            for index, (user_id, table, before, image, moved) in enumerate(rows):
                last = index == len(rows) - 1
                self.stream.append(Change(user_id, table, before, image, self.version, self.now, last, moved))

    def heartbeat(self, after: int = 0) -> None:
        """The reader says that it has seen everything up to now; the clock never stands behind a version."""
        self.now = self.version = max(self.now + after, self.version + 1)
        self.stream.append(Change(0, None, None, None, self.version, self.now, last=True))

    def user(self, id_: int, signature: str | None = None, *, enabled: bool = True) -> None:
        """Inserts or updates."""
        row = UserRow(id_, signature, enabled)
        self._emit(id_, Table.USERS, self.users.get(id_), row)
        self.users[id_] = row

    def claim(self, id_: AnyKey, user_id: int, status: str | None = "open") -> None:
        """Inserts or updates; a claim of another user moves to this one."""
        row = ClaimRow(str(id_), user_id, status)
        before = self.claims.get(row.id)
        if before is not None and before.user_id != user_id:
            self._emit(before.user_id, Table.CLAIMS, before, None)
            self._emit(user_id, Table.CLAIMS, None, row, moved=True)
        else:
            self._emit(user_id, Table.CLAIMS, before, row)
        self.claims[row.id] = row

    def requirement(
        self,
        id_: AnyKey,
        claim_id: AnyKey,
        status: str | None = "pending",
        type_: str | None = "passport",
        reason: str = "",
    ) -> None:
        """Inserts or updates."""
        row = RequirementRow(str(id_), str(claim_id), type_, status, reason)
        user_id = self.claims[str(claim_id)].user_id
        self._emit(user_id, Table.CLAIM_REQUIREMENTS, self.requirements.get(row.id), row)
        self.requirements[row.id] = row

    def delete_user(self, id_: int) -> None:
        """With all that belongs to it, of which the binlog shows nothing."""
        self._emit(id_, Table.USERS, self.users.pop(id_), None)
        for claim in [claim for claim in self.claims.values() if claim.user_id == id_]:
            self._drop_claim(claim.id)

    def delete_claim(self, id_: AnyKey) -> None:
        """With its requirements, of which the binlog shows nothing."""
        claim = self.claims[str(id_)]
        self._emit(claim.user_id, Table.CLAIMS, claim, None)
        self._drop_claim(claim.id)

    def delete_requirement(self, id_: AnyKey) -> None:
        """One row."""
        row = self.requirements.pop(str(id_))
        self._emit(self.claims[str(row.claim_id)].user_id, Table.CLAIM_REQUIREMENTS, row, None)

    def owned_by(self, user_id: int) -> tuple[dict[Key, ClaimRow], dict[Key, RequirementRow]]:
        """Claims and requirements of one user, by id."""
        claims = {id_: row for id_, row in self.claims.items() if row.user_id == user_id}
        return claims, {id_: row for id_, row in self.requirements.items() if row.claim_id in claims}

    def read(self, user_id: int) -> LiveState:
        """All rows of one user as a reconciler reads them."""
        user = self.users.get(user_id)
        claims, requirements = self.owned_by(user_id)
        return LiveState(user, list(claims.values()), list(requirements.values()))

    def _drop_claim(self, id_: Key) -> None:
        del self.claims[id_]
        for row in [row for row in self.requirements.values() if row.claim_id == id_]:
            del self.requirements[row.id]

    def _emit(self, user_id: int, table: Table, before: Row | None, after: Row | None, *, moved: bool = False) -> None:
        assert self._open is not None, "rows change inside a transaction"
        self._open.append((user_id, table, before, after, moved))
