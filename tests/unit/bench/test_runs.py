"""Contestants by turns: every one once a round, and ratios taken within a round."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import measure
from tests.bench.measure import BenchFailed, Command, Progress
from tests.bench.runs import Contestant, by_turns, paired


def took(seconds: float, rows: int) -> Progress:
    """A run of which only the end was seen."""
    return Progress(((seconds, rows),), ((10.0,),), (seconds / 2,), broker_cpu=seconds)


def test_another_one_is_first_in_each_round() -> None:
    order: list[str] = []

    def noted(name: str) -> Contestant:
        def once() -> Progress:
            order.append(name)
            return took(1, 10)

        return Contestant(name, [name], 10, once)

    by_turns([noted("a"), noted("b"), noted("c")], 3)
    assert "".join(order) == "abcbcacab"


def test_ratios_are_taken_within_a_round_so_that_a_slow_moment_of_the_machine_counts_for_nobody() -> None:
    contestants = [Contestant(name, [name], rows, lambda: took(1, 1)) for name, rows in (("ours", 100), ("theirs", 50))]
    taken = {
        "ours": [took(1, 100), took(10, 100), took(100, 100)],
        "theirs": [took(1, 50), took(10, 50), took(100, 50)],
    }
    ours, theirs = paired(contestants, taken)
    assert (ours["rows_per_s"], theirs["rows_per_s"], theirs["ours_is_times"]) == (10, 5, 2.0)
    assert "ours_is_times" not in ours
    assert (theirs["cpu_us_a_row"], theirs["broker_cpu_us_a_row"]) == (100_000.0, 200_000.0)


def command(program: str, folder: Path) -> Command:
    """A Python program to be measured."""
    return Command([sys.executable, "-c", program], folder / "log")


def test_one_that_ends_by_itself_has_its_children_in_its_cpu(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\n"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}], check=True)"
    progress = measure.to_its_end(command(child, tmp_path), 7)
    assert progress.points[-1][1] == 7
    assert progress.cpu[0] >= 0.3


def test_what_arrives_only_after_its_sender_ended_is_waited_for(tmp_path: Path) -> None:
    asked = iter([0, 0, 0])
    progress = measure.run([command("", tmp_path)], lambda: next(asked, 5), 5)
    assert progress.seconds_to(5) > 0


def test_one_that_fails_says_what_it_wrote_last(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="ended with 3:\nno such thing"):
        measure.run([command("print('no such thing'); raise SystemExit(3)", tmp_path)], lambda: 0, 1)
