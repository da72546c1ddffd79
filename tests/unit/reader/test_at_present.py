"""Where binlogs were purged the stream goes on at the present, behind everything that it holds."""

from __future__ import annotations

import json
from typing import Any, cast

from consumer.mysql.session import ClockAndPosition, Replica
from consumer.reader.reader import at_present
from consumer.settings import KafkaSettings
from consumer.stream.checkpoint import Checkpoint

NOW = 1_700_000_000_000_000


class Server:
    """A server whose clock was put back to NOW."""

    def clock_and_position(self) -> ClockAndPosition:
        return ClockAndPosition(NOW, "", "b.000009", 157)

    def server(self) -> str:
        return "s"


def test_what_follows_a_transaction_that_is_in_kafka_in_part_is_newer_than_its_rows() -> None:
    kafka = KafkaSettings(kafka_bootstrap_servers="kafka:9092", topic_prefix="p", lanes=2)
    cut = Checkpoint(
        epoch=1,
        flavor="mysql",
        server="s",
        gtid_set="",
        file="b.000001",
        pos=4,
        version=NOW - 1,
        next_seqs=[5, 7],
        rows=3,
        lanes_open=[1],
        unfinished="b.000001:4",
        unfinished_version=NOW + 60_000_000,
    )
    sent: list[dict[str, Any]] = []
    reached = at_present(
        cut, cast(Replica, Server()), kafka, "company", lambda _, value, *__: sent.append(json.loads(value)), "purged"
    )
    assert [message["lane"]["seq"] for message in sent] == [5, 7]
    assert all(message["lane"]["version"] > cut.unfinished_version for message in sent)
    assert (reached.file, reached.pos, reached.rows, reached.unfinished) == ("b.000009", 157, 0, "")
    assert reached.version > cut.unfinished_version
