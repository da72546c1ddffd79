"""A small claims company and a call centre on real servers; the stream is played by moving the lanes."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import pymysql
from psycopg.conninfo import make_conninfo

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
from tests.integration.company_tables import call_centre_tables, company_tables, key
from tests.support.environments import environment
from tests.support.processes import Process, Processes, log_folder

LANES = 4
SOON = 9_000_000
"""Versions (µs) ahead of the clock, and not so far that it would seem to have been put back."""
T = TypeVar("T", ReplicaReads, Postgres, LeadStore)
_numbers = itertools.count(1)


@dataclass
class World:
    """One company database, one call centre database, and everything of the reconciler on them."""

    replica_url: str
    conninfo: str
    company: pymysql.connections.Connection[Any]
    centre: psycopg.Connection[Any]
    stop: Event = field(default_factory=Event)
    still_seconds: float = 0.3
    patience_seconds: float = 1.0
    shadow: bool = False
    _open: list[ReplicaReads | Postgres | LeadStore] = field(default_factory=list)

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
        return self._keep(ReplicaReads(MySQLAddress(self.replica_url), 30.0, retry_seconds, self.stop))

    def book(self) -> Postgres:
        """A session on what we hold."""
        return self._keep(Postgres(self.conninfo))

    def repairer(self, dry_run: bool = False, replica: ReplicaReads | None = None, batch_size: int = 3) -> Repairer:
        """What compares and repairs."""
        book = self.book()
        watch = LaneMonitor(book.lanes, self.still_seconds, self.patience_seconds, self.stop, poll_seconds=0.05)
        store = self._keep(LeadStore(self.conninfo, LANES, self.shadow, "sweep"))
        return Repairer(
            replica or self.replica(),
            store,
            book,
            watch,
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
        store = self._keep(LeadStore(self.conninfo, LANES, self.shadow, "sweep"))
        runs = Runs(self.book())
        filling = Backfill(self.replica(), store, self.book(), runs, batch_size=batch_size, stop=self.stop)
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
        adoption = Adoption(self.conninfo, shadow=self.shadow, stop=self.stop)
        return adoption.adopt(file, {}, "test", LineProgress("adopt"))[0]

    @cached_property
    def processes(self) -> Processes:
        """Our programs on these databases."""
        settings = environment(
            mysql=self.replica_url, postgres=self.conninfo, RECHECK_WAIT_SECONDS=str(self.still_seconds)
        )
        return Processes(settings, log_folder("reconciler"))

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs `reconciler` as a process."""
        return self.processes.run("reconciler", *arguments, **settings)

    def start(self, *arguments: str, **settings: str) -> Process:
        """Starts `reconciler` as a process."""
        return self.processes.start("reconciler", *arguments, **settings)

    def _keep(self, thing: T) -> T:
        self._open.append(thing)
        return thing

    def close(self) -> None:
        """Ends every process and session."""
        self.processes.end()
        for thing in self._open:
            thing.close()


def open_world(mysql_url: str, postgres_url: str) -> World:
    """A world in databases of its own."""
    name = f"reconciler_{os.getpid()}_{next(_numbers)}"
    url = urlsplit(mysql_url)._replace(path="/mysql").geturl()
    address = MySQLAddress(url)
    company = login(address, 10, 60)
    with company.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"USE {name}")
        cursor.execute("SET time_zone = '+00:00'")
        for table in company_tables(foreign_keys=True):
            cursor.execute(table)
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    conninfo = make_conninfo(urlsplit(postgres_url)._replace(path=f"/{name}").geturl())
    centre = psycopg.connect(conninfo, autocommit=True)
    centre.execute(call_centre_tables().encode())
    prepare(conninfo, LANES, 1)
    return World(urlsplit(mysql_url)._replace(path=f"/{name}").geturl(), conninfo, company, centre)


def close_world(world: World, postgres_url: str) -> None:
    """Drops its databases."""
    world.close()
    world.centre.close()
    name = urlsplit(world.replica_url).path.lstrip("/")
    with world.company.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
    world.company.close()
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def refuse(world: World, user_id: int, event: str = "INSERT") -> None:
    """PostgreSQL refuses to have this user in the call centre's table, or with UPDATE to have them changed there."""
    world.pg(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.user_id = {user_id} THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$"
    )
    world.pg(f"CREATE TRIGGER refuse BEFORE {event} ON user_call_scores FOR EACH ROW EXECUTE FUNCTION refuse()")


def adopt_only(world: World, file: RuleFile) -> None:
    """Puts rules in force as an adoption does that dies before it brings the first lead to them."""
    with session(world.conninfo) as connection:
        rules.adopt(connection, file, {}, "test")
