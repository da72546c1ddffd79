"""The whole store against a model: batches applied, cut anywhere and tried twice, sweeps, verify, rules adopted, and
earlier dumps brought back, in any order.

`CI= HYPOTHESIS_EXAMPLES=2000 pytest --timeout=0 tests/integration/store/test_model.py` explores.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from threading import Event
from typing import Any, Final, cast

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consumer.applier.applier import apply
from consumer.applier.batches import Batch, LaneBatch
from consumer.commands.adoption import Adoption
from consumer.lane import lane_of
from consumer.leads.model import Change
from consumer.leads.rule_file import Exclusion, RuleFile
from consumer.mysql.live_read import LiveLead, LiveRead
from consumer.progress import LineProgress
from consumer.store.errors import LaneTaken
from consumer.store.lanes import LaneState
from consumer.store.leads import LeadStore
from reconciler.postgres import Postgres
from reconciler.replica import NO_ROWS, Checksums, Fingerprints, Present, ReplicaReads
from reconciler.runs.repair import Repairer
from reconciler.runs.run_log import Runs
from reconciler.runs.verify import Verification
from reconciler.runs.wait_for_stream import LaneMonitor
from tests.integration.store.accounts import PLAN, SECOND, Books, rounded
from tests.integration.store.databases import wipe
from tests.integration.store.replayer import LANES
from tests.unit.leads.company import MINUTE, Company
from tests.unit.leads.histories import Transaction, busy_transactions, founding, happen, transactions
from tests.unit.leads.naive_model import NaiveWords, State, queue_of, state_at

EXAMPLES: Final = int(os.environ.get("HYPOTHESIS_EXAMPLES", "15"))
STEPS: Final = 30
USERS: Final = (1, 2)
Paid = tuple[int, str, int]
"""Customer, type and time (µs) of a conversion."""
FILES: Final = (
    (RuleFile(excluded=(Exclusion("signature"),)), PLAN),
    (
        RuleFile(closed=("cancelled", "lost"), settled=("approved", "waived"), excluded=(Exclusion("optional"),)),
        NaiveWords(("cancelled", "lost"), ("approved", "waived"), ("optional",)),
    ),
    (RuleFile(closed=("open",), settled=("approved", "pending")), NaiveWords(("open",), ("approved", "pending"), ())),
    (
        RuleFile(closed=(), settled=("rejected",), excluded=(Exclusion("passport"),)),
        NaiveWords((), ("rejected",), ("passport",)),
    ),
)
OURS: Final = (
    "leads", "claims", "requirements", "left_behind", "stints", "lanes", "rechecks", "shown", "rules",
    "kept_conversions",
)  # fmt: skip
THEIRS: Final = ("user_call_scores", "call_queue", "conversions")
STINTS: Final = """
SELECT user_id, number, queue_type, (extract(epoch FROM opened_at) * 1000000)::bigint, opened_reason,
       (extract(epoch FROM closed_at) * 1000000)::bigint, closed_reason, conversion_type, signature
FROM leadstream.stints ORDER BY user_id, number
"""
CONVERSIONS: Final = """
SELECT user_id, conversion_type, (extract(epoch FROM converted_at AT TIME ZONE 'UTC') * 1000)::bigint FROM conversions
"""
CALL_CENTRE: Final = """
SELECT user_id, current_queue_type, is_active, ARRAY(SELECT queue_type FROM call_queue AS entry
    WHERE entry.user_id = score.user_id AND status = 'pending' ORDER BY 1)
FROM user_call_scores AS score
"""


class LiveCompany(ReplicaReads):
    """The company's server, asked by query: what it holds at this moment."""

    queries = 0

    def __init__(self, company: Company) -> None:
        self.company = company
        self.address = cast("Any", "company")
        self.mariadb = False

    def lag(self) -> float | None:
        return None

    def clock(self) -> int:
        return self.company.now

    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        return {user_id: frozenset({(0, 0, 0)}) for user_id in user_ids if user_id in self.company.users}

    def read_users(self, user_ids: Iterable[int]) -> LiveRead:
        now = self.company.now
        return LiveRead(now, now, {user_id: self._lead(user_id) for user_id in user_ids})

    def _lead(self, user_id: int) -> LiveLead:
        claims, requirements = self.company.owned_by(user_id)
        return LiveLead(self.company.users.get(user_id), claims, requirements, {})

    def present(self) -> Present:
        users = sorted(self.company.users)
        return Present(self.company.now, 0, *((users[0], users[-1]) if users else (0, 0)), 0, 0)

    def end_of_range(self, after: int, users: int) -> int | None:
        last = max(self.company.users, default=0)
        return last if last > after else None

    def fingerprints(self, after: int, upto: int) -> Fingerprints:
        return NO_ROWS._replace(users=(len(self.company.users), 1))

    def user_page(self, after: int, limit: int) -> list[int]:
        return sorted(user_id for user_id in self.company.users if user_id > after)


