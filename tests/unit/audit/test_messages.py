"""Which heartbeats say where the stream stood in the binlog that the server has now."""

from __future__ import annotations

import pytest

from consumer.audit.messages import StreamBeat, newest_history

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
    assert newest_history(beats, "s", 1, end) == ours


def test_a_stream_that_stands_before_where_it_stood_is_still_the_same() -> None:
    """By GTID, MySQL sends an XA transaction again that is prepared only, wherever that was."""
    beats = [OLD, OLD._replace(ms=2_000, file="binlog.000121"), OLD._replace(ms=3_000, pos=1_000)]
    assert newest_history(beats, "s", 1, ("binlog.000123", 1_000)) == beats


@pytest.mark.parametrize("other", [FIRST._replace(server="t"), FIRST._replace(epoch=2)])
def test_heartbeats_of_another_server_or_epoch_are_not_ours(other: StreamBeat) -> None:
    assert newest_history([FIRST, other, SECOND], "s", 1, END) == [SECOND]
