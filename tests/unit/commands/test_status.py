"""What `consumer status` shows."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from consumer.commands.status import LaneStatus, Status, show
from consumer.stream.status import SILENT_SECONDS, is_silent

WELL = Status(
    "binlog.000007", 4711, "", 0.4, None, 5, 2, 1, 0, [LaneStatus(0, "applier-1", 0.3, 12, 5, 0.4)], []
)  # fmt: skip
NO_KAFKA = replace(WELL, file=None, pos=None, gtid_set=None, lag_seconds=None, waiting=None)
NO_POSTGRES = replace(WELL, lanes=[], waiting=None, rechecks=None, rechecks_due=None, dead_letters=None)


def shown(found: Status, width: int = 160) -> str:
    paper = io.StringIO()
    show(found, Console(file=paper, width=width))
    return paper.getvalue()


def test_a_reader_at_work_is_so_far_behind_and_a_dead_one_is_said_to_be_dead() -> None:
    assert "binlog.000007:4711, 0.4 s behind" in shown(WELL)
    dead = shown(replace(WELL, lag_seconds=660.0, silent_seconds=660.0))
    assert "has written nothing for 660.0 s: it is not running, or cut off from Kafka" in dead
    assert "the last line of its log says why, and it goes on where it stood: consumer read" in dead
    assert "660.0 s behind" not in dead


def test_that_nobody_applies_is_said_as_such() -> None:
    assert "applier is" not in shown(WELL)
    dead = shown(replace(WELL, stalled_seconds=135.2))
    assert "nothing was applied for 135.2 s: no applier is running, or none gets through" in dead
    assert "the last line of its log says why, and it goes on where it stood: consumer apply" in dead


def test_what_is_copied_from_it_is_in_one_line_however_narrow_the_paper_is() -> None:
    gtids = ",".join(f"{number:08d}-ec28-11f1-afe6-02fc00000001:1-82857" for number in range(3))
    found = shown(replace(WELL, gtid_set=gtids, lag_seconds=660.0, silent_seconds=660.0), width=80)
    assert f"GTIDs   {gtids}\n" in found
    assert "goes on where it stood: consumer read\n" in found


@pytest.mark.parametrize(
    ("found", "there", "missing"),
    [
        (NO_KAFKA, ["applier-1", "2 rechecks, 1 due; 0 dead letters"], ["binlog", "messages waiting"]),
        (NO_POSTGRES, ["binlog.000007:4711"], ["applier-1", "rechecks"]),
    ],
)
def test_where_one_server_is_silent_the_other_half_is_shown(
    found: Status, there: list[str], missing: list[str]
) -> None:
    text = shown(found)
    assert all(part in text for part in there)
    assert not any(part in text for part in missing)


def test_a_reader_is_silent_when_its_last_checkpoint_is_old_however_far_it_is_behind() -> None:
    assert not is_silent(100.0, 100.0 + SILENT_SECONDS)
    assert is_silent(100.0, 100.1 + SILENT_SECONDS)
