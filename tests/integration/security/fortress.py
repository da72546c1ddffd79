"""Three servers that let nobody in without TLS, a certificate and a password; our accounts have the least grants."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.servers import ensure, kafka_tools
from tests.servers.places import PROJECT
from tests.servers.tls import Authority, ServerFiles
from tests.support.company_tables import script
from tests.support.environments import environment
from tests.support.ports import free_port
from tests.support.processes import Process, Processes, log_folder

SECRETS = {
    "mysql": "Kj7-mysql-word",
    "postgres": "Qx2-postgres-word",
    "kafka": "Vb9-kafka-word",
    "token": "Zt4-token-word-for-all",
}
"""What must never be seen in a log or an error."""
DEPLOY = PROJECT / "deploy"
PREFIX = "fort"
LANES = 2
SESSION_SECONDS: Final = 4
"""How long Kafka lets a client be before it has to log in again."""

FORBIDDEN: Final = (
    "SELECT password FROM users",
    "SELECT * FROM users",
    "SELECT count(*) FROM payroll",
    "UPDATE users SET is_enabled = 0",
    "DELETE FROM claims",
    "INSERT INTO claims (user_id) VALUES (1)",
    "CREATE TABLE mine (id INT)",
    "DROP TABLE claims",
    "SELECT user FROM mysql.user",
    "SET GLOBAL binlog_format = 'ROW'",
    "PURGE BINARY LOGS BEFORE NOW()",
)
"""Statements that our account on MySQL or MariaDB has no right to."""


@dataclass
class Fortress:
    """Where the servers are, as our processes are told, and ways in for the tests."""

    processes: Processes
    mysql_admin: str
    postgres_admin: str
    brokers: str
    """Where Kafka lets its administrator in."""
    tools: Path
    files: Path
    strangers: Path
    """A folder with an authority that signed nothing here, and a client's pair of its."""

    def company(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements as MySQL's administrator; rows of the last."""
        with closing(login(MySQLAddress(self.mysql_admin), 10, 60)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def centre(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement as PostgreSQL's administrator."""
        with psycopg.connect(self.postgres_admin, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def administer(self, command: str) -> None:
        """Runs one of Kafka's commands as its administrator; `$BROKERS` is where."""
        env = environment(PATH=f"{self.tools}{os.pathsep}{os.environ['PATH']}", BROKERS=self.brokers)
        done = subprocess.run(["bash", "-ec", command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def renew_in_kafka(self, password: str) -> None:
        """Gives our account in Kafka another password."""
        _scram(self.brokers, password)

    def renew_in_postgres(self, password: str) -> None:
        """Gives our account in PostgreSQL another password, and ends its sessions."""
        self.centre(f"ALTER ROLE leadstream_least PASSWORD '{password}'")
        self.centre("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'leadstream_least'")

    def run(self, program: str, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Runs one of our programs to its end; both streams in `stdout`, errors first."""
        done = self.processes.run(program, *arguments, **changed)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stderr + done.stdout, "")

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[Process]:
        """Runs one of our programs for the block's time, then asks it to stop."""
        process = self.processes.start(program, *arguments)
        yield process
        process.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What our processes are told."""
        return self.processes.env


@contextmanager
def built(folder: Path) -> Iterator[Fortress]:
    """Starts the three servers, and gives our accounts what the deployment's files give them."""
    authority, stranger, shared = Authority(), Authority("stranger"), ServerFiles()
    server, client, other = authority.pair("server"), authority.pair("leadstream"), stranger.pair("leadstream")
    ca = shared.write("ca.pem", authority.certificate)
    with ExitStack() as stack:
        stack.callback(shared.remove)
        files, strangers = folder / "client", folder / "stranger"
        for place, pair, root in ((files, client, authority), (strangers, other, stranger)):
            place.mkdir()
            for name, content in (("ca", root.certificate), ("cert", pair.certificate), ("key", pair.key)):
                (place / f"{name}.pem").write_bytes(content)
                (place / f"{name}.pem").chmod(0o600)
        for name, secret in SECRETS.items():
            (files / name).write_text(f"{secret}\n")
        shared.write("server.pem", server.certificate)
        shared.write("server.key", server.key)
        servers = ensure(())
        seen = shared.seen
        mysql = stack.enter_context(
            servers.private_mysql(
                [f"--ssl-ca={seen}/ca.pem", f"--ssl-cert={seen}/server.pem", f"--ssl-key={seen}/server.key"]
            )
        )
        keep = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        rule = "hostssl all leadstream_least 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
        hba = shared.write("hba.conf", f"{rule}host all leadstream_least 127.0.0.1/32 reject\n{keep}".encode())
        postgres = stack.enter_context(
            servers.private_postgres(
                [
                    "ssl=on",
                    f"ssl_ca_file={ca}",
                    f"hba_file={hba}",
                    f"ssl_cert_file={shared.write('pg.pem', server.certificate, 'postgres')}",
                    f"ssl_key_file={shared.write('pg.key', server.key, 'postgres')}",
                ]
            )
        )
        port = free_port()
        keystore = shared.write("kafka.pem", server.key + server.certificate)
        kafka = stack.enter_context(servers.private_kafka(options=_kafka(port, keystore, ca)))
        _scram(kafka.url, SECRETS["kafka"])
        fortress = _fortress(mysql.url, postgres.url, port, kafka.url, folder, files, strangers)
        with fortress.processes:
            yield fortress


def _kafka(port: int, keystore: Path, ca: Path) -> Sequence[str]:
    return (
        f"+listener=SASL_SSL://127.0.0.1:{port}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
        "inter.broker.listener.name=PLAINTEXT",
        "sasl.enabled.mechanisms=SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config="
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={keystore}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={ca}",
        "listener.name.sasl_ssl.ssl.client.auth=required",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:ANONYMOUS",
        f"listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms={SESSION_SECONDS * 1000}",
    )


def _scram(bootstrap: str, password: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    user = UserScramCredentialUpsertion("leadstream", info, password.encode())
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.alter_user_scram_credentials([user]).values():
        future.result(30)


def _fortress(mysql: str, postgres: str, port: int, plain: str, folder: Path, files: Path, strangers: Path) -> Fortress:
    tools = folder / "tools"
    tools.mkdir()
    kafka_tools.install(tools)
    theirs, ours = urlsplit(mysql), urlsplit(postgres)
    tls = "&".join(f"ssl_{name}={files}/{name}.pem" for name in ("ca", "cert", "key"))
    pg_tls = f"sslrootcert={files}/ca.pem&sslcert={files}/cert.pem&sslkey={files}/key.pem"
    replica = f"mysql://least:{SECRETS['mysql']}@127.0.0.1:{theirs.port}/company?{tls}&ssl_mode=VERIFY_IDENTITY"
    database = (
        f"postgresql://leadstream_least:{SECRETS['postgres']}@127.0.0.1:{ours.port}/centre?sslmode=verify-full&{pg_tls}"
    )
    (files / "replica-url").write_text(replica)
    (files / "database-url").write_text(database)
    told = environment(
        kafka=f"127.0.0.1:{port}",
        prefix=PREFIX,
        lanes=LANES,
        REPLICA_DATABASE_URL_FILE=str(files / "replica-url"),
        DATABASE_URL_FILE=str(files / "database-url"),
        API_TOKEN_FILE=str(files / "token"),
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM="SCRAM-SHA-512",
        KAFKA_SASL_USERNAME="leadstream",
        KAFKA_SASL_PASSWORD_FILE=str(files / "kafka"),
        KAFKA_SSL_CA_LOCATION=str(files / "ca.pem"),
        KAFKA_SSL_CERTIFICATE_LOCATION=str(files / "cert.pem"),
        KAFKA_SSL_KEY_LOCATION=str(files / "key.pem"),
        LOG_LEVEL="DEBUG",
        READER_HEARTBEAT_SECONDS="0.4",
        RECHECK_WAIT_SECONDS="1",
        HTTP_PORT="0",
    )
    fortress = Fortress(
        Processes(told, log_folder(PREFIX)),
        theirs._replace(path="/company").geturl(),
        ours._replace(path="/centre").geturl(),
        plain,
        tools,
        files,
        strangers,
    )
    _company(fortress, mysql)
    _centre(fortress, postgres)
    _acls(fortress)
    return fortress


def _company(fortress: Fortress, url: str) -> None:
    """The company's tables with what must not be seen in them, and our account."""
    with closing(login(MySQLAddress(url), 10, 60)) as connection, connection.cursor() as cursor:
        for statement in script(DEPLOY / "mysql" / "05-company.sql"):
            cursor.execute(statement)
    fortress.company(
        "CREATE TABLE payroll (id INT PRIMARY KEY)",
        *script(
            DEPLOY / "mysql" / "10-grants.sql",
            **{"'leadstream'@": "'least'@", "BY 'leadstream'": f"BY '{SECRETS['mysql']}' REQUIRE X509"},
        ),
    )


def _centre(fortress: Fortress, url: str) -> None:
    """The call centre's tables, of which some are none of our business, and our account."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE centre")
    grants = (DEPLOY / "postgres" / "10-grants.sql").read_text()
    grants = grants.replace("PASSWORD 'leadstream'", f"PASSWORD '{SECRETS['postgres']}'")
    fortress.centre((DEPLOY / "postgres" / "05-callcentre.sql").read_text())
    fortress.centre(re.sub(r"(TO|ROLE|rolname =) ('?)leadstream", r"\1 \2leadstream_least", grants))


def _acls(fortress: Fortress) -> None:
    """The rights in Kafka that SECURITY.md names, given by Kafka's own tool."""
    text = (PROJECT / "SECURITY.md").read_text()
    commands = re.findall(r"^kafka-acls\.sh (?:.*\\\n)*.*", text, re.MULTILINE)
    assert commands
    for command in commands:
        fortress.administer(
            command.replace("$KAFKA_BOOTSTRAP_SERVERS", "$BROKERS").replace("leadstream.", f"{PREFIX}.")
        )
