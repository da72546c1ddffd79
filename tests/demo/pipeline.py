"""The whole pipeline for one trial: databases, topics and processes of its own, and what it looks like from outside.

Used by the demo and the chaos tests. Reads PostgreSQL as any program could.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, LiteralString, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pymysql
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import sql

from tests.demo import call_centre
from tests.demo.company import Address, create_tables, now, run
from tests.demo.company_schema import COMPANY
from tests.demo.compare import Clock, micros
from tests.demo.oracle import NONE, OUTSTANDING, UNSIGNED
from tests.demo.shape import Shape
from tests.support.environments import environment
from tests.support.processes import Process
from tests.support.waiting import PATIENCE, until

_PAUSE: Final = 0.2
_READINGS: Final = 20


class Addresses(NamedTuple):
    """The servers of a trial; the databases named in the URLs are left alone."""

    mysql: str
    postgres: str
    kafka: str


class Conversion(NamedTuple):
    """A conversion as PostgreSQL shows it; `at` in µs."""

    user_id: int
    type: str
    at: int


@dataclass
class State:
    """What PostgreSQL shows at one moment; times and versions in µs since the epoch."""

    at: int
    versions: list[int] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)
    """Customers by the call centre's name of their queue."""
    conversions: int = 0
    last_minute: int = 0
    recent: list[Conversion] = field(default_factory=list)
    unjudged: int = 0
    rechecks: int = 0
    """Rechecks that are due."""
    messages: int = 0
    """Messages applied, over all lanes."""


