"""A small claims company and a call centre on real servers; the stream is played by moving the lanes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from threading import Event
from typing import Any, Protocol, Self, TypeVar

import psycopg
import pymysql

from consumer.commands.adoption import Adoption, AdoptionCounts, session
from consumer.leads.rule_file import RuleFile
from consumer.mysql.login import login
from consumer.progress import LineProgress, Progress
from consumer.settings import MySQLAddress
from consumer.store import rules
from consumer.store.leads import LeadStore
from consumer.store.schema.setup import prepare
from consumer.store.sql import OPENED, entry_id
from reconciler.postgres import Postgres
from reconciler.replica import ReplicaReads
from reconciler.runs.backfill import Backfill
from reconciler.runs.repair import Repairer
from reconciler.runs.run_log import Runs
from reconciler.runs.sweeps import Report, Sweeper, SweepPlan, SweepScope
from reconciler.runs.verify import Verification
from reconciler.runs.wait_for_stream import LaneMonitor
from tests.support.company_tables import key
from tests.support.processes import Process
from tests.support.world import ProcessWorld, of_server

LANES = 4
SOON = 9_000_000
"""Versions (µs) ahead of the clock, and not so far that it would seem to have been put back."""


class Closable(Protocol):
    """A session on a server."""

    def close(self) -> None:
        """Ends it."""


T = TypeVar("T", bound=Closable)


class ReconcilerWorld(ProcessWorld):
    """A company, a prepared call centre, and everything of the reconciler on them, in this process or as programs."""

    company: pymysql.connections.Connection[Any]
    centre: psycopg.Connection[Any]
    still_seconds = 0.3
    """How long lanes may stand still before what runs in this process thinks that the stream has nothing to bring."""
    patience_seconds = 1.0
    shadow = False

    def __init__(self, mysql: str, postgres: str) -> None:
        super().__init__(
            "reconciler",
            postgres=postgres,
            mysql=mysql,
            foreign_keys=True,
            RECHECK_WAIT_SECONDS=str(self.still_seconds),
        )
        self.stop = Event()

    def _prepare(self) -> None:
        prepare(self.postgres_url, LANES, 1)
        self.company = self._keep(login(MySQLAddress(self.mysql_url), 10, 60))
        self.centre = self._keep(psycopg.connect(self.postgres_url, autocommit=True))

    @contextmanager
    def beside(self, mysql: str | None = None) -> Iterator[Self]:
        """The same databases with sessions of its own in this process, the company's at another server perhaps."""
        other = copy(self)
        other.mysql_url = of_server(mysql, self.name) if mysql else self.mysql_url
        with ExitStack() as other._ending:
            yield other

    def sql(self, text: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Runs a statement at the company."""
        with self.company.cursor() as cursor:
            cursor.execute(text, arguments)
            return list(cursor.fetchall())

    def pg(self, text: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Runs a statement at the call centre."""
        cursor = self.centre.execute(text, list(arguments))
        return cursor.fetchall() if cursor.description else []

    def user(self, user_id: int, signature: int | None = None, ago: int = 7200) -> None:
        """A user, created so many seconds ago."""
        self.sql(
            "INSERT INTO users (id, current_signature_file_id, created_at, updated_at)"
            " VALUES (%s, %s, UTC_TIMESTAMP() - INTERVAL %s SECOND, created_at)",
            user_id, signature, ago,
        )  # fmt: skip

    def claim(self, claim_id: int, user_id: int, status: str | None = "open") -> None:
        """A claim of a user."""
        self.sql("INSERT INTO claims (id, user_id, status) VALUES (%s, %s, %s)", claim_id, user_id, status)

    def requirement(self, requirement_id: int, claim_id: int, status: str | None = "pending", ago: int = 7200) -> None:
        """A requirement on a claim, created so many seconds ago; its id is `key` of the number."""
        self.sql(
            "INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)"
            " VALUES (%s, %s, 'id_document', %s, UTC_TIMESTAMP() - INTERVAL %s SECOND, UTC_TIMESTAMP())",
            key(requirement_id), claim_id, status, ago,
        )  # fmt: skip

    def age_everything(self, minutes: int = 10) -> None:
        """As if everything we hold had been read and judged some time ago: nothing is too fresh to be repaired."""
        micro = minutes * 60_000_000
        self.pg(
            "UPDATE leadstream.leads SET version = version - %s, read_floor = read_floor - %s, judge_after = NULL,"
            " opened_at = opened_at - make_interval(mins => %s)",
            micro, micro, minutes,
        )  # fmt: skip
        self.pg("UPDATE leadstream.claims SET version = version - %s", micro)
        self.pg("UPDATE leadstream.requirements SET version = version - %s", micro)
        opened = OPENED.format(id="id")
        self.pg(f"UPDATE call_queue SET id = {entry_id(f'{opened} - %s')} WHERE {opened} IS NOT NULL", micro)

    def pass_lanes(self, version: int | None = None) -> None:
        """Plays the stream: every lane has passed this version, by default the next seconds."""
        if version is None:
            version = time.time_ns() // 1000 + SOON
        self.pg("UPDATE leadstream.lanes SET version = %s, next_seq = next_seq + 1", version)

    def queues(self) -> dict[int, str]:
        """user → the queue of the open stint."""
        return dict(self.pg("SELECT user_id, queue_type FROM leadstream.stints WHERE closed_at IS NULL"))

    def scores(self) -> dict[int, str]:
        """user → the queue that the call centre sees."""
        return dict(self.pg("SELECT user_id, current_queue_type FROM user_call_scores"))

    def conversions(self) -> list[tuple[int, str]]:
        """(user, type) of every conversion."""
        return self.pg("SELECT user_id, conversion_type FROM conversions ORDER BY user_id, converted_at")

    def replica(self, retry_seconds: float = 5.0) -> ReplicaReads:
        """A session on the company's replica."""
        return self._keep(ReplicaReads(MySQLAddress(self.mysql_url), 30.0, retry_seconds, self.stop))

    def book(self) -> Postgres:
        """A session on what we hold."""
        return self._keep(Postgres(self.postgres_url))

    def repairer(self, dry_run: bool = False, replica: ReplicaReads | None = None, batch_size: int = 3) -> Repairer:
        """What compares and repairs."""
        book = self.book()
        monitor = LaneMonitor(book.lanes, self.still_seconds, self.patience_seconds, self.stop, poll_seconds=0.05)
        store = self._keep(LeadStore(self.postgres_url, LANES, self.shadow, "sweep"))
        return Repairer(
            replica or self.replica(),
            store,
            book,
            monitor,
            stop=self.stop,
            batch_size=batch_size,
            dry_run=dry_run,
        )

    def sweep(self, name: str, scope: SweepScope | None = None, *, dry_run: bool = False) -> Report:
        """Runs one sweep in this process."""
        repairer = self.repairer(dry_run)
        plan = SweepPlan(600, 48, self.shadow)
        return Sweeper(repairer.replica, repairer.postgres, Runs(repairer.postgres), repairer, plan).run(
            name, scope or SweepScope()
        )

    def backfill(self, batch_size: int = 3, *, restart: bool = False, progress: Progress | None = None) -> Report:
        """Runs the backfill in this process."""
        store = self._keep(LeadStore(self.postgres_url, LANES, self.shadow, "sweep"))
        runs = Runs(self.book())
        filling = Backfill(
            self.replica(), store, self.book(), runs,
            batch_size=batch_size, wait_seconds=self.still_seconds, stop=self.stop,
        )  # fmt: skip
        return filling.run(progress or LineProgress("backfill"), restart=restart)

    def verify(
        self,
        *,
        repair: bool = False,
        sample: int | None = None,
        range_users: int = 5,
        conversions_since: int | None = None,
    ) -> Report:
        """Verifies in this process."""
        repairer = self.repairer(dry_run=not repair)
        verification = Verification(
            repairer, self.replica(), Runs(repairer.postgres),
            stop=self.stop, shadow=self.shadow, range_users=range_users,
        )  # fmt: skip
        return verification.run(LineProgress("verify"), sample=sample, conversions_since=conversions_since)

    def adopt(self, file: RuleFile) -> AdoptionCounts | None:
        """Puts rules in force in this process, and brings every lead to them."""
        adoption = Adoption(self.postgres_url, shadow=self.shadow, stop=self.stop)
        return adoption.adopt(file, {}, "test", LineProgress("adopt"))[0]

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs `reconciler` as a process."""
        return self.processes.run("reconciler", *arguments, **settings)

    def start(self, *arguments: str, **settings: str) -> Process:
        """Starts `reconciler` as a process."""
        return self.processes.start("reconciler", *arguments, **settings)

    def _keep(self, thing: T) -> T:
        self._ending.callback(thing.close)
        return thing


def refuse(world: ReconcilerWorld, user_id: int, event: str = "INSERT") -> None:
    """PostgreSQL refuses to have this user in the call centre's table, or with UPDATE to have them changed there."""
    world.pg(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.user_id = {user_id} THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$"
    )
    world.pg(f"CREATE TRIGGER refuse BEFORE {event} ON user_call_scores FOR EACH ROW EXECUTE FUNCTION refuse()")


def adopt_only(world: ReconcilerWorld, file: RuleFile) -> None:
    """Puts rules in force as an adoption does that dies before it brings the first lead to them."""
    with session(world.postgres_url) as connection:
        rules.adopt(connection, file, {}, "test")
