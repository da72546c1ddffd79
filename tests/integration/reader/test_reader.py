"""Every change arrives in Kafka, once, numbered without gaps, whatever happens to the reader."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from contextlib import closing
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from consumer.lane import lane_of
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from tests.integration.reader.kills import kill_again_and_again
from tests.integration.reader.load import Load
from tests.integration.reader.world import LANES, ReaderWorld, check_numbers, replay
from tests.servers import ensure
from tests.support.company_tables import key
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PASSPORT = f"'{key(100)}'"


def assert_complete(world: ReaderWorld) -> None:
    """The topics amount to exactly what the server holds, and their numbers are sound."""
    messages = world.messages()
    check_numbers(messages)
    rebuilt = replay(messages)
    for table, rows in rebuilt.items():
        assert rows == world.rows(table)


def test_inserts_updates_and_deletes_arrive_with_gapless_numbers(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader()
    world.execute(
        "INSERT INTO users (id, email_address) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open'), (20, 2, 'open')",
        f"INSERT INTO claim_requirements (id, claim_id, type, status) VALUES ({PASSPORT}, 10, 'passport', 'pending')",
        "UPDATE users SET current_signature_file_id = 7 WHERE id = 1",
        "DELETE FROM users WHERE id = 3",
        "UPDATE claim_requirements SET status = 'approved', claim_requirement_reason = 'grün \\n \\''"
        f" WHERE id = {PASSPORT}",
    )
    world.transaction(
        f"DELETE FROM claim_requirements WHERE id = {PASSPORT}",
        "DELETE FROM claims WHERE id = 10",
        "INSERT INTO claims (id, user_id, status) VALUES (11, 1, 'open')",
    )
    messages = world.finish(reader, 12)
    check_numbers(messages)
    assert all(
        message.lane == lane_of(message.value["lane"]["user_id"], LANES)
        for message in messages
        if message.value["op"] != "h"
    )
    assert {message.value["source"]["db"] for message in messages if message.value["op"] != "h"} == {world.name}
    assert_complete(world)


def test_a_claim_that_moves_to_another_user_is_a_delete_there_and_a_create_here(world: ReaderWorld) -> None:
    world.setup()
    world.execute(
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
        f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ({PASSPORT}, 10, 'pending')",
        "UPDATE claims SET user_id = 2 WHERE id = 10",
        f"UPDATE claim_requirements SET status = 'approved' WHERE id = {PASSPORT}",
    )
    reader = world.reader()
    rows = [message.value for message in world.wait_for_rows(7) if message.value["op"] != "h"]
    assert reader.stop() == 0
    rows.sort(key=lambda row: (row["lane"]["version"], row["transaction"]["total_order"]))
    assert [
        (row["source"]["table"], row["op"], row["lane"]["user_id"], row["lane"].get("ties")) for row in rows[3:]
    ] == [
        ("claim_requirements", "c", 1, None),
        ("claims", "d", 1, {"stays": True}),
        ("claims", "c", 2, {"after": [[lane_of(1, LANES), rows[4]["lane"]["seq"]]]}),
        ("claim_requirements", "u", 2, None),
    ]
    assert lane_of(1, LANES) != lane_of(2, LANES)
    assert_complete(world)


def test_updates_that_change_only_updated_at_are_left_out_where_that_is_set(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader(SKIP_UNCHANGED_UPDATES="true")
    world.execute(
        "INSERT INTO users (id, updated_at) VALUES (1, NOW() - INTERVAL 1 HOUR)",
        "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open')",
    )
    world.transaction("UPDATE users SET updated_at = NOW()", "UPDATE claims SET updated_at = NOW(), user_id = 1")
    world.execute("UPDATE claims SET updated_at = NOW() + INTERVAL 1 HOUR", "UPDATE claims SET status = 'closed'")
    rows = [message.value for message in world.wait_for_rows(3) if message.value["op"] != "h"]
    assert reader.stop() == 0
    check_numbers(world.messages())
    rows.sort(key=lambda row: row["lane"]["version"])
    assert [(row["source"]["table"], row["op"]) for row in rows] == [("users", "c"), ("claims", "c"), ("claims", "u")]


def test_whose_claim_it_is_is_asked_from_the_server_for_claims_from_before_the_stream(world: ReaderWorld) -> None:
    world.execute(
        "INSERT INTO claims (id, user_id, status, updated_at) VALUES (10, 8911, 'open', NULL),"
        " (11, 8912, 'open', NOW() - INTERVAL 1 HOUR), (13, 8913, 'open', NOW())"
    )
    world.setup()
    world.execute(
        "INSERT INTO claim_requirements (id, claim_id, status)"
        " VALUES (UUID(), 10, 'pending'), (UUID(), 11, 'pending'), (UUID(), 12, 'pending'), (UUID(), 13, 'pending')"
    )
    reader = world.reader()
    rows = [message.value for message in world.wait_for_rows(4) if message.value["op"] != "h"]
    assert reader.stop() == 0
    assert sorted((row["after"]["claim_id"], row["lane"]["user_id"]) for row in rows) == [
        (10, 8911),
        (11, 8912),
        (12, None),  # nobody knows whose, so every other lane gets a notice
        (13, 8913),  # changed lately: it may have been another user's where the stream stands, so all get a notice
    ]


def test_killed_again_and_again_it_leaves_no_gap_and_repeats_nothing(world: ReaderWorld) -> None:
    trial = kill_again_and_again(world, kills=12, seed=8911)
    assert trial.rows > 100
    assert trial.advanced


def test_a_transaction_larger_than_a_batch_is_cut_and_survives_kills_inside_of_it(world: ReaderWorld) -> None:
    world.setup()
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for start in range(1, 120_000, 1000):
            cursor.execute(
                "INSERT INTO users (id, email_address) VALUES "
                + ",".join(f"({n}, '{'x' * 90}')" for n in range(start, start + 1000))
            )
        cursor.execute("COMMIT")
    for _ in range(3):
        before = len(world.checkpoints())
        reader = world.reader(READER_BATCH_ROWS="1000").wait_for("reader_connected")
        reader.until(lambda: len(world.checkpoints()) > before, "another checkpoint was committed")  # noqa: B023
        reader.kill()
    assert any(checkpoint.rows for checkpoint in world.checkpoints())
    reader = world.reader(READER_BATCH_ROWS="1000")
    messages = world.finish(reader, 120_000)
    check_numbers(messages)
    rows = [message.value for message in messages if message.value["op"] != "h"]
    assert sorted(row["after"]["id"] for row in rows) == list(range(1, 120_001))
    assert sorted(row["transaction"]["total_order"] for row in rows) == list(range(1, 120_001))
    assert len({row["lane"]["version"] for row in rows}) == 1


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_good_order(world: ReaderWorld, how: signal.Signals, code: int) -> None:
    world.setup()
    load = Load(world)
    load.start()
    reader = world.reader().wait_for("reader_connected")
    world.wait_for_rows(100)
    assert reader.stop(how) == code
    load.end()
    assert reader.lines()[-1]["event"] == "process_stopped"
    check_numbers(world.messages())


def test_on_a_quiet_server_heartbeats_move_every_lane(world: ReaderWorld) -> None:
    started = time.time()
    world.setup()
    reader = world.reader().wait_for("reader_connected")

    def beats() -> list[dict[str, Any]]:
        return [message.value for message in world.messages() if message.value["op"] == "h"]

    until(lambda: len(beats()) >= 3 * LANES, "every lane had three heartbeats", seen=lambda: len(beats()))
    assert reader.stop() == 0
    ended = time.time()
    check_numbers(world.messages())
    versions = [beat["lane"]["version"] / 1e6 for beat in beats()]
    assert max(versions) < ended + 1
    assert max(versions) > started - 1, (
        "a long transaction of another test may have begun before, but not the last beats"
    )


def test_a_second_reader_takes_over_and_the_first_says_so(world: ReaderWorld) -> None:
    world.setup()
    first = world.reader().wait_for("reader_connected")
    second = world.reader(REPLICA_SERVER_ID="4242")
    assert first.wait() == 1
    assert "another reader took over" in first.lines()[-1]["reason"]
    world.execute("INSERT INTO users (id) VALUES (1)")
    world.finish(second, 1)
    assert_complete(world)


def test_a_reader_that_wakes_up_does_not_take_the_binlog_away_from_its_successor(world: ReaderWorld) -> None:
    world.setup()
    rarely = {"READER_HEARTBEAT_SECONDS": "60"}  # nothing but the lost connection tells the first one
    first = world.reader(**rarely).wait_for("reader_connected")
    first.send_signal(signal.SIGSTOP)
    second = world.reader(**rarely).wait_for("reader_connected")
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 1
    assert "another reader took over" in first.lines()[-1]["reason"]
    world.execute("INSERT INTO users (id) VALUES (1)")
    world.finish(second, 1)
    assert len([line for line in second.lines() if line["event"] == "reader_connected"]) == 1
    assert_complete(world)


def test_a_lost_connection_to_the_server_is_said_in_one_line_and_repaired(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader()
    world.execute("INSERT INTO users (id) VALUES (1)")
    world.wait_for_rows(1)
    world.cut_off(reader)
    world.execute("INSERT INTO users (id) VALUES (2)")
    world.finish(reader, 2)
    assert any(line["event"] == "connection_lost" for line in reader.lines())
    assert_complete(world)


def test_without_setup_it_says_what_to_run(world: ReaderWorld) -> None:
    result = world.consumer("read")
    assert result.returncode == 1
    started, failed = result.stderr.splitlines()
    assert '"event": "process_starting"' in started
    assert "run consumer setup" in failed


def test_setup_twice_changes_nothing_and_says_so(world: ReaderWorld) -> None:
    assert "recorded the starting checkpoint" in world.setup()
    before = world.checkpoints()
    assert world.setup() == "everything is set up already; nothing changed\n"
    assert world.setup("--from", "earliest") == "everything is set up already; nothing changed\n"
    assert world.checkpoints() == before


def test_a_stream_that_begins_anew_is_refused_beside_lanes_of_an_older_one(world: ReaderWorld) -> None:
    """Its numbers would all count as repeated until they are past the older one's."""
    world.setup()
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    lost = f"{world.name}.checkpoints"
    admin.delete_topics([lost])[lost].result(30)
    until(lambda: lost not in admin.list_topics(timeout=30).topics, "the topic was gone")
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE leadstream.lanes SET next_seq = 70 WHERE lane = 1")
        result = world.consumer("setup")
        assert result.returncode == 1
        assert "run DELETE FROM leadstream.lanes" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert world.checkpoints() == []
        connection.execute("DELETE FROM leadstream.lanes")
    said = world.setup()
    assert f"added {LANES} lanes" in said
    assert "recorded the starting checkpoint" in said


