"""The queries themselves: read-only, limited, and indifferent to how the company declared its columns."""

from __future__ import annotations

import json
import ssl
from contextlib import closing

import pymysql
import pytest

from consumer.binlog.events import RowChange
from consumer.binlog.position import Position
from consumer.binlog.stream import BinlogStream
from consumer.leads.model import ClaimRow, RequirementRow, Table, UserRow
from consumer.mysql.errors import ConnectionLost, LoginRefused, PreconditionFailed, TooSlow
from consumer.mysql.live_read import read_leads
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from consumer.stream.envelope import Users
from reconciler.replica import CreatedUsers, ReplicaReads
from tests.integration.reconciler.world import ReconcilerWorld
from tests.servers import ensure
from tests.spelled_out import spelled_out
from tests.support.company_tables import key


def redeclare(world: ReconcilerWorld, *statements: str) -> None:
    for statement in statements:
        world.sql(statement)


def test_rows_are_read_alike_however_their_columns_are_declared(world: ReconcilerWorld) -> None:
    redeclare(
        world,
        "ALTER TABLE users MODIFY is_enabled BIT(1) NULL,"
        " MODIFY current_signature_file_id VARCHAR(36) CHARACTER SET latin1",
        "ALTER TABLE claims MODIFY status ENUM('open', 'größer') CHARACTER SET latin1",
        "ALTER TABLE claim_requirements MODIFY type INT, MODIFY status VARCHAR(20) CHARACTER SET utf8mb3",
    )
    world.sql("INSERT INTO users (id, current_signature_file_id, is_enabled) VALUES (1, 'é', b'0'), (2, '', NULL)")
    world.claim(10, 1, "größer")
    world.sql("INSERT INTO claim_requirements (id, claim_id, type, status) VALUES (%s, 10, 3, 'x ')", key(100))
    live = world.replica().read_users([1, 2, 3]).leads
    assert live[1].user == UserRow(1, "é", False)
    assert live[1].claims == {"10": ClaimRow("10", 1, "größer")}
    assert live[1].requirements == {key(100): RequirementRow(key(100), "10", "3", "x ", None)}
    assert live[2].user == UserRow(2, None, True)
    assert live[3].user is None


def test_a_signature_of_nothing_but_blanks_is_none_as_in_the_stream(world: ReconcilerWorld) -> None:
    world.sql("INSERT INTO users (id, current_signature_file_id) VALUES (1, '  '), (2, ''), (3, ' x'), (4, '0')")
    live = world.replica().read_users(range(1, 5)).leads
    read = {user_id: row.user.signature for user_id, row in live.items() if row.user}
    assert read == {1: None, 2: None, 3: " x", 4: "0"}
    for user_id, signature in ((1, "  "), (2, ""), (3, " x"), (4, "0")):
        assert live[user_id].user == Users(user_id, signature).row()


def test_columns_that_the_company_lacks_are_done_without(world: ReconcilerWorld) -> None:
    redeclare(
        world,
        "ALTER TABLE users DROP COLUMN is_enabled, DROP COLUMN updated_at",
        "ALTER TABLE claim_requirements DROP COLUMN claim_requirement_reason",
    )
    world.sql("INSERT INTO users (id, created_at) VALUES (1, NULL)")
    live = world.replica().read_users([1]).leads[1]
    assert live.user == UserRow(1, None, True)
    assert live.created_at == {(Table.USERS, 1): None}
    world.sql("ALTER TABLE users DROP COLUMN created_at")
    with pytest.raises(PreconditionFailed, match=r"users on .* has no created_at"):
        list(world.replica().created(Table.USERS, 0, 10))


def test_a_read_lies_between_two_looks_at_the_servers_clock(world: ReconcilerWorld) -> None:
    read = world.replica().read_users([1])
    ((now,),) = world.sql("SELECT CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000000 AS UNSIGNED)")
    assert read.started < read.ended <= now
    assert now - read.started < 60_000_000


def test_a_bytes_signature_is_its_hexadecimal_digits_as_in_the_stream(world: ReconcilerWorld) -> None:
    world.sql("ALTER TABLE users MODIFY current_signature_file_id BINARY(4)")
    world.sql("INSERT INTO users (id, current_signature_file_id) VALUES (1, UNHEX('00FF'))")
    assert world.replica().read_users([1]).leads[1].user == UserRow(1, "00ff0000", True)


def test_a_uuid_signature_of_mariadb_is_its_digits_with_dashes_as_in_the_stream() -> None:
    """Everywhere alike: in the binlog, in the reconciler's reads and in those of `consumer explain`."""
    servers = ensure(["mariadb", "postgres"])
    with ReconcilerWorld(servers.mariadb_url, servers.postgres_url) as world:
        world.sql(
            "ALTER TABLE users DROP COLUMN current_signature_file_id, ADD COLUMN current_signature_file_id UUID NULL"
        )
        with closing(Replica(MySQLAddress(world.mysql_url))) as live:
            start = Position("", *live.binlog_position())
            world.sql(
                "INSERT INTO users (id, current_signature_file_id) VALUES (1, '00112233-4455-4677-8899-aabbccddeeff')"
            )
            user = UserRow(1, "00112233-4455-4677-8899-aabbccddeeff", True)
            assert world.replica().read_users([1]).leads[1].user == user
            assert read_leads(live, [1]).leads[1].user == user
            end = live.binlog_position()
        address = MySQLAddress(world.mysql_url)
        stream = BinlogStream(address, address.database, start, 77_100, 0.2, 10)
        with closing(stream):
            stream.connect()
            events = []
            while (stream.file, stream.pos) < end:
                events += spelled_out(stream.read())
        (row,) = [json.loads(event.after or "") for event in events if isinstance(event, RowChange)]
        assert row["current_signature_file_id"] == user.signature


