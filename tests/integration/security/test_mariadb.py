"""MariaDB behind TLS that demands our certificate, under the grants that the deployment's file gives and no others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
import pytest

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.integration.doctor.conftest import findings
from tests.integration.reader.world import ReaderWorld
from tests.integration.security.fortress import DEPLOY, FORBIDDEN, SECRETS
from tests.servers import ensure
from tests.servers.places import data_home, open_folder, remove
from tests.servers.tls import Authority
from tests.support.company_tables import script

pytestmark = pytest.mark.servers


@dataclass
class Keep:
    """A company on such a server; our account's address without and with what TLS takes, and a stranger's authority."""

    world: ReaderWorld
    plain: str
    tls: str
    stranger: Path

    @property
    def url(self) -> str:
        """How our processes are told to come in."""
        return f"{self.plain}?{self.tls}"


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keep]:
    folder = tmp_path_factory.mktemp("mariadb-tls")
    servers, authority = ensure(("mariadb",)), Authority()
    pair, ours = authority.pair("server"), authority.pair("leadstream")
    for name, content in (
        ("ca", authority.certificate), ("cert", ours.certificate), ("key", ours.key),
        ("stranger", Authority("stranger").certificate),
    ):  # fmt: skip
        (folder / f"{name}.pem").write_bytes(content)
        (folder / f"{name}.pem").chmod(0o600)
    theirs = open_folder(data_home() / f"tls-{uuid.uuid4().hex[:8]}")
    with ExitStack() as stack:
        stack.callback(remove, theirs)
        for name, content in (("ca", authority.certificate), ("cert", pair.certificate), ("key", pair.key)):
            (theirs / f"{name}.pem").write_bytes(content)
        server = stack.enter_context(
            servers.private_mariadb([f"--ssl-{name}={theirs}/{name}.pem" for name in ("ca", "cert", "key")])
        )
        world = stack.enter_context(ReaderWorld("mariadb", server.url))
        world.execute(
            "CREATE TABLE payroll (id INT PRIMARY KEY)",
            *script(
                DEPLOY / "mariadb" / "grants.sql",
                **{
                    "'leadstream'@": "'least'@",
                    "BY 'leadstream'": f"BY '{SECRETS['mysql']}' REQUIRE X509",
                    "company.": f"{world.name}.",
                },
            ),
        )
        at = urlsplit(world.mysql_url)
        plain = at._replace(netloc=f"least:{SECRETS['mysql']}@127.0.0.1:{at.port}").geturl()
        tls = "&".join(f"ssl_{name}={folder}/{name}.pem" for name in ("ca", "cert", "key"))
        yield Keep(world, plain, f"{tls}&ssl_mode=VERIFY_IDENTITY", folder / "stranger.pem")


def test_changes_are_read_over_mutual_tls_under_the_least_grants_and_the_doctor_misses_nothing(keep: Keep) -> None:
    given = {"REPLICA_DATABASE_URL": keep.url}
    setup = keep.world.consumer("setup", **given)
    assert setup.returncode == 0, setup.stderr
    doctor = keep.world.consumer("doctor", "--json", **given)
    assert findings(doctor).keys() <= {"kafka replication"}
    reader = keep.world.reader(**given).wait_for("reader_connected")
    keep.world.execute(
        "INSERT INTO users (id, email_address, current_signature_file_id) VALUES (1, 'a@example.org', 5)"
    )
    (change,) = [message.value for message in keep.world.finish(reader, 1) if message.value["op"] != "h"]
    assert change["after"]["current_signature_file_id"] == "5"
    said = f"{setup.stdout}{setup.stderr}{doctor.stdout}{doctor.stderr}{reader.text()}{change}"
    assert SECRETS["mysql"] not in said
    assert "a@example.org" not in said


def test_the_server_refuses_who_has_the_password_but_no_certificate(keep: Keep) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        login(MySQLAddress(f"{keep.plain}?ssl_mode=REQUIRED"), 5, 5)
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        login(MySQLAddress(f"{keep.plain}?ssl_mode=DISABLED"), 5, 5)


def test_we_refuse_a_server_whose_authority_we_do_not_know(keep: Keep) -> None:
    ours = keep.tls.partition("&")[0]
    url = keep.url.replace(ours, f"ssl_ca={keep.stranger}")
    found = findings(keep.world.consumer("doctor", "--json", REPLICA_DATABASE_URL=url))
    assert "certificate verify failed" in found["mysql reachable"]["sentence"]


def test_the_account_sees_no_personal_data_and_changes_nothing(keep: Keep) -> None:
    with closing(login(MySQLAddress(keep.url), 5, 30)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT u.id, c.status FROM users u LEFT JOIN claims c ON c.user_id = u.id")
        for forbidden in (
            *FORBIDDEN,
            "SELECT id FROM users WHERE date_of_birth = '1970-01-01'",
            "CHANGE MASTER TO MASTER_HOST = 'elsewhere'",
            "RESET MASTER",
        ):
            with pytest.raises(pymysql.err.MySQLError, match="denied"):
                cursor.execute(forbidden)
