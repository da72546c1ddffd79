"""Tests that share a fixture are run by one worker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.grouping import SHARED, group_of

ROOT = Path(__file__).parents[2]

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
    folder = tmp_path / "tests/integration/binlog"
    folder.mkdir(parents=True)
    (folder / "test_network.py").write_text(COUNTED)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    seen = tmp_path / "seen"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "--import-mode=importlib", "-q"),
            *("-n", "3", "--dist", "loadscope", "--no-loadscope-reorder"),
        ],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SEEN": str(seen)},
        check=True,
        timeout=240,
    )
    assert sorted(line.split()[2] for line in seen.read_text().splitlines()) == ["mariadb", "mysql"]
