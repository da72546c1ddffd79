"""Tests that share a fixture are run by one worker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.grouping import SHARED, group_of

ROOT = Path(__file__).parents[3]

NETWORK = "integration/binlog/test_network.py"

COUNTED = """
import os
import pytest

@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def server(request):
    print(f"set up {request.param} in {os.environ['PYTEST_XDIST_WORKER']}", file=open(os.environ["SEEN"], "a"))

@pytest.mark.parametrize("number", range(6))
def test_it(server, number):
    pass
"""

DYING = """
import os
import pytest

@pytest.mark.parametrize("n", range(12))
def test_it(n):
    print(n, file=open(os.environ["SEEN"], "a"), flush=True)
    if n in {}:
        os._exit(9)
"""


def test_every_file_with_a_fixture_for_all_of_it_is_a_group() -> None:
    scoped = re.compile(r'^@pytest\.fixture\(.*scope="(module|package)"|pytest\.mark\.prepared\b', re.MULTILINE)
    found = set()
    for file in (*ROOT.glob("tests/integration/**/*.py"), *ROOT.glob("tests/servers/**/*.py")):
        if scoped.search(file.read_text()):
            path = file.relative_to(ROOT)
            found.add(f"{path.parent}/" if file.name == "conftest.py" else str(path))
    assert found == set(SHARED)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (f"{NETWORK}::test_a[mysql]", f"{NETWORK}::test_b[mysql-2]", True),
        (f"{NETWORK}::test_a[mysql]", f"{NETWORK}::test_a[mariadb]", False),
        ("integration/observe/test_prometheus.py::test_a", "integration/observe/test_help.py::test_b", True),
        ("integration/test_ids.py::test_a", "integration/test_ids.py::test_b", False),
    ],
)
def test_groups(one: str, other: str, together: bool) -> None:
    assert (group_of(f"tests/{one}") == group_of(f"tests/{other}")) is together


def test_a_group_is_run_by_one_worker(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    assert tried(tmp_path, COUNTED, seen).returncode == 0
    assert sorted(line.split()[2] for line in seen.read_text().splitlines()) == ["mariadb", "mysql"]


@pytest.mark.parametrize("name", ["test_ids", "test_network"])
@pytest.mark.parametrize("dying", [{3}, {10, 11}, {0, 3, 6, 9}])
def test_a_worker_that_dies_costs_the_test_that_it_was_at_and_the_run_comes_to_its_end(
    tmp_path: Path, name: str, dying: set[int]
) -> None:
    seen = tmp_path / "seen"
    run = tried(tmp_path, DYING.format(dying), seen, name)
    assert run.returncode == 1
    assert f"{len(dying)} failed, {12 - len(dying)} passed" in run.stdout
    assert sorted(map(int, seen.read_text().split())) == list(range(12))


def tried(place: Path, test: str, seen: Path, name: str = "test_network") -> subprocess.CompletedProcess[str]:
    """What pytest says of a file of tests of the integration part, run by three workers."""
    folder = place / "tests/integration/binlog"
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(test)
    (place / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "--import-mode=importlib", "-q"),
            *("-n", "3", "--dist", "loadscope", "--no-loadscope-reorder"),
        ],
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SEEN": str(seen)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
