"""What a benchmark needs and may not have: Go, and a broker whose process and folder are seen from here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.peers import gopeer
from tests.servers import state
from tests.servers.processes import identify
from tests.servers.state import Record
from tests.support import broker


def test_where_go_is_not_installed_its_peer_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gopeer, "INSTALLED", tmp_path / "go")
    assert gopeer.build() is None


def test_the_modules_of_the_peer_in_go_are_locked_and_no_settings_of_a_machine_are_kept() -> None:
    assert {path.name for path in gopeer.SOURCE.iterdir()} == {"main.go", "tables.go", "go.mod", "go.sum"}
    assert "replace" not in (gopeer.SOURCE / "go.mod").read_text()


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEADSTREAM_SERVERS_DIR", str(tmp_path / "servers"))
    return tmp_path / "data"


def test_what_a_topic_takes_on_disk_is_its_segments_and_nobody_elses(servers: Path) -> None:
    for name, size in (("mine.users-0", 100), ("mine.users-11", 20), ("other.users-0", 3000)):
        (servers / "data" / name).mkdir(parents=True)
        (servers / "data" / name / "00000000000000000000.log").write_bytes(b"x" * size)
        (servers / "data" / name / "00000000000000000000.index").write_bytes(b"x" * 7)
    state.save(Record("kafka", "kafka", "debian", "", (), str(servers), process=identify(os.getpid())))
    assert broker.disk_bytes("mine") == 120
    assert (broker.cpu_seconds() or 0) > 0


def test_a_broker_in_a_container_is_not_seen(servers: Path) -> None:
    state.save(Record("kafka", "kafka", "containers", "", (), container="abc"))
    assert (broker.disk_bytes("mine"), broker.cpu_seconds()) == (None, None)
    assert broker.disk_bytes("mine", "kafka-of-nobody") is None
