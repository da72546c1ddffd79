"""Claims' users at the present point of the stream, from a bounded memory that the stream feeds.

An entry is what the claim's user was where the stream stands now, not what it is on the server. What is not remembered
is first looked for in what the stream brings next (the image before a change says it exactly, and a claim that is
inserted was nobody's before), and then asked from the replica, many claims in one query. The replica answers from its
present, which may be ahead of the stream: then a claim may have had another user where the stream stands, and no column
says so. An answer is certain where the binlog ended, after it was given, no further than the stream has come; else it
is uncertain, until the stream itself says whose the claim is or has passed the position where the binlog ended.

A user who is deleted or gets another number may leave claims that are another's or nobody's from then on: most servers
do not log what their foreign keys do. What was remembered of such a user's claims until then counts no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from consumer.binlog.events import Id, RowChange, SchemaChange, Single, Statement, UnreadableRow, hides_rows
from consumer.binlog.position import OrderedPosition, ordered_position
from consumer.capture import OF_CLAIMS
from consumer.leads.model import Table
from consumer.mysql.errors import NotThere, PreconditionFailed
from consumer.mysql.key_folding import Foldings
from consumer.mysql.keys import KeyKind, among, as_text
from consumer.mysql.schema import NUMBER, HeldColumn, columns_there
from consumer.mysql.session import Replica, limited
from consumer.mysql.weights import UnsupportedCollation
from consumer.reader.trails import Trails

USERS: Final = Table.USERS.value
CLAIMS: Final = Table.CLAIMS.value
UNKNOWN: Final = -(2**63)
"""What `get` gives for a claim that is not remembered; None is a claim that has no user, is gone, or is uncertain."""
QUERY_CLAIMS: Final = 5_000
"""Claims asked for in one query."""

DELETED_KEPT: Final = 20_000
"""Deleted users that are remembered, and claims of theirs that came later, before all is forgotten instead."""
UNCERTAIN_KEPT: Final = 100_000
"""Uncertain claims after which all are forgotten at the next question, to be asked for again: a reader that reads days
of history meets every claim there is before it has come to where the binlog ended."""


class Answer(NamedTuple):
    """The users of those of the claims that exist, and where the binlog ended after they were looked for."""

    users: dict[Id, int | None]
    end: OrderedPosition


Ask = Callable[[list[Id]], Answer]
"""Takes claim ids and says whose they are now."""


class ClaimOwners:
    """Remembers at most `capacity` claims, the most recently used ones (two generations, in halves)."""

    def __init__(self, capacity: int, ask: Ask) -> None:
        self._half = max(1, capacity // 2)
        self._ask = ask
        self._young: dict[Id, int | None] = {}
        self._old: dict[Id, int | None] = {}
        self.leaving: set[Id] = set()
        """Claims deleted by the transaction at hand."""
        self._asked = self._queries = 0
        self.uncertain: dict[Id, int | None] = {}
        """Claims that the replica may have seen moved before the stream did, and their users there."""
        self._uncertain_until: OrderedPosition = (0, 0)
        self.trails = Trails()
        """What claims and users have left behind, so far as the stream has not said who takes it over."""
        self.users_leaving: set[int] = set()
        """Users deleted by the transaction at hand."""
        self._deleted: dict[int, set[Id]] = {}
        """Users who deleted, each with the claims that were put as theirs since then."""
        self._confirmed_count = 0
        """How many claims that are."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, claim_id: Id) -> int | None:
        """The claim's user; UNKNOWN where it is not remembered, None where nobody can be said to be it."""
        owner = self._young.get(claim_id, UNKNOWN)
        is_old = owner is UNKNOWN
        if is_old:
            owner = self._old.pop(claim_id, UNKNOWN)
        if owner is UNKNOWN or (self._deleted and owner is not None and self._is_stale(claim_id, owner)):
            return None if claim_id in self.uncertain else UNKNOWN
        if is_old:
            self.put(claim_id, owner)
        return owner

    def _is_stale(self, claim_id: Id, user_id: int) -> bool:
        """Whether this was the claim's user before that user deleted."""
        confirmed = self._deleted.get(user_id)
        return confirmed is not None and claim_id not in confirmed

    def put(self, claim_id: Id, user_id: int | None) -> None:
        """The stream says whose the claim is from here on."""
        if self.leaving:
            self.leaving.discard(claim_id)
        if self.uncertain:
            self.uncertain.pop(claim_id, None)
        if self._deleted and user_id is not None and user_id in self._deleted:
            self._confirm(claim_id, user_id)
        young = self._young
        young[claim_id] = user_id
        if len(young) > self._half:
            self._old = young
            self._young = {}

    def _confirm(self, claim_id: Id, deleted: int) -> None:
        confirmed = self._deleted[deleted]
        if claim_id in confirmed:
            return
        if self._confirmed_count >= DELETED_KEPT:
            self._forget_owners()
            return
        confirmed.add(claim_id)
        self._confirmed_count += 1

    def deleted(self, claim_id: Id, user_id: int | None) -> None:
        """The claim goes, but is remembered until its transaction ends: its requirements may go after it."""
        self.put(claim_id, user_id)
        self.leaving.add(claim_id)

    def user_deleted(self, user_id: int) -> None:
        """The user goes; whose the claims are is remembered until the transaction ends: their rows may go after it."""
        self.users_leaving.add(user_id)

    def user_renumbered(self, user_id: int) -> None:
        """The user has another number from here on, and so may the user's claims, whether or not the stream says so."""
        self._forget_claims_of({user_id})

    def transaction_ended(self) -> None:
        """Forgets the claims that are `leaving`, and those of users that are `users_leaving`."""
        for claim_id in self.leaving:
            self._young.pop(claim_id, None)
            self._old.pop(claim_id, None)
        self.leaving.clear()
        if self.users_leaving:
            self._forget_claims_of(self.users_leaving)
            self.users_leaving.clear()

    def _forget_claims_of(self, users: set[int]) -> None:
        if len(self._deleted) + len(users) > DELETED_KEPT:
            self._forget_owners()
            return
        for user_id in users:
            self._confirmed_count -= len(self._deleted.get(user_id, ()))
            self._deleted[user_id] = set()

    def _forget_owners(self) -> None:
        self._young.clear()
        self._old.clear()
        self._deleted.clear()
        self._confirmed_count = 0

    def forget(self) -> None:
        """Empties the memory, where the stream is taken up again at an earlier point."""
        self._forget_owners()
        self.users_leaving.clear()
        self.leaving.clear()
        self.uncertain.clear()
        self.trails.clear()

    def passed(self, reached: OrderedPosition) -> None:
        """The stream has come here: what was uncertain before is certain now, because nothing has contradicted it."""
        if reached < self._uncertain_until:
            return
        confirmed, self.uncertain = self.uncertain, {}
        for claim_id, user_id in confirmed.items():
            if user_id not in self._deleted:
                self.put(claim_id, user_id)

    def taken_counts(self) -> tuple[int, int]:
        """Claims that the replica was asked for, and queries that took, since this was last called."""
        counts = self._asked, self._queries
        self._asked = self._queries = 0
        return counts

    def learn(self, coming: Iterable[object], reached: OrderedPosition, *, silent: bool = True) -> None:
        """Finds the users of all claims that `coming` rows of theirs name and that are not remembered.

        `coming` are the events from here to `reached`; their images of claims are exact and spare the question.
        `silent`: claims may go or get another user together with a user, and no event says so. Raises what asking
        raises.
        """
        if len(self.uncertain) > UNCERTAIN_KEPT:
            self.uncertain.clear()
        wanted: dict[Id, int | None] = {}
        fed: set[Id] = set()
        gone = hidden = False
        heirs: set[int | None] = {None}
        for one in coming:
            event = one.change if type(one) is Single else one
            if isinstance(event, Statement | SchemaChange) and hides_rows(event):
                hidden = True  # what images and the replica say from there on may not be so here
                break
            if type(event) is UnreadableRow and event.table == CLAIMS:
                fed.update(claim_id for claim_id in (event.before_id, event.after_id) if claim_id is not None)
            if type(event) is not RowChange:
                continue
            if event.table == CLAIMS:
                self._learn_from(event, wanted, fed, gone=gone, heirs=heirs)
            elif event.table == USERS:
                if silent and not event.explicit and event.before_id not in (None, event.after_id):
                    gone = True
                    heirs.add(event.after_id)  # type: ignore[arg-type]  # a user's id is an integer
            elif event.table in OF_CLAIMS:
                for claim_id in (event.before_ref, event.after_ref):
                    if claim_id is not None and claim_id not in fed and self.get(claim_id) == UNKNOWN:
                        wanted.setdefault(claim_id, UNKNOWN)
        misses = [claim_id for claim_id, owner in wanted.items() if owner == UNKNOWN]
        for start in range(0, len(misses), QUERY_CLAIMS):
            asked = misses[start : start + QUERY_CLAIMS]
            answer = self._ask(asked)
            self._queries += 1
            self._asked += len(asked)
            for claim_id in asked:
                wanted[claim_id] = answer.users.get(claim_id)
            behind = hidden or answer.end > reached
            uncertain = [one for one in asked if behind or one in fed or (gone and wanted[one] in heirs)]
            if uncertain:
                self.uncertain.update((claim_id, wanted[claim_id]) for claim_id in uncertain)
                self._uncertain_until = max(self._uncertain_until, answer.end, reached)
        for claim_id, owner in wanted.items():
            if claim_id not in self.uncertain:
                self.put(claim_id, owner)

    @staticmethod
    def _learn_from(
        event: RowChange, wanted: dict[Id, int | None], fed: set[Id], *, gone: bool, heirs: set[int | None]
    ) -> None:
        """What an image says, unless a user has `gone` before that and claims with them, or to one of their `heirs`."""
        if event.before_id is not None:
            exact = not gone or event.before_ref not in heirs
            if exact and event.before_id not in fed and wanted.get(event.before_id) == UNKNOWN:
                wanted[event.before_id] = event.before_ref  # type: ignore[assignment]  # of a claim it is a user
            fed.add(event.before_id)
        if event.after_id is not None:
            if not gone and event.after_id not in fed and wanted.get(event.after_id) == UNKNOWN:
                wanted[event.after_id] = None
            fed.add(event.after_id)


