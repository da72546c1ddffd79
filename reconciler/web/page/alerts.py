"""What there is to know, in sentences, and the headline over them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from math import isinf
from typing import Final

from consumer.store.lanes import stalled
from reconciler.monitor.lags import lag_of
from reconciler.monitor.servers import is_made_up_for
from reconciler.monitor.today import Today
from reconciler.names import ATTRIBUTION, RECHECKS, SWEEPS
from reconciler.runs.run_log import Record
from reconciler.web.page.formatting import ago, clock, counted, span
from reconciler.web.page.last_runs import TITLES
from reconciler.web.page.view_model import (
    LATE_SECONDS,
    VERY_LATE_SECONDS,
    Alert,
    Facts,
    Policy,
    State,
    lag_state,
    sentence,
)

OVERDUE: Final = timedelta(minutes=75)
"""A sweep that runs each hour should have ended well within this time."""
ENDED_BADLY: Final = frozenset({"failed", "refused", "aborted"})
RECURRING: Final = (RECHECKS, "age", ATTRIBUTION, "audit")
"""What runs again and again, besides sweeps and verify."""
LESSER: Final = frozenset({ATTRIBUTION, "audit"})
"""Those of them for which no customer waits. Perhaps nobody runs them any more: others attribute conversions by now,
or the audit was run by hand."""
FORGOTTEN: Final = timedelta(days=2)
"""How long it is worth knowing that one of these ended badly."""
RECHECKS_LATE: Final = timedelta(minutes=10)
BREAK: Final = re.compile(r"; |: |, so | \(")
"""Where a sentence goes on to a reason or a hint."""
UNEVEN_SECONDS: Final = 10.0
"""Lanes that lag by so much more than the foremost one have an applier that is slow, not a reader."""


def headline(state: State, found: list[Alert]) -> str:
    """How things stand, in a few words: the worst first, and what it is."""
    if state is State.GOOD:
        return "All is well"
    if state is State.UNKNOWN:
        return "Nothing is known yet"
    worst = [alert for alert in found if alert.state is state]
    more = "" if len(worst) == 1 else f", and {len(worst) - 1} more"
    return f"{'Degraded' if state is State.BAD else 'Working'}: {_brief(worst[0].sentence)}{more}"


def _brief(sentence: str) -> str:
    """What a sentence says before it gives its reason or a hint."""
    said = BREAK.split(sentence.removesuffix("."), maxsplit=1)[0].replace("`", "")
    first = said.partition(" ")[0]
    return said if first != first.capitalize() else said[:1].lower() + said[1:]


def alerts(facts: Facts) -> Iterator[Alert]:
    """Everything worth knowing, in the order of the page."""
    seen = facts.snapshot
    if not seen.store_up:
        yield Alert(State.BAD if seen.store_failed else State.UNKNOWN, sentence(seen.store_error))
        if facts.today is not None and seen.store_failed:
            yield Alert(
                State.NOTICE, f"What follows is as of {clock(facts.today.seen_at, facts.now, facts.policy.zone)}."
            )
    if not seen.replica_up:
        yield Alert(State.BAD if seen.replica_failed else State.UNKNOWN, sentence(seen.replica_error))
    elif seen.replica_lag is not None and seen.replica_lag >= LATE_SECONDS:
        yield Alert(State.BAD, _replica_lag(seen.replica_lag))
    since = facts.stream.reader_silent_since
    if since is not None:
        at = clock(since, facts.now, facts.policy.zone)
        yield Alert(
            State.BAD,
            f"The reader is not running since {at}: it has written nothing to Kafka; look at `consumer read`.",
        )
    if facts.stream.failed:
        yield Alert(State.BAD, sentence(facts.stream.problem))
    if seen.store_up and facts.today is not None:
        yield from _stream_alerts(facts, facts.today)
        yield from _run_alerts(facts, facts.today)
    if dead_letters := sum(seen.dead_letters.values()):
        count = counted(dead_letters, "message")
        yield Alert(State.BAD, f"{count} could not be applied; see `consumer dead-letters list`.")
    if seen.rechecks_refused:
        count = counted(seen.rechecks_refused, "lead")
        yield Alert(State.BAD, f"PostgreSQL refuses the rows of {count}; their own pages say why.")
    if facts.policy.shadow:
        yield Alert(State.NOTICE, "SHADOW_MODE is on: the call centre's tables are left alone.")
    if not facts.policy.writes:
        yield Alert(State.NOTICE, "SMART_DISCOVERY_ENABLED is false: no sweep runs.")


def _stream_alerts(facts: Facts, today: Today) -> Iterator[Alert]:
    lags = {number: lag for number, lane in today.lanes.items() if (lag := lag_of(lane, today.seen_at)) is not None}
    if not lags:
        yield Alert(State.NOTICE, "The stream has not run yet; start `consumer read` and `consumer apply`.")
        return
    reader = facts.stream.reader_lag
    if facts.stream.reader_silent_since is not None:
        return  # a dead reader is no late one, and every lane waits for it
    if reader is not None and reader >= LATE_SECONDS:
        yield Alert(
            lag_state(reader), f"`consumer read` is {span(reader)} behind MySQL, and everything after it with it."
        )
        return
    late = {lane: lag for lane, lag in lags.items() if lag >= LATE_SECONDS}
    if not late:
        return
    still = stalled(today.lanes, facts.stream.next_seqs)
    if len(still) == len(lags) and facts.policy.writes:
        since = clock(today.seen_at - timedelta(seconds=min(still.values())), facts.now, facts.policy.zone)
        yield Alert(
            State.BAD,
            f"Nothing is applied since {since}: no applier is running, or none gets through; look at `consumer apply`.",
        )
        return
    worst = max(late.values())
    state = State.BAD if worst >= VERY_LATE_SECONDS else State.NOTICE
    if len(late) == len(lags) and worst - min(late.values()) < UNEVEN_SECONDS:
        yield Alert(state, f"Every lane is {span(worst)} behind: look at `consumer read`, then at `consumer apply`.")
    else:
        names = ", ".join(map(str, sorted(late)[:6])) + (" …" if len(late) > 6 else "")
        lane = "Lane" if len(late) == 1 else "Lanes"
        yield Alert(state, f"{lane} {names} up to {span(worst)} behind: look at `consumer apply`.")


def _run_alerts(facts: Facts, today: Today) -> Iterator[Alert]:
    for name in SWEEPS:
        record = today.newest.get(name)
        if name not in facts.policy.switched_on or not facts.policy.writes:
            continue
        title = TITLES[name][0]
        if record is not None and record.outcome in ENDED_BADLY:
            yield Alert(State.BAD, f"The sweep “{title}” ended badly: {sentence(record.error or record.outcome)}")
        success = facts.snapshot.last_runs.get(name)
        if success is not None and facts.now - success.started_at > OVERDUE:
            yield Alert(State.BAD, f"The sweep “{title}” last succeeded {ago(success.started_at, facts.now)}.")
    for name in filter(partial(_recurs, facts.policy), RECURRING):
        record = today.newest.get(name)
        if record is not None and record.outcome in ("failed", "aborted"):  # who was refused is counted
            if _is_past(facts, today, record):
                continue
            state = State.NOTICE if name in LESSER else State.BAD
            yield Alert(state, f"The run “{TITLES[name][0]}” ended badly: {sentence(record.error or record.outcome)}")
    if facts.snapshot.audit_differs and facts.snapshot.audited_at is not None:
        when = ago(facts.snapshot.audited_at, facts.now)
        yield Alert(State.BAD, f"The last audit, {when}, found rows of the binlog that Kafka lacks or has otherwise.")
    verified = today.newest.get("verify")
    if verified is not None and verified.outcome in {*ENDED_BADLY, "drift"}:
        said = "found drift that is left" if verified.outcome == "drift" else "ended badly"
        why = f": {sentence(verified.error)}" if verified.error else "."
        yield Alert(State.BAD, f"The last verify, {ago(verified.started_at, facts.now)}, {said}{why}")
    if today.oldest_recheck is not None and facts.now - today.oldest_recheck > RECHECKS_LATE:
        yield Alert(
            State.NOTICE, f"A recheck has been due for {span((facts.now - today.oldest_recheck).total_seconds())}."
        )
    repaired = sum(today.repaired.values())
    if repaired:
        yield Alert(State.NOTICE, f"Runs repaired {counted(repaired, 'lead')} today that the stream had missed.")


def _is_past(facts: Facts, today: Today, failed: Record) -> bool:
    """Whether a run that ended badly is no matter any more, though none of its name has ended well since."""
    if failed.name == RECHECKS:
        is_due = today.oldest_recheck is not None
        return is_made_up_for(failed.started_at, facts.snapshot.last_runs, is_due=is_due)
    return failed.name in LESSER and facts.now - failed.started_at > FORGOTTEN


def _recurs(policy: Policy, name: str) -> bool:
    """Whether a run that ended badly will be followed by another one; the audit is no process's of ours."""
    return name == "audit" or (policy.writes and not (policy.shadow and name in ("age", ATTRIBUTION)))


def _replica_lag(lag: float) -> str:
    if isinf(lag):
        return "Replication on the replica stands still, so live reads are old."
    return f"The replica is {span(lag)} behind its source, so live reads are old."
