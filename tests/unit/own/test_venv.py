"""What makes .venv: one at a time, and none that was interrupted is taken for whole. Python and pip are played here."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
DEMO = "tests/demo/requirements.lock"
PYTHON = f"""#!/bin/sh
case "$1 $2" in
"-m venv")
    mkdir -p .venv/bin
    cp made_python .venv/bin/python;;
*) exec {sys.executable} "$@";;
esac
"""
"""The Python that is found: makes a .venv whose Python plays pip."""
MADE = """#!/bin/sh
echo $* >> pip.log
until test -e may_end; do sleep 0.05; done
"""
"""Installs nothing, as soon as it may."""
CUT_OFF = """#!/bin/sh
case "$1" in -rf) kill -9 $PPID;; *) exec /bin/rm "$@";; esac
"""
"""Removes files; where it is to remove folders, whoever wants that is killed before it has begun."""


class Clone:
    """A new clone with the script in it; what it runs waits until it may end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[Process] = []
        self.told = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        for name in (".ci", "bin", "logs"):
            (folder / name).mkdir()
        shutil.copy(ROOT / ".ci" / "venv", folder / ".ci" / "venv")
        (folder / "pyproject.toml").write_text("[project.scripts]\n")
        self.lock("a==1")
        (folder / "tests" / "demo").mkdir(parents=True)
        (folder / DEMO).write_text("a==0")
        self.program("bin/python3.13", PYTHON)
        self.program("made_python", MADE)

    def program(self, name: str, text: str) -> None:
        """A script that may be run."""
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def lock(self, text: str) -> None:
        """Other dependencies."""
        (self.folder / "requirements.lock").write_text(text)

    def make(self, *arguments: str, **more: str) -> Process:
        """Starts the script."""
        log = f"make-{len(self.runs)}"
        script = str(self.folder / ".ci" / "venv")
        run = Process(log, script, list(arguments), self.told | more, self.folder / "logs")
        self.runs.append(run.start())
        return run

    def installing(self, times: int) -> None:
        """Waits until pip was started so often."""
        until(lambda: self.installed() == times, f"pip was started {times} times", seen=self.texts)

    def installed(self) -> int:
        """How often pip was started."""
        log = self.folder / "pip.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def go_on(self) -> None:
        """Pip may end, now and whenever it is started."""
        (self.folder / "may_end").touch()

    def texts(self) -> str:
        """What all runs have written."""
        return "\n".join(run.text() for run in self.runs)

    def end(self) -> None:
        """Ends every run with all that it started."""
        for run in self.runs:
            if run.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
            run.end()


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    made = Clone(tmp_path)
    yield made
    made.go_on()
    made.end()


def test_the_second_waits_for_the_first_and_says_for_whom_and_makes_nothing_itself(clone: Clone) -> None:
    first = clone.make()
    clone.installing(1)
    second = clone.make()
    second.until(lambda: f"Process {first.pid} is making .venv" in second.text(), "it said for whom it waits")
    clone.go_on()
    assert [first.wait(), second.wait()] == [0, 0]
    assert clone.installed() == 2, "the packages, then the project"


def test_one_that_does_not_end_is_not_waited_for_without_end(clone: Clone) -> None:
    first = clone.make()
    clone.installing(1)
    second = clone.make(VENV_WAIT_SECONDS="0")
    assert second.wait() == 1
    assert f"Process {first.pid} has not made .venv in 0 s" in second.text()
    assert first.poll() is None


def test_what_a_killed_one_has_left_is_made_anew(clone: Clone) -> None:
    first = clone.make()
    clone.installing(1)
    assert first.pid is not None
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    clone.go_on()
    second = clone.make()
    assert second.wait() == 0
    assert "Process" not in second.text()
    assert clone.installed() == 3, "the first one's packages, and both of the second"
    assert clone.make().wait() == 0
    assert clone.installed() == 3, "what is whole is not made again"


def test_a_whole_one_that_another_began_to_remove_is_whole_no_more(clone: Clone) -> None:
    clone.go_on()
    assert clone.make().wait() == 0
    clone.lock("a==2")
    clone.program("bin/rm", CUT_OFF)
    assert clone.make().wait() == -signal.SIGKILL
    (clone.folder / "bin" / "rm").unlink()
    clone.lock("a==1")
    assert clone.make().wait() == 0
    assert clone.installed() == 4, "it passed for whole"


def test_a_demo_goes_on_in_what_is_made_of_its_own(clone: Clone) -> None:
    clone.go_on()
    assert clone.make(DEMO).wait() == 0
    (clone.folder / ".venv" / "in_use").touch()
    assert clone.make().wait() == 0
    assert (clone.folder / ".venv" / "in_use").exists(), "it was removed under who runs from it"
    assert clone.installed() == 3, "the packages and the project, then the packages that are more"
    assert clone.make(DEMO).wait() == clone.make().wait() == 0
    assert clone.installed() == 3, "both will do with it"


def test_what_was_cut_off_while_more_was_added_is_made_anew(clone: Clone) -> None:
    clone.go_on()
    assert clone.make(DEMO).wait() == 0
    (clone.folder / "may_end").unlink()
    cut_off = clone.make()
    clone.installing(3)
    assert cut_off.pid is not None
    os.killpg(cut_off.pid, signal.SIGKILL)
    cut_off.wait()
    clone.go_on()
    (clone.folder / ".venv" / "left").touch()
    assert clone.make(DEMO).wait() == 0
    assert not (clone.folder / ".venv" / "left").exists()
