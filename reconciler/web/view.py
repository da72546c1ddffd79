"""What the status page says, made from what was seen. Pure: asks nobody, draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import isinf
from typing import Final
from zoneinfo import ZoneInfo

from reconciler.board import Board, Lane
from reconciler.jobs import NAMES as STARTABLE
from reconciler.runs import NAMES, Record
from reconciler.schedule import last_slot
from reconciler.settings import SWEEPS
from reconciler.stream_watch import StreamSeen
from reconciler.sweeps import RECHECKS
from reconciler.watch import Snapshot
from reconciler.web.chart import Chart, chart, share
from reconciler.web.words import ago, clock, counted, difference, span

LATE_SECONDS: Final = 60.0
VERY_LATE_SECONDS: Final = 300.0
OVERDUE: Final = timedelta(minutes=75)
"""A sweep that runs each hour should have ended well within this time."""
RECHECKS_LATE: Final = timedelta(minutes=10)
UNEVEN_SECONDS: Final = 10.0
"""Lanes that lag by so much more than the foremost one have an applier that is slow, not a reader."""

QUEUES: Final = (
    ("unsigned_users", "Have not signed"),
    ("requirements_outstanding", "Owe documents"),
    ("none", "In no queue"),
)
TITLES: Final = {
    "new-users": ("New users", "customers created lately"),
    "new-requirements": ("New requirements", "documents asked for lately"),
    "unsigned-conversions": ("Signatures", "called lately, not signed when last seen"),
    "requirements-conversions": ("Documents", "called lately, owed documents when last seen"),
    RECHECKS: ("Rechecks", "customers queued to be read live"),
    "verify": ("Verify", "every customer compared"),
    "backfill": ("Backfill", "customers there before us"),
    "age": ("Ageing", "scores grow by one a day"),
}
CONVERSIONS: Final = (("signature_obtained", "signed"), ("requirements_completed", "handed in the last document"))


class State(StrEnum):
    """How something stands; the page shows a sign and a word beside the colour."""

    GOOD = "good"
    NOTICE = "notice"
    BAD = "bad"
    BUSY = "busy"
    UNKNOWN = "unknown"

    @property
    def sign(self) -> str:
        """What stands for it where there is no colour."""
        return {"good": "✓", "notice": "!", "bad": "✕", "busy": "…", "unknown": "—"}[self.value]


@dataclass(frozen=True)
class Policy:
    """What settings allow here."""

    zone: ZoneInfo
    switched_on: frozenset[str]
    writes: bool
    token: bool
    shadow: bool

    @property
    def why_no_runs(self) -> str:
        """Why nobody can start runs from the page; empty where they can."""
        if not self.writes:
            return "SMART_DISCOVERY_ENABLED is false, so nothing is run."
        if not self.token:
            return "Runs cannot be started from this page: API_TOKEN is not set."
        return ""


@dataclass(frozen=True)
class Facts:
    """Everything that was seen until `now`. `board` is None before PostgreSQL first answered."""

    now: datetime
    snapshot: Snapshot
    board: Board | None
    stream: StreamSeen
    policy: Policy


@dataclass(frozen=True)
class Remark:
    """Something to know, in a sentence."""

    state: State
    sentence: str


@dataclass(frozen=True)
class Figure:
    """One number with its name. `value` is a dash where it is not known; `code` is the name that programs use."""

    key: str
    label: str
    value: str
    note: str = ""
    code: str = ""
    state: State | None = None


@dataclass(frozen=True)
class RunRow:
    """The newest run of a name. `next_at` is when it runs again, `startable` whether the page offers a button."""

    name: str
    title: str
    about: str
    state: State
    word: str
    when: str
    started_at: datetime | None
    detail: str
    error: str
    next_at: str
    startable: bool


@dataclass(frozen=True)
class LaneRow:
    """One lane; `fill` is how much of its bar is filled, in percent of VERY_LATE_SECONDS."""

    number: int
    owner: str
    lag: str
    fill: int
    state: State
    waiting: str


@dataclass(frozen=True)
class Page:
    """The whole page."""

    now: datetime
    clock: str
    zone: str
    state: State
    headline: str
    remarks: list[Remark]
    queues: list[Figure]
    queues_note: str
    conversions: Figure
    conversion_types: str
    chart: Chart
    chart_words: str
    hour: int
    """Of the local clock."""
    lags: list[Figure]
    lanes: list[LaneRow]
    drift: list[Figure]
    runs: list[RunRow]
    why_no_runs: str


def page(facts: Facts) -> Page:
    """The page of this moment."""
    found = _remarks(facts)
    state = max((remark.state for remark in found), key=_WEIGHT.__getitem__, default=State.GOOD)
    drawn = chart(*_hours(facts.board))
    conversions, types, words = _conversions(facts, drawn)
    return Page(
        now=facts.now,
        clock=f"{facts.now.astimezone(facts.policy.zone):%H:%M:%S}",
        zone=facts.policy.zone.key,
        state=state,
        headline=_headline(state, found),
        remarks=found,
        queues=_queues(facts.snapshot),
        queues_note=_queues_note(facts),
        conversions=conversions,
        conversion_types=types,
        chart=drawn,
        chart_words=words,
        hour=facts.now.astimezone(facts.policy.zone).hour,
        lags=_lags(facts),
        lanes=_lanes(facts),
        drift=_drift(facts),
        runs=_runs(facts),
        why_no_runs=facts.policy.why_no_runs,
    )


_WEIGHT: Final = {State.GOOD: 0, State.NOTICE: 1, State.UNKNOWN: 2, State.BAD: 3}


def _headline(state: State, found: list[Remark]) -> str:
    if state is State.GOOD:
        return "All is well"
    if state is State.UNKNOWN:
        return "Nothing is known yet"
    pressing = sum(1 for remark in found if remark.state is State.BAD)
    if pressing:
        return "One thing needs attention" if pressing == 1 else f"{pressing} things need attention"
    return "Working, with something to know"


def _remarks(facts: Facts) -> list[Remark]:
    found: list[Remark] = []

    def say(state: State, sentence: str) -> None:
        found.append(Remark(state, sentence))

    seen = facts.snapshot
    if not seen.store_up:
        fresh = "has not been asked" in seen.store_error or "run `consumer setup`" in seen.store_error
        say(State.UNKNOWN if fresh else State.BAD, _sentence(seen.store_error))
        if facts.board is not None and not fresh:
            say(State.NOTICE, f"What follows is as of {clock(facts.board.seen_at, facts.now, facts.policy.zone)}.")
    if not seen.replica_up:
        fresh = "has not been asked" in seen.replica_error
        say(State.UNKNOWN if fresh else State.BAD, _sentence(seen.replica_error))
    elif seen.replica_lag is not None and seen.replica_lag >= LATE_SECONDS:
        say(State.BAD, _replica_lag(seen.replica_lag))
    if seen.store_up and facts.board is not None:
        _remark_stream(facts, facts.board, say)
        _remark_runs(facts, facts.board, say)
    if facts.stream.is_watched and facts.stream.problem and "not been asked" not in facts.stream.problem:
        say(State.BAD, _sentence(facts.stream.problem))
    if facts.stream.dead_letters:
        count = counted(facts.stream.dead_letters, "message")
        say(State.BAD, f"{count} could not be applied; see `consumer dead-letters list`.")
    if facts.policy.shadow:
        say(State.NOTICE, "SHADOW_MODE is on: the call centre's tables are left alone.")
    if not facts.policy.writes:
        say(State.NOTICE, "SMART_DISCOVERY_ENABLED is false: no sweep runs.")
    return found


def _remark_stream(facts: Facts, board: Board, say: Callable[[State, str], None]) -> None:
    lags = {lane.number: lag for lane in board.lanes if (lag := _lag(lane, board.seen_at)) is not None}
    if not lags:
        say(State.NOTICE, "The stream has not run yet; start `consumer read` and `consumer apply`.")
        return
    reader = facts.stream.reader_lag
    if reader is not None and reader >= LATE_SECONDS:
        say(_lag_state(reader), f"`consumer read` is {span(reader)} behind MySQL, and everything after it with it.")
        return
    late = {lane: lag for lane, lag in lags.items() if lag >= LATE_SECONDS}
    if not late:
        return
    worst = max(late.values())
    state = State.BAD if worst >= VERY_LATE_SECONDS else State.NOTICE
    if len(late) == len(lags) and worst - min(late.values()) < UNEVEN_SECONDS:
        say(state, f"Every lane is {span(worst)} behind: look at `consumer read`, then at `consumer apply`.")
    else:
        names = ", ".join(map(str, sorted(late)[:6])) + (" …" if len(late) > 6 else "")
        lane = "Lane" if len(late) == 1 else "Lanes"
        say(state, f"{lane} {names} up to {span(worst)} behind: look at `consumer apply`.")


def _remark_runs(facts: Facts, board: Board, say: Callable[[State, str], None]) -> None:
    for name in SWEEPS:
        record = board.newest.get(name)
        if name not in facts.policy.switched_on or not facts.policy.writes:
            continue
        title = TITLES[name][0]
        if record is not None and record.outcome in ("failed", "aborted"):
            say(State.BAD, f"The sweep “{title}” ended badly: {_sentence(record.error or record.outcome)}")
        success = facts.snapshot.last_runs.get(name)
        if success is not None and facts.now - success.started_at > OVERDUE:
            say(State.BAD, f"The sweep “{title}” last succeeded {ago(success.started_at, facts.now)}.")
    if board.oldest_recheck is not None and facts.now - board.oldest_recheck > RECHECKS_LATE:
        say(State.NOTICE, f"A recheck has been due for {span((facts.now - board.oldest_recheck).total_seconds())}.")
    mended = sum(board.mended.values())
    if mended:
        say(State.NOTICE, f"Runs mended {counted(mended, 'lead')} today that the stream had missed.")


def _hours(board: Board | None) -> tuple[dict[int, int], dict[int, int]]:
    return ({}, {}) if board is None else (board.days.today, board.days.yesterday)


def _conversions(facts: Facts, drawn: Chart) -> tuple[Figure, str, str]:
    if facts.board is None:
        return Figure("conversions", "Conversions today", "—", "not known yet"), "", "No conversions are known yet."
    days = facts.board.days
    today, whole = days.today.total(), days.yesterday.total()
    figure = Figure("conversions", "Conversions today", f"{today:,}", difference(today, days.yesterday_by_now))
    types = " · ".join(f"{days.types[kind]:,} {words}" for kind, words in CONVERSIONS)
    words = f"{counted(today, 'conversion')} today, {whole:,} on the whole of yesterday."
    if not today and not whole:
        words = "No conversion yet today, and none yesterday."
    if drawn.busiest is not None:
        words += f" Busiest hour today: {drawn.busiest.span}, with {drawn.busiest.today:,}."
    return figure, types, words


def _queues(seen: Snapshot) -> list[Figure]:
    known = seen.counted_at is not None
    return [
        Figure(f"queue-{code}", label, f"{seen.queues.get(code, 0):,}" if known else "—", code=code)
        for code, label in QUEUES
    ]


def _queues_note(facts: Facts) -> str:
    counted_at = facts.snapshot.counted_at
    if counted_at is None:
        return "not counted yet"
    return f"counted at {clock(counted_at, facts.now, facts.policy.zone)}, once a minute"


def _lags(facts: Facts) -> list[Figure]:
    lags: list[float] = []
    if facts.board is not None:
        lags = [lag for lane in facts.board.lanes if (lag := _lag(lane, facts.board.seen_at)) is not None]
    stream = max(lags, default=None)
    reader = facts.stream.reader_lag
    if reader is not None:
        note = "MySQL to Kafka"
    else:
        reader = min(lags, default=None)
        note = "at most: the foremost lane" if reader is not None else "not known yet"
    replica = facts.snapshot.replica_lag
    up = facts.snapshot.replica_up
    replica_note = "not a replica, or it does not say" if up and replica is None else "behind its source"
    letters = facts.stream.dead_letters
    return [
        _lag_figure("reader", "Reader", reader, note),
        _lag_figure("lanes", "Slowest lane", stream, "MySQL to PostgreSQL" if lags else "not known yet"),
        _lag_figure("replica", "Replica", replica, replica_note if up else "does not answer"),
        Figure(
            "letters",
            "Dead letters",
            "—" if letters is None else f"{letters:,}",
            "messages nobody could apply" if letters is not None else _first(facts.stream.problem),
            state=None if letters is None else (State.BAD if letters else State.GOOD),
        ),
    ]


def _lag_figure(key: str, label: str, lag: float | None, note: str) -> Figure:
    if lag is None:
        return Figure(f"lag-{key}", label, "—", note, state=State.UNKNOWN)
    text = "stands still" if isinf(lag) else span(lag)
    return Figure(f"lag-{key}", label, text, note, state=_lag_state(lag))


def _lag_state(lag: float | None) -> State:
    if lag is None:
        return State.UNKNOWN
    return State.BAD if lag >= VERY_LATE_SECONDS else State.NOTICE if lag >= LATE_SECONDS else State.GOOD


def _lanes(facts: Facts) -> list[LaneRow]:
    rows: list[LaneRow] = []
    if facts.board is None:
        return rows
    for lane in facts.board.lanes:
        lag = _lag(lane, facts.board.seen_at)
        ahead = facts.stream.next_seqs[lane.number] if lane.number < len(facts.stream.next_seqs) else None
        rows.append(
            LaneRow(
                lane.number,
                lane.owner or "nobody yet",
                "unknown" if lag is None else span(lag),
                share(lag, VERY_LATE_SECONDS),
                _lag_state(lag),
                "" if ahead is None else f"{max(0, ahead - lane.next_seq):,}",
            )
        )
    return rows


def _drift(facts: Facts) -> list[Figure]:
    board, seen = facts.board, facts.snapshot
    found = None if board is None else sum(board.drift.values())
    mended = None if board is None else sum(board.mended.values())
    kinds = "" if board is None else ", ".join(f"{count:,} {kind}" for kind, count in board.kinds.items())
    waiting = "—" if seen.rechecks_waiting is None else f"{seen.rechecks_waiting:,}"
    due = "" if seen.rechecks_due is None else f"{seen.rechecks_due:,} due now"
    return [
        Figure("drift-found", "Drift found today", _number(found), kinds or "differences from MySQL, confirmed"),
        Figure("drift-mended", "Mended today", _number(mended), "leads the stream had missed; should be zero"),
        Figure("rechecks", "Rechecks waiting", waiting, due or "customers to be read live"),
    ]


def _runs(facts: Facts) -> list[RunRow]:
    newest = facts.board.newest if facts.board else {}
    shown = [name for name in NAMES if name in STARTABLE or name == "age" or name in newest]
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
        "" if record is None or not record.error else _sentence(record.error),
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
    }.get(record.outcome, (State.UNKNOWN, record.outcome))


def _detail(record: Record) -> str:
    counts = record.counts
    parts = []
    if "aged" in counts:
        parts.append(f"{_count(counts, 'aged'):,} aged")
    if "checked" in counts:
        parts.append(f"{_count(counts, 'checked'):,} checked")
    for key, word in (("first_seen", "new"), ("mended", "mended"), ("left_to_recheck", "left"), ("failed", "refused")):
        if number := _count(counts, key):
            parts.append(f"{number:,} {word}")
    won = counts.get("conversions")
    if isinstance(won, dict) and (total := sum(won.values())):
        parts.append(counted(total, "conversion"))
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
    return "next at 02:00" if name == "age" else "on demand"


def _lag(lane: Lane, seen_at: datetime) -> float | None:
    return max(0.0, seen_at.timestamp() - lane.version / 1e6) if lane.version else None


def _replica_lag(lag: float) -> str:
    if isinf(lag):
        return "Replication on the replica stands still, so live reads are old."
    return f"The replica is {span(lag)} behind its source, so live reads are old."


def _number(number: int | None) -> str:
    return "—" if number is None else f"{number:,}"


def _first(sentence: str) -> str:
    return sentence.partition(";")[0]


def _sentence(text: str) -> str:
    """Text of an error as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")
