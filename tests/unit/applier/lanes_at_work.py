"""A company whose history runs through router, messages, lanes and ledger, cut at random; and what is true of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import count, groupby
from random import Random
from typing import Any, Final

from consumer.applier.assigned_lane import Lane
from consumer.applier.batches import Batch, claim_of
from consumer.applier.other_lanes import ASK_SECONDS, OtherLanes
from consumer.applier.replay import decide
from consumer.binlog.events import Begin, Commit, Event, Id, RowChange
from consumer.binlog.position import ordered_position
from consumer.leads.judge import judge
from consumer.leads.left_behind import miss
from consumer.leads.model import Claim, Conversion, Key, Lead, Left, Requirement, Stint
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules
from consumer.mysql.foreign_keys import Action, ForeignKeys
from consumer.reader.claim_owners import Answer, ClaimOwners
from consumer.reader.router import Router
from consumer.reader.sequencer import Sequencer
from consumer.store.lanes import LaneState
from consumer.stream.checkpoint import Checkpoint
from consumer.stream.envelope import READERS, EnvelopeWriter
from consumer.stream.topics import LANE_TOPICS
from tests.unit.leads.memory_store import MemoryStore

LANES: Final = 4
RULES: Final = Rules()
Row = dict[str, Any]
KEYLESS: Final = ForeignKeys(Action.NONE, Action.NONE, Action.NONE, Action.NONE)


class Firm:
    """Users, claims and requirements, and the events that their changes are.

    `keys` is `none`, `native` (foreign keys cascade and the binlog is silent about it) or `logged` (they do, and it is
    not). Without `checks`, nothing cascades and rows need no parents.
    """

    def __init__(self, keys: str, *, tidy: bool = True) -> None:
        """`tidy`: claims are only of users that there are or once were."""
        self.keys = keys
        self._tidy = tidy
        self._ever: set[int | None] = {None}
        self.checks = True
        self.users: dict[int, Row] = {}
        self.claims: dict[int, Row] = {}
        self.requirements: dict[int, Row] = {}
        self.events: list[Event] = []
        self.now = 1_700_000_000_000_000
        self.snapshots: list[tuple[int, dict[int, Row], dict[int, Row], dict[int, Row], set[int]]] = []
        """Commit time and the rows after each transaction, and whose own row it touched."""
        self._touched: set[int] = set()
        self._pos = 4
        self._open: list[Event] = []

    @property
    def foreign_keys(self) -> ForeignKeys:
        return KEYLESS if self.keys == "none" else ForeignKeys()

    @property
    def _binding(self) -> bool:
        return self.checks and self.keys != "none"

    def transaction(
        self,
        steps: Sequence[tuple[Any, ...]],
        *,
        checks: bool,
        took_place: Callable[[tuple[Any, ...]], None] = lambda _: None,
    ) -> None:
        """Steps that take place together; those that foreign keys forbid are left out."""
        self.checks = checks
        self._open = []
        self._touched = set()
        for name, *arguments in steps:
            events = len(self._open)
            getattr(self, name)(*arguments)
            if len(self._open) > events:
                took_place((name, *arguments))
        if not self._open:
            return
        self.now += 1_000_000
        begin = Begin(None, 1, "b.000001", self._pos, self.now)
        self._pos += 100
        self.events += [begin, *self._open, Commit("b.000001", self._pos)]
        rows = deepcopy((self.users, self.claims, self.requirements))
        self.snapshots.append((self.now, *rows, self._touched))

    def _emit(self, table: str, before: Row | None, after: Row | None, *, explicit: bool | None = None) -> None:
        ref = {"users": "id", "claims": "user_id", "claim_requirements": "claim_id"}[table]
        op = "c" if before is None else "d" if after is None else "u"
        if table == "users":
            self._touched.update(row["id"] for row in (before, after) if row is not None)
        told = self.keys == "logged" or not self.checks if explicit is None else explicit
        self._open.append(
            RowChange(
                table,
                op,
                None if before is None else json.dumps(before),
                None if after is None else json.dumps(after),
                None if before is None else before["id"],
                None if before is None else before[ref],
                None if after is None else after["id"],
                None if after is None else after[ref],
                self._pos,
                len(self._open),
                told,
            )
        )

    def user(self, id_: int, signature: int | None, enabled: int) -> None:
        row = {"id": id_, "current_signature_file_id": signature, "is_enabled": enabled}
        self._ever.add(id_)
        self._emit("users", self.users.get(id_), row)
        self.users[id_] = row

    def claim(self, id_: int, user_id: int | None, status: str) -> None:
        if (self._binding and user_id is not None and user_id not in self.users) or not self._knows(user_id):
            return
        row = {"id": id_, "user_id": user_id, "status": status}
        self._emit("claims", self.claims.get(id_), row)
        self.claims[id_] = row

    def requirement(self, id_: int, claim_id: int, status: str) -> None:
        if self._binding and claim_id not in self.claims:
            return
        row = {"id": id_, "claim_id": claim_id, "type": "payslip", "status": status}
        self._emit("claim_requirements", self.requirements.get(id_), row)
        self.requirements[id_] = row

    def delete_requirement(self, id_: int) -> None:
        if (row := self.requirements.pop(id_, None)) is not None:
            self._emit("claim_requirements", row, None)

    def delete_claim(self, id_: int) -> None:
        if (row := self.claims.get(id_)) is None:
            return
        if self._binding and self.keys == "logged":
            for requirement in self._of_claim(id_):
                self.delete_requirement(requirement)
        elif self._binding:
            for requirement in self._of_claim(id_):
                del self.requirements[requirement]
        del self.claims[id_]
        self._emit("claims", row, None)

    def delete_user(self, id_: int) -> None:
        if (row := self.users.get(id_)) is None:
            return
        claims = [claim["id"] for claim in self.claims.values() if claim["user_id"] == id_]
        if self._binding and self.keys == "logged":  # MySQL logs claims before their requirements
            gone = [requirement for claim in claims for requirement in self._of_claim(claim)]
            for claim in claims:
                self._emit("claims", self.claims.pop(claim), None)
            for requirement in gone:
                self.delete_requirement(requirement)
        elif self._binding:
            for claim in claims:
                for requirement in self._of_claim(claim):
                    del self.requirements[requirement]
                del self.claims[claim]
        del self.users[id_]
        self._emit("users", row, None)

    def replace_claim(self, id_: int, user_id: int, status: str) -> None:
        """REPLACE INTO claims; MySQL 9.7 does not cascade there."""
        if (self._binding and user_id not in self.users) or not self._knows(user_id):
            return
        if (row := self.claims.get(id_)) is not None:
            if self._binding and self.keys == "native":
                for requirement in self._of_claim(id_):
                    del self.requirements[requirement]
            del self.claims[id_]
            self._emit("claims", row, None)
        self.claim(id_, user_id, status)

    def replace_user(self, id_: int, signature: int | None) -> None:
        """REPLACE INTO users."""
        if (row := self.users.get(id_)) is not None:
            if self._binding and self.keys == "native":
                self.delete_user(id_)
            else:
                del self.users[id_]
                self._emit("users", row, None)
        self.user(id_, signature, 1)

    def renumber_user(self, id_: int, to: int) -> None:
        if id_ not in self.users or to in self.users:
            return
        if self._binding:
            for claim in [one for one in self.claims.values() if one["user_id"] == id_]:
                moved = {**claim, "user_id": to}
                if self.keys == "logged":
                    self._emit("claims", claim, moved)
                self.claims[claim["id"]] = moved
        row = self.users.pop(id_)
        self._ever.add(to)
        self.users[to] = {**row, "id": to}
        self._emit("users", row, self.users[to])

    def renumber_claim(self, id_: int, to: int) -> None:
        if id_ not in self.claims or to in self.claims:
            return
        if self._binding:
            for requirement in self._of_claim(id_):
                row = self.requirements[requirement]
                moved = {**row, "claim_id": to}
                if self.keys == "logged":
                    self._emit("claim_requirements", row, moved)
                self.requirements[requirement] = moved
        row = self.claims.pop(id_)
        self.claims[to] = {**row, "id": to}
        self._emit("claims", row, self.claims[to])

    def _knows(self, user_id: int | None) -> bool:
        return not self._tidy or user_id in self._ever

    def _of_claim(self, claim_id: int) -> list[int]:
        return [row["id"] for row in self.requirements.values() if row["claim_id"] == claim_id]


History = tuple[dict[tuple[int, int], Stint], list[Conversion]]


def truth(firm: Firm) -> History:
    """Stints and conversions of the history as it was: every user judged after each transaction, by the tables."""
    leads: dict[int, Lead] = {}
    stints: dict[tuple[int, int], Stint] = {}
    conversions: list[Conversion] = []
    for version, users, claims, requirements, touched in firm.snapshots:
        for user_id in sorted(users.keys() | leads.keys() | touched):
            lead = leads.setdefault(user_id, Lead(user_id))
            row = users.get(user_id)
            new = not lead.stint
            before = lead.exists, lead.enabled, lead.signature, dict(lead.claims), dict(lead.requirements)
            lead.exists = row is not None
            lead.enabled = row is None or row["is_enabled"] != 0
            lead.signature = None if row is None else _text(row["current_signature_file_id"])
            lead.claims = {
                str(c["id"]): Claim(str(c["id"]), c["status"], 0) for c in claims.values() if c["user_id"] == user_id
            }
            lead.requirements = {
                str(r["id"]): Requirement(str(r["id"]), str(r["claim_id"]), r["type"], r["status"], None, 0)
                for r in requirements.values()
                if str(r["claim_id"]) in lead.claims
            }
            if new or before != (lead.exists, lead.enabled, lead.signature, lead.claims, lead.requirements):
                outcome = Outcome()
                judge(lead, version, RULES, outcome)
                for key, stint in outcome.stints.items():
                    held = stints.get(key)
                    reason = stint.opened_reason if held is None else held.opened_reason
                    stints[key] = stint._replace(opened_reason=reason)
                conversions += outcome.conversions
    return stints, _comparable(conversions)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _comparable(conversions: Sequence[Conversion]) -> list[Conversion]:
    return sorted(conversion._replace(reset_at=None) for conversion in conversions)


class Store(MemoryStore):
    """What PostgreSQL holds: leads, what was left behind, where the lanes stand."""

    def __init__(self) -> None:
        super().__init__(RULES)
        self.left: dict[str, Left] = {}
        self.positions = {lane: LaneState(1, 1, 0, {}) for lane in range(LANES)}

    def apply(self, batch: Batch) -> None:
        """A batch, as the applier's transaction does it."""
        versions = batch.versions
        waiting = [
            lead.user_id
            for lead in self.leads.values()
            if lead.judge_after is not None and lead.judge_after <= versions.get(lane_number(lead.user_id), -1)
        ]
        wanted = {claim for orphan in batch.orphans if (claim := claim_of(orphan)) is not None}
        owners = [(claim, lead.user_id) for lead in self.leads.values() for claim in lead.claims if claim in wanted]
        users = batch.user_ids.union(waiting, (user_id for _, user_id in owners))
        leads = {user_id: deepcopy(self.leads[user_id]) for user_id in users if user_id in self.leads}
        left = {name: deepcopy(self.left[name]) for name in batch.left_names if name in self.left}
        held = {
            one.claim_id
            for one in batch.arrivals
            for lead in self.leads.values()
            if lead.user_id != one.user_id
            and (earlier := lead.claims.get(one.claim_id)) is not None
            and earlier.version < one.version
        }
        miss(batch.arrivals, held, left)
        outcome = decide(batch, leads, waiting, owners, lanes=LANES, rules=RULES, left=left)
        self._write(outcome)
        for name, now in outcome.left.items():
            self.left.pop(name, None)
            if now:
                self.left[name] = deepcopy(now)
        for part in batch.lanes:
            assert self.positions[part.lane].next_seq == part.expected_seq
            self.positions[part.lane] = LaneState(part.epoch, part.next_seq, part.version, dict(part.offsets))


