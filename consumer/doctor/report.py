"""Checks for people as a table, for programs as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.doctor.check import Check, State

WEIGHT: Final = {State.FAILED: 0, State.WARNING: 1, State.OK: 2}
COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}


def as_json(checks: Sequence[Check]) -> dict[str, object]:
    """The checks and how many there are of each state, as plain data."""
    counts = Counter(check.state for check in checks)
    return {
        "checks": [check._asdict() for check in checks],
        "counts": {state.value: counts[state] for state in State},
    }


def show(checks: Sequence[Check], console: Console, *, problems: bool = False) -> None:
    """A table, worst first, and below it the statements alone, whole and ready to be copied; `problems` leaves out what
    is well."""
    counts = Counter(check.state for check in checks)
    checks = sorted(checks, key=lambda check: WEIGHT[check.state])  # of one state in the order of the servers
    checks = [check for check in checks if not (problems and check.state is State.OK)]
    table = Table("server", "check", "state", "what is")
    for check in checks:
        state = Text(check.state, COLOURS[check.state])
        table.add_row(check.server, check.name, state, Text(check.sentence))  # brackets of an address are no markup
    if checks:
        console.print(table)
    for check in checks:
        if check.hint:
            console.print(f"{check.server}, {check.name}:", style=COLOURS[check.state], highlight=False)
            console.print(f"  {check.hint}", soft_wrap=True, markup=False, highlight=False)
    console.print(", ".join(f"{counts[state]} {state}" for state in State))
