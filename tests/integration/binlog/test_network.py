"""Connections that break, stall or lie, large packets, checksums, and ways to log in."""

from __future__ import annotations

import base64
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

from consumer.binlog.errors import BinlogCorrupt, UndecodableEvent
from consumer.binlog.events import Commit, Event, Id, RowChange
from consumer.binlog.position import Position
from consumer.binlog.stream import BinlogStream
from consumer.mysql.errors import ConnectionLost, LoginRefused, PreconditionFailed, SourceError
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from tests.integration.binlog.proxy import CHUNK, Proxy
from tests.integration.binlog.source import Source, read_until, replayed
from tests.servers import PrivateServer, ensure, mariadb_plugins, mysql_command
from tests.spelled_out import spelled_out
from tests.support.waiting import PATIENCE, until

USERS = "CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name LONGTEXT, current_signature_file_id INT)"


OTHER_AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUfw/M24ud5b58dKpuEUayJTcUdnIwCgYIKoZIzj0EAwIw
HzEdMBsGA1UEAwwUc29tZSBvdGhlciBhdXRob3JpdHkwIBcNMjYxMTIzMjIzNjM0
WhgPMjEyNjEwMzAyMjM2MzRaMB8xHTAbBgNVBAMMFHNvbWUgb3RoZXIgYXV0aG9y
aXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2cGbYhPHIndoTZNr5nWFHp40
LTTZPIauEanq8zTI3mIGLDafBnbfK/pgU7kBCtUWgyKx3q81HlJSvmoYwaHs7qNT
MFEwHQYDVR0OBBYEFO4Xi2jVlf1E1vFGop8wWFo63AmPMB8GA1UdIwQYMBaAFO4X
i2jVlf1E1vFGop8wWFo63AmPMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
RwAwRAIgNh/SSpmfIlrrNb/ApByC95DexBD9prekH8MIlZg4zw8CIGtLZiHc7QuT
SM1NY68atbhmmDxK9EvXx2lovhFdFoO1
-----END CERTIFICATE-----
"""


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A server of this module's own, on which nobody else writes."""
    servers = ensure([request.param])
    if request.param == "mysql":
        with servers.private_mysql() as private:
            yield private
    else:
        with servers.private_mariadb([*mariadb_plugins(), "--plugin-load-add=auth_ed25519"]) as private:
            yield private


@pytest.fixture
def users(server: PrivateServer) -> Iterator[Source]:
    with Source(server.url) as source:
        source.run("FLUSH BINARY LOGS", USERS)
        source.start = source.here()
        yield source


@pytest.fixture
def proxy(users: Source) -> Iterator[Proxy]:
    with Proxy(users.address.host, users.address.port) as between:
        yield between


def through(proxy: Proxy, source: Source, deadline_seconds: float = 10.0) -> BinlogStream:
    """A stream over the proxy."""
    address = MySQLAddress(source.url)
    address.host, address.port = "127.0.0.1", proxy.port
    server_id = 1_000_000 + proxy.port
    return BinlogStream(address, source.name, source.start, server_id, 0.2, deadline_seconds)


def completed(events: list[Event]) -> list[Event]:
    """What stands before the last Commit: what comes after it will be returned again."""
    commits = [number for number, event in enumerate(events) if isinstance(event, Commit)]
    return events[: commits[-1]] if commits else []


def ids(events: list[Event]) -> list[Id | None]:
    return [event.after_id for event in events if isinstance(event, RowChange)]


def insert(source: Source, count: int) -> None:
    for _ in range(count):
        source.run("INSERT INTO users (name) VALUES (REPEAT('x', 200))")


def test_a_connection_that_goes_silent_is_given_up_after_the_deadline(users: Source, proxy: Proxy) -> None:
    with closing(through(proxy, users, deadline_seconds=3.0)) as stream:
        stream.connect()
        insert(users, 1)
        assert ids(read_until(stream, users.here())) == [1]
        proxy.silent = True
        with pytest.raises(ConnectionLost, match=r"sent nothing for 3 s"):
            read_until(stream, Position("", "z", 0))
        proxy.silent = False
        insert(users, 1)
        stream.connect()
        assert ids(read_until(stream, users.here())) == [2]


