"""What heartbeats say of where the stream stands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.binlog.stream import BinlogStream
from consumer.mysql.session import ClockAndPosition, Replica
from consumer.reader.reader import Heart
from consumer.reader.sequencer import Sequencer
from consumer.stream.envelope import StreamPosition

BEGUN = (7, 900)


class Server:
    """A server that is written to without an end."""

    def value(self, _: str) -> int:
        return 1 << 30

    def binlog_position(self) -> tuple[str, int]:
        return "b.000009", 4

    def clock_and_position(self) -> ClockAndPosition:
        return ClockAndPosition(7, "", "b.000009", 4)


@pytest.mark.parametrize(
    ("file", "pos", "says"), [("b.000006", 950, False), ("b.000007", 899, False), ("b.000007", 900, True)]
)
def test_what_is_sent_once_more_is_no_place_where_the_stream_stands(file: str, pos: int, says: bool) -> None:
    """The audit takes all that was written after it for what lies behind it in the binlog."""
    stream = SimpleNamespace(server="s", file=file, pos=pos, drained=False)
    beats: list[tuple[int, StreamPosition | None]] = []
    sequencer = SimpleNamespace(may_rest=True, sent=1, heartbeat=lambda ts_us, stands: beats.append((ts_us, stands)))
    heart = Heart(cast(Replica, Server()), 0.0, BEGUN)
    heart.beat(cast(BinlogStream, cast(Any, stream)), cast(Sequencer, cast(Any, sequencer)))
    assert beats == [(0, StreamPosition("s", file, pos) if says else None)]


def test_on_another_server_that_has_transactions_prepared_nothing_is_such_a_place_before_all_was_read() -> None:
    stream = SimpleNamespace(server="s", file="b.000009", pos=950, drained=False)
    beats: list[StreamPosition | None] = []
    sequencer = SimpleNamespace(may_rest=True, sent=1, heartbeat=lambda _, stands, *__: beats.append(stands))
    heart = Heart(cast(Replica, Server()), 0.0, None)
    for drained in (False, True, False):
        stream.drained = drained
        heart.beat(cast(BinlogStream, cast(Any, stream)), cast(Sequencer, cast(Any, sequencer)))
    place = StreamPosition("s", "b.000009", 950)
    assert beats == [None, place, place]
