"""A company, a replica of it and what we hold of it, all in memory: what a repairer talks to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from threading import Event
from typing import Any, Final, cast

from consumer.lane import lane_of
from consumer.leads.model import Claim, ClaimRow, Lead, Requirement, RequirementRow, UserRow
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules, queue_for
from consumer.mysql.live_read import LiveLead, LiveRead
from consumer.store.call_centre.entries import EntryDrift
from consumer.store.lanes import LanePoint
from consumer.store.leads import Present, Recheck
from reconciler.replica import Checksums
from reconciler.runs.repair import Repairer
from reconciler.runs.wait_for_stream import LaneMonitor

LANES: Final = 4
SECOND: Final = 1_000_000
NOW: Final = 1_700_000_000 * SECOND
"""What the company's clock says (µs)."""
LONG_AGO: Final = NOW - 3600 * SECOND


class BothSides:
    """Everything at once: `live` is MySQL, `leads` is PostgreSQL."""

    def __init__(self) -> None:
        self.live: dict[int, LiveLead] = {}
        self.later: list[dict[int, LiveLead]] = []
        """What MySQL holds at the reads after the first, one after the other."""
        self.leads: dict[int, Lead] = {}
        self.rules = Rules()
        self.lanes = dict.fromkeys(range(LANES), LanePoint(NOW, 5))
        self.lag: float | None = 0.0
        self.clock = NOW
        self.mariadb = False
        self.unreadable: dict[int, Exception] = {}
        self.refused: dict[int, Exception] = {}
        self.wrong_entries: list[EntryDrift] = []
        self.held_entries: set[int] = set()
        """Of whom another session holds entries."""
        self.due: list[int] = []
        self.elsewhere: set[int] = set()
        self.unseen: list[int] = []
        self.misjudged: set[int] = set()
        self.ends: list[int] = []
        """When reads end (µs), one after the other; the others end at once."""
        self.read: list[list[int]] = []
        """Whom MySQL was asked for, read by read."""
        self.asked_checksums: list[list[int]] = []
        self.done: list[int] = []
        self.postponed: dict[int, tuple[str, float, bool]] = {}
        self.asked: dict[int, str] = {}
        self.shown: list[Present] = []
        self.written: list[Outcome] = []
        self.settled: list[set[int]] = []
        """Of whom each of them is seen at once, whatever their lanes have passed."""
        self.loaded: list[list[int]] = []
        self.past_held: list[bool] = []
        self.stop = Event()

    def repairer(
        self, *, batch_size: int = 100, dry_run: bool = False, gives_up: bool = False, still: float = 0.0
    ) -> Repairer:
        """A repairer at work here, that waits for nobody."""
        monitor = LaneMonitor(lambda: self.lanes, still, 0.0, self.stop)
        return Repairer(
            cast("Any", FakeReplica(self)), cast("Any", FakeStore(self)), cast("Any", FakePostgres(self)), monitor,
            stop=self.stop, batch_size=batch_size, dry_run=dry_run, gives_up=gives_up,
        )  # fmt: skip

    def customer(self, user_id: int, signature: str | None = None, *, held: str | bool | None = True) -> None:
        """A customer in MySQL; we hold the same, or another signature, or with False nothing."""
        self.live[user_id] = LiveLead(UserRow(user_id, signature, True), {}, {}, {})
        if held is not False:
            lead = Lead(user_id, exists=True, signature=signature if held is True else held)
            lead.stint, lead.version, lead.opened_at = 1, LONG_AGO, LONG_AGO
            lead.queue_type, lead.rule = queue_for(lead, self.rules)
            self.leads[user_id] = lead

    def sums(self, user_ids: Iterable[int], *, live: bool) -> Checksums:
        """A checksum of the signature stands for all rows."""
        found = {}
        for user_id in user_ids:
            if live and (row := self.live.get(user_id)) is not None and row.user is not None:
                found[user_id] = frozenset({(1, 1, hash(row.user.signature))})
            elif not live and (lead := self.leads.get(user_id)) is not None and lead.exists:
                found[user_id] = frozenset({(1, 1, hash(lead.signature))})
        return found


NOBODY: Final = LiveLead(None, {}, {}, {})


class FakeReplica:
    """MySQL."""

    def __init__(self, world: BothSides) -> None:
        self._world = world
        self.address = "replica"
        self.mariadb = world.mariadb

    def lag(self) -> float | None:
        return self._world.lag

    def clock(self) -> int:
        return self._world.clock

    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        self._world.asked_checksums.append(list(user_ids))
        self._fail(user_ids)
        return self._world.sums(user_ids, live=True)

    def read_users(self, user_ids: Sequence[int]) -> LiveRead:
        world = self._world
        self._fail(user_ids)
        world.read.append(list(user_ids))
        if len(world.read) > 1 and world.later:
            world.live = {**world.live, **world.later.pop(0)}
        ended = world.ends.pop(0) if world.ends else NOW
        return LiveRead(NOW, ended, {user_id: world.live.get(user_id, NOBODY) for user_id in user_ids})

    def _fail(self, user_ids: Sequence[int]) -> None:
        for user_id in user_ids:
            if user_id in self._world.unreadable:
                raise self._world.unreadable[user_id]


