"""From the binlog's events to lanes: which user a row belongs to, and which rows are a delete and a create."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from consumer.binlog.events import Begin, Commit, Event, Id, Rollback, RowChange, SchemaChange, Single, Statement
from consumer.claim_owners import CLAIM_REQUIREMENTS, CLAIMS, UNKNOWN, ClaimOwners
from consumer.leads.model import Table
from consumer.stream.numbering import Numbering

USERS: Final = Table.USERS.value
UNTOLD: Final = frozenset(("TRUNCATE", "DROP", "RENAME", "MODIFY"))
"""Schema changes that rows come, go or change with."""


class RolledBack(Exception):
    """A transaction that was passed on in part never happened; it has to be read again and left out."""

    def __init__(self, place: tuple[str, int]) -> None:
        super().__init__(f"the transaction at {place[0]}:{place[1]} was rolled back after we had read it")
        self.place = place


class Router:
    """Hands every row of the stream to `numbering` under its user, in order.

    A row whose key or owner changes is a delete and a create. Such a create of a user or a claim, and one of a row that
    the same transaction has deleted, is marked as moved: what belongs to it is not told again. `unread` is told of
    statements and schema changes, whose rows nobody can tell; where these may have changed any, every lane is asked for
    a recheck. `left_out` are the places of transactions known to be rolled back.
    """

    def __init__(
        self,
        numbering: Numbering,
        owners: ClaimOwners,
        unread: Callable[[Statement | SchemaChange], None],
        left_out: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        self.owners = owners
        self._numbering = numbering
        self._unread = unread
        self._left_out = left_out
        self._leaving_out = False
        self._events: list[Event] = []
        self.counts = {table.value: {"c": 0, "u": 0, "d": 0} for table in Table}
        """Rows by table and operation, as the binlog has them."""

    def feed(self, events: list[Event]) -> None:
        """Routes what one read of the binlog brought. Raises RolledBack, and what asking the replica raises."""
        if self._left_out:
            events = self._without_left_out(events)
        self._events = events
        numbering, owners = self._numbering, self.owners
        if owners.unsure:
            owners.passed(numbering.ts_us)
        begin, commit, route, plain_user = numbering.begin, numbering.commit, self._route, self._plain_user
        singles: list[Single] = []
        users: list[int] = []
        for index, event in enumerate(events):
            kind = type(event)
            if kind is Single:
                user_id = plain_user(event) if singles or numbering.may_rest else None  # type: ignore[arg-type]
                if user_id is not None:
                    singles.append(event)  # type: ignore[arg-type]
                    users.append(user_id)
                    continue
            if singles:
                self._pass_singles(singles, users)
            if kind is RowChange:
                route(event, index)  # type: ignore[arg-type]
            elif kind is Single:
                self._single(event, index)  # type: ignore[arg-type]
            elif kind is Begin:
                begin(*event)
            elif kind is Commit:
                commit()
                if owners.leaving or owners.departing:
                    owners.transaction_ended()
            elif isinstance(event, Statement | SchemaChange):
                self._unread(event)
                if type(event) is Statement or event.verb in UNTOLD:
                    numbering.recheck(f"{event.verb} of {event.table or 'unknown tables'}: rows not in the binlog")
            elif kind is Rollback:
                raise RolledBack(numbering.begun)
        if singles:
            self._pass_singles(singles, users)

    def _without_left_out(self, events: list[Event]) -> list[Event]:
        kept = []
        for event in events:
            if isinstance(event, Begin) and (event.file, event.pos) in self._left_out:
                self._leaving_out = True
            if not self._leaving_out:
                kept.append(event)
            elif isinstance(event, Rollback):
                self._leaving_out = False
        return kept

    def _pass_singles(self, singles: list[Single], users: list[int]) -> None:
        self._numbering.singles(singles, users)
        singles.clear()
        users.clear()

    def _plain_user(self, single: Single) -> int | None:
        """The user of a transaction of one row, where that is plain: the owner is remembered and stays the same."""
        _, _, _, _, _, table, op, _, _, before_id, before_ref, after_id, after_ref, _, _, _ = single
        if op == "u" and (before_ref != after_ref or before_id != after_id):
            return None
        ref = before_ref if op == "d" else after_ref
        user_id: int | None = None
        if table == USERS:
            user_id = ref if op != "d" else None  # type: ignore[assignment]  # a user's id is an integer
        elif table == CLAIM_REQUIREMENTS:
            if ref is not None:
                user_id = self.owners.get(ref)
                if user_id == UNKNOWN:
                    return None
        elif op != "d":
            self.owners.put(after_id, ref)  # type: ignore[arg-type]
            user_id = ref  # type: ignore[assignment]
        if user_id is not None:
            self.counts[table][op] += 1
        return user_id

    def _single(self, single: Single, index: int) -> None:
        """Any other transaction of one row."""
        self._numbering.begin(*single.begin)
        self._route(single.change, index)
        self._numbering.commit()
        self.owners.transaction_ended()

    def _route(self, change: RowChange, index: int) -> None:
        table, op, before, after, before_id, before_ref, after_id, after_ref, pos, row = change
        self.counts[table][op] += 1
        if op == "u" and (before_ref != after_ref or before_id != after_id):
            # What belongs to a claim or a user does not travel with it, so the new lead has to be read afresh.
            moved = table != CLAIM_REQUIREMENTS
            if table == USERS:
                self.owners.user_renumbered(before_id)  # type: ignore[arg-type]
            gone: int | None = (
                before_ref  # type: ignore[assignment]
                if table == USERS
                else self._user(table, "d", before_id, before_ref, index)
            )
            self._pass_on(table, "d", before, None, gone, before_ref, before_id, pos, row)
            come = self._user(table, "c", after_id, after_ref, index)
            self._pass_on(table, "c", None, after, come, after_ref, after_id, pos, row, moved)
            return
        row_id, ref = (before_id, before_ref) if op == "d" else (after_id, after_ref)
        if table == CLAIM_REQUIREMENTS and ref is not None:
            user_id = self.owners.get(ref)
            if user_id is UNKNOWN:
                user_id = self._ask(ref, index)
        elif op == "c" and (self.owners.leaving or self.owners.departing) and self._is_back(table, row_id):
            user_id = self._user(table, op, row_id, ref, index)
            self._pass_on(table, op, before, after, user_id, ref, row_id, pos, row, moved=True)
            return
        else:
            user_id = (
                ref  # type: ignore[assignment]
                if table == USERS and op != "d"
                else self._user(table, op, row_id, ref, index)
            )
        if user_id is not None:
            self._numbering.row(table, op, before, after, user_id, user_id, pos, row)
        else:
            self._pass_on(table, op, before, after, None, ref, row_id, pos, row)

    def _is_back(self, table: str, row_id: Id | None) -> bool:
        """Whether a user or claim that comes is one that this transaction has deleted, as REPLACE does.

        Whether that took along what belongs to it depends on the server: MariaDB cascades and does not log it, MySQL
        9.7 does not cascade there, and without foreign keys everything stays.
        """
        if table == CLAIM_REQUIREMENTS:
            return False
        return row_id in (self.owners.leaving if table == CLAIMS else self.owners.departing)

    def _pass_on(
        self,
        table: str,
        op: str,
        before: str | None,
        after: str | None,
        user_id: int | None,
        ref: Id | None,
        row_id: Id | None,
        pos: int,
        row: int,
        moved: bool = False,
    ) -> None:
        """To its user's lane, an orphan with notices elsewhere; a row that names nobody to its own."""
        if user_id is None and ref is not None:  # a requirement's: of other rows the ref is a user
            self._numbering.orphan(table, op, before, after, self.owners.unsure.get(ref), ref, pos, row)
        else:
            self._numbering.row(table, op, before, after, user_id, _key(user_id, row_id), pos, row, moved)

    def _user(self, table: str, op: str, row_id: Id | None, ref: Id | None, index: int) -> int | None:
        """Whose the row is at this point of the stream, which is moved past it; None where nobody knows."""
        owners = self.owners
        if table == CLAIMS:
            user: int | None = ref  # type: ignore[assignment]  # a user's id is an integer
            if op == "d":  # a row that is there has its id
                owners.deleted(row_id, user)  # type: ignore[arg-type]
            else:
                owners.put(row_id, user)  # type: ignore[arg-type]
            return user
        if table == USERS and op == "d":
            owners.user_deleted(row_id)  # type: ignore[arg-type]
        if table == USERS or ref is None:
            return ref  # type: ignore[return-value]
        user_id = self.owners.get(ref)
        return self._ask(ref, index) if user_id is UNKNOWN else user_id

    def _ask(self, claim_id: Id, index: int) -> int | None:
        """Whose a claim is that is not remembered, for the row at `index`; None where nobody knows."""
        if self._numbering.skipping:
            return None  # the row is in Kafka already
        owners, ts_us = self.owners, self._numbering.ts_us
        owners.learn(islice(self._events, index, None), ts_us)
        user_id = owners.get(claim_id)
        if user_id is UNKNOWN:  # more claims at once than are remembered
            owners.learn(self._events[index : index + 1], ts_us)
            user_id = owners.get(claim_id)
        return user_id


def _key(user_id: Id | None, row_id: Id | None) -> Id:
    """What decides the lane: the user, and where that is NULL the row itself."""
    key = row_id if user_id is None else user_id
    if key is None:
        raise ValueError("a row without an id came from the binlog")
    return key
