"""The whole system over mutual TLS and SCRAM, under the least grants, without a word of a secret in any output."""

from __future__ import annotations

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.integration.doctor.conftest import findings
from tests.integration.security.fortress import FORBIDDEN, SECRETS, SESSION_SECONDS, Fortress, built
from tests.support.processes import Process

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]


class Failing(NamedTuple):
    """A command that fails because one setting is wrong, and its exit code, where that is known."""

    command: tuple[str, ...]
    setting: str
    value: str
    code: int | None = None


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    with built(tmp_path_factory.mktemp("fortress")) as fortress:
        yield fortress


@pytest.fixture(scope="module")
def outputs(fortress: Fortress) -> dict[str, str]:
    """What every command said while the system did its work over the locked doors; all of it went well."""
    said: dict[str, str] = {}

    def run(program: str, *arguments: str) -> str:
        done = fortress.run(program, *arguments)
        said[f"{program} {' '.join(arguments)}"] = done.stdout
        assert done.returncode == 0, done.stdout
        return done.stdout

    fortress.company("INSERT INTO users (id, email_address, password) VALUES (1, 'a@example.org', 'their-own-secret')")
    run("consumer", "setup")
    run("reconciler", "backfill")
    with (
        fortress.running("consumer", "read") as reader,
        fortress.running("consumer", "apply") as applier,
        fortress.running("reconciler", "serve") as server,
    ):
        reader.wait_for("reader_connected")
        fortress.company("UPDATE users SET current_signature_file_id = 5 WHERE id = 1")
        signed = [(1, "signature_obtained")]
        applier.until(
            lambda: fortress.centre("SELECT user_id, conversion_type FROM conversions") == signed, "one had signed"
        )
        for process in (reader, applier, server):
            process.check()
        run("consumer", "doctor", "--json")
        run("consumer", "status")
        run("consumer", "explain", "1")
        run("consumer", "dead-letters", "list")
        run("consumer", "audit")
        run("reconciler", "run", "all")
        run("reconciler", "verify")
        run("reconciler", "age")
        _use_the_api(server.wait_for("reconciler_started"), said)
    return said | {process.name: process.text() for process in (reader, applier, server)}


def _use_the_api(server: Process, said: dict[str, str]) -> None:
    """Starts a run with the token and with a wrong one."""
    address = next(line["address"] for line in server.lines() if line["event"] == "reconciler_started")
    started_or_done = (200, 202)  # 202 where the run takes longer than the API waits for it
    for name, token, expected in (
        ("right", SECRETS["token"], started_or_done),
        ("wrong", SECRETS["token"][:-1], (401,)),
    ):
        request = urllib.request.Request(
            f"http://{address}/sweeps/new-users", b"{}",
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (our own address)
                status, said[f"{name} token"] = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, said[f"{name} token"] = error.code, error.read().decode()
        assert status in expected, said[f"{name} token"]


def test_everything_works_over_mutual_tls_and_scram_under_the_least_grants(outputs: dict[str, str]) -> None:
    report = json.loads(next(text for name, text in outputs.items() if "doctor" in name).splitlines()[-1])
    wrong = {check["name"] for check in report["checks"] if check["state"] != "ok"}
    assert wrong <= {"replication"}  # one broker has one copy


def test_no_output_of_any_command_holds_a_secret(fortress: Fortress, outputs: dict[str, str]) -> None:
    failing: list[Failing] = []
    for name, file in (("REPLICA_DATABASE_URL", "replica-url"), ("DATABASE_URL", "database-url")):
        url = (fortress.files / file).read_text()
        for word in (url.replace("-word@", "-word-wrong@"), url.replace("127.0.0.1", "nowhere.invalid")):
            failing += [
                Failing(("consumer", "doctor"), name, word, 1),
                Failing(("consumer", "setup"), name, word),
                Failing(("consumer", "explain", "1"), name, word),
            ]
        failing.append(Failing(("consumer", "setup"), name, f"ftp://x:{SECRETS['mysql']}@h/"))
    failing += [
        Failing(("consumer", "doctor"), "KAFKA_SASL_PASSWORD", f"{SECRETS['kafka']}-wrong"),
        Failing(("consumer", "doctor"), "KAFKA_SSL_CA_LOCATION", str(fortress.strangers / "ca.pem")),
    ]
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda one: fortress.run(*one.command, **{one.setting: one.value}), failing))
    told = []
    for one, done in zip(failing, ended, strict=True):
        assert done.stdout, one.command
        assert one.code in (None, done.returncode), done.stdout
        told.append((" ".join(one.command), done.stdout))
    for command, text in (*outputs.items(), *told):
        for secret in (*SECRETS.values(), "their-own-secret", "a@example.org"):
            assert secret not in text, command
    assert len(outputs) + len(told) > 25


