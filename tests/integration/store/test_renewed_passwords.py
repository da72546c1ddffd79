"""PostgreSQL's password changes while sessions stand: the next one is opened with the new password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from consumer.doctor import postgres_facts
from consumer.doctor.check import Unreachable
from consumer.settings import DatabaseSettings, PostgresAddress, load
from consumer.store.connection import watchful
from consumer.store.errors import StoreUnavailable
from reconciler.postgres import Postgres


class Account:
    """A role with a password that can be changed, and whose sessions can be ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = f"renewed_{uuid4().hex[:8]}"
        self._run("CREATE ROLE {} LOGIN")

    def url(self, password: str) -> str:
        """How it logs in."""
        at = urlsplit(self._url)
        return at._replace(netloc=f"{self.name}:{password}@{at.hostname}:{at.port}").geturl()

    def renew(self, password: str) -> None:
        """Another password, and no session by an earlier one."""
        self._run(f"ALTER ROLE {{}} PASSWORD '{password}'")
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [self.name])

    def drop(self) -> None:
        """Removes it."""
        self._run("DROP ROLE {}")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self.name)))


@pytest.fixture
def account(server_url: str) -> Iterator[Account]:
    account = Account(server_url)
    yield account
    account.drop()


def who(postgres: Postgres) -> str:
    with postgres.session() as connection:
        return str(connection.execute("SELECT current_user").fetchall()[0][0])


def goes_on(postgres: Postgres) -> str:
    """Who we are once the session that was ended is noticed and another one was opened."""
    with pytest.raises(StoreUnavailable):
        who(postgres)
    postgres.close()
    return who(postgres)


def test_a_session_after_the_urls_file_was_renewed_has_the_new_password(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "url"
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    account.renew("first")
    file.write_text(account.url("first") + "\n")
    with closing(Postgres(load(DatabaseSettings).conninfo)) as postgres:
        assert who(postgres) == account.name
        file.write_text(account.url("second") + "\n")
        account.renew("second")
        assert goes_on(postgres) == account.name
        file.write_text("half writ")
        account.renew("second")
        assert goes_on(postgres) == account.name


def test_each_session_has_the_password_that_the_command_prints(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("DATABASE_URL", account.url("nobody's").replace(":nobody's", ""))
    monkeypatch.setenv("DATABASE_PASSWORD_COMMAND", f"cat '{token}'")
    account.renew("fi rst&?/%=")
    token.write_text("fi rst&?/%=\n")
    with closing(Postgres(load(DatabaseSettings).conninfo)) as postgres:
        assert who(postgres) == account.name
        token.write_text("second\n")
        account.renew("second")
        assert goes_on(postgres) == account.name
        token.unlink()
        account.renew("third")
        with pytest.raises(StoreUnavailable):
            who(postgres)
        postgres.close()
        with pytest.raises(StoreUnavailable, match="DATABASE_PASSWORD_COMMAND ended with exit code 1"):
            who(postgres)


def test_the_doctor_reports_a_command_that_prints_no_password(server_url: str) -> None:
    address = PostgresAddress(server_url, "sh -c 'echo s3cr3t; exit 3'")
    with pytest.raises(Unreachable, match="DATABASE_PASSWORD_COMMAND ended with exit code 3") as failed:
        postgres_facts.collect(address, 5)
    assert "s3cr3t" not in str(failed.value)


def test_a_password_of_the_command_goes_before_that_of_the_url() -> None:
    address = PostgresAddress("postgresql+psycopg://us:old@db/calls?sslmode=require", "echo n%w")
    assert psycopg.conninfo.conninfo_to_dict(watchful(address, "a test"))["password"] == "n%w"
    assert str(address) == "postgresql://us:old@db/calls?sslmode=require"
