"""Where in a server's history we are: GTID sets of MySQL and MariaDB, and file positions."""

from __future__ import annotations

from typing import NamedTuple


class PreparedGroup(NamedTuple):
    """An XA transaction that is prepared and not decided yet: its rows lie at `pos` in `file`, before our position."""

    xid: str
    file: str
    pos: int


class Position(NamedTuple):
    """Where to read on: everything in `gtid_set` was read; without GTIDs, everything before `pos` in `file`."""

    gtid_set: str
    file: str
    pos: int
    prepared: tuple[PreparedGroup, ...] = ()
