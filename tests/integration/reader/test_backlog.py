"""How much of the binlog is still to be read, asked of real servers."""

from __future__ import annotations

from contextlib import closing

import pytest

from consumer import metrics
from consumer.mysql.session import Replica
from consumer.reader.lag import Backlog
from consumer.settings import MySQLAddress
from tests.integration.reader.world import ReaderWorld


def told() -> tuple[float, float]:
    """Bytes and rows, as Prometheus would be told."""
    return metrics.BACKLOG_BYTES._value.get(), metrics.BACKLOG_ROWS._value.get()


def test_what_is_still_to_be_read_is_told_in_bytes_and_by_experience_in_rows(world: ReaderWorld) -> None:
    with closing(Replica(MySQLAddress(world.mysql_url))) as replica:
        backlog = Backlog(replica)
        start = replica.binlog_position()
        backlog.measure(*start, sent=0, drained=True)
        assert told() == (0, 0)
        for number in range(1, 11):
            world.execute(f"INSERT INTO users (id) VALUES ({number})")
        half = replica.binlog_position()
        for number in range(11, 21):
            world.execute(f"INSERT INTO users (id) VALUES ({number})")
        backlog.measure(*half, sent=10, drained=False)
        missing, rows = told()
        assert missing >= 10 * 40, "a transaction of one row takes more than 40 bytes"
        if half[0] == start[0]:  # other tests write into the same binlog, and may have begun another file
            assert rows == pytest.approx(missing * 10 / (half[1] - start[1]), abs=1)
        world.execute("FLUSH BINARY LOGS")
        backlog.measure(*half, sent=10, drained=False)
        assert told()[0] > missing, "what lies behind the end of a file counts too"
        backlog.measure(*replica.binlog_position(), sent=20, drained=True)
        assert told() == (0, 0)
