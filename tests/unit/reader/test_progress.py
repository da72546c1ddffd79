"""The reader says where it is: all it counted since the last line, and no oftener than every ten seconds."""

from __future__ import annotations

from structlog.testing import capture_logs

from consumer.reader.progress import Progress


def test_one_line_every_ten_seconds_tells_what_was_counted_since_the_last() -> None:
    now = 0.0
    progress = Progress(lambda: 0.25, lambda: now)
    with capture_logs() as lines:
        for now in (4.0, 10.0, 19.9, 20.0):
            progress.add(rows=100, hits=30, asked=4, queries=1)
            progress.log_if_due("binlog.000007", int(now))
    assert [(line["pos"], line["rows_per_second"], line["cache_hits"], line["replica_lookups"]) for line in lines] == [
        (10, 20.0, 60, 2),
        (20, 20.0, 60, 2),
    ]
    assert {(line["event"], line["file"], line["seconds_behind"], line["claims_asked"]) for line in lines} == {
        ("progress", "binlog.000007", 0.25, 8)
    }
