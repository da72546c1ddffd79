"""Logs never hold what a program's variables held when it failed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
