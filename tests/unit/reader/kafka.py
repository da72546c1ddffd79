"""Kafka as a sequencer sees it: what was sent, and the checkpoint that was committed with it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from consumer.reader.commit_times import CommitTimes
from consumer.reader.sequencer import Oversized, Sequencer
from consumer.stream.checkpoint import Checkpoint, decode, encode
from consumer.stream.envelope import EnvelopeWriter, SingleRow
from consumer.stream.topics import MAX_MESSAGE_BYTES

LANES = 3


class Sent(NamedTuple):
    topic: str
    value: dict[str, Any]
    key: str
    lane: int


class Kafka:
    """Keeps what was committed, forgets what was not."""

    def __init__(self) -> None:
        self.committed: list[Sent] = []
        self.open: list[Sent] = []
        self.checkpoint = Checkpoint(
            epoch=1, flavor="mysql", server="s", gtid_set="", file="b.000001", pos=0, version=0, next_seqs=[1] * LANES
        )

    def send(self, topic: str, value: str | bytes, key: str | bytes, lane: int) -> None:
        self.open.append(Sent(topic, json.loads(value), str(key), lane))

    def sequencer(
        self,
        times: CommitTimes | None = None,
        largest: int = MAX_MESSAGE_BYTES,
        oversized: Oversized = lambda *_: None,
    ) -> Sequencer:
        self.open.clear()
        writer = EnvelopeWriter("p", "mysql", "company", self.checkpoint.epoch)
        return Sequencer(self.checkpoint, "p.{}".format, writer, self.send, times, largest, oversized)

    def commit(self, sequencer: Sequencer, pos: int) -> None:
        sequencer.cut()
        self.checkpoint = decode(encode(sequencer.checkpoint("s", "", "b.000001", pos, [])))
        self.committed += self.open
        self.open.clear()

    def notices(self) -> list[Sent]:
        """What was sent as a message that asks for live reads."""
        return [sent for sent in self.open if "recheck" in sent.value["lane"]]


def single(
    number: int,
    ts_us: int,
    applied_us: int,
    server_id: int = 1,
    *,
    table: str = "users",
    after: str = "{}",
    pos: int = 9,
) -> SingleRow:
    return (
        f"g:{number}",
        server_id,
        "b.000001",
        number,
        ts_us,
        table,
        "c",
        None,
        after,
        None,
        None,
        1,
        1,
        pos,
        99,
        applied_us,
        False,
    )