def test_other_lanes_than_the_topics_have_are_refused(world: ReaderWorld) -> None:
    world.setup()
    result = world.consumer("setup", LANES="5")
    assert result.returncode == 1
    assert f"set LANES={LANES}" in result.stderr


def test_a_topic_that_would_lose_changes_is_refused(world: ReaderWorld) -> None:
    world.setup()
    world.alter_topic("users", "cleanup.policy", "compact")
    result = world.consumer("setup")
    assert result.returncode == 1
    assert "kafka-configs.sh --alter --add-config cleanup.policy=delete" in result.stderr
    world.alter_topic("users", "cleanup.policy", "delete")
    world.alter_topic("users", "retention.ms", "3600000")
    result = world.consumer("setup")
    assert result.returncode == 1
    assert "retention.ms=3600000, which keeps changes for 1 hours, and TOPIC_RETENTION_HOURS is 168" in result.stderr


def test_from_earliest_reads_what_was_there_before(flavor: str) -> None:
    servers = ensure(("kafka", "postgres"))
    with (
        servers.private_mysql() if flavor == "mysql" else servers.private_mariadb() as server,
        ReaderWorld(flavor, server.url) as world,
    ):
        world.execute("INSERT INTO users (id) VALUES (1), (2)", "DELETE FROM users WHERE id = 1")
        world.setup("--from", "earliest")
        reader = world.reader()
        world.finish(reader, 3)
        assert_complete(world)


