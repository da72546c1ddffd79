"""A position that means nothing on the server at hand is refused with the way on: of another kind, or reset since."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from consumer.binlog.decoder import BinlogDecoder
from consumer.binlog.errors import BinlogPurged, WrongServer
from consumer.binlog.files import FileBeginning
from consumer.binlog.position import MySQLGtids, Position, PreparedGroup
from consumer.binlog.stream import BinlogStream
from consumer.mysql.errors import ConnectionLost
from consumer.reader.reader import position
from consumer.settings import MySQLAddress
from consumer.stream.checkpoint import Checkpoint, decode, encode
from tests.unit.binlog.wirebuild import FIRST, Log, decoder

OURS = {False: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", True: "0-1-100,1-2-7"}
FILE = FIRST.file
BEGUN = 1_700_000_000
"""When every file of `Log` was begun."""
MISSING = b"Could not find first log file name in binary log index file"


@pytest.mark.parametrize(("mariadb", "kind"), [(True, "a MariaDB"), (False, "a MySQL")])
def test_a_position_of_the_other_kind_of_server_is_no_position(mariadb: bool, kind: str) -> None:
    """A company that changes its MySQL for a MariaDB, or back."""
    address = MySQLAddress("mysql://us@replica/company")
    stream = BinlogStream(address, "company", Position(OURS[not mariadb], "binlog.000001", 4), 1, 1.0, 1.0)
    with pytest.raises(WrongServer, match=rf"is {kind}.*consumer setup --repair --from now"):
        stream._may_use_gtids(mariadb)


def new_log() -> Log:
    log = Log()
    log.file()
    return log


def packet(body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + b"\0" + body


def refusal(text: bytes) -> bytes:
    return packet(b"\xff" + (1236).to_bytes(2, "little") + b"#HY000" + text)


class Line:
    """A connection on which these bytes come."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[object] = []
        self.woken = self.closed = False

    def ask_file(self, file: str, pos: int) -> None:
        self.asked.append((file, pos))

    def ask_mysql_gtids(self, gtids: MySQLGtids) -> None:
        self.asked.append(str(gtids))

    def ask_mariadb_gtids(self, gtids: str) -> None:
        self.asked.append(gtids)

    def read(self, decoder: FileBeginning | BinlogDecoder, events: list[Any]) -> None:
        assert self.data, "nothing more would come"
        self.data = self.data[decoder.decode(self.data, events) :]

    def wake(self) -> None:
        self.woken = True

    def close(self) -> None:
        self.closed = True


class Server:
    def __init__(self, newest: str) -> None:
        self.newest = newest

    def binlog_position(self) -> tuple[str, int]:
        return self.newest, 4


def stream(
    data: bytes, begun: int = BEGUN, newest: str = FILE, gtid_set: str = "", server: str = "s"
) -> tuple[Any, Line]:
    """One that goes on in a file that was begun then, on a server that sends this."""
    start = Position(gtid_set, FILE, 900, (), begun)
    made: Any = BinlogStream(MySQLAddress("mysql://us@replica/company"), "company", start, 1, 1.0, 1.0, server)
    made.server = server
    line = Line(data)
    made._new_line = lambda: line
    made._replica = Server(newest)
    return made, line


@pytest.mark.parametrize("by_gtid", [False, True])
def test_a_file_that_is_still_the_same_is_gone_on_in(by_gtid: bool) -> None:
    made, line = stream(b"".join(new_log().packets))
    made._demand_file(by_gtid=by_gtid)
    assert (line.asked, line.closed) == ([(FILE, 4)], True)


@pytest.mark.parametrize("by_gtid", [False, True])
def test_another_file_of_that_name_is_refused_with_the_way_on(by_gtid: bool) -> None:
    made, line = stream(b"".join(new_log().packets), begun=BEGUN - 86_400)
    says = r"replica:3306 was reset: .*:900 .*2023-11-13 22:13:20 UTC, .*2023-11-14 22:13:20 UTC; .*--repair --from now"
    with pytest.raises(WrongServer, match=says):
        made._demand_file(by_gtid=by_gtid)
    assert line.closed


