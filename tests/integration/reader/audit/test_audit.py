"""`consumer audit`: another's decoder contradicts ours where it is wrong, and nowhere else."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from tests.integration.reader.world import LANES, ReaderWorld
from tests.servers import mariadb_binlog_command, mysqlbinlog_command
from tests.servers.places import PROJECT, locked
from tests.support.company_tables import key

pytestmark = pytest.mark.servers

HISTORY = (
    "INSERT INTO users (id, email_address) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    "INSERT INTO claims (id, user_id, status) VALUES (10, 1, 'open'), (20, 2, 'open'), (21, 2, 'grün')",
    f"INSERT INTO claim_requirements (id, claim_id, type, status) VALUES ('{key(1)}', 10, 'passport', 'pending'),"
    f" ('{key(2)}', 20, 'payslip', 'PENDING'), ('{key(3)}', 999, 'of nobody', 'pending')",
    "UPDATE users SET current_signature_file_id = '7' WHERE id = 1",
    "UPDATE users SET is_enabled = 0, updated_at = NULL WHERE id = 2",
    "UPDATE claims SET user_id = 3 WHERE id = 20",
    f"UPDATE claim_requirements SET status = 'approved', claim_requirement_reason = 'a \\n ''\"' WHERE id = '{key(1)}'",
    f"UPDATE claim_requirements SET claim_id = 21 WHERE id = '{key(2)}'",
    "UPDATE users SET id = 4 WHERE id = 3",
    "DELETE FROM claims WHERE id = 10",
    "INSERT INTO users (id, created_at) VALUES (5, '2024-02-29 12:00:00') ON DUPLICATE KEY UPDATE is_enabled = 0",
)
ROWS = 3 + 3 + 3 + 8
MESSAGES = ROWS + 3
"""A claim's and a requirement's new owner and a user's new id are a delete and a create each."""
IN_ONE = (
    "INSERT INTO users (id) VALUES (100), (101)",
    "INSERT INTO claims (id, user_id, status) VALUES (100, 100, 'open')",
    "UPDATE claims SET status = 'closed' WHERE id = 100",
)


def played(world: ReaderWorld, **more: str) -> None:
    """A stream that has read the history to its end."""
    world.setup()
    reader = world.reader(**more)
    world.wait_for_beats()
    world.execute(*HISTORY)
    world.transaction(*IN_ONE)
    world.wait_for_rows(1)
    world.wait_for_end()
    assert reader.stop() == 0


def audit(world: ReaderWorld, code: int, *arguments: str, **more: str) -> dict[str, Any]:
    done = world.consumer("audit", "--json", *(arguments or ("--last", "1h")), **more)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def last_run(world: ReaderWorld) -> tuple[Any, ...] | None:
    with psycopg.connect(world.postgres_url) as connection:
        return connection.execute(
            "SELECT outcome, counts->'rows', counts->'differences' FROM leadstream.runs WHERE name = 'audit'"
            " ORDER BY id DESC LIMIT 1"
        ).fetchone()


def test_a_stream_that_lost_nothing_is_equal(world: ReaderWorld) -> None:
    played(world)
    found = audit(world, 0)
    assert (found["rows"], found["messages"], found["differences"]) == (ROWS + 4, MESSAGES + 4, 0)
    assert found["equal"] is True
    assert found["gaps"] == []
    assert last_run(world) == ("ok", ROWS + 4, 0)
    said = world.consumer("audit")
    assert said.stdout.splitlines()[0] == f"{ROWS + 4} rows, {MESSAGES + 4} messages: equal"


def test_updates_that_are_left_out_by_a_setting_are_not_missed(world: ReaderWorld) -> None:
    skip = {"SKIP_UNCHANGED_UPDATES": "true"}
    world.setup()
    reader = world.reader(**skip)
    world.wait_for_beats()
    world.execute(*HISTORY, "UPDATE users SET updated_at = NOW() + INTERVAL 1 DAY")
    world.wait_for_rows(1)
    world.wait_for_end()
    assert reader.stop() == 0
    assert audit(world, 0, **skip)["differences"] == 0
    assert audit(world, 3)["differences"] == 4, "one of each user"


