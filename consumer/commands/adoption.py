"""Rules put in force, or tried: which leads belong elsewhere by them, counted or moved, in resumable pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Final, NamedTuple, TypeVar

import psycopg
import structlog

from consumer.lane import lane_of
from consumer.leads.judge import adopted_at, rejudge
from consumer.leads.model import NEVER, Lead, QueueType
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import RuleFile
from consumer.leads.rules import Rules, queue_for
from consumer.progress import Progress
from consumer.store import lookups, rule_changes
from consumer.store import rules as store_rules
from consumer.store.conflicts import again_if_in_the_way
from consumer.store.connection import Connection, classified, open_session
from consumer.store.errors import StoreError
from consumer.store.leads import LeadStore
from consumer.store.refusal import is_refusal, reason_of
from consumer.store.rule_changes import FIRST, LAST, Relabelling
from consumer.store.rules import Adopted, Comparisons, InForce
from consumer.store.runs import Run

SHOWN: Final = 5
"""Examples of each move."""
PAGE: Final = 10_000
AT_ONCE: Final = 2_000
"""Leads in one transaction."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class NotAdopted(StoreError):
    """Rules that cannot be adopted, or not brought to every lead, at present; the message says why and what to do."""


class Move(NamedTuple):
    """Leads that go from one queue to another, and the rule that decides."""

    left: str
    queue_type: str
    rule: str


@dataclass
class Tried:
    """What would happen to leads if rules were adopted; `waiting` are among them and judged when the stream has
    passed."""

    leads: int = 0
    concerned: int = 0
    waiting: int = 0
    moves: Counter[Move] = field(default_factory=Counter)
    examples: dict[Move, list[int]] = field(default_factory=dict)
    relabelled: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    never: int = 0
    never_examples: list[int] = field(default_factory=list)


@dataclass
class AdoptionCounts:
    """What adopting did."""

    version: int
    leads: int = 0
    rejudged: int = 0
    moved: int = 0
    relabelled: int = 0
    left_for_never: int = 0
    refused: int = 0

    def as_counts(self) -> dict[str, object]:
        """What leadstream.runs and `--json` hold."""
        return dict(vars(self))


