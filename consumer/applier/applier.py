"""The applier, Kafka → PostgreSQL: what each change means for its customer, each exactly once.

Any number of appliers form one group; each gets some lanes. A batch is one PostgreSQL transaction that moves its lanes
by compare-and-set and holds every effect of their changes, so a batch is applied whole or not at all.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Final

import psycopg
import structlog

from consumer import measures, metrics, process
from consumer.applier.batches import Batch, LaneBatch, claim_of
from consumer.applier.bisect import Reach, refused_leads
from consumer.applier.group_member import LaneStream
from consumer.applier.replay import decide
from consumer.lane import lane_of
from consumer.leads.left_behind import miss
from consumer.leads.outcome import Outcome
from consumer.patience import Patience
from consumer.settings import (
    ApplierSettings,
    DatabaseSettings,
    DiscoverySettings,
    KafkaSettings,
    load,
    refuse_word_lists,
)
from consumer.store.errors import LaneTaken, RowLocked, StoreError, StoreUnavailable, TransactionConflict
from consumer.store.lanes import LaneMove, LaneState
from consumer.store.leads import LeadStore
from consumer.store.processes import Presence
from consumer.store.refusal import REFUSED, is_refusal, reason_of
from consumer.stream import topics
from consumer.stream.errors import KafkaLost, TopicMismatch
from consumer.stream.topic_fit import REPAIR
from consumer.tuning import collect_seldom, give_back_large_blocks

WAITING_AT_ONCE: Final = 5_000
"""Leads that are judged in one batch because their lane passed their `judge_after`."""
SEARCHES: Final = 3
"""How often refused leads are looked for in one batch where others are refused without them; then all are set aside."""
HELD: Final = f"{REFUSED}55P03 (a row of the call centre's that another session holds, and that theirs leads to)"
"""Why leads are set aside whose rows cannot be written though those that somebody holds are passed over: a foreign key
or a trigger of the call centre's leads from a conversion to the score."""
PATIENCE_SECONDS: Final = 900.0
"""How long one thing is tried while a server is away, before the process gives up."""
OWNER: Final = process.NAME

log: Final = structlog.get_logger()


def apply_forever(stream: LaneStream, store: LeadStore) -> None:
    """Applies every change of the assigned lanes to PostgreSQL, each exactly once, until stopped.

    Raises StoreUnavailable when PostgreSQL stays away, and what `LaneStream.batches` raises.
    """
    lag = metrics.Lag(measures.APPLIER)
    for batch in stream.batches():
        ours = partial(_is_ours, stream, batch.generation)
        part: Batch | None = batch
        while part is not None:
            part = _step(part, stream, store, ours, lag)


def _step(
    batch: Batch, stream: LaneStream, store: LeadStore, ours: Callable[[], bool], lag: metrics.Lag
) -> Batch | None:
    """Applies a batch; what is left of it, where more leads waited for it than one transaction takes on."""
    began = time.monotonic()
    try:
        outcome = _patience(stream.stop)(apply, batch, store, ours, wanted=ours)
    except LaneTaken as error:
        log.warning("lane_taken", lanes=error.lanes, hint="reading again where it stands")
        stream.reposition()
        return None
    except (TransactionConflict, StoreUnavailable):
        if ours():
            raise
        return None
    lag.processed(max(part.version for part in batch.lanes))
    _count(batch, outcome, time.monotonic() - began)
    return _rest_of(batch) if outcome.more_wait and ours() else None


def _is_ours(stream: LaneStream, generation: int) -> bool:
    """Whether a batch is still to be applied by us."""
    return stream.holds(generation) and not stream.stop.is_set()


