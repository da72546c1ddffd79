"""One combination: its servers started in a folder of their own, its tests run, its servers ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import psycopg

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.servers import Servers, ensure, versions
from tests.servers.__main__ import main as servers_command
from tests.servers.kafka import release_of
from tests.servers.places import PROJECT
from tests.versions.plan import Combination
from tests.versions.pythons import PythonMissing, environment

WORKERS: Final = 2
SOME_FAILED: Final = 1
"""Pytest's exit status where tests failed and nothing else happened."""
Outcome = Mapping[str, object]


def run(combination: Combination, tests: Sequence[str]) -> Outcome:
    """Runs tests of it and returns what came of them; what fails beside others gets a second try, as in `make test`.

    Raises ServerError where a server cannot be had.
    """
    began = time.monotonic()
    try:
        with _environment(combination) as (reported, python):
            cases = _Cases()
            # What leaves XA transactions prepared comes last, as in `make integration`.
            for marks in ("not prepared", "prepared"):
                _stage([*tests, *_chosen(combination), "-m", marks], python, cases)
    except PythonMissing as error:
        return {"date": _today(), "missing": str(error)}
    return {
        "date": _today(),
        "reported": reported,
        "seconds": round(time.monotonic() - began),
        "workers": WORKERS,
        **cases.counts(),
    }


class _Cases:
    """The tests of all runs by name; a later run of a test counts."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._again: set[str] = set()

    def add(self, report: Path) -> None:
        """Takes up a report in JUnit's form."""
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
            name = f"{case.get('classname')}.{case.get('name')}"
            if self._states.get(name) == "failed":
                self._again.add(name)
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self._states[name] = "failed"
            else:
                self._states[name] = "passed" if skipped is None else "skipped"
            if skipped is not None:
                self._reasons[name] = skipped.get("message", "")

    def counts(self) -> dict[str, object]:
        """Figures and names for the table."""
        count = Counter(self._states.values())
        reasons = Counter(self._reasons[name] for name, state in self._states.items() if state == "skipped")
        return {
            **{state: count[state] for state in ("passed", "failed", "skipped")},
            "second_try": sum(self._states[name] == "passed" for name in self._again),
            "failures": sorted(name for name, state in self._states.items() if state == "failed"),
            "skips": dict(sorted(reasons.items())),
        }


@contextmanager
def _environment(combination: Combination) -> Iterator[tuple[str, Path]]:
    """What the version says of itself, and the Python that runs the tests, while the servers run."""
    if combination.kind == "python":
        python = environment(combination.version)
        ensure(combination.beside)
        yield _output([str(python), "-c", "import platform; print(platform.python_version())"]), python
        return
    variable = versions.variable(combination.kind)
    before = os.environ.get(variable)
    os.environ[variable] = combination.version
    kinds = (combination.kind, *combination.beside)
    try:
        yield _reported(ensure(kinds), combination), Path(sys.executable)
    finally:
        servers_command(["stop", *kinds])
        os.environ.pop(variable)
        if before is not None:
            os.environ[variable] = before


def _stage(chosen: Sequence[str], python: Path, cases: _Cases) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(str(python), "-m", "pytest", *chosen, "-q", f"--junitxml={report}", "-p", "tests.versions.choosing"),
            *("-o", f"cache_dir={folder}", "-o", "junit_logging=no"),
        ]
        beside = ("-n", str(WORKERS), "--dist", "loadscope", "--no-loadscope-reorder")
        for more in (beside, ("--last-failed", "--last-failed-no-failures", "none")):
            status = subprocess.run([*command, *more], cwd=PROJECT, env=_paths(), check=False).returncode
            if report.exists():
                cases.add(report)
            if status != SOME_FAILED:
                break


def _chosen(combination: Combination) -> Sequence[str]:
    """Options of `choosing`: a version of MariaDB is nothing to a test of MySQL, which runs where it always does."""
    if combination.kind == "python":
        return ()
    touching = ("--touching=mariadb",) if combination.kind == "mariadb" else ()
    return (*touching, "--not-touching=mysql")


def _paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT)}


def _reported(servers: Servers, combination: Combination) -> str:
    """The version as the server itself has it; Kafka's protocol does not tell it."""
    match combination.kind:
        case "mariadb":
            address = MySQLAddress(servers.mariadb_url)
            with closing(login(address, 10, 60)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT version()")
                return str((cursor.fetchone() or ("?",))[0])
        case "postgres":
            with psycopg.connect(servers.postgres_url) as session:
                return str((session.execute("SHOW server_version").fetchone() or ("?",))[0])
        case _:
            return release_of(combination.version)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def line(name: str, outcome: Outcome) -> str:
    """An outcome for the terminal."""
    shown = {key: value for key, value in outcome.items() if key not in {"failures", "skips"}}
    return f"{name}: {json.dumps(shown)}"