def test_the_session_cannot_write_and_a_slow_query_is_ended(world: ReconcilerWorld) -> None:
    replica = ReplicaReads(MySQLAddress(world.mysql_url), query_seconds=0.2)
    with pytest.raises(TooSlow, match=r"longer than 0\.2 s"):
        replica._run(
            "SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b,"
            " information_schema.columns c WHERE a.column_name <> CONCAT(b.column_name, c.column_name)"
        )
    connection = replica._session._open()
    with connection.cursor() as cursor, pytest.raises(pymysql.err.MySQLError, match=r"(?i)read.only"):
        cursor.execute("DELETE FROM users")
    replica.close()


def test_a_lost_connection_is_opened_again(world: ReconcilerWorld) -> None:
    replica = world.replica()
    replica.present()
    ((thread,),) = replica._run("SELECT CONNECTION_ID()")
    world.sql(f"KILL {thread}")
    assert replica.present().last_user == 0


def test_a_replica_that_stays_away_is_named_with_the_setting_that_says_where_it_is(world: ReconcilerWorld) -> None:
    url = world.mysql_url.rsplit("@", 1)[0] + "@127.0.0.1:1/nothing"
    with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:1 does not answer .*REPLICA_DATABASE_URL"):
        ReplicaReads(MySQLAddress(url), retry_seconds=0.3).present()


def test_missing_tables_and_indexes_are_named_with_their_repair(world: ReconcilerWorld) -> None:
    world.sql("ALTER TABLE claim_requirements DROP FOREIGN KEY claim_requirements_claim_id_foreign")
    world.sql("ALTER TABLE claim_requirements DROP INDEX claim_requirements_claim_id_index")
    with pytest.raises(PreconditionFailed, match="run CREATE INDEX claim_requirements_claim_id"):
        world.replica().read_users([1])
    world.sql("DROP TABLE claim_requirements")
    with pytest.raises(PreconditionFailed, match="there is no table claim_requirements"):
        world.replica().read_users([1])


def test_new_rows_come_with_what_their_users_are_condensed_to(world: ReconcilerWorld) -> None:
    for user_id, ago in ((1, 9000), (2, 60), (3, 9000)):
        world.user(user_id, signature=user_id, ago=ago)
        world.claim(10 * user_id, user_id)
        world.requirement(100 * user_id, 10 * user_id, ago=60 if user_id == 3 else 9000)
    world.sql("INSERT INTO users (id, created_at) VALUES (4, NULL)")
    replica = world.replica()
    since = (replica.present().clock // 1_000_000 - 3600) * 1_000_000
    for indexed in (False, True):
        if indexed:
            world.sql("CREATE INDEX users_created ON users (created_at)")
            world.sql("CREATE INDEX requirements_created ON claim_requirements (created_at)")
            replica = world.replica()
        pages = list(replica.created(Table.USERS, since, 2, None if indexed else 0))
        found = {user for page in pages for user in page.users}
        assert found == ({2} if indexed else {2, 4})
        asked = [page for page in pages for _ in page.users]
        assert all(page.checksums == replica.checksums(page.users) for page in asked)
        (page,) = replica.created(Table.CLAIM_REQUIREMENTS, since, 10, None if indexed else 0)
        assert (page.users, page.checksums) == ([3], replica.checksums([3]))


def test_a_bisection_finds_the_first_row_of_a_window_among_gaps_and_rows_out_of_order(world: ReconcilerWorld) -> None:
    for number in range(1, 120):
        world.user(number * 37, ago=100_000 - 500 * number + (900 if number % 7 == 0 else 0))
    world.user(9000, ago=60)
    replica = world.replica()
    since = (replica.present().clock // 1_000_000 - 50_000) * 1_000_000
    found = [user for page in replica.created(Table.USERS, since, 7) for user in page.users]
    expected = [row[0] for row in world.sql(
        "SELECT id FROM users WHERE created_at >= FROM_UNIXTIME(%s) ORDER BY id", since // 1_000_000)]  # fmt: skip
    assert set(expected) <= set(found)
    assert len(found) - len(expected) <= 1
    assert replica.first_created(Table.USERS, replica.present().clock) == 9001


def test_a_remembered_key_spares_the_bisection_and_is_forgotten_when_the_table_began_anew(
    world: ReconcilerWorld,
) -> None:
    for user_id in (1, 2, 700):
        world.user(user_id, ago=60)
    replica = world.replica()
    since = replica.present().clock - 3600 * 1_000_000
    expected = CreatedUsers([700], 700, replica.checksums([700]))
    before = replica.queries
    assert list(replica.created(Table.USERS, since, 10, after=2)) == [expected]
    assert replica.queries == before + 1
    assert list(replica.created(Table.USERS, since, 10, after=700)) == [CreatedUsers([], 700, {})]
    assert list(replica.created(Table.USERS, since, 10, after=5000)) == [
        CreatedUsers([1, 2, 700], 700, replica.checksums([1, 2, 700]))
    ]


def test_a_certificate_that_nobody_we_know_signed_is_no_server_that_is_away(world: ReconcilerWorld) -> None:
    system = ssl.get_default_verify_paths().cafile
    address = MySQLAddress(f"{world.mysql_url}?ssl_mode=VERIFY_CA&ssl_ca={system}")
    with closing(ReplicaReads(address)) as replica, pytest.raises(LoginRefused, match="correct ssl_mode and ssl_ca"):
        replica.ping()
