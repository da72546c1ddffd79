"""What there is to know, in sentences, and the headline over them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import isinf
from typing import Final

from reconciler.monitor.today import Board
from reconciler.settings import SWEEPS
from reconciler.web.formatting import ago, clock, counted, span
from reconciler.web.last_runs import TITLES
from reconciler.web.view_model import LATE_SECONDS, VERY_LATE_SECONDS, Facts, Remark, State, lag_of, lag_state, sentence

OVERDUE: Final = timedelta(minutes=75)
"""A sweep that runs each hour should have ended well within this time."""
RECHECKS_LATE: Final = timedelta(minutes=10)
UNEVEN_SECONDS: Final = 10.0
"""Lanes that lag by so much more than the foremost one have an applier that is slow, not a reader."""


def headline(state: State, found: list[Remark]) -> str:
    """How things stand, in a few words."""
    if state is State.GOOD:
        return "All is well"
    if state is State.UNKNOWN:
        return "Nothing is known yet"
    pressing = sum(1 for remark in found if remark.state is State.BAD)
    if pressing:
        return "One thing needs attention" if pressing == 1 else f"{pressing} things need attention"
    return "Working, with something to know"


def remarks(facts: Facts) -> list[Remark]:
    """Everything worth knowing, in the order in which it is told."""
    found: list[Remark] = []

    def say(state: State, sentence: str) -> None:
        found.append(Remark(state, sentence))

    seen = facts.snapshot
    if not seen.store_up:
        say(State.BAD if seen.store_failed else State.UNKNOWN, sentence(seen.store_error))
        if facts.board is not None and seen.store_failed:
            say(State.NOTICE, f"What follows is as of {clock(facts.board.seen_at, facts.now, facts.policy.zone)}.")
    if not seen.replica_up:
        say(State.BAD if seen.replica_failed else State.UNKNOWN, sentence(seen.replica_error))
    elif seen.replica_lag is not None and seen.replica_lag >= LATE_SECONDS:
        say(State.BAD, _replica_lag(seen.replica_lag))
    if seen.store_up and facts.board is not None:
        _remark_stream(facts, facts.board, say)
        _remark_runs(facts, facts.board, say)
    if facts.stream.failed:
        say(State.BAD, sentence(facts.stream.problem))
    if dead_letters := sum(seen.dead_letters.values()):
        count = counted(dead_letters, "message")
        say(State.BAD, f"{count} could not be applied; see `consumer dead-letters list`.")
    if facts.policy.shadow:
        say(State.NOTICE, "SHADOW_MODE is on: the call centre's tables are left alone.")
    if not facts.policy.writes:
        say(State.NOTICE, "SMART_DISCOVERY_ENABLED is false: no sweep runs.")
    return found


def _remark_stream(facts: Facts, board: Board, say: Callable[[State, str], None]) -> None:
    lags = {number: lag for number, lane in board.lanes.items() if (lag := lag_of(lane, board.seen_at)) is not None}
    if not lags:
        say(State.NOTICE, "The stream has not run yet; start `consumer read` and `consumer apply`.")
        return
    reader = facts.stream.reader_lag
    if reader is not None and reader >= LATE_SECONDS:
        say(lag_state(reader), f"`consumer read` is {span(reader)} behind MySQL, and everything after it with it.")
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
        if record is not None and record.outcome in ("failed", "refused", "aborted"):
            say(State.BAD, f"The sweep “{title}” ended badly: {sentence(record.error or record.outcome)}")
        success = facts.snapshot.last_runs.get(name)
        if success is not None and facts.now - success.started_at > OVERDUE:
            say(State.BAD, f"The sweep “{title}” last succeeded {ago(success.started_at, facts.now)}.")
    if board.oldest_recheck is not None and facts.now - board.oldest_recheck > RECHECKS_LATE:
        say(State.NOTICE, f"A recheck has been due for {span((facts.now - board.oldest_recheck).total_seconds())}.")
    repaired = sum(board.repaired.values())
    if repaired:
        say(State.NOTICE, f"Runs repaired {counted(repaired, 'lead')} today that the stream had missed.")


def _replica_lag(lag: float) -> str:
    if isinf(lag):
        return "Replication on the replica stands still, so live reads are old."
    return f"The replica is {span(lag)} behind its source, so live reads are old."