def with_database(url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


class Pipeline:
    """Setup, a reader, appliers and the reconciler for one trial, with names of its own everywhere.

    The company's tables have the `shape`. `folder` takes the logs. Use it as a context manager, or call `discard` in
    the end.
    """

    def __init__(
        self,
        servers: Addresses,
        folder: Path,
        *,
        appliers: int = 2,
        lanes: int = 12,
        settings: dict[str, str] | None = None,
        shape: Shape = COMPANY,
    ) -> None:
        self.servers = servers
        self.shape = shape
        self.name = f"demo_{secrets.token_hex(4)}"
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self.lanes = lanes
        self.mysql_url = with_database(servers.mysql, self.name)
        self.postgres_url = with_database(servers.postgres, self.name)
        self.env = environment(
            mysql=self.mysql_url,
            postgres=self.postgres_url,
            kafka=servers.kafka,
            prefix=self.name,
            lanes=lanes,
            **({"METRICS_PORT": "0"} | (settings or {})),
        )
        self.reader = self.process("reader", "consumer", "read")
        self.appliers = [self.process(f"applier-{number}", "consumer", "apply") for number in range(1, appliers + 1)]
        self._state: psycopg.Connection[tuple[Any, ...]] | None = None

    def process(self, name: str, script: str, *arguments: str) -> Process:
        """Another process with this trial's settings; not started, and not among `processes`."""
        return Process(name, script, list(arguments), self.env, self.folder)

    @property
    def processes(self) -> list[Process]:
        """Those that have to run until they are stopped."""
        return [self.reader, *self.appliers]

    def create(self) -> None:
        """Creates both databases, with the company's tables in MySQL's and the call centre's in PostgreSQL's."""
        create_tables(Address.of(self.mysql_url), self.shape)
        with psycopg.connect(self.servers.postgres, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        with psycopg.connect(self.postgres_url) as connection:
            call_centre.create_tables(connection)

    def command(self, name: str, script: str, *arguments: str, within: float = PATIENCE) -> None:
        """Runs a command to its end. Raises ProcessFailed."""
        process = self.process(name, script, *arguments)
        process.start()
        try:
            process.succeed(within)
        finally:
            process.end()

    def setup(self) -> None:
        """`consumer setup`, and the company's rules adopted. Raises ProcessFailed."""
        self.command("setup", "consumer", "setup")
        self.command("rules", "consumer", "rules", "adopt", str(self.shape.rules_file))

    def prepare(self) -> None:
        """Setup and backfill. Raises ProcessFailed."""
        self.setup()
        self.command("backfill", "reconciler", "backfill")

    def start(self) -> None:
        """Starts reader and appliers."""
        for process in self.processes:
            process.start()

    def check(self) -> None:
        """Raises ProcessFailed where a process ended that nobody killed."""
        for process in self.processes:
            process.check()

    def stop(self) -> None:
        """Ends reader and appliers in good order. Raises ProcessFailed where one does not."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.succeed()

    def state(self) -> State:
        """What PostgreSQL shows now; it counts all leads and conversions. Raises psycopg.Error."""
        labels = {queue: self.shape.words.label(queue) or "in no queue" for queue in (UNSIGNED, OUTSTANDING, NONE)}
        state = State(now(), queues=dict.fromkeys(labels.values(), 0))
        for version, next_seq in self._rows("SELECT version, next_seq FROM leadstream.lanes"):
            state.versions.append(version)
            state.messages += next_seq - 1
        for queue, count in self._rows(
            "SELECT queue_type, count(*) FROM leadstream.leads WHERE queue_type IS NOT NULL GROUP BY 1"
        ):
            state.queues[labels[queue]] = count
        ((state.conversions, state.last_minute),) = self._rows(
            "SELECT count(*), count(*) FILTER (WHERE converted_at > (now() AT TIME ZONE 'utc') - interval '1 minute')"
            " FROM conversions"
        )
        state.recent = [
            Conversion(user_id, kind, micros(at) or 0)
            for user_id, kind, at in self._rows(
                "SELECT user_id, conversion_type, converted_at FROM conversions ORDER BY converted_at DESC LIMIT 8"
            )
        ]
        state.unjudged, state.rechecks = self.left()
        return state

    def drain(self, within: float = PATIENCE, watch: Callable[[], None] = lambda: None) -> None:
        """Waits until everything committed until now is applied, every lead judged and no recheck due.

        Raises NeverCame, and ProcessFailed where a process ends meanwhile.
        """
        end = self.server_clock()

        def drained() -> bool:
            self.check()
            watch()
            if not self._passed(end):
                return False
            if not any(self.left()):
                return True
            self.command("rechecks", "reconciler", "run", "rechecks")
            return False

        until(drained, "the pipeline drained", within, seen=lambda: self._status(end), pause=_PAUSE)

    def catch_up(self, within: float = PATIENCE, watch: Callable[[], None] = lambda: None) -> None:
        """Waits until every lane has come to what was committed until now. Raises NeverCame, ProcessFailed."""
        end = self.server_clock()

        def caught_up() -> bool:
            self.check()
            try:
                watch()
                return self._passed(end)
            except psycopg.OperationalError:  # it may be recovering
                return False

        until(caught_up, "the slowest lane caught up", within, seen=lambda: self._status(end), pause=_PAUSE)

    def await_stream(self) -> None:
        """Waits until every lane has moved once. Raises NeverCame, ProcessFailed."""

        def moved() -> bool:
            self.check()
            return self._passed(0)

        until(moved, "a message came through every lane", seen=lambda: self._status(0), pause=_PAUSE)

    def versions(self) -> list[int]:
        """How far each lane is (µs)."""
        return [version for (version,) in self._rows("SELECT version FROM leadstream.lanes")]

    def _passed(self, version: int) -> bool:
        """Whether every lane is beyond a version: looked at over and over beside what is measured, so it is cheap."""
        versions = self.versions()
        return len(versions) == self.lanes and min(versions) > version

    def left(self) -> tuple[int, int]:
        """How many leads wait to be judged, and how many rechecks are due."""
        ((unjudged, rechecks),) = self._rows(
            "SELECT (SELECT count(*) FROM leadstream.leads WHERE judge_after IS NOT NULL),"
            " (SELECT count(*) FROM leadstream.rechecks WHERE not_before <= now())"
        )
        return unjudged, rechecks

    def _status(self, end: int) -> str:
        """What is missing, and the processes' last lines."""
        behind = self.lanes - sum(version > end for version in self.versions())
        unjudged, rechecks = self.left()
        logs = "\n".join(f"  the end of {one.log}:\n{one.tail()}" for one in self.processes)
        return (
            f"{behind} of {self.lanes} lanes are behind, {unjudged:,} leads wait to be judged, "
            f"{rechecks:,} rechecks are due\n{logs}"
        )

    def server_clock(self) -> int:
        """MySQL's clock in µs since the epoch."""
        connection = Address.of(self.mysql_url).connect()
        with connection, connection.cursor() as cursor:
            return _clock(cursor)

    def clock(self) -> Clock:
        """How MySQL's clock stands to ours, and how finely it dates a commit."""
        connection = Address.of(self.mysql_url).connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            version = cursor.fetchone()
            assert version is not None
            readings = []
            for _ in range(_READINGS):
                before = now()
                there = _clock(cursor)
                after = now()
                readings.append((after - before, there - (before + after) // 2))
        error, offset = min(readings)
        # MariaDB's GTID event carries whole seconds.
        return Clock(offset, 2_000 + error, 1_000_000 if "MariaDB" in version[0] else 1)

    def end(self) -> None:
        """Ends all of the trial's processes at once, one that a signal interrupted us in starting included."""
        for process in self.processes:
            process.end()
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                if child.environ().get("TOPIC_PREFIX") == self.name:
                    child.kill()
                    child.wait()

    def discard(self) -> list[str]:
        """Ends the processes and deletes databases and topics; returns a sentence for everything that could not be."""
        self.end()
        if self._state is not None:
            self._state.close()
        problems = []
        for what, delete in (
            (f"database {self.name} in MySQL", self._drop_mysql),
            (f"database {self.name} in PostgreSQL", self._drop_postgres),
            (f"topics {self.name}.* in Kafka", self._drop_topics),
        ):
            try:
                delete()
            except (pymysql.MySQLError, psycopg.Error, KafkaException) as error:
                problems.append(f"{what} could not be deleted: {error}")
        return problems

    def topics(self) -> list[str]:
        """The trial's topics in Kafka. Raises KafkaException."""
        return [topic for topic in self._admin().list_topics(timeout=10).topics if topic.startswith(f"{self.name}.")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers.kafka, "log_level": 0})

    def _drop_mysql(self) -> None:
        connection = Address.of(self.servers.mysql)._replace(database="").connect()
        with connection:
            run(connection, f"DROP DATABASE IF EXISTS `{self.name}`")

    def _drop_postgres(self) -> None:
        with psycopg.connect(self.servers.postgres, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))

    def _drop_topics(self) -> None:
        admin = self._admin()
        topics = self.topics()
        if topics:
            for future in admin.delete_topics(topics, operation_timeout=10).values():
                future.result()
        with suppress(KafkaException):  # a group that still has its members for a few seconds expires by itself
            for group in admin.delete_consumer_groups([f"{self.name}.appliers"]).values():
                group.result()

    def _rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """What a query gives, though the connection that was kept for it may have been cut since."""
        kept = self._state
        try:
            return self._asked(query)
        except psycopg.OperationalError:
            if kept is None:
                raise
            kept.close()
            return self._asked(query)

    def _asked(self, query: LiteralString) -> list[tuple[Any, ...]]:
        if self._state is None or self._state.closed:
            self._state = psycopg.connect(self.postgres_url, autocommit=True)
            self._state.execute("SET TIME ZONE 'UTC'")
        return self._state.execute(query).fetchall()


def _clock(cursor: pymysql.cursors.Cursor) -> int:
    cursor.execute("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)")
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])