def apply(batch: Batch, store: LeadStore, wanted: Callable[[], bool] = lambda: True) -> Outcome:
    """One batch, one transaction, by the rules in force.

    Raises LaneTaken, TransactionConflict, StoreUnavailable; then nothing was written.
    Leads that PostgreSQL refuses are set aside, and the others go through; they are looked for while `wanted`. So are
    those whose rows somebody holds, where what is written of them waits for these rows whatever we pass over.
    """
    refused: dict[int, str] = {}
    past_held = past_unseen = False
    for search in itertools.count(1):
        reach = Reach()
        try:
            outcome = _apply(batch, store, refused, reach, past_held=past_held, past_unseen=past_unseen)
            break
        except RowLocked as error:
            if past_unseen:
                held = store.held(reach.users(batch) - refused.keys())
                if not held:
                    raise
                refused.update(dict.fromkeys(held, HELD))
                continue
            log.warning("row_held", reason=str(error), hint="its lead is shown to the call centre when it is free")
            past_held, past_unseen = True, past_held
        except psycopg.Error as error:
            if not is_refusal(error):
                raise StoreError(f"PostgreSQL refuses the batch as such, with {error.sqlstate}") from error
            left = reach.users(batch) - refused.keys()
            if not left:
                raise StoreError(
                    f"PostgreSQL refuses the batch with or without single leads: {reason_of(error)}"
                ) from error
            log.warning("row_refused", reason=reason_of(error), hint="looking for the leads that are meant")
            if search > SEARCHES:
                refused.update(dict.fromkeys(left, reason_of(error)))
            else:
                found = refused_leads(
                    batch, reach, error, store, without=refused, wanted=wanted, past_unseen=past_unseen
                )
                refused.update(found)
    if refused:
        reasons = sorted(set(refused.values()))
        users = sorted(refused)
        log.error("leads_set_aside", count=len(users), user_ids=users[:100], reasons=reasons, hint="see the rechecks")
        metrics.REFUSED.inc(len(refused))
    return outcome


def _apply(
    batch: Batch, store: LeadStore, refused: Mapping[int, str], reach: Reach, *, past_held: bool, past_unseen: bool
) -> Outcome:
    with store.transaction(past_held=past_held, past_unseen=past_unseen) as tx:
        tx.take([_move(part) for part in batch.lanes])  # compare-and-set: a zombie stops here
        arrivals = batch.arrivals
        before = tx.before(
            batch.versions,
            WAITING_AT_ONCE,
            claims=filter(None, map(claim_of, batch.orphans)),
            names=batch.left_names,
            arrivals=arrivals,
        )
        miss(arrivals, before.held, before.left)
        orphaned = {part.lane for part in batch.lanes if part.orphaned}
        reach.waiting.extend(before.waiting)
        # Orphans come through every lane: of the others' owners, whom the batch leaves alone, no lock is held.
        reach.owners.extend(owner for owner in before.owners if lane_of(owner[1], store.lane_count) in orphaned)
        leads = tx.load(reach.users(batch))
        outcome = decide(  # pure
            batch,
            leads,
            reach.waiting,
            reach.owners,
            lanes=store.lane_count,
            rules=tx.rules,
            refused=refused,
            left=before.left,
        )
        outcome.more_wait = tx.more_wait
        if missed := batch.missed:
            tx.defer_judgement(missed)
        tx.write(outcome)
        for reason, lane_numbers in batch.lane_rechecks.items():
            tx.queue_lane_rechecks(lane_numbers, reason)
        tx.set_aside(batch.letters)
    if tx.dead_letters_expired:
        days = store.dead_letter_days
        log.error("dead_letters_expired", count=tx.dead_letters_expired, days=days, reason="nobody had resolved them")
        metrics.DEAD_LETTERS_EXPIRED.inc(tx.dead_letters_expired)
    return outcome


def _rest_of(batch: Batch) -> Batch:
    """The same lanes where the batch has left them, for the leads that wait there to be judged and were too many."""
    lanes = [
        replace(
            part,
            expected_seq=part.next_seq,
            version_before=part.version,
            changes=[],
            user_ids=frozenset(),
            orphaned=False,
            lost=0,
            letters=(),
            rechecks={},
            recheck_all=frozenset(),
            unplaced={},
            blind=False,
        )
        for part in batch.lanes
    ]
    return Batch(batch.generation, lanes, 0)


def _move(part: LaneBatch) -> LaneMove:
    return LaneMove(part.lane, part.epoch, part.expected_seq, part.next_seq, part.version, part.offsets, OWNER)


