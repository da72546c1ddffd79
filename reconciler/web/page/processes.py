"""The processes at work, as rows of the status page. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from consumer.process import Process
from consumer.store.processes import SILENT_SECONDS
from reconciler.web.page.formatting import clock, counted, size, span
from reconciler.web.page.view_model import Facts, ProcessRow, State


def processes(facts: Facts) -> list[ProcessRow]:
    """The reader, the appliers, and who else serves this page beside the process that does."""
    there = [] if facts.today is None else facts.today.processes
    held = Counter() if facts.today is None else Counter(lane.owner for lane in facts.today.lanes.values())
    rows = []
    if facts.stream.reader is not None:
        silent = facts.stream.reader_silent_since
        gone = "" if silent is None else f"silent since {clock(silent, facts.now, facts.policy.zone)}"
        rows.append(_row(facts, facts.stream.reader, gone, "reads", State.BAD))
    for process, seconds in there:
        if facts.here is not None and (process.kind, process.name) == (facts.here.kind, facts.here.name):
            continue
        since = facts.now - timedelta(seconds=seconds)
        gone = f"silent since {clock(since, facts.now, facts.policy.zone)}" if seconds > SILENT_SECONDS else ""
        does = "at work"
        if process.kind == "applier":
            lanes = held[process.name]
            does = f"applies {counted(lanes, 'lane')}" if lanes else "stands by"
        rows.append(_row(facts, process, gone, does))
    if facts.here is not None:
        rows.append(_row(facts, facts.here, "", "serves this page"))
    return rows


def missing(facts: Facts) -> str:
    """Why a process may not be among the rows; empty where they are all there."""
    if not facts.stream.is_watched:
        return "The reader reports itself in Kafka, and KAFKA_BOOTSTRAP_SERVERS is not set for this process."
    return ""


def _row(facts: Facts, process: Process, gone: str, does: str, missed: State = State.NOTICE) -> ProcessRow:
    """`missed` is how it stands where it is `gone`: there may be other appliers, but no other reader."""
    up = span(max(0.0, (facts.now - process.started_at).total_seconds()))
    return ProcessRow(
        process.kind,
        process.name,
        process.version,
        "—" if gone else up,
        size(process.memory),
        missed if gone else State.GOOD,
        gone or does,
    )
