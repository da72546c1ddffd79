"""Files that rotate, servers that restart, binlogs that are purged, GTIDs that come and go, and other servers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from consumer.binlog.errors import BinlogPurged, WrongServer
from consumer.binlog.events import Begin, Event, Id, Rotate, RowChange
from consumer.binlog.position import Position
from consumer.binlog.stream import BinlogStream, earliest_position
from consumer.mysql.errors import ConnectionLost, PreconditionFailed
from consumer.mysql.session import server_info
from consumer.settings import MySQLAddress
from tests.integration.binlog.source import Source, as_file, position_of, read_until
from tests.servers import PrivateServer, ensure
from tests.support.waiting import until

USERS = "CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50))"


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A server of this module's own, whose binlogs may be purged and which may be restarted."""
    servers = ensure([request.param])
    with servers.private_mysql() if request.param == "mysql" else servers.private_mariadb() as private:
        yield private


@pytest.fixture
def own(server: PrivateServer) -> Iterator[Source]:
    with Source(server.url) as source:
        source.run(USERS)
        source.start = source.here()
        yield source


def ids(source: Source, start: Position | None = None) -> list[Id | None]:
    return [change.after_id for change in source.changes(start)]


def ids_of(events: list[Event]) -> list[Id | None]:
    return [event.after_id for event in events if isinstance(event, RowChange)]


def insert(source: Source, count: int = 1) -> None:
    for _ in range(count):
        source.run("INSERT INTO users (name) VALUES ('x')")


def purge(source: Source, file: str) -> bool:
    """Purges the binlogs before one; whether it is the oldest now."""
    source.run(f"PURGE BINARY LOGS TO '{file}'")
    return bool(source.ask("SHOW BINARY LOGS")[0][0] == file)


NEVER = Position("", "z", 0)


def drain(stream: BinlogStream) -> None:
    """Reads until something is wrong."""
    stream.connect()
    while True:
        stream.read()


