"""The commands that the documentation names in passing are commands that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from typer.testing import CliRunner

from consumer.cli import app as consumer
from reconciler.cli import app as reconciler
from reconciler.names import STARTABLE

DOCS: Final = Path(__file__).parents[2] / "docs"
WRITTEN: Final = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
COMMANDS: Final = sorted(
    {found for page in WRITTEN for found in re.findall(r"`((?:consumer|reconciler) [^`<]+)`", page.read_text())}
)
RUNS: Final = {*STARTABLE, "all"}


@pytest.fixture(autouse=True)
def logs_of_a_command() -> Iterator[None]:
    """Ends with the test: a command logs to a stderr that is closed behind it."""
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_runbook_is_one_that_we_have(command: str) -> None:
    program, *words = command.split()
    options = [word for word in words if word.startswith("-")]
    names = [word for word in words if word not in options and word not in RUNS]
    result = CliRunner().invoke(
        consumer if program == "consumer" else reconciler, [*names, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}
    )
    assert result.exit_code == 0, result.output
    assert all(option in result.output for option in options)


def test_the_runbook_names_commands() -> None:
    assert len(COMMANDS) > 5
