"""The messages in Kafka, written by the writer that the reader uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from consumer.capture import CAPTURED
from consumer.stream.envelope import LAST, EnvelopeWriter, StreamPosition
from consumer.stream.topics import CHECKPOINTS, HEARTBEATS, LANE_TOPICS

ABOUT: Final = """# Messages

Made by `make reference` from the code; not edited by hand. Changes lie in Kafka in Debezium's envelope, as JSON, with
one more object, `lane`. The key is the user's id in decimal, so that everything about one user lies in the partition of
the same number in each topic, a *lane*. Messages of a lane are numbered without gaps. What the members promise stands
in [the design](../explanation/design.md#the-message).
"""
_SIGNED_AT: Final = 1_790_000_000_123_456
_GTID: Final = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"
_BEFORE: Final[dict[str, object]] = {
    "id": 8911,
    "current_signature_file_id": None,
    "is_enabled": 1,
    "created_at": "2026-09-01T08:00:00Z",
    "updated_at": "2026-09-01T08:00:00Z",
}


def page() -> str:
    """The page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield ABOUT
    yield from ("## Topics", "", "| topic | holds | captured columns |", "|---|---|---|")
    for topic in LANE_TOPICS:
        columns = list(CAPTURED[topic].columns) if topic in CAPTURED else []
        holds = "that lanes have passed a moment" if topic == HEARTBEATS else f"changes of `{topic}`"
        yield f"| `{{prefix}}.{topic}` | {holds} | {', '.join(f'`{one}`' for one in columns)} |"
    yield f"| `{{prefix}}.{CHECKPOINTS}` | what the reader must remember, in the Kafka transaction of the rows | |"
    yield ""
    writer = EnvelopeWriter("leadstream", "mysql", "company", 1)
    writer.clock(_SIGNED_AT // 1000 + 4)
    writer.transaction(_GTID, 1, "binlog.000007", 4711, _SIGNED_AT, _SIGNED_AT)
    after: dict[str, object] = {**_BEFORE, "current_signature_file_id": "7f0c", "updated_at": "2026-09-21T13:33:20Z"}
    change = writer.row("users", "u", _text(_BEFORE), _text(after), 4890, 0, 1, 1, 52_817, "8911", moved=False) + LAST
    yield from ("## A customer signs", "", "Key `8911`, in the topic `leadstream.users`:", "", *_block(change))
    position = StreamPosition("5c1e0d3a", "binlog.000007", 5120)
    beat = writer.heartbeat(52_818, _SIGNED_AT + 2_000_000, _SIGNED_AT + 2_000_000, position)
    yield from ("## A heartbeat", "", f"Without a key, in `leadstream.{HEARTBEATS}`:", "", *_block(beat))


def _text(row: dict[str, object]) -> str:
    return json.dumps(row, separators=(",", ":"))


def _block(message: str) -> Iterator[str]:
    yield from ("```json", json.dumps(json.loads(message), indent=2), "```", "")