def test_reading_goes_on_over_rotated_files(own: Source) -> None:
    insert(own)
    own.run("FLUSH BINARY LOGS")
    insert(own)
    own.run("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    insert(own)
    for start in (own.start, as_file(own.start)):
        assert ids(own, start) == [1, 2, 3]
    rotations = [event for event in own.events(as_file(own.start)) if isinstance(event, Rotate)]
    assert [event.file for event in rotations][-1] == own.here().file


def test_every_transaction_is_a_place_to_resume_from(own: Source) -> None:
    places = []
    with closing(own.stream()) as stream:
        stream.connect()
        for number in range(1, 7):
            insert(own)
            if number == 3:
                own.run("FLUSH BINARY LOGS")
            read_until(stream, own.here())  # one at a time: what lies ready is read in one go
            places.append(position_of(stream))
    for number, place in enumerate(places, 1):
        expected = list(range(number + 1, 7))
        assert ids(own, place) == ids(own, as_file(place)) == expected


def test_the_gtid_set_is_known_from_the_start_of_a_file_on(own: Source) -> None:
    insert(own)
    own.run("FLUSH BINARY LOGS")
    insert(own)
    with closing(own.stream(as_file(own.start))) as stream:
        stream.connect()
        assert stream.gtid_set() == ""
        end = own.here()
        read_until(stream, end)
        assert stream.gtid_set() == end.gtid_set


def test_the_earliest_position_is_where_everything_begins(own: Source) -> None:
    insert(own)
    first = earliest_position(own.address)
    assert first.pos == 4
    assert ids(own, first) == [1]


def test_a_restarted_server_is_read_on(server: PrivateServer, own: Source) -> None:
    insert(own)
    with closing(own.stream()) as stream:
        stream.connect()
        read_until(stream, own.here())
        server.restart()
        with pytest.raises(ConnectionLost):
            read_until(stream, NEVER)
        own.connection = own.session()
        stream.connect()
        begun = own.here()
        assert begun.file != own.start.file
        assert ids_of(read_until(stream, begun)) == []  # heartbeats say so: nobody has written since
        insert(own)
        assert ids_of(read_until(stream, own.here())) == [2]


def test_a_server_killed_in_the_middle_of_a_transaction_leaves_no_half(server: PrivateServer, own: Source) -> None:
    insert(own)
    own.run("BEGIN", "INSERT INTO users (name) VALUES ('lost')")
    server.kill()
    server.start()
    own.connection = own.session()
    own.run("INSERT INTO users (id, name) VALUES (50, 'kept')")
    assert ids(own) == [1, 50]


def test_a_purged_binlog_is_an_error_that_names_the_way_back(own: Source) -> None:
    insert(own)
    own.run("FLUSH BINARY LOGS")
    insert(own)
    own.run("FLUSH BINARY LOGS")
    info = server_info(own.address)
    until(lambda: purge(own, info.file), "older binlogs were purged")  # what a reader is sent yet, a server keeps
    for start in (own.start, as_file(own.start)):
        with closing(own.stream(start)) as stream, pytest.raises(BinlogPurged, match="ON_PURGED=reconcile"):
            drain(stream)
    assert ids(own, own.here()) == []


def test_a_position_of_another_server_is_refused(own: Source) -> None:
    stream = own.stream(as_file(own.start))
    stream._expected_server = "00000000-0000-0000-0000-000000000000"
    with closing(stream), pytest.raises(WrongServer, match="go back to that server"):
        stream.connect()


def test_a_server_that_lacks_what_we_read_is_refused(own: Source) -> None:
    if own.is_mariadb:
        start = own.start._replace(gtid_set="0-99-99999999")
    else:
        start = own.start._replace(gtid_set="11111111-1111-1111-1111-111111111111:1-5")
    with closing(own.stream(start)) as stream, pytest.raises(WrongServer):
        drain(stream)


def test_a_position_behind_the_end_of_a_file_is_refused(own: Source) -> None:
    start = as_file(own.start)._replace(pos=2**31)
    with closing(own.stream(start)) as stream, pytest.raises(WrongServer):
        drain(stream)


def test_a_position_that_the_protocol_cannot_ask_for_is_refused(own: Source) -> None:
    far = as_file(own.here())._replace(pos=1 << 32)
    with closing(own.stream(far)) as stream, pytest.raises(PreconditionFailed, match=r"beyond 4 GB.*gtid_mode=ON"):
        drain(stream)


def test_a_server_that_was_reset_is_refused() -> None:
    for flavor, reset in (("mysql", "RESET BINARY LOGS AND GTIDS"), ("mariadb", "RESET MASTER")):
        servers = ensure([flavor])
        private = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
        with private() as server, Source(server.url) as source:
            source.run(USERS)
            insert(source, 5)
            reached = source.here()
            source.run(reset)
            insert(source)
            for start in (reached, as_file(reached)):
                with closing(source.stream(start)) as stream, pytest.raises((WrongServer, BinlogPurged)):
                    drain(stream)


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_server_that_was_reset_and_has_grown_beyond_our_position_is_refused(flavor: str) -> None:
    """Names of files, positions and GTIDs are all given once more."""
    servers = ensure([flavor])
    with (
        servers.private_mysql() if flavor == "mysql" else servers.private_mariadb() as server,
        Source(server.url) as source,
    ):
        source.run(USERS, "FLUSH BINARY LOGS")
        start = source.here()
        insert(source, 5)
        with closing(source.stream(start)) as stream:
            stream.connect()
            read_until(stream, source.here())
            ours = position_of(stream)._replace(file_begun=stream.file_begun)
            name = stream.server
        for place in (ours, as_file(ours)):
            with closing(demanding(source, place, name)) as stream:
                stream.connect()
                assert position_of(stream) == ours._replace(gtid_set=stream.gtid_set(), file_begun=0)
        time.sleep(2)  # files of one second are not told apart
        source.run("RESET MASTER" if flavor == "mariadb" else "RESET BINARY LOGS AND GTIDS")
        insert(source, 20)
        while source.here().file < ours.file:
            source.run("FLUSH BINARY LOGS")
        while (source.here().file, source.here().pos) <= (ours.file, ours.pos):
            insert(source)
        for place in (ours, as_file(ours)):
            with (
                closing(demanding(source, place, name)) as stream,
                pytest.raises(WrongServer, match=r"was reset: .*consumer setup --repair --from now"),
            ):
                drain(stream)


def demanding(source: Source, start: Position, name: str) -> BinlogStream:
    """A stream that goes on where another one was, on that server only."""
    stream = source.stream(start)
    stream._expected_server = stream._left = name
    return stream


def test_domains_of_mariadb_are_followed_each() -> None:
    with Source(ensure(["mariadb"]).mariadb_url) as source:
        source.run(USERS)
        source.start = source.here()
        domain = 1000 + uuid.uuid4().int % 1_000_000
        for number in range(3):
            source.run(f"SET SESSION gtid_domain_id = {domain + number}")
            insert(source, 2)
        source.run("SET SESSION gtid_domain_id = 0")
        insert(source)
        with closing(source.stream()) as stream:
            stream.connect()
            events = read_until(stream, source.here())
            resume = position_of(stream)
        for number in range(3):
            assert f"{domain + number}-11-2" in resume.gtid_set
        assert [event.after_id for event in events if isinstance(event, RowChange)] == list(range(1, 8))
        source.run(f"SET SESSION gtid_domain_id = {domain}")
        insert(source)
        source.run(f"SET SESSION gtid_domain_id = {domain + 9}")
        insert(source)
        assert ids(source, resume) == [8, 9]
        middle = resume._replace(gtid_set=resume.gtid_set.replace(f"{domain + 1}-11-2", f"{domain + 1}-11-1"))
        assert ids(source, middle) == [4, 8, 9], "each domain goes on from its own place"


def test_gtids_may_be_switched_on_and_off_while_reading() -> None:
    """From anonymous transactions over the permissive modes to GTIDs and back."""
    options = ["--gtid-mode=OFF", "--enforce-gtid-consistency=ON"]
    with ensure(["mysql"]).private_mysql(options) as server, Source(server.url) as source:
        source.run(USERS)
        source.start = source.here()
        places = [source.start]
        insert(source)
        modes = ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON", "ON_PERMISSIVE", "OFF_PERMISSIVE"]
        with closing(source.stream()) as stream:
            stream.connect()
            seen = read_until(stream, source.here())
            places.append(position_of(stream))
            for mode in modes:
                source.run(f"SET GLOBAL gtid_mode = '{mode}'")
                insert(source)
                seen += read_until(stream, source.here())
                places.append(position_of(stream))
                resumed = ids(source, places[-1])
                assert resumed == []
                insert(source)
                assert len(ids(source, places[-1])) == 1, mode
                seen += read_until(stream, source.here())
        rows = [event.after_id for event in seen if isinstance(event, RowChange)]
        assert rows == list(range(1, 12))
        begins = [event.gtid for event in seen if isinstance(event, Begin)]
        assert begins[0] is None
        assert begins[-1] is None
        assert sum(gtid is not None for gtid in begins) == 6
        for number, place in enumerate(places):
            assert ids(source, place) == list(range(max(number + 1, 2 * number - 1), 12)), place
        source.run("SET GLOBAL gtid_mode = 'OFF'")
        with closing(source.stream(places[3])) as stream, pytest.raises(PreconditionFailed, match="a permissive one"):
            drain(stream)


def test_another_replica_takes_over_by_gtid() -> None:
    """Two servers, one replicating from the other; the reader moves over and back while there is load."""
    servers = ensure(["mysql"])
    with servers.private_mysql() as first, servers.private_mysql(["--server-id=2"]) as second:  # noqa: SIM117
        with Source(first.url) as source:
            source.run(USERS)
            replica = Source(second.url)
            replica.name, replica.address = source.name, MySQLAddress(second.url)
            replica.address.database = source.name
            follow(replica, source)
            source.start = source.here()
            with closing(source.stream()) as stream:
                stream.connect()
                insert(source, 20)
                read_until(stream, source.here())
                resume = position_of(stream)
                server = stream.server
            insert(source, 20)
            gtids = source.here().gtid_set
            wait_for(replica, gtids)
            stream = replica.stream(resume)
            stream._expected_server = server
            with closing(stream):
                stream.connect()
                assert stream.server != server
                end = replica.here()
                moved = [event for event in read_until(stream, end) if isinstance(event, RowChange)]
                resume = position_of(stream)
            assert [event.after_id for event in moved] == list(range(21, 41))
            assert resume.gtid_set == gtids
            insert(source, 5)
            assert ids(source, resume) == list(range(41, 46))


def follow(replica: Source, source: Source) -> None:
    """Makes one server replicate from another and waits until it has what there is."""
    root = replica.root
    with closing(Source.session_at(root)) as session, session.cursor() as cursor:
        cursor.execute("RESET BINARY LOGS AND GTIDS")
        cursor.execute(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s,"
            " SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            (source.address.host, source.address.port, source.address.user, source.address.password),
        )
        cursor.execute("START REPLICA")
    wait_for(replica, source.here().gtid_set)


def wait_for(replica: Source, gtids: str) -> None:
    """Waits until a server has executed a set of GTIDs."""
    with closing(Source.session_at(replica.root)) as session, session.cursor() as cursor:
        cursor.execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 150)", (gtids,))
        assert cursor.fetchone() == (0,)
