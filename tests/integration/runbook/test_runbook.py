"""Every command of the runbook, in its order, against real servers; the replica follows a primary, and is changed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.integration.runbook.text import alert_commands, alert_queries, lasting_commands, sections
from tests.integration.store import databases
from tests.servers import PrivateServer, ensure
from tests.servers.places import PROJECT
from tests.support.company_tables import script
from tests.support.environments import environment
from tests.support.ports import free_port
from tests.support.topic_settings import alter_topic
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

FOLLOW = """
CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'leadstream',
    SOURCE_PASSWORD = 'leadstream', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1
"""

PASSWORD = "runbook"
"""Of the owner of the call centre's tables, and of our account there."""

SHELL = "while read -r; do source ./block.sh </dev/null >block.out 2>&1; echo done; done"
"""Our processes are this shell's children, so that it notices their end."""


class Company:
    """A primary server, two replicas of it, and a call centre with an old system's queues."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        servers = ensure(("kafka", "postgres"))
        self.folder = folder
        self.brokers = servers.kafka_bootstrap
        self.prefix = f"runbook-{uuid.uuid4().hex[:8]}"
        self.primary = stack.enter_context(servers.private_mysql())
        self.replicas = [stack.enter_context(servers.private_mysql([f"--server-id={number}"])) for number in (2, 3)]
        self.owner, self.ours = (f"{name}_{uuid.uuid4().hex[:8]}" for name in ("runbook_owner", "runbook_ours"))
        stack.callback(self._drop_roles, servers.postgres_url)
        databases.run(servers.postgres_url, f"CREATE ROLE {self.owner} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        self.centre = stack.enter_context(databases.new_database(servers.postgres_url, f"OWNER {self.owner}"))
        self.at(self.primary, *script(PROJECT / "deploy" / "mysql" / "05-company.sql"))
        for replica in self.replicas:
            self.at(replica, FOLLOW.format(port=urlsplit(self.primary.url).port), "START REPLICA")
        self.change(
            "INSERT INTO users (id, email_address)"
            " VALUES (8910, 'z@example.org'), (8911, 'a@example.org'), (8912, 'b@example.org')"
        )
        self.ask((PROJECT / "deploy" / "postgres" / "05-callcentre.sql").read_text(), self.owner)
        self.ask(
            "INSERT INTO user_call_scores (id, user_id, current_queue_type, updated_at)"
            " VALUES (gen_random_uuid(), 8912, 'requirements_outstanding', now() AT TIME ZONE 'utc')",
            self.owner,
        )
        admin = urlsplit(self.replicas[0].url)
        self.environment = environment(
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            MYSQL_ADMIN=f"-h127.0.0.1 -P{admin.port} -uleadstream -pleadstream",
            CENTRE_OWNER=self._url(self.owner),
            CENTRE=self._url(self.ours),
            REPLICA=admin._replace(path="/company").geturl(),
            OTHER_REPLICA=urlsplit(self.replicas[1].url)._replace(path="/company").geturl(),
            BROKERS=servers.kafka_bootstrap,
            PREFIX=self.prefix,
            LAST_SCAN=datetime.now(UTC).isoformat(),
            HTTP_PORT=str(free_port()),
            READER_HEARTBEAT_SECONDS="0.4",
            RECHECK_WAIT_SECONDS="1",
        )
        self._deploy()
        self.shell = subprocess.Popen(
            ["bash", "-eo", "pipefail", "-c", SHELL], cwd=folder, env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        stack.callback(self._tidy, servers.kafka_bootstrap)

    def at(self, server: PrivateServer, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements at one of the MySQL servers; rows of the last."""
        with closing(login(MySQLAddress(server.url), 10, 60)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def change(self, *statements: str) -> None:
        """Changes the company's rows at the primary server."""
        self.at(self.primary, "USE company", *statements)

    def ask(self, statement: str, role: str = "") -> list[tuple[Any, ...]]:
        """Runs a statement in the call centre's database, as this role or as a superuser."""
        with psycopg.connect(self._url(role) if role else self.centre, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _url(self, role: str) -> str:
        """The call centre's database for one of the two roles, neither of which is a superuser."""
        parts = urlsplit(self.centre)
        return parts._replace(netloc=f"{role}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}").geturl()

    def _deploy(self) -> None:
        """The files of the deployment, with our role's name and password as somebody writes them who begins."""
        shutil.copytree(PROJECT / "deploy" / "mysql", self.folder / "deploy" / "mysql")
        grants = (PROJECT / "deploy" / "postgres" / "10-grants.sql").read_text()
        grants = grants.replace("PASSWORD 'leadstream'", f"PASSWORD '{PASSWORD}'")
        (self.folder / "deploy" / "postgres").mkdir()
        (self.folder / "deploy" / "postgres" / "10-grants.sql").write_text(
            re.sub(r"(TO|ROLE|rolname =) ('?)leadstream", rf"\1 \2{self.ours}", grants)
        )

    def _drop_roles(self, url: str) -> None:
        for role in (self.ours, self.owner):
            databases.run(url, f"DROP ROLE IF EXISTS {role}")

    def run(self, block: str) -> None:
        """Runs one block as a person does who pastes it into the one shell, which a block that fails ends."""
        script, output = self.folder / "block.sh", self.folder / "block.out"
        script.write_text(block)
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(b"x\n")
        self.shell.stdin.flush()
        if self.shell.stdout.readline() != b"done\n":
            logs = {path.name: path.read_text()[-1500:] for path in self.folder.glob("*.log")}
            raise AssertionError(f"{block}\n{output.read_text()}\n{logs}")

    def wait_for(self, statement: str, expected: list[tuple[Any, ...]]) -> None:
        """Until the call centre's database answers so."""

        def seen() -> object:
            return self.ask(statement), {path.name: path.read_text()[-1500:] for path in self.folder.glob("*.log")}

        until(lambda: self.ask(statement) == expected, f"{statement} found {expected}", seen=seen, pause=0.2)

    def _end(self, name: str) -> None:
        path = self.folder / f"{name}.pid"
        if path.exists():
            try:
                os.kill(int(path.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                path.unlink()

    def stop(self, name: str) -> None:
        """Ends one of our processes, as an outage would, and waits for its end."""
        self._end(name)
        self.run(f'tail --pid="$(cat {name}.pid)" -f /dev/null')

    def _tidy(self, bootstrap: str) -> None:
        for name in ("reader", "applier", "reconciler"):
            self._end(name)
        self.shell.kill()
        self.shell.wait()
        admin = AdminClient({"bootstrap.servers": bootstrap})
        names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(self.prefix)]
        for future in admin.delete_topics(names).values():
            future.exception(30)


READY = "curl --silent --fail --retry 40 --retry-all-errors --retry-delay 1 http://127.0.0.1:$HTTP_PORT/health/ready"
"""Waits until the reconciler can work."""
CONVERSIONS = "SELECT user_id, conversion_type FROM conversions ORDER BY user_id, converted_at"
EARNED = "SELECT user_id, conversion_type FROM leadstream.stints WHERE conversion_type IS NOT NULL"
APART = (
    "SELECT FROM leadstream.stints AS stint JOIN conversions USING (user_id, conversion_type)"
    " WHERE (stint.closed_at AT TIME ZONE 'utc') - converted_at"
)
DOUBLE = "SELECT user_id FROM call_queue WHERE status = 'pending' GROUP BY user_id HAVING count(*) > 1"
WON = [(user_id, "signature_obtained") for user_id in (8910, 8911, 8912)]
QUEUES = "SELECT user_id, current_queue_type FROM user_call_scores ORDER BY user_id"


def purge(company: Company) -> None:
    """A customer signs while the reader is away, and the binlog that says so is purged."""
    company.stop("reader")
    company.change("INSERT INTO users (id, email_address, current_signature_file_id) VALUES (8913, 'c@example.org', 7)")
    replica = company.replicas[1]
    until(lambda: company.at(replica, "SELECT id FROM company.users WHERE id = 8913"), "the replica had the customer")
    company.at(replica, "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")


def shadowed(company: Company) -> None:
    """After the roll back nothing is written to the call centre; we cut over again, and what was signed in between is
    published once, with the time at which it was."""
    before = company.ask(QUEUES)
    assert before == [(user_id, "unsigned_users") for user_id in (8910, 8911, 8912)]
    company.change("UPDATE users SET current_signature_file_id = 4 WHERE id = 8910")
    company.wait_for(EARNED, [(8910, "signature_obtained")])
    assert (company.ask(CONVERSIONS), company.ask(QUEUES)) == ([], before)
    for block in next(section for section in sections() if section.heading == "First deployment").blocks[-2:-1]:
        company.run(block)
    assert company.ask(CONVERSIONS) == [(8910, "signature_obtained")]
    assert company.ask(f"{APART} > interval '1 ms'") == []
    company.change("UPDATE users SET current_signature_file_id = 5 WHERE id = 8911")
    company.wait_for(CONVERSIONS, WON[:2])


def on_the_other_replica(company: Company) -> None:
    """The stream goes on from the other server."""
    port = urlsplit(company.replicas[1].url).port
    company.run(f"export MYSQL_ADMIN='-h127.0.0.1 -P{port} -uleadstream -pleadstream'")
    company.at(company.replicas[0], "STOP REPLICA")
    company.change("UPDATE users SET current_signature_file_id = 6 WHERE id = 8912")
    company.wait_for(CONVERSIONS, WON)


def known_again(company: Company) -> None:
    """What the purged binlog held is known all the same."""
    company.wait_for("SELECT queue_type FROM leadstream.leads WHERE user_id = 8913", [("none",)])


def nothing_twice(company: Company) -> None:
    """A restored schema is caught up with, and no conversion was written twice."""
    company.change("INSERT INTO users (id, email_address) VALUES (8914, 'd@example.org')")
    company.wait_for("SELECT current_queue_type FROM user_call_scores WHERE user_id = 8914", [("unsigned_users",)])
    assert company.ask(CONVERSIONS) == WON
    assert company.ask(DOUBLE) == []


def partitions_added(company: Company) -> None:
    """An administrator gives one topic more partitions."""
    admin = AdminClient({"bootstrap.servers": company.brokers})
    name = f"{company.prefix}.2.users"
    count = len(admin.list_topics(name, timeout=30).topics[name].partitions) + 2
    for future in admin.create_partitions([NewPartitions(name, count)]).values():
        future.result(30)
    until(
        lambda: len(admin.list_topics(name, timeout=30).topics[name].partitions) == count, "the partitions were there"
    )


def retention_lowered(company: Company) -> None:
    """An administrator has changes kept for an hour."""
    alter_topic(company.brokers, f"{company.prefix}.2.claims", "retention.ms", "3600000")


BEFORE: dict[str, Callable[[Company], None]] = {
    "Purged binlogs": purge,
    "Partitions added": partitions_added,
    "Retention lowered": retention_lowered,
}
AFTER: dict[str, Callable[[Company], None]] = {
    "First deployment": shadowed,
    "Moving to another replica": on_the_other_replica,
    "Purged binlogs": known_again,
    "Backup and restore of our own schema": nothing_twice,
}


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with ExitStack() as stack:
        yield Company(tmp_path, stack)


def nothing_before(company: Company) -> None:
    """Most sections need no preparation."""


def test_every_command_of_the_runbook_does_what_it_says(company: Company) -> None:
    found = sections()
    assert {*BEFORE, *AFTER} <= {section.heading for section in found}
    for section in found:
        BEFORE.get(section.heading, nothing_before)(company)
        for block in section.blocks:
            company.run(block)
        AFTER.get(section.heading, nothing_before)(company)
    for command in alert_commands():
        # The stream began anew a minute ago: of the time before, an audit says that nobody can judge it.
        company.run(f"{command} || [ $? -eq 4 ]" if command.startswith("consumer audit") else command)
    for query in alert_queries():
        company.at(company.replicas[1], query) if query.startswith("SHOW") else company.ask(query, company.ours)
    ended = 'kill "$(cat {0}.pid)"; wait "$(cat {0}.pid)"'  # its exit code is that of the process
    for name in ("reconciler", "reader", "applier"):
        company.run(ended.format(name))
    assert lasting_commands() == ["reconciler serve"]  # the others lasted since their blocks
    company.run("reconciler serve >>reconciler.log 2>&1 & echo $! >reconciler.pid")
    company.run(READY)
    company.run(ended.format("reconciler"))
