"""The witness against random histories, and against whoever puts his hand to the topics at a random place.

`AUDIT_SEEDS=1000:1020 pytest --timeout=0 tests/integration/reader/audit/test_audit_random.py` explores.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.audit import audit as auditing
from consumer.audit.audit import Audit, Times
from consumer.settings import KafkaSettings, ReplicaSettings
from consumer.stream import topics
from consumer.stream.topics import LANE_TOPICS
from tests.integration.reader.world import LANES, ReaderWorld
from tests.support.company_tables import key
from tests.whole_topics import messages_of

pytestmark = pytest.mark.servers

TRANSACTIONS: Final = 60
ROUNDS: Final = 5 if "AUDIT_SEEDS" in os.environ else 1
"""How often each manipulation is made of one history."""
HOUR_MS: Final = 3_600_000
ROWS: Final = ("users", "claims", "claim_requirements")
TEXTS: Final = ("open", "grün", "PENDING", "approved ", "", "a\\n''\"", "\N{GRINNING FACE}", "\\\\")


def seeds() -> list[int]:
    first, _, last = os.environ.get("AUDIT_SEEDS", "7:7").partition(":")
    return list(range(int(first), int(last or first) + 1))


class History:
    """What a company may do, at random; ids are few, so that rows meet."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._next = dict.fromkeys(ROWS, 1)

    def transaction(self) -> list[str]:
        """Statements of one transaction, its end included."""
        chance = self._chance
        statements = [self._statement() for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.2:
            at = chance.randint(0, len(statements))
            statements[at:at] = ["SAVEPOINT here"]
            statements += [self._statement(), "ROLLBACK TO here", self._statement()]
        return ["BEGIN", *statements, "ROLLBACK" if chance.random() < 0.15 else "COMMIT"]

    def _statement(self) -> str:
        chance = self._chance
        table = chance.choice(ROWS)
        kinds = (self._insert, self._insert, self._insert, self._update, self._update, self._update, self._delete)
        return chance.choice(kinds)(table)

    def _new(self, table: str) -> str:
        self._next[table] += 1
        return self._id(table, self._next[table] - 1)

    @staticmethod
    def _id(table: str, number: int) -> str:
        return f"'{key(number)}'" if table == "claim_requirements" else str(number)

    def _some(self, table: str, *, also_unknown: bool = False) -> str:
        newest = self._next[table] + (2 if also_unknown else 0)
        return self._id(table, self._chance.randint(max(1, newest - 12), max(1, newest - 1)))

    def _text(self) -> str:
        return "NULL" if self._chance.random() < 0.1 else f"'{self._chance.choice(TEXTS)}'"

    def _insert(self, table: str) -> str:
        count = self._chance.choice((1, 1, 2, 3, 20))
        return {
            "users": lambda: (
                "INSERT INTO users (id, current_signature_file_id) VALUES "
                + ", ".join(f"({self._new('users')}, {self._text()})" for _ in range(count))
            ),
            "claims": lambda: (
                "INSERT INTO claims (id, user_id, status) VALUES "
                + ", ".join(
                    f"({self._new('claims')}, {self._some('users', also_unknown=True)}, '{self._chance.choice(TEXTS)}')"
                    for _ in range(count)
                )
            ),
            "claim_requirements": lambda: (
                "INSERT INTO claim_requirements (id, claim_id, type, status) VALUES "
                + ", ".join(
                    f"({self._new('claim_requirements')}, {self._some('claims', also_unknown=True)}, 'passport',"
                    f" '{self._chance.choice(TEXTS)}')"
                    for _ in range(count)
                )
            ),
        }[table]()

    def _update(self, table: str) -> str:
        chance = self._chance
        change = {
            "users": lambda: chance.choice(
                (f"current_signature_file_id = {self._text()}", "is_enabled = 1 - is_enabled", "updated_at = NULL")
            ),
            "claims": lambda: chance.choice(
                (f"status = '{chance.choice(TEXTS)}'", f"user_id = {self._some('users', also_unknown=True)}")
            ),
            "claim_requirements": lambda: chance.choice(
                (
                    f"status = '{chance.choice(TEXTS)}'",
                    f"claim_requirement_reason = {self._text()}",
                    f"claim_id = {self._some('claims', also_unknown=True)}",
                )
            ),
        }[table]()
        return f"UPDATE {table} SET {change} WHERE {self._where(table)}"

    def _delete(self, table: str) -> str:
        return f"DELETE FROM {table} WHERE {self._where(table)}"

    def _where(self, table: str) -> str:
        if self._chance.random() < 0.15 and table != "claim_requirements":
            return f"id % 5 = {self._chance.randint(0, 4)}"
        return f"id IN ({', '.join(self._some(table) for _ in range(self._chance.randint(1, 3)))})"


def play(world: ReaderWorld, chance: random.Random) -> None:
    """A history, and a reader that is stopped and killed meanwhile."""
    world.setup()
    history, reader = History(chance), world.reader()
    world.wait_for_beats()
    for end in ("stopped", "killed", ""):
        for _ in range(TRANSACTIONS // 3):
            world.execute(*history.transaction())
        if end == "stopped":
            assert reader.stop() == 0
        elif end == "killed":
            reader.kill()
        if end:
            world.execute(*history.transaction())
            reader = world.reader()
    world.wait_for_end()
    assert reader.stop() == 0


class Lying(NamedTuple):
    """A message as it lies in a topic, whose name is without the prefix."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    at: int
    headers: list[tuple[str, str | bytes | None]]

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.value)
        return found

    @property
    def place(self) -> str:
        """Of its row, as an audit names it."""
        source = self.told["source"]
        return f"{source['file']}:{source['pos']} row {source['row']}"

    def telling(self, told: dict[str, Any]) -> Lying:
        return self._replace(value=json.dumps(told, ensure_ascii=False).encode())


def lying(world: ReaderWorld) -> list[Lying]:
    """Everything that is in the topics of a deployment, partition by partition, in order."""
    names = [(f"{world.name}.{name}", lane) for name in LANE_TOPICS for lane in range(LANES)]
    found = [
        Lying(
            str(message.topic()).removeprefix(f"{world.name}."), int(message.partition() or 0), message.key() or b"",
            message.value() or b"", message.timestamp()[1], [*(message.headers() or [])],
        )
        for message in messages_of({"bootstrap.servers": world.bootstrap}, [*names, (f"{world.name}.checkpoints", 0)])
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.topic, one.partition))


@contextmanager
def copied(world: ReaderWorld, messages: Sequence[Lying]) -> Iterator[KafkaSettings]:
    """A deployment beside ours, whose topics hold these messages."""
    settings = KafkaSettings(
        kafka_bootstrap_servers=world.bootstrap, topic_prefix=f"{world.name}-{uuid.uuid4().hex[:8]}", lanes=LANES,
        topic_replication_factor=1,
    )  # fmt: skip
    created = topics.prepare(settings)
    producer = Producer({"bootstrap.servers": world.bootstrap, "enable.idempotence": True, "linger.ms": 20})
    for one in messages:
        producer.produce(
            f"{settings.topic_prefix}.{one.topic}", one.value, one.key, one.partition, timestamp=one.at,
            headers=one.headers,
        )  # fmt: skip
    assert producer.flush(60) == 0
    try:
        yield settings
    finally:
        admin = AdminClient({"bootstrap.servers": world.bootstrap})
        for gone in admin.delete_topics(created).values():
            gone.result(30)


class Manipulation(NamedTuple):
    """What somebody made of the messages, which row it is about, and by which words an audit may tell of it."""

    messages: list[Lying]
    place: str
    words: set[str]


Hand = Callable[[random.Random, list[Lying]], Manipulation]


def chosen(chance: random.Random, messages: list[Lying]) -> tuple[int, Lying]:
    """A message of a row, anywhere."""
    at = chance.choice([at for at, one in enumerate(messages) if one.topic in ROWS and one.told["op"] != "h"])
    return at, messages[at]


def forged(chance: random.Random, messages: list[Lying]) -> Manipulation:
    """One more, of a row that no event has, or of an event that is none."""
    at, one = chosen(chance, messages)
    told = one.told
    name, more = chance.choice((("row", 1000), ("pos", 21)))  # no event of rows is so small
    told["source"][name] += more
    false = one.telling(told)
    return Manipulation([*messages[: at + 1], false, *messages[at + 1 :]], false.place, {"extra"})


def removed(chance: random.Random, messages: list[Lying]) -> Manipulation:
    at, one = chosen(chance, messages)
    return Manipulation([*messages[:at], *messages[at + 1 :]], one.place, {"missing"})


def doubled(chance: random.Random, messages: list[Lying]) -> Manipulation:
    at, one = chosen(chance, messages)
    return Manipulation([*messages[: at + 1], one, *messages[at + 1 :]], one.place, {"twice"})


def copied_elsewhere(chance: random.Random, messages: list[Lying]) -> Manipulation:
    """Into another lane, beside the one that lies where it belongs."""
    at, one = chosen(chance, messages)
    there = one._replace(partition=(one.partition + chance.randint(1, LANES - 1)) % LANES)
    return Manipulation([*messages[: at + 1], there, *messages[at + 1 :]], one.place, {"misplaced"})


def moved(chance: random.Random, messages: list[Lying]) -> Manipulation:
    """Into another lane."""
    at, one = chosen(chance, messages)
    there = one._replace(partition=(one.partition + chance.randint(1, LANES - 1)) % LANES)
    return Manipulation([*messages[:at], *messages[at + 1 :], there], one.place, {"misplaced"})


def altered(chance: random.Random, messages: list[Lying]) -> Manipulation:
    """One value of one image."""
    at, one = chosen(chance, messages)
    told = one.told
    image = told[chance.choice([name for name in ("before", "after") if told[name] is not None])]
    column = chance.choice(sorted(image))
    value = image[column]
    image[column] = value + 1 if isinstance(value, int) else f"{value or ''}x"
    words = {"different", "missing", "extra", "twice", "misplaced"}
    return Manipulation([*messages[:at], one.telling(told), *messages[at + 1 :]], one.place, words)


HANDS: Final[tuple[Hand, ...]] = (forged, removed, doubled, copied_elsewhere, moved, altered)


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_said_of_what_is_right_and_every_manipulation_is_found_at_its_place(
    world: ReaderWorld, seed: int
) -> None:
    chance = random.Random(seed)
    play(world, chance)
    source = ReplicaSettings.model_validate({"replica_database_url": world.mysql_url})

    def audit(kafka: KafkaSettings) -> Audit:
        return auditing.audit(source, kafka, Times(int(time.time() * 1000) - HOUR_MS, None), lambda *_: None)

    messages = lying(world)
    with copied(world, messages) as kafka:
        for found in (audit(kafka.model_copy(update={"topic_prefix": world.name})), audit(kafka)):
            assert (found.differences, found.gaps, found.unjudged) == (0, [], 0), found.shown
            assert found.rows > TRANSACTIONS
            assert found.messages == sum(one.topic in ROWS for one in messages)
        deleted_before(chance, world, kafka, messages, audit)
    for hand in HANDS * ROUNDS:
        done = hand(chance, messages)
        with copied(world, done.messages) as kafka:
            found = audit(kafka)
        shown = [(one.what, str(one.spot)) for one in found.shown]
        assert {place for _, place in shown} == {done.place}, (hand.__name__, shown, done.place)
        assert {what for what, _ in shown} <= done.words, (hand.__name__, shown)
        assert found.gaps == [], hand.__name__


def deleted_before(
    chance: random.Random,
    world: ReaderWorld,
    kafka: KafkaSettings,
    messages: list[Lying],
    audit: Callable[[KafkaSettings], Audit],
) -> None:
    """Somebody has Kafka delete what lies before a random place: so many rows can be judged no more, and it is said."""
    topic, lane = chance.choice(sorted({(one.topic, one.partition) for one in messages if one.topic in ROWS}))
    there = sum((one.topic, one.partition) == (topic, lane) for one in messages)
    count = chance.randint(1, there)
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    for gone in admin.delete_records([TopicPartition(f"{kafka.topic_prefix}.{topic}", lane, count)]).values():
        gone.result(30)
    found = audit(kafka)
    assert (found.differences, found.unjudged) == (0, count), found.shown
    assert found.gaps == [f"{count} rows and messages cannot be judged: one side of them is gone"]
