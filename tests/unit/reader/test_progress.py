"""The reader says where it is: all it counted since the last line, and no oftener than every ten seconds."""

from __future__ import annotations

from structlog.testing import capture_logs

from consumer.reader.progress import ReaderProgress


def test_one_line_every_ten_seconds_tells_what_was_counted_since_the_last() -> None:
    now = 0.0
    progress = ReaderProgress(lambda: 0.25, lambda: now)
    with capture_logs() as lines:
        for now in (4.0, 10.0, 19.9, 20.0):
            progress.add(rows=100, hits=30, asked=4, queries=1)
            progress.log_if_due("binlog.000007", int(now))
    assert [(line["position"], line["rows_per_second"], line["cache_hits"]) for line in lines] == [
        ("binlog.000007:10", 20.0, 60),
        ("binlog.000007:20", 20.0, 60),
    ]
    assert {
        (line["event"], line["behind_seconds"], line["claims_asked"], line["replica_lookups"]) for line in lines
    } == {("reader_progressed", 0.25, 8, 2)}
