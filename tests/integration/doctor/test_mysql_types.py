"""Types of the company's columns on real servers: read, or refused by doctor, setup and reader with what helps."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from consumer.doctor import mysql_facts, mysql_types
from consumer.doctor.check import Check, State
from consumer.settings import MySQLAddress
from tests.integration.doctor.conftest import findings
from tests.integration.reader.world import ReaderWorld

pytestmark = pytest.mark.servers

UUID = "'9f1c2c4e-6c0a-4a4b-9d4e-0a3c5a7b9d01'"


@pytest.fixture(params=["mysql", "mariadb"])
def company(request: pytest.FixtureRequest) -> Iterator[ReaderWorld]:
    with ReaderWorld(request.param) as world:
        yield world


def wrong(world: ReaderWorld) -> dict[str, Check]:
    """What of its types is not ok."""
    checks = mysql_types.judge(mysql_facts.collect(MySQLAddress(world.mysql_url), 10))
    return {check.name: check for check in checks if check.state is not State.OK}


def is_mariadb(world: ReaderWorld) -> bool:
    return world.mysql_url.startswith("mariadb")


def test_the_switch_that_is_a_number_is_read_and_any_other_is_refused(company: ReaderWorld) -> None:
    def found(kind: str) -> dict[str, Check]:
        company.execute(f"ALTER TABLE users DROP COLUMN is_enabled, ADD COLUMN is_enabled {kind}")
        return wrong(company)

    for kind in (
        "TINYINT(1) NOT NULL DEFAULT 1", "TINYINT(1) NULL", "BIT(1) NOT NULL DEFAULT b'1'", "DECIMAL(1,0) NOT NULL",
        "ENUM('0','1') NOT NULL DEFAULT '1'", "ENUM('1','0')", "BOOLEAN", "INT UNSIGNED ZEROFILL",
    ):  # fmt: skip
        assert found(kind) == {}, kind
    for kind in (
        "CHAR(1) NOT NULL DEFAULT 'Y'", "VARCHAR(5)", "ENUM('Y','N')", "ENUM('0','1','2')", "SET('0','1')", "JSON",
        "FLOAT", "DOUBLE NULL", "YEAR",
    ):  # fmt: skip
        check = found(kind)["type of users.is_enabled"]
        assert check.state is State.FAILED, kind
        assert "is_enabled" in check.hint


def test_keys_may_be_integers_texts_or_bytes(company: ReaderWorld) -> None:
    """The company that exists has UUIDs in text."""
    kinds = ["INT", "BIGINT UNSIGNED", "CHAR(36)", "VARCHAR(64) CHARACTER SET latin1", "BINARY(16)"]
    kinds += ["UUID"] if is_mariadb(company) else []
    for kind in kinds:
        company.execute(
            "DROP TABLE claim_requirements",
            f"CREATE TABLE claim_requirements (id {kind} PRIMARY KEY, claim_id {kind}, type TEXT, status VARCHAR(9))"
            " COLLATE utf8mb4_unicode_ci",
            f"ALTER TABLE claims MODIFY id {kind} NOT NULL",
        )
        assert wrong(company) == {}, kind


CURED = {
    "users.id": "ALTER TABLE users MODIFY id FLOAT NOT NULL",
    "users.current_signature_file_id": "ALTER TABLE users MODIFY current_signature_file_id DECIMAL(20,0)",
    "users.created_at": "ALTER TABLE users MODIFY created_at DATE NULL",
    "claims.user_id": "ALTER TABLE claims MODIFY user_id DOUBLE",
    "claims.status": "ALTER TABLE claims MODIFY status SET('open','won''t') NOT NULL DEFAULT 'open'",
    "claim_requirements.id": "ALTER TABLE claim_requirements MODIFY id INT UNSIGNED ZEROFILL NOT NULL AUTO_INCREMENT",
    "claim_requirements.claim_id": "ALTER TABLE claim_requirements MODIFY claim_id CHAR(36)",
    "claim_requirements.type": "ALTER TABLE claim_requirements MODIFY type VARCHAR(20) CHARACTER SET dec8",
    "claim_requirements.status": "ALTER TABLE claim_requirements MODIFY status ENUM('a','b') CHARACTER SET binary",
    "claim_requirements.claim_requirement_reason": (
        "ALTER TABLE claim_requirements MODIFY claim_requirement_reason TEXT CHARACTER SET geostd8"
    ),
}


@pytest.mark.parametrize("place", CURED)
def test_the_printed_statement_makes_a_column_readable(company: ReaderWorld, place: str) -> None:
    company.execute(
        "INSERT INTO users (id) VALUES (1)", "INSERT INTO claims (id, user_id, status) VALUES (1, 1, 'open')"
    )
    company.execute(CURED[place])
    (check,) = wrong(company).values()
    assert check.name == f"type of {place}"
    company.execute(*(part for part in check.hint.split("; ") if part.startswith("ALTER")))
    assert wrong(company) == {}
    assert company.rows("users")[1]["id"] == company.rows("claims")[1]["user_id"] == 1
    assert company.rows("claims")[1]["status"] == "open"


def test_a_claims_id_and_what_refers_to_it_are_one_type_by_the_printed_statement(company: ReaderWorld) -> None:
    company.execute(
        "ALTER TABLE claims MODIFY id CHAR(36) COLLATE utf8mb4_unicode_ci NOT NULL",
        "ALTER TABLE claim_requirements MODIFY claim_id CHAR(36) COLLATE utf8mb4_general_ci",
        f"INSERT INTO claims (id, user_id) VALUES ({UUID}, 1)",
        f"INSERT INTO claim_requirements (id, claim_id) VALUES (1, {UUID})",
    )
    joined = "SELECT c.user_id FROM claims c JOIN claim_requirements t ON t.claim_id = c.id"
    check = wrong(company)["type of claim_requirements.claim_id"]
    assert "does not join them" in check.sentence
    with company.connection() as connection, connection.cursor() as cursor:
        with pytest.raises(Exception, match="Illegal mix of collations"):
            cursor.execute(joined)
        cursor.execute(check.hint)
        cursor.execute(joined)
        assert cursor.fetchall() == ((1,),)
    assert wrong(company) == {}
    if is_mariadb(company):
        company.execute("DELETE FROM claim_requirements", "DELETE FROM claims")
        company.execute("ALTER TABLE claims MODIFY id UUID NOT NULL")
        company.execute("ALTER TABLE claim_requirements MODIFY claim_id BINARY(16)")
        check = wrong(company)["type of claim_requirements.claim_id"]
        company.execute(check.hint)
        assert wrong(company) == {}


def test_users_beyond_a_bigint_are_named_and_keep_nobody_from_being_read(company: ReaderWorld) -> None:
    company.execute("ALTER TABLE users MODIFY id BIGINT UNSIGNED NOT NULL")
    assert wrong(company) == {}
    company.execute(f"INSERT INTO users (id) VALUES ({2**63 - 1})")
    assert wrong(company) == {}
    company.execute(f"INSERT INTO users (id) VALUES ({2**64 - 1})")
    check = wrong(company)["type of users.id"]
    assert check.state is State.WARNING
    assert f"has ids up to {2**64 - 1}" in check.sentence
    assert company.consumer("setup").returncode == 0


def test_setup_makes_nothing_where_the_switch_would_have_to_be_guessed_and_goes_on_with_what_doctor_says(
    company: ReaderWorld,
) -> None:
    company.execute(
        "ALTER TABLE users DROP COLUMN is_enabled, ADD COLUMN is_enabled CHAR(1) NOT NULL DEFAULT 'Y'",
        "CREATE INDEX by_user ON claims (user_id)",
        "CREATE INDEX by_claim ON claim_requirements (claim_id)",
    )
    said = "users.is_enabled is char(1) and has to be an integer type, BIT, DECIMAL or ENUM('0','1')"
    for command in ("setup", "read"):
        refused = company.consumer(command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert said in refused.stderr
        assert "RENAME COLUMN is_enabled TO is_enabled_word" in refused.stderr
        *started, _ = refused.stderr.strip().splitlines()
        assert len(started) == (command == "read"), "what failed is one line"
    topics = AdminClient({"bootstrap.servers": company.bootstrap}).list_topics(timeout=30).topics
    assert [name for name in topics if name.startswith(company.name)] == []
    with psycopg.connect(company.postgres_url) as connection:
        ours = "SELECT count(*) FROM pg_namespace WHERE nspname = 'leadstream'"
        assert connection.execute(ours.encode()).fetchall() == [(0,)]
    check = findings(company.consumer("doctor", "--json"))["mysql type of users.is_enabled"]
    assert (check["state"], said in check["sentence"]) == ("failed", True)
    beside = "ALTER TABLE" + check["hint"].rpartition("ALTER TABLE")[2].partition(", with your word")[0]
    company.execute(beside)
    company.setup()
    reader = company.reader().wait_for("reader_connected")
    company.execute("INSERT INTO users (id, is_enabled_word) VALUES (1, 'Y'), (2, 'N')")
    company.execute("UPDATE users SET is_enabled_word = 'Y' WHERE id = 2")
    rows = [message.value for message in company.finish(reader, 3) if message.value["op"] != "h"]
    rows.sort(key=lambda row: (row["lane"]["version"], row["transaction"]["total_order"]))
    assert [(row["after"]["id"], row["after"]["is_enabled"]) for row in rows] == [(1, 1), (2, 0), (2, 1)]


def test_setup_says_that_mysql_is_away_also_where_everything_is_set_up(company: ReaderWorld) -> None:
    company.setup()
    assert "everything is set up already" in company.setup()
    away = company.consumer("setup", REPLICA_DATABASE_URL="mysql://nobody:s3cret@127.0.0.1:1/company")
    assert (away.returncode, away.stdout) == (1, "")
    assert "127.0.0.1:1 cannot be asked" in away.stderr
    assert "start the server, or correct REPLICA_DATABASE_URL" in away.stderr
    assert "s3cret" not in away.stderr