def _count(batch: Batch, outcome: Outcome, seconds: float) -> None:
    """What a batch that was committed adds to the metrics."""
    kinds = Counter(
        (change.table, change.before is None, change.after is None) for part in batch.lanes for change in part.changes
    )
    for (table, created, deleted), count in kinds.items():
        if table is not None:
            metrics.ROWS.labels(measures.APPLIER, table, "c" if created else "d" if deleted else "u").inc(count)
    metrics.count_conversions(outcome, "stream")
    metrics.count_queue_changes(outcome)
    metrics.RECHECKS_QUEUED.inc(len(outcome.rechecks))
    for why, count in outcome.skipped.items():
        metrics.SKIPPED.labels(why).inc(count)
    for part in batch.lanes:
        if part.lost:
            metrics.LOST_NUMBERS.labels(part.lane).inc(part.lost)
    for letter in batch.letters:
        metrics.DEAD_LETTERS.labels(letter.reason).inc()
        log.error(
            "dead_letter_added",
            defect=letter.reason,
            reason=letter.detail,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            hint="see `consumer dead-letters`",
        )
    metrics.BATCH_SECONDS.labels(measures.APPLIER).observe(seconds)
    oldest = min((part.changes[0].at for part in batch.lanes if part.user_ids), default=0)
    if oldest:
        metrics.DELAY.observe(max(0.0, time.time() - oldest / 1e6))


def _patience(stop: threading.Event) -> Patience:
    """Until the server is there and nobody is in the way."""

    def report(error: BaseException, attempt: int, pause: float) -> None:
        metrics.RETRIES.labels(type(error).__name__).inc()
        if not isinstance(error, TransactionConflict):
            server = "kafka" if isinstance(error, KafkaLost) else "postgres"
            metrics.RECONNECTS.labels(measures.APPLIER, server).inc()
        log.warning("batch_retried", attempt=attempt, pause_seconds=round(pause, 2), reason=str(error))

    passing = TransactionConflict, StoreUnavailable, KafkaLost
    return Patience(lambda error: isinstance(error, passing), stop, report, PATIENCE_SECONDS)


def _topics_fit(kafka: KafkaSettings, stop: threading.Event) -> bool:
    """Waits for Kafka to say that our topics fit; False where the process is to stop before that."""
    try:
        found = _patience(stop)(topics.check, kafka, stop)
    except KafkaLost:
        if stop.is_set():
            return False
        raise
    if found.missing:
        raise TopicMismatch(f"topic {', '.join(found.missing)} does not exist; run `consumer setup`")
    for sentence in found.lowered:
        log.warning("topic_setting_lowered", reason=sentence, hint=f"run `{REPAIR}` before changes are lost")
    return True


def run(stop: threading.Event) -> None:
    """An applier, wired from the settings, until `stop` is set.

    Raises SettingsError, TopicMismatch, KafkaLost, NotPrepared, StoreUnavailable and what `LaneStream.batches` raises.
    """
    refuse_word_lists()
    kafka, applier, database = load(KafkaSettings), load(ApplierSettings), load(DatabaseSettings)
    discovery = load(DiscoverySettings)
    if not discovery.smart_discovery_enabled:
        log.warning(
            "discovery_disabled",
            reason="SMART_DISCOVERY_ENABLED is false",
            hint="set it to true and start again to apply changes",
        )
        stop.wait()
        return
    if not _topics_fit(kafka, stop):
        return

    def connect() -> LeadStore:
        days = applier.dead_letter_days
        return LeadStore(database.conninfo, kafka.lanes, discovery.shadow_mode, "stream", days)

    give_back_large_blocks()
    collect_seldom()
    with connect() as store, connect() as asked, Presence(database.conninfo, measures.APPLIER):

        @cache
        def begin() -> None:
            asked.begin_stream(OWNER)

        def positions(lanes: Sequence[int]) -> dict[int, LaneState]:
            begin()  # before anything is applied, so that the reconciler knows of us
            return asked.lanes(lanes)

        with LaneStream(kafka, applier, partial(_patience(stop), positions), stop) as stream:
            log.info("applier_started", group=stream.group, owner=OWNER)
            with metrics.lanes_applied(stream.reached, kafka.lanes):
                apply_forever(stream, store)
    log.info("process_stopped", process=measures.APPLIER)
