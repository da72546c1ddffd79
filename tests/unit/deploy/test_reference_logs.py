"""Every log call keeps to the convention and stands in docs/reference/logs.md, or a sentence says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.reference.logs import EVENTS, Call, every_call, log_calls, problems

TESTS = Path(__file__).parents[2]
WAITED = re.compile(r"wait_for\(\s*\"([a-z_]+)\"\s*\)|\[\"event\"\] == \"([a-z_]+)\"|get\(\"event\"\) == \"([a-z_]+)\"")
OF_NO_PROCESS_OF_OURS = {"up", "down"}


def test_every_event_is_described_and_every_field_is_known() -> None:
    assert problems(every_call()) == []


def test_calls_are_found_with_levels_and_fields() -> None:
    source = """
log.warning("server_away", server="kafka", reason=str(error))
structlog.get_logger().info("process_starting", process=READER)
log.log(logging.ERROR if failed else logging.INFO, "run_ended", run=name)
log.log(record.levelno, "library_reported", exc_info=error)
log.exception("thread_failed")
message.error()
"""
    assert list(log_calls(source, "m.py")) == [
        Call("m.py:2", "server_away", ("warning",), ("server", "reason")),
        Call("m.py:3", "process_starting", ("info",), ("process",)),
        Call("m.py:4", "run_ended", ("error", "info"), ("run",)),
        Call("m.py:5", "library_reported", (), ("exception",)),
        Call("m.py:6", "thread_failed", ("error",), ("exception",)),
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('log.info("moon_risen")', "m.py:1 logs moon_risen: say in EVENTS of deploy/reference/logs.py what it means"),
        ('log.info("stopped")', "m.py:1 logs stopped: an event is what it is about and what happened to it"),
        ('log.info("tokens_renewed", tokens=3)', "m.py:1 logs the field tokens: use one of FIELDS in deploy/"),
        ("log.info(event)", "m.py:1 logs an event that is no literal: write one call for each event"),
        ('log.info("drift_repaired", **kinds)', "m.py:1 logs fields of any name: give them one name"),
    ],
)
def test_what_breaks_the_convention_is_named_with_what_to_do(source: str, said: str) -> None:
    assert [problem for problem in problems(log_calls(source, "m.py")) if problem.startswith(said)]


def test_what_nobody_logs_any_more_is_named() -> None:
    assert problems([])[0] == "nothing logs process_starting: take it out of EVENTS in deploy/reference/logs.py"


def test_no_test_waits_for_an_event_that_nobody_logs() -> None:
    known = {event for section in EVENTS.values() for event in section} | OF_NO_PROCESS_OF_OURS
    waited = {
        (path.relative_to(TESTS).as_posix(), event)
        for path in TESTS.rglob("*.py")
        for groups in WAITED.findall(path.read_text())
        for event in groups
        if event
    }
    assert {event for _, event in waited} >= {"reader_connected", "lanes_assigned", "reconciler_started"}
    assert sorted((path, event) for path, event in waited if event not in known) == []
