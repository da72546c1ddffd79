"""What we hold of leads, looked at without locks: for comparing, explaining and answering, never for writing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import psycopg

from consumer.leads.model import Claim, Lead, QueueType, Requirement, Rule
from consumer.store.refusal import REFUSED
from consumer.store.sql import CLAIMS_OF, REQUIREMENTS_OF, RULES_IN_FORCE
from consumer.versions import moment

Connection = psycopg.Connection[tuple[Any, ...]]

ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

LEADS_OF: Final = """
SELECT user_id, present, enabled, signature, version, read_floor, judge_after,
       (extract(epoch FROM changed_at) * 1000000)::bigint, stint, queue_type, rule,
       (extract(epoch FROM opened_at) * 1000000)::bigint, outstanding_seen, converted_signatures, rules_version
FROM leadstream.leads WHERE user_id = ANY(%(user_id)s)
"""
"""Leads as we hold them."""

STINTS_OF: Final = """
SELECT number, queue_type, opened_at, opened_reason, closed_at, closed_reason, conversion_type, source
FROM leadstream.stints WHERE user_id = %s ORDER BY number
"""
"""Every stint of a lead, the open one last."""

CONVERSIONS_OF: Final = """
SELECT conversion_type, previous_queue_type, converted_at, final_score, total_call_attempts
FROM conversions WHERE user_id = %s ORDER BY converted_at
"""
"""A lead's conversions in the call centre's table."""

SCORE_OF: Final = """
SELECT score.current_queue_type, score.is_active, score.current_score, score.total_attempts, score.last_call_at,
       score.last_outcome,
       ARRAY(SELECT entry.queue_type FROM call_queue AS entry
             WHERE entry.user_id = score.user_id AND entry.status = 'pending' ORDER BY entry.queue_type)
FROM user_call_scores AS score WHERE score.user_id = %s
"""
"""What the call centre sees of a lead."""

HAS_CENTRE: Final = """
SELECT to_regclass('user_call_scores') IS NOT NULL AND to_regclass('conversions') IS NOT NULL
       AND to_regclass('call_queue') IS NOT NULL
"""
"""Whether the call centre's tables are there: in shadow mode they need not be."""

RECHECK_OF: Final = "SELECT reason, asked_at, attempts, last_error FROM leadstream.rechecks WHERE user_id = %s"
"""The recheck that waits for a lead."""

RECHECKS: Final = """
SELECT count(*) FILTER (WHERE not_before <= now()), count(*),
       count(*) FILTER (WHERE starts_with(reason, %(refused)s) OR starts_with(last_error, %(refused)s))
FROM leadstream.rechecks
"""
"""Rechecks due, all of them, and those of leads whose rows PostgreSQL refused."""

OUTCOMES_OF: Final = "SELECT user_id, last_outcome FROM user_call_scores WHERE user_id = ANY(%s)"
"""How the last calls of leads ended."""

SHOWN_OF: Final = """
SELECT user_id, queue_type, until_version FROM leadstream.shown WHERE user_id = ANY(%s) AND until_version > 0
"""
"""The queues that agents see leads in ahead of their history, and the version until which."""

SHOWN_AHEAD: Final = """
SELECT queue_type, shown_at, nullif(until_version, 0) FROM leadstream.shown WHERE user_id = %s
"""
"""The queue that agents see a lead in ahead of its history."""

LANE_OF: Final = """
SELECT lane.version FROM leadstream.lanes AS lane JOIN leadstream.leads AS lead ON lead.lane = lane.lane
WHERE lead.user_id = %s
"""
"""How far the lane of a lead has come."""


class Ahead(NamedTuple):
    """Where a live read that ended at `until` (µs) had a lead, which agents see there ahead of its history."""

    queue_type: QueueType
    until: int


class Called(NamedTuple):
    """Leads, how their last calls ended, which of them agents see ahead of their history, and which rules are in force
    (RULES_IN_FORCE)."""

    leads: dict[int, Lead]
    outcomes: dict[int, str | None]
    shown: dict[int, Ahead]
    adoption: str | None


class Rechecks(NamedTuple):
    """How many leads wait to be read live: those that are due, all of them, and those that PostgreSQL refused."""

    due: int
    waiting: int
    refused: int = 0


def rechecks(connection: Connection) -> Rechecks:
    """Counts rechecks."""
    return Rechecks(*(connection.execute(RECHECKS, {"refused": REFUSED}).fetchone() or (0, 0)))


@dataclass(frozen=True, slots=True)
class PastStint:
    """One stay in one queue; the last three words are None while it is open. `source` is `stream` or `sweep`."""

    number: int
    queue_type: str
    opened_at: datetime
    opened_reason: str
    closed_at: datetime | None
    closed_reason: str | None
    conversion_type: str | None
    source: str


@dataclass(frozen=True, slots=True)
class RecordedConversion:
    """A conversion as the call centre has it."""

    conversion_type: str
    previous_queue_type: str | None
    converted_at: datetime
    final_score: int | None
    total_call_attempts: int | None


@dataclass(frozen=True, slots=True)
class CallCentreRow:
    """What the call centre's tables say of a lead; `pending` are the queues with a pending entry."""

    current_queue_type: str | None
    is_active: bool
    current_score: int
    total_attempts: int
    last_call_at: datetime | None
    last_outcome: str | None
    pending: list[str]