def lane_number(user_id: int) -> int:
    from consumer.lane import lane_of

    return lane_of(user_id, LANES)


class Process:
    """An applier: some lanes, batches handed out and not applied yet."""

    def __init__(self, store: Store, lanes: Sequence[int]) -> None:
        self.store = store
        self.lanes = {number: Lane(number, store.positions[number], 1_000_000) for number in lanes}
        clock = partial(next, count(0.0, ASK_SECONDS))  # at every look everybody may be asked again
        self.others = OtherLanes(lambda numbers: {number: store.positions[number] for number in numbers}, clock)
        self.batches: list[Batch] = []

    def gather(self, dice: Random) -> bool:
        """Takes some of what may go into a batch; whether there was any."""
        self.others.look()
        gathered = []
        for number in dice.sample(sorted(self.lanes), len(self.lanes)):
            lane = self.lanes[number]
            while dice.random() < 0.8 and self.others.may_go(lane, self.lanes):
                lane.gather(dice.randint(1, 5))
            gathered.append(lane)
        parts = [part for lane in gathered if (part := lane.take()) is not None]
        if parts:
            self.batches.append(Batch(1, parts, 0))
        return bool(parts)


def play(firm: Firm, dice: Random, *, capacity: int = 1_000, behind: bool = False, restarts: bool = False) -> Store:
    """The history through a reader that sees it in pieces and appliers that take it in others.

    `behind`: the reader may end in the midst of a transaction, and the server's answers may be from later. With
    `restarts` it forgets whose claims are whose now and then.
    """
    sent: list[tuple[str, Any, int]] = []
    start = Checkpoint(
        epoch=1, flavor="mysql", server="", gtid_set="", file="", pos=4, version=0, next_seqs=[1] * LANES
    )
    sequencer = Sequencer(
        start,
        "p.{}".format,
        EnvelopeWriter("p", "mysql", "company", 1),
        lambda topic, value, _key, lane: sent.append((topic, value, lane)),
    )
    reached = ordered_position("b.000001", 4)
    now = reached
    claims: dict[int, Row] = {}

    def ask(claim_ids: list[Id]) -> Answer:
        return Answer({id_: claims[id_]["user_id"] for id_ in claim_ids if id_ in claims}, now)

    owners = ClaimOwners(capacity, ask)

    def router() -> Router:
        return Router(
            sequencer, owners, lambda _: None, reached=lambda: reached, foreign_keys=lambda: firm.foreign_keys
        )

    routing = router()
    places = [event.pos for event in firm.events if isinstance(event, Commit)]
    for piece in _pieces(firm.events, dice, whole=not behind):
        ends = [event.pos for event in piece if isinstance(event, Commit)]
        reached = max([reached, *(ordered_position("b.000001", pos) for pos in ends)])
        seen = max([index for index, pos in enumerate(places) if (1, pos) <= reached], default=-1)
        if behind:
            seen = dice.randint(max(seen, 0), len(places) - 1)
        whole = isinstance(piece[-1], Commit)
        seen = min(seen + (not whole and (1, places[seen]) <= reached), len(places) - 1)
        now, claims = (1, places[seen]), firm.snapshots[seen][2]
        if restarts and dice.random() < 0.1 and sequencer.may_rest:
            owners.forget()
            routing = router()
        routing.feed(piece)
    sequencer.heartbeat(firm.now + 1)
    store = Store()
    split = dice.randint(1, LANES - 1)
    numbers = dice.sample(range(LANES), LANES)
    processes = [Process(store, numbers[:split]), Process(store, numbers[split:])]
    for process in processes:
        for lane, messages in groupby(sorted(sent, key=lambda one: one[2]), key=lambda one: one[2]):
            if lane in process.lanes:
                _push(process.lanes[lane], [(topic, value) for topic, value, _ in messages])
    idle = 0
    while idle < 50:
        process = dice.choice(processes)
        moved = process.gather(dice)
        while process.batches and dice.random() < 0.7:
            store.apply(process.batches.pop(0))
            moved = True
        idle = 0 if moved else idle + 1
    for process in processes:
        for batch in process.batches:
            store.apply(batch)
        assert all(not len(lane.merge) for lane in process.lanes.values()), "lanes wait for each other"
    return store


def _push(lane: Lane, messages: list[tuple[str, Any]]) -> None:
    for offset, (topic, value) in enumerate(messages):
        name = topic.partition(".")[2]
        block, change = READERS[name](value.encode())
        assert lane.merge.push(LANE_TOPICS.index(name), block.seq, offset, change)
        if block.ties is not None and block.ties.after:
            lane.comes_after(block.seq, block.ties.after)


def _pieces(events: list[Event], dice: Random, *, whole: bool) -> Iterator[list[Event]]:
    start = 0
    while start < len(events):
        size = dice.choice((1, 2, 5, 20, 100))
        while whole and start + size < len(events) and not isinstance(events[start + size - 1], Commit):
            size += 1
        yield events[start : start + size]
        start += size


def found(store: Store) -> History:
    return store.stints, _comparable(list(store.conversions.values()))


def held_requirements(store: Store) -> dict[Key, tuple[int, str | None]]:
    """Requirements that leads hold on claims of theirs: user and status."""
    return {
        id_: (lead.user_id, asked.status)
        for lead in store.leads.values()
        for id_, asked in lead.requirements.items()
        if asked.claim_id in lead.claims
    }