def _without_certificates(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


def test_servers_refuse_who_has_the_password_but_no_certificate(fortress: Fortress) -> None:
    replica = _without_certificates((fortress.files / "replica-url").read_text())
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        login(MySQLAddress(f"{replica}?ssl_mode=REQUIRED"), 5, 5)
    database = _without_certificates((fortress.files / "database-url").read_text())
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        psycopg.connect(f"{database}?sslmode=require")
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        psycopg.connect(f"{database}?sslmode=disable")
    kafka = fortress.run("consumer", "doctor", "--json", KAFKA_SSL_CERTIFICATE_LOCATION="", KAFKA_SSL_KEY_LOCATION="")
    assert "kafka reachable" in findings(kafka)


def test_our_clients_refuse_a_server_whose_authority_they_do_not_know(fortress: Fortress) -> None:
    ours, strangers = f"{fortress.files}/ca.pem", f"{fortress.strangers}/ca.pem"
    changed = {
        "REPLICA_DATABASE_URL": (fortress.files / "replica-url").read_text().replace(ours, strangers),
        "DATABASE_URL": (fortress.files / "database-url").read_text().replace(ours, strangers),
        "KAFKA_SSL_CA_LOCATION": strangers,
    }
    found = findings(fortress.run("consumer", "doctor", "--json", **changed))
    assert found.keys() == {"mysql reachable", "kafka reachable", "postgres reachable"}
    said = {name: check["sentence"].lower().replace("_", " ") for name, check in found.items()}
    assert all("certificate" in sentence and "verif" in sentence for sentence in said.values()), list(said.values())


def test_the_account_in_mysql_sees_no_personal_data_and_changes_nothing(fortress: Fortress) -> None:
    replica = (fortress.files / "replica-url").read_text()
    with closing(login(MySQLAddress(replica), 5, 30)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT u.id, c.status FROM users u LEFT JOIN claims c ON c.user_id = u.id")
        for forbidden in (
            *FORBIDDEN,
            "SELECT id FROM users WHERE phone_number = '1'",
        ):
            with pytest.raises(pymysql.err.MySQLError, match="denied"):
                cursor.execute(forbidden)


def test_the_account_in_postgresql_cannot_touch_what_is_the_call_centres(fortress: Fortress, outputs: object) -> None:
    database = (fortress.files / "database-url").read_text()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT count(*) FROM leadstream.leads")
        for forbidden in (
            "DROP TABLE user_call_scores",
            "DELETE FROM conversions",
            "UPDATE conversions SET final_score = 1",
            "DELETE FROM user_call_scores",
            "DELETE FROM call_queue",
            "TRUNCATE call_queue",
            "ALTER TABLE user_call_scores ADD COLUMN mine int",
            "CREATE TABLE public.mine (id int)",
            "SELECT * FROM agents",
            "SELECT * FROM pg_authid",
            "COPY call_queue TO '/tmp/queue'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())


def test_kafka_lets_us_touch_no_topics_but_our_own(fortress: Fortress) -> None:
    other = findings(fortress.run("consumer", "doctor", "--json", TOPIC_PREFIX="theirs"))
    assert {"kafka topic ACLs", "kafka group ACLs", "kafka transactions"} <= other.keys()
    refused = fortress.run("consumer", "setup", TOPIC_PREFIX="theirs")
    assert refused.returncode == 1
    assert "authoriz" in refused.stdout.lower()


def test_the_commands_that_the_doctor_prints_for_kafka_give_what_is_missing(fortress: Fortress) -> None:
    for _ in range(2):  # what a topic lacks is seen when it exists
        found = findings(fortress.run("consumer", "doctor", "--json", TOPIC_PREFIX="granted"))
        for check in found.values():
            if check["hint"].startswith("kafka-acls.sh"):
                fortress.administer(check["hint"].replace(fortress.environment["KAFKA_BOOTSTRAP_SERVERS"], "$BROKERS"))
        assert fortress.run("consumer", "setup", TOPIC_PREFIX="granted").returncode in (0, 1)
    left = findings(fortress.run("consumer", "doctor", "--json", TOPIC_PREFIX="granted"))
    assert not {"kafka topics", "kafka topic ACLs", "kafka group ACLs", "kafka transactions"} & left.keys(), left


@contextmanager
def changing(fortress: Fortress) -> Iterator[None]:
    """A customer who changes all the time."""
    over = Event()

    def change() -> None:
        for number in itertools.count():
            if over.wait(0.01):
                return
            fortress.company(f"UPDATE users SET current_signature_file_id = {number % 5 + 1} WHERE id = 1")

    thread = Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_processes_go_on_when_the_passwords_of_kafka_and_postgresql_are_renewed(
    fortress: Fortress, outputs: dict[str, str]
) -> None:
    assert outputs, "everything is set up"
    url, kafka = fortress.files / "database-url", fortress.files / "kafka"
    first = url.read_text()
    with (
        fortress.running("consumer", "read") as reader,
        fortress.running("consumer", "apply") as applier,
        fortress.running("reconciler", "serve") as server,
    ):
        reader.wait_for("reader_connected")
        applier.wait_for("lanes_assigned")
        server.wait_for("reconciler_started")
        try:
            with changing(fortress):  # so that a Kafka transaction is under way when its password is no longer right
                fortress.renew_in_kafka(f"{SECRETS['kafka']}-2")
                reader.wait_for("kafka_password_awaited")
            kafka.write_text(f"{SECRETS['kafka']}-2\n")
            url.write_text(first.replace(SECRETS["postgres"], f"{SECRETS['postgres']}-2"))
            fortress.renew_in_postgres(f"{SECRETS['postgres']}-2")
            for process in (reader, applier, server):
                process.wait_for("kafka_password_renewed")
            time.sleep(2 * SESSION_SECONDS)  # every connection has had to log in again
            fortress.company(
                "INSERT INTO users (id, email_address, password) VALUES (2, 'b@example.org', 'their-own-secret')"
            )
            fortress.company("UPDATE users SET current_signature_file_id = 6 WHERE id = 2")
            applier.until(
                lambda: (
                    fortress.centre("SELECT conversion_type FROM conversions WHERE user_id = 2")
                    == [("signature_obtained",)]
                ),
                "another one had signed",
            )
            for process in (reader, applier, server):
                process.check()
        finally:
            kafka.write_text(f"{SECRETS['kafka']}\n")
            fortress.renew_in_kafka(SECRETS["kafka"])
            url.write_text(first)
            fortress.renew_in_postgres(SECRETS["postgres"])
    for process in (reader, applier, server):
        for secret in SECRETS.values():
            assert secret not in process.text(), process.name


def test_a_certificate_that_is_renewed_is_read_anew(fortress: Fortress, outputs: dict[str, str]) -> None:
    assert outputs, "everything is set up"
    with (
        fortress.running("consumer", "read") as reader,
        fortress.running("reconciler", "serve") as server,
    ):
        applier = fortress.processes.start("consumer", "apply")
        reader.wait_for("reader_connected")
        applier.wait_for("lanes_assigned")
        server.wait_for("reconciler_started")
        for name in ("cert.pem", "key.pem"):
            file = fortress.files / name
            renewed = file.with_suffix(".new")
            renewed.write_bytes(file.read_bytes())
            renewed.chmod(0o600)
            renewed.replace(file)
        assert applier.wait() == 1, "whoever starts it again gives it the new one"
        assert "our certificate for Kafka was renewed" in applier.text()
        reader.until(lambda: reader.text().count('"reader_connected"') >= 2, "the reader had gone on")
        assert "its client is made anew" in reader.text()
        reader.check()
        server.check()