@contextmanager
def session(conninfo: str) -> Iterator[Connection]:
    """A session in autocommit mode for what goes through whole tables. Raises StoreUnavailable, NotPrepared."""
    with classified(conninfo), open_session(conninfo, "leadstream rules", autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET lock_timeout = '20s'")
        yield connection


def try_out(conninfo: str, file: RuleFile, comparisons: Comparisons, progress: Progress, *, shadow: bool) -> Tried:
    """Which leads would belong elsewhere by these rules; writes nothing. Raises StoreError."""
    tried = Tried()
    with session(conninfo) as connection:
        connection.execute("SET default_transaction_read_only = on")
        old = InForce().read(connection)
        new = Rules(file, comparisons, old.version + 1, earlier={**old.earlier, old.version: old})
        words = rule_changes.words_changed(connection, new)
        last = _last_user(connection)
        progress.start(0, last)
        after = FIRST
        while after < LAST:
            page = rule_changes.page(connection, after, PAGE, words, new.version, waiting=True)
            for some in _chunks(page.concerned):
                for lead in lookups.leads(connection, some).values():
                    _would_move(lead, new, tried)
            tried.leads += page.leads
            after = page.upto
            progress.advance(min(after, last), page.leads)
        for queue_type in QueueType:
            if old.label(queue_type) != new.label(queue_type):
                tried.relabelled[queue_type] = old.label(queue_type), new.label(queue_type)
        relabelling = Relabelling(new)
        if relabelling.any and not shadow and lookups.has_centre(connection):
            tried.never, tried.never_examples = relabelling.leaving(connection, SHOWN)
    return tried


def _would_move(lead: Lead, new: Rules, tried: Tried) -> None:
    queue_type, rule = queue_for(lead, new)
    tried.concerned += 1
    tried.waiting += lead.judge_after is not None
    if lead.queue_type is not None and queue_type is not lead.queue_type:
        move = Move(lead.queue_type, queue_type, rule)
        tried.moves[move] += 1
        examples = tried.examples.setdefault(move, [])
        if len(examples) < SHOWN:
            examples.append(lead.user_id)


class Adoption:
    """One adoption at a time; interrupted, the next one of the same rules goes on where it ended."""

    def __init__(self, conninfo: str, *, shadow: bool, stop: Event) -> None:
        self._conninfo = conninfo
        self._shadow = shadow
        self._stop = stop

    def adopt(
        self, file: RuleFile, comparisons: Comparisons, by: str, progress: Progress
    ) -> tuple[AdoptionCounts | None, bool]:
        """Puts rules in force and brings every lead to them; None where that was done before.

        Also returns whether all is done: not where it was asked to stop. Raises NotAdopted and other StoreErrors.
        """
        with session(self._conninfo) as connection:
            self._take_turn(connection)
            held = store_rules.newest(connection)
            compare_alike = store_rules.held_as(held.comparisons) == store_rules.held_as(comparisons)
            if held.fingerprint == file.fingerprint and compare_alike:
                return self._go_on(connection, held, progress)
            version = again_if_in_the_way(self._put_in_force, connection, file, comparisons, by, locked=True)
            log.info("rules_adopted", rules_version=version, fingerprint=file.fingerprint, by=by)
            return self._go_on(connection, store_rules.newest(connection), progress)

    def resume(self, progress: Progress) -> tuple[AdoptionCounts | None, bool]:
        """Brings every lead to the rules in force where that was begun and not ended; as `adopt`."""
        with session(self._conninfo) as connection:
            self._take_turn(connection)
            return self._go_on(connection, store_rules.newest(connection), progress)

    def _put_in_force(self, connection: Connection, file: RuleFile, comparisons: Comparisons, by: str) -> int:
        with classified(self._conninfo):
            return store_rules.adopt(connection, file, comparisons, by)

    @staticmethod
    def _take_turn(connection: Connection) -> None:
        if not rule_changes.take_turn(connection):
            raise NotAdopted("rules are being adopted already; wait for that to end, or stop it")

    def _go_on(self, connection: Connection, held: Adopted, progress: Progress) -> tuple[AdoptionCounts | None, bool]:
        if held.rejudged_at is not None:
            return None, True
        after = rule_changes.cursor(connection, held.version)
        run, tally = rule_changes.start(connection, held.version, after), AdoptionCounts(held.version)
        try:
            ended = self._pages(connection, after, run, tally, progress)
            if ended:
                rule_changes.rejudged(connection, held.version)
            run.finish("ok" if ended else "stopped", tally.as_counts())
        except StoreError as error:
            run.finish("failed", tally.as_counts(), error=str(error))
            raise
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            run.finish("failed", tally.as_counts(), error=reason_of(error))
            raise NotAdopted(
                f"{reason_of(error)} when the call centre's tables were to be relabelled; make it take these rows and"
                " run `consumer rules adopt --resume`"
            ) from error
        return tally, ended

    def _pages(self, connection: Connection, after: int, run: Run, tally: AdoptionCounts, progress: Progress) -> bool:
        rules = InForce().read(connection)
        words = rule_changes.words_changed(connection, rules)
        relabelling = Relabelling(rules)
        tables = relabelling.any and not self._shadow and lookups.has_centre(connection)
        lanes = connection.execute("SELECT count(*) FROM leadstream.lanes").fetchone()
        last = _last_user(connection)
        progress.start(max(after, 0), last)
        if not (words.any or tables):
            return True
        with LeadStore(self._conninfo, lanes[0] if lanes else 1, self._shadow, "sweep") as store:
            while after < LAST:
                if self._stop.is_set():
                    return False
                page = rule_changes.page(connection, after, PAGE, words, rules.version, waiting=False)
                for some in _chunks(page.concerned):
                    self._rejudge(store, some, rules.version, tally)
                with connection.transaction():
                    if tables:
                        relabelled, left = relabelling.write(connection, page.after, page.upto)
                        tally.relabelled += relabelled
                        tally.left_for_never += left
                    tally.leads += page.leads
                    run.move(page.upto, tally.as_counts())
                after = page.upto
                progress.advance(min(after, last), page.leads)
        return True

    def _rejudge(self, store: LeadStore, user_ids: Sequence[int], version: int, tally: AdoptionCounts) -> None:
        """Brings leads to the rules in force; where PostgreSQL refuses one, it alone is left to a recheck."""
        try:
            outcome = again_if_in_the_way(_rejudged, store, user_ids, version, locked=True)
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            if len(user_ids) == 1:
                self._refused(store, user_ids[0], reason_of(error), tally)
                return
            middle = len(user_ids) // 2
            self._rejudge(store, user_ids[:middle], version, tally)
            self._rejudge(store, user_ids[middle:], version, tally)
            return
        tally.rejudged += len(outcome.leads)
        tally.moved += len(outcome.queue_changes)

    @staticmethod
    def _refused(store: LeadStore, user_id: int, reason: str, tally: AdoptionCounts) -> None:
        log.error("lead_refused", user_id=user_id, reason=reason)
        tally.refused += 1
        with store.transaction() as tx:
            tx.queue_rechecks({user_id: f"PostgreSQL refused the lead when rules were adopted: {reason}"})


def _rejudged(store: LeadStore, user_ids: Sequence[int], version: int) -> Outcome:
    outcome = Outcome()
    with store.transaction(past_held=True) as tx:
        leads = tx.load(user_ids)
        rules = tx.rules
        if rules.version != version:
            raise NotAdopted(
                f"version {version} of the rules was replaced by {rules.version} meanwhile;"
                " run `consumer rules adopt --resume` for that one"
            )
        lanes = tx.lane_versions()
        for lead in leads.values():
            passed = lanes.get(lane_of(lead.user_id, store.lane_count), 0)
            waits = lead.judge_after is not None and (passed > 0 or lead.judge_after == NEVER)
            if lead.rules_version < version and lead.stint and not waits:
                rejudge(lead, adopted_at(rules, passed), rules.by(lead.rules_version), rules, outcome)
        tx.write(outcome)
    return outcome


def _chunks(users: Sequence[int]) -> Iterator[Sequence[int]]:
    return (users[start : start + AT_ONCE] for start in range(0, len(users), AT_ONCE))


def _last_user(connection: Connection) -> int:
    row = connection.execute("SELECT coalesce(max(user_id), 0) FROM leadstream.leads").fetchone()
    return 0 if row is None else int(row[0])
