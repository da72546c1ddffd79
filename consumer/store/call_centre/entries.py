"""The call centre's entries held against what its agents see: one pending for whoever is to be called, none for others.

What agents see of a customer is the queue shown by the present or, where none is, that of the open stint. Agents take
entries, so an entry of that queue is missing only where there is none at all that was made for this stay: the id of
an entry of ours says when the stay began that it is for (`OPENED`), any other counts by the time it was made.
"""

# ruff: noqa: S608 - statements are put together from words of this file and of `sql` alone

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from consumer.leads.model import CALLED
from consumer.leads.rules import Rules
from consumer.store.arrays import bigints, texts
from consumer.store.sql import OPENED, SAID_NEVER, entry_id

_SCOPED: Final = ("lead", "shown", "held")


class EntryDrift(NamedTuple):
    """What is wrong with the entries of one customer."""

    user_id: int
    missing: bool
    """None was made for the queue they are in."""
    stale: int
    """Pending entries of queues they are not in, or of somebody who must not be called."""
    double: int
    """Pending entries of their queue beyond the first one."""


def _by_queue(kind: str, suffix: str) -> str:
    """The branches of a CASE that give each queue its parameter."""
    return " ".join(
        f"WHEN who.queue_type = '{queue_type.value}' THEN %({queue_type.value}{suffix})s::{kind}"
        for queue_type in CALLED
    )


def _verdicts(*, everyone: bool) -> str:
    """CTEs: `seen`, what agents see of whom; `entry`, the entries of ours that there are; `verdict`, what is wrong."""
    lead, shown, held = ("true" if everyone else f"{name}.user_id = ANY(%(user_id)s::bigint[])" for name in _SCOPED)
    return f"""
seen AS (
    SELECT who.user_id, who.opened_at, who.shown_at,
           CASE WHEN {SAID_NEVER} THEN NULL {_by_queue("text", "")} END AS label,
           CASE {_by_queue("text[]", "_ever")} END AS ever
    FROM (
        SELECT lead.user_id, lead.queue_type, lead.opened_at, NULL::timestamptz AS shown_at
        FROM leadstream.leads AS lead
        WHERE {lead} AND lead.stint > 0
          AND NOT EXISTS (SELECT FROM leadstream.shown WHERE shown.user_id = lead.user_id)
        UNION ALL
        SELECT shown.user_id, shown.queue_type, NULL, shown.shown_at FROM leadstream.shown
        WHERE {shown} AND shown.until_version > 0
    ) AS who
    JOIN user_call_scores AS score ON score.user_id = who.user_id
),
entry AS (
    SELECT held.user_id, held.id, held.created_at, held.status = 'pending' AS is_pending,
           held.queue_type IS NOT DISTINCT FROM seen.label AS fits,
           held.status <> 'pending' AND held.queue_type = ANY(seen.ever) AND CASE
               WHEN seen.shown_at IS NOT NULL
               THEN held.created_at >= date_trunc('milliseconds', seen.shown_at) AT TIME ZONE 'UTC'
               WHEN {OPENED.format(id="held.id")} IS NOT NULL
               THEN {OPENED.format(id="held.id")} >= (extract(epoch FROM seen.opened_at) * 1000000)::bigint
               ELSE held.created_at >= seen.opened_at AT TIME ZONE 'UTC'
           END AND NOT (held.status = 'closed' AND seen.user_id = ANY(%(entered)s::bigint[])) AS is_of_this_stay
    FROM call_queue AS held JOIN seen ON seen.user_id = held.user_id
    WHERE {held} AND held.queue_type = ANY(%(labels_ever)s::text[])
),
verdict AS (
    SELECT seen.user_id, seen.label, seen.opened_at,
           seen.label IS NOT NULL AND NOT coalesce(
               bool_or(CASE WHEN entry.is_pending THEN entry.fits ELSE entry.is_of_this_stay END), false) AS missing,
           count(*) FILTER (WHERE entry.is_pending AND NOT entry.fits) AS stale,
           greatest(count(*) FILTER (WHERE entry.is_pending AND entry.fits) - 1, 0) AS double
    FROM seen LEFT JOIN entry ON entry.user_id = seen.user_id
    GROUP BY seen.user_id, seen.label, seen.opened_at
)"""


_WRONG: Final = """
SELECT user_id, missing, stale, double FROM verdict WHERE missing OR stale > 0 OR double > 0 ORDER BY user_id
"""

FIND: Final = f"WITH {_verdicts(everyone=False)} {_WRONG}"
"""What is wrong with the entries of some customers."""

FIND_ALL: Final = f"WITH {_verdicts(everyone=True)} {_WRONG}"
"""The same of everybody."""

REPAIR: Final = f"""
WITH {_verdicts(everyone=False)},
surplus AS (
    SELECT id FROM (
        SELECT id, fits, row_number() OVER (PARTITION BY user_id, fits ORDER BY created_at, id) AS place
        FROM entry WHERE is_pending) AS pending
    WHERE NOT fits OR place > 1
),
held AS (
    SELECT pending.id FROM call_queue AS pending
    WHERE pending.id IN (TABLE surplus) AND pending.status = 'pending'
    ORDER BY pending.user_id FOR NO KEY UPDATE
),
closed AS (
    UPDATE call_queue AS entry SET status = 'closed', updated_at = now() AT TIME ZONE 'UTC'
    FROM held WHERE entry.id = held.id
    RETURNING entry.id
),
added AS (
    INSERT INTO call_queue (id, user_id, queue_type, status, queue_reason, created_at, updated_at)
    SELECT CASE WHEN opened_at IS NULL THEN gen_random_uuid()
                ELSE {entry_id("(extract(epoch FROM opened_at) * 1000000)::bigint")} END,
           user_id, label, 'pending',
           CASE WHEN opened_at IS NULL THEN 'read_live' ELSE (
               SELECT stint.opened_reason FROM leadstream.stints AS stint
               WHERE stint.user_id = verdict.user_id AND stint.closed_at IS NULL) END,
           now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM verdict WHERE missing AND (SELECT count(*) FROM closed) >= 0 ORDER BY user_id
)
{_WRONG}
"""
"""Puts the entries of customers right whose leads and scores are held: surplus pending ones are closed, missing ones
added. Returns what was wrong. What agents have taken stays theirs.

Whoever reads what `closed` returns waits for all of it: of parts that do not look at each other, the later one may come
first (PostgreSQL manual, 7.8.4), and a call centre may allow one pending entry a customer."""


def parameters(rules: Rules, user_ids: Iterable[int] | None = None, entered: Collection[int] = ()) -> dict[str, object]:
    """For the statements above. Of those who have just `entered` a queue, what was closed before is no entry."""
    ever = {queue_type: rules.labels_ever(queue_type) for queue_type in CALLED}
    scope = {} if user_ids is None else {"user_id": bigints(sorted(user_ids))}
    return {
        **scope,
        "never": texts(rules.never),
        **{queue_type.value: rules.label(queue_type) for queue_type in CALLED},
        **{f"{queue_type.value}_ever": texts(labels) for queue_type, labels in ever.items()},
        "labels_ever": texts(sorted({label for labels in ever.values() for label in labels})),
        "entered": bigints(sorted(entered)),
    }
