"""Processes are ended only when they are beyond doubt the ones that were started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.processes import ProcessId, complaint, end, identify, is_alive, spawn
from tests.support.waiting import PATIENCE, until

NAP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]); "
    "print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
def napping(tmp_path: Path) -> Iterator[ProcessId]:
    process = spawn([sys.executable, "-c", NAP, "marked"], marker="marked", log=tmp_path / "log")
    yield process
    end(process, signal.SIGKILL, PATIENCE)


def test_a_process_is_alive_until_it_is_ended(napping: ProcessId) -> None:
    assert is_alive(napping)
    assert end(napping, signal.SIGTERM, PATIENCE)
    assert not is_alive(napping)
    assert end(napping, signal.SIGTERM, PATIENCE), "a second time there is nothing to do"


def test_another_process_under_the_same_pid_is_left_alone(napping: ProcessId) -> None:
    before_it = replace(napping, started=napping.started - 1)
    assert not is_alive(before_it)
    end(before_it, signal.SIGKILL, 1)
    assert is_alive(napping)


def test_a_process_of_another_boot_or_another_command_is_not_ours(napping: ProcessId) -> None:
    assert not is_alive(replace(napping, boot="another"))
    command = Path(f"/proc/{napping.pid}/cmdline")
    until(lambda: NAP.encode() in command.read_bytes(), "the command line was there, a moment after the process")
    assert not is_alive(replace(napping, marker="unmarked"))


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", NAP]) as child:
        process = identify(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(process)


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", DEAF], marker="deaf", log=tmp_path / "log")
    _wait_for_text(tmp_path / "log")
    assert not end(process, signal.SIGTERM, 0.3)
    assert not is_alive(process)


def test_a_killed_process_takes_its_children_along(tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", PARENT, NAP], marker=NAP, log=tmp_path / "log")
    child = identify(int(_wait_for_text(tmp_path / "log")))
    end(process, signal.SIGKILL, PATIENCE)
    until(lambda: not is_alive(child), "the child was gone")


def test_a_complaint_is_the_first_error_or_the_last_lines() -> None:
    assert complaint("starting\nERROR: no disk\nstopping\n") == "ERROR: no disk"
    assert complaint("no host\nuse --force\n\n") == "no host use --force"
    assert complaint("") == "it says nothing"


def _wait_for_text(path: Path) -> str:
    until(lambda: path.exists() and path.read_text().endswith("\n"), f"a line was written to {path}")
    return path.read_text()
