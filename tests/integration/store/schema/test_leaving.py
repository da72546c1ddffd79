"""What docs/how-to/data.md has people run: erasing a customer, and uninstalling."""

from __future__ import annotations

import re
import uuid
from typing import Final
from urllib.parse import urlsplit

import psycopg

from consumer.store.schema.setup import prepare
from tests.integration.store.databases import description, new_database, row, rows, run
from tests.integration.store.replayer import LANES, Replayer, requirement
from tests.servers.places import PROJECT
from tests.support.company_tables import call_centre_tables

PAGE: Final = PROJECT / "docs" / "how-to" / "data.md"
GRANTS: Final = PROJECT / "deploy" / "postgres" / "10-grants.sql"
OF_CUSTOMERS: Final = """
SELECT table_name FROM information_schema.columns WHERE table_schema = 'leadstream' AND column_name = 'user_id'
"""
OTHERS: Final = """
INSERT INTO leadstream.shown (user_id, lane, queue_type, until_version) VALUES (1, 0, 'none', 9), (2, 0, 'none', 9);
INSERT INTO leadstream.rechecks (user_id, reason) VALUES (1, 'asked'), (2, 'asked');
INSERT INTO leadstream.kept_conversions (id, user_id) VALUES (gen_random_uuid(), 1), (gen_random_uuid(), 2);
INSERT INTO leadstream.dead_letters (topic, partition, message_offset, reason, detail, user_id, size, digest)
VALUES ('users', 0, 1, 'malformed', '', 1, 0, ''), ('users', 0, 2, 'malformed', '', 2, 0, '');
INSERT INTO leadstream.left_behind (name, version, content)
VALUES ('user:1', 1, ''), ('gone:1', 1, ''), ('claim:1', 1, ''),
       ('user:2', 1, ''), ('claim:2', 1, ''), ('claim:12', 1, '');
INSERT INTO leadstream.runs (name, started_at, counts)
VALUES ('verify', now(), '{"checked": 5, "drift_users": [1, 2], "repaired_users": [1]}'),
       ('verify', now(), '{"checked": 7, "drift_users": [2, 12], "repaired_users": []}')
"""


def block(heading: str) -> str:
    """The statements in a section of the page."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    found: str
    (found,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return found


def test_the_statements_that_erase_a_customer_leave_nothing_of_that_one_and_all_of_the_others(
    replayer: Replayer, database: str
) -> None:
    for user_id in (1, 2):
        replayer.register(user_id)
        replayer.commit(user_id, [(None, requirement(user_id, 10 * user_id))])
        replayer.sign(user_id, f"file-{user_id}")
    run(database, OTHERS)
    tables = [table for (table,) in rows(database, OF_CUSTOMERS)]
    held = {table: rows(database, f"SELECT * FROM leadstream.{table} WHERE user_id = 2") for table in tables}
    assert all(held.values()), held
    statements = block("Erasing a customer")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(statements.replace(":customer", "1").encode())
    for table in tables:
        assert rows(database, f"SELECT * FROM leadstream.{table} WHERE user_id = 1") == [], table
        assert rows(database, f"SELECT * FROM leadstream.{table} WHERE user_id = 2") == held[table]
    assert rows(database, "SELECT name FROM leadstream.left_behind ORDER BY 1") == [
        ("claim:12",), ("claim:2",), ("user:2",),
    ]  # fmt: skip
    assert rows(database, "SELECT counts FROM leadstream.runs ORDER BY id") == [
        ({"checked": 5},), ({"checked": 7, "drift_users": [2, 12], "repaired_users": []},),
    ]  # fmt: skip


def test_the_statements_that_uninstall_leave_the_call_centre_as_it_was(server_url: str) -> None:
    role = f"leaving_{uuid.uuid4().hex[:8]}"

    def ours(text: str) -> str:
        return re.sub(r"(TO|ROLE|BY|rolname =) ('?)leadstream", rf"\1 \2{role}", text)

    with new_database(server_url) as url:
        run(url, call_centre_tables())
        before = description(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(ours(GRANTS.read_text()).encode())
        parts = urlsplit(url)
        prepare(parts._replace(netloc=f"{role}:leadstream@{parts.hostname}:{parts.port}").geturl(), LANES, 1)
        assert description(url) != before
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in block("Uninstalling").split(";\n"):
                connection.execute(ours(statement).encode())
        assert description(url) == before
        assert row(url, "SELECT count(*) FROM pg_roles WHERE rolname = %s", role) == (0,)
