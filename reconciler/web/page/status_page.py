"""What the status page says, made from what was seen. Pure: asks nobody, draws nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from math import isinf
from typing import Final

from reconciler.monitor.lags import lag_of, stream_lag
from reconciler.monitor.today import Days
from reconciler.monitor.week import Week
from reconciler.names import QUEUES
from reconciler.web.page.alerts import alerts, headline
from reconciler.web.page.chart import Chart, chart, share
from reconciler.web.page.formatting import clock, counted, difference, named, span
from reconciler.web.page.lag_history import by_day, by_hour, notes
from reconciler.web.page.last_runs import runs
from reconciler.web.page.processes import missing, processes
from reconciler.web.page.view_model import (
    VERY_LATE_SECONDS,
    AgentRow,
    ConversionRow,
    DayRow,
    Facts,
    Figure,
    LaneRow,
    State,
    StatusPage,
    lag_state,
)

CONVERSIONS: Final = (("signature_obtained", "signed"), ("requirements_completed", "handed in the last document"))
WEIGHT: Final = {State.GOOD: 0, State.NOTICE: 1, State.UNKNOWN: 2, State.BAD: 3}
"""Of what there is to know, the worst makes the headline."""


def page(facts: Facts) -> StatusPage:
    """The page of this moment."""
    found = sorted(alerts(facts), key=lambda alert: WEIGHT[alert.state], reverse=True)
    state = max((alert.state for alert in found), key=WEIGHT.__getitem__, default=State.GOOD)
    days = Days() if facts.today is None else facts.today.days
    drawn = chart(days.today, days.yesterday)
    conversions, words = _conversions(facts, drawn)
    return StatusPage(
        now=facts.now,
        clock=f"{facts.now.astimezone(facts.policy.zone):%H:%M:%S}",
        zone=facts.policy.zone.key,
        state=state,
        headline=headline(state, found),
        alerts=found,
        queues=_queues(facts),
        queues_note=_queues_note(facts),
        conversions=conversions,
        won=_won(facts),
        latest=_latest(facts),
        days=_days(facts.week),
        agents=_agents(facts.week),
        chart=drawn,
        chart_words=words,
        hour=facts.now.astimezone(facts.policy.zone).hour,
        lags=_lags(facts),
        lag_hours=by_hour(facts),
        lag_days=by_day(facts),
        lanes=_lanes(facts),
        drift=_drift(facts),
        runs=runs(facts),
        processes=processes(facts),
        processes_note=missing(facts),
        why_no_runs=facts.policy.why_no_runs,
    )


def _conversions(facts: Facts, drawn: Chart) -> tuple[Figure, str]:
    if facts.today is None:
        return Figure("conversions", "Conversions today", "—", "not known yet"), "No conversions are known yet."
    days = facts.today.days
    today, whole = days.today.total(), days.yesterday.total()
    figure = Figure("conversions", "Conversions today", f"{today:,}", difference(today, days.yesterday_by_now))
    words = f"{counted(today, 'conversion')} today, {whole:,} on the whole of yesterday."
    if not today and not whole:
        words = "No conversion yet today, and none yesterday."
    if drawn.busiest is not None:
        words += f" Busiest hour today: {drawn.busiest.span}, with {drawn.busiest.today:,}."
    return figure, words


def _won(facts: Facts) -> list[Figure]:
    """Today's conversions by type, and those of seven days."""
    days, week = None if facts.today is None else facts.today.days, facts.week
    types = Counter() if week is None else week.conversions
    figures = []
    for kind, words in CONVERSIONS:
        note = "" if week is None else f"{types[kind]:,} in seven days"
        label = f"{words[:1].upper()}{words[1:]}"
        value = None if days is None else days.types[kind]
        figures.append(Figure(f"won-{kind}", label, _number(value), note, link=f"/lists/{kind}"))
    since = "" if week is None else f"since {named(week.days[-1][0])}"
    total = None if week is None else types.total()
    return [*figures, Figure("won-week", "In seven days", _number(total), since, link="/lists/conversions?days=week")]


def _latest(facts: Facts) -> list[ConversionRow]:
    words, zone = dict(CONVERSIONS), facts.policy.zone
    return [
        ConversionRow(
            one.user_id, one.at.astimezone(zone), clock(one.at, facts.now, zone), words.get(one.conversion_type, "")
        )
        for one in ([] if facts.today is None else facts.today.latest)
    ]


def _days(week: Week | None) -> list[DayRow]:
    return [
        DayRow(named(day), types.total(), [types[kind] for kind, _ in CONVERSIONS])
        for day, types in ([] if week is None else week.days)
    ]


def _agents(week: Week | None) -> list[AgentRow] | None:
    if week is None or week.agents is None:
        return None
    return [
        AgentRow(
            "nobody yet" if one.agent_id is None else f"agent {one.agent_id}",
            [one.primary.get(kind, 0) for kind, _ in CONVERSIONS],
            one.contributed,
        )
        for one in week.agents
    ]