def test_heartbeats_keep_a_quiet_connection(users: Source) -> None:
    deadline = 2.0  # of silence, which ends the connection
    stream = BinlogStream(users.address, users.name, users.start, 77_001, 0.2, deadline)
    with closing(stream):
        stream.connect()
        ends = time.monotonic() + 1.5 * deadline
        while time.monotonic() < ends:
            stream.read()


def test_a_slow_link_only_takes_time(users: Source, proxy: Proxy) -> None:
    with closing(through(proxy, users)) as stream:
        stream.connect()
        proxy.chunk, proxy.pause = 7, 0.0005
        insert(users, 5)
        assert ids(read_until(stream, users.here())) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(4))
def test_a_connection_cut_anywhere_is_taken_up_again_without_loss(users: Source, proxy: Proxy, seed: int) -> None:
    dice = random.Random(seed)
    insert(users, 60)
    whole: list[Event] = []
    with closing(through(proxy, users)) as stream:
        end = users.here()
        while (stream.file, stream.pos) < (end.file, end.pos):
            stream.connect()
            proxy.cut_after = dice.randint(500, 6000)
            part: list[Event] = []
            with suppress(ConnectionLost):
                while (stream.file, stream.pos) < (end.file, end.pos):
                    part += spelled_out(stream.read())
            whole += completed(part)
    assert ids(whole) == list(range(1, 61))


@pytest.mark.parametrize("seed", range(12))
def test_a_changed_bit_is_an_error_and_never_data(users: Source, proxy: Proxy, seed: int) -> None:
    with closing(through(proxy, users, deadline_seconds=2.0)) as stream:
        stream.connect()
        read_until(stream, users.here())
        while not stream.drained:
            stream.read()
        proxy.flip_at = random.Random(seed).randint(400, 9000)
        insert(users, 30)
        end = users.here()
        events: list[Event] = []
        with pytest.raises((BinlogCorrupt, ConnectionLost, UndecodableEvent)):  # noqa: PT012 - keeps what came before
            while (stream.file, stream.pos) < (end.file, end.pos):
                events += spelled_out(stream.read())
        seen = ids(completed(events))
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) < 30
        proxy.flip_at = None
        stream.connect()
        assert seen + ids(read_until(stream, end)) == list(range(1, 31))


def test_events_without_checksums_are_read(users: Source) -> None:
    insert(users, 1)
    users.run("SET GLOBAL binlog_checksum = 'NONE'")
    try:
        insert(users, 1)
        assert ids(users.events()) == [1, 2]
        start = users.here()
        insert(users, 1)
        assert ids(users.events(start)) == [3]
    finally:
        users.run("SET GLOBAL binlog_checksum = 'CRC32'")
    insert(users, 1)
    assert ids(users.events()) == [1, 2, 3, 4]
    assert ids(users.events(start)) == [3, 4]


def test_checksums_may_be_switched_while_reading(users: Source) -> None:
    with closing(users.stream()) as stream:
        stream.connect()
        seen = []
        for algorithm in ("NONE", "CRC32"):
            users.run(f"SET GLOBAL binlog_checksum = '{algorithm}'")
            insert(users, 1)
            seen += ids(read_until(stream, users.here()))
    assert seen == [1, 2]


def test_rows_larger_than_a_packet_are_read(users: Source) -> None:
    source = users
    packet = int(source.ask("SELECT @@global.max_allowed_packet")[0][0])
    assert packet > 2 * 2**24
    for size in (2**24 - 200, 2**24, 2**24 + 200, 35_000_000):
        source.run(f"INSERT INTO users (name) VALUES (REPEAT('x', {size}))")
    # The event that fills packets exactly, and its neighbours: 2**24 - 2 bytes of event end a packet.
    head = 2**24 - 1 - 1 - 53
    for size in range(head - 12, head + 12):
        source.run(f"INSERT INTO users (name, current_signature_file_id) VALUES (REPEAT('y', {size}), 5)")
    source.run("UPDATE users SET current_signature_file_id = 1 WHERE id < 3", "DELETE FROM users WHERE id = 4")
    left = {("users", row[0]): row[1] for row in source.ask("SELECT id, current_signature_file_id FROM users")}
    rows = replayed(source.changes())
    assert {key: row["current_signature_file_id"] for key, row in rows.items()} == left


