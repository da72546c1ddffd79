"""`consumer audit` where one side is not all there: rolled back, prepared, purged, deleted, skipped, moved."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.audit import audit as auditing
from consumer.audit.audit import Audit, Times
from consumer.binlog.position import ordered_position
from consumer.mysql.session import Replica
from consumer.settings import KafkaSettings, MySQLAddress, ReplicaSettings, load
from tests.integration.reader.audit.test_audit import audit, played, produce
from tests.integration.reader.test_moving import source_and_replica, wait_for
from tests.integration.reader.world import ReaderWorld
from tests.servers import ensure
from tests.support.company_tables import key
from tests.support.waiting import until

pytestmark = pytest.mark.servers


@contextmanager
def reading(world: ReaderWorld, **more: str) -> Iterator[None]:
    """A reader that has read all that was written in this block at its end."""
    world.setup()
    reader = world.reader(**more)
    world.wait_for_beats()
    yield
    world.wait_for_end()
    assert reader.stop() == 0


def beat(world: ReaderWorld) -> int:
    """When (ms since 1970) a heartbeat said that all is read that the server has now."""
    with closing(Replica(MySQLAddress(world.mysql_url))) as replica:
        end = ordered_position(*replica.binlog_position())

    def stands() -> int:
        beats = (message.value for message in world.messages() if message.lane == 0)
        behind = [
            beat["ts_ms"]
            for beat in beats
            if (at := beat["source"]).get("server") and ordered_position(at["file"], at["pos"]) >= end
        ]
        return min(behind, default=0)

    until(lambda: stands() > 0, "a heartbeat says where the stream stands", seen=lambda: "", pause=0.2)
    return stands()


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def look(
    world: ReaderWorld, monkeypatch: pytest.MonkeyPatch, times: Times, progress: auditing.OnProgress | None = None
) -> Audit:
    """An audit in this process."""
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    return auditing.audit(load(ReplicaSettings), load(KafkaSettings), times, progress or (lambda *_: None))


@pytest.mark.parametrize("flavor", ["mariadb"])
def test_what_a_logged_transaction_undid_is_not_missing_and_every_lane_is_read_live(world: ReaderWorld) -> None:
    """MySQL logs such a ROLLBACK in statement format only, MariaDB where the transaction created a temporary table."""
    world.execute(
        "ALTER TABLE claim_requirements ENGINE = MyISAM",
        "CREATE TRIGGER required AFTER INSERT ON claims FOR EACH ROW"
        " INSERT INTO claim_requirements (id, claim_id, status) VALUES (UUID(), NEW.id, 'pending')",
    )
    insert = "INSERT INTO claims (id, user_id, status) VALUES ({0}, {0}, 'open')"
    with reading(world):
        temporary = "CREATE TEMPORARY TABLE some (id INT)"
        world.execute("BEGIN", temporary, *(insert.format(number) for number in (1, 2)), "ROLLBACK")
        world.execute("INSERT INTO users (id) VALUES (9)")
        world.transaction(
            insert.format(3), "SAVEPOINT `a``b`", insert.format(4), "ROLLBACK TO `A``b`", insert.format(5)
        )
    assert len(world.rows("claim_requirements")) == 5  # MyISAM keeps what InnoDB takes back
    found = audit(world, 0)
    assert (found["rows"], found["messages"], found["rolled_back"]) == (2 + 1 + 5, 2 + 1 + 5, 1)
    asked = [message for message in world.messages() if message.value["lane"].get("recheck")]
    assert sorted(m.lane for m in asked if m.value["lane"]["recheck"].startswith("ROLLBACK")) == [0, 1, 2, 3]
    undone = [m.value["lane"]["user_id"] for m in asked if "ROLLBACK TO" in m.value["lane"]["recheck"]]
    assert 4 in undone


def delete_before(world: ReaderWorld, topic: str, lane: int, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    for deleted in admin.delete_records([TopicPartition(f"{world.name}.{topic}", lane, offset)]).values():
        deleted.result(30)


def test_progress_counts_from_where_the_binlog_is_read(world: ReaderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a minute before the stretch."""
    told: list[tuple[int, int]] = []

    def seen(what: str, done: int, total: int) -> None:
        if what == "binlog":
            told.append((done, total))

    with reading(world):
        world.execute("INSERT INTO users (id) VALUES (1)", "INSERT INTO users (id) VALUES (2)")
        later = beat(world)
        world.execute("INSERT INTO users (id) VALUES (3)")
        beat(world)
    assert look(world, monkeypatch, Times(later, None), seen).rows == 1
    assert len(told) >= 3
    assert all(0 <= done <= total for done, total in told), told


