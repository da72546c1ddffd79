"""What is on disk survives interruptions, and what a private server's owner leaves behind is seen."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers import __main__ as cli
from tests.servers import state
from tests.servers.places import LONGEST_SOCKET_FOLDER, built, home, socket_folder
from tests.servers.processes import identify
from tests.servers.state import Record

URL = "postgresql://leadstream:leadstream@127.0.0.1:12345/leadstream_dev"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADSTREAM_SERVERS_DIR", str(tmp_path / "servers"))


def record_of(pid: int) -> Record:
    return Record("postgres", "postgres", "debian", URL, (12345,), "/data", process=identify(pid))


def test_a_record_is_read_as_it_was_written() -> None:
    record = replace(record_of(os.getpid()), owner=identify(os.getpid(), "python"))
    state.save(record)
    assert state.load("postgres") == record
    assert state.every() == [record]
    state.forget("postgres")
    assert state.load("postgres") is None


def test_a_server_is_orphaned_when_its_owner_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        record = replace(record_of(os.getpid()), owner=identify(owner.pid))
        assert not record.orphaned()
    assert record.orphaned()
    assert not record_of(os.getpid()).orphaned(), "a shared server has no owner"


def test_ports_are_free_distinct_and_never_ephemeral() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: set[int] = set()
    for _ in range(20):
        ports.add(state.free_port(ports))
    assert len(ports) == 20
    assert all(state.is_free(port) and port < lowest for port in ports)


def test_an_interrupted_install_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "install"

    def interrupted(part: Path) -> None:
        (part / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(target, interrupted)
    assert not target.exists()
    built(target, lambda part: (part / "whole").touch())
    assert [path.name for path in target.iterdir()] == ["whole"]
    built(target, interrupted)  # complete: nothing is done


def test_a_long_socket_path_gets_a_short_stand_in(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    assert len(str(socket_folder(deep))) <= LONGEST_SOCKET_FOLDER
    assert socket_folder(deep) == socket_folder(deep) != socket_folder(deep / "other")
    assert socket_folder(Path("/short")) == Path("/short")


def test_the_home_keeps_itself_out_of_git() -> None:
    assert (home() / ".gitignore").read_text() == "*\n"


def test_env_prints_exports_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    state.save(record_of(os.getpid()))
    assert cli.main(["env", "postgres"]) == 0
    assert capsys.readouterr().out == f"export DATABASE_URL='{URL}'\n"


def test_env_fails_and_says_so_where_a_server_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env", "mysql"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "start mysql" in output.err
