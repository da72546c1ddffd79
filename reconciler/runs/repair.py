"""Drift: found by comparing, confirmed by reading again once the stream has passed, repaired through the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from itertools import islice
from math import isinf
from threading import Event
from typing import Final, NamedTuple, ParamSpec, Self, TypeVar

import psycopg
import structlog

from consumer.explain import lead_of
from consumer.lane import lane_of
from consumer.leads.drift import Drift, differences
from consumer.leads.live_read import repair
from consumer.leads.model import Lead, QueueType
from consumer.leads.outcome import Outcome
from consumer.leads.rules import Rules, queue_for
from consumer.metrics import count_conversions
from consumer.mysql.errors import QueryFailed, Refused, TooSlow
from consumer.mysql.live_read import LiveLead, LiveRead
from consumer.store.call_centre.entries import EntryDrift
from consumer.store.conflicts import again_if_in_the_way
from consumer.store.errors import TransactionConflict
from consumer.store.leads import LeadStore, LeadTransaction, Present
from consumer.store.refusal import reason_of
from reconciler.postgres import Postgres
from reconciler.replica import Checksums, ReplicaReads
from reconciler.runs.drift import confirmed, entry_kinds
from reconciler.runs.wait_for_stream import LaneMonitor, Stopped, has_begun, lanes_ahead

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

log = structlog.get_logger(__name__)

COMMIT_SECONDS: Final = 60
"""Longer than any commit takes from its timestamp to being visible."""
ROUNDS: Final = 3
"""How often a lead whose rows change between two reads is read again before it is left to a later run."""
CANDIDATES_AT_ONCE: Final = 5000
"""Leads that wait for the stream together; bounds memory."""
CHECKSUMS_AT_ONCE: Final = 5000
"""Users whose checksums one statement computes."""
SLOW_IN_A_ROW: Final = 3
"""So many that are too slow each alone, one after the other with nothing read between, are so for the replica's sake:
for whatever holds a table or keeps the server busy, and nobody would be read sooner in smaller pieces."""
RECHECKS_AT_ONCE: Final = 1000
ENTRIES_AT_ONCE: Final = 2000
"""Leads whose entries are put right in one transaction."""
NAMED: Final = 100
"""How many leads a line of the log names."""
REASONS: Final = 5
"""How many reasons of refusals a report names."""
RECHECK_AGAIN_SECONDS: Final = 60.0
"""When drift that could not be confirmed, or repaired, is looked at again."""
STANDS_STILL: Final = "replication on the replica stands still"
PUT_BACK: Final = "the replica's clock was put back, and has to catch up with the stream's versions"
LISTED: Final = 1000
"""Of how many customers a record of a run lists the ids: enough to look at, and a record stays small."""


@dataclass(slots=True)
class RunTally:
    """What a run found and did; counts of leads unless said otherwise."""

    checked: int = 0
    in_step: int = 0
    brought_by_stream: int = 0
    """Differed at first; the stream brought it meanwhile."""
    conversions_published: int = 0
    """Conversions of stints that the call centre's table lacked, and has now."""
    entries_repaired: int = 0
    """Whose entries in the call centre's queue were put right."""
    repaired: int = 0
    """The stream had passed them and had not brought what MySQL holds: this should be zero."""
    settled: int = 0
    """Left by the stream to a live read, because it met them before anything was known of them."""
    first_seen: int = 0
    """Of the repaired and settled ones, those that were judged for the first time."""
    queue_changes: int = 0
    shown: int = 0
    """Put into another queue by the present, while the stream has yet to bring how they came there."""
    conversions_waiting: Counter[str] = field(default_factory=Counter)
    """Conversions by type that lie between what we hold and the present, and are the stream's to record."""
    left_to_recheck: int = 0
    """Drift that could not be confirmed, left to a later recheck, and entries that another session held."""
    failed: int = 0
    """Refused by PostgreSQL."""
    refused: Counter[str] = field(default_factory=Counter)
    """Of those, how many for which reason."""
    unheld: int = 0
    """Users whose ids no bigint holds: they can be no leads."""
    rechecks: int = 0
    """Rechecks processed."""
    drift: Counter[str] = field(default_factory=Counter)
    """Confirmed differences by kind."""
    conversions: Counter[str] = field(default_factory=Counter)
    """By type."""
    drift_users: dict[int, None] = field(default_factory=dict)
    """Whom the drift is about, in the order of finding, each once: the first LISTED of them."""
    repaired_users: dict[int, None] = field(default_factory=dict)
    """Who was repaired, likewise."""

    def as_counts(self) -> dict[str, object]:
        """What `leadstream.runs` and the JSON report hold: every count by its name."""
        counts = {count.name: getattr(self, count.name) for count in fields(self)}
        counts |= {name: dict(by_kind) for name, by_kind in counts.items() if isinstance(by_kind, Counter)}
        return counts | {"drift_users": list(self.drift_users), "repaired_users": list(self.repaired_users)}

    def list_drift(self, users: Iterable[int]) -> None:
        """Lists whom drift is about."""
        _list(self.drift_users, users)

    def repair(self, users: Sequence[int]) -> None:
        """Counts and lists who was repaired."""
        self.repaired += len(users)
        _list(self.repaired_users, users)

    def refuse(self, reason: str) -> None:
        """Counts a lead that PostgreSQL refused."""
        self.failed += 1
        self.refused[reason] += 1

    def refusal(self) -> str | None:
        """How many leads were refused, and why, in a sentence; None where none was."""
        if not self.failed:
            return None
        named = self.refused.most_common(REASONS)
        reasons = [f"{reason} ({count:,})" for reason, count in named]
        if others := self.failed - sum(count for _, count in named):
            reasons.append(f"other reasons ({others:,})")
        return f"{self.failed:,} of {max(self.checked, self.failed):,} leads were refused: {', '.join(reasons)}"

    def take(self, outcome: Outcome) -> None:
        """Counts what a committed transaction did."""
        first = sum(1 for change in outcome.queue_changes.values() if change.first_sight)
        self.first_seen += first
        self.queue_changes += len(outcome.queue_changes) - first
        self.conversions.update(
            one.conversion_type.value for one in outcome.conversions if (one.user_id, one.stint) not in outcome.there
        )


