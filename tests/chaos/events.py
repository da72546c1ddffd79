"""Conversions in their topic after a trial: every one at least once, a customer's in order, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import psycopg

from consumer.leads.model import ConversionType
from consumer.store.call_centre.effects import conversion_id
from tests.demo.pipeline import Pipeline
from tests.whole_topics import messages_of, partitions_of

_SHOWN: Final = 5
_EARNED: Final = """
SELECT user_id, number, conversion_type, (extract(epoch FROM closed_at) * 1000000)::bigint
FROM leadstream.stints WHERE conversion_type IS NOT NULL ORDER BY user_id, number
"""


class Told(msgspec.Struct, frozen=True):
    """What is looked at of an event."""

    id: str
    user_id: int
    stint: int


class _Event(msgspec.Struct):
    id: str
    subject: str
    data: Told


def check_events(pipeline: Pipeline) -> tuple[list[str], str]:
    """Sentences on what is wrong with the topic of conversions, and one on what lies there."""
    properties = {"bootstrap.servers": pipeline.servers.kafka}
    topic = f"{pipeline.name}.conversions"
    decode = msgspec.json.Decoder(_Event).decode
    told: list[Told] = []
    problems: list[str] = []
    for message in messages_of(properties, partitions_of(properties, [topic])):
        event = decode(message.value() or b"")
        if (message.key() or b"").decode() != event.subject or event.id != event.data.id:
            problems.append(f"{topic}[{message.partition()}]@{message.offset()} is not of one piece: {event}")
        told.append(event.data)
    with psycopg.connect(pipeline.postgres_url) as connection:
        rows = connection.execute(_EARNED).fetchall()
    earned = [Told(str(conversion_id(user, ConversionType(kind), at)), user, stint) for user, stint, kind, at in rows]
    problems += compare_events(earned, told)
    return problems, f"{len(told):,} events of {len(earned):,} conversions lie in the topic"


def compare_events(earned: Iterable[Told], told: Iterable[Told]) -> list[str]:
    """What is missing, what nobody earned, and whose conversions came in another order than they were earned in.

    `told` is in the order of each partition; what is told twice counts where it is told first.
    """
    wanted, first = set(earned), dict.fromkeys(told)
    problems = [f"conversion {one} is not in the topic" for one in sorted(wanted - set(first), key=str)[:_SHOWN]]
    problems += [f"event {one} is no conversion" for one in sorted(set(first) - wanted, key=str)[:_SHOWN]]
    newest: dict[int, int] = {}
    for one in first:
        if one.stint < newest.get(one.user_id, 0):
            problems.append(f"event {one} was told after that of stint {newest[one.user_id]}")
        newest[one.user_id] = one.stint
    return problems
