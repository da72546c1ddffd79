"""Every user compared between MySQL and PostgreSQL, and the call centre's table with our open stints.

Both servers compute a count and a checksum a table of a range of users, at the same time; only ranges that differ are
read row by row, confirmed, and reported or repaired as any drift is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from consumer.lane import lane_of
from consumer.leads.model import Conversion, QueueChange, QueueType, Reason
from consumer.leads.outcome import Outcome
from consumer.progress import Progress
from consumer.store.leads import id_of
from consumer.store.runs import Run
from reconciler.conversions import ConversionKind, is_ours, is_passed, unpublished
from reconciler.mysql_statements import LARGEST, SMALLEST
from reconciler.replica import NO_ROWS, Fingerprints, Present, ReplicaReads
from reconciler.runs.repair import ENTRIES_AT_ONCE, NAMED, Repairer, RunTally, batches, piecewise
from reconciler.runs.run_log import Runs
from reconciler.runs.sweeps import Report, carried_out, ended
from reconciler.runs.wait_for_stream import Stopped

log = structlog.get_logger(__name__)

NAME: Final = "verify"
SAMPLE_AT_ONCE: Final = 100
LOOKS_IN_VAIN: Final = 1000
"""A sample ends when so many places in a row had nobody new: hardly anybody is left, or ids lie far apart."""
CONVERSIONS_AT_ONCE: Final = 10_000
DIFFERING: Final = (
    "conversions hold another customer, type or time than what earned them: somebody changed these rows; the log names"
    " them as conversion_differs, compare them with leadstream.stints and put them right by hand"
)
UNEARNED: Final = (
    "conversions of ours are those of no stint: leadstream's schema was restored from before them, and the stream has"
    " yet to come there, or other rules were in force when it came; they stay, and the log names them as"
    " conversion_without_stint"
)
KEPT: Final = (
    "of them lie behind where the stream stands, so no stint will earn them: they are noted in"
    " leadstream.kept_conversions, and not reported again"
)
CALL_CENTRE: Final = "call_centre_queue"
"""The kind of drift where user_call_scores says another queue, or activity, than the open stint."""


class Range(NamedTuple):
    """Users above `after`, up to `upto`, and what MySQL has of them."""

    after: int
    upto: int
    live: Fingerprints


class Verification:
    """A comparison of everybody, or a sample; with a repairer that is no dry run it repairs what differs."""

    def __init__(
        self,
        repairer: Repairer,
        checksum_session: ReplicaReads,
        runs: Runs,
        *,
        stop: Event,
        shadow: bool,
        range_users: int = 2000,
    ) -> None:
        """`checksum_session` is a second session on the replica, on which MySQL works while PostgreSQL does."""
        self._repairer = repairer
        self._checksum_session = checksum_session
        self._runs = runs
        self._stop = stop
        self._shadow = shadow
        self._range_users = range_users
        self._tally = RunTally()
        self._kept = 0
        """Conversions of no stint that were noted, to be reported no more."""

    def run(self, progress: Progress, *, sample: int | None = None, conversions_since: int | None = None) -> Report:
        """Runs to the end, or until asked to stop: then the next run begins anew, for a report is about everybody.

        With `conversions_since` (µs), what was recorded in shadow mode since then is published, or reported, too.
        What was repaired until then stays repaired. Raises AlreadyRunning; what fails is in the report and recorded.
        """
        with self._runs.alone(NAME):
            tally = self._tally = self._repairer.new_tally()
            run = self._runs.start(NAME)
            queries = self._queries()

            def work() -> None:
                present = self._repairer.replica.present()
                tally.unheld = present.beyond
                if not self._shadow:
                    self._repairer.show_history()
                if sample is None:
                    progress.start(present.first_user - 1, present.last_user)
                    self._everyone(progress, run)
                    self._repairer.resolve()
                    self._entries()
                    self._conversions(conversions_since)
                else:
                    self._some(sample, present, progress)
                self._repairer.resolve()

            outcome, error = carried_out(work)
            left = set(tally.drift) - {ConversionKind.WITHOUT_STINT.value}
            if outcome == "ok" and (left if self._repairer.dry_run else ConversionKind.DIFFERS.value in left):
                outcome = "drift"
            if (differing := tally.drift[ConversionKind.DIFFERS.value]) and error is None:
                error = f"{differing:,} {DIFFERING}"
            outcome, error = ended(outcome, error, tally)
            spent = self._queries() - queries
            counts = tally.as_counts()
            run.finish(outcome, counts if sample is None else {**counts, "sample": sample}, spent, error)
            unearned = tally.drift[ConversionKind.WITHOUT_STINT.value]
            warnings = [f"{unearned:,} {UNEARNED}"] if unearned else []
            if self._kept:
                warnings.append(f"{self._kept:,} {KEPT}")
            return Report(NAME, outcome, None, tally, spent, run.milliseconds, error, tuple(warnings))

    def _queries(self) -> int:
        return self._repairer.replica.queries + self._checksum_session.queries

    def _everyone(self, progress: Progress, run: Run) -> None:
        for part in self._ranges():
            if self._stop.is_set():
                raise Stopped
            users = self._compare(part)
            if part.upto < LARGEST:
                progress.advance(part.upto, users)
            run.move(part.upto, self._tally.as_counts(), self._queries())

    def _ranges(self) -> Iterator[Range]:
        """Ranges of users, the last one without end; MySQL computes the next one's checksums while the caller works."""
        with ThreadPoolExecutor(1, "checksums") as pool:
            ahead = pool.submit(self._checksums, SMALLEST)
            while True:
                part = ahead.result()
                if part.upto < LARGEST:
                    ahead = pool.submit(self._checksums, part.upto)
                yield part
                if part.upto == LARGEST:
                    return

    def _checksums(self, after: int) -> Range:
        upto = self._checksum_session.end_of_range(after, self._range_users)
        if upto is None:
            return Range(after, LARGEST, NO_ROWS)
        return Range(after, upto, self._checksum_session.fingerprints(after, upto))

    def _compare(self, part: Range) -> int:
        """Compares one range; returns how many users MySQL has in it."""
        postgres, tally = self._repairer.postgres, self._tally
        users = part.live.users[0]
        if postgres.fingerprints(part.after, part.upto) == part.live:
            candidates = postgres.misjudged_in_range(part.after, part.upto)
            tally.checked += users - len(candidates)
            tally.in_step += users - len(candidates)
        else:
            live = self._repairer.replica.user_page(part.after, self._range_users) if users else []
            held = {*postgres.present(part.after, part.upto), *postgres.shown_in_range(part.after, part.upto)}
            candidates = sorted(held.union(user for user in live if user <= part.upto))
        if candidates:
            self._repairer.check(candidates)
        if not self._shadow:
            self._repair_mismatches(part.after, part.upto)
        return users

    def _some(self, sample: int, present: Present, progress: Progress) -> None:
        """Users after random places of the primary key, SAMPLE_AT_ONCE at most at each; none who is gone from MySQL."""
        progress.start(0, sample)
        seen: set[int] = set()
        in_vain = 0
        while len(seen) < sample and in_vain < LOOKS_IN_VAIN:
            if self._stop.is_set():
                raise Stopped
            place = random.randint(present.first_user - 1, max(present.first_user, present.last_user) - 1)  # noqa: S311 (chance, not secrecy)
            page = self._repairer.replica.user_page(place, min(SAMPLE_AT_ONCE, sample - len(seen)))
            fresh = [user_id for user_id in page if user_id not in seen]
            seen.update(fresh)
            self._repairer.check(fresh)
            if not self._shadow:
                self._repairer.check_entries(fresh)
            progress.advance(len(seen), len(fresh))
            in_vain = 0 if fresh else in_vain + 1

    def _entries(self) -> None:
        """Puts the call centre's entries right, of everybody in one look at its table."""
        if not self._shadow:
            with closing(self._repairer.postgres.all_entries_wrong(ENTRIES_AT_ONCE)) as pages:
                for wrong in pages:
                    if self._stop.is_set():
                        raise Stopped
                    self._repairer.repair_entries(wrong)

    def _conversions(self, since: int | None) -> None:
        """Holds what stints earned against the call centre's table, both ways."""
        if self._shadow:
            return
        postgres = self._repairer.postgres
        with closing(postgres.unrecorded(CONVERSIONS_AT_ONCE)) as pages:
            for page in pages:
                if self._stop.is_set():
                    raise Stopped
                self._look_for(page)
        self._unearned()
        if since is not None:
            ours = postgres.earned_in_shadow(since)
            rows = postgres.conversions_of({one.user_id for one in ours}, since)
            self._publish(ConversionKind.UNPUBLISHED, unpublished(ours, rows))

    def _unearned(self) -> None:
        """Names conversions of ours that no stint earned; a repair keeps those that none can earn any more.

        After a restore of our schema the stream brings the stints again, so long as it has not passed them. One that it
        has passed was earned by other rules than those that were in force when it came, or Kafka had no more of it.
        """
        postgres = self._repairer.postgres
        found = [row for row in postgres.unearned() if is_ours(row)]
        self._name(ConversionKind.WITHOUT_STINT, {row.id: row.user_id for row in found})
        if not self._repairer.dry_run:
            lanes = postgres.lanes()
            passed = [row for row in found if is_passed(row, lanes[lane_of(row.user_id, len(lanes))].version)]
            postgres.keep(passed)
            self._kept = len(passed)

    def _look_for(self, earned: Sequence[Conversion]) -> None:
        """What became of conversions that are not where they should be.

        A signature that was paid at another moment is not missing: history was lost, and the stint is a read's.
        """
        postgres = self._repairer.postgres
        same, other = postgres.conversions_there(earned)
        self._name(ConversionKind.DIFFERS, {id_: one.user_id for one in earned if (id_ := id_of(one)) in other})
        if lacking := [one for one in earned if id_of(one) not in same | other]:
            paid = postgres.paid_signatures([one for one in lacking if one.signature])
            self._publish(ConversionKind.MISSING, [one for one in lacking if (one.user_id, one.signature) not in paid])

    def _name(self, kind: ConversionKind, conversions: Mapping[UUID, int]) -> None:
        """Counts and names conversions, each by its id, of the user it belongs to."""
        if conversions:
            self._tally.drift[kind.value] += len(conversions)
            self._tally.list_drift(conversions.values())
            ids = [*map(str, conversions)][:NAMED]
            log.error("conversions_wrong", kind=kind.value, count=len(conversions), conversion_ids=ids)

    def _publish(self, kind: ConversionKind, earned: Sequence[Conversion]) -> None:
        """Adds conversions of stints to the call centre's table; a dry run counts and names them."""
        self._name(kind, {id_of(one): one.user_id for one in earned})
        if not self._repairer.dry_run:
            for batch in batches(earned, self._range_users):
                added = piecewise(self._add, batch, lambda one, error: self._repairer.refuse(one.user_id, error))
                self._tally.conversions_published += sum(added)

    def _add(self, earned: Sequence[Conversion]) -> int:
        with self._repairer.store.transaction() as tx:
            tx.load(one.user_id for one in earned)
            return tx.publish(earned)

    def _repair_mismatches(self, after: int, upto: int) -> None:
        """Puts the call centre's table right where others wrote something else than the open stint into it."""
        users = self._repairer.postgres.queue_mismatches(after, upto)
        if not users:
            return
        self._tally.drift[CALL_CENTRE] += len(users)
        self._tally.list_drift(users)
        if not self._repairer.dry_run:
            for batch in batches(users, self._range_users):
                for repaired in piecewise(self._put_right, batch, self._repairer.refuse):
                    self._tally.repair(repaired)

    def _put_right(self, user_ids: Sequence[int]) -> Sequence[int]:
        outcome = Outcome()
        with self._repairer.store.transaction(past_held=True) as tx:
            for user_id, lead in tx.load(user_ids).items():
                if lead.queue_type is not None:
                    elsewhere = frozenset(QueueType) - {QueueType.NONE, lead.queue_type}
                    outcome.queue_changes[user_id] = QueueChange(
                        user_id,
                        lead.queue_type,
                        elsewhere,
                        entered=False,
                        first_sight=True,
                        reason=Reason.READ_LIVE,
                        at=lead.opened_at,
                    )
            tx.write(outcome)
        return user_ids
