"""The demo as people run it, with processes killed, on MySQL and on MariaDB; and what its topics hold."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import msgspec
import psutil
import psycopg
import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from rich.console import Console

from tests.demo.compare import Verdict
from tests.demo.demo import Demo, Options
from tests.demo.pipeline import Addresses, Pipeline
from tests.demo.shape import CAPTURED, PERSONAL_DATA
from tests.demo.view import LineView
from tests.servers import ensure
from tests.support.environments import environment
from tests.whole_topics import messages_of, partitions_of

pytestmark = pytest.mark.servers

PERSONAL = re.compile(b"|".join(PERSONAL_DATA))


class Sent(NamedTuple):
    """A message: its table or other purpose, where it lies, and every text in it."""

    topic: str
    place: str
    value: bytes
    others: bytes


class Finished:
    """A demo that is over, before its topics are deleted."""

    def __init__(self, demo: Demo, page: str, verdict: Verdict) -> None:
        self.demo = demo
        self.page = page
        self.verdict = verdict
        self.messages = list(every_message(demo.pipeline))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    servers = ensure(("mysql", "kafka", "postgres"))
    addresses = Addresses(servers.mysql_url, servers.postgres_url, servers.kafka_bootstrap)
    options = Options(seconds=20, rate=100, seed=20, kills={"reader": 5, "applier": 3})
    with Demo(options, addresses, tmp_path_factory.mktemp("demo")) as demo, LineView(Console()) as view:
        demo.prepare(view)
        demo.run(view)
        page = httpx.get(demo.page.url, timeout=60).raise_for_status().text
        yield Finished(demo, page, demo.finish(view))
    assert demo.problems == []


def every_message(pipeline: Pipeline) -> Iterator[Sent]:
    """Every message of every topic of a trial, those of aborted transactions included."""
    properties = {"bootstrap.servers": pipeline.servers.kafka}
    partitions = partitions_of(properties, pipeline.topics())
    yield from map(sent, messages_of(properties, partitions, committed=False))


def sent(message: Message) -> Sent:
    topic, partition, offset, key = message.topic(), message.partition(), message.offset(), message.key()
    others = [as_bytes(key), *(as_bytes(part) for header in message.headers() or [] for part in header)]
    place = f"{topic}[{partition}]@{offset}"
    return Sent((topic or "").rpartition(".")[2], place, as_bytes(message.value()), b" ".join(others))


def as_bytes(part: str | bytes | None) -> bytes:
    return part.encode() if isinstance(part, str) else part or b""


def test_conversions_are_exact_although_the_reader_was_killed_five_times_and_appliers_three(finished: Finished) -> None:
    killed = Counter[str]()
    for process in finished.demo.pipeline.processes:
        killed[process.name.partition("-")[0]] += process.killed
    assert killed == {"reader": 5, "applier": 3}
    assert list(finished.verdict.lines()) == []
    assert finished.verdict.right, finished.verdict.sentence
    assert finished.verdict.conversions > 50


def test_the_demo_serves_the_status_page(finished: Finished) -> None:
    assert "leadstream" in finished.page
    assert "/customers/" in finished.page


def test_no_message_holds_personal_data(finished: Finished) -> None:
    topics = {message.topic for message in finished.messages}
    assert topics >= {"users", "claims", "claim_requirements", "heartbeats", "checkpoints"}
    for message in finished.messages:
        assert not PERSONAL.search(message.value), message.place
        assert not PERSONAL.search(message.others), message.place


def test_rows_hold_captured_columns_and_no_other(finished: Finished) -> None:
    seen: dict[str, set[str]] = {table: set() for table in CAPTURED}
    for message in finished.messages:
        if message.topic in CAPTURED:
            envelope = msgspec.json.decode(message.value)
            for image in filter(None, (envelope["before"], envelope["after"])):
                seen[message.topic] |= image.keys()
    assert seen == CAPTURED


def test_the_search_finds_personal_data_where_it_is() -> None:
    for example in (b'"email":"pii-1@example.invalid"', b'"1911-02-03"', b"77700771.25", b"+999551", b"cGlpLQ=="):
        assert PERSONAL.search(example), example


def demo(seconds: float, **settings: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    command = [sys.executable, "-m", "tests.demo"]
    with subprocess.Popen(
        command, env=environment() | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # so that it ends its own processes
            output, _ = process.communicate()
            pytest.fail(f"the demo took longer than {seconds:.0f} s:\n{output}")
    return process.returncode, output


def test_the_demo_ends_with_zeros_on_mariadb() -> None:
    code, output = demo(800, DEMO_SERVER="mariadb", DEMO_SECONDS="15", DEMO_SEED="4", DEMO_KILLS="reader=1,applier=1")
    assert code == 0, output
    assert re.search(r"\n[\d,]+ customers, [\d,]+ conversions: 0 missing, 0 double, 0 in the wrong queue\n", output)


def test_a_shape_that_does_not_exist_ends_the_demo_with_a_sentence() -> None:
    code, output = demo(300, DEMO_SHAPE="round")
    assert code == 2
    assert "DEMO_SHAPE is round; it should be one of company, former, int, bigint, text" in output


def test_a_demo_that_is_terminated_leaves_nothing_behind() -> None:
    with subprocess.Popen([sys.executable, "-m", "tests.demo"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        names = (re.search("trial (demo_[0-9a-f]+)", line) for line in process.stdout)
        name = next(found[1] for found in names if found)
        next(line for line in process.stdout if "setup and backfill: done" in line)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert not [one.pid for one in psutil.process_iter(["environ"]) if trial_of(one) == name]
    servers = ensure(("mysql", "kafka", "postgres"))
    with psycopg.connect(servers.postgres_url) as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None
    topics = AdminClient({"bootstrap.servers": servers.kafka_bootstrap}).list_topics(timeout=10).topics
    assert not [topic for topic in topics if topic.startswith(f"{name}.")]


def trial_of(process: psutil.Process) -> str | None:
    """The TOPIC_PREFIX that a process runs with, of those that we may look at."""
    told: dict[str, str] = process.info["environ"] or {}
    return told.get("TOPIC_PREFIX")


def test_a_wrong_setting_ends_the_demo_with_a_sentence() -> None:
    code, output = demo(300, DEMO_KILLS="postman=1")
    assert code == 2
    assert "DEMO_KILLS has postman=1; it should look like reader=5,applier=3" in output
