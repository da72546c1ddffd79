"""How runs end, and what is said of leads that PostgreSQL refused."""

from __future__ import annotations

import pytest

from reconciler.runs.repair import REASONS, RunTally
from reconciler.runs.sweeps import Report, ended


def tally(*reasons: str) -> RunTally:
    """What a run counts that met these refusals among ten leads."""
    found = RunTally(checked=10)
    for reason in reasons:
        found.refuse(reason)
    return found


@pytest.mark.parametrize(
    ("outcome", "reasons", "ends"),
    [
        ("ok", (), "ok"),
        ("ok", ("a",), "refused"),
        ("drift", ("a",), "drift"),
        ("stopped", ("a",), "stopped"),
        ("failed", ("a",), "failed"),
    ],
)
def test_a_run_that_would_be_ok_is_refused_where_leads_were(outcome: str, reasons: tuple[str, ...], ends: str) -> None:
    found = tally(*reasons)
    name, error = ended(outcome, None, found)
    assert name == ends
    assert (error is None) is not bool(reasons)
    assert Report("verify", name, None, found, 0, 0, error).has_failed is bool(reasons)


def test_what_ended_a_run_comes_before_what_was_refused() -> None:
    assert ended("failed", "MySQL is away", tally("a", "b", "a")) == (
        "failed", "MySQL is away; 3 of 10 leads were refused: a (2), b (1)",
    )  # fmt: skip


def test_reasons_beyond_the_commonest_are_counted_together() -> None:
    error = tally("z", "z", *(str(number) for number in range(REASONS + 1))).refusal()
    assert error == "8 of 10 leads were refused: z (2), 0 (1), 1 (1), 2 (1), 3 (1), other reasons (2)"
