"""The reconciler's own session with PostgreSQL: what we hold, read without locks, and which users a sweep is about.

What sweeps, verify, backfill and pre-call checks ask stands here. Records of runs, aging, attribution, the schedule,
the monitor and the page's lists have their statements in their own modules, and `consumer.store` has those that the
stream shares; it alone writes leads.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from consumer.leads.model import CALLED, NEVER, Conversion, ConversionType, Lead, QueueType
from consumer.leads.rules import Rules
from consumer.store import lanes as store_lanes
from consumer.store import lookups
from consumer.store.arrays import bigints, register, texts
from consumer.store.call_centre import entries
from consumer.store.call_centre.entries import EntryDrift
from consumer.store.connection import Connection, classified, open_session
from consumer.store.errors import NotPrepared
from consumer.store.lanes import LanePoint
from consumer.store.leads import conversion_columns
from consumer.store.lookups import Ahead, LeadRecord
from consumer.store.rule_changes import key
from consumer.store.rules import InForce
from consumer.store.sql import DIFFERING_CONVERSIONS, FIRST_SEEN, PAID_SIGNATURES, PAID_SINCE, READ_RULES, SAID_NEVER
from consumer.versions import moment
from reconciler.conversions import Row
from reconciler.mysql_statements import SMALLEST
from reconciler.replica import Checksums, Fingerprints, checksums_of

ROOM: Final = "SET LOCAL work_mem = '64MB'"
"""For statements that look at everybody: their hash tables stay in memory."""


def _checksum(*columns: str) -> str:
    """How many rows there are, and the sum of the first 60 bits of each row's SHA-256."""
    text = " || '|' || ".join(f"coalesce('=' || {column}, '-')" for column in columns)
    bits = f"('x' || left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), 15))::bit(60)::bigint"
    return f"count(*), coalesce(sum({bits}), 0)"


