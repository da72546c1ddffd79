"""`consumer audit`: what the witness found, for people, programs and the log of runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import structlog
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from consumer.audit.audit import Audit, Nothing
from consumer.settings import DatabaseSettings, SettingsError, load
from consumer.store.errors import StoreError
from consumer.store.refusal import reason_of
from consumer.store.runs import record_audit

log = structlog.get_logger(__name__)

DIFFERENT: Final = 3
"""Exit code where rows and messages differ."""
INCOMPLETE: Final = 4
"""Exit code where nothing differs and not everything could be looked at."""

REASON: Final = 2000
"""How many characters the log of runs gets of what was wrong."""
LINE_SECONDS: Final = 5.0
BAR_SECONDS: Final = 0.1
"""How often progress is shown on a terminal, and logged elsewhere."""
_SPAN: Final = re.compile(r"(\d+)(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """`90m` as a span of time. Raises ValueError."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise ValueError(f"{text} is no span of time; give it as 90m, 1h or 2d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def moment(text: str) -> datetime:
    """An ISO time, in UTC where it names no zone. Raises ValueError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time; give it as 2026-11-29T14:00, in UTC") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def milliseconds(found: datetime) -> int:
    """A time in ms since 1970."""
    return int(found.timestamp() * 1000)


def exit_code(found: Audit) -> int:
    """0 where all is equal, DIFFERENT, or INCOMPLETE."""
    if not found.is_equal:
        return DIFFERENT
    return INCOMPLETE if found.gaps else 0


def sentences(found: Audit) -> list[str]:
    """What was found, in sentences; the first is the verdict."""
    verdict = "equal" if found.is_equal else f"{found.differences:,} differences"
    if found.is_equal and found.gaps:
        verdict = "equal as far as could be looked at"
    lines = [
        f"{found.rows:,} rows, {found.messages:,} messages: {verdict}",
        f"binlog {_position(found.start)} to {_position(found.end)},"
        f" {_text(found.since_ms)} to {_text(found.until_ms)}",
        *(str(difference) for difference in found.shown),
    ]
    left = found.differences - len(found.shown)
    if left > 0:
        lines.append(f"… and {left:,} more")
    if found.compressed:
        lines.append(
            f"{found.compressed:,} compressed transactions, of which mysqlbinlog read {found.by_tool:,} rows of ours"
        )
    if found.unverified:
        lines.append(f"{found.unverified:,} messages are of transactions that could not be read")
    if found.noticed:
        lines.append(f"{found.noticed:,} messages have a notice in their place: their leads are read live")
    if found.rolled_back:
        lines.append(
            f"{found.rolled_back:,} transactions were logged and rolled back: every lead is read live for them"
        )
    if found.unread_values:
        lines.append(f"{found.unread_values:,} values could not be read and were held against nothing")
    if found.undecided:
        lines.append(f"{found.undecided:,} rows are of XA transactions that are not decided yet")
    for what, count in found.statements.items():
        lines.append(f"{count:,} statements ({what}), whose rows are not in the binlog")
    return [*lines, *(f"to know: {note}" for note in found.notes), *(f"not looked at: {gap}" for gap in found.gaps)]


def as_json(found: Audit) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "equal": found.is_equal,
        "complete": not found.gaps,
        "from": _text(found.since_ms),
        "to": _text(found.until_ms),
        "start": _position(found.start),
        "end": _position(found.end),
        **counts(found),
        "shown": [
            {
                "what": difference.what,
                "table": difference.table,
                "place": str(difference.spot) if difference.spot.file else "",
                "columns": list(difference.columns),
                "where": difference.where,
            }
            for difference in found.shown
        ],
        "statements": dict(found.statements),
        "notes": found.notes,
        "gaps": found.gaps,
    }


def counts(found: Audit) -> dict[str, int]:
    """The numbers of an audit."""
    numbers = {name: value for name, value in vars(found).items() if type(value) is int and not name.endswith("_ms")}
    numbers["rows_by_mysqlbinlog"] = numbers.pop("by_tool")
    return numbers


def log_of_runs() -> str | None:
    """The database whose log of runs gets the outcome; None where DATABASE_URL is not set. Raises SettingsError."""
    try:
        return load(DatabaseSettings).conninfo
    except SettingsError as error:
        wrong = error.__cause__
        if isinstance(wrong, ValidationError) and all(problem["type"] == "missing" for problem in wrong.errors()):
            return None
        raise


def record(found: Audit, started: datetime, conninfo: str) -> None:
    """Writes the outcome to the log of runs. Raises StoreError."""
    outcome = {0: "ok", DIFFERENT: "drift", INCOMPLETE: "failed"}[exit_code(found)]
    error = None if outcome == "ok" else "; ".join([*map(str, found.shown[:3]), *found.gaps])[:REASON]
    since, until = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (found.since_ms, found.until_ms))
    record_audit(conninfo, started, (since, until), outcome, counts(found), error)


@contextmanager
def recorded_if_it_fails(
    started: datetime, window: tuple[datetime, datetime], conninfo: str | None, *, chosen: bool = False
) -> Iterator[None]:
    """Writes to the log of runs that the audit within could not be done, and why; the error goes on either way.

    Not so where a stretch was `chosen` by a person that has nothing to audit: no later run would end well of it.
    """
    try:
        yield
    except Exception as error:
        if conninfo is not None and not (chosen and isinstance(error, Nothing)):
            reason = str(error)[:REASON] or type(error).__name__
            try:
                record_audit(conninfo, started, window, "failed", {}, reason)
            except StoreError as refusal:
                log.warning("run_not_recorded", run="audit", reason=str(refusal))
            except psycopg.Error as refusal:
                log.warning("run_not_recorded", run="audit", reason=reason_of(refusal))
        raise


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, a log line every few seconds elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    tasks: dict[str, Any] = {}
    reported_at = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at < (BAR_SECONDS if console.is_terminal else LINE_SECONDS):
            return
        reported_at = time.monotonic()
        if not console.is_terminal:
            log.info("run_progressed", run="audit", of=what, done=done, total=total)
            return
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=None)
        bar.update(tasks[what], completed=done, total=total or None, description=f"{what} {done:,}")

    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield report


def _position(position: tuple[str, int]) -> str:
    return f"{position[0]}:{position[1]}"


def _text(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
