"""The historical migration: every user of MySQL gets a first stint where their state belongs, and no conversion.

By primary key, a batch in one transaction, while the stream runs or not. Leads that are judged already are left to the
stream, and so are users so new that their lane has yet to come to their creation: the stream brings all their history,
where a live read would begin in the middle of it. A recheck sees to them should it not. Leads that the stream met but
could not judge are settled. How far it came is recorded after every batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import NamedTuple

import psycopg
import structlog

from consumer.lane import lane_of
from consumer.leads.model import Lead, Table
from consumer.leads.outcome import Outcome
from consumer.mysql.errors import PreconditionFailed
from consumer.mysql.live_read import LiveRead
from consumer.progress import Progress
from consumer.store.errors import TransactionConflict
from consumer.store.lanes import LanePoint
from consumer.store.leads import LeadStore
from consumer.store.runs import Run, Window
from reconciler.postgres import Postgres
from reconciler.replica import Present, ReplicaReads
from reconciler.runs.repair import COMMIT_SECONDS, Basis, RunTally, ask_later, piecewise, reading, repair_lead, why
from reconciler.runs.run_log import COMPLETE, Runs
from reconciler.runs.sweeps import Report, carried_out, ended
from reconciler.runs.wait_for_stream import Stopped, after_first_moves, has_begun, lanes_ahead

log = structlog.get_logger(__name__)

NAME = "backfill"


class UserBatch(NamedTuple):
    """The next users by primary key, those of them that were judged already, and a live read of the others."""

    users: list[int]
    judged: set[int]
    live: LiveRead | None
    lanes: Mapping[int, LanePoint]
    """How far the lanes had come before it."""


class Backfill:
    """One backfill at a time; interrupted, the next one goes on where it ended."""

    def __init__(
        self,
        replica: ReplicaReads,
        store: LeadStore,
        postgres: Postgres,
        runs: Runs,
        *,
        batch_size: int,
        wait_seconds: float,
        stop: Event,
    ) -> None:
        """`replica` and `postgres` are used by a thread that reads ahead, and by nobody else meanwhile.

        `wait_seconds` is how long a stream that has begun is waited for until it has moved every lane.
        """
        self._replica = replica
        self._store = store
        self._postgres = postgres
        self._runs = runs
        self._batch_size = batch_size
        self._wait_seconds = wait_seconds
        self._stop = stop
        self._tally = RunTally()
        self._run: Run | None = None
        self._window: Window | None = None
        self._ends: dict[str, int] = {}

    def run(self, progress: Progress, *, restart: bool = False) -> Report:
        """Runs to the end, or until asked to stop; `restart` begins at the first user again.

        Raises AlreadyRunning; what fails is in the report and recorded.
        """
        with self._runs.alone(NAME):
            queries = self._replica.queries
            outcome, error = ended(*carried_out(lambda: self._fill(progress, queries, restart=restart)), self._tally)
            spent, milliseconds = self._replica.queries - queries, 0
            if self._run is not None:
                self._run.finish(outcome, self._counts(), spent, error)
                milliseconds = self._run.milliseconds
            return Report(NAME, outcome, self._window, self._tally, spent, milliseconds, error)

    def _fill(self, progress: Progress, queries: int, *, restart: bool) -> None:
        present = self._replica.present()
        self._demand_clock(self._postgres.lanes(), present.clock)
        cursor, self._window = self._begin(present, restart=restart)
        run = self._run = self._runs.start(NAME, self._window, cursor)
        self._tally.unheld = present.beyond
        self._ends = {"first_user": present.first_user, "last_user": present.last_user}
        progress.start(cursor, present.last_user)
        for page in self._pages(cursor):
            self._take(page)
            last = page.users[-1]
            run.move(last, self._counts(), self._replica.queries - queries)
            progress.advance(last, len(page.users))
            if self._stop.is_set():
                raise Stopped

    def _begin(self, present: Present, *, restart: bool) -> tuple[int, Window]:
        """Where it begins: the primary key it had come to, and the span of time it answers for."""
        last = self._runs.last(NAME)
        if restart or last is None or last.outcome in COMPLETE or last.cursor is None or last.window is None:
            return present.first_user - 1, Window(0, present.clock)
        log.info("backfill_resumed", done=last.cursor)
        return last.cursor, last.window

    def _counts(self) -> dict[str, object]:
        """What is recorded: what it did, and between which users, so that everybody can see how far it is."""
        return {**self._tally.as_counts(), **self._ends}

    def _pages(self, cursor: int) -> Iterator[UserBatch]:
        """Every page after this primary key; the next one is read while the caller is at work."""
        with ThreadPoolExecutor(1, "reads ahead") as pool:
            page = self._read(cursor)
            while page.users:
                ahead = pool.submit(self._read, page.users[-1])
                yield page
                page = ahead.result()

    def _read(self, after: int) -> UserBatch:
        users = self._replica.user_page(after, self._batch_size)
        lanes = self._lanes()
        judged = self._postgres.judged(users)
        unknown = [user_id for user_id in users if user_id not in judged]
        return UserBatch(users, judged, self._replica.read_users(unknown) if unknown else None, lanes)

    def _lanes(self) -> Mapping[int, LanePoint]:
        """Where lanes stand; raises PreconditionFailed where an applier is there and the stream does not begin."""
        lanes = after_first_moves(self._postgres.lanes, self._wait_seconds, self._stop)
        if lanes is None:
            raise PreconditionFailed(
                "an applier is there, but not every lane has moved yet, so nobody can say what the stream is to bring;"
                " start `consumer read`, and run the backfill again: `consumer status` shows the lanes"
            )
        return lanes

    def _take(self, page: UserBatch) -> None:
        live = page.live
        if live is not None:
            self._demand_clock(page.lanes, live.ended)
            read = reading(live, whole_seconds=self._replica.mariadb)
            coming = {user_id for user_id in live.leads if self._is_coming(user_id, live, read.floor, page.lanes)}
            self._leave(sorted(coming))
            unknown = [user_id for user_id in page.users if user_id in live.leads and user_id not in coming]
            if unknown:
                for outcome in piecewise(lambda users: self._settle(users, live), unknown, self._refused):
                    self._tally.take(outcome)
                    self._tally.settled += len(outcome.queue_changes)
        self._tally.checked += len(page.users)
        self._tally.in_step += len(page.judged)

    def _demand_clock(self, lanes: Mapping[int, LanePoint], clock: int) -> None:
        """Raises PreconditionFailed where the server's clock (µs) cannot say what the lanes have passed."""
        ahead = lanes_ahead(lanes, clock)
        if ahead:
            raise PreconditionFailed(
                f"the clock of {self._replica.address} was put back and is {ahead:.0f} s behind the stream's versions;"
                " run the backfill again when it has caught up"
            )

    @staticmethod
    def _is_coming(user_id: int, live: LiveRead, floor: int, lanes: Mapping[int, LanePoint]) -> bool:
        """Whether the stream, once it has run at all, has yet to come to the user's creation, or lags so far that it
        has yet to bring changes which the read surely holds."""
        version = lanes[lane_of(user_id, len(lanes))].version
        created_at = live.leads[user_id].created_at.get((Table.USERS, user_id))
        young = created_at is not None and version < created_at + COMMIT_SECONDS * 1_000_000
        return has_begun(lanes) and (version < floor or young)

    def _leave(self, user_ids: Sequence[int]) -> None:
        if user_ids:
            self._tally.left_to_recheck += len(user_ids)
            with self._store.transaction() as tx:
                ask_later(tx, user_ids, "the stream has yet to pass what was read")

    def _settle(self, user_ids: Sequence[int], live: LiveRead) -> Outcome:
        outcome = Outcome()
        read = reading(live, whole_seconds=self._replica.mariadb)
        with self._store.transaction(past_held=True) as tx:
            leads = tx.load(user_ids)
            basis = Basis.of(tx, leads.values())
            for user_id in user_ids:
                rows, lead = live.leads[user_id], leads.get(user_id)
                if lead is None and rows.user is None:
                    continue
                if lead is None or lead.stint == 0:
                    repair_lead(lead or Lead(user_id), rows, read, basis, outcome)
            tx.write(outcome)
        return outcome

    def _refused(self, user_id: int, error: psycopg.Error | TransactionConflict) -> None:
        reason = why(error)
        log.error("lead_refused", user_id=user_id, reason=reason)
        self._tally.refuse(reason)
        with self._store.transaction() as tx:
            ask_later(tx, [user_id], reason)
