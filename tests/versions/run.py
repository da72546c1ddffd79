"""One combination: its servers started in a folder of their own, its tests run, its servers ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from consumer.mysql.login import login
from consumer.settings import MySQLAddress
from tests.servers import ServerError, Servers, ensure, versions
from tests.servers.__main__ import main as servers_command
from tests.servers.kafka import release_of
from tests.servers.places import PROJECT
from tests.versions.cases import Cases
from tests.versions.plan import Combination
from tests.versions.pythons import PythonMissing, environment

WORKERS: Final = 2
ALL_PASSED, SOME_FAILED, NONE_CHOSEN = 0, 1, 5
"""Pytest's exit statuses after which its report is whole."""
Outcome = Mapping[str, object]


def run(combination: Combination, tests: Sequence[str]) -> Outcome:
    """Runs tests of it and returns what came of them; what fails beside others gets a second try, as in `make test`.

    Raises ServerError where a server cannot be had, or pytest breaks off.
    """
    began = time.monotonic()
    try:
        with _environment(combination) as (reported, python):
            cases = Cases()
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


def _stage(chosen: Sequence[str], python: Path, cases: Cases) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(str(python), "-m", "pytest", *chosen, "-q", f"--junitxml={report}", "-p", "tests.versions.choosing"),
            *("-o", f"cache_dir={folder}", "-o", "junit_logging=no"),
        ]
        beside = ("-n", str(WORKERS), "--dist", "loadscope", "--no-loadscope-reorder")
        for more in (beside, ("--last-failed", "--last-failed-no-failures", "none")):
            status = subprocess.run([*command, *more], cwd=PROJECT, env=_paths(), check=False).returncode
            if status not in (ALL_PASSED, SOME_FAILED, NONE_CHOSEN):
                raise ServerError(f"pytest ended with {status}: nobody knows what did not run")
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
    """The environment of the tests: with CI, property tests repeat themselves, so that what fails is the version's."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "CI": "1"}


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