def test_messages_that_kafka_deleted_cannot_be_judged_and_later_ones_can(world: ReaderWorld) -> None:
    with reading(world):
        world.execute(*(f"INSERT INTO users (id) VALUES ({number})" for number in range(1, 41)))
    lanes = {lane: [m for m in world.messages() if m.topic == "users" and m.lane == lane] for lane in range(4)}
    lane, messages = max(lanes.items(), key=lambda item: len(item[1]))
    assert len(messages) > 4
    delete_before(world, "users", lane, 2)
    left = [m for m in world.messages() if m.topic == "users" and m.lane == lane]
    found = audit(world, 4)
    assert (found["unjudged"], found["differences"]) == (len(messages) - len(left), 0)
    assert any(f"{found['unjudged']} rows and messages cannot be judged" in gap for gap in found["gaps"])
    produce(world, "users", lane, left[-1].key, left[-1].value)
    found = audit(world, 3)
    assert [each["what"] for each in found["shown"]] == ["twice"]
    delete_before(world, "users", lane, -1)
    found = audit(world, 4)
    assert (found["unjudged"], found["differences"]) == (len(messages), 0)


def newest_file(world: ReaderWorld) -> str:
    with closing(Replica(MySQLAddress(world.mysql_url))) as replica:
        return replica.binlog_position()[0]


def purge(world: ReaderWorld) -> None:
    """Purges all binlogs but the newest."""
    newest = newest_file(world)
    with world.connection() as connection, connection.cursor() as cursor:

        def purged() -> bool:  # a server keeps what it is still sending
            cursor.execute(f"PURGE BINARY LOGS TO '{newest}'")
            cursor.execute("SHOW BINARY LOGS")
            return bool(cursor.fetchall()[0][0] == newest)

        until(purged, f"what is older than {newest} was purged")


