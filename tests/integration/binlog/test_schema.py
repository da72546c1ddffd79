"""Tables that change under the stream: what was written before is read as it was, what comes after as it is."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import Any

import pytest

from consumer.binlog.events import RowChange, SchemaChange, Statement, UnreadableRow, hides_rows
from consumer.mysql.errors import PreconditionFailed
from tests.integration.binlog.source import Source, as_file, compression, read_until, replayed, transactions

USERS = "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(50), current_signature_file_id INT)"


def texts(changes: list[RowChange]) -> list[dict[str, Any] | None]:
    return [json.loads(change.after) if change.after else None for change in changes]


def schema_changes(source: Source) -> list[SchemaChange]:
    return [event for group in transactions(source.events()) for event in group if isinstance(event, SchemaChange)]


@pytest.mark.parametrize("streaming", [True, False])
def test_columns_may_come_go_move_change_name_and_type(source: Source, streaming: bool) -> None:
    statements = (
        USERS,
        "INSERT INTO users VALUES (1, 'a', 10)",
        "ALTER TABLE users ADD COLUMN born DATE FIRST, ADD COLUMN is_enabled TINYINT(1) DEFAULT 1 AFTER id",
        "INSERT INTO users VALUES ('2000-01-01', 2, 0, 'b', 20)",
        "ALTER TABLE users MODIFY current_signature_file_id VARCHAR(40) FIRST",
        "INSERT INTO users VALUES ('abc', '2000-01-01', 3, 1, 'c')",
        "ALTER TABLE users DROP COLUMN name, CHANGE born birth_date DATE, MODIFY id BIGINT UNSIGNED AUTO_INCREMENT",
        "INSERT INTO users VALUES ('def', NULL, 18446744073709551614, 1)",
        "ALTER TABLE users RENAME COLUMN is_enabled TO was_enabled",
        "UPDATE users SET current_signature_file_id = 'x' WHERE id = 1",
    )
    expected = [
        {"id": 1, "current_signature_file_id": 10},
        {"id": 2, "current_signature_file_id": 20, "is_enabled": 0},
        {"id": 3, "current_signature_file_id": "abc", "is_enabled": 1},
        {"id": 18446744073709551614, "current_signature_file_id": "def", "is_enabled": 1},
        {"id": 1, "current_signature_file_id": "x"},
    ]
    if not streaming:
        source.run(*statements)
        assert texts(source.changes()) == expected
        return
    seen = []
    with closing(source.stream()) as stream:
        stream.connect()
        for statement in statements:
            source.run(statement)
            seen += [event for event in read_until(stream, source.here()) if isinstance(event, RowChange)]
    assert texts(seen) == expected


def test_changes_of_captured_tables_are_told(source: Source) -> None:
    source.run(
        USERS,
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "ALTER TABLE users ADD COLUMN x INT",
        "ALTER TABLE other ADD COLUMN x INT",
        "CREATE INDEX by_name ON users (name)",
        "TRUNCATE TABLE users",
        "TRUNCATE other",
        "RENAME TABLE users TO elsewhere, other TO other2",
        "ALTER TABLE elsewhere RENAME TO users",
        "CREATE TABLE other3 (id INT PRIMARY KEY)",
        f"DROP TABLE IF EXISTS other2, {source.name}.users",
        f"CREATE TABLE {source.name}.users LIKE other3",
        "DROP TABLE `users`",
    )
    assert schema_changes(source) == [
        SchemaChange("users", "CREATE"),
        SchemaChange("users", "ALTER"),
        SchemaChange("users", "TRUNCATE"),
        SchemaChange("users", "RENAME"),
        SchemaChange("users", "RENAME"),
        SchemaChange("users", "DROP"),
        SchemaChange("users", "CREATE"),
        SchemaChange("users", "DROP"),
    ]


def test_dropping_the_database_drops_each_table(source: Source) -> None:
    source.run(USERS, f"DROP DATABASE {source.name}", f"CREATE DATABASE {source.name}", f"USE {source.name}")
    dropped = {change.table for change in schema_changes(source) if change.verb == "DROP"}
    assert dropped == {"users", "claims", "claim_requirements"}


def test_partitions_that_lose_their_rows_are_told(source: Source) -> None:
    source.run(
        "CREATE TABLE users (id INT PRIMARY KEY) PARTITION BY RANGE (id)"
        " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
        "INSERT INTO users VALUES (1), (15)",
        "UPDATE users SET id = 16 WHERE id = 1",
        "ALTER TABLE users TRUNCATE PARTITION p0",
        "ALTER TABLE users DROP PARTITION p1",
        "CREATE TABLE spare (id INT PRIMARY KEY)",
        "INSERT INTO spare VALUES (3)",
        "ALTER TABLE users EXCHANGE PARTITION p0 WITH TABLE spare",
    )
    assert [change.verb for change in schema_changes(source)] == ["CREATE", "TRUNCATE", "TRUNCATE", "TRUNCATE"]
    assert [(change.op, change.before_id, change.after_id) for change in source.changes()] == [
        ("c", None, 1),
        ("c", None, 15),
        ("u", 1, 16),
    ]


def test_tables_that_mariadb_replaces_or_converts_lose_their_rows(mariadb: Source) -> None:
    parts = "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))"
    mariadb.run(
        USERS,
        "INSERT INTO users VALUES (1, 'a', 10)",
        f"CREATE OR REPLACE TABLE users (id INT PRIMARY KEY) {parts}",
        "ALTER TABLE users CONVERT PARTITION p0 TO TABLE spare",
        "ALTER TABLE spare CONVERT TO CHARACTER SET latin1",
        "CREATE OR REPLACE TABLE spare (id INT PRIMARY KEY)",
    )
    assert schema_changes(mariadb) == [
        SchemaChange("users", "CREATE"),
        SchemaChange("users", "DROP"),
        SchemaChange("users", "CREATE"),
        SchemaChange("users", "TRUNCATE"),
    ]


def test_statements_that_mariadb_wraps_into_others_are_told(mariadb: Source) -> None:
    """Settings of one statement stand before it in the binlog too, and a database may be replaced as a table may."""
    mariadb.run(
        USERS,
        "SET STATEMENT lock_wait_timeout=50 FOR TRUNCATE TABLE users",
        "SET STATEMENT max_statement_time=50, lock_wait_timeout=50 FOR ALTER TABLE users ADD COLUMN x INT",
        "SET STATEMENT lock_wait_timeout=50 FOR DROP TABLE users",
        f"CREATE OR REPLACE DATABASE {mariadb.name}",
        f"USE {mariadb.name}",
    )
    found = schema_changes(mariadb)
    assert [change.verb for change in found[:4]] == ["CREATE", "TRUNCATE", "ALTER", "DROP"]
    assert {change.table for change in found[4:]} == {"users", "claims", "claim_requirements"}


PERIODS = {
    "unnamed": "",
    "named": ", Since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, Until TIMESTAMP(6) GENERATED ALWAYS AS ROW END,"
    " PERIOD FOR SYSTEM_TIME (Since, Until)",
}


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("compressed", [False, True])
def test_the_history_of_versioned_tables_is_none_of_our_business(
    mariadb: Source, period: str, compressed: bool
) -> None:
    """MariaDB logs what it keeps of the past as rows of the table like any other."""
    mariadb.run(
        f"CREATE TABLE users (id INT PRIMARY KEY, t VARCHAR(400){PERIODS[period]}, current_signature_file_id INT)"
        " WITH SYSTEM VERSIONING",
        "SET sql_mode = ''",
    )
    mariadb.start = mariadb.here()
    with compression(mariadb, compressed):
        mariadb.run(
            "INSERT INTO users (id, t, current_signature_file_id) VALUES (1, REPEAT('x', 300), 10), (2, NULL, 20)",
            "UPDATE users SET current_signature_file_id = 11 WHERE id = 1",
            "DELETE FROM users WHERE id = 2",
            "REPLACE INTO users (id, current_signature_file_id) VALUES (1, 12), (3, 30)",
            "UPDATE users SET id = 4 WHERE id = 3",
            "INSERT INTO users (id, current_signature_file_id) VALUES (2, 21)",
            "DELETE HISTORY FROM users",
            "UPDATE users SET current_signature_file_id = current_signature_file_id + 1",
        )
    held = mariadb.ask("SELECT id, current_signature_file_id FROM users ORDER BY id")
    assert held == [(1, 13), (2, 22), (4, 31)]
    rows = replayed(mariadb.changes())
    assert {id_: row["current_signature_file_id"] for (_, id_), row in rows.items()} == dict(held)


def test_a_table_that_becomes_versioned_while_it_is_read_has_no_history_either(mariadb: Source) -> None:
    mariadb.run("CREATE TABLE users (id INT PRIMARY KEY, current_signature_file_id INT)")
    mariadb.run("INSERT INTO users VALUES (1, 10), (2, 20)")
    with closing(mariadb.stream()) as stream:
        stream.connect()
        read_until(stream, mariadb.here())
        mariadb.run(
            "ALTER TABLE users ADD Since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, ADD Until TIMESTAMP(6) GENERATED"
            " ALWAYS AS ROW END, ADD PERIOD FOR SYSTEM_TIME (Since, Until), ADD SYSTEM VERSIONING",
            "UPDATE users SET current_signature_file_id = 11 WHERE id = 1",
            "DELETE FROM users WHERE id = 2",
        )
        changes = [event for event in read_until(stream, mariadb.here()) if isinstance(event, RowChange)]
    assert [(change.op, change.before_id, change.after_id) for change in changes] == [("u", 1, 1), ("d", 2, None)]


@pytest.mark.parametrize("key", ["KEY (id)", "UNIQUE (id)"])
def test_the_history_of_a_versioned_table_without_a_primary_key_is_none_of_our_business(
    mariadb: Source, key: str
) -> None:
    mariadb.run(
        f"CREATE TABLE users (id INT NOT NULL, current_signature_file_id INT, {key}) WITH SYSTEM VERSIONING",
        "INSERT INTO users VALUES (1, 10), (2, 20)",
        "UPDATE users SET current_signature_file_id = 11 WHERE id = 1",
        "DELETE FROM users WHERE id = 2",
    )
    assert [(change.op, change.before_id, change.after_id) for change in mariadb.changes()] == [
        ("c", None, 1), ("c", None, 2), ("u", 1, 1), ("d", 2, None),
    ]  # fmt: skip


def test_rows_that_an_alter_drops_are_reported(mariadb: Source) -> None:
    mariadb.run("CREATE TABLE claims (id INT PRIMARY KEY, user_id INT)", "INSERT INTO claims VALUES (1, 7), (2, 7)")
    mariadb.start = mariadb.here()
    mariadb.run("ALTER IGNORE TABLE claims ADD UNIQUE (user_id)")
    assert mariadb.ask("SELECT count(*) FROM claims") == [(1,)]
    (change,) = [event for event in mariadb.events() if isinstance(event, SchemaChange)]
    assert hides_rows(change)


def test_rows_that_a_create_brings_as_a_statement_are_reported(source: Source) -> None:
    source.run("CREATE TABLE seed (id INT PRIMARY KEY)", "INSERT INTO seed VALUES (1), (2)")
    source.start = source.here()
    source.run("SET SESSION binlog_format = 'STATEMENT'", "CREATE TABLE users AS SELECT * FROM seed")
    source.run("SET SESSION binlog_format = 'ROW'")
    changes = [event for event in source.events() if isinstance(event, SchemaChange | RowChange)]
    assert any(hides_rows(change) for change in changes if isinstance(change, SchemaChange))


def test_tables_versioned_by_transaction_are_logged_as_statements_and_reported(mariadb: Source) -> None:
    mariadb.run(
        "CREATE TABLE users (id INT PRIMARY KEY, a BIGINT UNSIGNED GENERATED ALWAYS AS ROW START INVISIBLE,"
        " z BIGINT UNSIGNED GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (a, z))"
        " WITH SYSTEM VERSIONING"
    )
    mariadb.start = mariadb.here()
    mariadb.run("INSERT INTO users (id) VALUES (1)")
    assert transactions(mariadb.events()) == [[Statement("users", "INSERT")]]


def test_a_column_that_is_only_called_so_is_no_history(source: Source) -> None:
    source.run(
        "CREATE TABLE users (id INT PRIMARY KEY, row_start TIMESTAMP(6) NULL, row_end TIMESTAMP(6) NULL)",
        "INSERT INTO users VALUES (1, NULL, '2020-01-01')",
        "UPDATE users SET row_end = NULL",
    )
    assert [(change.op, change.after_id) for change in source.changes()] == [("c", 1), ("u", 1)]


def test_online_schema_changes_swap_tables(source: Source) -> None:
    """As gh-ost and pt-online-schema-change do: fill a copy, then rename both at once."""
    source.run(
        USERS,
        "INSERT INTO users VALUES (1, 'a', 10)",
        "CREATE TABLE _users_gho LIKE users",
        "ALTER TABLE _users_gho ADD COLUMN extra BIGINT FIRST",
        "INSERT INTO _users_gho SELECT 0, users.* FROM users",
        "UPDATE users SET current_signature_file_id = 11",
        "REPLACE INTO _users_gho SELECT 0, users.* FROM users",
        "RENAME TABLE users TO _users_del, _users_gho TO users",
        "INSERT INTO users VALUES (7, 2, 'b', 20)",
        "UPDATE _users_del SET name = 'not seen'",
        "DROP TABLE _users_del",
    )
    assert replayed(source.changes()) == {
        ("users", 1): {"id": 1, "current_signature_file_id": 11},
        ("users", 2): {"id": 2, "current_signature_file_id": 20},
    }
    assert [change.verb for change in schema_changes(source)] == ["CREATE", "RENAME"]


@pytest.mark.parametrize(
    ("table", "sql", "words"),
    [
        ("users", "CREATE TABLE users (uid INT PRIMARY KEY)", "no column id"),
        ("users", "CREATE TABLE users (id CHAR(36) PRIMARY KEY)", "users.id is STRING, not an integer"),
        ("claims", "CREATE TABLE claims (id INT PRIMARY KEY)", "no column user_id"),
        ("claim_requirements", "CREATE TABLE claim_requirements (id INT, claim_id DOUBLE)", "claim_id is DOUBLE"),
    ],
)
def test_a_table_whose_rows_cannot_be_attributed_is_an_error(source: Source, table: str, sql: str, words: str) -> None:
    source.run(sql, f"INSERT INTO {table} () VALUES ()" if "id INT," in sql else f"INSERT INTO {table} VALUES (1)")
    with pytest.raises(PreconditionFailed, match=words):
        source.events()


def test_a_captured_column_that_disappears_is_left_out_and_a_key_is_an_error(source: Source) -> None:
    source.run(
        "CREATE TABLE claims (id INT PRIMARY KEY, user_id INT, status VARCHAR(9))",
        "INSERT INTO claims VALUES (1, 5, 'open')",
        "ALTER TABLE claims DROP COLUMN status",
        "INSERT INTO claims VALUES (2, 5)",
    )
    assert texts(source.changes()) == [{"id": 1, "user_id": 5, "status": "open"}, {"id": 2, "user_id": 5}]
    source.run("ALTER TABLE claims DROP COLUMN user_id", "INSERT INTO claims VALUES (3)")
    with closing(source.stream()) as stream:
        stream.connect()
        with pytest.raises(
            PreconditionFailed,
            match=rf"cannot be read: {source.name}.claims has no column user_id",
        ):
            read_until(stream, source.here())
        here = source.here()
        assert (stream.file, stream.pos) < (here.file, here.pos), "the position stays before what could not be read"


def unreadable(source: Source) -> list[UnreadableRow]:
    """The rows of which only keys are known."""
    return [event for event in source.events() if isinstance(event, UnreadableRow)]


def test_a_row_with_a_captured_json_value_is_unreadable_and_the_others_are_read(mysql: Source) -> None:
    mysql.run(
        "CREATE TABLE users (id INT PRIMARY KEY, is_enabled JSON)",
        "INSERT INTO users VALUES (1, NULL), (2, '{}'), (3, NULL)",
    )
    assert [change.after_id for change in mysql.changes()] == [1, 3]
    (row,) = unreadable(mysql)
    assert (row.table, row.op, row.after_id, row.row) == ("users", "c", 2, 1)
    assert "users.is_enabled has the type JSON" in row.reason


def test_a_text_in_a_charset_that_nobody_decodes_exactly_makes_its_row_unreadable(source: Source) -> None:
    source.run(
        "CREATE TABLE claims (id INT PRIMARY KEY, user_id INT, status VARCHAR(9) CHARACTER SET dec8)",
        "INSERT INTO claims VALUES (1, 5, 'open'), (2, 6, NULL)",
    )
    (row,) = unreadable(source)
    assert (row.op, row.after_id, row.after_ref) == ("c", 1, 5)
    assert "claims.status is written in dec8, which cannot be turned into UTF-8 exactly" in row.reason
    assert [change.after_id for change in source.changes()] == [2]


@pytest.mark.parametrize("kind", ["JSON", "GEOMETRY"])
def test_a_column_that_only_informs_may_be_of_any_type(mysql: Source, kind: str) -> None:
    value = "'{}'" if kind == "JSON" else "ST_GeomFromText('POINT(1 2)')"
    mysql.run(
        f"CREATE TABLE users (id INT PRIMARY KEY, created_at {kind}, current_signature_file_id INT, updated_at {kind})",
        f"INSERT INTO users VALUES (1, {value}, 7, {value}), (2, NULL, 8, NULL)",
    )
    nothing = {"created_at": None, "updated_at": None}
    assert replayed(mysql.changes()) == {
        ("users", 1): {"id": 1, "current_signature_file_id": 7} | nothing,
        ("users", 2): {"id": 2, "current_signature_file_id": 8} | nothing,
    }
    assert not unreadable(mysql)


def test_a_minimal_row_image_is_unreadable_with_a_reason_that_names_the_setting(source: Source) -> None:
    source.run(
        USERS,
        "INSERT INTO users VALUES (1, 'a', 10)",
        "SET SESSION binlog_row_image = 'MINIMAL'",
        "UPDATE users SET name = 'b'",
    )
    (row,) = unreadable(source)
    assert (row.op, row.before_id, row.before_ref, row.after_id, row.ref_kept) == ("u", 1, 1, 1, True)
    assert re.search(r"current_signature_file_id is missing .* binlog_row_image", row.reason)


def test_the_keys_of_partial_images_are_read_where_they_are(source: Source) -> None:
    source.run(
        "CREATE TABLE claims (t TEXT, id INT PRIMARY KEY, user_id INT, status VARCHAR(9), d DECIMAL(9, 2))",
        "INSERT INTO claims VALUES ('x', 1, 5, 'open', 1.5), ('y', 2, 6, 'open', NULL)",
        "SET SESSION binlog_row_image = 'MINIMAL'",
        "UPDATE claims SET status = 'cancelled' WHERE id = 1",
        "UPDATE claims SET user_id = 7",
        "DELETE FROM claims WHERE id = 2",
    )
    assert [(row.op, row.before_id, row.after_id, row.after_ref, row.ref_kept) for row in unreadable(source)] == [
        ("u", 1, 1, None, True), ("u", 1, 1, 7, False), ("u", 2, 2, 7, False), ("d", 2, None, None, False),
    ]  # fmt: skip


def test_a_noblob_row_image_is_read_where_no_captured_column_is_a_blob(source: Source) -> None:
    source.run(
        "CREATE TABLE users (b BLOB, id INT PRIMARY KEY, t TEXT, current_signature_file_id INT, z TEXT)",
        "INSERT INTO users VALUES ('x', 1, 'y', 3, 'z')",
        "SET SESSION binlog_row_image = 'NOBLOB'",
        "UPDATE users SET t = 'yy', current_signature_file_id = 4",
        "DELETE FROM users",
    )
    changes = source.changes()
    assert [change.op for change in changes] == ["c", "u", "d"]
    assert replayed(changes) == {}


def test_rows_without_column_names_are_unreadable_with_a_reason_that_names_the_setting(source: Source) -> None:
    source.run(USERS)
    default = source.ask("SELECT @@global.binlog_row_metadata")[0][0]
    source.run("SET GLOBAL binlog_row_metadata = 'MINIMAL'")
    try:
        source.run("INSERT INTO users VALUES (1, 'a', 10)")
    finally:
        source.run(f"SET GLOBAL binlog_row_metadata = '{default}'")
    (row,) = unreadable(source)
    assert (row.table, row.op, row.after_id) == ("users", "c", None)
    assert "without column names; run SET GLOBAL binlog_row_metadata = 'FULL'" in row.reason


@pytest.mark.parametrize("columns", [7, 8, 9, 63, 64, 65, 511, 512, 513, 900])
def test_null_bitmaps_of_any_width_are_read(source: Source, columns: int) -> None:
    names = [f"c{n}" for n in range(columns - 2)]
    names.insert(len(names) // 2, "current_signature_file_id")
    source.run(
        "CREATE TABLE users (" + ", ".join(f"{name} TINYINT" for name in names) + ", id INT PRIMARY KEY)",
        "INSERT INTO users (id) VALUES (1), (2)",
        "UPDATE users SET " + ", ".join(f"{name} = 7" for name in names) + " WHERE id = 2",
        "INSERT INTO users (id, c0, current_signature_file_id) VALUES (3, 1, 5)",
    )
    assert replayed(source.changes()) == {
        ("users", 1): {"id": 1, "current_signature_file_id": None},
        ("users", 2): {"id": 2, "current_signature_file_id": 7},
        ("users", 3): {"id": 3, "current_signature_file_id": 5},
    }


@pytest.mark.parametrize("digits", range(7))
def test_zero_dates_are_null_and_fractions_keep_their_digits(source: Source, digits: int) -> None:
    source.run(
        "SET sql_mode = ''",
        f"CREATE TABLE users (id INT PRIMARY KEY, created_at DATETIME({digits}), updated_at TIMESTAMP({digits}) NULL)",
        "INSERT INTO users VALUES (1, '0000-00-00', '0000-00-00'), (2, '2024-00-10', '1970-01-01 00:00:01'),"
        " (3, '9999-12-31 23:59:59.000000', '2038-01-19 03:14:07.000000'), (4, '1000-01-01 00:00:00.123', NULL)",
    )
    zeros = "." + "0" * digits if digits else ""
    fraction = ".123000"[: digits + 1] if digits else ""
    assert texts(source.changes()) == [
        {"id": 1, "created_at": None, "updated_at": None},
        {"id": 2, "created_at": None, "updated_at": f"1970-01-01T00:00:01{zeros}Z"},
        {"id": 3, "created_at": f"9999-12-31T23:59:59{zeros}", "updated_at": f"2038-01-19T03:14:07{zeros}Z"},
        {"id": 4, "created_at": f"1000-01-01T00:00:00{fraction}", "updated_at": None},
    ]


def test_names_of_tables_and_columns_may_be_written_in_any_case(source: Source) -> None:
    source.run(
        "CREATE TABLE users (ID INT PRIMARY KEY, Current_Signature_File_Id INT)", "INSERT INTO users VALUES (1, 2)"
    )
    assert texts(source.changes()) == [{"id": 1, "current_signature_file_id": 2}]


def test_generated_and_invisible_columns_are_stepped_over(source: Source) -> None:
    source.run(
        "CREATE TABLE users (a INT, v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, id INT PRIMARY KEY,"
        " s VARCHAR(300) GENERATED ALWAYS AS (REPEAT('x', a)) STORED, hidden INT DEFAULT 9 INVISIBLE,"
        " current_signature_file_id INT)",
        "INSERT INTO users (a, id, current_signature_file_id) VALUES (5, 1, 10), (NULL, 2, 20)",
        "UPDATE users SET a = 280",
        "CREATE INDEX by_half ON users ((a DIV 2), id)" if not source.is_mariadb else "SELECT 1",
        "UPDATE users SET current_signature_file_id = 30",
    )
    assert replayed(source.changes()) == {
        ("users", id_): {"id": id_, "current_signature_file_id": 30} for id_ in (1, 2)
    }


def test_resuming_reads_old_binlogs_with_the_columns_of_their_time(source: Source) -> None:
    source.run(USERS, "INSERT INTO users VALUES (1, 'a', 10)", "FLUSH BINARY LOGS")
    source.run("DROP TABLE users", "CREATE TABLE users (current_signature_file_id BINARY(16), id TINYINT PRIMARY KEY)")
    source.run("INSERT INTO users VALUES (X'0a000000000000000000000000000000', -1)")
    for start in (source.start, as_file(source.start)):
        assert texts(source.changes(start)) == [
            {"id": 1, "current_signature_file_id": 10},
            {"id": -1, "current_signature_file_id": "0a000000-0000-0000-0000-000000000000"},
        ]
