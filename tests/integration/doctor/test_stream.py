"""The doctor as a command, Kafka and PostgreSQL repaired by what it prints, and its quick part before a start."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from consumer.settings import KafkaSettings
from consumer.stream import topics
from tests.integration.doctor.conftest import findings
from tests.integration.reader.world import ReaderWorld
from tests.servers import ensure
from tests.support.waiting import until

pytestmark = pytest.mark.servers


def shell(command: str, world: ReaderWorld, tools: Path) -> None:
    """Runs a printed command where Kafka's tools are on the PATH."""
    env = world.environment(PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(["bash", "-ec", command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stream_that_was_set_up_is_found_well(world: ReaderWorld) -> None:
    before = world.consumer("doctor")
    assert before.returncode == 1
    assert "kafka, topics:\n  consumer setup\n" in before.stdout
    world.setup()
    after = world.consumer("doctor", "--json")
    assert after.returncode == 0, after.stdout
    assert findings(after).keys() <= {"kafka replication"}  # one broker has one copy
    counts = json.loads(after.stdout)["counts"]
    assert counts["failed"] == 0
    assert counts["ok"] > 40


def test_topics_are_repaired_by_the_printed_commands(world: ReaderWorld, tools: Path) -> None:
    world.setup()
    world.alter_topic("claims", "cleanup.policy", "compact")
    world.alter_topic("users", "retention.ms", "3600000")
    world.alter_topic("claims", "min.insync.replicas", "2")
    more = {"LANES": "5"}
    found = findings(world.consumer("doctor", "--json", **more))
    assert found["kafka partitions"]["hint"] == "export LANES=4"
    assert found["postgres lanes"]["hint"] == "export LANES=4"
    found = findings(world.consumer("doctor", "--json"))
    assert found.keys() - {"kafka replication"} == {
        "kafka cleanup.policy", "kafka retention", "kafka min.insync.replicas",
    }  # fmt: skip
    assert "claims can never be written" in found["kafka min.insync.replicas"]["sentence"]
    read = world.consumer("read")
    assert read.returncode == 1
    assert "cleanup.policy=compact, which would lose changes" in read.stderr
    for name in ("kafka cleanup.policy", "kafka retention", "kafka min.insync.replicas"):
        shell(found[name]["hint"], world, tools)
    assert findings(world.consumer("doctor", "--json")).keys() <= {"kafka replication"}


def test_the_topic_of_conversions_is_made_and_looked_at_where_it_is_wanted(world: ReaderWorld, tools: Path) -> None:
    world.setup()
    wanted = {"PUBLISH_CONVERSIONS": "true"}
    found = findings(world.consumer("doctor", "--json", **wanted))
    assert found["kafka topics"]["sentence"] == f"there is no topic {world.name}.conversions"
    stream = KafkaSettings(
        kafka_bootstrap_servers=world.bootstrap, topic_prefix=world.name, lanes=4, publish_conversions=True
    )
    assert topics.check(stream).missing == [], "the stream does without"
    setup = world.consumer("setup", **wanted)
    assert f"created topic {world.name}.conversions" in setup.stdout
    assert findings(world.consumer("doctor", "--json", **wanted)).keys() <= {"kafka replication"}
    world.alter_topic("conversions", "retention.ms", "3600000")
    assert findings(world.consumer("doctor", "--json", **wanted)).keys() <= {"kafka replication"}, "that is its owner's"
    world.alter_topic("conversions", "cleanup.policy", "compact")
    found = findings(world.consumer("doctor", "--json", **wanted))
    assert found["kafka cleanup.policy"]["sentence"].startswith(f"{world.name}.conversions has cleanup.policy=compact")
    shell(found["kafka cleanup.policy"]["hint"], world, tools)
    assert findings(world.consumer("doctor", "--json", **wanted)).keys() <= {"kafka replication"}
    assert findings(world.consumer("doctor", "--json")).keys() <= {"kafka replication"}


def test_a_database_is_repaired_by_the_printed_statements(world: ReaderWorld) -> None:
    world.setup()
    owner = urlsplit(world.postgres_url)
    role = f"{world.name}_least"
    least = owner._replace(netloc=f"{role}:least@{owner.hostname}:{owner.port}").geturl()
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN PASSWORD 'least'",
            "ALTER TABLE user_call_scores DROP COLUMN last_reset_date",
            "ALTER TABLE user_call_scores ADD COLUMN region int NOT NULL",
            "ALTER TABLE user_call_scores DROP CONSTRAINT user_call_scores_user_id_key CASCADE",
            "DROP INDEX idx_user_call_scores_queue_type_last_call",
            "DROP INDEX idx_call_queue_user_status",
            "DROP INDEX ix_conversions_user_id",
        ):
            connection.execute(statement.encode())
        apply = world.consumer("apply", DATABASE_URL=least)
        assert apply.returncode == 1
        assert f"GRANT SELECT, INSERT ON conversions TO {role}" in apply.stderr
        before = {
            name for name in findings(world.consumer("doctor", "--json", DATABASE_URL=least)) if "kafka" not in name
        }
        assert {
            "postgres privileges on conversions", "postgres columns of user_call_scores",
            "postgres rows of user_call_scores", "postgres key of user_call_scores", "postgres score index",
            "postgres index of call_queue", "postgres index of conversions",
        } <= before  # fmt: skip
        for _ in range(2):  # some things are seen only when we may look
            for name, check in findings(world.consumer("doctor", "--json", DATABASE_URL=least)).items():
                if name.startswith("postgres"):
                    for statement in check["hint"].split("; "):
                        connection.execute(statement.encode())
        left = findings(world.consumer("doctor", "--json", DATABASE_URL=least))
        assert not [name for name in left if name.startswith("postgres")]
        connection.execute("DROP TABLE call_queue CASCADE")
        connection.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on".encode())
        left = findings(world.consumer("doctor", "--json", DATABASE_URL=least))
        assert left["postgres call_queue"]["hint"] == "consumer setup"
        assert left["postgres writable"]["hint"] == "set DATABASE_URL to the primary server"
        assert world.consumer("apply", DATABASE_URL=least).returncode == 1
        connection.execute(f"ALTER ROLE {role} RESET default_transaction_read_only".encode())
        assert world.consumer("setup").returncode == 0
        connection.execute(f"GRANT SELECT, INSERT, UPDATE ON call_queue TO {role}".encode())
        connection.execute("UPDATE leadstream.alembic_version SET version_num = '0000'")
        left = findings(world.consumer("doctor", "--json", DATABASE_URL=least))
        assert left["postgres migrations"]["hint"] == "consumer setup"
        connection.execute("UPDATE leadstream.alembic_version SET version_num = '9999'")
        newer = findings(world.consumer("doctor", "--json", DATABASE_URL=least))["postgres migrations"]
        assert (newer["state"], "newer than our" in newer["sentence"]) == ("warning", True)
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())


def test_setup_and_reader_refuse_a_server_without_metadata_and_go_on_once_the_statement_was_run() -> None:
    with (
        ensure(()).private_mysql(["--binlog-row-metadata=MINIMAL"]) as server,
        ReaderWorld("mysql", server.url) as world,
    ):
        for command in ("setup", "read"):
            refused = world.consumer(command)
            assert refused.returncode == 1
            assert "binlog_row_metadata is MINIMAL" in refused.stderr
            assert "SET PERSIST binlog_row_metadata = 'FULL'" in refused.stderr
            world.execute("SET PERSIST binlog_row_metadata = 'FULL'")
            if command == "setup":
                world.setup()
                world.execute("SET PERSIST binlog_row_metadata = 'MINIMAL'")
        world.reader().wait_for("reader_connected")


def test_a_reader_that_never_rests_keeps_nobody_from_being_told_where_it_stands(world: ReaderWorld) -> None:
    world.setup()
    world.reader(READER_HEARTBEAT_SECONDS="0.05").wait_for("reader_connected")
    for command in ("status", "doctor"):
        assert "reader" in world.consumer(command).stdout


def test_servers_that_are_away_are_waited_for_and_not_refused(world: ReaderWorld) -> None:
    world.setup()
    nowhere = "mysql://nobody:nothing@127.0.0.1:1/company"
    reader = world.reader(REPLICA_DATABASE_URL=nowhere)
    reader.until(lambda: any(line["level"] == "warning" for line in reader.lines()), "it warned")
    reader.stop()
    found = findings(world.consumer("doctor", "--json", REPLICA_DATABASE_URL=nowhere))
    assert found["mysql reachable"]["hint"] == "start the server, or correct REPLICA_DATABASE_URL"
    found = findings(world.consumer("doctor", "--json", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"))
    assert found.keys() == {"kafka reachable", "mysql position"}
    assert found["mysql position"]["hint"] == "see what is said of Kafka", "a checkpoint was not lost for that"


def test_servers_that_let_us_not_in_need_no_start(world: ReaderWorld) -> None:
    world.setup()
    wrong = {
        "REPLICA_DATABASE_URL": world.mysql_url.replace(":leadstream@", ":wrong@"),
        "DATABASE_URL": world.postgres_url.replace(":leadstream@", ":wrong@"),
    }
    found = findings(world.consumer("doctor", "--json", **wrong))
    assert found["mysql reachable"]["hint"] == "correct REPLICA_DATABASE_URL, or our account there"
    assert found["postgres reachable"]["hint"] == "correct DATABASE_URL, or our account there"


def test_a_reader_or_applier_that_died_is_a_warning_and_one_that_never_was_is_none(world: ReaderWorld) -> None:
    world.setup()
    before = json.loads(world.consumer("doctor", "--json").stdout)["checks"]
    said = {check["name"]: check["sentence"] for check in before if check["state"] == "ok"}
    assert said["reader"] == "nobody has read the binlog since it was set up; consumer read does"
    assert said["appliers"] == "nobody has applied anything since it was set up; consumer apply does"
    reader, applier = world.reader(), world.applier()
    reader.wait_for("reader_connected")
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        unmoved = "SELECT count(*) FROM leadstream.lanes WHERE owner IS NULL"
        until(lambda: connection.execute(unmoved).fetchone() == (0,), "every lane was moved")
    assert findings(world.consumer("doctor", "--json")).keys() <= {"kafka replication"}
    applier.kill()
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE leadstream.lanes SET moved_at = moved_at - interval '5 minutes'")

    def nobody_applies() -> bool:
        found = findings(world.consumer("doctor", "--json"))
        return "no applier is running, or none gets through" in found.get("postgres appliers", {}).get("sentence", "")

    until(nobody_applies, "it was said that nobody applies")
    reader.kill()

    def nobody_reads() -> bool:
        found = findings(world.consumer("doctor", "--json"))
        return found.get("kafka reader", {}).get("state") == "warning"

    until(nobody_reads, "it was said that nobody reads")
    status = json.loads(world.consumer("status", "--json").stdout)
    assert status["silent_seconds"] > 30
    assert status["stalled_seconds"] > 60
