"""The servers of the tests as containers: testcontainers drive the images that the compose file has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.engine import Engine
from tests.integration.reader.world import ReaderWorld
from tests.servers import Servers, choice, ensure, state

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]

KINDS = ("mysql", "kafka", "postgres")


@pytest.fixture
def servers(
    docker: Engine, parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Servers]:
    """Shared servers as a fresh checkout has them where an engine answers; removed afterwards."""
    given = {**docker.environment, **{f"{kind.upper()}_IMAGE": parts[f"{kind.upper()}_IMAGE"] for kind in KINDS}}
    for variable, value in {**given, "LEADSTREAM_SERVERS_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("LEADSTREAM_SERVERS_PROVIDER", raising=False)
    try:
        yield ensure(KINDS)
    finally:
        for record in state.every():
            choice.of(record).discard(record)


def test_changes_come_through_servers_that_testcontainers_started_and_one_is_found_again_after_a_crash(
    docker: Engine, servers: Servers
) -> None:
    assert servers.provider.name == "containers"
    assert {record.kind for record in state.every()} == set(KINDS)
    assert len(docker.ask("ps", "--quiet", "--filter", "label=org.testcontainers=true").split()) == len(KINDS)
    with ReaderWorld("mysql") as world:
        world.setup()
        reader = world.reader().wait_for("reader_connected")
        world.execute("INSERT INTO users (id, current_signature_file_id) VALUES (1, 5)")
        world.wait_for_rows(1)
        (record,) = (record for record in state.every() if record.kind == "mysql")
        server = servers.provider.server("mysql", record.name, (), None)
        server.kill()
        assert not server.is_running()
        server.start()
        assert server.url == servers.mysql_url
        world.execute("UPDATE users SET current_signature_file_id = 6 WHERE id = 1")
        changes = [message.value for message in world.finish(reader, 2) if message.value["op"] != "h"]
    assert [change["after"]["current_signature_file_id"] for change in changes] == ["5", "6"]