def test_ids_that_are_texts_are_compared_in_one_spelling(world: ReaderWorld) -> None:
    word = "VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL"
    world.execute(
        f"ALTER TABLE claims MODIFY id {word}",
        f"ALTER TABLE claim_requirements MODIFY id {word}, MODIFY claim_id {word}",
    )
    world.setup()
    reader = world.reader()
    world.wait_for_beats()
    world.execute(
        "INSERT INTO users (id) VALUES (1)",
        "INSERT INTO claims (id, user_id, status) VALUES ('AB-1', 1, 'open'), ('É', 1, 'open'), ('Z ', 1, 'open')",
        "INSERT INTO claim_requirements (id, claim_id, status) VALUES ('R-1', 'aB-1', 'pending')",
        "UPDATE claims SET id = 'ab-1' WHERE id = 'AB-1'",
    )
    world.wait_for_end()
    assert reader.stop() == 0
    found = audit(world, 0)
    assert (found["rows"], found["messages"], found["differences"]) == (6, 6, 0)


def produce(world: ReaderWorld, table: str, lane: int, user: str, value: dict[str, Any]) -> None:
    producer = Producer({"bootstrap.servers": world.bootstrap})
    producer.produce(f"{world.name}.{table}", json.dumps(value).encode(), user.encode(), lane)
    assert producer.flush(30) == 0


def test_a_message_that_no_row_stands_behind_is_found_with_its_place(world: ReaderWorld) -> None:
    played(world)
    (real,) = [
        message
        for message in world.messages()
        if message.topic == "claims" and message.value["op"] == "u" and message.value["after"]["id"] == 100
    ]
    produce(world, "claims", real.lane, real.key, real.value)
    forged = {**real.value, "source": {**real.value["source"], "row": 7}}
    produce(world, "claims", real.lane, real.key, forged)
    changed = {**real.value, "after": {**real.value["after"], "status": "forged"}}
    produce(world, "claims", real.lane, real.key, changed)
    elsewhere = (real.lane + 1) % LANES
    produce(world, "users", elsewhere, real.key, {"any": "thing"})
    produce(world, "claims", elsewhere, real.key, real.value)
    found = audit(world, 3)
    place = f"{real.value['source']['file']}:{real.value['source']['pos']}"
    assert sorted((shown["what"], shown["table"], shown["place"]) for shown in found["shown"]) == [
        ("extra", "claims", f"{place} row 7"),
        ("misplaced", "claims", f"{place} row 0"),
        ("misplaced", "users", ""),
        ("twice", "claims", f"{place} row 0"),
        ("twice", "claims", f"{place} row 0"),
    ]
    assert f"claims[{real.lane}] offset" in found["shown"][-1]["where"]
    assert last_run(world) == ("drift", ROWS + 4, 5)
    assert f"misplaced: users (users[{elsewhere}] offset" in world.consumer("audit").stdout


FAULT = """
from consumer.reader.router import Router
from consumer.stream.envelope import EnvelopeWriter

feed, row, single = Router.feed, EnvelopeWriter.row, EnvelopeWriter.single

def feed_less(self, events):
    feed(self, [event for event in events if '"of nobody"' not in str(getattr(event, "after", ""))])

def altered(text):
    return text.replace('"is_enabled":0', '"is_enabled":1')

Router.feed = feed_less
EnvelopeWriter.row = lambda *arguments: altered(row(*arguments))
EnvelopeWriter.single = lambda *arguments: altered(single(*arguments))
"""