class ReplicaClaims:
    """The users of claims, asked of the replica."""

    def __init__(self, replica: Replica, seconds: float, foldings: Foldings | None = None) -> None:
        """`seconds` is the longest that one query may take; `foldings` are those of the stream's ids, if these are
        folded."""
        self._replica = replica
        self._seconds = seconds
        self._foldings = foldings
        self._key: HeldColumn | None = None

    def __call__(self, claim_ids: list[Id]) -> Answer:
        """Whose those of the claims are that exist. Raises ConnectionLost, and NotThere where `claims` is not."""
        if self._key is not None and self._key.kind is KeyKind.INTEGER and not all(map(_is_number, claim_ids)):
            self._key = None  # the stream has ids of another type than the table had when we looked at it
        try:
            return self._owners(claim_ids)
        except NotThere:
            self._key = None  # the table has other columns than it had when we looked at it
            return self._owners(claim_ids)

    def _owners(self, claim_ids: list[Id]) -> Answer:
        """An id of another type than the column's, from before or after an ALTER, is found by its text."""
        key = self._key = self._key or columns_there(self._replica.query).get(("claims", "id"), NUMBER)
        wanted = [one for one in claim_ids if key.kind is not KeyKind.INTEGER or _is_number(one)]
        users: dict[str, int | None] = {}
        if wanted:
            owners = f"SELECT {as_text('id', key.kind)}, user_id FROM claims WHERE "  # noqa: S608 (names of ours)
            owners += among("id", key.kind, map(self._spelled, wanted), self._replica.literal)
            found = self._replica.query(limited(owners, self._seconds, mariadb=self._replica.is_mariadb()))
            users = {str(self._id(key, claim)): None if user is None else int(user) for claim, user in found}
        there = {one: users[str(one)] for one in wanted if str(one) in users}
        return Answer(there, ordered_position(*self._replica.binlog_position()))

    def _spelled(self, claim: Id) -> Id:
        return self._foldings.spelled(claim) if self._foldings is not None and isinstance(claim, str) else claim

    def _id(self, key: HeldColumn, claim: object) -> Id:
        """As the binlog's rows have it. Raises PreconditionFailed."""
        if key.kind is KeyKind.INTEGER:
            return int(str(claim))
        if key.kind is not KeyKind.TEXT or self._foldings is None:
            return str(claim)
        try:
            return self._foldings.of(key.collation, key.charset)(str(claim))
        except UnsupportedCollation as error:
            raise PreconditionFailed(f"claims.id holds texts: {error}") from error


def _is_number(claim_id: Id) -> bool:
    return isinstance(claim_id, int) or re.fullmatch(r"-?[0-9]+", claim_id) is not None
