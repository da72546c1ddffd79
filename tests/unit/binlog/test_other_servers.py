"""A position that means nothing on the server at hand is refused with the way on."""

from __future__ import annotations

import pytest

from consumer.binlog.errors import WrongServer
from consumer.binlog.position import Position
from consumer.binlog.stream import BinlogStream
from consumer.settings import MySQLAddress

OURS = {False: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", True: "0-1-100,1-2-7"}


@pytest.mark.parametrize(("mariadb", "kind"), [(True, "a MariaDB"), (False, "a MySQL")])
def test_a_position_of_the_other_kind_of_server_is_no_position(mariadb: bool, kind: str) -> None:
    """A company that changes its MySQL for a MariaDB, or back."""
    address = MySQLAddress("mysql://us@replica/company")
    stream = BinlogStream(address, "company", Position(OURS[not mariadb], "binlog.000001", 4), 1, 1.0, 1.0)
    with pytest.raises(WrongServer, match=rf"is {kind}.*consumer setup --repair --from now"):
        stream._may_use_gtids(mariadb)