def test_purged_binlogs_cannot_be_judged(flavor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = ensure(("kafka", "postgres"))
    private = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
    with private() as server, ReaderWorld(flavor, server.url) as world:
        with reading(world):
            world.execute("INSERT INTO users (id) VALUES (1), (2)", "FLUSH BINARY LOGS")
            first = moment(beat(world))
            world.execute("INSERT INTO users (id) VALUES (3), (4), (5)", "FLUSH BINARY LOGS")
            beat(world)
            world.execute("INSERT INTO users (id) VALUES (6)")
            beat(world)
        (real,) = [m for m in world.messages() if m.topic == "users" and m.value["after"]["id"] == 4]
        produce(world, "users", real.lane, real.key, real.value)

        def purging(what: str, _done: int, _total: int) -> None:
            if what == "messages":
                purge(world)

        found = look(world, monkeypatch, Times(0, None), purging)
        assert (found.rows, found.messages, found.differences) == (6, 7, 0)
        assert "cannot be judged" in found.gaps[0]
        told = audit(world, 4)
        assert (told["rows"], told["messages"], told["unjudged"], told["differences"]) == (1, 1, 6, 0)
        assert "is purged; what is older cannot be judged" in told["gaps"][0]
        then = first + timedelta(milliseconds=1)  # before the file began that is still there
        over = world.consumer(
            "audit", "--from", f"{first:%Y-%m-%dT%H:%M:%S.%f}", "--to", f"{then:%Y-%m-%dT%H:%M:%S.%f}"
        )
        assert over.returncode == 1, over.stdout
        assert "is purged, and the stretch ends before" in over.stderr
        world.execute("FLUSH BINARY LOGS")
        purge(world)
        done = world.consumer("audit")
        assert done.returncode == 1
        assert "there is no binlog to read" in done.stderr


def test_an_event_that_the_reader_was_told_to_skip_has_a_notice_in_its_place(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader()
    world.wait_for_beats()
    world.execute(
        "INSERT INTO users (id) VALUES (1)",
        f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(1)}', 10, 'pending')",
        "ALTER TABLE claim_requirements DROP COLUMN status",
        "UPDATE claim_requirements SET type = 'x'",
    )
    assert reader.wait() == 1
    (skip,) = re.findall(r"consumer (read --skip-event \S+:\d+) ", reader.lines()[-1]["reason"])
    world.execute(
        "ALTER TABLE claim_requirements ADD COLUMN status VARCHAR(191) NOT NULL DEFAULT 'approved'",
        "INSERT INTO users (id) VALUES (2)",
    )
    reader = world.reader(*skip.split()[1:])
    world.wait_for_end()
    assert reader.stop() == 0
    found = audit(world, 0)
    assert (found["rows"], found["messages"], found["noticed"], found["differences"]) == (4, 3, 1, 0)


def test_after_a_move_to_another_replica_what_came_before_is_not_judged(flavor: str) -> None:
    with source_and_replica(flavor) as (first, second), ReaderWorld(flavor, first.url) as world:
        played(world)
        wait_for(flavor, second.url, world.checkpoints()[-1].gtid_set)
        there = {"REPLICA_DATABASE_URL": urlsplit(second.url)._replace(path=f"/{world.name}").geturl()}
        done = world.consumer("audit", **there)
        assert done.returncode == 1
        assert "is not the server that the reader reads" in done.stderr
        reader = world.reader(**there).wait_for("reader_connected")
        time.sleep(2)  # a few heartbeats
        world.execute("INSERT INTO users (id) VALUES (200), (201)")
        reader.until(lambda: {200, 201} <= ids(world), "the rows of the other server arrived")
        time.sleep(2)
        assert reader.stop() == 0
        found = audit(world, 4, **there)
        assert (found["rows"], found["messages"], found["differences"]) == (2, 2, 0)
        assert "begins at" in found["gaps"][0]
        assert world.consumer("audit").returncode == 1


def test_after_a_reset_what_came_before_is_not_judged(flavor: str) -> None:
    servers = ensure(("kafka", "postgres"))
    private = servers.private_mysql if flavor == "mysql" else servers.private_mariadb
    with private() as server, ReaderWorld(flavor, server.url) as world:
        with reading(world):
            world.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "INSERT INTO users (id) VALUES (1), (2)")
            beat(world)
        world.execute("RESET BINARY LOGS AND GTIDS" if flavor == "mysql" else "RESET MASTER")
        world.setup("--repair", "--from", "now")
        reader = world.reader()
        until(lambda: stands_in(world) == newest_file(world), "a heartbeat said so", pause=0.2)
        world.execute("INSERT INTO users (id) VALUES (3), (4), (5)")
        world.wait_for_end()
        assert reader.stop() == 0
        found = audit(world, 4)
        assert (found["rows"], found["messages"], found["differences"]) == (3, 3, 0)
        assert "begins at" in found["gaps"][0]


def stands_in(world: ReaderWorld) -> str:
    """The file in which the stream stood at the newest heartbeat."""
    beats = [m.value["source"] for m in world.messages() if m.lane == 0 and m.value["source"].get("server")]
    return str(beats[-1]["file"])


def ids(world: ReaderWorld) -> set[int]:
    return {m.value["after"]["id"] for m in world.messages() if m.topic == "users" and m.value["after"]}


@pytest.mark.parametrize("flavor", ["mariadb"])
def test_a_table_whose_type_the_library_misreads_is_named(world: ReaderWorld) -> None:
    world.execute("ALTER TABLE claim_requirements MODIFY id UUID NOT NULL")
    with reading(world):
        world.execute(
            "INSERT INTO users (id) VALUES (1)",
            f"INSERT INTO claim_requirements (id, claim_id, status) VALUES ('{key(1)}', 10, 'pending')",
        )
    found = audit(world, 4)
    assert (found["rows"], found["messages"], found["differences"]) == (1, 1, 0)
    assert "claim_requirements was not looked at: mysql-replication cannot read its column id (UUID)" in found["gaps"]
