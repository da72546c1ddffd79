"""The newest run of each name, as a row of the status page. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from reconciler.names import ATTRIBUTION, RECHECKS, RUN_NAMES, STARTABLE, SWEEPS
from reconciler.runner import SCHEDULE
from reconciler.runs.run_log import Record
from reconciler.schedule import last_slot
from reconciler.web.page.formatting import ago, counted, span
from reconciler.web.page.view_model import Facts, RunRow, State, sentence

TITLES: Final = {
    "new-users": ("New users", "customers created lately"),
    "new-requirements": ("New requirements", "documents asked for lately"),
    "unsigned-conversions": ("Signatures", "called lately, not signed when last seen"),
    "requirements-conversions": ("Documents", "called lately, owed documents when last seen"),
    RECHECKS: ("Rechecks", "customers queued to be read live"),
    "verify": ("Verify", "every customer compared"),
    "backfill": ("Backfill", "customers there before us"),
    "audit": ("Audit", "Kafka held against the binlog"),
    "age": ("Aging", "scores grow by one a day"),
    ATTRIBUTION: ("Attribution", "whose calls earned each conversion"),
}


def runs(facts: Facts) -> list[RunRow]:
    newest = facts.today.newest if facts.today else {}
    shown = [name for name in RUN_NAMES if name in STARTABLE or name == "age" or name in newest]
    return [_run(facts, name, newest.get(name)) for name in shown]


def _run(facts: Facts, name: str, record: Record | None) -> RunRow:
    policy = facts.policy
    title, about = TITLES[name]
    is_on = policy.writes and (name not in SWEEPS or name in policy.switched_on)
    startable = name in STARTABLE and is_on and not policy.why_no_runs
    state, word = _outcome(record)
    if record is None and not is_on:
        state, word = State.UNKNOWN, "switched off"
    return RunRow(
        name,
        title,
        about,
        state,
        word,
        "" if record is None else _when(record, facts.now),
        None if record is None else record.started_at,
        "" if record is None else _detail(record),
        "" if record is None or not record.error else sentence(record.error),
        _next(name, facts) if is_on else "switched off",
        startable,
    )


def _when(record: Record, now: datetime) -> str:
    if record.outcome == "running":
        return f"for {span((now - record.started_at).total_seconds())}"
    return ago(record.started_at, now)


def _outcome(record: Record | None) -> tuple[State, str]:
    if record is None:
        return State.UNKNOWN, "never ran"
    return {
        "ok": (State.GOOD, "done"),
        "running": (State.BUSY, "running"),
        "drift": (State.NOTICE, "drift left"),
        "stopped": (State.NOTICE, "stopped"),
        "dry-run": (State.GOOD, "dry run"),
        "aborted": (State.BAD, "cut off"),
        "failed": (State.BAD, "failed"),
        "refused": (State.BAD, "leads refused"),
    }.get(record.outcome, (State.UNKNOWN, record.outcome))


def _detail(record: Record) -> str:
    counts = record.counts
    parts = []
    if "aged" in counts:
        parts.append(f"{_count(counts, 'aged'):,} aged")
    if "checked" in counts:
        parts.append(f"{_count(counts, 'checked'):,} checked")
    for key, word in (
        ("first_seen", "new"),
        ("repaired", "repaired"),
        ("left_to_recheck", "left"),
        ("failed", "refused"),
        ("locked", "held by others"),
    ):
        if number := _count(counts, key):
            parts.append(f"{number:,} {word}")
    converted = counts.get("conversions")
    if isinstance(converted, dict) and (total := sum(converted.values())):
        parts.append(counted(total, "conversion"))
    if record.started_by and record.started_by != SCHEDULE:
        parts.append(f"by {record.started_by}")
    if record.milliseconds is not None and record.finished_at is not None:
        seconds = record.milliseconds / 1000
        parts.append(span(seconds) if seconds >= 1 else f"{record.milliseconds} ms")
    return " · ".join(parts)


def _count(counts: dict[str, object], key: str) -> int:
    number = counts.get(key, 0)
    return number if isinstance(number, int) else 0


def _next(name: str, facts: Facts) -> str:
    if name in SWEEPS:
        slot = last_slot(name, facts.now, facts.policy.zone) + timedelta(hours=1)
        return f"next at {slot.astimezone(facts.policy.zone):%H:%M}"
    if name == RECHECKS:
        return "when one is due"
    if name == ATTRIBUTION:
        return "every 15 minutes"
    return "each day at 02:00" if name == "age" else "on demand"
