"""The targets that end and delete things set nothing up for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("target", ["servers-stop", "clean"])
def test_ending_the_servers_installs_nothing(target: str) -> None:
    planned = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tests.servers stop" in planned.stdout
    assert ".ci/venv" not in planned.stdout
