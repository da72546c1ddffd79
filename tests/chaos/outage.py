"""An outage of the stream: agents see the present meanwhile, and the history is exact when the stream is back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psycopg

from tests.chaos.trial import Ground
from tests.demo.caseload import Caseload
from tests.demo.company import Address, Worker
from tests.demo.compare import Clock, Verdict, compare, compare_company, compare_seen
from tests.demo.oracle import Oracle
from tests.demo.pipeline import Pipeline
from tests.demo.transaction_log import Transaction, TransactionLog
from tests.support.processes import Process, ProcessFailed

Part = Literal["reader", "kafka", "appliers"]
"""What may be away: nobody reads the binlog, nothing keeps messages, or nobody applies them."""


class Diary(TransactionLog):
    """A transaction log that also keeps what is to be told the oracle."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fresh: list[Transaction] = []

    def write(self, transaction: Transaction) -> None:
        """Adds a transaction."""
        super().write(transaction)
        self.fresh.append(transaction)


class Outage:
    """Use as a context manager: `prepare`, `endure` some rounds, `recover`; the latter two return what is wrong."""

    def __init__(self, ground: Ground, folder: Path, seed: int, away: Part, say: Callable[[str], None] = print) -> None:
        self.pipeline = Pipeline(ground.addresses, folder, appliers=2)
        self.oracle = Oracle(self.pipeline.shape.words)
        self._ground = ground
        self._away = away
        self._diary = Diary(self.pipeline.folder / "transactions-0.jsonl")
        caseload = Caseload(0, 1, seed, moves=False)
        self._worker = Worker(Address.of(self.pipeline.mysql_url), caseload, 1.0, self._diary, compressed=False)
        self._since = 0
        self._say = say

    def prepare(self, customers: int) -> None:
        """Tables, customers, setup and backfill; the stream runs, and then a part of it goes away."""
        self.pipeline.create()
        self._worker.load(customers)
        self.pipeline.prepare()
        self.pipeline.start()
        self.pipeline.await_stream()
        if self._away == "kafka":
            self._ground.kafka.kill()
        for process in self._stopped:
            process.terminate()
        for process in self._stopped:
            process.succeed()
        self._since = self.pipeline.server_clock()
        self._tell()

    def endure(self, transactions: int) -> list[str]:
        """One round without the stream: the company works, then the safety net runs, whose word is what agents see."""
        for _ in range(transactions):
            self._worker.act()
        self.pipeline.command("sweeps", "reconciler", "run", "all", "--everyone")
        with suppress(ProcessFailed):  # it ends with 1, for the stream has yet to bring what it sees
            self.pipeline.command("verify", "reconciler", "verify", "--repair")
        self._tell()
        verdict = compare_seen(self.pipeline.postgres_url, self.oracle)
        problems = self._problems(f"the safety net alone, without {self._away}", verdict)
        for process in self.pipeline.processes:
            if process not in self._stopped:
                process.check()
        if self._reached(max) > self._since:
            problems.append(f"the stream went on although {self._away} was away")
        return problems

    def recover(self, transactions: int) -> list[str]:
        """The stream returns and replays the whole outage, while the company goes on and the safety net runs."""
        self._ground.kafka.start()
        for process in self._stopped:
            process.start()
        sweeps = self.pipeline.process("late", "reconciler", "run", "all", "--everyone")
        sweeps.start()
        try:
            for _ in range(transactions):
                self._worker.act()
            sweeps.succeed()
        finally:
            sweeps.end()
        self._tell()
        self.pipeline.drain()
        self.pipeline.stop()
        return self._problems("the stream is back", compare(self.pipeline.postgres_url, self.oracle, self._clock))

    @property
    def _stopped(self) -> list[Process]:
        return {"reader": [self.pipeline.reader], "kafka": [], "appliers": self.pipeline.appliers}[self._away]

    def _reached(self, which: Callable[[Iterable[int]], int]) -> int:
        """The version (µs) of the lane that is the farthest (max), or the least far (min)."""
        with psycopg.connect(self.pipeline.postgres_url) as connection:
            return which(version for (version,) in connection.execute("SELECT version FROM leadstream.lanes"))

    def _tell(self) -> None:
        """Tells the oracle what happened."""
        for transaction in self._diary.fresh:
            self.oracle.play(transaction)
        self._diary.fresh.clear()

    @property
    def _clock(self) -> Clock:
        return self.pipeline.clock()

    def _problems(self, when: str, verdict: Verdict) -> list[str]:
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
