"""Who earned each conversion, by the calls before it: filled in where nobody else did, and never changed.

The agent of the last call of more than so much talk, in so many days before the conversion, is its primary agent; the
others of such calls contributed. How much and how many days say the rules, in [attribution].
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Final, NamedTuple

from consumer.leads.rule_file import Attribution
from consumer.store import conversion_events
from consumer.store.conflicts import again_if_in_the_way
from consumer.store.connection import Connection
from consumer.store.conversion_events import Recorded
from consumer.store.errors import NotPrepared, StoreError
from reconciler.postgres import Postgres
from reconciler.runs.run_log import COMPLETE, Runs, Window

NAME: Final = "attribution"
PAGE: Final = 1000
"""Conversions in one transaction."""
OVERLAP: Final = 2 * 24 * 3_600_000_000
"""How far back (µs) a run looks behind the one before: a call may be written after the conversion that it led to."""

NEEDED: Final = """
SELECT to_regclass('call_sessions') IS NOT NULL AND to_regclass('conversions') IS NOT NULL,
       ARRAY(SELECT wanted FROM unnest(%(columns)s::text[]) AS wanted
             WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('call_sessions')
                               AND attname = wanted AND NOT attisdropped)),
       coalesce(has_table_privilege(to_regclass('call_sessions'), 'SELECT'), false),
       NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('conversions')
                   AND attname = ANY(ARRAY['primary_agent_id', 'contributing_agents'])
                   AND NOT has_column_privilege(attrelid, attnum, 'UPDATE')),
       (SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('conversions') AND NOT attisdropped
        AND attname = ANY(ARRAY['primary_agent_id', 'contributing_agents'])) = 2,
       (SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = to_regclass('conversions')
        AND attname = 'contributing_agents' AND NOT attisdropped),
       current_user::text
"""
"""What is there and what we may do with it."""
SESSION_COLUMNS: Final = ("user_id", "agent_id", "talk_time_seconds", "started_at", "ended_at")

ATTRIBUTE: Final = """
WITH open AS MATERIALIZED (
    SELECT id, user_id, converted_at, primary_agent_id FROM conversions AS found
    WHERE id = ANY(%(id)s::uuid[]) AND (primary_agent_id IS NULL OR contributing_agents IS NULL)
      AND NOT EXISTS (
          SELECT FROM call_sessions AS session
          WHERE session.user_id = found.user_id AND session.ended_at IS NULL
            AND session.started_at <= found.converted_at
            AND session.started_at > (now() AT TIME ZONE 'UTC') - interval '1 day')
    ORDER BY id FOR NO KEY UPDATE
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
)
UPDATE conversions
SET primary_agent_id = coalesce(conversions.primary_agent_id, ranked.agent),
    contributing_agents = coalesce(
        conversions.contributing_agents, to_jsonb(array_remove(ranked.agents, ranked.agent))::{json})
FROM ranked WHERE conversions.id = ranked.id
"""
"""Agents of conversions that have none. One with a call that has not ended waits for its end: it may be the last."""

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


@dataclass(frozen=True)
class Attributed:
    """What a run did: conversions looked at, and those that were given agents."""

    looked_at: int = 0
    filled: int = 0


def statement(postgres: Postgres) -> str | None:
    """ATTRIBUTE for the tables as they are; None where there are no calls to go by.

    Raises NotPrepared where we may not, or where the tables lack what it takes.
    """
    with postgres.session() as connection:
        row = connection.execute(NEEDED, {"columns": list(SESSION_COLUMNS)}).fetchone()
    assert row is not None
    there, missing, may_read, may_write, has_columns, kind, role = row
    if not there:
        return None
    if missing:
        raise NotPrepared(f"call_sessions has no column {', '.join(missing)}, by which conversions are attributed")
    if not has_columns or kind not in ("json", "jsonb"):
        raise NotPrepared("conversions has no primary_agent_id, or no contributing_agents of type jsonb; add them")
    if not (may_read and may_write):
        raise NotPrepared(
            f"{role} may not attribute conversions; GRANT SELECT ON call_sessions TO {role};"
            f" GRANT UPDATE (primary_agent_id, contributing_agents) ON conversions TO {role}"
        )
    return ATTRIBUTE.replace("{json}", kind)


def attribute(postgres: Postgres, runs: Runs, stop: Event) -> Attributed | None:
    """Attributes what was recorded since the last run, and what that one left; None where there are no calls.

    Goes on where a run was cut off. Raises AlreadyRunning, StoreError; what was filled in until then stays.
    """
    filling = statement(postgres)
    if filling is None:
        return None
    with runs.alone(NAME):
        end = postgres.clock()
        begin, cursor = _begin(runs)
        run = runs.start(NAME, Window(begin, end), cursor)
        rules = postgres.rules().file.attribution
        looked_at = filled = 0
        try:
            while not stop.is_set():
                with postgres.session() as connection:
                    page = conversion_events.after(connection, cursor, PAGE)
                    if len(page) < PAGE and conversion_events.number(connection):
                        continue
                if not page:
                    run.finish("ok", _counts(looked_at, filled), 0)
                    return Attributed(looked_at, filled)
                filled += again_if_in_the_way(fill, postgres, filling, page, rules)
                looked_at += len(page)
                cursor = page[-1].event_number
                run.move(cursor, _counts(looked_at, filled), 0)
            run.finish("stopped", _counts(looked_at, filled), 0)
        except StoreError as error:
            if postgres.is_open():
                run.finish("failed", _counts(looked_at, filled), 0, str(error))
            raise
    return Attributed(looked_at, filled)


def fill(postgres: Postgres, filling: str, page: list[Recorded], rules: Attribution) -> int:
    """Gives these conversions their agents where they have none; how many. Raises StoreError."""
    with postgres.session() as connection:
        return connection.execute(
            filling,
            {"id": [one.id for one in page], "talk_seconds": rules.talk_seconds, "days": rules.days},
        ).rowcount


def _begin(runs: Runs) -> tuple[int, int]:
    """From when on to look, and the number of the last conversion that was looked at since then."""
    last = runs.last(NAME)
    if last is not None and last.outcome not in COMPLETE and last.window is not None and last.cursor is not None:
        return last.window.start, last.cursor
    until = runs.looked_at_until(NAME)
    begin = 0 if until is None else until - OVERLAP
    return begin, begin


def _counts(looked_at: int, filled: int) -> dict[str, object]:
    return {"checked": looked_at, "filled": filled}


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
