"""A company's database, topics and a reader of its own, and what came out of the topics."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psutil
import pymysql
from pymysql.cursors import Cursor

from consumer.binlog.position import ordered_position
from consumer.leads.model import Table
from consumer.mysql.login import login
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress
from consumer.stream.checkpoint import Checkpoint, decode
from consumer.stream.topics import LANE_TOPICS
from tests.servers import ensure
from tests.support.processes import Process
from tests.support.topic_settings import alter_topic
from tests.support.waiting import until
from tests.support.world import ProcessWorld
from tests.whole_topics import messages_of

LANES = 4
CANNOT_CONVERT = 3854


class Message(NamedTuple):
    """One message of a lane."""

    topic: str
    lane: int
    key: str
    value: dict[str, Any]


class ReaderWorld(ProcessWorld):
    """A company on either server, readers of it, and what they have written; nothing is set up."""

    def __init__(self, flavor: str, mysql: str | None = None, kafka: str | None = None) -> None:
        """`mysql`, a MariaDB where that is the flavor, and `kafka` are named where they are not the shared ones."""
        servers = ensure(("mysql" if flavor == "mysql" else "mariadb", "kafka", "postgres"))
        super().__init__(
            "reader",
            postgres=servers.postgres_url,
            mysql=mysql or (servers.mysql_url if flavor == "mysql" else servers.mariadb_url),
            kafka=kafka or servers.kafka_bootstrap,
            lanes=LANES,
            READER_HEARTBEAT_SECONDS="0.4",
        )
        self.readers: list[Process] = []

    @contextmanager
    def connection(self) -> Iterator[pymysql.connections.Connection[Cursor]]:
        """A session in the company's database, with autocommit."""
        with closing(login(MySQLAddress(self.mysql_url), 10, 60)) as connection:
            yield connection

    def execute(self, *statements: str) -> None:
        """Each statement a transaction of its own."""
        with self.connection() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def transaction(self, *statements: str) -> None:
        """All statements as one transaction."""
        self.execute("BEGIN", *statements, "COMMIT")

    def rows(self, table: str) -> dict[int | str, dict[str, Any]]:
        """The captured, timeless columns of a table by id."""
        columns = {
            "users": "id, current_signature_file_id, is_enabled",
            "claims": "id, user_id, status",
            "claim_requirements": "id, claim_id, type, status, claim_requirement_reason",
        }[table]
        with self.connection() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(f"SELECT {columns} FROM {table}")
            return {row["id"]: row for row in cursor.fetchall()}

    def consumer(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs `consumer …` to its end."""
        return self.processes.run("consumer", *arguments, **more)

    def setup(self, *arguments: str) -> str:
        """`consumer setup`, and what it said."""
        result = self.consumer("setup", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def reader(self, *options: str, **more: str) -> Process:
        """Starts `consumer read`."""
        self.readers.append(self.processes.start("consumer", "read", *options, **more))
        return self.readers[-1]

    def applier(self, **more: str) -> Process:
        """Starts `consumer apply`."""
        return self.processes.start("consumer", "apply", **more)

    @contextmanager
    def pipeline(self) -> Iterator[Process]:
        """Reader and applier at work; the applier is gone at the end, and had not ended by itself."""
        self.setup()
        self.reader()
        applier = self.applier()
        yield applier
        applier.check()
        applier.end()

    def reconciler(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs `reconciler …` to its end."""
        return self.processes.run("reconciler", *arguments, **more)

    def alter_topic(self, name: str, key: str, value: str) -> None:
        """Changes one setting of one of our topics."""
        alter_topic(self.bootstrap, f"{self.name}.{name}", key, value)

    def cut_off(self, reader: Process) -> None:
        """Has the server end the reader's stream."""
        ports = {connection.laddr.port for connection in psutil.Process(reader.pid).net_connections()}
        with self.connection() as connection, connection.cursor() as cursor:
            for number, host in self._dumps(cursor):
                if ":" in host and int(host.rpartition(":")[2]) in ports:
                    cursor.execute(f"KILL {number}")

    @staticmethod
    def _dumps(cursor: Cursor) -> list[tuple[int, str]]:
        """Connections that read the binlog; asked again where another statement's text defeats MySQL."""
        while True:
            try:
                cursor.execute("SELECT id, host FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
            except pymysql.err.OperationalError as error:
                if error.args[0] != CANNOT_CONVERT:
                    raise
            else:
                return list(cursor.fetchall())

    def messages(self) -> list[Message]:
        """Every committed message of the lanes, in each lane in the order of its numbers."""
        found = [
            Message(topic.removeprefix(f"{self.name}."), lane, key.decode(), json.loads(value))
            for topic, lane, key, value in self._raw(
                [(f"{self.name}.{name}", n) for name in LANE_TOPICS for n in range(LANES)]
            )
        ]
        return sorted(found, key=lambda message: (message.lane, message.value["lane"]["seq"]))

    def _raw(self, partitions: list[tuple[str, int]]) -> Iterator[tuple[str, int, bytes, bytes]]:
        """Every committed message of some partitions, as far as they reach when they are asked."""
        for message in messages_of({"bootstrap.servers": self.bootstrap}, partitions):
            topic, partition = str(message.topic()), int(message.partition() or 0)
            yield topic, partition, message.key() or b"", message.value() or b""

    def checkpoints(self) -> list[Checkpoint]:
        """Every committed checkpoint that compaction left."""
        return [decode(value) for _, _, _, value in self._raw([(f"{self.name}.checkpoints", 0)])]

    def wait_for_rows(self, count: int) -> list[Message]:
        """All messages, once at least `count` rows are among them."""
        found: list[Message] = []

        def arrived() -> bool:
            found[:] = self.messages()
            return bool(sum(message.value["op"] != "h" for message in found) >= count)

        until(arrived, f"{count} rows arrived", seen=lambda: f"{len(found)} messages", pause=0.2)
        return found

    def wait_for_beats(self) -> None:
        """Until a heartbeat of every lane has said where the stream stands."""

        def heard() -> bool:
            lanes = {message.lane for message in self.messages() if message.value["source"].get("server")}
            return len(lanes) == LANES

        until(heard, "the reader says where it stands", seen=lambda: "", pause=0.2)

    def wait_for_end(self) -> None:
        """Until the reader's checkpoint has come to where the server's binlog ends now."""
        with closing(Replica(MySQLAddress(self.mysql_url))) as replica:
            end = ordered_position(*replica.binlog_position())

        def there() -> bool:
            last = self.checkpoints()[-1]
            return ordered_position(last.file, last.pos) >= end

        until(there, "the reader has read all", seen=lambda: str(self.checkpoints()[-1:]), pause=0.2)

    def finish(self, reader: Process, rows: int) -> list[Message]:
        """All messages, once at least so many rows have arrived and the reader has ended as it was asked to.

        While it works, what is read of one partition may be older than what is read of another.
        """
        self.wait_for_rows(rows)
        assert reader.stop() == 0
        return self.messages()


def check_numbers(messages: list[Message]) -> None:
    """Each lane counts from 1 without gap or repeat, versions never fall, and every transaction ends once."""
    for lane in range(LANES):
        blocks = [message.value["lane"] for message in messages if message.lane == lane]
        assert [block["seq"] for block in blocks] == list(range(1, len(blocks) + 1))
        versions = [block["version"] for block in blocks]
        assert versions == sorted(versions)
        open_version = None
        for block in blocks:
            assert open_version is None or open_version == block["version"]
            open_version = None if block["last"] else block["version"]


def replay(messages: list[Message]) -> dict[str, dict[int | str, dict[str, Any]]]:
    """What the rows amount to in the order of their transactions: the tables as they can be rebuilt."""
    tables: dict[str, dict[int | str, dict[str, Any]]] = {table.value: {} for table in Table}
    rows = {
        (message.value["lane"]["version"], message.value["transaction"]["total_order"]): message
        for message in messages
        if message.value["op"] != "h"
    }
    for _, message in sorted(rows.items()):
        before, after = message.value["before"], message.value["after"]
        table = tables[message.topic]
        if after is None:
            del table[before["id"]]
        else:
            table[after["id"]] = {key: value for key, value in after.items() if key not in ("created_at", "updated_at")}
    return tables
