"""Who earned each conversion, by the calls before it: filled in where nobody else did, and never changed.

The agent of the last call of more than so much talk, in so many days before the conversion, is its primary agent; the
others of such calls contributed. How much and how many days say the rules, in [attribution].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Event
from typing import Final, NamedTuple

import psycopg
import structlog

from consumer.leads.rule_file import Attribution
from consumer.store import conversion_events
from consumer.store.call_centre.attribution import CONVERSIONS, SESSIONS, AttributionFacts, collect, judge
from consumer.store.connection import Connection
from consumer.store.conversion_events import Recorded
from consumer.store.errors import NotPrepared, RowLocked, StoreError, TransactionConflict
from consumer.store.refusal import is_refusal
from consumer.store.runs import Run, Window
from reconciler.names import ATTRIBUTION as NAME
from reconciler.postgres import Postgres
from reconciler.runs.repair import piecewise, why
from reconciler.runs.run_log import COMPLETE, Runs

log = structlog.get_logger(__name__)

PAGE: Final = 100
"""Conversions in one transaction: the call centre's own work waits for no more rows than these."""
OVERLAP: Final = 2 * 24 * 3_600_000_000
"""How far back (µs) a run looks behind the one before: a call may be written after the conversion that it led to."""

LOCK_SECONDS: Final = "SET LOCAL lock_timeout = '1s'"
"""What somebody holds for longer is left for the next run."""

ATTRIBUTE: Final = """
WITH wanted AS MATERIALIZED (
    SELECT id FROM conversions AS found
    WHERE id = ANY(%(id)s::uuid[]) AND (primary_agent_id IS NULL OR contributing_agents IS NULL)
      AND converted_at < (now() AT TIME ZONE 'UTC') - interval '1 hour'
      AND NOT EXISTS (
          SELECT FROM call_sessions AS session
          WHERE session.user_id = found.user_id
            AND (session.ended_at IS NULL OR session.talk_time_seconds IS NULL)
            AND session.started_at <= found.converted_at
            AND session.started_at > (now() AT TIME ZONE 'UTC') - interval '1 day')
), open AS MATERIALIZED (
    SELECT id, user_id, converted_at, primary_agent_id FROM conversions
    WHERE id IN (SELECT id FROM wanted) AND (primary_agent_id IS NULL OR contributing_agents IS NULL)
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), talked AS (
    SELECT open.id, open.primary_agent_id, session.agent_id, max(session.started_at) AS last_at
    FROM open JOIN call_sessions AS session ON session.user_id = open.user_id
    WHERE session.agent_id IS NOT NULL AND session.talk_time_seconds > %(talk_seconds)s
      AND session.started_at <= open.converted_at
      AND session.started_at > open.converted_at - make_interval(days => %(days)s)
    GROUP BY open.id, open.primary_agent_id, session.agent_id
), ranked AS (
    SELECT id, coalesce(min(primary_agent_id), (array_agg(agent_id ORDER BY last_at DESC, agent_id))[1]) AS agent,
           array_agg(agent_id ORDER BY last_at DESC, agent_id) AS agents
    FROM talked GROUP BY id
), filled AS (
    UPDATE conversions
    SET primary_agent_id = coalesce(conversions.primary_agent_id, ranked.agent),
        contributing_agents = coalesce(
            conversions.contributing_agents, to_jsonb(array_remove(ranked.agents, ranked.agent))::{json})
    FROM ranked WHERE conversions.id = ranked.id
    RETURNING conversions.id
)
SELECT (SELECT count(*) FROM filled), ARRAY(SELECT id FROM wanted EXCEPT SELECT id FROM open)
"""
"""Agents of conversions that have none: how many were filled in, and those whose rows somebody holds.

The dialler writes calls late: a conversion of the last hour waits, and one with a call that has not ended, or whose
talk is yet to be written, waits for a day at most: that call may be the last."""

BY_AGENT: Final = """
SELECT primary_agent_id, conversion_type, count(*) FROM conversions
WHERE converted_at >= %(from)s::timestamptz AT TIME ZONE 'UTC' AND converted_at < %(to)s::timestamptz AT TIME ZONE 'UTC'
GROUP BY 1, 2
"""
"""Conversions of a time by their primary agent, NULL for those that have none."""

CONTRIBUTED: Final = """
SELECT agent::int, count(*) FROM conversions, LATERAL jsonb_array_elements_text(
    CASE jsonb_typeof(contributing_agents::jsonb) WHEN 'array' THEN contributing_agents::jsonb ELSE '[]' END) AS agent
WHERE converted_at >= %(from)s::timestamptz AT TIME ZONE 'UTC' AND converted_at < %(to)s::timestamptz AT TIME ZONE 'UTC'
  AND agent ~ '^[0-9]{1,9}$'
GROUP BY 1
"""
"""To how many conversions of a time each agent contributed."""


@dataclass
class Attributed:
    """What a run did: conversions looked at and given agents, and those whose rows were refused or held by others."""

    looked_at: int = 0
    filled: int = 0
    refused: int = 0
    locked: int = 0

    @property
    def counts(self) -> dict[str, object]:
        """As they are recorded."""
        return {"checked": self.looked_at, "filled": self.filled, "failed": self.refused, "locked": self.locked}