def test_a_reader_that_loses_a_row_and_alters_another_is_found(world: ReaderWorld, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    played(world, PYTHONPATH=f"{tmp_path}:{PROJECT}")
    found = audit(world, 3)
    shown = [(each["what"], each["table"], each["columns"]) for each in found["shown"]]
    assert ("missing", "claim_requirements", []) in shown
    assert shown.count(("different", "users", ["is_enabled"])) == len(shown) - 1 > 0


def tools(folder: Path, world: ReaderWorld) -> str:
    """A PATH on which the servers' own tools lie, wherever they are installed."""
    for name, command in (("mysqlbinlog", mysqlbinlog_command()), ("mariadb-binlog", mariadb_binlog_command())):
        tool = folder / name
        words = shlex.join(command)
        tool.write_text(f'#!/bin/sh\nPATH={shlex.quote(os.environ["PATH"])} exec {words} "$@"\n')
        tool.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("flavor", ["mysql"])
def test_compressed_transactions_are_said_counted_and_checked_with_mysqlbinlog(
    world: ReaderWorld, tmp_path: Path
) -> None:
    world.setup()
    reader = world.reader()
    world.wait_for_beats()
    world.execute("INSERT INTO users (id) VALUES (7)")
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION binlog_transaction_compression = ON")
        for statement in (*HISTORY, "BEGIN", *IN_ONE, "COMMIT"):
            cursor.execute(statement)
    world.wait_for_end()
    assert reader.stop() == 0
    bare = tmp_path / "bare"
    bare.mkdir()
    found = audit(world, 4, PATH=str(bare))
    assert (found["rows"], found["messages"], found["unverified"]) == (1, 1, MESSAGES + 4)
    assert found["compressed"] >= len(HISTORY) + 1
    assert "install mysqlbinlog" in found["gaps"][0]
    found = audit(world, 0, PATH=tools(tmp_path, world))
    assert (found["rows"], found["messages"], found["rows_by_mysqlbinlog"]) == (ROWS + 5, MESSAGES + 5, ROWS + 4)
    (real,) = [
        message
        for message in world.messages()
        if message.topic == "claims" and message.value["op"] == "u" and message.value["after"]["id"] == 100
    ]
    produce(world, "claims", real.lane, real.key, real.value)
    found = audit(world, 3, PATH=tools(tmp_path, world))
    assert [(each["what"], each["table"]) for each in found["shown"]] == [("twice", "claims")]


def prepared(world: ReaderWorld, xid: str, statement: str) -> None:
    with world.connection() as connection, connection.cursor() as cursor:
        for line in (f"XA START {xid}", statement, f"XA END {xid}", f"XA PREPARE {xid}"):
            cursor.execute(line)


def test_what_nobody_can_hold_against_a_message_is_named_and_is_no_difference(world: ReaderWorld) -> None:
    world.setup()
    reader = world.reader(KAFKA_MESSAGE_MAX_BYTES="6000")
    world.wait_for_beats()
    world.execute(
        "INSERT INTO users (id) VALUES (1), (2)", "INSERT INTO claims (id, user_id, status) VALUES (1, 1, '')"
    )
    world.execute("ALTER TABLE claims MODIFY status TEXT", "UPDATE claims SET status = REPEAT('x', 20000) WHERE id = 1")
    world.execute("TRUNCATE claim_requirements")
    names = [f"'{world.name}{number}'" for number in range(3)]
    try:
        prepared(world, names[0], "INSERT INTO users (id) VALUES (10), (11)")
        prepared(world, names[1], "INSERT INTO users (id) VALUES (12)")
        prepared(world, names[2], "INSERT INTO users (id) VALUES (13)")
        world.execute(f"XA COMMIT {names[0]}", f"XA ROLLBACK {names[1]}", "INSERT INTO users (id) VALUES (3)")
        world.wait_for_end()
        assert reader.stop() == 0
        found = audit(world, 0)
    finally:
        world.execute(f"XA ROLLBACK {names[2]}")
    assert (found["rows"], found["messages"]) == (2 + 1 + 1 + 2 + 1, 2 + 1 + 2 + 1)
    assert (found["noticed"], found["undecided"], found["differences"]) == (1, 1, 0)
    assert found["statements"] == {"ALTER of claims": 1, "TRUNCATE of claim_requirements": 1}


def test_a_stretch_ends_where_the_reader_stands(world: ReaderWorld) -> None:
    played(world)
    world.execute("INSERT INTO users (id) VALUES (50)")
    found = audit(world, 0)
    assert (found["rows"], found["differences"]) == (ROWS + 4, 0)
    found = audit(world, 0, "--last", "1s")  # the reader has read nothing since, and is not missed yet
    assert (found["rows"], found["messages"], found["differences"]) == (0, 0, 0)
    done = world.consumer("audit", "--from", "2001-01-01", "--to", "2001-01-02")
    assert done.returncode == 1
    assert "the stretch ends before" in done.stderr
    hours = [f"{datetime.now(UTC) - timedelta(hours=ago):%Y-%m-%dT%H:%M:%S}" for ago in (2, 1)]
    done = world.consumer("audit", "--from", hours[0], "--to", hours[1])
    assert done.returncode == 1, done.stdout
    assert "begins at" in done.stderr
    assert "the stretch ends before; ask for a later one" in done.stderr
    assert world.consumer("audit", "--last", "soon").returncode == 2


@pytest.mark.parametrize("flavor", ["mariadb"])
def test_compressed_events_of_mariadb_are_checked_with_its_own_tool(world: ReaderWorld, tmp_path: Path) -> None:
    world.setup()
    reader = world.reader()
    world.wait_for_beats()
    with locked("mariadb-log-bin-compress"):
        world.execute("SET GLOBAL log_bin_compress = ON, log_bin_compress_min_len = 10")
        try:
            world.execute(*HISTORY)
        finally:
            world.execute("SET GLOBAL log_bin_compress = OFF, log_bin_compress_min_len = DEFAULT")
    world.wait_for_end()
    assert reader.stop() == 0
    found = audit(world, 0, PATH=tools(tmp_path, world))
    assert (found["rows"], found["messages"], found["rows_by_mysqlbinlog"]) == (ROWS, MESSAGES, ROWS)
