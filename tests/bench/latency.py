"""Commit → visible in PostgreSQL: how long after a customer's signature is committed the conversion can be read.

Beside each such probe, in the same run and at the same load, what nobody can do without who takes this way: a Kafka
transaction of one message, and a PostgreSQL transaction of one row. Then once more with two watchers of the topic,
which tell the way in three: until the message lies in Kafka, until its transaction is committed there, until it is
applied.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import psycopg
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from tests.bench import ours, results
from tests.bench.history import DATABASE, History, connect, history
from tests.bench.kafka import Topics
from tests.bench.measure import BenchFailed, Command
from tests.bench.postgres import database
from tests.bench.sizes import Sizes
from tests.servers import Servers
from tests.support.waiting import until

_LOADERS = 2
_RATE = 1000
"""Transactions a second, over all loaders."""
_PAUSE = 0.01
_KAFKA_SECONDS = 30.0
_AFTER_PROBE = 60.0
_TAIL = 0.05
"""The share of the slowest probes whose stages are told apart."""


def bench(servers: Servers, sizes: Sizes) -> None:
    """At rest, and with 1,000 other transactions a second."""
    entries = []
    with history(servers, 20_000) as past:
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        topics = Topics(servers.kafka_bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, database(servers.postgres_url) as postgres:
            env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
            ours.setup(env)
            topics.create([f"{prefix}.bare"], 1)
            bare = _Bare(servers.kafka_bootstrap, f"{prefix}.bare", postgres)
            with _running([ours.reader(env, Path(folder)), ours.applier(env, Path(folder))]):
                at_rest = _probe(past, postgres, bare, 10_000_000, sizes.probes)
                entries += _figures("at rest", at_rest)
                with _loaded(past) as committed:
                    began, before = time.monotonic(), committed()
                    loaded = _probe(past, postgres, bare, 20_000_000, sizes.probes)
                    reached = (committed() - before) / (time.monotonic() - began)
                    with _watched(servers.kafka_bootstrap, f"{prefix}.users") as arrivals:
                        probes = _probe(past, postgres, bare, 30_000_000, sizes.probes)
                    staged = _stages(probes, arrivals())
                first, *others = _figures(f"at {_RATE:,} tx/s", loaded)
                entries += [{**first, "load_tx_per_s": round(reached)}, *others, *staged]
            bare.close()
        topics.remove()
    results.keep("latency", "commit → visible in PostgreSQL", entries)


class _Bare:
    """The two commits by themselves, each durable when it returns."""

    def __init__(self, kafka: str, topic: str, postgres: str) -> None:
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic, "compression.type": "lz4"})
        self._producer.init_transactions(_KAFKA_SECONDS)
        self._postgres = psycopg.connect(postgres)
        self._postgres.execute("CREATE TABLE bare (id bigint PRIMARY KEY, at timestamptz)")
        self._postgres.commit()

    def timed(self, number: int) -> tuple[float, float]:
        """Milliseconds of a Kafka transaction of one message, and of a PostgreSQL transaction of one row."""
        began = time.perf_counter()
        self._producer.begin_transaction()
        self._producer.produce(self._topic, b'{"after": {"id": 1}}', str(number))
        self._producer.commit_transaction(_KAFKA_SECONDS)
        between = time.perf_counter()
        self._postgres.execute("INSERT INTO bare VALUES (%s, now())", [number], prepare=True)
        self._postgres.commit()
        return (between - began) * 1000, (time.perf_counter() - between) * 1000

    def close(self) -> None:
        self._postgres.close()


@contextmanager
def _running(commands: list[Command]) -> Iterator[None]:
    with ExitStack() as files:
        processes = [
            subprocess.Popen(
                command.argv,
                stdout=files.enter_context(command.log.open("wb")),
                stderr=subprocess.STDOUT,
                env=command.env,
            )
            for command in commands
        ]
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)


@contextmanager
def _loaded(past: History) -> Iterator[Callable[[], int]]:
    """Other transactions meanwhile, from processes of their own: they must not take turns with who measures.

    Gives how many were committed so far.
    """
    spawned = multiprocessing.get_context("spawn")
    stop = spawned.Event()
    counts = [spawned.Value("q", 0) for _ in range(_LOADERS)]
    loaders = [
        spawned.Process(target=_load, args=(past.url, number, _RATE / _LOADERS, stop, counts[number]))
        for number in range(_LOADERS)
    ]
    for loader in loaders:
        loader.start()
    try:
        while not all(count.value for count in counts):
            if not all(loader.is_alive() for loader in loaders):
                raise BenchFailed("a process that was to make load ended")
            time.sleep(_PAUSE)
        yield lambda: sum(count.value for count in counts)
    finally:
        stop.set()
        for loader in loaders:
            loader.join()


class _Probe(NamedTuple):
    """One signature: when its commit returned and when its conversion was visible (s); the bare two (ms)."""

    user: int
    committed: float
    visible: float
    kafka: float
    postgres: float

    @property
    def taken(self) -> float:
        """Milliseconds."""
        return (self.visible - self.committed) * 1000


def _probe(past: History, postgres: str, bare: _Bare, first: int, probes: int) -> list[_Probe]:
    """From the return of a signature's commit to its conversion being visible; and the bare two by turns.

    The bare ones are done when the probe is, and do not run beside it.
    """
    done = []
    seen = "SELECT 1 FROM conversions WHERE user_id = %s"
    known = "SELECT 1 FROM leadstream.leads WHERE user_id = %s"
    with (
        connect(past.url, DATABASE) as source,
        source.cursor() as cursor,
        psycopg.connect(postgres, autocommit=True) as target,
    ):
        for user in range(first, first + probes):
            cursor.execute(
                "INSERT INTO users (id, email_address, created_at, updated_at) VALUES (%s, '', NOW(), NOW())",
                (user,),
            )
            _wait(target, known, user)
            cursor.execute("UPDATE users SET current_signature_file_id = 1 WHERE id = %s", (user,))
            committed = time.perf_counter()
            _wait(target, seen, user)
            visible = time.perf_counter()
            time.sleep(_PAUSE)
            done.append(_Probe(user, committed, visible, *bare.timed(user)))
    return done


_Arrivals = dict[str, list[float]]
"""When the messages of a key arrived (s), in their order."""


@contextmanager
def _watched(kafka: str, topic: str) -> Iterator[Callable[[], tuple[_Arrivals, _Arrivals]]]:
    """Two processes that read a topic from now on, as soon as messages lie there and when they are committed.

    Gives what they saw; only behind the `with`.
    """
    spawned = multiprocessing.get_context("spawn")
    stop = spawned.Event()
    watchers, ends = [], []
    for isolation in ("read_uncommitted", "read_committed"):
        end, other = spawned.Pipe(duplex=False)
        ends.append(end)
        watchers.append(spawned.Process(target=_watch, args=(kafka, topic, isolation, stop, other)))
        watchers[-1].start()
    for end in ends:
        end.recv()
    seen: list[_Arrivals] = []
    try:
        yield lambda: (seen[0], seen[1])
    finally:
        stop.set()
        seen.extend(end.recv() for end in ends)
        for watcher in watchers:
            watcher.join()


def _watch(kafka: str, topic: str, isolation: str, stop: Event, found: Connection) -> None:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "bench-latency", "isolation.level": isolation})
    partitions = consumer.list_topics(topic, timeout=_KAFKA_SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_END) for partition in partitions])
    consumer.consume(1, 1.0)
    found.send("reads")
    seen: _Arrivals = {}
    while not stop.is_set():
        messages = consumer.consume(1000, 0.001)
        at = time.perf_counter()
        for message in messages:
            seen.setdefault((message.key() or b"").decode(), []).append(at)
    found.send(seen)
    consumer.close()


def _stages(probes: Sequence[_Probe], arrivals: tuple[_Arrivals, _Arrivals]) -> list[results.Entry]:
    """What the way is made of: of all probes, and of those that took longest."""
    ways = []
    for probe in probes:
        sent, committed = (seen[str(probe.user)][1] for seen in arrivals)
        moments = [probe.committed, sent, committed, probe.visible]
        ways.append([(end - begin) * 1000 for begin, end in pairwise(moments)])
    slowest = sorted(ways, key=sum)[-max(1, int(len(ways) * _TAIL)) :]
    names = ("until it lies in Kafka", "until its transaction is committed there", "until it is applied")
    return [
        {
            **_line(f"watched at {_RATE:,} tx/s: {name}", [way[stage] for way in ways]),
            "mean_of_slowest_ms": round(sum(way[stage] for way in slowest) / len(slowest), 1),
        }
        for stage, name in enumerate(names)
    ]


def _wait(target: psycopg.Connection, query: str, user: int, seconds: float = _AFTER_PROBE) -> None:
    found = partial(_first_row, target, query, user)
    until(found, f"user {user} was visible", seconds, pause=0.0005)


def _first_row(target: psycopg.Connection, query: str, user: int) -> tuple[object, ...] | None:
    return target.execute(query, [user], prepare=True).fetchone()


def _load(
    url: str, number: int, rate: float, stop: Event, count: multiprocessing.sharedctypes.Synchronized[int]
) -> None:
    """`rate` single-row transactions a second, on customers of its own."""
    with connect(url, DATABASE) as source, source.cursor() as cursor:
        due = time.perf_counter()
        while not stop.is_set():
            user = count.value % 1000 + 1
            cursor.execute(
                "UPDATE users SET current_signature_file_id = current_signature_file_id + 1 WHERE id = %s",
                (1000 * number + user,),
            )
            count.value += 1
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))


def _figures(when: str, probes: Sequence[_Probe]) -> list[results.Entry]:
    taken = [probe.taken for probe in probes]
    bare = [probe.kafka + probe.postgres for probe in probes]
    ours_then = _line(f"leadstream {when}", taken)
    bare_then = _line(f"a bare Kafka transaction and a bare PostgreSQL commit {when}", bare)
    ratios = {f"{point}_times_bare": round(_at(taken, share) / _at(bare, share), 2) for point, share in _POINTS.items()}
    return [
        {**ours_then, **ratios},
        bare_then,
        _line(f"the Kafka transaction of it {when}", [probe.kafka for probe in probes]),
        _line(f"the PostgreSQL commit of it {when}", [probe.postgres for probe in probes]),
    ]


_POINTS = {"p50": 0.5, "p99": 0.99}


def _line(name: str, taken: Sequence[float]) -> dict[str, str | float | int]:
    figures: dict[str, str | float | int] = {"name": name, "probes": len(taken)}
    return figures | {f"{point}_ms": round(_at(taken, share), 1) for point, share in _POINTS.items()}


def _at(taken: Sequence[float], share: float) -> float:
    return sorted(taken)[int(len(taken) * share)]