def attribute(postgres: Postgres, runs: Runs, stop: Event) -> Attributed | str:
    """Attributes what was recorded since the last run, and what that one left; or why that is others' to do.

    Goes on where a run was cut off. Raises AlreadyRunning, StoreError and psycopg.Error; what was filled in until then
    stays. A row that PostgreSQL refuses, or that somebody holds, is in nobody's way.
    """
    with postgres.session() as connection:
        facts = collect(connection)
    if (left_to_others := _not_ours(facts)) is not None:
        return left_to_others
    with runs.alone(NAME):
        end = postgres.clock()
        begin, cursor = _begin(runs)
        run = runs.start(NAME, Window(begin, end), cursor)
        done = Attributed()
        try:
            filling = Filling(postgres, _statement(facts), postgres.rules().file.attribution, done)
            run.finish(_attribute(filling, run, Window(begin, end), cursor, stop), done.counts, 0)
        except (StoreError, psycopg.Error) as error:
            if postgres.is_open():
                run.finish("failed", done.counts, 0, why(error))
            raise
    return done


def _attribute(filling: Filling, run: Run, window: Window, cursor: int, stop: Event) -> str:
    """Fills page after page; how the run ended."""
    done = filling.done
    while not stop.is_set():
        with filling.postgres.session() as connection:
            page = conversion_events.after(connection, cursor, PAGE)
            if len(page) < PAGE and conversion_events.number(connection):
                continue
        if not page:
            return "refused" if done.refused else "ok"
        held = filling.fill(page)
        if held and done.locked == len(held):
            # As if it had ended there: the next run begins with the first that was held, however long ago that is.
            run.set_window(window._replace(end=min(window.end, min(held) - 1 + OVERLAP)))
        done.looked_at += len(page)
        cursor = page[-1].event_number
        run.move(cursor, done.counts, 0)
    return "stopped"


class Filling:
    """Gives conversions their agents, and counts."""

    def __init__(self, postgres: Postgres, statement: str, rules: Attribution, done: Attributed) -> None:
        self.postgres = postgres
        self.done = done
        self._statement = statement
        self._rules = rules

    def fill(self, page: list[Recorded]) -> list[int]:
        """Gives these their agents where they have none; the numbers of those that others hold. Raises StoreError."""
        held: list[int] = []
        piecewise(partial(self._fill, held), page, partial(self._refused, held))
        self.done.locked += len(held)
        return held

    def _fill(self, held: list[int], part: Sequence[Recorded]) -> None:
        numbers = {one.id: one.event_number for one in part}
        parameters = {"id": list(numbers), "talk_seconds": self._rules.talk_seconds, "days": self._rules.days}
        try:
            with self.postgres.session() as connection, connection.transaction():
                connection.execute(LOCK_SECONDS)
                ((filled, locked),) = connection.execute(self._statement, parameters)
        except RowLocked:  # a whole table, or an agent that is being deleted
            held += numbers.values()
            return
        self.done.filled += filled
        held += (numbers[one] for one in locked)

    def _refused(self, held: list[int], one: Recorded, error: psycopg.Error | TransactionConflict) -> None:
        if isinstance(error, TransactionConflict):
            held.append(one.event_number)
            return
        if not is_refusal(error):
            raise error
        log.error("attribution_refused", user_id=one.user_id, conversion_id=str(one.id), reason=why(error))
        self.done.refused += 1


def _not_ours(facts: AttributionFacts) -> str | None:
    if not facts.has_calls:
        absent = SESSIONS if SESSIONS not in facts.names else CONVERSIONS
        return f"there is no table {absent}, so there are no calls to attribute conversions by"
    if not facts.has_rights:
        return f"{facts.role} has no right to attribute conversions, so others do; to change that, {facts.grants}"
    return None


def _statement(facts: AttributionFacts) -> str:
    """ATTRIBUTE for the tables as they are. Raises NotPrepared where we may not, or where they lack what it takes."""
    found = judge(facts)
    if found is not None and not found.fits:
        raise NotPrepared(f"{found.sentence}; {found.hint}")
    kind = facts.columns[CONVERSIONS, "contributing_agents"].base
    assert kind is not None
    return ATTRIBUTE.replace("{json}", kind)


def _begin(runs: Runs) -> tuple[int, int]:
    """From when on to look, and the number of the last conversion that was looked at since then.

    A run that goes on where one was cut off looks back, too, at what that one left waiting.
    """
    last = runs.last(NAME)
    if last is not None and last.outcome not in COMPLETE and last.window is not None and last.cursor is not None:
        return last.window.start, min(last.cursor, last.window.end - OVERLAP)
    until = runs.looked_at_until(NAME)
    begin = 0 if until is None else until - OVERLAP
    return begin, begin


class Earned(NamedTuple):
    """What an agent's calls earned, by type, and to how many other conversions they contributed; None: nobody's."""

    agent_id: int | None
    primary: dict[str, int]
    contributed: int


def by_agent(connection: Connection, begin: datetime, end: datetime) -> list[Earned]:
    """The conversions of a time by agent, those with the most first. Raises psycopg.Error."""
    span = {"from": begin, "to": end}
    primary: dict[int | None, dict[str, int]] = {}
    for agent, kind, count in connection.execute(BY_AGENT, span):
        primary.setdefault(agent, {})[kind] = count
    contributed: dict[int | None, int] = dict(connection.execute(CONTRIBUTED, span).fetchall())
    found = [
        Earned(agent, primary.get(agent, {}), contributed.get(agent, 0))
        for agent in primary.keys() | contributed.keys()
    ]
    return sorted(found, key=lambda one: (-sum(one.primary.values()), -one.contributed, one.agent_id or 0))
