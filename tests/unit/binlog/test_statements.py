"""What logged statements mean for the captured tables."""

from __future__ import annotations

import pytest

from consumer.binlog.events import SchemaChange, Statement
from consumer.binlog.statements import Scope, effects, leading_words

SCOPE = Scope("shop", ("users", "claims", "claim_requirements"), fold=False)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO users VALUES (1)", [Statement("users", "INSERT")]),
        ("insert delayed into `users` select * from claims", [Statement("users", "INSERT")]),
        ("INSERT shop.claims SET id = 1", [Statement("claims", "INSERT")]),
        ("INSERT INTO elsewhere.users VALUES (1)", [Statement(None, "INSERT")]),
        ("INSERT INTO visits VALUES ('users')", [Statement(None, "INSERT")]),
        ("REPLACE LOW_PRIORITY claims VALUES (1)", [Statement("claims", "REPLACE")]),
        (
            "UPDATE users u JOIN claims c ON c.user_id = u.id SET c.x = 1",
            [Statement(t, "UPDATE") for t in ("users", "claims")],
        ),
        ("UPDATE `shop`.`users` SET a = 'it''s \\' users'", [Statement("users", "UPDATE")]),
        ("DELETE FROM visits WHERE note = 'users'", [Statement(None, "DELETE")]),
        ("/* users */ DELETE -- claims\n FROM claim_requirements # users", [Statement("claim_requirements", "DELETE")]),
        ("WITH x AS (SELECT 1) DELETE FROM claims USING claims, x", [Statement("claims", "WITH")]),
        ("(UPDATE users SET a = 1)", [Statement("users", "UPDATE")]),
        ("LOAD DATA LOCAL INFILE '/tmp/SQL_LOAD-1' REPLACE INTO TABLE `users` (`id`)", [Statement("users", "LOAD")]),
        ("SELECT `shop`.`change_things`()", [Statement(None, "SELECT")]),
        ("CALL work()", [Statement(None, "CALL")]),
        ("UPDATE Users SET a = 1", [Statement(None, "UPDATE")]),
        ("/*!50000 UPDATE */ /*M! users */ SET a = 1", [Statement("users", "UPDATE")]),
        ("GRANT SELECT ON users TO somebody", []),
        ("ANALYZE TABLE users", []),
        ("FLUSH TABLES", []),
        ("", []),
        ("# Dum", []),
        ("CREATE TABLE users (id INT)", [SchemaChange("users", "CREATE")]),
        ("CREATE OR REPLACE TABLE users (id INT)", [SchemaChange("users", "DROP"), SchemaChange("users", "CREATE")]),
        ("ALTER TABLE users CONVERT PARTITION p TO TABLE old", [SchemaChange("users", "TRUNCATE")]),
        ("ALTER TABLE old CONVERT PARTITION p TO TABLE users", [SchemaChange("users", "TRUNCATE")]),
        ("ALTER TABLE old CONVERT TABLE users TO PARTITION p VALUES IN (1)", [SchemaChange("users", "TRUNCATE")]),
        ("ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4", [SchemaChange("users", "MODIFY")]),
        ("ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4, RENAME AS u", [SchemaChange("users", "RENAME")]),
        ("CREATE TABLE users AS SELECT * FROM s", [SchemaChange("users", "DROP"), SchemaChange("users", "CREATE")]),
        ("CREATE TABLE users (id INT) SELECT 1", [SchemaChange("users", "DROP"), SchemaChange("users", "CREATE")]),
        ("CREATE TABLE IF NOT EXISTS users TABLE s", [SchemaChange("users", "DROP"), SchemaChange("users", "CREATE")]),
        ("CREATE TABLE users (id INT COMMENT 'SELECT', `table` INT)", [SchemaChange("users", "CREATE")]),
        ("CREATE TABLE users LIKE s", [SchemaChange("users", "CREATE")]),
        ("CREATE TABLE IF NOT EXISTS shop . users LIKE t", [SchemaChange("users", "CREATE")]),
        ("CREATE TABLE visits (u INT REFERENCES users (id))", []),
        ("CREATE TEMPORARY TABLE users (id INT)", []),
        ("CREATE OR REPLACE TEMPORARY TABLE users (id INT)", []),
        ("CREATE UNIQUE INDEX users ON users (id)", []),
        ("CREATE TRIGGER users AFTER INSERT ON users FOR EACH ROW SET @a = 1", []),
        ("CREATE VIEW v AS SELECT * FROM users", []),
        ("ALTER TABLE users ADD claims INT", [SchemaChange("users", "ALTER")]),
        ("ALTER TABLE users MODIFY is_enabled INT", [SchemaChange("users", "MODIFY")]),
        ("ALTER TABLE users ADD x INT, DROP COLUMN Current_Signature_File_Id", [SchemaChange("users", "MODIFY")]),
        ("ALTER TABLE claims WAIT 5 CHANGE `status` s ENUM('a','b')", [SchemaChange("claims", "MODIFY")]),
        ("ALTER TABLE claims RENAME COLUMN state TO status", [SchemaChange("claims", "MODIFY")]),
        ("ALTER TABLE claims ADD COLUMN (x INT, status TEXT)", [SchemaChange("claims", "MODIFY")]),
        ("ALTER TABLE claims ADD x INT AFTER status, ADD INDEX status (status)", [SchemaChange("claims", "ALTER")]),
        ("ALTER TABLE claims MODIFY updated_at DATETIME(6), ENGINE=InnoDB", [SchemaChange("claims", "ALTER")]),
        ("ALTER TABLE claims COMMENT 'MODIFY status'", [SchemaChange("claims", "ALTER")]),
        ("ALTER TABLE visits MODIFY status INT", []),
        ("ALTER ONLINE TABLE IF EXISTS claims ENGINE=InnoDB", [SchemaChange("claims", "ALTER")]),
        ("ALTER ONLINE IGNORE TABLE IF EXISTS claims ENGINE=InnoDB", [SchemaChange("claims", "TRUNCATE")]),
        ("ALTER IGNORE TABLE claims ADD UNIQUE (user_id)", [SchemaChange("claims", "TRUNCATE")]),
        ("ALTER TABLE claims ADD UNIQUE (user_id)", [SchemaChange("claims", "ALTER")]),
        ("ALTER TABLE claims DROP COLUMN a, DROP SYSTEM VERSIONING", [SchemaChange("claims", "TRUNCATE")]),
        ("ALTER TABLE claims ADD SYSTEM VERSIONING", [SchemaChange("claims", "ALTER")]),
        ("ALTER TABLE visits ADD CONSTRAINT FOREIGN KEY (u) REFERENCES users (id)", []),
        ("ALTER TABLE users RENAME COLUMN a TO b, RENAME INDEX c TO d", [SchemaChange("users", "ALTER")]),
        ("ALTER TABLE users RENAME AS old_users", [SchemaChange("users", "RENAME")]),
        ("ALTER TABLE new_users RENAME TO users", [SchemaChange("users", "RENAME")]),
        ("ALTER TABLE users DROP COLUMN a, TRUNCATE PARTITION p", [SchemaChange("users", "TRUNCATE")]),
        ("ALTER TABLE users DROP COLUMN `partition`", [SchemaChange("users", "ALTER")]),
        ("ALTER TABLE parts EXCHANGE PARTITION p WITH TABLE claims", [SchemaChange("claims", "TRUNCATE")]),
        ("ALTER TABLE users DISCARD TABLESPACE", [SchemaChange("users", "TRUNCATE")]),
        ("ALTER DATABASE shop CHARACTER SET utf8mb4", []),
        ("DROP TABLE IF EXISTS visits, users, other.claims /* generated by server */", [SchemaChange("users", "DROP")]),
        ("DROP TEMPORARY TABLE IF EXISTS users", []),
        ("DROP VIEW users", []),
        ("DROP DATABASE IF EXISTS `other`", []),
        ("DROP DATABASE shop", [SchemaChange(t, "DROP") for t in SCOPE.tables]),
        ("TRUNCATE users", [SchemaChange("users", "TRUNCATE")]),
        ("TRUNCATE TABLE other.users", []),
        ("RENAME TABLE users TO _users_del, _users_gho TO users", [SchemaChange("users", "RENAME")]),
        ("RENAME TABLE claims TO other.claims", [SchemaChange("claims", "RENAME")]),
        ("RENAME USER users TO claims", []),
        ("SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE TABLE users", [SchemaChange("users", "TRUNCATE")]),
        (
            "set statement a=(SELECT f(b) FOR UPDATE), c='for' for update claims set d = 1",
            [Statement("claims", "UPDATE")],
        ),
        ("SET STATEMENT a=1 FOR SET STATEMENT b=2 FOR DROP TABLE users", [SchemaChange("users", "DROP")]),
        ("SET STATEMENT a=1 FOR CREATE OR REPLACE TEMPORARY TABLE users (id INT)", []),
        (
            "SET STATEMENT a=1 FOR CREATE OR REPLACE TABLE users (id INT)",
            [SchemaChange("users", "DROP"), SchemaChange("users", "CREATE")],
        ),
        ("SET STATEMENT a=1 FOR FLUSH TABLES", []),
        ("SET STATEMENT", []),
        ("SET @a = 1", []),
        ("ANALYZE UPDATE users SET a = 1", [Statement("users", "UPDATE")]),
        ("ANALYZE FORMAT=JSON DELETE FROM claims", [Statement("claims", "DELETE")]),
        ("ANALYZE NO_WRITE_TO_BINLOG TABLE users", []),
        ("ANALYZE LOCAL TABLES users, claims", []),
        ("ANALYZE", []),
        ("CREATE OR REPLACE DATABASE shop", [SchemaChange(t, "DROP") for t in SCOPE.tables]),
        ("CREATE OR REPLACE SCHEMA elsewhere", []),
        ("CREATE DATABASE IF NOT EXISTS shop", []),
    ],
)
def test_statements_are_told_by_their_words(sql: str, expected: list[Statement | SchemaChange]) -> None:
    assert effects(sql, "shop", SCOPE) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE users SET a = 1", []),
        ("UPDATE shop.users SET a = 1", [Statement("users", "UPDATE")]),
        ("UPDATE visits SET a = 1", []),
        ("UPDATE shop.visits SET a = 1", [Statement(None, "UPDATE")]),
        ("DROP TABLE shop.users", [SchemaChange("users", "DROP")]),
        ("TRUNCATE users", []),
    ],
)
def test_bare_names_are_those_of_the_session_s_database(sql: str, expected: list[Statement | SchemaChange]) -> None:
    assert effects(sql, "elsewhere", SCOPE) == expected


def test_names_are_compared_without_case_where_the_server_does_so() -> None:
    folded = Scope("Shop", SCOPE.tables, fold=True)
    assert effects("UPDATE USERS SET a = 1", "sHOP", folded) == [Statement("users", "UPDATE")]
    assert effects("DROP TABLE SHOP.Claims", "", folded) == [SchemaChange("claims", "DROP")]


def test_a_statement_of_megabytes_is_read_quickly() -> None:
    rows = ",".join(f"({n},'{'x' * 50}')" for n in range(50_000))
    assert effects(f"INSERT INTO users VALUES {rows}", "shop", SCOPE) == [Statement("users", "INSERT")]


def test_leading_words_are_read_lazily() -> None:
    assert leading_words("/* a */ rollback   to `b` -- c") == ("ROLLBACK", "TO", "")