def test_without_gtids_a_file_that_is_gone_was_purged() -> None:
    made, _ = stream(refusal(MISSING))
    with pytest.raises(BinlogPurged):
        made._demand_file(by_gtid=False)


def test_by_gtid_a_file_that_was_purged_is_not_missed() -> None:
    made, _ = stream(refusal(MISSING), newest="binlog.999999")
    made._demand_file(by_gtid=True)


def test_by_gtid_a_server_without_so_many_files_was_reset() -> None:
    made, _ = stream(refusal(MISSING), newest="binlog.000000")
    with pytest.raises(WrongServer, match=r"has none that late; .*--repair --from now"):
        made._demand_file(by_gtid=True)


ITSELF, OTHER = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "11111111-2222-3333-4444-555555555555"


def gone_on(
    gtid_set: str, server: str, *, mariadb: bool, begun: int = BEGUN - 86_400, prepared: tuple[PreparedGroup, ...] = ()
) -> tuple[Any, list[object]]:
    """A stream that goes on by GTID at the server it was at, whose file of that name was begun at BEGUN; and what it
    asked for behind a look at that."""
    made, first = stream(b"".join(new_log().packets), begun, gtid_set=gtid_set, server=server)
    made._start = made._start._replace(prepared=prepared)
    second = Line(b"".join(new_log().packets))
    lines = iter((first, second))
    made._new_line = lambda: next(lines)
    made._demand_server = lambda: (mariadb, True)
    made._new_decoder = lambda start, mariadb: decoder(start=start, mariadb=mariadb)
    made._ask_for_stream()
    assert first.asked == [(FILE, 4)]
    made._line.read(made._decoder, [])
    return made, second.asked


SEEDED_ANEW = [(f"{OTHER}:1-5", ITSELF, False), (f"{OTHER}:1-5:leads:1-2", ITSELF, False), ("0-1-100,1-2-7", "3", True)]


@pytest.mark.parametrize(("gtid_set", "server", "mariadb"), SEEDED_ANEW)
def test_by_gtid_a_replica_that_was_seeded_anew_is_gone_on_at_where_it_says_it_begins(
    gtid_set: str, server: str, mariadb: bool
) -> None:
    """It gave out none of these GTIDs, so it gives none of them out once more; its files are not those we know."""
    made, asked = gone_on(gtid_set, server, mariadb=mariadb)
    assert asked == [gtid_set]
    assert (made.file, made.pos, made.file_begun) == (FILE, 4, BEGUN)


@pytest.mark.parametrize(("gtid_set", "server", "mariadb"), SEEDED_ANEW)
def test_by_gtid_a_replica_that_is_as_it_was_moves_no_position(gtid_set: str, server: str, mariadb: bool) -> None:
    made, asked = gone_on(gtid_set, server, mariadb=mariadb, begun=BEGUN)
    assert asked == [gtid_set]
    assert (made.file, made.pos, made.file_begun) == (FILE, 900, BEGUN)


def test_a_replica_that_was_seeded_anew_has_no_rows_of_an_undecided_transaction_where_they_were() -> None:
    gtid_set, server, mariadb = SEEDED_ANEW[-1]
    with pytest.raises(WrongServer, match=r"the XA transaction X'61',X'',1 .* is undecided"):
        gone_on(gtid_set, server, mariadb=mariadb, prepared=(PreparedGroup("X'61',X'',1", FILE, 300),))


