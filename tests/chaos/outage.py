"""An outage of the stream: sweeps alone keep queues right and record conversions, and nothing twice when it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
import psycopg

from tests.chaos.trial import Ground
from tests.demo.company import Address, Worker, now
from tests.demo.compare import Clock, compare, compare_company
from tests.demo.desk import Desk, Draft
from tests.demo.journal import Journal, Transaction
from tests.demo.oracle import NONE, Oracle
from tests.demo.pipeline import NotDrained, Pipeline
from tests.demo.processes import Process

Part = Literal["reader", "kafka", "appliers"]
"""What may be away: nobody reads the binlog, nothing keeps messages, or nobody applies them."""

_UNSEEN: Final = ("bring_back", "renumber", "move", "second_thoughts")
"""New rows under old ids, which no sweep looks for, and what stays as it was."""
_DRAIN_SECONDS: Final = 120.0
_SETTINGS: Final = {
    "RECHECK_WAIT_SECONDS": "0.5",
    "DISCOVERY_BATCH_SIZE": "1000",
    "READER_BATCH_ROWS": "500",
    "READER_HEARTBEAT_SECONDS": "1",
}


class SweptDesk(Desk):
    """Between two sweeps every customer changes once at the most, and so that one of the plan's sweeps looks there.

    These look at new users, at users with new requirements, and at everybody who is in a queue. They date what they
    find by `updated_at`.
    """

    untouched = 0.0

    def __init__(self, seed: int, oracle: Oracle) -> None:
        super().__init__(0, 1, seed, moves=False)
        self.outage = True
        self.touched: set[int] = set()
        self.stamp = 0
        """When the statements of the last transaction were made (µs), which is what its rows are dated by."""
        self._oracle = oracle

    def next(self) -> Draft:
        """The next transaction; during an outage one that sweeps can see."""
        while True:
            draft = super().next()
            # MySQL dates rows by the statement: all of one transaction's are to carry the same second.
            self.stamp = now()
            draft.statements.insert(0, f"SET timestamp = {self.stamp / 1_000_000:.6f}")
            if not self.outage:
                return draft
            owners = {step: self._owner_or_new(draft, step) for step in range(len(draft.steps))}
            users = set(owners.values())
            asked = {
                owners[place] for place, step in enumerate(draft.steps) if step.op == "c" and step.table != "claims"
            }
            in_queue = {user for user in users if self._queue(user) != NONE}
            # What is gone has no date: beside a change that has one, the sweep sees two moments.
            mixed = len({step.op == "d" for step in draft.steps}) > 1
            seen = draft.name not in _UNSEEN and not mixed and users <= in_queue | asked
            if seen and not users & self.touched:
                if not draft.rollback:
                    self.touched |= users
                return draft

    def _queue(self, user: int) -> str:
        person = self._oracle.people.get(user)
        return person.queue if person is not None else NONE

    def _owner_or_new(self, draft: Draft, step: int) -> int:
        claims = {one.id: one.values["user"] for one in draft.steps if one.table == "claims" and one.op == "c"}
        this = draft.steps[step]
        claim = this.id if this.table == "claims" else this.values.get("claim")
        return claims[claim] if this.table != "users" and claim in claims else self._owner(this)


class Diary(Journal):
    """A journal that also keeps what is to be told the oracle, each transaction from its statements on."""

    def __init__(self, path: Path, desk: SweptDesk) -> None:
        super().__init__(path)
        self._desk = desk
        self.fresh: list[Transaction] = []

    def write(self, transaction: Transaction) -> None:
        """Adds a transaction."""
        super().write(transaction)
        self.fresh.append(msgspec.structs.replace(transaction, low=min(transaction.low, self._desk.stamp)))


class Outage:
    """Use as a context manager: `prepare`, `endure` some rounds, `recover`; the latter two return what is wrong."""

    def __init__(self, ground: Ground, folder: Path, seed: int, away: Part, say: Callable[[str], None] = print) -> None:
        self.pipeline = Pipeline(ground.addresses, folder, appliers=2, settings=_SETTINGS)
        self.oracle = Oracle(self.pipeline.shape.words)
        self.desk = SweptDesk(seed, self.oracle)
        self._ground = ground
        self._away = away
        self._diary = Diary(self.pipeline.folder / "journal-0.jsonl", self.desk)
        self._worker = Worker(Address.of(self.pipeline.mysql_url), self.desk, 1.0, self._diary, compressed=False)
        self._since = 0
        self._say = say

    def prepare(self, customers: int) -> None:
        """Tables, customers, setup and backfill; the stream runs, and then a part of it goes away."""
        self.pipeline.create()
        self._worker.load(customers)
        self.pipeline.prepare()
        self.pipeline.start()
        self._await_stream()
        if self._away == "kafka":
            self._ground.kafka.kill()
        for process in self._stopped:
            process.terminate()
        for process in self._stopped:
            process.stopped()
        self._since = self.pipeline.server_clock()
        self._tell()

    def endure(self, transactions: int) -> list[str]:
        """One round without the stream: the company works, then the sweeps run."""
        for _ in range(transactions):
            self._worker.act()
        self.pipeline.command("sweeps", "reconciler", "run", "all", "--everyone")
        self.desk.touched.clear()
        self._tell(until=now())
        problems = self._judge(f"sweeps alone, without {self._away}", settled=False)
        for process in self.pipeline.processes:
            if process not in self._stopped:
                process.check()
        if self._reached(max) > self._since:
            problems.append(f"the stream went on although {self._away} was away")
        return problems

    def recover(self, transactions: int) -> list[str]:
        """The stream returns and replays the whole outage, while the company goes on and sweeps run.

        They have patience now: a sweep that mends ahead of the stream sees fewer stays than there were.
        """
        self.desk.outage = False
        self._ground.kafka.start()
        for process in self._stopped:
            process.start()
        patient = self.pipeline.env | {"RECHECK_WAIT_SECONDS": "60"}
        sweeps = Process("late", "reconciler", ["run", "all", "--everyone"], patient, self.pipeline.folder)
        sweeps.start()
        try:
            for _ in range(transactions):
                self._worker.act()
            sweeps.wait(_DRAIN_SECONDS)
        finally:
            sweeps.end()
        self._tell()
        self.pipeline.drain(_DRAIN_SECONDS)
        self.pipeline.stop()
        return self._judge("the stream is back", settled=True)

    @property
    def _stopped(self) -> list[Process]:
        return {"reader": [self.pipeline.reader], "kafka": [], "appliers": self.pipeline.appliers}[self._away]

    def _reached(self, which: Callable[[Iterable[int]], int]) -> int:
        """The version (µs) of the lane that is the farthest (max), or the least far (min)."""
        with psycopg.connect(self.pipeline.postgres_url) as connection:
            return which(version for (version,) in connection.execute("SELECT version FROM leadstream.lanes"))

    def _await_stream(self) -> None:
        """Until a message came through every lane."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while not self._reached(min):
            self.pipeline.check()
            if time.monotonic() > deadline:
                raise NotDrained(f"no message came through within {_DRAIN_SECONDS:.0f} s")
            time.sleep(0.1)

    def _tell(self, until: int = 0) -> None:
        """Tells the oracle what happened; what is gone from MySQL is dated by the sweep that missed it."""
        for transaction in self._diary.fresh:
            seen = transaction
            if until and any(step.op == "d" for step in transaction.steps):
                seen = msgspec.structs.replace(transaction, high=until)
            self.oracle.play(seen)
        self._diary.fresh.clear()

    def _judge(self, when: str, *, settled: bool) -> list[str]:
        # Sweeps date a change by its row's updated_at, in whole seconds.
        clock = Clock(self.pipeline.clock().offset, 50_000, 1_000_000)
        verdict = compare(self.pipeline.postgres_url, self.oracle, clock, settled=settled)
        self._say(f"{when}: {verdict.sentence}")
        problems = [] if verdict.right else [verdict.sentence, *verdict.lines()]
        return problems + compare_company(self.pipeline.mysql_url, self.oracle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()
        self._ground.kafka.start()
        for problem in self.pipeline.discard():
            self._say(problem)