class FakePostgres:
    """What we hold, read without locks."""

    def __init__(self, world: BothSides) -> None:
        self._world = world

    def leads(self, user_ids: Iterable[int]) -> dict[int, Lead]:
        return {user_id: deepcopy(self._world.leads[user_id]) for user_id in user_ids if user_id in self._world.leads}

    def rules(self) -> Rules:
        return self._world.rules

    def lanes(self) -> Mapping[int, LanePoint]:
        return self._world.lanes

    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        return self._world.sums(user_ids, live=False)

    def misjudged(self, user_ids: Sequence[int]) -> list[int]:
        return sorted(self._world.misjudged.intersection(user_ids))

    def shown_elsewhere(self, user_ids: Sequence[int]) -> set[int]:
        return self._world.elsewhere.intersection(user_ids)

    def unseen(self) -> list[int]:
        return self._world.unseen

    def entries_wrong(self, user_ids: Sequence[int]) -> list[EntryDrift]:
        return [one for one in self._world.wrong_entries if one.user_id in user_ids]


class FakeStore:
    """Transactions."""

    lane_count = LANES

    def __init__(self, world: BothSides) -> None:
        self._world = world

    @contextmanager
    def transaction(self, *, past_held: bool = False) -> Iterator[FakeTransaction]:
        self._world.past_held.append(past_held)
        yield FakeTransaction(self._world)

    def due_rechecks(self, limit: int) -> list[Recheck]:
        return [Recheck(user_id, "asked", 0) for user_id in self._world.due[:limit]]


class FakeTransaction:
    """What a store's transaction does, at once."""

    def __init__(self, world: BothSides) -> None:
        self._world = world
        self.rules = world.rules

    def load(self, user_ids: Iterable[int]) -> dict[int, Lead]:
        wanted = list(user_ids)
        self._world.loaded.append(wanted)
        for user_id in wanted:
            if user_id in self._world.refused:
                raise self._world.refused[user_id]
        return {user_id: deepcopy(self._world.leads[user_id]) for user_id in wanted if user_id in self._world.leads}

    def lane_versions(self) -> dict[int, int]:
        return {lane: point.version for lane, point in self._world.lanes.items()}

    def write(self, outcome: Outcome, settled: Collection[int] = ()) -> None:
        self._world.written.append(outcome)
        self._world.settled.append(set(settled))
        self._world.leads.update(outcome.leads)
        self.queue_rechecks(outcome.rechecks)

    def done_rechecks(self, user_ids: Iterable[int]) -> None:
        self._world.done += sorted(user_ids)
        self._world.due = [user_id for user_id in self._world.due if user_id not in self._world.done]

    def queue_rechecks(self, reasons: Mapping[int, str]) -> None:
        self._world.asked.update(reasons)

    def postpone_rechecks(self, user_ids: Iterable[int], error: str, seconds: float, *, doubled: bool = False) -> None:
        users = list(user_ids)
        self._world.postponed.update(dict.fromkeys(users, (error, seconds, doubled)))
        self._world.due = [user_id for user_id in self._world.due if user_id not in users]

    def show(self, presents: Sequence[Present]) -> int:
        self._world.shown += presents
        return len(presents)

    def repair_entries(self, user_ids: Sequence[int]) -> list[EntryDrift]:
        free = set(user_ids) - self._world.held_entries
        found = [one for one in self._world.wrong_entries if one.user_id in free]
        self._world.wrong_entries = [one for one in self._world.wrong_entries if one not in found]
        return found


def claimed(world: BothSides, user_id: int, status: str) -> None:
    """A claim in MySQL and here, with one document of this status in MySQL that we hold as pending."""
    lead, live = world.leads[user_id], world.live[user_id]
    lead.claims["7"] = Claim("7", "open", LONG_AGO)
    lead.requirements["70"] = Requirement("70", "7", "passport", "pending", None, LONG_AGO)
    lead.queue_type, lead.rule = queue_for(lead, world.rules)
    lead.outstanding_seen = frozenset({"70"})
    world.live[user_id] = live._replace(
        claims={"7": ClaimRow("7", user_id, "open")},
        requirements={"70": RequirementRow("70", "7", "passport", status, None)},
    )


def mates(user_id: int) -> tuple[int, int]:
    """Another user of the same lane, and one of another lane."""
    lane = lane_of(user_id, LANES)
    others = range(user_id + 1, user_id + 100)
    return (
        next(other for other in others if lane_of(other, LANES) == lane),
        next(other for other in others if lane_of(other, LANES) != lane),
    )
