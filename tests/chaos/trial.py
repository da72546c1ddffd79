"""One trial: a company at work, a pipeline behind it, faults, and the judgement when all is over."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from types import MappingProxyType, TracebackType
from typing import Final, Self

import psycopg

from tests.chaos.caseload import ChaosCaseload
from tests.chaos.dialler import AUDIT, Dialler, check_writes
from tests.chaos.events import check_events
from tests.chaos.net import SafetyNet
from tests.chaos.topics import check_topics
from tests.demo import transaction_log
from tests.demo.company import Address, Company, run
from tests.demo.compare import compare, compare_company
from tests.demo.oracle import NONE, Oracle
from tests.demo.pipeline import Addresses, Pipeline
from tests.servers import PrivateServer, Servers, ensure
from tests.support.processes import Process

_DRAIN_SECONDS: Final = 240.0
_QUIET_SECONDS: Final = 2.0
_TELL_SECONDS: Final = 5.0
_WORKERS: Final = 8
_CATCH_UP_SECONDS: Final = 30.0
"""So that the rate asked for is the one on average, restarts of MySQL included."""
_LONGEST_OUTAGE: Final = 600.0
_SHORTEST_OUTAGE: Final = 60.0
_TOLD: Final = {"PUBLISH_CONVERSIONS": "true"}
_PATIENCE: Final = _LONGEST_OUTAGE + 120


@dataclass(frozen=True)
class Ground:
    """The servers of trials. Kafka and PostgreSQL are always private; MySQL, or a MariaDB in its place, where `mysql`
    is given."""

    servers: Servers
    kafka: PrivateServer
    postgres: PrivateServer
    mysql: PrivateServer | None

    @property
    def addresses(self) -> Addresses:
        """As the pipeline takes them."""
        url = self.servers.mysql_url if self.mysql is None else self.mysql.url
        return Addresses(url, self.postgres.url, self.kafka.url)

    @classmethod
    def prepare(cls, stack: ExitStack, *, brokers: int = 1, own_mysql: bool = True, mariadb: bool = False) -> Self:
        """Starts what is private until `stack` is closed; with `mariadb` that is one of them.

        Where MySQL is not, others may leave XA transactions prepared there: whose rows these hold nobody knows who
        begins to read later, so all leads are read live where they commit.
        """
        servers = ensure(() if own_mysql or mariadb else ("mysql",))
        return cls(
            servers,
            stack.enter_context(servers.private_kafka(brokers)),
            stack.enter_context(servers.private_postgres()),
            stack.enter_context(servers.private_mariadb() if mariadb else servers.private_mysql())
            if own_mysql or mariadb
            else None,
        )

    def tidy(self) -> None:
        """Deletes the binlogs of earlier trials, which would fill the disk in hours, where MySQL is the trials' own."""
        if self.mysql is not None:
            connection = Address.of(self.mysql.url).connect()
            with connection:
                run(connection, "FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW()")


@dataclass(frozen=True)
class Load:
    """How much goes on: transactions a second, customers at the beginning, appliers, and who works beside them.

    With `net` sweeps, backfill, verify and pre-call checks do.
    """

    rate: float = 250.0
    customers: int = 3000
    appliers: int = 3
    dialler: bool = False
    net: bool = False