@dataclass(frozen=True, slots=True)
class PendingRecheck:
    """A recheck that is queued."""

    reason: str
    asked_at: datetime
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ShownAhead:
    """The queue that agents see a lead in ahead of its history, and since when, until its lane has passed `until`.

    `until` None: nothing is ahead, but another session held the lead's rows of the call centre.
    """

    queue_type: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class LeadRecord:
    """Everything we hold about one lead; `lead` None: we hold nothing of the user. `lane_version` in µs."""

    user_id: int
    lead: Lead | None
    stints: list[PastStint]
    conversions: list[RecordedConversion]
    call_centre: CallCentreRow | None
    recheck: PendingRecheck | None
    shown: ShownAhead | None
    lane_version: int


def leads(connection: Connection, user_ids: Iterable[int]) -> dict[int, Lead]:
    """These leads as we hold them, in one snapshot; unknown ones are absent. The connection is in autocommit mode."""
    wanted = sorted(set(user_ids))
    with connection.pipeline(), connection.transaction():
        connection.execute(ONE_SNAPSHOT)
        return _leads(connection, wanted)


def called_leads(connection: Connection, user_ids: list[int], *, centre: bool) -> Called:
    """What a call takes of these leads, in one snapshot and one round trip; how their last calls ended only where there
    are the call centre's tables. The connection is in autocommit mode."""
    with connection.pipeline(), connection.transaction():
        connection.execute(ONE_SNAPSHOT)
        in_force = connection.execute(RULES_IN_FORCE)
        called = connection.execute(OUTCOMES_OF, [user_ids]) if centre else None
        shown = connection.execute(SHOWN_OF, [user_ids])
        leads = _leads(connection, user_ids)
        adoption = in_force.fetchone()
        return Called(
            leads,
            {} if called is None else dict(called.fetchall()),
            {user_id: Ahead(QueueType(queue), until) for user_id, queue, until in shown.fetchall()},
            None if adoption is None else adoption[0],
        )


def has_centre(connection: Connection) -> bool:
    """Whether the call centre's tables are there."""
    return connection.execute(HAS_CENTRE).fetchone() == (True,)


def lead_record(connection: Connection, user_id: int) -> LeadRecord:
    """Everything about one lead, in one snapshot; without the call centre's tables, what they would hold is left out.

    The connection is in autocommit mode.
    """
    centre = has_centre(connection)
    with connection.pipeline(), connection.transaction():
        connection.execute(ONE_SNAPSHOT)
        lead = _leads(connection, [user_id]).get(user_id)
        stints, recheck, shown, lane = (
            connection.execute(statement, [user_id]) for statement in (STINTS_OF, RECHECK_OF, SHOWN_AHEAD, LANE_OF)
        )
        conversions = connection.execute(CONVERSIONS_OF, [user_id]) if centre else None
        score = connection.execute(SCORE_OF, [user_id]) if centre else None
        recorded = [] if conversions is None else conversions.fetchall()
        row = None if score is None else score.fetchone()
        waiting, ahead, point = recheck.fetchone(), shown.fetchone(), lane.fetchone()
        return LeadRecord(
            user_id,
            lead,
            [PastStint(*row) for row in stints.fetchall()],
            [RecordedConversion(kind, left, _utc(at), final, calls) for kind, left, at, final, calls in recorded],
            None if row is None else _call_centre(row),
            None if waiting is None else PendingRecheck(*waiting),
            None if ahead is None else _shown_ahead(*ahead),
            0 if point is None else point[0],
        )


def _leads(connection: Connection, wanted: list[int]) -> dict[int, Lead]:
    rows, claims, requirements = (
        connection.execute(statement, {"user_id": wanted}) for statement in (LEADS_OF, CLAIMS_OF, REQUIREMENTS_OF)
    )
    found = {row[0]: _lead(row) for row in rows.fetchall()}
    for user_id, claim_id, status, version in claims.fetchall():
        found[user_id].claims[claim_id] = Claim(claim_id, status, version)
    for user_id, requirement_id, *fields in requirements.fetchall():
        found[user_id].requirements[requirement_id] = Requirement(requirement_id, *fields)
    return found


def _lead(row: tuple[Any, ...]) -> Lead:
    (
        user, present, enabled, signature, version, floor, judge_after, changed, stint, queue, rule, opened, seen,
        converted, rules_version,
    ) = row  # fmt: skip
    return Lead(
        user_id=user,
        exists=present,
        enabled=enabled,
        signature=signature,
        version=version,
        read_floor=floor,
        judge_after=judge_after,
        changed_at=changed or 0,
        stint=stint,
        queue_type=None if queue is None else QueueType(queue),
        rule=None if rule is None else Rule(rule),
        opened_at=opened or 0,
        outstanding_seen=frozenset(seen),
        converted_signatures=frozenset(converted),
        rules_version=rules_version,
    )


def _call_centre(row: tuple[Any, ...]) -> CallCentreRow:
    queue_type, active, score, attempts, called, outcome, pending = row
    called = None if called is None else _utc(called)
    return CallCentreRow(queue_type, active, score, attempts, called, outcome, pending)


def _shown_ahead(queue_type: str, since: datetime, until_version: int | None) -> ShownAhead:
    return ShownAhead(queue_type, since, None if until_version is None else moment(until_version))


def _utc(time: datetime) -> datetime:
    """The call centre's times have no zone and are UTC."""
    return time.replace(tzinfo=UTC)
