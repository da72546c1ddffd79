"""What `consumer dead-letters` refuses before it asks anybody."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from consumer.commands.dead_letters import app


@pytest.mark.parametrize("command", ["show", "retry", "discard"])
@pytest.mark.parametrize("number", ["0", str(2**63), "99999999999999999999"])
def test_a_number_that_no_dead_letter_can_have_is_wrong_usage(command: str, number: str) -> None:
    result = CliRunner().invoke(app, [command, number])
    assert result.exit_code == 2, result.output


def test_nobody_can_ask_for_more_than_postgresql_counts() -> None:
    assert CliRunner().invoke(app, ["list", "--limit", str(2**63)]).exit_code == 2