SESSION: Final = (
    "SET TimeZone = 'UTC'; SET jit = off; SET lock_timeout = '20s';"
    " SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
"""The server, too, notices within half a minute that we are gone, and gives free what we held."""
NAME: Final = "leadstream reconciler"

JUDGED: Final = "SELECT user_id FROM leadstream.leads WHERE user_id = ANY(%s) AND stint > 0"
"""Which of these users have been judged already."""

IN_QUEUE: Final = """
SELECT lead.user_id
FROM leadstream.leads AS lead JOIN user_call_scores AS score ON score.user_id = lead.user_id
WHERE lead.queue_type = %(queue_type)s AND lead.user_id > %(after)s
  AND score.last_call_at >= %(since)s
ORDER BY lead.user_id LIMIT %(limit)s
"""
"""Leads whose open stint is in this queue, and that were called since."""

EVERYONE_IN_QUEUE: Final = """
SELECT user_id FROM leadstream.leads WHERE queue_type = %(queue_type)s AND user_id > %(after)s
ORDER BY user_id LIMIT %(limit)s
"""
"""All leads whose open stint is in this queue."""

MARK_CHECKED: Final = """
WITH held AS (
    SELECT user_id FROM user_call_scores WHERE user_id = ANY(%s) ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE user_call_scores AS score SET last_conversion_check_at = now() AT TIME ZONE 'utc'
FROM held WHERE score.user_id = held.user_id
"""
"""Notes when these leads were last checked for a conversion; scores that somebody holds at the moment are left out."""


_SUMMED: Final = (
    ("leads", " AND present", _checksum("user_id", "signature", "enabled::int")),
    ("claims", "", _checksum("id", "user_id", "status")),
    ("requirements", "", _checksum("id", "user_id", "claim_id", "type", "status", "reason")),
)
"""Our tables, which of their rows MySQL has, and their sums: those of `Queries` in the same order."""
_IN_RANGE = "user_id > %(after)s AND user_id <= %(upto)s"
_AMONG = "user_id = ANY(%(users)s)"

FINGERPRINTS: Final = "\nUNION ALL\n".join(
    f"SELECT {part}, {checksum} FROM leadstream.{table} WHERE {_IN_RANGE}{there}"  # noqa: S608
    for part, (table, there, checksum) in enumerate(_SUMMED, 1)
)
"""Rows and checksum of each table for a range of users: `reconciler.replica` asks MySQL for the same."""

CHECKSUMS: Final = "\nUNION ALL\n".join(
    f"SELECT {part}, user_id, {checksum} FROM leadstream.{table} WHERE {_AMONG}{there} GROUP BY user_id"  # noqa: S608
    for part, (table, there, checksum) in enumerate(_SUMMED, 1)
)
"""Rows and checksum of each table for each of some users: `reconciler.replica` asks MySQL for the same."""


_CLAIM = "coalesce('=' || claims.status, '-')"
_REQUIREMENT = "coalesce('=' || requirement.status, '-') || E'\\x1f' || coalesce('=' || requirement.type, '-')"
_REASON = "E'\\x1f' || coalesce('=' || requirement.reason, '-')"


def _words(scope: str) -> str:
    """The words that the rules look at of some users: whether they are a claim's, status, type, and the reason where
    that makes a difference."""
    return f"""
SELECT DISTINCT true, status, NULL, NULL FROM leadstream.claims WHERE {scope}
UNION ALL
SELECT DISTINCT false, status, type, CASE WHEN %(reasons)s THEN reason END
FROM leadstream.requirements WHERE {scope}
"""  # noqa: S608


_SHOWN_ELSEWHERE = """until_version > 0 AND NOT EXISTS (
    SELECT FROM leadstream.leads AS held
    WHERE held.user_id = present.user_id AND held.queue_type = present.queue_type)"""
"""Whether a lead is shown by the present in another queue than that of its open stint."""


def _misjudged(scope: str) -> str:
    """Leads that seem never judged, left to a live read, or in another queue than the rules say, and those that are
    shown by the present in another queue than history has them in, where the present may be another by now: `closed`
    are the spellings of closed statuses, `owed` those of outstanding requirements, as `key` writes them. Leads that
    wait for their lane are looked at where older rules than `version` judged them."""
    closed = f"{_CLAIM} = ANY(%(closed)s)"
    return f"""
SELECT user_id FROM leadstream.leads AS lead
WHERE {scope} AND (stint = 0 OR judge_after = %(never)s OR (
    (judge_after IS NULL OR rules_version < %(version)s) AND queue_type IS DISTINCT FROM CASE
        WHEN NOT present OR NOT enabled THEN 'none'
        WHEN (SELECT bool_and({closed}) FROM leadstream.claims WHERE claims.user_id = lead.user_id) THEN 'none'
        WHEN signature IS NULL THEN 'unsigned_users'
        WHEN (SELECT true FROM leadstream.requirements AS requirement
              JOIN leadstream.claims ON claims.user_id = requirement.user_id AND claims.id = requirement.claim_id
              WHERE requirement.user_id = lead.user_id AND NOT ({closed})
                AND {_REQUIREMENT} || CASE WHEN %(reasons)s THEN {_REASON} ELSE '' END = ANY(%(owed)s)
              LIMIT 1) THEN 'requirements_outstanding'
        ELSE 'none' END))
UNION
SELECT user_id FROM leadstream.shown AS present
WHERE {scope} AND {_SHOWN_ELSEWHERE}
"""  # noqa: S608


UNSEEN: Final = f"""
SELECT shown.user_id
FROM leadstream.shown
JOIN leadstream.lanes AS lane ON lane.lane = shown.lane AND shown.until_version <= lane.version
JOIN leadstream.leads AS lead ON lead.user_id = shown.user_id
WHERE lead.stint > 0 AND lead.judge_after IS DISTINCT FROM {NEVER}
ORDER BY shown.user_id
"""  # noqa: S608
"""Leads of which the call centre is to see what history says, and does not yet: somebody held their rows, or no applier
has moved their lane since it passed what they are shown by."""


PRESENT: Final = "SELECT user_id FROM leadstream.leads WHERE user_id > %s AND user_id <= %s AND present"
"""Users in a range that MySQL should have."""

_LABELS: Final = " ".join(f"WHEN lead.queue_type = '{name.value}' THEN %({name.value})s::text" for name in CALLED)

QUEUE_MISMATCHES: Final = f"""
SELECT lead.user_id
FROM leadstream.leads AS lead LEFT JOIN user_call_scores AS score
     ON score.user_id = lead.user_id AND score.user_id > %(after)s AND score.user_id <= %(upto)s
WHERE lead.user_id > %(after)s AND lead.user_id <= %(upto)s AND lead.stint > 0
  AND NOT EXISTS (SELECT FROM leadstream.shown WHERE shown.user_id = lead.user_id)
  AND (score.user_id IS NULL
       OR score.current_queue_type IS DISTINCT FROM CASE
           WHEN lead.queue_type = 'none' OR {SAID_NEVER} THEN %(none)s::text
           {_LABELS} END
       OR score.is_active AND (lead.queue_type = 'none' OR {SAID_NEVER}))
"""  # noqa: S608
"""Leads for which the call centre's table says another queue than the open stint, or that it would call though they
belong in none or must not be called; what it is shown of them ahead of their history is no drift. Why somebody in the
right queue is inactive is the call centre's business."""


_EARNED = """
SELECT user_id, number, queue_type, closed_at, conversion_type, signature FROM leadstream.stints AS stint
WHERE conversion_type IS NOT NULL
"""
_RECORDED = """
    stint.user_id = found.user_id AND stint.conversion_type = found.conversion_type
    AND stint.closed_at BETWEEN (found.converted_at AT TIME ZONE 'UTC') - interval '1 second'
                            AND (found.converted_at AT TIME ZONE 'UTC') + interval '1 second'
"""
"""Whether a row of the call centre's table is what a stint earned; its column may round the time."""

UNRECORDED: Final = f"""
{_EARNED} AND in_shadow IS FALSE AND NOT EXISTS (SELECT FROM conversions AS found WHERE {_RECORDED})
  AND NOT (paid_before IS TRUE AND conversion_type = 'requirements_completed' AND EXISTS (
    SELECT FROM conversions AS paid WHERE {PAID_SINCE}))
ORDER BY user_id, number
"""  # noqa: S608
"""What stints earned that the call centre's table should hold, and does not; whether a signature was paid at another
moment is for `paid_signatures` to say."""

EARNED_IN_SHADOW: Final = f"{_EARNED} AND in_shadow IS NOT FALSE AND closed_at >= %s ORDER BY user_id, number"
"""What stints earned since a time in shadow mode, or before anybody noted whether it was."""

CONVERSIONS_OF: Final = """
SELECT id, user_id, conversion_type, converted_at FROM conversions
WHERE user_id = ANY(%(user_id)s) AND converted_at >= %(since)s::timestamptz AT TIME ZONE 'UTC'
"""
"""What the call centre's table holds of some customers since a time, whoever wrote it."""

UNEARNED: Final = f"""
SELECT id, user_id, conversion_type, converted_at FROM conversions AS found
WHERE substr(id::text, 15, 1) = '5' AND NOT EXISTS (
    SELECT FROM leadstream.stints AS stint WHERE {_RECORDED})
  AND NOT EXISTS (SELECT FROM leadstream.kept_conversions AS kept WHERE kept.id = found.id)
"""  # noqa: S608
"""Conversions of which no stint knows, whose ids may be ours (UUIDs of version 5), and that nobody looked at yet."""

KEEP: Final = """
INSERT INTO leadstream.kept_conversions (id, user_id)
SELECT * FROM unnest(%(id)s::uuid[], %(user_id)s::bigint[]) ON CONFLICT (id) DO NOTHING
"""
"""Notes conversions that stay though no stint earned them."""

FORGET_KEPT: Final = f"""
DELETE FROM leadstream.kept_conversions AS kept
WHERE NOT EXISTS (SELECT FROM conversions AS found WHERE found.id = kept.id)
   OR EXISTS (SELECT FROM conversions AS found JOIN leadstream.stints AS stint ON {_RECORDED} WHERE found.id = kept.id)
"""  # noqa: S608
"""Drops notes of those that are gone, or that a stint knows again."""


class Held(NamedTuple):
    """What is known of some leads and what they are judged by; `outcomes` are those of their last calls, and `shown`
    are those that agents see ahead of their history."""

    leads: Mapping[int, Lead]
    outcomes: Mapping[int, str | None]
    shown: Mapping[int, Ahead]
    rules: Rules


class Postgres:
    """One connection to PostgreSQL, opened when first needed. Errors are those of `consumer.store.errors`."""

    def __init__(self, conninfo: str, answer_seconds: float | None = None) -> None:
        """`answer_seconds` limits each statement, for those who cannot wait."""
        self._conninfo = conninfo
        self._answer_seconds = answer_seconds
        self._connection: Connection | None = None
        self._in_force = InForce()
        self._has_centre = False

    def close(self) -> None:
        """Ends the session, and with it every advisory lock."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """The connection in autocommit mode. What happens inside is raised by the names of `consumer.store.errors`."""
        with classified(self._conninfo):
            if self._connection is None or self._connection.closed:
                self._connection = open_session(self._conninfo, NAME, autocommit=True)
                register(self._connection)
                self._connection.execute(SESSION)
                if self._answer_seconds is not None:
                    limit = f"{max(1, round(self._answer_seconds * 1000))}ms"
                    self._connection.execute("SELECT set_config('statement_timeout', %s, false)", [limit])
            try:
                yield self._connection
            except psycopg.errors.ReadOnlySqlTransaction:
                self.close()  # its server became a standby, and a new session may find the primary
                raise

    def is_open(self) -> bool:
        """Whether the session still stands, and with it what it has locked."""
        return self._connection is not None and self._connection.info.transaction_status != TransactionStatus.UNKNOWN

    def leads(self, user_ids: Iterable[int]) -> dict[int, Lead]:
        """These leads as we hold them, in one snapshot and without locks; unknown ones are absent."""
        with self.session() as connection:
            return lookups.leads(connection, user_ids)

    def has_centre(self) -> bool:
        """Whether the call centre's tables are there; in shadow mode they need not be."""
        with self.session() as connection:
            return lookups.has_centre(connection)

    def held(self, user_ids: Iterable[int]) -> Held:
        """These leads as we hold them and as agents see them, how their last calls ended, and the rules in force.

        Without locks.
        """
        wanted = sorted(set(user_ids))
        with self.session() as connection:
            self._has_centre = self._has_centre or lookups.has_centre(connection)
            found = lookups.called_leads(connection, wanted, centre=self._has_centre)
            rules = self._in_force.at(found.adoption, lambda: connection.execute(READ_RULES).fetchall())
            return Held(found.leads, found.outcomes, found.shown, rules)

    def lead_record(self, user_id: int) -> LeadRecord:
        """Everything we hold about one lead, in one snapshot and without locks."""
        with self.session() as connection:
            return lookups.lead_record(connection, user_id)

    def judged(self, user_ids: Sequence[int]) -> set[int]:
        """Which of these users have a stint."""
        with self.session() as connection:
            return {user_id for (user_id,) in connection.execute(JUDGED, [list(user_ids)])}

    def first_seen(self) -> dict[int, float]:
        """The newest customers of a day that the stream brought, and when (s since 1970) their row was committed."""
        with self.session() as connection:
            return dict(connection.execute(FIRST_SEEN).fetchall())

    def lanes(self) -> dict[int, LanePoint]:
        """How far each lane has come."""
        with self.session() as connection:
            return store_lanes.lanes(connection)

    def clock(self) -> int:
        """The server's clock (µs)."""
        with self.session() as connection:
            return microseconds(clock(connection))

    def lane_count(self) -> int:
        """How many lanes there are. Raises NotPrepared where `consumer setup` has not made them."""
        count = len(self.lanes())
        if not count:
            raise NotPrepared("there are no lanes in leadstream.lanes yet; run `consumer setup`")
        return count

    def in_queue(self, queue_type: QueueType, since: int | None, limit: int) -> Iterator[list[int]]:
        """Leads whose open stint is in this queue, `limit` at a time; with `since` (µs) those called since then."""
        after = SMALLEST
        statement = EVERYONE_IN_QUEUE if since is None else IN_QUEUE
        called_since = None if since is None else moment(since).replace(tzinfo=None)
        while True:
            with self.session() as connection:
                parameters = {"queue_type": queue_type.value, "since": called_since, "after": after, "limit": limit}
                page = [user_id for (user_id,) in connection.execute(statement, parameters)]
            if page:
                yield page
            if len(page) < limit:
                return
            after = page[-1]

    def fingerprints(self, after: int, upto: int) -> Fingerprints:
        """What we hold of the users in (`after`, `upto`]as checksums."""
        with self.session() as connection:
            rows = connection.execute(FINGERPRINTS, {"after": after, "upto": upto}).fetchall()
        return Fingerprints(*((int(count), int(checksum)) for _, count, checksum in sorted(rows)))

    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        """What we hold of these users as checksums, user by user."""
        with self.session() as connection:
            return checksums_of(connection.execute(CHECKSUMS, {"users": list(user_ids)}))

    def rules(self) -> Rules:
        """The rules in force at this moment."""
        with self.session() as connection:
            return self._in_force.read(connection)

    def misjudged(self, user_ids: Sequence[int]) -> list[int]:
        """Those of these leads that the rules seem to put elsewhere, that were never judged, or are shown elsewhere."""
        return self._misjudged(_AMONG, {"users": list(user_ids)})

    def shown_elsewhere(self, user_ids: Sequence[int]) -> set[int]:
        """Those of these leads that agents see in another queue than their open stint's, by an earlier live read."""
        return self._shown(_AMONG, {"users": list(user_ids)})

    def unseen(self) -> list[int]:
        """Leads whose history is due to be seen by the call centre, and is not."""
        with self.session() as connection:
            return [user_id for (user_id,) in connection.execute(UNSEEN)]

    def shown_in_range(self, after: int, upto: int) -> set[int]:
        """The same of the leads in (`after`, `upto`]."""
        return self._shown(_IN_RANGE, {"after": after, "upto": upto})

    def _shown(self, scope: str, wanted: dict[str, object]) -> set[int]:
        statement = f"SELECT user_id FROM leadstream.shown AS present WHERE {scope} AND {_SHOWN_ELSEWHERE}"  # noqa: S608
        with self.session() as connection:
            return {user_id for (user_id,) in connection.execute(statement, wanted)}

    def misjudged_in_range(self, after: int, upto: int) -> list[int]:
        """As `misjudged`, of the leads in (`after`, `upto`]."""
        return self._misjudged(_IN_RANGE, {"after": after, "upto": upto})

    def _misjudged(self, scope: str, wanted: dict[str, object]) -> list[int]:
        """How words compare is not SQL's to say: those there are are looked at here, and go back as arrays."""
        rules = self.rules()
        wanted = {"reasons": rules.mentions_reasons, **wanted}
        closed, owed = [], []
        with self.session() as connection:
            for is_claim, status, type_, reason in connection.execute(_words(scope), wanted):
                if is_claim:
                    if rules.closes(status):
                        closed.append(key(status))
                elif rules.owes(status, type_, reason):
                    owed.append(key(status, type_, reason) if rules.mentions_reasons else key(status, type_))
            judged = {"never": NEVER, "version": rules.version, "closed": closed, "owed": owed}
            found = connection.execute(_misjudged(scope), {**judged, **wanted})
            return sorted(user_id for (user_id,) in found)

    def present(self, after: int, upto: int) -> list[int]:
        """Users in (`after`, `upto`] that we hold as existing."""
        with self.session() as connection:
            return [user_id for (user_id,) in connection.execute(PRESENT, [after, upto])]

    def queue_mismatches(self, after: int, upto: int) -> list[int]:
        """Leads in (`after`, `upto`] for which the call centre's table says something else than their open stint."""
        with self.session() as connection:
            rules = self._in_force.read(connection)
            labels = {queue_type.value: rules.label(queue_type) for queue_type in QueueType}
            scope = {"after": after, "upto": upto, "never": list(rules.never)}
            return [user_id for (user_id,) in connection.execute(QUEUE_MISMATCHES, {**scope, **labels})]

    def entries_wrong(self, user_ids: Sequence[int]) -> list[EntryDrift]:
        """What is wrong with the call centre's entries of these leads."""
        with self.session() as connection:
            wanted = entries.parameters(self._in_force.read(connection), user_ids)
            return [EntryDrift(*row) for row in connection.execute(entries.FIND, wanted)]

    def all_entries_wrong(self, at_once: int) -> Generator[list[EntryDrift], None, None]:
        """The same of everybody, so many at a time, as it is when this begins."""
        with self.session() as connection, connection.transaction(), connection.cursor(name="entries") as rows:
            connection.execute(ROOM)
            rows.execute(entries.FIND_ALL, entries.parameters(self._in_force.read(connection)))
            while page := rows.fetchmany(at_once):
                yield [EntryDrift(*row) for row in page]

    def unrecorded(self, at_once: int) -> Generator[list[Conversion], None, None]:
        """What stints earned that the call centre's table should hold and does not, in pages."""
        with self.session() as connection, connection.transaction(), connection.cursor(name="earned") as rows:
            rows.execute(UNRECORDED)
            while page := rows.fetchmany(at_once):
                yield [_conversion(*row) for row in page]

    def earned_in_shadow(self, since: int) -> list[Conversion]:
        """What stints earned since a time (µs) that nobody has published."""
        with self.session() as connection:
            return [_conversion(*row) for row in connection.execute(EARNED_IN_SHADOW, [moment(since)])]

    def conversions_there(self, earned: Sequence[Conversion]) -> tuple[set[UUID], set[UUID]]:
        """The ids by which the call centre's table holds these conversions, and those by which it holds other ones."""
        same: set[UUID] = set()
        other: set[UUID] = set()
        with self.session() as connection:
            for id_, is_there, is_same in connection.execute(DIFFERING_CONVERSIONS, conversion_columns(earned)):
                if is_there:
                    (same if is_same else other).add(id_)
        return same, other

    def paid_signatures(self, earned: Sequence[Conversion]) -> set[tuple[int, str]]:
        """(user, signature) of those that were paid, at whatever moment."""
        wanted = {
            "user_id": bigints([one.user_id for one in earned]),
            "signature": texts([one.signature for one in earned]),
        }
        with self.session() as connection:
            return {(user_id, signature) for user_id, signature in connection.execute(PAID_SIGNATURES, wanted)}

    def conversions_of(self, user_ids: Iterable[int], since: int) -> list[Row]:
        """What the call centre's table holds of these customers since a time (µs), whoever wrote it."""
        wanted = {"user_id": sorted(set(user_ids)), "since": moment(since)}
        with self.session() as connection:
            return [_row(*row) for row in connection.execute(CONVERSIONS_OF, wanted)]

    def unearned(self) -> list[Row]:
        """Conversions of which no stint knows, and whose ids may be ours."""
        with self.session() as connection:
            return [_row(*row) for row in connection.execute(UNEARNED)]

    def keep(self, rows: Sequence[Row]) -> None:
        """Notes that these conversions stay though no stint earned them, and forgets what is no longer so."""
        with self.session() as connection:
            connection.execute(FORGET_KEPT)
            connection.execute(KEEP, {"id": [row.id for row in rows], "user_id": [row.user_id for row in rows]})

    def mark_checked(self, user_ids: Sequence[int]) -> None:
        """Notes in the call centre's table that these leads were checked for a conversion just now."""
        with self.session() as connection:
            connection.execute(MARK_CHECKED, [list(user_ids)])


def clock(connection: Connection) -> datetime:
    """The time by PostgreSQL's clock."""
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    return row[0].astimezone(UTC)  # type: ignore[no-any-return]


def microseconds(time: datetime) -> int:
    """A datetime with a zone as µs since 1970."""
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000 + time.microsecond


def _conversion(
    user_id: int, number: int, queue_type: str, closed_at: datetime, conversion_type: str, signature: str | None
) -> Conversion:
    """What a stint earned; which requirements were settled it does not say."""
    kind = ConversionType(conversion_type)
    at = microseconds(closed_at)
    return Conversion(user_id, number, QueueType(queue_type), kind, at, signature, (), reset_at=None)


def _row(id_: UUID, user_id: int, conversion_type: str, converted_at: datetime) -> Row:
    return Row(id_, user_id, conversion_type, microseconds(converted_at.replace(tzinfo=UTC)))
