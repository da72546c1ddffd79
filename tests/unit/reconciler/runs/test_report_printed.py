"""What a run prints of itself."""

from __future__ import annotations

import io
from collections import Counter

from rich.console import Console

from reconciler.runs.repair import RunTally
from reconciler.runs.report import show
from reconciler.runs.sweeps import Report

NARROW = 80


def printed(tally: RunTally, width: int = NARROW) -> str:
    paper = io.StringIO()
    show(
        Console(file=paper, width=width), [Report("requirements-conversions", "dry-run", None, tally, 123_456, 98_765)]
    )
    return paper.getvalue()


def test_no_title_and_no_number_is_cut_on_a_narrow_terminal() -> None:
    head, line, *more = printed(RunTally(checked=1_000_000, repaired=1_000)).splitlines()
    assert head.split() == ["run", "outcome", "checked", "repaired", "queries", "ms"]
    assert line.split() == ["requirements-conversions", "dry-run", "1,000,000", "1,000", "123,456", "98,765"]
    assert more == []


def test_what_else_a_run_did_is_said_in_words_and_what_there_was_none_of_is_not() -> None:
    tally = RunTally(checked=9, settled=4, first_seen=3, shown=2, conversions=Counter(signature_obtained=1))
    assert printed(tally, 240).splitlines()[2:] == [
        "requirements-conversions: 4 that the stream had left to a live read, 3 judged for the first time,"
        " 2 shown in the queue of the present, ahead of the stream, 1 conversions (signature_obtained)"
    ]
