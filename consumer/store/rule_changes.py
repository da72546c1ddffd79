"""Whom a change of rules concerns, found in pages of users, and what follows in the call centre's tables.

A lead is concerned only where it holds a word that the new rules look at differently: every distinct word, or pair of
words of a requirement, is classified by the old rules and the new ones, and leads are found by those that differ. All
others may be brought to the new rules whenever they are judged next, for it makes no difference to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, NamedTuple

from consumer.leads.model import CALLED, NEVER, QueueType
from consumer.leads.rules import Rules
from consumer.store.connection import Connection
from consumer.store.lanes import wait_until_settled
from consumer.store.runs import ABANDON, START, Run, lock_of
from consumer.store.sql import SAID_NEVER

RUN: Final = "rules"
"""The name of its runs in leadstream.runs."""
FIRST: Final = -(2**63)
LAST: Final = 2**63 - 1
_RUN_LOCK: Final = lock_of(RUN)
_AT_ONCE: Final = 10_000

VERSIONS: Final = "SELECT DISTINCT rules_version FROM leadstream.leads WHERE rules_version < %s"
"""The versions by which leads were judged last."""

CLAIM_WORDS: Final = "SELECT DISTINCT status FROM leadstream.claims"
"""Every status of a claim."""

REQUIREMENT_WORDS: Final = """
SELECT DISTINCT status, type, CASE WHEN %(reasons)s THEN reason END FROM leadstream.requirements
"""
"""Every combination of a requirement's words; its reason only where that makes a difference."""

PAGE: Final = """
SELECT max(user_id), count(*)
FROM (SELECT user_id FROM leadstream.leads WHERE user_id > %(after)s ORDER BY user_id LIMIT %(limit)s) AS page
"""
"""The last of the next leads, and how many they are."""

_CLAIM: Final = "coalesce('=' || status, '-')"
_REQUIREMENT: Final = (
    "coalesce('=' || status, '-') || E'\\x1f' || coalesce('=' || type, '-')"
    " || CASE WHEN %(reasons)s THEN E'\\x1f' || coalesce('=' || reason, '-') ELSE '' END"
)
_IN_RANGE: Final = "user_id > %(after)s AND user_id <= %(upto)s"

CONCERNED: Final = f"""
SELECT lead.user_id
FROM leadstream.leads AS lead JOIN leadstream.lanes AS lane ON lane.lane = lead.lane
WHERE {_IN_RANGE} AND lead.stint > 0 AND lead.rules_version < %(version)s
  AND (%(waiting)s OR lead.judge_after IS NULL OR (lane.version = 0 AND lead.judge_after < {NEVER}))
  AND lead.user_id IN (
      SELECT user_id FROM leadstream.claims WHERE {_IN_RANGE} AND {_CLAIM} = ANY(%(claims)s::text[])
      UNION ALL
      SELECT user_id FROM leadstream.requirements WHERE {_IN_RANGE} AND {_REQUIREMENT} = ANY(%(requirements)s::text[]))
ORDER BY lead.user_id
"""  # noqa: S608
"""Leads of a range that hold a word looked at differently. Those that wait for their lane are judged when it has come
so far, by their old rules and then by the new ones; where no lane has ever moved, nothing is waited for."""

_LABELS: Final = """
    SELECT unnest(%(queues)s::text[]) AS queue_type, unnest(%(formers)s::text[]) AS former,
           unnest(%(labels)s::text[]) AS label
"""

RELABEL_SCORES: Final = f"""
WITH held AS (
    SELECT score.user_id, new.label
    FROM user_call_scores AS score
    JOIN leadstream.leads AS lead ON lead.user_id = score.user_id
    JOIN ({_LABELS}) AS new
         ON new.queue_type = CASE WHEN {SAID_NEVER} THEN 'none' ELSE lead.queue_type END
            AND new.former IS NOT DISTINCT FROM score.current_queue_type
    WHERE score.user_id > %(after)s AND score.user_id <= %(upto)s
    ORDER BY score.user_id
    FOR NO KEY UPDATE OF score
)
UPDATE user_call_scores AS score SET current_queue_type = held.label, updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE score.user_id = held.user_id
"""  # noqa: S608
"""Rows that said where their lead belongs, by a label that is no longer that queue's; who must not be called belongs in
none."""

_FORMER_ENTRIES: Final = f"""
    SELECT pending.id, pending.user_id, new.label
    FROM call_queue AS pending
    JOIN leadstream.leads AS lead ON lead.user_id = pending.user_id
    JOIN ({_LABELS}) AS new ON new.queue_type = lead.queue_type AND new.former = pending.queue_type
    WHERE pending.user_id > %(after)s AND pending.user_id <= %(upto)s AND pending.status = 'pending'
"""  # noqa: S608

