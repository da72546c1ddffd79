"""Logs never hold what a program's variables held when it failed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from reconciler.schedule import Schedule

# The password stands in no line of the program: from 3.13 on Python shows those of `-c` in a traceback.
FAILS = """
import structlog
from consumer.logs import configure
from consumer.settings import RunSettings
configure(RunSettings(log_format="{form}"))
def fails(password):
    row = dict(email="jane@example.invalid")
    raise ValueError("it failed")
try:
    fails("".join(("s3", "cr3t")))
except ValueError:
    structlog.get_logger().exception("library")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_logged_with_its_place_and_without_variables(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS.format(form=form)], capture_output=True, text=True, check=True, timeout=120
    )
    assert "it failed" in done.stderr
    assert "fails" in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "jane" not in done.stderr
    if form == "json":
        assert json.loads(done.stderr)["exception"][0]["exc_type"] == "ValueError"


def test_a_run_that_postgresql_refuses_is_logged_without_the_row() -> None:
    def work() -> None:
        raise psycopg.errors.CheckViolation(
            "score_is_small\nDETAIL:  Failing row contains (8911, jane@example.invalid)."
        )

    with capture_logs() as logs:
        Schedule._guarded("age", work)
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("run_failed", "PostgreSQL refused it with 23514"),
    ]


CONNECTING = Path("consumer/doctor/postgres_facts.py")
"""What it says of a connection that fails holds no row."""


def whole_messages(path: Path) -> Iterator[int]:
    """Lines on which an error of PostgreSQL's is taken as text, and with it the row that its detail shows."""
    for handler in ast.walk(ast.parse(path.read_text())):
        if isinstance(handler, ast.ExceptHandler) and handler.type and "psycopg.Error" in ast.unparse(handler.type):
            for call in ast.walk(handler):
                if isinstance(call, ast.Call) and ast.unparse(call) == f"str({handler.name})":
                    yield call.lineno


def test_nothing_takes_an_error_of_postgresql_as_text() -> None:
    root = Path(__file__).parents[2]
    files = [path for room in ("consumer", "reconciler") for path in (root / room).rglob("*.py")]
    assert len(files) > 100
    assert {
        f"{path.relative_to(root)}:{line}"
        for path in files
        if path.relative_to(root) != CONNECTING
        for line in whole_messages(path)
    } == set()
