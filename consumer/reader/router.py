"""From the binlog's events to lanes: which user a row belongs to, and which rows are a delete and a create."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from consumer.binlog.events import (
    ALTERED,
    Begin,
    Commit,
    Event,
    Id,
    Rollback,
    RowChange,
    SchemaChange,
    Single,
    Statement,
    UnreadableRow,
    hides_rows,
)
from consumer.binlog.position import OrderedPosition
from consumer.capture import OF_CLAIMS
from consumer.lane import lane_of
from consumer.leads.model import Table, Ties
from consumer.mysql.foreign_keys import Action, ForeignKeys
from consumer.reader.claim_owners import CLAIMS, UNKNOWN, USERS, ClaimOwners
from consumer.reader.sequencer import Sequencer
from consumer.reader.trails import Trail
from consumer.stream.envelope import ties_text

_UPDATED_AT: Final = ',"updated_at":'
"""How the last member of an image begins; in a text, the quotation marks would be escaped."""
_CLAIMLESS: Final = ties_text(Ties(claimless=True))
_STAYS: Final = ties_text(Ties(stays=True))
_UNKNOWN: Final = ties_text(Ties(unknown=True))


def _is_unchanged(before: str | None, after: str | None) -> bool:
    """Whether an update changed nothing captured but `updated_at`, which stands last in both images."""
    assert before is not None
    assert after is not None
    return before[: before.rfind(_UPDATED_AT)] == after[: after.rfind(_UPDATED_AT)]


class RolledBack(Exception):
    """A transaction that was passed on in part and never happened; it has to be read again and left out."""

    def __init__(self, begin: Begin) -> None:
        super().__init__(f"the transaction at {begin.file}:{begin.pos} was rolled back after we had read it")
        self.begin = begin
        """How it begins wherever it is read again; another server has others at the same place."""


class Router:
    """Hands every row of the stream to `sequencer` under its user, in order.

    A row whose key or owner changes is a delete and a create. What belongs to a user or claim that goes, goes too,
    stays or follows, as foreign keys have it; the messages say which, and a claim that comes says after which number of
    another lane (see Ties). A claim of which too little is known is marked as moved. `unread` gets statements and
    schema changes, whose rows nobody knows; where these may have changed any, every lane is asked for a recheck. It
    gets rows that cannot be read as well; of these a recheck is asked for whomever they belong to.
    `left_out` are the beginnings of transactions known to be rolled back. With `skip_unchanged`, updates that change
    nothing captured but `updated_at` are not passed on.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        owners: ClaimOwners,
        unread: Callable[[Statement | SchemaChange | UnreadableRow], None],
        left_out: frozenset[Begin] = frozenset(),
        *,
        reached: Callable[[], OrderedPosition] = lambda: (0, 0),
        foreign_keys: Callable[[], ForeignKeys] = ForeignKeys,
        skip_unchanged: bool = False,
    ) -> None:
        """`reached` gives the position behind the events fed, `foreign_keys` those that the server has now."""
        self.owners = owners
        self._ask_reached = reached
        self._reached: OrderedPosition = (0, 0)
        self._ask_keys = foreign_keys
        self._known_keys: ForeignKeys | None = None
        self._sequencer = sequencer
        self._unread = unread
        self._left_out = left_out
        self._leaving_out = False
        self._begun: Begin | None = None
        self._skip_unchanged = skip_unchanged
        self._events: list[Event] = []
        self.counts = _no_rows()
        """Rows by table and operation, as the binlog has them, since they were last taken."""

    def taken_counts(self) -> dict[str, dict[str, int]]:
        """Rows by table and operation since this was last called."""
        counts, self.counts = self.counts, _no_rows()
        return counts

    def feed(self, events: list[Event]) -> None:
        """Routes what one read of the binlog brought. Raises RolledBack, and what asking the replica raises."""
        if self._left_out:
            events = self._without_left_out(events)
        self._events = events
        sequencer, owners = self._sequencer, self.owners
        if owners.uncertain:
            owners.passed(self._reached)
        self._reached = self._ask_reached()
        begin, commit, route, plain_user = sequencer.begin, sequencer.commit, self._route, self._plain_user
        singles: list[Single] = []
        users: list[int] = []
        unchanged: Single | None = None
        skip_unchanged = self._skip_unchanged
        for index, event in enumerate(events):
            kind = type(event)
            if kind is Single:
                user_id = plain_user(event) if singles or sequencer.may_rest else None  # type: ignore[arg-type]
                if user_id is not None:
                    if skip_unchanged and event[6] == "u" and _is_unchanged(event[7], event[8]):  # type: ignore[misc,arg-type]
                        unchanged = event  # type: ignore[assignment]
                        continue
                    unchanged = None
                    singles.append(event)  # type: ignore[arg-type]
                    users.append(user_id)
                    continue
            if singles or unchanged is not None:
                self._pass_singles(singles, users, unchanged)
                unchanged = None
            if kind is RowChange:
                route(event, index)  # type: ignore[arg-type]
            elif kind is Single:
                self._single(event, index)  # type: ignore[arg-type]
            elif kind is Begin:
                begin(*event)
                self._begun = event  # type: ignore[assignment]
            elif kind is Commit:
                commit()
                if owners.leaving or owners.users_leaving:
                    owners.transaction_ended()
            elif isinstance(event, Statement | SchemaChange):
                self._unread(event)
                self._known_keys = None
                if hides_rows(event):
                    owners.forget()  # claims may have other users from here on
                    reason = f"{event.verb} of {event.table or 'unknown tables'}: rows not in the binlog"
                    sequencer.recheck(reason, blind=event.verb != ALTERED)
            elif kind is UnreadableRow:
                self._unreadable(event)  # type: ignore[arg-type]
            elif kind is Rollback:
                assert self._begun is not None
                raise RolledBack(self._begun)
        if singles or unchanged is not None:
            self._pass_singles(singles, users, unchanged)

    def _without_left_out(self, events: list[Event]) -> list[Event]:
        kept = []
        for event in events:
            if isinstance(event, Begin):
                self._leaving_out = event in self._left_out
            if not self._leaving_out:
                kept.append(event)
            elif isinstance(event, Rollback):
                self._leaving_out = False
        return kept

    def _pass_singles(self, singles: list[Single], users: list[int], unchanged: Single | None) -> None:
        """Transactions of one row; `unchanged` came behind them, and only says how far the stream is."""
        if singles:
            self._sequencer.singles(singles, users)
            singles.clear()
            users.clear()
        if unchanged is not None:
            self._sequencer.begin(*unchanged.begin)
            self._sequencer.unchanged(unchanged.table)
            self._sequencer.commit()

    def _plain_user(self, single: Single) -> int | None:
        """The user of a transaction of one row, where that is plain: the owner is remembered and stays the same."""
        _, _, _, _, _, table, op, _, _, before_id, before_ref, after_id, after_ref, _, _, _, _ = single
        if op == "u" and (before_ref != after_ref or before_id != after_id):
            return None
        ref = before_ref if op == "d" else after_ref
        user_id: int | None = None
        if table == USERS:
            user_id = ref if op != "d" else None  # type: ignore[assignment]  # a user's id is an integer
        elif table in OF_CLAIMS:
            if ref is not None:
                user_id = self.owners.get(ref)
                if user_id == UNKNOWN:
                    return None
        elif op == "u" or (
            op == "c" and (CLAIMS, after_id) not in self.owners.trails and after_id not in self.owners.uncertain
        ):
            self.owners.put(after_id, ref)  # type: ignore[arg-type]
            user_id = ref  # type: ignore[assignment]
        if user_id is not None:
            self.counts[table][op] += 1
        return user_id

    def _single(self, single: Single, index: int) -> None:
        """Any other transaction of one row."""
        self._sequencer.begin(*single.begin)
        self._route(single.change, index)
        self._sequencer.commit()
        self.owners.transaction_ended()

    def _route(self, change: RowChange, index: int) -> None:
        table, op, before, after, before_id, before_ref, after_id, after_ref, pos, row, _ = change
        self.counts[table][op] += 1
        if self._skip_unchanged and op == "u" and _is_unchanged(before, after):
            if table == CLAIMS:
                self.owners.put(after_id, after_ref)  # type: ignore[arg-type]  # as below
            self._sequencer.unchanged(table)
            return
        same_keys = op == "u" and before_ref == after_ref and before_id == after_id
        if table in OF_CLAIMS:
            if same_keys or op != "u":
                row_id, ref = (before_id, before_ref) if op == "d" else (after_id, after_ref)
                user_id = None if ref is None else self.owners.get(ref)
                if user_id is None or user_id is UNKNOWN:
                    self._claims_row(table, op, before, after, row_id, ref, pos, row, index)
                else:
                    self._sequencer.row(table, op, before, after, user_id, user_id, pos, row)
                return
            self._claims_row(table, "d", before, None, before_id, before_ref, pos, row, index)
            self._claims_row(table, "c", None, after, after_id, after_ref, pos, row, index)
        elif same_keys:
            user: int | None = after_ref  # type: ignore[assignment]  # a user's id is an integer
            if table == CLAIMS:
                self.owners.put(after_id, user)  # type: ignore[arg-type]  # a row that is there has its id
            self._sequencer.row(table, op, before, after, user, _key(user, after_id), pos, row)
        elif table == CLAIMS:
            self._claim(change)
        else:
            self._user(change)

    def _unreadable(self, row: UnreadableRow) -> None:
        """A row of which only the keys are known, if that: whomever it belongs to is read live."""
        self._unread(row)
        if row.table is not None:
            self.counts[row.table][row.op] += 1
        users = self._concerned(row)
        stays = row.op == "u" and row.ref_kept and row.before_id == row.after_id is not None
        if not stays and row.table not in OF_CLAIMS and (row.table, row.op) != (USERS, "c"):
            self.owners.forget()
        self._sequencer.unreadable(users, row.reason)

    def _concerned(self, row: UnreadableRow) -> set[int] | None:
        """The users whose row that is and was; None where nobody can say."""
        refs: list[Id | None] = []
        if row.op != "c":
            refs.append(row.before_ref)
        if row.op != "d" and not (row.op == "u" and row.ref_kept):
            refs.append(row.after_ref)
        if row.table == CLAIMS and row.op != "c" and refs[0] is None and row.before_id is not None:
            refs[0] = _known(self.owners.get(row.before_id))
        elif row.table in OF_CLAIMS:
            refs = [None if ref is None else _known(self.owners.get(ref)) for ref in refs]
        users = {ref for ref in refs if isinstance(ref, int)}
        return users if row.table is not None and len(users) >= len(set(refs)) else None

    def _claims_row(
        self,
        table: str,
        op: str,
        before: str | None,
        after: str | None,
        row_id: Id | None,
        ref: Id | None,
        pos: int,
        row: int,
        index: int,
    ) -> None:
        """One row of a claim's, to the lane of the claim's user; where that is not certain, to every lane."""
        owners, sequencer = self.owners, self._sequencer
        if ref is None:
            sequencer.row(table, op, before, after, None, _key(None, row_id), pos, row)
            return
        user_id = owners.get(ref)
        trail = owners.trails.get(CLAIMS, ref)
        certain = trail is not None and trail.open
        if user_id is UNKNOWN:
            user_id = None if certain else self._ask(ref, index)
        if user_id is not None:
            sequencer.row(table, op, before, after, user_id, user_id, pos, row)
        elif sequencer.skipping:
            sequencer.row(table, op, before, after, None, ref, pos, row)  # it is in Kafka already
        elif ref in owners.uncertain and not certain:
            likely = owners.uncertain[ref]
            if likely is None:
                self.owners.trails.put(CLAIMS, ref, None)
            sequencer.orphan(table, op, before, after, likely, ref, pos, row)
        else:
            key = ref if trail is None else trail.key
            if trail is not None or (CLAIMS, ref) not in owners.trails:
                self._trail(CLAIMS, ref, key, sure=trail is not None and trail.sure)
            sequencer.row(table, op, before, after, None, key, pos, row, ties=_CLAIMLESS)

    def _claim(self, change: RowChange) -> None:
        """A claim that comes or goes; one whose user or id changes does both."""
        renumbered = change.op == "u" and change.before_id != change.after_id
        was: Id | None = None
        action = Action.NONE
        if change.op != "c":
            if not change.explicit and (change.op == "d" or renumbered):
                action = self._keys.claim_deleted if change.op == "d" else self._keys.claim_renumbered
            if change.op == "u" and action is Action.CASCADE:
                was = change.before_id
            self._claim_goes(
                change, action, stays=action is Action.NONE or (was is not None and change.before_ref is not None)
            )
        if change.op != "d":
            self._claim_comes(change, was, doubtful=action is Action.UNKNOWN)

    def _claim_goes(self, change: RowChange, action: Action, *, stays: bool) -> None:
        """The claim is its user's no longer; what belongs to it `stays`, or goes as a foreign key's `action` has it."""
        owners, trails = self.owners, self.owners.trails
        _, _, before, _, claim_id, owner, _, _, pos, row, _ = change
        assert claim_id is not None
        user_id: int | None = owner  # type: ignore[assignment]  # a user's id is an integer
        if user_id is None:
            trail = trails.get(CLAIMS, claim_id)
            key = claim_id if trail is None else trail.key
            if not stays:
                self._trail(CLAIMS, claim_id, key, sure=True)
                owners.deleted(claim_id, None)
            self._sequencer.row(CLAIMS, "d", before, None, None, key, pos, row, ties="" if stays else _CLAIMLESS)
            return
        self._trail(CLAIMS, claim_id, user_id, sure=True)
        if stays:
            owners.put(claim_id, None)  # it is nobody's until the stream says whose it is
        else:
            owners.deleted(claim_id, user_id)
        left = _STAYS if stays else _UNKNOWN if action is Action.UNKNOWN else ""
        self._sequencer.row(CLAIMS, "d", before, None, user_id, user_id, pos, row, ties=left)

    def _claim_comes(self, change: RowChange, was: Id | None, *, doubtful: bool) -> None:
        """The claim is its user's from here on. `was` is the id that its requirements had it by, where they follow it;
        where that is `doubtful`, too little is known of it."""
        owners, trails, sequencer = self.owners, self.owners.trails, self._sequencer
        _, op, _, after, before_id, before_ref, claim_id, heir, pos, row, _ = change
        assert claim_id is not None
        user_id: int | None = heir  # type: ignore[assignment]  # a user's id is an integer
        from_nobody = op == "u" and before_ref is None
        names = [claim_id] if was is None else [was, claim_id]
        is_new = op == "c" or before_id != claim_id
        unplaced = doubtful or (is_new and claim_id in owners.uncertain)
        owners.put(claim_id, user_id)
        if user_id is None:
            if was is not None or unplaced:
                trails.put(CLAIMS, claim_id, None)
            elif not from_nobody and (CLAIMS, claim_id) not in trails:
                self._trail(CLAIMS, claim_id, claim_id, sure=True)
            sequencer.row(CLAIMS, "c", None, after, None, claim_id, pos, row)
            return
        known = [trails.get(CLAIMS, name) for name in names if (CLAIMS, name) in trails]
        sure = None not in known and not (from_nobody and not known)
        found = [trail for trail in known if trail is not None]
        if from_nobody and not all(trail.sure for trail in found):
            sure = False
        if known:
            for name in names:
                self._trail(CLAIMS, name, user_id, sure=True, taken=name == claim_id)
        moved = unplaced or not sure
        ties = self._taking_over(found, user_id, was)
        sequencer.row(CLAIMS, "c", None, after, user_id, user_id, pos, row, moved, ties)

    def _user(self, change: RowChange) -> None:
        """A user who comes or goes; one whose id changes does both."""
        _, op, before, after, before_id, _, after_id, _, pos, row, explicit = change
        sequencer, owners = self._sequencer, self.owners
        was: int | None = None
        action = Action.NONE
        if op != "c":
            assert isinstance(before_id, int)
            if not explicit:
                action = self._keys.user_deleted if op == "d" else self._keys.user_renumbered
            ties = _STAYS
            if action is not Action.NONE:
                if op == "d":
                    owners.user_deleted(before_id)
                else:
                    owners.user_renumbered(before_id)
                ties = _UNKNOWN if action is Action.UNKNOWN else ""
                if op == "u" and action is Action.CASCADE:
                    was, taken = before_id, owners.trails.get(USERS, before_id)
                    waits = taken is not None and taken.lane != lane_of(before_id, sequencer.lanes)
                    ties = ties_text(Ties(leaves=True, after=((taken.lane, taken.seq),) if taken and waits else ()))
                    self._trail(USERS, before_id, before_id, sure=True)
            sequencer.row(USERS, "d", before, None, before_id, before_id, pos, row, ties=ties)
        if op != "d":
            assert isinstance(after_id, int)
            ties = ""
            moved = op == "u" and action is Action.UNKNOWN
            if was is not None:
                trail = self.owners.trails.get(USERS, was)
                moved = trail is None
                ties = "" if trail is None else self._taking_over([trail], after_id, was)
                self._trail(USERS, was, after_id, sure=True, taken=True)
            sequencer.row(USERS, "c", None, after, after_id, after_id, pos, row, moved, ties)

    @property
    def _keys(self) -> ForeignKeys:
        if self._known_keys is None:
            self._known_keys = self._ask_keys()
        return self._known_keys

    def _trail(self, table: str, id_: Id, key: Id, *, sure: bool, taken: bool = False) -> None:
        """What was left of a claim or user is spoken of next in the lane of this key."""
        place = self._sequencer.next_place(key)
        self.owners.trails.put(table, id_, None if place is None else Trail(key, *place, sure, not taken))

    def _taking_over(self, trails: list[Trail], user_id: int, was: Id | None) -> str:
        """What a user or claim says that takes over what was left."""
        lane = lane_of(user_id, self._sequencer.lanes)
        after = tuple((trail.lane, trail.seq) for trail in trails if trail.lane != lane)
        sure = all(trail.sure for trail in trails)
        return ties_text(Ties(was=was, after=after, sure=sure)) if after or was is not None or not sure else ""

    def _ask(self, claim_id: Id, index: int) -> int | None:
        """Whose a claim is that is not remembered, for the row at `index`; None where nobody knows."""
        if self._sequencer.skipping:
            return None  # the row is in Kafka already
        owners, reached = self.owners, self._reached
        silent = self._keys[:2] != (Action.NONE, Action.NONE)
        owners.learn(islice(self._events, index, None), reached, silent=silent)
        user_id = owners.get(claim_id)
        if user_id is UNKNOWN:  # more claims at once than are remembered
            owners.learn(self._events[index : index + 1], (0, 0), silent=silent)
            user_id = owners.get(claim_id)
        return user_id


def _no_rows() -> dict[str, dict[str, int]]:
    return {table.value: {"c": 0, "u": 0, "d": 0} for table in Table}


def _known(user_id: int | None) -> int | None:
    return None if user_id == UNKNOWN else user_id


def _key(user_id: Id | None, row_id: Id | None) -> Id:
    """What decides the lane: the user, and where that is NULL the row itself."""
    key = row_id if user_id is None else user_id
    if key is None:
        raise ValueError("a row without an id came from the binlog")
    return key