class Machine(RuleBasedStateMachine):
    """Everything that may happen to the store, in any order."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        _reset(self.url)
        self.company = Company()
        self.streams: dict[int, list[Change]] = {lane: [] for lane in range(LANES)}
        self.books = Books()
        self.dumped: Books | None = None
        self.kept: set[Paid] = set()
        self.was_kept: set[Paid] = set()
        """Conversions that no stint earned and that a repair named once; now, and in the dump."""
        self.is_centre_ahead = self.was_centre_ahead = False
        """Now and in the dump: only our schema was brought back, so the call centre has seen more than the store."""
        self.are_entries_closed = self.were_entries_closed = False
        """Now and in the dump: an adoption closed entries, and our schema forgot it. Nobody can say whether an agent
        closed one of the stay that goes on, so it stays closed (docs/how-to/runbook.md)."""
        self.has_adopted = False
        """Since the dump."""
        self.store = LeadStore(self.url, LANES, shadow=False, source="stream")
        self.sweeps = LeadStore(self.url, LANES, shadow=False, source="sweep")
        self.postgres = Postgres(self.url)
        self.replica = LiveCompany(self.company)
        self.connection = psycopg.connect(self.url, options="-c TimeZone=UTC", autocommit=True)

    def teardown(self) -> None:
        try:
            self.settled()
        finally:
            for one in (self.store, self.sweeps, self.postgres, self.connection):
                one.close()

    @initialize()
    def found(self) -> None:
        self.company.heartbeat()
        self._travel()
        self._happen(founding)
        for lane in range(LANES):
            self._apply(lane, 1)

    @rule(transaction=transactions | busy_transactions)
    def happens(self, transaction: Transaction) -> None:
        self._happen(transaction)

    @rule()
    def heartbeat(self) -> None:
        self.company.heartbeat(MINUTE)
        self._travel()

    @rule(users=st.sampled_from(USERS), most=st.sampled_from((1, 2, 3, 100)), twice=st.booleans())
    def applied(self, users: int, most: int, twice: bool) -> None:
        self._apply(lane_of(users, LANES), most, twice=twice)

    @rule()
    def all_applied(self) -> None:
        for lane in range(LANES):
            self._apply(lane, len(self.streams[lane]))

    @rule(user_id=st.sampled_from(USERS))
    def swept(self, user_id: int) -> None:
        repairer = self._repairer()
        repairer.check([user_id])
        repairer.resolve()
        self._seen_live(user_id)
        assert not repairer.tally.drift
        assert not repairer.tally.repaired
        assert not repairer.tally.refused

    @rule()
    def verified(self) -> None:
        self._verify()

    @rule(number=st.integers(0, len(FILES) - 1))
    def adopted(self, number: int) -> None:
        file, words = FILES[number]
        Adoption(self.url, shadow=False, stop=Event()).adopt(file, {}, "somebody", LineProgress("adopt"))
        self.books.adopt(words, self.streams)
        self.has_adopted = True

    @rule()
    def dump(self) -> None:
        self._copy("dumped", OURS, "leadstream")
        self._copy("dumped", THEIRS, "public")
        self.dumped, self.was_centre_ahead = self.books.copy(), self.is_centre_ahead
        self.were_entries_closed, self.has_adopted = self.are_entries_closed, False
        self.was_kept = set(self.kept)

    @precondition(lambda self: self.dumped is not None)
    @rule(whole=st.booleans())
    def brought_back(self, whole: bool) -> None:
        """The dump, of the whole database or of our schema alone."""
        assert self.dumped is not None
        with self.connection.transaction():
            for table in reversed(OURS):
                self.connection.execute(f"DELETE FROM leadstream.{table}")
            for table in OURS:
                self.connection.execute(f"INSERT INTO leadstream.{table} SELECT * FROM dumped.{table}")
            if whole:
                for table in reversed(THEIRS):
                    self.connection.execute(f"DELETE FROM {table}")
                for table in THEIRS:
                    self.connection.execute(f"INSERT INTO {table} SELECT * FROM dumped.{table}")
        before = self.books
        self.books = self.dumped.copy()
        if not whole:
            self.books.paid |= before.paid
            self.books.files |= before.files
            self.books.documents |= before.documents
        self.kept = set(self.was_kept)
        self.is_centre_ahead = self.was_centre_ahead or not whole
        if whole:
            self.are_entries_closed = self.were_entries_closed
        else:
            self.are_entries_closed |= self.has_adopted

    @invariant()
    def agrees(self) -> None:
        """Stints and conversions are the model's at every moment, and so is what agents see."""
        found = self.connection.execute(STINTS).fetchall()
        expected = [
            (user_id, one.number, one.queue, one.opened_at, one.opened_reason, one.closed_at, one.closed_reason,
             one.conversion, one.signature)
            for user_id, account in sorted(self.books.accounts.items()) for one in account.stints
        ]  # fmt: skip
        assert found == expected
        paid = sorted(self.connection.execute(CONVERSIONS).fetchall())
        assert paid == sorted((user_id, kind, at // 1000) for user_id, kind, at in self.books.paid)
        lanes = self.store.lanes(range(LANES))
        for lane, state in lanes.items():
            assert state.next_seq == self.books.upto.get(lane, 0) + 1
            assert state.version == self.books.version.get(lane, 0)
        if not self.is_centre_ahead:
            self._call_centre_agrees()

    def _call_centre_agrees(self) -> None:
        found = {user_id: tuple(rest) for user_id, *rest in self.connection.execute(CALL_CENTRE).fetchall()}
        expected = {}
        for user_id in {*self.books.accounts, *self.books.shown}:
            queue = self.books.queue(user_id)
            expected[user_id] = (queue, queue != "none", [] if queue == "none" else [queue])
            if self.are_entries_closed and found[user_id][2] == []:
                expected[user_id] = (*expected[user_id][:2], [])
        assert found == expected

    def settled(self) -> None:
        """In the end everybody is where MySQL has them now, and a last look finds nothing to repair."""
        self.company.heartbeat(MINUTE)
        self._travel()
        self.all_applied()
        self._verify()
        self.agrees()
        for user_id in self.books.accounts:
            assert self.books.queue(user_id) == queue_of(self._present(user_id), self.books.words)[0]

    def _happen(self, transaction: Transaction) -> None:
        happen(self.company, transaction, moves=False)
        self._travel()

    def _travel(self) -> None:
        """What the company's binlog has gained, by lanes: the last change of a transaction in each is marked."""
        news, self.company.stream = self.company.stream, []
        for lane, stream in self.streams.items():
            ours = [one for one in news if one.table is None or lane_of(one.user_id, LANES) == lane]
            for number, change in enumerate(ours):
                is_last = number + 1 == len(ours) or ours[number + 1].version != change.version
                stream.append(change._replace(last=is_last))

    def _apply(self, lane: int, most: int, *, twice: bool = False) -> None:
        """The next changes of a lane, from where PostgreSQL says it stands."""
        stream = self.streams[lane]
        at = self.store.lanes([lane])[lane]
        changes = stream[at.next_seq - 1 : at.next_seq - 1 + most]
        if not changes:
            return
        batch = _batch(lane, at, changes)
        apply(batch, self.store)
        if twice:
            with pytest.raises(LaneTaken):
                apply(batch, self.store)
        self.books.apply(lane, stream, at.next_seq - 1 + len(changes))
        for user_id, (_, until) in list(self.books.shown.items()):
            if lane_of(user_id, LANES) == lane and until <= self.books.version[lane] and user_id in self.books.accounts:
                del self.books.shown[user_id]

    def _repairer(self) -> Repairer:
        stop = Event()
        monitor = LaneMonitor(self.postgres.lanes, 0.0, 0.0, stop)
        return Repairer(self.replica, self.sweeps, self.postgres, monitor, stop=stop)

    def _seen_live(self, user_id: int) -> None:
        """The present is shown of whoever's lane has yet to bring it."""
        lane = lane_of(user_id, LANES)
        user, claims, requirements = self._present(user_id)
        if self.books.version[lane] >= self.company.now:
            return
        applied = self.streams[lane][: self.books.upto[lane]]
        held = state_at(user_id, applied, self.company.now)
        account, shown = self.books.accounts.get(user_id), self.books.shown.get(user_id)
        queue = queue_of((user, claims, requirements), self.books.words)[0]
        in_step = held == (user, claims, requirements) if user is not None else held[0] is None
        if in_step and (account is not None or user is None):
            if shown is not None and shown[0] != queue:
                self.books.shown[user_id] = queue, max(shown[1], self.company.now)
        elif shown is not None or account is None or account.stints[-1].queue != queue:
            self.books.shown[user_id] = queue, self.company.now

    def _present(self, user_id: int) -> State:
        """What MySQL has of a customer; of one who is gone, nothing."""
        user = self.company.users.get(user_id)
        return (None, {}, {}) if user is None else (user, *self.company.owned_by(user_id))

    def _verify(self) -> None:
        repairer = self._repairer()
        runs = Runs(self.postgres)
        report = Verification(repairer, self.replica, runs, stop=Event(), shadow=False).run(LineProgress("verify"))
        for user_id in {*USERS}:
            self._seen_live(user_id)
        assert report.error is None
        unearned = self._unearned()
        assert repairer.tally.drift.pop("conversion_without_stint", 0) == len(unearned - self.kept)
        self.kept = {one for one in unearned if one in self.kept or self._is_passed(one)}
        if not self.is_centre_ahead:
            assert not repairer.tally.drift
            assert not repairer.tally.repaired
        self.is_centre_ahead = False

    def _unearned(self) -> set[Paid]:
        """What was paid and is of no stint: our schema was brought back, and the stream has yet to come there, or other
        rules were in force when it did."""
        earned = defaultdict(list)
        for user_id, account in self.books.accounts.items():
            for one in account.stints:
                if one.conversion is not None and one.closed_at is not None:
                    earned[user_id, one.conversion].append(one.closed_at)
        return {
            (user_id, kind, at)
            for user_id, kind, at in self.books.paid
            if all(abs(rounded(at) - other) > SECOND for other in earned[user_id, kind])
        }

    def _is_passed(self, paid: Paid) -> bool:
        """Whether the stream is beyond it, so that nothing can earn it any more."""
        user_id, _, at = paid
        return self.books.version.get(lane_of(user_id, LANES), 0) > rounded(at) + 500

    def _copy(self, schema: str, tables: Sequence[str], source: str) -> None:
        with self.connection.transaction():
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            for table in tables:
                self.connection.execute(f"DROP TABLE IF EXISTS {schema}.{table}")
                self.connection.execute(f"CREATE TABLE {schema}.{table} AS TABLE {source}.{table}")


def _batch(lane: int, at: LaneState, changes: list[Change]) -> Batch:
    """These changes as an applier hands them on."""
    version = max([at.version, *(change.version for change in changes if change.last)])
    users = frozenset(change.user_id for change in changes if change.table is not None)
    part = LaneBatch(
        lane, at.epoch, at.next_seq, at.next_seq + len(changes), at.version, version, {}, changes, users,
        orphaned=False, lost=0, letters=(), rechecks={},
    )  # fmt: skip
    return Batch(1, [part], len(changes))


def _reset(url: str) -> None:
    wipe(url)
    with psycopg.connect(url) as connection:
        for statement in (
            "DELETE FROM leadstream.shown",
            "DELETE FROM leadstream.left_behind",
            "DELETE FROM leadstream.kept_conversions",
            "DELETE FROM leadstream.rules WHERE version > 1",
            "DROP SCHEMA IF EXISTS dumped CASCADE",
        ):
            connection.execute(statement)


def test_the_store_is_what_the_model_says(database: str) -> None:
    machine = type("Machine", (Machine,), {"url": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    _reset(database)


def test_whoever_comes_back_while_the_stream_is_behind_is_seen_where_they_are_now(database: str) -> None:
    machine = type("Machine", (Machine,), {"url": database})()
    machine.found()
    machine.all_applied()
    machine.happens((1, (("user", 2, "f1", 1), ("requirement", "103", "12", "approved", "passport", ""))))
    machine.swept(2)
    machine.agrees()
    machine.happens((1, (("user", 2, None, 1), ("requirement", "103", "12", "pending", "passport", ""))))
    machine.swept(2)
    machine.agrees()
    machine.teardown()


def test_rules_of_a_version_that_was_another_before_a_restore_are_read_anew(database: str) -> None:
    machine = type("Machine", (Machine,), {"url": database})()
    machine.found()
    machine.all_applied()
    machine.dump()
    machine.adopted(1)
    machine.happens((1, (("user", 2, "f1", 1),)))
    machine.all_applied()
    machine.brought_back(whole=True)
    machine.adopted(2)
    machine.all_applied()
    machine.agrees()
    machine.teardown()


def test_an_adoption_does_not_go_on_where_another_of_its_number_ended_before_a_restore(database: str) -> None:
    machine = type("Machine", (Machine,), {"url": database})()
    machine.found()
    machine.all_applied()
    machine.dump()
    machine.adopted(2)
    machine.brought_back(whole=False)
    machine.adopted(3)
    machine.agrees()
    machine.teardown()


@pytest.mark.parametrize("number", range(len(FILES)))
def test_what_was_paid_by_the_rules_of_before_a_restore_is_told_once_and_stays(database: str, number: int) -> None:
    machine = type("Machine", (Machine,), {"url": database})()
    machine.found()
    machine.all_applied()
    machine.dump()
    machine.happens((1, (("user", 1, "f1", 1), ("user", 2, "f1", 1))))
    machine.happens((1, (("requirement", "103", "12", "approved", "passport", ""),)))
    machine.all_applied()
    paid = set(machine.books.paid)
    machine.brought_back(whole=False)
    machine.verified()
    assert len(machine._unearned()) == len(paid) == 2, "the stream has yet to bring them"
    assert machine.kept == set()
    machine.adopted(number)
    machine.all_applied()
    machine.heartbeat()
    machine.all_applied()
    machine.verified()
    assert machine.kept == machine._unearned()
    machine.verified()
    assert machine.books.paid == paid, "nothing is paid twice"
    machine.teardown()
