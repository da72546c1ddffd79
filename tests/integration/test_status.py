"""`consumer status` and `consumer explain`, asked of a pipeline that has just applied a history."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from consumer.settings import KafkaSettings
from consumer.stream.checkpoint_log import CheckpointLog
from consumer.stream.trouble import LOOK_SECONDS
from tests.bench import measure, ours
from tests.bench.history import DATABASE, connect, history
from tests.bench.kafka import Topics
from tests.bench.postgres import database
from tests.integration.binlog.proxy import Proxy
from tests.servers import ensure
from tests.support.environments import environment
from tests.support.waiting import PATIENCE


def consumer(env: dict[str, str], *arguments: str) -> str:
    command = [str(ours.SCRIPTS / "consumer"), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.servers
def test_status_counts_what_waits_and_explain_says_why_and_whether_mysql_agrees(tmp_path: Path) -> None:
    servers = ensure(("mysql", "kafka", "postgres"))
    prefix = f"status-{uuid.uuid4().hex[:8]}"
    topics = Topics(servers.kafka_bootstrap, prefix)
    with history(servers, 200) as past, database(servers.postgres_url) as postgres:
        env = ours.environment(past, servers.kafka_bootstrap, postgres, prefix)
        ours.setup(env)
        measure.run([ours.reader(env, tmp_path)], lambda: ours.read_rows(topics, past), past.rows, seconds=PATIENCE)
        before = json.loads(consumer(env, "status", "--json"))
        assert before["waiting"] >= past.rows
        assert sum(lane["waiting"] for lane in before["lanes"]) == before["waiting"]
        assert (before["rechecks"], before["dead_letters"], len(before["lanes"])) == (0, 0, ours.LANES)
        assert {(lane["owner"], lane["moved_seconds"]) for lane in before["lanes"]} == {(None, None)}

        with psycopg.connect(postgres, autocommit=True) as connection:

            def applied() -> int:
                row = connection.execute("SELECT count(*) FROM leadstream.stints WHERE number = 3").fetchone()
                return row[0] if row else 0

            measure.run([ours.applier(env, tmp_path)], applied, past.rows // 10, seconds=PATIENCE)
        after = json.loads(consumer(env, "status", "--json"))
        assert after["waiting"] < before["waiting"]
        moved = [lane for lane in after["lanes"] if lane["next_number"] > 1]
        assert len({lane["owner"] for lane in moved}) == 1, moved
        with psycopg.connect(postgres) as connection:
            connection.execute("UPDATE leadstream.lanes SET moved_at = moved_at - interval '1 hour'")
        later = json.loads(consumer(env, "status", "--json"))
        assert all(lane["moved_seconds"] >= 3600 for lane in later["lanes"] if lane["next_number"] > 1), later
        table = consumer(env, "status")
        assert "messages waiting" in table
        assert "last moved by" in table

        told = json.loads(consumer(env, "explain", "7", "--json"))
        assert (told["queue_type"], told["agrees"], told["live"]["drift"]) == ("none", True, [])
        assert [stint["opened_reason"] for stint in told["stints"]] == [
            "first_seen",
            "signature_obtained",
            "requirements_completed",
        ]
        assert "owes no document" in consumer(env, "explain", "7")
        with connect(past.url, DATABASE) as source, source.cursor() as cursor:
            cursor.execute("UPDATE users SET current_signature_file_id = NULL WHERE id = 7")
        told = json.loads(consumer(env, "explain", "7", "--json"))
        assert (told["agrees"], told["live"]["verdict"]["queue_type"]) == (False, "unsigned_users")
        with database(servers.postgres_url) as other:
            for arguments in (["status"], ["explain", "7"]):
                command = [str(ours.SCRIPTS / "consumer"), *arguments]
                failed = subprocess.run(
                    command, env={**env, "DATABASE_URL": other}, capture_output=True, text=True, check=False
                )
                assert failed.returncode == 1
                assert len(failed.stderr.splitlines()) == 1, failed.stderr
                assert "run `consumer setup`" in failed.stderr
        away = {**env, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
        command = [str(ours.SCRIPTS / "consumer"), "status"]
        half = subprocess.run(command, env=away, capture_output=True, text=True, check=False)
        assert half.returncode == 1
        assert "last moved by" in half.stdout
        assert "Connection refused" in half.stderr
    topics.remove()


def test_watching_says_each_time_why_a_half_is_missing() -> None:
    nobody = environment(kafka="127.0.0.1:1", postgres="postgresql://nobody@127.0.0.1:1/nothing")
    command = [str(ours.SCRIPTS / "consumer"), "status", "--watch"]
    with subprocess.Popen(command, env=nobody, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [json.loads(process.stderr.readline())["reason"] for _ in range(4)]
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert "127.0.0.1:1" in said[0]
    assert said[:2] == said[2:]


@pytest.mark.servers
def test_a_broker_that_begins_to_answer_late_is_not_taken_for_one_that_is_away() -> None:
    host, _, port = ensure(("kafka",)).kafka_bootstrap.partition(":")
    with Proxy(host, int(port)) as proxy:
        proxy.silent = True
        settings = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{proxy.port}", topic_prefix=uuid.uuid4().hex)
        with ThreadPoolExecutor(1) as pool, CheckpointLog(settings, within=PATIENCE) as checkpoints:
            found = pool.submit(checkpoints.last)
            time.sleep(3 * LOOK_SECONDS)
            proxy.silent = False
            assert found.result() is None, "there is a Kafka, and it says that it has no such topic"