@pytest.mark.parametrize(
    ("gtid_set", "server", "mariadb"),
    [
        (f"{OTHER}:1-5,{ITSELF}:7", ITSELF, False),
        (f"{OTHER}:1-5,{ITSELF}:7", ITSELF.upper(), False),
        (f"{ITSELF}:leads:1-2", ITSELF, False),
        ("0-1-100,1-2-7", "2", True),
    ],
)
def test_by_gtid_a_server_that_was_reset_and_gave_out_gtids_of_ours_is_refused(
    gtid_set: str, server: str, mariadb: bool
) -> None:
    with pytest.raises(WrongServer, match="was reset"):
        gone_on(gtid_set, server, mariadb=mariadb)


@pytest.mark.parametrize("by_gtid", [False, True])
def test_a_file_that_does_not_say_when_it_was_begun_is_gone_on_in(by_gtid: bool) -> None:
    name, description = new_log().packets
    made, line = stream(name + description[:5] + bytes(4) + description[9:])
    made._demand_file(by_gtid=by_gtid)
    assert line.closed


class Silent(Line):
    """A connection on which nothing comes until the stream that waits for it is closed."""

    def __init__(self, waiting: BinlogStream) -> None:
        super().__init__(b"")
        self.waiting = waiting

    def read(self, decoder: FileBeginning | BinlogDecoder, events: list[Any]) -> None:
        assert not self.woken, "read on after the end"
        self.waiting.close()
        assert self.woken


def silent() -> tuple[Any, Silent]:
    """A stream on a server that sends nothing."""
    made, _ = stream(b"")
    line = Silent(made)
    made._new_line = lambda: line
    made._new_decoder = lambda start, mariadb: decoder(start=start, mariadb=mariadb)
    return made, line


def test_a_stop_wakes_who_waits_for_the_beginning_of_a_file() -> None:
    made, line = silent()
    made._demand_file(by_gtid=False)
    assert line.closed


def test_a_stop_wakes_who_waits_for_a_prepared_transaction() -> None:
    made, line = silent()
    with pytest.raises(ConnectionLost):
        made._read_prepared(PreparedGroup("X'61',X'',1", FILE, 4), False)
    assert line.closed


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_the_beginning_of_a_file_is_read_however_it_comes(size: int) -> None:
    data = b"".join(new_log().packets)
    beginning, here = FileBeginning(FILE), b""
    for at in range(0, len(data), size):
        here += data[at : at + size]
        here = here[beginning.decode(here, []) :]
    assert beginning.begun == BEGUN


def test_a_server_that_ends_the_stream_before_the_file_begins_is_tried_again() -> None:
    with pytest.raises(ConnectionLost):
        FileBeginning(FILE).decode(packet(b"\xfe\0\0\2\0"), [])


def moved(change: Callable[[Any], None]) -> int:
    """What is known of a file behind such a change."""
    target = decoder(start=Position("", FILE, 4, (), 5))
    assert target.file_begun == 5
    change(target)
    return target.file_begun


def test_what_is_known_of_a_file_is_what_its_first_event_says_and_is_kept_over_connections() -> None:
    def read(target: Any) -> None:
        log = new_log()
        log.transaction(1, 5)
        target.decode(log.data, [])

    def read_and_lose(target: Any) -> None:
        read(target)
        target.restart()

    def read_and_move(target: Any) -> None:
        read(target)
        target.restart(elsewhere=True)

    assert moved(lambda target: target.restart()) == 5
    assert moved(read) == moved(read_and_lose) == BEGUN
    assert moved(read_and_move) == 0


def test_a_checkpoint_of_an_older_release_does_not_say_when_its_file_was_begun_and_is_gone_on_from() -> None:
    checkpoint = Checkpoint(
        epoch=1, flavor="mysql", server="s", gtid_set="", file=FILE, pos=900, version=5, next_seqs=[1], file_begun=BEGUN
    )
    older = json.loads(encode(checkpoint))
    del older["file_begun"]
    assert position(decode(json.dumps(older).encode())) == Position("", FILE, 900)
    assert position(decode(encode(checkpoint))) == Position("", FILE, 900, (), BEGUN)