def test_compressed_transactions_larger_than_a_packet_are_read(users: Source) -> None:
    """Text that hardly shrinks, so that what is compressed is continued over packets too."""
    noise = base64.b64encode(random.Random(8911).randbytes(21_000_000)).decode()
    if users.is_mariadb:
        users.run("SET GLOBAL log_bin_compress = ON", "SET SESSION binlog_annotate_row_events = OFF")
    else:
        users.run("SET SESSION binlog_transaction_compression = ON")
    try:
        before = users.here()
        users.ask("INSERT INTO users (name, current_signature_file_id) VALUES (%s, 7), ('small', 8)", (noise,))
        users.run("UPDATE users SET current_signature_file_id = 9", "DELETE FROM users WHERE id = 1")
        after = users.here()
    finally:
        if users.is_mariadb:
            users.run("SET GLOBAL log_bin_compress = OFF")
    logged = after.pos - before.pos if after.file == before.file else after.pos
    assert 4 * len(noise) * 0.7 < logged < 4 * len(noise) * 0.95, "the row was logged four times, compressed"
    changes = users.changes()
    assert [(change.op, change.before_id, change.after_id) for change in changes] == [
        ("c", None, 1),
        ("c", None, 2),
        ("u", 1, 1),
        ("u", 2, 2),
        ("d", 1, None),
    ]
    assert replayed(changes) == {("users", 2): {"id": 2, "current_signature_file_id": 9}}


def test_a_server_killed_in_the_middle_of_an_event_is_read_on_without_loss(
    server: PrivateServer, users: Source, proxy: Proxy
) -> None:
    with closing(through(proxy, users)) as stream:
        stream.connect()
        insert(users, 1)
        seen = read_until(stream, users.here())
        proxy.chunk, proxy.pause = 65536, 0.05
        users.run("INSERT INTO users (name) VALUES (REPEAT('x', 20000000))")
        killer = threading.Timer(0.5, server.kill)  # the row takes 15 seconds to pass
        killer.start()
        with pytest.raises(ConnectionLost):
            read_until(stream, Position("", "z", 0))
        killer.join()
        server.start()
        users.connection = users.session()
        proxy.chunk, proxy.pause = CHUNK, 0.0
        insert(users, 1)
        stream.connect()
        assert ids(seen + read_until(stream, users.here())) == [1, 2, 3]


def test_closing_wakes_a_blocked_read(users: Source) -> None:
    stream = BinlogStream(users.address, users.name, users.start, 77_002, 60, 120)
    stream.connect()
    insert(users, 1)
    read_until(stream, users.here())
    result: list[list[Event]] = []
    reading = threading.Thread(target=lambda: result.append(stream.read()))
    reading.start()
    time.sleep(0.5)
    assert reading.is_alive()
    stream.close()
    reading.join(PATIENCE)
    assert result == [[]]
    assert stream.read() == []


def test_drained_says_whether_more_is_waiting(users: Source) -> None:
    with closing(users.stream()) as stream:
        stream.connect()
        insert(users, 1)
        end = users.here()
        while (stream.file, stream.pos) < (end.file, end.pos):
            stream.read()
        users.run("BEGIN", *["INSERT INTO users (name) VALUES (REPEAT('x', 30000))"] * 40, "COMMIT")
        until(lambda: not stream.drained, "more was waiting")
        assert ids(read_until(stream, users.here())) == list(range(2, 42))
        while not stream.drained:
            stream.read()


def test_a_wrong_password_is_said(users: Source) -> None:
    address = MySQLAddress(users.url)
    address.password = "wrong"
    with closing(BinlogStream(address, users.name, users.start, 77_003, 1, 5)) as stream, pytest.raises(LoginRefused):
        stream.connect()


def test_an_account_that_may_not_replicate_is_refused(users: Source) -> None:
    name = users.name[-12:]
    users.run(f"CREATE USER {name} IDENTIFIED BY 'secret'", f"GRANT SELECT ON {users.name}.* TO {name}")
    try:
        address = MySQLAddress(users.url)
        address.user, address.password = name, "secret"
        stream = BinlogStream(address, users.name, users.start, 77_004, 1, 5)
        with closing(stream), pytest.raises(LoginRefused, match="privileges"):
            stream.connect()
    finally:
        users.run(f"DROP USER {name}")


def test_an_address_where_nothing_listens_is_a_lost_connection(users: Source) -> None:
    address = MySQLAddress(users.url)
    address.port = 9
    with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:9"), closing(Replica(address)) as replica:
        replica.query("SELECT 1")