def _queues(facts: Facts) -> list[Figure]:
    seen, week, zone = facts.snapshot, facts.week, facts.policy.zone
    known = seen.counted_at is not None
    figures = []
    for code, label in QUEUES.items():
        notes: tuple[str, ...] = ()
        if week is not None:
            today = f"today {week.came_today[code]:,} came, {week.left_today[code]:,} left"
            notes = (today, f"seven days {week.came[code]:,} came, {week.left[code]:,} left")
        waiting = seen.longest.get(code)
        longest = None if waiting is None else (waiting.user_id, f"since {clock(waiting.since, facts.now, zone)}")
        value = f"{seen.queues.get(code, 0):,}" if known else "—"
        figures.append(
            Figure(f"queue-{code}", label, value, code=code, link=f"/lists/{code}", notes=notes, longest=longest)
        )
    return figures


def _queues_note(facts: Facts) -> str:
    counted_at = facts.snapshot.counted_at
    if counted_at is None:
        return "not counted yet"
    zone, week = facts.policy.zone, facts.week
    moves = "" if week is None else f"; who came and left, at {clock(week.seen_at, facts.now, zone)}"
    return f"counted at {clock(counted_at, facts.now, zone)}, once a minute{moves}"


def _lags(facts: Facts) -> list[Figure]:
    lags: list[float] = []
    if facts.today is not None:
        lags = [lag for lane in facts.today.lanes.values() if (lag := lag_of(lane, facts.today.seen_at)) is not None]
    stream = None if facts.today is None else stream_lag(facts.today.lanes, facts.today.seen_at)
    lanes = _lag_figure("lanes", "Slowest lane", stream, "MySQL to PostgreSQL" if lags else "not known yet")
    reader, silent = facts.stream.reader_lag, facts.stream.reader_silent_since
    if reader is not None:
        note = "MySQL to Kafka"
    else:
        reader = min(lags, default=None)
        note = "at most: the foremost lane" if reader is not None else "not known yet"
    replica = facts.snapshot.replica_lag
    up = facts.snapshot.replica_up
    replica_note = "not a replica, or it does not say" if up and replica is None else "behind its source"
    counted_at = facts.snapshot.counted_at
    letters = None if counted_at is None and not facts.snapshot.store_up else sum(facts.snapshot.dead_letters.values())
    return [
        _lag_figure("reader", "Reader", reader, note) if silent is None else _silent(silent, facts),
        replace(lanes, notes=notes(facts)),
        _lag_figure("replica", "Replica", replica, replica_note if up else "does not answer"),
        Figure(
            "letters",
            "Dead letters",
            "—" if letters is None else f"{letters:,}",
            "messages nobody could apply" if letters is not None else "not known yet",
            state=None if letters is None else (State.BAD if letters else State.GOOD),
            link="/dead-letters",
        ),
    ]


def _silent(since: datetime, facts: Facts) -> Figure:
    note = f"since {clock(since, facts.now, facts.policy.zone)}"
    return Figure("lag-reader", "Reader", "not running", note, state=State.BAD)


def _lag_figure(key: str, label: str, lag: float | None, note: str) -> Figure:
    if lag is None:
        return Figure(f"lag-{key}", label, "—", note, state=State.UNKNOWN)
    text = "stands still" if isinf(lag) else span(lag)
    return Figure(f"lag-{key}", label, text, note, state=lag_state(lag))


def _lanes(facts: Facts) -> list[LaneRow]:
    rows: list[LaneRow] = []
    if facts.today is None:
        return rows
    for number, lane in facts.today.lanes.items():
        lag = lag_of(lane, facts.today.seen_at)
        ahead = facts.stream.next_seqs[number] if number < len(facts.stream.next_seqs) else None
        rows.append(
            LaneRow(
                number,
                lane.owner or "nobody yet",
                "unknown" if lag is None else span(lag),
                share(lag, VERY_LATE_SECONDS),
                lag_state(lag),
                "" if ahead is None else f"{max(0, ahead - lane.next_seq):,}",
            )
        )
    return rows


def _drift(facts: Facts) -> list[Figure]:
    today, seen = facts.today, facts.snapshot
    found = None if today is None else sum(today.drift.values())
    repaired = None if today is None else sum(today.repaired.values())
    kinds = (
        "" if today is None else ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in today.kinds.items())
    )
    waiting = "—" if seen.rechecks_waiting is None else f"{seen.rechecks_waiting:,}"
    due = "" if seen.rechecks_due is None else f"{seen.rechecks_due:,} due now"
    return [
        Figure(
            "drift-found",
            "Drift found today",
            _number(found),
            kinds or "differences from MySQL, confirmed",
            link="/lists/drift",
        ),
        Figure(
            "drift-repaired",
            "Repaired today",
            _number(repaired),
            "leads the stream had missed; should be zero",
            link="/lists/repaired",
        ),
        Figure("rechecks", "Rechecks waiting", waiting, due or "customers to be read live", link="/lists/rechecks"),
        Figure(
            "refused",
            "Leads refused",
            _number(seen.rechecks_refused),
            "PostgreSQL refused their rows",
            state=State.BAD if seen.rechecks_refused else None,
            link="/lists/refused",
        ),
    ]


def _number(number: int | None) -> str:
    return "—" if number is None else f"{number:,}"