def test_a_server_and_a_broker_that_are_restarted_are_found_again() -> None:
    servers = ensure(("postgres",))
    with (
        servers.private_mysql() as server,
        servers.private_kafka() as kafka,
        ReaderWorld("mysql", server.url, kafka.url) as world,
    ):
        world.setup()
        reader = world.reader()
        world.execute("INSERT INTO users (id) VALUES (1)")
        world.wait_for_rows(1)
        server.kill()
        server.start()
        world.execute("INSERT INTO users (id) VALUES (2)")
        world.wait_for_rows(2)
        kafka.kill()
        world.execute("INSERT INTO users (id) VALUES (3)")
        kafka.start()
        world.execute("INSERT INTO users (id) VALUES (4)")
        world.wait_for_rows(4)
        kafka.kill()
        world.execute("INSERT INTO users (id) VALUES (5)")
        reader.wait_for("server_away")
        assert reader.stop() == 0
        kafka.start()
        world.finish(world.reader(), 5)
        assert_complete(world)


def test_a_reader_that_starts_while_kafka_is_away_says_why_and_ends_when_asked_to(world: ReaderWorld) -> None:
    reader = world.reader(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1").wait_for("server_away")
    (away,) = (line for line in reader.lines() if line["event"] == "server_away")
    assert "Connection refused" in away["reason"]
    assert reader.stop() == 0


def test_a_dry_run_prints_the_messages_and_sends_none(world: ReaderWorld) -> None:
    world.setup()
    world.execute("INSERT INTO users (id) VALUES (1), (2)")
    printer = world.reader("--dry-run")

    def printed() -> list[dict[str, Any]]:
        return [line for line in printer.lines() if "after" in line]

    printer.until(lambda: len(printed()) >= 2, "two rows were printed")
    assert printer.stop() == 0
    assert [row["after"]["id"] for row in printed()] == [1, 2]
    assert world.messages() == []


def test_only_captured_columns_leave_the_server(world: ReaderWorld) -> None:
    world.setup()
    world.execute(
        "INSERT INTO users (id, email_address, password, date_of_birth) VALUES (1, 'x@y', 'geheim', '1970-01-01')"
    )
    reader = world.reader()
    messages = world.finish(reader, 1)
    rows = [message.value["after"] for message in messages if message.value["op"] != "h"]
    assert [set(row) for row in rows] == [{"id", "current_signature_file_id", "is_enabled", "created_at", "updated_at"}]


def test_a_metrics_port_that_is_taken_ends_the_reader_with_one_sentence(world: ReaderWorld) -> None:
    world.setup()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = world.consumer("read", METRICS_PORT=str(port))
    assert ended.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in ended.stderr
    assert "set METRICS_HOST and METRICS_PORT to a free address" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_prometheus_is_told_what_was_read(world: ReaderWorld) -> None:
    port = free_port()
    world.setup()
    reader = world.reader(METRICS_PORT=str(port)).wait_for("reader_connected")
    world.execute("INSERT INTO users (id) VALUES (1), (2)", "UPDATE users SET is_enabled = 0 WHERE id = 1")
    world.wait_for_rows(3)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        told = answer.read().decode()
    reader.stop()
    assert (
        f'leadstream_rows_total{{deployment="{world.name}",operation="c",process="reader",table="users"}} 2.0' in told
    )
    assert (
        f'leadstream_rows_total{{deployment="{world.name}",operation="u",process="reader",table="users"}} 1.0' in told
    )
    lag = re.search(r'leadstream_lag_seconds{.*process="reader"} ([0-9.e-]+)', told)
    assert lag is not None
    assert float(lag[1]) < 10


def test_rows_that_the_binlog_does_not_hold_are_a_notice_to_every_lane(world: ReaderWorld) -> None:
    world.setup()
    world.execute(
        "INSERT INTO users (id) VALUES (1)",
        "ALTER TABLE claim_requirements ADD COLUMN colour INT",  # no row comes or goes
        "TRUNCATE TABLE claim_requirements",
        "ALTER TABLE claims DROP COLUMN status, ADD COLUMN status VARCHAR(20) DEFAULT 'cancelled'",
    )
    world.execute("SET SESSION binlog_format = 'STATEMENT'", "UPDATE users SET is_enabled = 0")
    world.execute("INSERT INTO users (id) VALUES (2)")
    reader = world.reader()
    messages = world.finish(reader, 2)
    check_numbers(messages)
    notices = [(m.value["lane"]["recheck"], m.topic, m.lane) for m in messages if "recheck" in m.value["lane"]]
    assert sorted(notices) == [
        (f"{what}: rows not in the binlog", "heartbeats", lane)
        for what in ("MODIFY of claims", "TRUNCATE of claim_requirements", "UPDATE of users")
        for lane in range(LANES)
    ]


def test_a_column_that_disappears_ends_it_with_a_sentence_and_it_does_not_start_without(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader()
    world.execute("INSERT INTO claims (id, user_id, status) VALUES (1, 5, 'open')")
    world.wait_for_rows(1)
    world.execute(
        "ALTER TABLE claims DROP COLUMN lender, DROP COLUMN created_at",
        "INSERT INTO claims (id, user_id, status) VALUES (2, 5, 'open')",
    )
    world.wait_for_rows(2)
    world.execute(
        "ALTER TABLE claims RENAME COLUMN status TO state",
        "INSERT INTO claims (id, user_id, state) VALUES (3, 5, 'cancelled')",
    )
    assert reader.wait() == 1
    assert re.search(
        rf"cannot be read: {world.name}.claims has no column status here",
        reader.lines()[-1]["reason"],
    )
    rows = [message.value["after"] for message in world.messages() if message.value["op"] != "h"]
    assert [(row["id"], row["status"], "created_at" in row) for row in rows] == [(1, "open", True), (2, "open", False)]
    again = world.consumer("read")
    assert again.returncode == 1
    assert f"{world.name}.claims has no column status" in again.stderr


PASSED_OVER = "binlogs_purged"


def test_purged_binlogs_end_it_or_are_passed_over_with_a_notice_to_every_lane(flavor: str) -> None:
    servers = ensure(("kafka", "postgres"))
    private = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
    with private() as server, ReaderWorld(flavor, server.url) as world:
        world.setup()
        reader = world.reader()
        world.execute("INSERT INTO users (id) VALUES (1)")
        world.wait_for_rows(1)
        reader.stop()
        world.execute("INSERT INTO users (id) VALUES (2)", "FLUSH BINARY LOGS")
        with world.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW BINARY LOGS")
            newest = cursor.fetchall()[-1][0]

            def purged() -> bool:  # a server keeps what it is still sending to a reader that just left
                cursor.execute(f"PURGE BINARY LOGS TO '{newest}'")
                cursor.execute("SHOW BINARY LOGS")
                return bool(cursor.fetchall()[0][0] == newest)

            until(purged, f"what is older than {newest} was purged")
        failed = world.reader()
        assert failed.wait() == 1
        assert any("ON_PURGED=reconcile" in line.get("reason", "") for line in failed.lines())
        reader = world.reader(ON_PURGED="reconcile")
        reader.wait_for(PASSED_OVER)
        world.execute("INSERT INTO users (id) VALUES (3)")
        messages = world.finish(reader, 2)
        check_numbers(messages)
        assert [m.value["after"]["id"] for m in messages if m.value["op"] != "h"] in ([1, 3], [3, 1])
        notices = [(m.value["lane"]["recheck"], m.lane) for m in messages if "recheck" in m.value["lane"]]
        assert sorted(notices) == [("binlogs were purged before they were read", lane) for lane in range(LANES)]


def test_a_dry_run_of_a_range_prints_that_range_and_ends(world: ReaderWorld) -> None:
    world.setup()
    places = []
    for user in (1, 2, 3):
        with world.connection() as connection, closing(Replica(MySQLAddress(world.mysql_url))) as replica:
            places.append(replica.binlog_end())
            connection.cursor().execute(f"INSERT INTO users (id) VALUES ({user})")
    ends = [f"{file}:{pos}" for file, pos, _ in places]
    for begin in (ends[1], places[1][2]):
        printed = world.consumer("read", "--dry-run", "--from", begin, "--to", ends[2])
        assert printed.returncode == 0, printed.stderr
        assert [json.loads(line)["after"]["id"] for line in printed.stdout.splitlines()] == [2]
    assert world.consumer("read", "--to", ends[2]).returncode == 2
    assert world.consumer("read", "--dry-run", "--from", "yesterday").returncode == 2
