"""What runs did, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from consumer.versions import moment
from reconciler.runs.repair import RunTally
from reconciler.runs.sweeps import Report


def as_json(reports: Sequence[Report]) -> str:
    """All reports as a JSON list; times are ISO 8601 in UTC."""
    return json.dumps([as_dict(report) for report in reports], indent=2)


def as_dict(report: Report) -> dict[str, object]:
    """One report as JSON has it; times are ISO 8601 in UTC."""
    window = report.window
    return {
        "name": report.name,
        "outcome": report.outcome,
        "window": None if window is None else {"from": _iso(window.start), "to": _iso(window.end)},
        **report.tally.as_counts(),
        "queries": report.queries,
        "milliseconds": report.milliseconds,
        "error": report.error,
        "warnings": list(report.warnings),
    }


def _iso(microseconds: int) -> str:
    return moment(microseconds).isoformat().replace("+00:00", "Z")


def show(console: Console, reports: Sequence[Report]) -> None:
    """All reports as a table, a line each, and below it what each did and what went wrong, in sentences."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for title in ("checked", "repaired", "queries", "ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for report in reports:
        numbers = (report.tally.checked, report.tally.repaired, report.queries, report.milliseconds)
        table.add_row(report.name, report.outcome, *(f"{number:,}" for number in numbers))
    console.print(table)
    for report in reports:
        if done := _done(report.tally):
            console.print(f"{report.name}: {', '.join(done)}")
        if report.tally.drift:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.tally.drift.most_common())
            console.print(f"{report.name}: drift {kinds}")
        if entries := report.tally.entries_repaired:
            console.print(f"{report.name}: repaired the entries of {entries:,} leads in call_queue")
        if published := report.tally.conversions_published:
            console.print(f"{report.name}: added {published:,} conversions that only stints knew")
        if report.tally.conversions_waiting:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.tally.conversions_waiting.most_common())
            console.print(f"{report.name}: wait for the stream, which is to record them: {kinds}")
        if report.error:
            console.print(f"{report.name}: {report.error}", style="red", markup=False)
        for warning in report.warnings:
            console.print(f"{report.name}: {warning}", style="yellow", markup=False)


def _done(tally: RunTally) -> list[str]:
    """What a run did beside checking and repairing, only what there was of it."""
    kinds = ", ".join(tally.conversions)
    counts = (
        (tally.settled, "that the stream had left to a live read"),
        (tally.first_seen, "judged for the first time"),
        (tally.queue_changes, "in another queue now"),
        (tally.shown, "shown in the queue of the present, ahead of the stream"),
        (tally.conversions.total(), f"conversions ({kinds})"),
        (tally.left_to_recheck, "left for later: drift not confirmed, or entries that another session held"),
    )
    return [f"{count:,} {what}" for count, what in counts if count]
