"""Which heartbeats say where the stream stood in the binlog that the server has now."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from consumer.audit import messages
from consumer.audit.messages import CLOCKS_APART_MS, BinlogNow, StreamBeat, newest_history
from consumer.settings import KafkaSettings
from consumer.stream.errors import KafkaLost

OLD = StreamBeat(1_000, 1, "s", "binlog.000123", 900)
FIRST = StreamBeat(3_000, 1, "s", "binlog.000001", 400)
SECOND = StreamBeat(5_000, 1, "s", "binlog.000001", 4_000)
END = ("binlog.000001", 4_500)


@pytest.mark.parametrize(
    ("beats", "end", "ours"),
    [
        ([FIRST, SECOND], END, [FIRST, SECOND]),
        ([OLD, FIRST, SECOND], END, [FIRST, SECOND]),
        ([OLD._replace(file="binlog.000001", pos=4_501), FIRST, SECOND], END, [FIRST, SECOND]),
        ([FIRST, OLD, FIRST, SECOND], END, [FIRST, SECOND]),
        ([OLD], END, []),
        ([FIRST, OLD], ("binlog.000123", 900), [FIRST, OLD]),
    ],
)
def test_heartbeats_of_before_a_reset_stand_beyond_the_end_of_the_binlog(
    beats: list[StreamBeat], end: tuple[str, int], ours: list[StreamBeat]
) -> None:
    assert newest_history(beats, "s", 1, BinlogNow(end, end[0], 0)) == ours


def test_a_stream_that_stands_before_where_it_stood_is_still_the_same() -> None:
    """By GTID, MySQL sends an XA transaction again that is prepared only, wherever that was."""
    beats = [OLD, OLD._replace(ms=2_000, file="binlog.000121"), OLD._replace(ms=3_000, pos=1_000)]
    assert newest_history(beats, "s", 1, BinlogNow(("binlog.000123", 1_000), "binlog.000123", 1)) == beats


@pytest.mark.parametrize("other", [FIRST._replace(server="t"), FIRST._replace(epoch=2)])
def test_heartbeats_of_another_server_or_epoch_are_not_ours(other: StreamBeat) -> None:
    assert newest_history([FIRST, other, SECOND], "s", 1, BinlogNow(END, END[0], 0)) == [SECOND]


BEGUN_MS = 10 * CLOCKS_APART_MS


@pytest.mark.parametrize("file", ["binlog.000001", "binlog.000002"])
def test_heartbeats_of_before_a_reset_were_written_before_the_file_was_begun_that_has_their_name_now(file: str) -> None:
    """The binlog may have grown beyond where it was before."""
    old = StreamBeat(BEGUN_MS - CLOCKS_APART_MS - 1, 1, "s", file, 300)
    ours = StreamBeat(BEGUN_MS - CLOCKS_APART_MS, 1, "s", "binlog.000001", 200)
    binlog = BinlogNow(("binlog.000003", 4_500), "binlog.000001", BEGUN_MS)
    assert newest_history([old, ours], "s", 1, binlog) == [ours]


def test_heartbeats_of_files_before_the_newest_are_older_than_that_and_ours() -> None:
    earlier = StreamBeat(1_000, 1, "s", "binlog.000001", 300)
    binlog = BinlogNow(("binlog.000002", 4_500), "binlog.000002", BEGUN_MS)
    assert newest_history([earlier], "s", 1, binlog) == [earlier]


class Partitions:
    """Partitions in which nothing is left."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.bounds = lambda *_: (5, 5)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("answers", "is_known"), [([None, [5] * 4], True), ([None, None], False)])
def test_where_partitions_end_is_asked_again_of_whom_does_not_say(
    answers: list[list[int] | None], is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a crash one client may go on asking the leader that was."""
    monkeypatch.setattr(messages, "Partitions", Partitions)
    monkeypatch.setattr(messages, "ends_in_kafka", lambda *_: lambda _: answers.pop(0))
    with nullcontext() if is_known else pytest.raises(KafkaLost, match="does not say where partitions 0 end"):
        messages.Stream(KafkaSettings(kafka_bootstrap_servers="kafka:9092", lanes=1), 1, "shop")
    assert answers == []