CLOSE_FORMER_ENTRIES: Final = f"""
WITH held AS (
    {_FORMER_ENTRIES}
      AND EXISTS (SELECT FROM call_queue AS entry WHERE entry.user_id = pending.user_id
                  AND entry.queue_type = new.label AND entry.status = 'pending')
    ORDER BY pending.user_id FOR NO KEY UPDATE OF pending
)
UPDATE call_queue AS entry SET status = 'closed', updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE entry.id = held.id
"""  # noqa: S608
"""Pending entries under a former label of somebody who has one under the new label already."""

RELABEL_ENTRIES: Final = f"""
WITH held AS ({_FORMER_ENTRIES} ORDER BY pending.user_id FOR NO KEY UPDATE OF pending)
UPDATE call_queue AS entry SET queue_type = held.label, updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE entry.id = held.id
"""  # noqa: S608
"""The other pending entries under a former label."""

_CALLED_THOUGH_NEVER: Final = f"""
    {SAID_NEVER} AND (score.is_active OR score.current_queue_type IS DISTINCT FROM %(none)s::text)
"""

LEAVE_QUEUES: Final = f"""
WITH held AS (
    SELECT score.user_id FROM user_call_scores AS score
    WHERE score.user_id > %(after)s AND score.user_id <= %(upto)s AND {_CALLED_THOUGH_NEVER}
    ORDER BY score.user_id FOR NO KEY UPDATE
)
UPDATE user_call_scores AS score
SET is_active = false, current_queue_type = %(none)s::text, updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE score.user_id = held.user_id
"""  # noqa: S608
"""Whoever must not be called leaves their queue."""

CLOSE_THEIR_ENTRIES: Final = f"""
WITH held AS (
    SELECT pending.id
    FROM call_queue AS pending JOIN user_call_scores AS score ON score.user_id = pending.user_id
    WHERE pending.user_id > %(after)s AND pending.user_id <= %(upto)s AND pending.status = 'pending'
      AND pending.queue_type = ANY(%(ever)s::text[]) AND {SAID_NEVER}
    ORDER BY pending.user_id FOR NO KEY UPDATE OF pending
)
UPDATE call_queue AS entry SET status = 'closed', updated_at = now() AT TIME ZONE 'utc'
FROM held WHERE entry.id = held.id
"""  # noqa: S608
"""And nobody is given their number."""

CALLED_THOUGH_NEVER: Final = f"""
SELECT count(*), (array_agg(score.user_id ORDER BY score.user_id))[1:%(shown)s]
FROM user_call_scores AS score WHERE {_CALLED_THOUGH_NEVER}
"""  # noqa: S608
"""Who would leave their queue because they must not be called, and some of them."""

REJUDGED: Final = "UPDATE leadstream.rules SET rejudged_at = now() WHERE version = %s"
"""Every lead was brought to a version."""

CURSOR: Final = """
SELECT cursor FROM leadstream.runs
WHERE name = %(run)s AND (counts ->> 'version')::int = %(version)s AND cursor IS NOT NULL
  AND started_at >= (SELECT adopted_at FROM leadstream.rules WHERE version = %(version)s)
ORDER BY started_at DESC, id DESC LIMIT 1
"""
"""How far the last run for a version came since its adoption: before a restore, another one may have had its number."""


class Words(NamedTuple):
    """The words that rules look at differently, as the statements above join them."""

    claims: list[str]
    requirements: list[str]
    reasons: bool

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.claims or self.requirements)


class Page(NamedTuple):
    """A range of users, how many of them are leads, and which of these are concerned."""

    after: int
    upto: int
    leads: int
    concerned: list[int]


def words_changed(connection: Connection, new: Rules) -> Words:
    """What is looked at differently by `new` than by the rules that any lead was judged by. Raises psycopg.Error."""
    olds = [new.by(version) for (version,) in connection.execute(VERSIONS, [new.version])]
    reasons = any(rules.mentions_reasons for rules in (new, *olds))

    claims, requirements = [], []
    if olds:
        for (status,) in _streamed(connection, CLAIM_WORDS, {}):
            if any(old.sees_in_claim(status) != new.sees_in_claim(status) for old in olds):
                claims.append(key(status))
        for status, type_, reason in _streamed(connection, REQUIREMENT_WORDS, {"reasons": reasons}):
            words = status, type_, reason
            if any(old.sees_in_requirement(*words) != new.sees_in_requirement(*words) for old in olds):
                requirements.append(key(status, type_, reason) if reasons else key(status, type_))
    return Words(claims, requirements, reasons)