@pytest.mark.parametrize("plugin", ["caching_sha2_password", "mysql_native_password", "ed25519"])
def test_accounts_of_each_kind_log_in(users: Source, plugin: str) -> None:
    name = f"{plugin[:4]}{users.name[-12:]}"
    kinds = {str(row[0]) for row in users.ask("SHOW PLUGINS")}
    create = f"CREATE USER {name} IDENTIFIED WITH {plugin} BY 'secret'"
    if users.is_mariadb:
        create = f"CREATE USER {name} IDENTIFIED VIA {plugin} USING PASSWORD('secret')"
    theirs = {"mysql_native_password", "ed25519"} if users.is_mariadb else {"caching_sha2_password"}
    assert theirs <= kinds
    if plugin not in theirs:
        return
    users.run(
        create,
        f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {name}",
        f"GRANT SELECT ON {users.name}.* TO {name}",
    )
    try:
        insert(users, 1)
        address = MySQLAddress(users.url)
        address.user, address.password = name, "secret"
        with closing(BinlogStream(address, users.name, users.start, 77_005, 0.2, 5)) as stream:
            if plugin == "ed25519" and find_spec("nacl") is None:
                with pytest.raises(LoginRefused, match="'pynacl' package is required"):
                    stream.connect()
                return
            stream.connect()
            assert ids(read_until(stream, users.here())) == [1]
    finally:
        users.run(f"DROP USER {name}")


def test_tls_is_verified(tmp_path: Path) -> None:
    with Source(ensure(["mysql"]).mysql_url) as source:
        source.run(USERS)
        source.start = source.here()
        insert(source, 1)
        authority = tmp_path / "ca.pem"
        folder = source.ask("SELECT @@datadir")[0][0]
        address = source.address
        shown = subprocess.run(
            [
                *(
                    *mysql_command(),
                    "--loose-commands",
                    "--loose-system-command",
                    f"-h{address.host}",
                    f"-P{address.port}",
                ),
                *(f"-u{address.user}", f"-p{address.password}", "-e", f"\\! cat {folder}ca.pem"),
            ],
            capture_output=True,
            check=True,
        )
        authority.write_bytes(shown.stdout)
        other = tmp_path / "other.pem"
        other.write_text(OTHER_AUTHORITY)

        def seen(options: str) -> list[Id | None]:
            address = MySQLAddress(f"{source.url}?{options}")
            with closing(BinlogStream(address, source.name, source.start, 77_006, 0.2, 5)) as stream:
                stream.connect()
                return ids(read_until(stream, source.here()))

        assert seen("ssl_mode=DISABLED") == [1]
        assert seen("ssl_mode=REQUIRED") == [1]
        assert seen(f"ssl_mode=VERIFY_CA&ssl_ca={quote(str(authority))}") == [1]
        with pytest.raises(SourceError):
            seen(f"ssl_mode=VERIFY_CA&ssl_ca={quote(str(other))}")
        with pytest.raises(SourceError):
            seen(f"ssl_mode=VERIFY_IDENTITY&ssl_ca={quote(str(authority))}")


def test_tls_that_is_required_and_not_offered_is_refused() -> None:
    servers = ensure(["mariadb"])
    with Source(servers.mariadb_url) as source:
        address = MySQLAddress(f"{source.url}?ssl_mode=REQUIRED")
        if source.ask("SELECT @@have_ssl")[0][0] == "YES":
            pytest.fail("this MariaDB offers TLS; the test needs one that does not")
        with (
            closing(Replica(address)) as replica,
            pytest.raises(LoginRefused, match="doesn't support it; see ssl_mode"),
        ):
            replica.query("SELECT 1")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("SELECT no_such_column FROM information_schema.tables", "no_such_column"),
        ("SELECT 'a' COLLATE no_such_collation", "no_such_collation"),
        ("SELECT _utf8mb4'a' COLLATE latin1_bin", "latin1_bin"),
        ("SELECT CONVERT('a' USING no_such_charset)", "no_such_charset"),
        ("SELECT @@global.no_such_variable", "no_such_variable"),
    ],
)
def test_a_statement_that_a_server_refuses_is_no_lost_connection(source: Source, statement: str, named: str) -> None:
    with closing(Replica(source.address)) as replica:
        session = replica.value("SELECT CONNECTION_ID()")
        with pytest.raises(PreconditionFailed, match=named):
            replica.query(statement)
        assert replica.value("SELECT CONNECTION_ID()") == session
