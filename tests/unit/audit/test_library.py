"""Where the audit's reading of the binlog ends."""

from __future__ import annotations

import pytest

from consumer.audit.library import Ends, Read, _Events
from consumer.audit.rows import FilePosition, order
from consumer.mysql.errors import ConnectionLost

END: FilePosition = ("binlog.000002", 500)


class Ended:
    """A stream of which the server says that it ends."""

    def fetchone(self) -> None:
        """Nothing more."""


def events(at: int) -> _Events:
    return _Events(
        "company", ("binlog.000002", 4), ("binlog.000002", 4), lambda position: order(position) < order(END), Read(),
        lambda _: None, Ends(at),
    )  # fmt: skip


def test_a_server_that_shuts_down_is_not_taken_for_the_end_of_the_binlog() -> None:
    with pytest.raises(ConnectionLost, match=r"the server ended the binlog at binlog\.000002:400, before the end"):
        list(events(400).rows(Ended()))


@pytest.mark.parametrize("at", [500, 600])
def test_a_binlog_that_was_read_to_the_end_of_the_stretch_is_whole(at: int) -> None:
    assert list(events(at).rows(Ended())) == []
