"""Every way in which a server logs a transaction."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

from consumer.binlog.events import Begin, Commit, Event, RowChange, SchemaChange, Statement
from tests.integration.binlog.source import (
    Source,
    as_file,
    compression,
    position_of,
    read_until,
    replayed,
    transactions,
)


def said(events: list[Event]) -> list[tuple[Any, ...]]:
    """Row changes as (table, op, id before, id after), everything else as it is."""
    return [(e.table, e.op, e.before_id, e.after_id) if isinstance(e, RowChange) else e for e in events]


def held(source: Source) -> dict[tuple[str, int], dict[str, Any]]:
    """What the tables hold."""
    columns = {
        "users": ("id", "current_signature_file_id"),
        "claims": ("id", "user_id", "status"),
        "claim_requirements": ("id", "claim_id", "status"),
    }
    return {
        (table, row[0]): dict(zip(names, row, strict=True))
        for table, names in columns.items()
        for row in source.ask(f"SELECT {', '.join(names)} FROM {table}")
    }


def load(source: Source, *statements: str) -> None:
    """Executes statements in a session that may send files."""
    address = source.address
    with (
        closing(
            pymysql.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password,
                database=address.database,
                local_infile=True,
                autocommit=True,
            )
        ) as session,
        session.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


def test_changes_of_several_tables_come_in_one_transaction(company: Source) -> None:
    company.run(
        "BEGIN",
        "INSERT INTO users (name) VALUES ('a'), ('b')",
        "INSERT INTO other VALUES (1, 'x')",
        "INSERT INTO claims (user_id, status) VALUES (1, 'open')",
        "UPDATE users SET current_signature_file_id = 5 WHERE id = 1",
        "COMMIT",
    )
    assert [said(group) for group in transactions(company.events())] == [
        [
            ("users", "c", None, 1),
            ("users", "c", None, 2),
            ("claims", "c", None, 1),
            ("users", "u", 1, 1),
        ]
    ]


def test_begin_and_commit_say_where_the_transaction_lies(company: Source) -> None:
    company.run("INSERT INTO users (name) VALUES ('a')")
    begin, row, commit = (event for event in company.events() if isinstance(event, Begin | RowChange | Commit))
    assert isinstance(begin, Begin)
    assert isinstance(row, RowChange)
    assert isinstance(commit, Commit)
    end = company.here()
    assert (company.start.file, company.start.pos) <= (begin.file, begin.pos)
    assert (commit.file, commit.pos) <= (end.file, end.pos)
    assert begin.pos < row.pos < commit.pos
    assert company.changes(as_file(company.start)._replace(file=begin.file, pos=begin.pos)) == [row]
    assert transactions(company.events(as_file(company.start)._replace(file=commit.file, pos=commit.pos))) == []
    assert begin.gtid is not None
    clock = int(company.ask("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)")[0][0])
    assert clock - 60_000_000 < begin.ts_us <= clock


def test_a_transaction_of_other_tables_moves_only_the_position(company: Source) -> None:
    company.run("INSERT INTO other VALUES (1, 'x')")
    with closing(company.stream()) as stream:
        stream.connect()
        end = company.here()
        assert transactions(read_until(stream, end)) == []
        assert (stream.file, stream.pos) >= (end.file, end.pos)
        assert stream.gtid_set() not in ("", company.start.gtid_set)


def test_tables_of_the_same_name_elsewhere_are_not_captured(company: Source) -> None:
    company.run(f"CREATE DATABASE {company.name}_x", f"CREATE TABLE {company.name}_x.users (id INT, broken GEOMETRY)")
    try:
        company.run(f"INSERT INTO {company.name}_x.users VALUES (1, NULL)")
        assert transactions(company.events()) == []
    finally:
        company.run(f"DROP DATABASE {company.name}_x")


def test_what_was_rolled_back_is_not_seen(company: Source) -> None:
    company.run(
        "BEGIN",
        "INSERT INTO users (name) VALUES ('kept')",
        "SAVEPOINT one",
        "INSERT INTO users (name) VALUES ('gone')",
        "SAVEPOINT two",
        "INSERT INTO users (name) VALUES ('gone too')",
        "ROLLBACK TO one",
        "INSERT INTO users (name) VALUES ('kept')",
        "COMMIT",
        "BEGIN",
        "INSERT INTO users (name) VALUES ('gone')",
        "ROLLBACK",
    )
    assert replayed(company.changes()) == held(company)
    assert len(held(company)) == 2


def test_savepoints_beside_tables_without_transactions_undo_rows(mariadb_company: Source) -> None:
    """A table without transactions makes the server log the rollback instead of dropping the rows."""
    company = mariadb_company
    company.run(
        "CREATE TABLE noted (id INT PRIMARY KEY AUTO_INCREMENT, t TEXT) ENGINE=MyISAM",
        "CREATE TRIGGER note AFTER INSERT ON users FOR EACH ROW INSERT INTO noted (t) VALUES (NEW.name)",
        "BEGIN",
        "INSERT INTO users (name) VALUES ('kept')",
        "SAVEPOINT `One`",
        "INSERT INTO users (name) VALUES ('gone')",
        "SAVEPOINT two",
        "INSERT INTO users (name) VALUES ('gone too')",
        "ROLLBACK TO one",
        "INSERT INTO users (name) VALUES ('kept')",
        "COMMIT",
    )
    assert replayed(company.changes()) == held(company)
    assert len(held(company)) == 2


def test_replace_upsert_insert_select_and_multi_table_statements_are_row_changes(company: Source) -> None:
    company.run(
        "INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "REPLACE INTO users (id, name, current_signature_file_id) VALUES (1, 'x', 7), (4, 'd', 8)",
        "INSERT INTO users (id, name) VALUES (2, 'y'), (5, 'e') ON DUPLICATE KEY UPDATE current_signature_file_id = 9",
        "INSERT INTO claims (user_id, status) SELECT id, 'open' FROM users",
        "UPDATE users JOIN claims ON claims.user_id = users.id SET current_signature_file_id = 1, status = 'cancelled'"
        " WHERE users.id < 3",
        "DELETE claims, claim_requirements FROM claims LEFT JOIN claim_requirements ON claim_id = claims.id"
        " WHERE user_id = 5",
        "INSERT INTO claim_requirements (id, claim_id) VALUES (1, 1), (2, NULL)",
        "UPDATE claim_requirements SET id = id + 10 ORDER BY id DESC",
    )
    assert replayed(company.changes()) == held(company)


def test_triggers_and_procedures_are_row_changes(company: Source) -> None:
    company.run(
        "CREATE TRIGGER follow AFTER INSERT ON other FOR EACH ROW INSERT INTO users (name) VALUES (NEW.t)",
        "CREATE PROCEDURE work() BEGIN INSERT INTO users (name) VALUES ('p');"
        " UPDATE users SET current_signature_file_id = 3; END",
        "INSERT INTO other VALUES (1, 'x'), (2, 'y')",
        "CALL work()",
    )
    assert replayed(company.changes()) == held(company)


def test_load_data_is_row_changes(company: Source, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("".join(f"{n}\tname {n}\t\\N\n" for n in range(1, 5001)))
    load(company, "SET SESSION binlog_format = 'ROW'", f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE users")
    assert replayed(company.changes()) == held(company)
    assert len(held(company)) == 5000


@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_engines_without_transactions_commit_each_statement(source: Source, engine: str) -> None:
    if engine == "Aria" and not source.is_mariadb:
        engine = "MEMORY"
    source.run(f"CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(9)) ENGINE={engine}")
    source.start = source.here()
    source.run(
        "INSERT INTO users VALUES (1, 'a'), (2, 'b')", "UPDATE users SET name = 'c'", "DELETE FROM users WHERE id = 1"
    )
    assert [said(group) for group in transactions(source.events())] == [
        [("users", "c", None, 1), ("users", "c", None, 2)],
        [("users", "u", 1, 1), ("users", "u", 2, 2)],
        [("users", "d", 1, None)],
    ]


def test_the_statements_behind_rows_may_be_logged_too(company: Source) -> None:
    variable = "binlog_annotate_row_events" if company.is_mariadb else "binlog_rows_query_log_events"
    company.run(f"SET SESSION {variable} = ON", "INSERT INTO users (name) VALUES ('a')")
    assert [said(group) for group in transactions(company.events())] == [[("users", "c", None, 1)]]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO users (name) VALUES ('a')", Statement("users", "INSERT")),
        ("insert /* x */ ignore into `users` (name) values ('b')", Statement("users", "INSERT")),
        ("REPLACE INTO {database}.claims (id) VALUES (1)", Statement("claims", "REPLACE")),
        ("UPDATE users SET name = 'z'", Statement("users", "UPDATE")),
        ("DELETE FROM claim_requirements WHERE id = 1", Statement("claim_requirements", "DELETE")),
        ("UPDATE seen SET name = 'via view'", Statement(None, "UPDATE")),
    ],
)
def test_statement_format_is_detected_and_named(company: Source, sql: str, expected: Statement) -> None:
    company.run(
        "INSERT INTO users (name) VALUES ('x')",
        "INSERT INTO claims (user_id) VALUES (1)",
        "INSERT INTO claim_requirements (id) VALUES (1)",
        "CREATE VIEW seen AS SELECT * FROM users",
        "SET SESSION binlog_format = 'STATEMENT'",
        sql.format(database=company.name),
        "SET SESSION binlog_format = 'ROW'",
        "INSERT INTO users (name) VALUES ('row')",
    )
    groups = transactions(company.events())
    assert groups[-2] == [expected]
    assert said(groups[-1])[0][0] == "users"


@pytest.mark.parametrize("wrapping", ["ANALYZE", "ANALYZE FORMAT=JSON", "SET STATEMENT lock_wait_timeout=50 FOR"])
def test_statement_format_is_detected_in_what_mariadb_wraps(mariadb_company: Source, wrapping: str) -> None:
    mariadb_company.run("SET SESSION binlog_format = 'STATEMENT'", f"{wrapping} UPDATE users SET name = 'z'")
    assert transactions(mariadb_company.events())[-1] == [Statement("users", "UPDATE")]


def test_a_session_left_in_mixed_format_is_detected(company: Source) -> None:
    """There what is safe to repeat is logged as a statement, and what is not as rows."""
    company.run(
        "INSERT INTO claim_requirements (claim_id) VALUES (7)",
        "SET SESSION binlog_format = 'MIXED'",
        "UPDATE claim_requirements SET status = 'approved' WHERE id = 1",
        "UPDATE claim_requirements SET status = UUID() WHERE id = 1",
    )
    assert [said(group) for group in transactions(company.events())] == [
        [("claim_requirements", "c", None, 1)],
        [Statement("claim_requirements", "UPDATE")],
        [("claim_requirements", "u", 1, 1)],
    ]


def test_load_data_in_statement_format_is_detected(company: Source, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("7\tname\t\\N\n")
    load(company, "SET SESSION binlog_format = 'STATEMENT'", f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE users")
    assert transactions(company.events()) == [[Statement("users", "LOAD")]]


def test_compressed_transactions_of_mysql_are_read(mysql_company: Source) -> None:
    company = mysql_company
    company.run(
        "SET SESSION binlog_transaction_compression = ON",
        "BEGIN",
        *(f"INSERT INTO users (name) VALUES ('{n}')" for n in range(300)),
        "INSERT INTO other VALUES (1, REPEAT('x', 3000000))",
        "UPDATE users SET current_signature_file_id = id",
        "COMMIT",
        "DELETE FROM users WHERE id < 50",
        "SET SESSION binlog_transaction_compression = OFF",
        "INSERT INTO users (name) VALUES ('plain')",
    )
    groups = transactions(company.events())
    assert [len(group) for group in groups] == [600, 49, 1]
    assert replayed(company.changes()) == held(company)
    rows = [event for event in groups[0] if isinstance(event, RowChange)]
    assert len({(row.pos, row.row) for row in rows}) == 600, "position and row number tell every row"


def test_compressed_events_of_mariadb_are_read(mariadb_company: Source) -> None:
    mariadb = mariadb_company
    with compression(mariadb, True):
        mariadb.run(
            "INSERT INTO users (name) VALUES (REPEAT('x', 50)), (REPEAT('y', 50))",
            "UPDATE users SET current_signature_file_id = id, name = REPEAT('z', 50)",
            "DELETE FROM users WHERE id = 1",
            "INSERT INTO other VALUES (1, REPEAT('x', 5000))",
            "SET SESSION binlog_format = 'STATEMENT'",
            "UPDATE users SET name = 'abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc'",
        )
    groups = transactions(mariadb.events())
    assert groups[-1] == [Statement("users", "UPDATE")]
    changes = [event for group in groups[:-1] for event in group if isinstance(event, RowChange)]
    assert replayed(changes) == held(mariadb)


def test_partial_json_updates_are_stepped_over(mysql: Source) -> None:
    mysql.run(
        "CREATE TABLE users (a JSON, id INT PRIMARY KEY, b JSON, current_signature_file_id INT, c JSON)",
        """INSERT INTO users VALUES ('{"a": "aaaaaaaaaaaa", "b": 1}', 1, '{"a": 1}', 5, NULL),"""
        """ ('{"a": "aaaaaaaaaaaa", "b": 1}', 2, '{"a": 1}', 5, '{"x": "yyyyyyyyyyyyyyyyyy"}')""",
        "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
        "UPDATE users SET a = JSON_SET(a, '$.b', 2), current_signature_file_id = 6, c = JSON_REPLACE(c, '$.x', 'z')",
        "UPDATE users SET b = JSON_SET(b, '$.a', 2) WHERE id = 1",
    )
    assert replayed(mysql.changes()) == {("users", id_): {"id": id_, "current_signature_file_id": 6} for id_ in (1, 2)}


def test_tagged_gtids_are_read_and_resumed_from(mysql_company: Source) -> None:
    company = mysql_company
    company.run(
        "SET SESSION gtid_next = 'AUTOMATIC:leads'",
        "INSERT INTO users (name) VALUES ('a')",
        "SET SESSION gtid_next = 'AUTOMATIC'",
        "INSERT INTO users (name) VALUES ('b')",
    )
    with closing(company.stream()) as stream:
        stream.connect()
        events = read_until(stream, company.here())
        resume = position_of(stream)
    begins = [event.gtid for event in events if isinstance(event, Begin)]
    assert ":leads:" in str(begins[0])
    assert ":leads:" in str(resume.gtid_set)  # what else it holds grows with every other test on this server
    company.run("INSERT INTO users (name) VALUES ('c')")
    assert [said(group) for group in transactions(company.events(resume))] == [[("users", "c", None, 3)]]


def test_a_table_made_by_a_select_brings_its_rows(source: Source) -> None:
    source.run(
        "CREATE TABLE seed (id INT PRIMARY KEY)",
        "INSERT INTO seed VALUES (1), (2)",
        "CREATE TABLE users (PRIMARY KEY (id)) AS SELECT id, id * 2 AS current_signature_file_id FROM seed",
    )
    groups = transactions(source.events())
    flat = [event for group in groups for event in group]
    assert SchemaChange("users", "CREATE") in flat
    assert [json.loads(event.after or "") for event in flat if isinstance(event, RowChange)] == [
        {"id": 1, "current_signature_file_id": 2},
        {"id": 2, "current_signature_file_id": 4},
    ]
