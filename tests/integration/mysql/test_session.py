"""How long a server may be silent, and what we say of one that was silent for longer."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from consumer.leads.rule_file import RuleFile
from consumer.mysql import comparing, login
from consumer.mysql.errors import ConnectionLost
from consumer.mysql.session import Replica
from consumer.settings import MySQLAddress, ReplicaSettings, load
from tests.servers import ensure

pytestmark = pytest.mark.servers


@pytest.fixture(params=["mysql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    servers = ensure([request.param])
    return servers.mysql_url if request.param == "mysql" else servers.mariadb_url


def test_a_query_that_takes_too_long_names_the_setting(url: str) -> None:
    with closing(Replica(MySQLAddress(url), 1)) as replica:
        with pytest.raises(
            ConnectionLost, match=r"^cannot query .*timed out\); if the server is only busy, raise REPL"
        ):
            replica.query("SELECT SLEEP(300)")
        assert replica.query("SELECT 1") == [(1,)]


def test_how_columns_compare_is_asked_for_as_long_as_the_setting_says(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, session = [], login.Session

    def asked(**arguments: Any) -> login.Session:
        given.append(arguments["read_timeout"])
        return session(**arguments)

    monkeypatch.setattr(login, "Session", asked)
    monkeypatch.setenv("REPLICA_DATABASE_URL", url)
    monkeypatch.setenv("REPLICA_QUERY_SECONDS", "77")
    comparing.ask(load(ReplicaSettings), RuleFile())
    assert given == [77]
