"""What lies in the topics after a trial: every lane's numbers, ends of transactions, and the checkpoint.

Written from design sections 4 and 5 alone; it imports nothing of what it judges.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from confluent_kafka import Message

from tests.demo.pipeline import Pipeline
from tests.whole_topics import messages_of, partitions_of

_LANE_TOPICS: Final = ("users", "claims", "claim_requirements", "heartbeats")


class _Source(msgspec.Struct):
    file: str = ""
    pos: int = 0
    row: int = 0


class _Transaction(msgspec.Struct):
    id: str


class _Lane(msgspec.Struct):
    epoch: int
    seq: int
    version: int
    user_id: int | None
    last: bool


class _Envelope(msgspec.Struct):
    op: str
    source: _Source
    lane: _Lane
    before: Any = None
    after: Any = None
    transaction: _Transaction | None = None


Place = tuple[str, int, int, str, bool, bool]
"""File, position and row in the binlog; `op`, and which of its images there are: a change of key is two messages."""


class Numbered(NamedTuple):
    """A message of a lane, as it matters here; `place` is where its row stands in the binlog, and what it is there."""

    seq: int
    version: int
    last: bool
    transaction: str | None
    place: Place


def check_topics(pipeline: Pipeline) -> list[str]:
    """Sentences on what is wrong with the topics of a trial that is drained and stopped; empty where nothing is."""
    problems: list[str] = []
    lanes: dict[int, list[Numbered]] = defaultdict(list)
    newest: dict[tuple[str, int], int] = defaultdict(int)
    decode = msgspec.json.Decoder(_Envelope).decode
    for message in _messages(pipeline, [f"{pipeline.name}.{topic}" for topic in _LANE_TOPICS]):
        topic, number = str(message.topic()), message.partition() or 0
        where = f"{topic}[{number}]@{message.offset()}"
        envelope = decode(message.value() or b"")
        lane = envelope.lane
        if lane.epoch != 1:
            problems.append(f"{where}: epoch {lane.epoch}")
        if lane.user_id is not None and zlib.crc32(b"%d" % lane.user_id) % pipeline.lanes != number:
            problems.append(f"{where}: user {lane.user_id} does not belong in lane {number}")
        if lane.seq <= newest[topic, number]:
            problems.append(f"{where}: number {lane.seq} after {newest[topic, number]}")
        newest[topic, number] = lane.seq
        source = envelope.source
        transaction = envelope.transaction.id if envelope.transaction else None
        images = envelope.before is not None, envelope.after is not None
        place = source.file, source.pos, source.row, envelope.op, *images
        lanes[number].append(Numbered(lane.seq, lane.version, lane.last, transaction, place))
    for number in range(pipeline.lanes):
        lanes[number].sort()
        problems += [f"lane {number}: {problem}" for problem in check_lane(lanes[number])]
    problems += _check_checkpoints(pipeline, {number: len(messages) for number, messages in lanes.items()})
    problems += _check_applied(pipeline, lanes)
    with psycopg.connect(pipeline.postgres_url) as connection:
        letters = connection.execute("SELECT reason, detail FROM leadstream.dead_letters LIMIT 5").fetchall()
    if letters:
        problems.append(f"dead letters: {letters}")
    return problems


def check_lane(messages: list[Numbered]) -> Iterator[str]:
    """What is wrong with one lane's messages, sorted by number: gaps, repeats, versions, ends of transactions."""
    for expected, message in enumerate(messages, 1):
        if message.seq != expected:
            yield f"number {message.seq} stands where {expected} should"
            return
    version = 0
    for message in messages:
        if message.version < version:
            yield f"number {message.seq} has version {message.version} after {version}"
        version = message.version
    seen: set[Place] = set()
    for message in messages:
        if message.transaction is not None:
            if message.place in seen:
                yield f"number {message.seq} repeats the row at {message.place}"
            seen.add(message.place)
    for version, group in groupby(messages, key=lambda message: message.version):
        yield from _check_transaction(version, list(group))


def _check_transaction(version: int, group: list[Numbered]) -> Iterator[str]:
    """Rows come first, of one transaction; its end is marked once, on the last of them or by a heartbeat behind it."""
    rows = [message for message in group if message.transaction is not None]
    if not rows:
        return
    if len({row.transaction for row in rows}) > 1:
        yield f"version {version} is that of several transactions"
    if rows != group[: len(rows)]:
        yield f"version {version}: a heartbeat stands between the rows of its transaction"
    marks = [place for place, row in enumerate(rows) if row.last]
    if marks not in ([], [len(rows) - 1]) or (not marks and len(rows) == len(group)):
        yield f"version {version}: rows {marks} of {len(rows)} are marked as the last"


def _check_checkpoints(pipeline: Pipeline, counts: dict[int, int]) -> Iterator[str]:
    """Numbers in the checkpoints never fall, and the last one stands right behind the last message."""
    before: list[int] = []
    for message in _messages(pipeline, [f"{pipeline.name}.checkpoints"]):
        if message.key() != b"reader":
            continue
        checkpoint: dict[str, Any] = msgspec.json.decode(message.value() or b"")
        numbers: list[int] = checkpoint["next_seqs"]
        if any(new < old for old, new in zip(before, numbers, strict=False)):
            yield f"the checkpoint at {message.offset()} goes back from {before} to {numbers}"
        before = numbers
    expected = [counts.get(lane, 0) + 1 for lane in range(pipeline.lanes)]
    if before != expected:
        yield f"the last checkpoint says {before}, the topics {expected}"


def _check_applied(pipeline: Pipeline, lanes: dict[int, list[Numbered]]) -> Iterator[str]:
    """PostgreSQL stands behind every row; heartbeats may have come after."""
    with psycopg.connect(pipeline.postgres_url) as connection:
        rows = connection.execute("SELECT lane, next_seq FROM leadstream.lanes").fetchall()
    for lane, next_seq in rows:
        if next_seq > len(lanes[lane]) + 1:
            yield f"lane {lane}: PostgreSQL expects {next_seq}, {len(lanes[lane])} were sent"
        if any(message.transaction is not None for message in lanes[lane][next_seq - 1 :]):
            yield f"lane {lane}: PostgreSQL expects {next_seq}, but rows lie behind that"


def _messages(pipeline: Pipeline, topics: list[str]) -> Iterator[Message]:
    """Every committed message of these topics."""
    properties = {"bootstrap.servers": pipeline.servers.kafka}
    return messages_of(properties, partitions_of(properties, topics))
