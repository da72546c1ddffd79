"""What the status page is made from and made of: facts that were seen, and the parts that are shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from consumer.process import Process
from reconciler.monitor.kafka import StreamSeen
from reconciler.monitor.servers import Snapshot
from reconciler.monitor.today import Today
from reconciler.monitor.week import Week
from reconciler.web.page.chart import Chart

LATE_SECONDS: Final = 60.0
VERY_LATE_SECONDS: Final = 300.0


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
    grafana: str = ""
    runbook: str = ""
    """Addresses to link to; empty where nobody set one."""

    @property
    def may_start(self) -> bool:
        """Whether anything can be started from the pages."""
        return self.writes and self.token

    @property
    def why_no_runs(self) -> str:
        """Why nobody can start runs from the page; empty where they can."""
        if not self.writes:
            return "SMART_DISCOVERY_ENABLED is false, so nothing is run."
        if not self.token:
            return "Runs cannot be started from this page: neither API_TOKENS_FILE nor API_TOKEN names who may."
        return ""


@dataclass(frozen=True)
class Facts:
    """Everything that was seen until `now`. `today` and `week` are None before PostgreSQL first answered."""

    now: datetime
    snapshot: Snapshot
    today: Today | None
    stream: StreamSeen
    policy: Policy
    week: Week | None = None
    here: Process | None = None
    """The process that serves the page."""


@dataclass(frozen=True)
class Alert:
    """Something to know, in a sentence."""

    state: State
    sentence: str


@dataclass(frozen=True)
class Figure:
    """One number with its name. `value` is a dash where it is not known; `code` is the name that programs use.

    `link` leads to the list behind it; `notes` are further lines, and `longest` is who waits longest, with words on it.
    """

    key: str
    label: str
    value: str
    note: str = ""
    code: str = ""
    state: State | None = None
    link: str = ""
    notes: tuple[str, ...] = ()
    longest: tuple[int, str] | None = None


@dataclass(frozen=True)
class ConversionRow:
    """One of the latest conversions."""

    user_id: int
    at: datetime
    when: str
    words: str


@dataclass(frozen=True)
class DayRow:
    """The conversions of one day: all, and by type in the order of the page."""

    day: str
    total: int
    types: list[int]


@dataclass(frozen=True)
class AgentRow:
    """The conversions of one agent, by type in the order of the page, and to how many others they contributed."""

    agent: str
    types: list[int]
    contributed: int


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
class ProcessRow:
    """A process at work, or one that was; `word` says which, and what it does."""

    kind: str
    name: str
    version: str
    uptime: str
    memory: str
    state: State
    word: str


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
class LagRow:
    """The worst lag of an hour or of a day; `fill` as in LaneRow."""

    when: str
    lag: str
    fill: int
    state: State


@dataclass(frozen=True)
class StatusPage:
    """The whole page."""

    now: datetime
    clock: str
    zone: str
    state: State
    headline: str
    alerts: list[Alert]
    queues: list[Figure]
    queues_note: str
    conversions: Figure
    won: list[Figure]
    latest: list[ConversionRow]
    days: list[DayRow]
    agents: list[AgentRow] | None
    """None: there are no calls to tell by, or nobody knows yet."""
    chart: Chart
    chart_words: str
    hour: int
    """Of the local clock."""
    lags: list[Figure]
    lag_hours: list[LagRow]
    """Today's, as far as they were measured."""
    lag_days: list[LagRow]
    """Those of seven days, today first."""
    lanes: list[LaneRow]
    drift: list[Figure]
    runs: list[RunRow]
    processes: list[ProcessRow]
    processes_note: str
    why_no_runs: str


def lag_state(lag: float | None) -> State:
    """How a lag (s) stands."""
    if lag is None:
        return State.UNKNOWN
    return State.BAD if lag >= VERY_LATE_SECONDS else State.NOTICE if lag >= LATE_SECONDS else State.GOOD


def sentence(text: str) -> str:
    """Text of an error as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")