class Reading(NamedTuple):
    """The times of a live read as the ledger takes them (µs): what it surely holds, and when it had ended."""

    floor: int
    ended: int

    def behind(self, late: int) -> Reading:
        """The same of a replica that was `late` (µs) behind its source: what it surely holds is older by as much."""
        return self._replace(floor=self.floor - late)


def reading(live: LiveRead, *, whole_seconds: bool) -> Reading:
    """When a read was made; where versions are whole seconds (MariaDB), its end is rounded up to the next one."""
    ended = (live.ended // 1_000_000 + 1) * 1_000_000 if whole_seconds else live.ended
    return Reading(live.started - COMMIT_SECONDS * 1_000_000, ended)


class Candidate(NamedTuple):
    """A lead that differed when it was read first, and that read's times."""

    user_id: int
    first: LiveLead
    read: Reading


class Basis(NamedTuple):
    """What a transaction judges by: the rules in force and, where they may be newer than a lead's, how far each lane
    has come (µs)."""

    rules: Rules
    lane_versions: Mapping[int, int]

    @classmethod
    def of(cls, tx: LeadTransaction, leads: Iterable[Lead]) -> Self:
        """What this transaction judges these leads by."""
        outdated = any(lead.rules_version != tx.rules.version for lead in leads)
        return cls(tx.rules, tx.lane_versions() if outdated else {})

    def until(self, user_id: int) -> int:
        """How far the lane of a user has come, as far as it matters."""
        return self.lane_versions[lane_of(user_id, len(self.lane_versions))] if self.lane_versions else 0


@dataclass(slots=True)
class _Batch:
    """What one transaction decides about candidates."""

    outcome: Outcome = field(default_factory=Outcome)
    drift: Counter[str] = field(default_factory=Counter)
    repaired: list[int] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    caught_up: list[int] = field(default_factory=list)
    retry: list[Candidate] = field(default_factory=list)


class Repairer:
    """Users compared with MySQL, and what differs repaired, each difference confirmed first."""

    def __init__(
        self,
        replica: ReplicaReads,
        store: LeadStore,
        postgres: Postgres,
        monitor: LaneMonitor,
        *,
        stop: Event,
        batch_size: int = 100,
        dry_run: bool = False,
        gives_up: bool = False,
    ) -> None:
        """`dry_run` finds and confirms, but writes nothing. `gives_up` takes what lanes that stand still have yet to
        bring for lost: a person says so."""
        self.replica = replica
        self.store = store
        self.postgres = postgres
        self.tally = RunTally()
        self.dry_run = dry_run
        self._monitor = monitor
        self._stop = stop
        self._batch_size = batch_size
        self._candidates: list[Candidate] = []
        self._rechecking = False
        self._behind = 0.0
        self._gives_up = gives_up
        self._given_up: set[int] = set()
        """Lanes that stand still, and whose changes are taken for lost."""

    def new_tally(self) -> RunTally:
        """Begins to count anew; what is found and done from now on is counted in what this returns."""
        self.tally = RunTally()
        return self.tally

    def recheck_due(self) -> None:
        """Processes every recheck that is due, once. Raises SourceError, StoreError and Stopped."""
        self._rechecking = True
        seen: set[int] = set()
        left = 0  # of those seen, so many are due still: a dry run strikes none off
        try:
            while True:
                there = [recheck.user_id for recheck in self.store.due_rechecks(RECHECKS_AT_ONCE + left)]
                due = [user_id for user_id in there if user_id not in seen]
                if not due:
                    return
                left = len(there) if self.dry_run else len(there) - len(due)
                seen.update(due)
                self.check(due)
                self.resolve()
                self.tally.rechecks += len(due)
        finally:
            self._rechecking = False

    def check(self, user_ids: Iterable[int], known: Checksums | None = None) -> None:
        """Compares these users: their checksums first, row by row where that differs; what differs waits for `resolve`.

        `known` is what the replica holds of them, where the caller knows that already. Leads that the stream left to a
        live read are settled at once where it has brought all that the read surely holds. Rechecks of those that are in
        step are struck off.

        Raises SourceError, StoreError and Stopped, all between two batches.
        """
        for chunk in batches(user_ids, CHECKSUMS_AT_ONCE):
            if self._stop.is_set():
                raise Stopped
            live, unread, slow = (known, set[int](), set[int]()) if known is not None else self._checksums(chunk)
            held = self.postgres.checksums(chunk)
            suspects = unread.union(self.postgres.misjudged(chunk))
            looked_at = [user for user in chunk if user not in slow]
            doubtful = [user for user in looked_at if live.get(user) != held.get(user) or user in suspects]
            in_step = set(looked_at).difference(doubtful)
            self.tally.checked += len(in_step)
            self.tally.in_step += len(in_step)
            self._done(in_step)
            self._compare(doubtful)

    def _checksums(self, user_ids: Sequence[int]) -> tuple[Checksums, set[int], set[int]]:
        """What the replica holds of users; those for whom it computes nothing, whose rows tell why; and those for whom
        it takes too long. These are left for later: side by side they would pass for a replica that is slow for all.
        """
        live: Checksums = {}
        unread: set[int] = set()
        slow: set[int] = set()

        def unreadable(user_id: int, error: QueryFailed | Refused) -> None:
            if isinstance(error, TooSlow):
                slow.add(user_id)
                self._unread(user_id, error)
            else:
                unread.add(user_id)

        for _, part in readable(self.replica.checksums, user_ids, unreadable, self._stop):
            live.update(part)
        return live, unread, slow

    def _compare(self, user_ids: Iterable[int]) -> None:
        """Compares users row by row."""
        for batch in batches(user_ids, self._batch_size):
            if self._stop.is_set():
                raise Stopped
            for part, live in self._readable(self.replica.read_users, batch):
                self._compare_with(part, live)
            if len(self._candidates) >= CANDIDATES_AT_ONCE:
                self.resolve()

    def _compare_with(self, batch: Sequence[int], live: LiveRead) -> None:
        held = self.postgres.leads(batch)
        rules = self.postgres.rules()
        read = self._reading(live)
        elsewhere = self.postgres.shown_elsewhere(batch)
        in_step, unsettled, back = [], [], []
        for user_id in batch:
            candidate = Candidate(user_id, live.leads[user_id], read)
            found = differences(held.get(user_id), candidate.first.state, rules)
            if not found:
                in_step.append(user_id)
                if user_id in elsewhere:
                    back.append(candidate)
            elif found[0].kind is Drift.UNSETTLED:
                unsettled.append(candidate)
            else:
                self._candidates.append(candidate)
        self.tally.checked += len(batch)
        self.tally.in_step += len(in_step)
        self._done(in_step)
        if back and not self.dry_run and self._replication_moves(back):
            piecewise(self._show, back, self._unshown)  # shown by an earlier read, and back where history has them
        if unsettled and self._replication_moves(unsettled):
            late = self._late(unsettled, read.floor)
            self._wait_for_stream([candidate for candidate in unsettled if candidate.user_id in late])
            self._candidates += self._confirm([one for one in unsettled if one.user_id not in late], live)

    def show_history(self) -> None:
        """Shows the call centre what history says of those whose rows somebody held when it was written.

        Appliers do so, too, but there may be none. Raises StoreError.
        """
        if not self.dry_run:
            for batch in batches(self.postgres.unseen(), ENTRIES_AT_ONCE):
                piecewise(self._show_history, batch, self._refuse_history)

    def _show_history(self, user_ids: Sequence[int]) -> None:
        with self.store.transaction(past_held=True) as tx:
            tx.load(user_ids)
            tx.write(Outcome())

    def check_entries(self, user_ids: Iterable[int]) -> None:
        """Puts the call centre's entries of these users right, by what its agents see of them. Raises StoreError."""
        for chunk in batches(user_ids, ENTRIES_AT_ONCE):
            self.repair_entries(self.postgres.entries_wrong(chunk))

    def repair_entries(self, wrong: Sequence[EntryDrift]) -> None:
        """Puts the entries right of leads that were found wrong, whatever is wrong with them now; a dry run counts.

        Those that are wrong still, because another session holds a row, are left for another time.
        """
        if self.dry_run:
            self._count_entries(wrong)
            return
        unrepaired = {one.user_id for one in wrong}

        def refuse(user_id: int, error: psycopg.Error | TransactionConflict) -> None:
            unrepaired.discard(user_id)
            self._refuse_entries(user_id, error)

        for found in piecewise(self._repair_entries, [one.user_id for one in wrong], refuse):
            unrepaired.difference_update(one.user_id for one in found)
            self._count_entries(found)
            if found:
                users = [one.user_id for one in found]
                self.tally.entries_repaired += len(users)
                kinds = Counter(kind.value for one in found for kind in entry_kinds(one))
                log.warning("entries_repaired", count=len(users), user_ids=users[:NAMED], kinds=dict(kinds))
        if unrepaired and (held := [one.user_id for one in self.postgres.entries_wrong(sorted(unrepaired))]):
            self.tally.left_to_recheck += len(held)
            log.info("entries_held", count=len(held), user_ids=held[:NAMED], reason="another session holds their rows")

    def _repair_entries(self, user_ids: Sequence[int]) -> list[EntryDrift]:
        with self.store.transaction(past_held=True) as tx:
            tx.load(user_ids)
            return tx.repair_entries(user_ids)

    def _count_entries(self, wrong: Sequence[EntryDrift]) -> None:
        self.tally.drift.update(kind.value for one in wrong for kind in entry_kinds(one))
        self.tally.list_drift(one.user_id for one in wrong)

    def _refuse_history(self, user_id: int, error: psycopg.Error | TransactionConflict) -> None:
        log.error("history_not_shown", user_id=user_id, reason=why(error))
        self.tally.refuse(why(error))

    def _refuse_entries(self, user_id: int, error: psycopg.Error | TransactionConflict) -> None:
        log.error("entries_refused", user_id=user_id, reason=why(error))
        self.tally.refuse(why(error))

    def refuse(self, user_id: int, error: psycopg.Error | TransactionConflict) -> None:
        """Logs and counts a lead whose rows PostgreSQL refused."""
        log.error("lead_refused", user_id=user_id, reason=why(error))
        self.tally.refuse(why(error))

    def resolve(self) -> None:
        """Waits for the stream, reads the candidates again, and repairs what still differs.

        What a replica shows whose replication stands still may be old: nothing is repaired by it.

        Raises SourceError, StoreError and Stopped.
        """
        candidates, self._candidates = self._candidates, []
        if not candidates or not self._replication_moves(candidates):
            return
        lanes = self.store.lane_count
        for _ in range(ROUNDS):
            if not candidates:
                return
            marks: dict[int, int] = {}
            for candidate in candidates:
                lane = lane_of(candidate.user_id, lanes)
                marks[lane] = max(marks.get(lane, 0), candidate.read.ended)
            waited = self._monitor.wait(marks)
            behind = (waited.lagging | waited.still) - self._give_up(waited.still)
            self._wait_for_stream([s for s in candidates if lane_of(s.user_id, lanes) in behind])
            ready = [s for s in candidates if lane_of(s.user_id, lanes) not in behind]
            candidates = []
            for batch in batches(ready, self._batch_size):
                if self._stop.is_set():
                    raise Stopped
                users = {candidate.user_id: candidate for candidate in batch}
                for part, live in self._readable(self.replica.read_users, list(users)):
                    passed = self._passed([users[user_id] for user_id in part])
                    candidates += self._confirm(passed, live) if passed else []
        self._leave(candidates, "its rows changed at every look")

    def _late(self, candidates: Sequence[Candidate], floor: int) -> set[int]:
        """Those whose lane has yet to bring changes that a read with this floor (µs) surely holds.

        Merged now, the changes would be passed over for good when they come.
        """
        points = self.postgres.lanes()
        if not has_begun(points):
            return set()
        late = {lane for lane, point in points.items() if point.version < floor}
        if self._gives_up:
            late -= self._give_up(self._monitor.look(dict.fromkeys(late, floor)).still)
        return {one.user_id for one in candidates if lane_of(one.user_id, self.store.lane_count) in late}

    def _passed(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those of which the stream has nothing to bring; it may have begun since nobody waited for it any more."""
        points, lanes = self.postgres.lanes(), self.store.lane_count
        behind = {
            one.user_id for one in candidates
            if (lane := lane_of(one.user_id, lanes)) not in self._given_up and points[lane].version < one.read.ended
        } if has_begun(points) else set()  # fmt: skip
        if behind:
            self._wait_for_stream([one for one in candidates if one.user_id in behind])
        return [one for one in candidates if one.user_id not in behind]

    def _give_up(self, still: set[int]) -> set[int]:
        """Those of the lanes that stand still of which nothing is expected any more: all, where a person says so."""
        if not self._gives_up:
            return set()
        self._given_up |= still
        return still

    def _wait_for_stream(self, candidates: Sequence[Candidate]) -> None:
        """Shows where these belong now; how they came there is left to the stream, and looked at again later."""
        for batch in batches(candidates, self._batch_size):
            if self.dry_run:
                self._count_waiting(batch, self.postgres.leads(one.user_id for one in batch), self.postgres.rules())
            else:
                piecewise(self._show, batch, self._unshown)
        self._leave(candidates, "the stream has yet to pass what was read")

    def _show(self, candidates: Sequence[Candidate]) -> None:
        with self.store.transaction(past_held=True) as tx:
            leads, rules = tx.load(one.user_id for one in candidates), tx.rules
            presents = [Present(one.user_id, _queue_of(one, rules), one.read.ended) for one in candidates]
            shown = tx.show(presents)
        self.tally.shown += shown
        self._count_waiting(candidates, leads, rules)

    def _unshown(self, candidate: Candidate, error: psycopg.Error | TransactionConflict) -> None:
        self.refuse(candidate.user_id, error)

    def _count_waiting(self, candidates: Sequence[Candidate], leads: Mapping[int, Lead], rules: Rules) -> None:
        """Counts the conversions that the stream is to bring, by one judgement on copies that nobody writes."""
        for user_id, first, read in candidates:
            lead = leads.get(user_id)
            if lead is not None and lead.stint:
                scratch = Outcome()
                repair(deepcopy(lead), first.state, read.floor, read.ended, rules, scratch)
                self.tally.conversions_waiting.update(one.conversion_type.value for one in scratch.conversions)

    def _replication_moves(self, candidates: Sequence[Candidate]) -> bool:
        """Notes how far the replica is behind its source; where it stands still, the candidates are left for later."""
        behind = self.replica.lag() or 0.0
        self._behind = 0.0 if isinf(behind) else behind
        if isinf(behind):
            self._leave(candidates, STANDS_STILL)
        return not isinf(behind)

    def _reading(self, live: LiveRead) -> Reading:
        return reading(live, whole_seconds=self.replica.mariadb)

    def _confirm(self, candidates: Sequence[Candidate], live: LiveRead) -> list[Candidate]:
        """Repairs the candidates whose drift a second read confirms; returns those to be looked at once more."""
        ahead = lanes_ahead(self.postgres.lanes(), self.replica.clock())  # of the clock that the read has just shown
        if ahead:
            log.warning("clock_put_back", address=str(self.replica.address), behind_seconds=round(ahead))
            self._leave(candidates, PUT_BACK)
            return []
        if self.dry_run:
            leads = self.postgres.leads(candidate.user_id for candidate in candidates)
            parts = [self._decide(candidates, live, leads, Basis(self.postgres.rules(), {}))]
        else:
            parts = piecewise(lambda part: self._repair(part, live), candidates, self._refused)
        for batch in parts:
            self.tally.drift.update(batch.drift)
            self.tally.settled += len(batch.settled)
            self.tally.repair(batch.repaired)
            self.tally.list_drift(batch.repaired)
            self.tally.brought_by_stream += len(batch.caught_up)
            if not self.dry_run:
                self.tally.take(batch.outcome)
                count_conversions(batch.outcome, "sweep")
                if batch.repaired:
                    log.warning("drift_repaired", count=len(batch.repaired), kinds=dict(batch.drift))
        return [candidate for batch in parts for candidate in batch.retry]

    def _repair(self, candidates: Sequence[Candidate], live: LiveRead) -> _Batch:
        with self.store.transaction(past_held=True) as tx:
            leads = tx.load(candidate.user_id for candidate in candidates)
            batch = self._decide(candidates, live, leads, Basis.of(tx, leads.values()))
            lanes = self.store.lane_count
            tx.write(
                batch.outcome, {one.user_id for one in candidates if lane_of(one.user_id, lanes) in self._given_up}
            )
            asked = batch.outcome.rechecks
            tx.done_rechecks({*batch.repaired, *batch.settled, *batch.caught_up} - asked.keys())
            tx.postpone_rechecks(asked, "too fresh to be repaired", RECHECK_AGAIN_SECONDS)
        return batch

    def _decide(self, candidates: Sequence[Candidate], live: LiveRead, leads: dict[int, Lead], basis: Basis) -> _Batch:
        """By the rows of the first read, which the lane has passed: a row that changed since is on its way in the
        stream, and so may be a conversion that lies between two reads."""
        batch = _Batch()
        late = round(self._behind * 1_000_000)
        for user_id, first, first_read in candidates:
            second, held = live.leads[user_id], leads.get(user_id)
            read = first_read.behind(late)
            found = differences(held, second.state, basis.rules)
            sure = confirmed(found, held, read.floor)
            if not found:
                batch.caught_up.append(user_id)
            elif not sure or first[:3] != second[:3]:  # rows alone, in whatever order
                batch.retry.append(Candidate(user_id, second, self._reading(live)))
            else:
                if sure[0].kind is Drift.UNSETTLED:
                    batch.settled.append(user_id)
                else:
                    batch.repaired.append(user_id)
                    batch.drift.update(difference.kind.value for difference in sure)
                repair_lead(held or Lead(user_id), second, read, basis, batch.outcome)
        return batch

    def _refused(self, candidate: Candidate, error: psycopg.Error | TransactionConflict) -> None:
        self.refuse(candidate.user_id, error)
        self._postpone([candidate.user_id], why(error), doubled=True)

    def _readable(self, read: Callable[[Sequence[int]], R], user_ids: Sequence[int]) -> list[tuple[Sequence[int], R]]:
        return readable(read, user_ids, self._unread, self._stop)

    def _unread(self, user_id: int, error: QueryFailed | Refused) -> None:
        """One customer who cannot be read holds up nobody else."""
        reason = str(error)
        log.error("lead_not_read", user_id=user_id, reason=reason)
        self.tally.refuse(reason)
        self._postpone([user_id], reason, doubled=True)

    def _leave(self, candidates: Sequence[Candidate], why: str) -> None:
        if candidates:
            self.tally.left_to_recheck += len(candidates)
            log.info("drift_not_confirmed", count=len(candidates), reason=why)
            self._postpone([candidate.user_id for candidate in candidates], f"drift was not confirmed: {why}")

    def _postpone(self, user_ids: Sequence[int], why: str, *, doubled: bool = False) -> None:
        if not self.dry_run:
            self._transact(lambda tx: ask_later(tx, user_ids, why, doubled=doubled))

    def _done(self, user_ids: Collection[int]) -> None:
        if user_ids and self._rechecking and not self.dry_run:
            self._transact(lambda tx: tx.done_rechecks(user_ids))

    def _transact(self, work: Callable[[LeadTransaction], None]) -> None:
        def attempt() -> None:
            with self.store.transaction() as tx:
                work(tx)

        again_if_in_the_way(attempt)


def _queue_of(candidate: Candidate, rules: Rules) -> QueueType:
    return queue_for(lead_of(candidate.user_id, candidate.first.state), rules)[0]


def repair_lead(lead: Lead, live: LiveLead, read: Reading, basis: Basis, outcome: Outcome) -> None:
    """Repairs one lead with what MySQL holds; what the stream wrote too recently to be overruled is asked for again."""
    state = live.state
    repair(lead, state, read.floor, read.ended, basis.rules, outcome, basis.until(lead.user_id))
    if differences(lead, state, basis.rules):
        outcome.rechecks.setdefault(lead.user_id, "the stream wrote a row in the minute before MySQL was read")


def ask_for_rechecks(store: LeadStore, user_ids: Collection[int], reason: str) -> None:
    """Queues customers to be read live, due at once. Raises what `LeadStore` raises."""
    with store.transaction() as tx:
        tx.queue_rechecks(dict.fromkeys(user_ids, reason))


def ask_later(tx: LeadTransaction, user_ids: Sequence[int], why: str, *, doubled: bool = False) -> None:
    """Queues rechecks that are not due at once, with the reason as their last error; `doubled`: later each time."""
    tx.queue_rechecks(dict.fromkeys(user_ids, why))
    tx.postpone_rechecks(user_ids, why, RECHECK_AGAIN_SECONDS, doubled=doubled)


def why(problem: BaseException) -> str:
    """What ended a run, in a sentence without a word of what a row holds."""
    return reason_of(problem) if isinstance(problem, psycopg.Error) else str(problem)


def _list(listed: dict[int, None], users: Iterable[int]) -> None:
    """Adds users to a list of LISTED at most."""
    for user_id in users:
        if len(listed) >= LISTED:
            return
        listed[user_id] = None


def piecewise(
    work: Callable[[Sequence[T]], R],
    items: Sequence[T],
    refused: Callable[[T, psycopg.Error | TransactionConflict], None],
) -> list[R]:
    """Does work on all items at once; where PostgreSQL refuses that, or somebody holds a row of one, in halves.

    So one does not hold up others.
    Returns what each piece of work returned; `refused` is called with each item that is refused alone.
    """
    try:
        return [again_if_in_the_way(work, items)]
    except (psycopg.Error, TransactionConflict) as error:
        if len(items) == 1:
            refused(items[0], error)
            return []
        middle = len(items) // 2
        return piecewise(work, items[:middle], refused) + piecewise(work, items[middle:], refused)


def readable(
    read: Callable[[Sequence[T]], R],
    items: Sequence[T],
    unreadable: Callable[[T, QueryFailed | Refused], None],
    stop: Event,
) -> list[tuple[Sequence[T], R]]:
    """Reads all items at once; where the replica does not manage that, in halves, so that one does not hold up others.

    Returns pieces and what was read of each. Raises what is about no single item: any other SourceError, and TooSlow
    where SLOW_IN_A_ROW of them are; Stopped between two statements.
    """
    found: list[tuple[Sequence[T], R]] = []
    left, slow = [items] if items else [], 0
    while left:
        if stop.is_set():
            raise Stopped
        piece = left.pop()
        try:
            found.append((piece, read(piece)))
            slow = 0
        except (QueryFailed, Refused) as error:
            if len(piece) > 1:
                middle = len(piece) // 2
                left += [piece[middle:], piece[:middle]]
                continue
            slow = slow + 1 if isinstance(error, TooSlow) else 0
            if slow == SLOW_IN_A_ROW:
                raise
            unreadable(piece[0], error)
    return found


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