def page(connection: Connection, after: int, limit: int, words: Words, version: int, *, waiting: bool) -> Page:
    """The next users; the last page reaches to the end of all numbers. `waiting` includes leads that are not judged
    until their lane has come so far. Raises psycopg.Error."""
    row = connection.execute(PAGE, {"after": after, "limit": limit}).fetchone()
    last, count = row or (None, 0)
    upto = last if count == limit else LAST
    scope = {
        "after": after,
        "upto": upto,
        "version": version,
        "waiting": waiting,
        "claims": words.claims,
        "requirements": words.requirements,
        "reasons": words.reasons,
    }
    found = [user_id for (user_id,) in connection.execute(CONCERNED, scope)] if words.any and count else []
    return Page(after, upto, count, found)


class Relabelling:
    """What other labels and other words for never mean for the call centre's tables."""

    def __init__(self, rules: Rules) -> None:
        formers = [
            (queue_type.value, former, rules.label(queue_type))
            for queue_type in QueueType
            for former in {earlier.label(queue_type) for earlier in rules.earlier.values()} - {rules.label(queue_type)}
        ]
        self._is_labelled_anew = bool(formers)
        self._names_more = any(set(rules.never) - set(old.never) for old in rules.earlier.values())
        self._parameters: dict[str, Any] = {
            "queues": [queue_type for queue_type, _, _ in formers],
            "formers": [former for _, former, _ in formers],
            "labels": [label for _, _, label in formers],
            "never": list(rules.never),
            "none": rules.label(QueueType.NONE),
            "ever": sorted({label for queue_type in CALLED for label in rules.labels_ever(queue_type)}),
        }

    @property
    def any(self) -> bool:
        """Whether the call centre's tables are concerned at all."""
        return self._is_labelled_anew or self._names_more

    def write(self, connection: Connection, after: int, upto: int) -> tuple[int, int]:
        """Puts a range of users right; returns how many rows were relabelled and how many people left their queue.

        Scores first, then entries, each in user order, as all writers take them. Raises psycopg.Error.
        """
        scope = {**self._parameters, "after": after, "upto": upto}
        relabelled = connection.execute(RELABEL_SCORES, scope).rowcount if self._is_labelled_anew else 0
        left = connection.execute(LEAVE_QUEUES, scope).rowcount if self._names_more else 0
        if self._is_labelled_anew:
            connection.execute(CLOSE_FORMER_ENTRIES, scope)
            connection.execute(RELABEL_ENTRIES, scope)
        if self._names_more:
            connection.execute(CLOSE_THEIR_ENTRIES, scope)
        return relabelled, left

    def leaving(self, connection: Connection, shown: int) -> tuple[int, list[int]]:
        """How many people would leave their queue, and the first of them. Raises psycopg.Error."""
        row = connection.execute(CALLED_THOUGH_NEVER, {**self._parameters, "shown": shown}).fetchone()
        return (0, []) if row is None else (row[0], row[1] or [])


def start(connection: Connection, version: int, cursor: int) -> Run:
    """Records that bringing leads to a version starts."""
    row = connection.execute(START, [RUN, None, None, cursor, None]).fetchone()
    assert row is not None
    run = Run(lambda: nullcontext(connection), row[0])
    run.move(cursor, {"version": version})
    return run


def take_turn(connection: Connection) -> bool:
    """Keeps others from adopting until the session ends; False where somebody else does at present."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", list(_RUN_LOCK)).fetchone()
    if row != (True,):
        return False
    wait_until_settled(connection)
    connection.execute(ABANDON, [RUN])
    return True


def cursor(connection: Connection, version: int) -> int:
    """Where bringing leads to a version goes on."""
    row = connection.execute(CURSOR, {"run": RUN, "version": version}).fetchone()
    return FIRST if row is None else int(row[0])


def rejudged(connection: Connection, version: int) -> None:
    """Records that every lead was brought to a version."""
    connection.execute(REJUDGED, [version])


def _streamed(connection: Connection, statement: str, parameters: Mapping[str, object]) -> Iterable[Sequence[Any]]:
    """Rows of any number, a few at a time."""
    with connection.transaction(), connection.cursor(name="words") as rows:
        rows.itersize = _AT_ONCE
        yield from rows.execute(statement, parameters)


def key(*words: str | None) -> str:
    """Words as one text, as the statements above join them."""
    return "\x1f".join("-" if word is None else f"={word}" for word in words)