class Trial:
    """Use as a context manager: `prepare`, then `disturb` or `storm`, then `judge`. `say` is told what happens."""

    def __init__(
        self,
        ground: Ground,
        folder: Path,
        seed: int,
        load: Load,
        say: Callable[[str], None] = print,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.ground = ground
        self.load = load
        self.random = Random(f"chaos {seed}")
        self.pipeline = Pipeline(
            ground.addresses, folder, appliers=load.appliers, settings=_TOLD | dict(settings or {})
        )
        self.company = Company(
            self.pipeline.mysql_url, self.pipeline.folder, rate=load.rate, seed=seed, workers=_WORKERS,
            compressed=not self.pipeline.mysql_url.startswith("mariadb"),
            catch_up=_CATCH_UP_SECONDS, patience=_PATIENCE,
        )  # fmt: skip
        workers = len(self.company.workers)
        self.caseloads = [ChaosCaseload(number, workers, seed) for number in range(workers)]
        for worker, caseload in zip(self.company.workers, self.caseloads, strict=True):
            worker.caseload = caseload
        self.diallers = [Dialler(self.pipeline.postgres_url, seed, number) for number in range(2 * load.dialler)]
        self.net = SafetyNet(self.pipeline, seed) if load.net else None
        self.faults: Counter[str] = Counter()
        """How often each of them was brought about."""
        self.outage_seconds = (_SHORTEST_OUTAGE, _SHORTEST_OUTAGE)
        """How long outages last, at least and at most."""
        self.outage = False
        """Whether something is away for minutes, or being caught up with."""
        self._numbers = itertools.count(2)
        self._began = 0.0
        self._told = 0.0
        self.say = say

    def prepare(self) -> None:
        """Databases, topics, first customers, backfill; then everything runs."""
        self.pipeline.create()
        self.company.load(self.load.customers)
        self.pipeline.setup()
        if self.diallers:
            with psycopg.connect(self.pipeline.postgres_url, autocommit=True) as connection:
                connection.execute(AUDIT)
        self.pipeline.command("backfill", "reconciler", "backfill")
        self.pipeline.start()
        self.company.start()
        for dialler in self.diallers:
            dialler.start()
        if self.net is not None:
            self.pipeline.await_stream()  # a backfill beside a stream that has not begun is another story
            self.net.start()
        self._began = time.monotonic()

    def disturb(self, faults: Mapping[str, Callable[[Trial, Random], None]], pause: float) -> None:
        """These faults one after the other, `pause` seconds apart on average, and a quiet moment in the end.

        Raises ProcessFailed where a process ends that was not meant to, CompanyFailed, and what a fault raises.
        """
        for name, fault in faults.items():
            time.sleep(self.random.uniform(0.2, 2 * pause))
            self.pipeline.check()
            self.company.check()
            self.say(f"{time.monotonic() - self._began:6.1f} s  {name}")
            self.faults[name] += 1
            fault(self, self.random)
        time.sleep(_QUIET_SECONDS)

    def storm(
        self,
        faults: Mapping[str, Callable[[Trial, Random], None]],
        seconds: float,
        pause: float,
        outages: Mapping[str, Callable[[Trial, Random], None]] = MappingProxyType({}),
    ) -> None:
        """These faults by chance until the time is over, and each of the outages once, spread over it."""
        start = time.monotonic()
        longest = min(_LONGEST_OUTAGE, seconds / 8)
        self.outage_seconds = (min(_SHORTEST_OUTAGE, longest), longest)
        left = self.random.sample(list(outages), len(outages))
        apart = seconds / (len(left) + 1)
        while (now := time.monotonic() - start) < seconds:
            if left and now >= apart * (len(outages) - len(left) + 0.5):
                name = left.pop()
                self.disturb({name: partial(self._outage, outages[name])}, pause)
            else:
                name = self.random.choice(list(faults))
                self.disturb({name: faults[name]}, pause)

    def judge(self) -> list[str]:
        """Ends the load, waits for the pipeline, and returns a sentence for everything that is not as it must be."""
        self.company.stop()
        for dialler in self.diallers:
            dialler.finish()
        if self.net is not None:
            self.net.finish()
        committed = self.company.committed
        seconds = time.monotonic() - self._began
        issued = (committed + self.company.rolled_back) / seconds
        self.say(
            f"{seconds:6.1f} s  load over: {committed:,} transactions committed and {self.company.rolled_back:,} rolled"
            f" back, {issued:.0f}/s; draining"
        )
        self.pipeline.drain(_DRAIN_SECONDS, self._watch)
        if self.net is not None:
            self.net.conclude()
        clock = self.pipeline.clock()
        self.pipeline.stop()
        oracle = Oracle(self.pipeline.shape.words)
        for path in self.company.transaction_logs:
            oracle.replay(transaction_log.read(path))
        verdict = compare(self.pipeline.postgres_url, oracle, clock, other_writers=bool(self.diallers))
        self.say(f"{time.monotonic() - self._began:6.1f} s  {verdict.sentence}")
        problems = [] if verdict.right else [verdict.sentence, *verdict.lines()]
        problems += compare_company(self.pipeline.mysql_url, oracle)
        problems += check_topics(self.pipeline)
        if self.net is not None:
            self.say(self.net.told)
            problems += self.net.check_answers(oracle)
            wrong, lies = check_events(self.pipeline)
            self.say(lies)
            problems += wrong
            problems += self.net.judge()
        if self.diallers:
            writes = sum(dialler.writes for dialler in self.diallers)
            self.say(f"the dialler wrote {writes:,} times")
            problems += check_writes(self.pipeline.postgres_url, self.pipeline.shape.words.label(NONE))
            problems += [f"{one.name} failed: {one.failure}" for one in self.diallers if one.failure is not None]
            deadlocks = sum(dialler.deadlocks for dialler in self.diallers) + self._deadlocks()
            if deadlocks:
                problems.append(f"{deadlocks} deadlocks")
        return problems

    def catch_up(self, away: float) -> None:
        """Waits until the stream has brought what an outage of so many seconds kept from it, for that long and a while.

        Raises NeverCame: the stream is then slower than twice the load, beside the load.
        """
        self.pipeline.catch_up(away + _DRAIN_SECONDS, self._watch)

    def another_reader(self) -> Process:
        """One more reader, not started."""
        return self.pipeline.process(f"reader-{next(self._numbers)}", "consumer", "read")

    def another_applier(self) -> Process:
        """One more applier, not started."""
        return self.pipeline.process(f"applier-{next(self._numbers)}-more", "consumer", "apply")

    def _outage(self, fault: Callable[[Trial, Random], None], _: Trial, random: Random) -> None:
        self.outage = True
        try:
            fault(self, random)
        finally:
            self.outage = False

    def _watch(self) -> None:
        now = time.monotonic()
        if now >= self._told + _TELL_SECONDS:
            self._told = now
            lag = time.time() - min(self.pipeline.versions(), default=0) / 1_000_000
            unjudged, rechecks = self.pipeline.left()
            self.say(
                f"{now - self._began:6.1f} s  slowest lane {lag:.1f} s behind, {unjudged:,} leads unjudged, "
                f"{rechecks:,} rechecks due"
            )

    def _deadlocks(self) -> int:
        with psycopg.connect(self.pipeline.postgres_url) as connection:
            row = connection.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        return int(row[0]) if row else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.company.__exit__(kind, error, trace)
        for dialler in self.diallers:
            if dialler.is_alive():
                dialler.finish()
        if self.net is not None:
            self.net.end()
        for problem in self.pipeline.discard():
            self.say(problem)
