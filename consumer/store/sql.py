"""The statements by which leads, lanes, rechecks, rules and the call centre's rows are written and locked, each named.

Statements of one module alone stand in it: reads without locks (`lookups`, `lanes`, `runs`), what re-judges everybody
under other rules (`rule_changes`, `consumer.commands.adoption`), the schema (`schema/`), what the call centre's tables
are like and whose calls earned a conversion (`call_centre/`), and what the doctor asks (`doctor/postgres_facts`).

Columns of a batch arrive as arrays (`consumer.store.arrays`), one parameter a column, and are unnested side by side:
one statement, one round trip, any number of rows. The arrays are in user order, and so are the rows that a statement
reaches or adds. They are unnested in a select list because that streams them: `FROM unnest(a, b, …)` first writes each
into a store of its own, which took a quarter of the time of `UPDATE_LEADS`.
"""

# ruff: noqa: S608 - statements are put together from words of this file alone

from collections.abc import Sequence
from typing import Final


def _batch(name: str, /, **columns: str) -> str:
    """The rows of a batch as a table: parameter `x` holds column `x`; types are PostgreSQL's."""
    unnested = ", ".join(f"unnest(%({column})s::{kind}[]) AS {column}" for column, kind in columns.items())
    return f"(SELECT {unnested}) AS {name}"


# --- session ----------------------------------------------------------------------------------------------------------

SESSION: Final = """
SET TimeZone = 'UTC';
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_mergejoin = off;
SET enable_hashjoin = off;
SET jit = off;
SET lock_timeout = '20s';
SET idle_in_transaction_session_timeout = '60s'
"""
"""Times are UTC; our tables are reached by their indexes, whatever their statistics say at the moment; a process that
stands still in mid-transaction loses its locks before others give up."""

STREAM_SESSION: Final = "SET synchronous_commit = off; SET lock_timeout = '3s'"
"""A batch is not waited for until it is on PostgreSQL's disk. Where the server dies in the fraction of a second before
that, the effects are lost together with their lanes' steps, so they are applied again from Kafka; and whatever others
commit durably after they saw an effect lies behind it in the same log, so nobody keeps what a crash takes away.
A row of the call centre that somebody holds for longer than a moment is left for later (`HELD`)."""

FORGET_PLANS: Final = "DISCARD PLANS"
"""Every statement is planned anew when it comes next. Its plan is for the tables as they were when it was made, and is
kept until they are analyzed. One for empty tables compared each batch with every pending entry there was: a backfill of
100,000 customers took 59 s instead of 21."""

CHECK_NOW: Final = "SET CONSTRAINTS ALL IMMEDIATE"
"""Deferred constraints are checked here instead of at the commit."""

COMMIT: Final = "COMMIT"

NOTHING: Final = "SELECT 1"
"""Its answer says that everything before it is done."""

# --- rules ------------------------------------------------------------------------------------------------------------

HOLD_RULES: Final = "SELECT pg_advisory_xact_lock_shared(%(key)s)"
"""Keeps the rules in force as they are until the transaction ends. RULES_IN_FORCE is another statement, and comes after
this one: a statement sees what was committed when it began, not when the lock was had."""

LOCK_RULES: Final = "SELECT pg_advisory_xact_lock(%(key)s)"
"""Waits for all who hold the rules, and holds off others."""

RULES_IN_FORCE: Final = """
SELECT (SELECT concat_ws(' ', version, fingerprint, extract(epoch FROM adopted_at))
        FROM leadstream.rules ORDER BY version DESC LIMIT 1)
"""
"""What distinguishes the rules in force from any others; NULL before setup. After a restore, another adoption may have
the version of one before."""

READ_RULES: Final = """
SELECT version, content::text, comparisons::text, (extract(epoch FROM adopted_at) * 1000000)::bigint
FROM leadstream.rules ORDER BY version
"""
"""Every version, oldest first."""

NEWEST_RULES: Final = """
SELECT version, fingerprint, content::text, comparisons::text, adopted_by, adopted_at, rejudged_at
FROM leadstream.rules ORDER BY version DESC LIMIT 1
"""
"""The version in force, by whom, since when, and whether every lead was brought to it."""

ADD_RULES: Final = """
INSERT INTO leadstream.rules (version, fingerprint, content, comparisons, adopted_by, adopted_at)
SELECT coalesce(max(version), 0) + 1, %(fingerprint)s, %(content)s, %(comparisons)s, %(by)s, clock_timestamp()
FROM leadstream.rules RETURNING version
"""
"""One more version, in force from the commit on."""

# --- lanes ------------------------------------------------------------------------------------------------------------

LANE_POINTS: Final = """
SELECT lane, version, next_seq, coalesce(extract(epoch FROM clock_timestamp() - moved_at), 0)::float8, owner, epoch,
       offsets
FROM leadstream.lanes ORDER BY lane
"""
"""Where every lane stands, and how long (s) it has been standing still; 0 where no applier was there yet."""

AWAIT_LANES: Final = "SELECT FROM leadstream.lanes WHERE lane = 0 FOR KEY SHARE"
"""Waits for whoever makes more lanes, and for no applier that moves one."""

LANE_VERSIONS: Final = "SELECT lane, version FROM leadstream.lanes"
"""How far each lane has come."""

BEGIN_STREAM: Final = """
UPDATE leadstream.lanes SET owner = %(owner)s, moved_at = now() WHERE owner IS NULL RETURNING lane
"""
"""Lanes that nobody has moved yet will be: an applier is there."""

MOVE_LANES: Final = f"""
UPDATE leadstream.lanes
SET next_seq = move.next_seq, version = move.version, offsets = move.offsets::jsonb,
    owner = move.owner, moved_at = now()
FROM {
    _batch(
        "move",
        lane="int",
        epoch="int",
        expected_seq="bigint",
        next_seq="bigint",
        version="bigint",
        offsets="text",
        owner="text",
    )
}
WHERE lanes.lane = move.lane AND lanes.epoch = move.epoch AND lanes.next_seq = move.expected_seq
RETURNING lanes.lane
"""
"""Moves lanes on by compare-and-set; a lane that is not where it was expected is not returned."""

# --- dead letters -----------------------------------------------------------------------------------------------------

ADD_DEAD_LETTERS: Final = f"""
INSERT INTO leadstream.dead_letters
    (topic, partition, message_offset, reason, detail, user_id, key, value, size, digest)
SELECT topic, partition, message_offset, reason, detail, user_id, key, value, size, digest
FROM {
    _batch(
        "letter",
        topic="text",
        partition="int",
        message_offset="bigint",
        reason="text",
        detail="text",
        user_id="bigint",
        key="bytea",
        value="bytea",
        size="bigint",
        digest="text",
    )
}
ON CONFLICT (topic, partition, message_offset, digest) DO NOTHING
RETURNING id
"""
"""Messages set aside; one that is there already stays as it is, resolved or not."""

EXPIRE_DEAD_LETTERS: Final = """
WITH gone AS (
    DELETE FROM leadstream.dead_letters WHERE id IN (
        SELECT id FROM leadstream.dead_letters WHERE set_aside_at < now() - make_interval(days => %(days)s)
        ORDER BY set_aside_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING resolved_at IS NULL AS unresolved)
SELECT count(*), count(*) FILTER (WHERE unresolved) FROM gone
"""
"""Drops the oldest dead letters of a certain age; how many, and how many of them nobody had resolved."""

DEAD_LETTERS: Final = """
SELECT id, set_aside_at, reason, detail, user_id, topic, partition, message_offset, size
FROM leadstream.dead_letters WHERE resolved_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
"""Dead letters after a number that nobody has resolved, oldest first, without their bytes."""

CHOSEN_DEAD_LETTERS: Final = """
SELECT id, set_aside_at, reason, detail, user_id, topic, partition, message_offset, size
FROM leadstream.dead_letters WHERE resolved_at IS NULL AND (%(id)s::bigint[] IS NULL OR id = ANY(%(id)s::bigint[]))
ORDER BY id FOR UPDATE
"""
"""These, or all of them where none is named, held so that nobody else resolves them at the same time."""

UNRESOLVED_DEAD_LETTERS: Final = """
SELECT reason, count(*) FROM leadstream.dead_letters WHERE resolved_at IS NULL GROUP BY reason ORDER BY 2 DESC, 1
"""
"""How many dead letters nobody has resolved, by what is wrong with them."""

DEAD_LETTER_BYTES: Final = "SELECT key, value FROM leadstream.dead_letters WHERE id = %(id)s"
"""A message as it came."""

RESOLVE_DEAD_LETTERS: Final = """
UPDATE leadstream.dead_letters SET resolved_at = now(), resolution = %(resolution)s
WHERE id = ANY(%(id)s::bigint[]) AND resolved_at IS NULL
"""
"""Notes that nothing is left to be done about these."""

# --- processes ---------------------------------------------------------------------------------------------

REPORT_PROCESS: Final = """
WITH gone AS (
    DELETE FROM leadstream.processes
    WHERE (kind, name) <> (%(kind)s, %(name)s) AND seen_at < now() - make_interval(hours => %(hours)s))
INSERT INTO leadstream.processes (kind, name, version, started_at, memory)
VALUES (%(kind)s, %(name)s, %(version)s, %(started_at)s, %(memory)s)
ON CONFLICT (kind, name) DO UPDATE
SET version = excluded.version, started_at = excluded.started_at, memory = excluded.memory, seen_at = now()
"""
"""A process reports itself, and drops those that ended long ago without reporting it."""

FORGET_PROCESS: Final = "DELETE FROM leadstream.processes WHERE kind = %(kind)s AND name = %(name)s"
"""A process ends."""

PROCESSES: Final = """
SELECT kind, name, version, started_at, memory, extract(epoch FROM now() - seen_at)::float8
FROM leadstream.processes WHERE seen_at > now() - interval '1 hour' ORDER BY kind, name
"""
"""The processes that reported themselves within an hour."""

# --- leads ------------------------------------------------------------------------------------------------------------

PENDING_LEADS: Final = f"""
SELECT leads.user_id
FROM {_batch("passed", lane="int", version="bigint")}
JOIN leadstream.leads ON leads.lane = passed.lane AND leads.judge_after <= passed.version
LIMIT %(limit)s
"""
"""Leads whose judgement waited for a version that their lane has passed."""

CLAIM_OWNERS: Final = """
SELECT id, user_id FROM leadstream.claims WHERE id = ANY(%(id)s::text[]) ORDER BY id, version
"""
"""Which leads hold these claims; of several, the last one holds the newest version."""

HELD_BEFORE: Final = f"""
SELECT entry.id FROM {_batch("entry", id="text", user_id="bigint", version="bigint")}
WHERE EXISTS (SELECT FROM leadstream.claims AS held
              WHERE held.id = entry.id AND held.user_id <> entry.user_id AND held.version < entry.version)
"""
"""Which claims another lead still holds in an older version than the one that a user gets."""

LEFT_BEHIND: Final = """
SELECT name, version, content FROM leadstream.left_behind WHERE name = ANY(%(name)s::text[])
"""
"""What claims and users have left behind."""

LOCK_LEADS: Final = """
SELECT user_id, present, enabled, signature, version, read_floor, judge_after, changed_at, stint, queue_type, rule,
       opened_at, nullif(outstanding_seen, '{}'), nullif(converted_signatures, '{}'), rules_version
FROM leadstream.leads
WHERE user_id = ANY(%(user_id)s::bigint[])
ORDER BY user_id
FOR UPDATE
"""
"""Locks leads in user order and reads them."""

CLAIMS_OF: Final = """
SELECT user_id, id, status, version FROM leadstream.claims WHERE user_id = ANY(%(user_id)s::bigint[])
"""
"""Claims of leads."""

REQUIREMENTS_OF: Final = """
SELECT user_id, id, claim_id, type, status, reason, version
FROM leadstream.requirements
WHERE user_id = ANY(%(user_id)s::bigint[])
"""
"""Requirements of leads."""

_LEAD: Final = {
    "user_id": "bigint",
    "present": "boolean",
    "enabled": "boolean",
    "signature": "text",
    "version": "bigint",
    "read_floor": "bigint",
    "judge_after": "bigint",
    "changed_at": "timestamptz",
    "stint": "int",
    "queue_type": "text",
    "rule": "text",
    "opened_at": "timestamptz",
    "outstanding_seen": "text",
    "converted_signatures": "text",
    "rules_version": "int",
}

ADD_LEADS: Final = f"""
INSERT INTO leadstream.leads (user_id, lane, present, enabled, signature, version, read_floor, judge_after, changed_at,
                              stint, queue_type, rule, opened_at, outstanding_seen, converted_signatures,
                              rules_version)
SELECT user_id, lane, present, enabled, signature, version, read_floor, judge_after, changed_at, stint, queue_type,
       rule, opened_at, outstanding_seen::text[], converted_signatures::text[], rules_version
FROM {_batch("lead", lane="int", **_LEAD)}
"""
"""Leads that nobody held; fails on `leads_pkey` where another writer created one meanwhile."""

UPDATE_LEADS: Final = f"""
UPDATE leadstream.leads
SET present = lead.present, enabled = lead.enabled, signature = lead.signature, version = lead.version,
    read_floor = lead.read_floor, judge_after = lead.judge_after, changed_at = lead.changed_at, stint = lead.stint,
    queue_type = lead.queue_type, rule = lead.rule, opened_at = lead.opened_at,
    outstanding_seen = lead.outstanding_seen::text[], converted_signatures = lead.converted_signatures::text[],
    rules_version = lead.rules_version
FROM {_batch("lead", **_LEAD)}
WHERE leads.user_id = lead.user_id
"""
"""Leads that this transaction has locked."""

PUT_CLAIMS: Final = f"""
INSERT INTO leadstream.claims (user_id, id, status, version)
SELECT * FROM {_batch("claim", user_id="bigint", id="text", status="text", version="bigint")}
ON CONFLICT (user_id, id) DO UPDATE SET status = excluded.status, version = excluded.version
"""
"""Claims as their leads have them."""

DELETE_CLAIMS: Final = f"""
DELETE FROM leadstream.claims
USING {_batch("gone", user_id="bigint", id="text")}
WHERE claims.user_id = gone.user_id AND claims.id = gone.id
"""
"""Claims that their leads have no longer."""

PUT_REQUIREMENTS: Final = f"""
INSERT INTO leadstream.requirements (user_id, id, claim_id, type, status, reason, version)
SELECT * FROM {
    _batch(
        "requirement",
        user_id="bigint",
        id="text",
        claim_id="text",
        type="text",
        status="text",
        reason="text",
        version="bigint",
    )
}
ON CONFLICT (user_id, id) DO UPDATE
SET claim_id = excluded.claim_id, type = excluded.type, status = excluded.status, reason = excluded.reason,
    version = excluded.version
"""
"""Requirements as their leads have them."""

DELETE_REQUIREMENTS: Final = f"""
DELETE FROM leadstream.requirements
USING {_batch("gone", user_id="bigint", id="text")}
WHERE requirements.user_id = gone.user_id AND requirements.id = gone.id
"""
"""Requirements that their leads have no longer."""

PUT_LEFT: Final = f"""
WITH late AS (
    SELECT entry.name, claims.user_id
    FROM {_batch("entry", name="text", claim_id="text", version="bigint")}
    JOIN leadstream.claims ON claims.id = entry.claim_id AND claims.version >= entry.version
), put AS (
    INSERT INTO leadstream.left_behind (name, version, content)
    SELECT name, version, content
    FROM {_batch("entry", name="text", version="bigint", content="text")}
    WHERE name NOT IN (SELECT name FROM late)
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, content = excluded.content
)
INSERT INTO leadstream.rechecks AS recheck (user_id, reason, asked_at, not_before)
SELECT DISTINCT user_id, %(reason)s, clock_timestamp(), now() FROM late ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
SET reason = excluded.reason, asked_at = excluded.asked_at, not_before = least(recheck.not_before, excluded.not_before)
"""
"""What claims and users have left behind; where somebody has the claim already who did not wait for it, that lead is to
be read live instead."""

DELETE_LEFT: Final = "DELETE FROM leadstream.left_behind WHERE name = ANY(%(name)s::text[])"
"""What was taken over, or is nothing any more."""

# --- stints -----------------------------------------------------------------------------------------------------------

CLOSE_STINTS: Final = f"""
UPDATE leadstream.stints
SET closed_at = closing.closed_at, closed_reason = closing.closed_reason, conversion_type = closing.conversion_type,
    signature = closing.signature, source = %(source)s, in_shadow = %(in_shadow)s
FROM {
    _batch(
        "closing",
        user_id="bigint",
        number="int",
        closed_at="timestamptz",
        closed_reason="text",
        conversion_type="text",
        signature="text",
    )
}
WHERE stints.user_id = closing.user_id AND stints.number = closing.number
"""
"""Closes stints that were open when their leads were loaded."""

ADD_STINTS: Final = f"""
INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason,
                               conversion_type, signature, source, in_shadow)
SELECT stint.*, %(source)s, %(in_shadow)s
FROM {
    _batch(
        "stint",
        user_id="bigint",
        number="int",
        queue_type="text",
        opened_at="timestamptz",
        opened_reason="text",
        closed_at="timestamptz",
        closed_reason="text",
        conversion_type="text",
        signature="text",
    )
}
"""
"""Stints opened by this transaction, some of them closed again; `in_shadow`: what they earned is not published."""

PUBLISHED: Final = f"""
UPDATE leadstream.stints SET in_shadow = false
FROM {_batch("published", user_id="bigint", number="int")}
WHERE stints.user_id = published.user_id AND stints.number = published.number
"""
"""Stints whose conversions were recorded in shadow mode, and are in the call centre's table now."""

PAID_BEFORE: Final = f"""
UPDATE leadstream.stints SET paid_before = NOT coalesce(paid_before, false)
FROM {_batch("earned", user_id="bigint", number="int", id="uuid")}
WHERE stints.user_id = earned.user_id AND stints.number = earned.number
  AND coalesce(paid_before, false) = EXISTS (SELECT FROM conversions WHERE conversions.id = earned.id)
"""
"""Stints whose conversions were not added, because they were paid at another moment: not reported again. One that is
there now, because what stood for it is gone, is reported."""

# --- conversions as events --------------------------------------------------------------------------------------------

HOLD_EVENTS: Final = "SELECT pg_advisory_xact_lock(%(key)s)"
"""One numbers at a time. A statement of its own: what follows sees what the one before it committed."""

NUMBER_SOUNDLY: Final = """
SELECT set_config('synchronous_commit', 'on', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
"""
"""Conversions of the stream are committed before they are on disk; a number that somebody saw is there with them.

PostgreSQL takes a fifth of all stints for conversions without a number, and would read every stint for a few of them.
"""

_UNNUMBERED: Final = (
    "conversion_type IS NOT NULL AND in_shadow IS FALSE AND event_number IS NULL AND paid_before IS NOT TRUE"
)
"""Whether a stint's conversion is to have a number: as the index `stints_events_waiting` has it."""

NUMBER_EVENTS: Final = f"""
WITH waiting AS MATERIALIZED (
    SELECT user_id, number, row_number() OVER (ORDER BY closed_at, user_id) AS place
    FROM leadstream.stints
    WHERE {_UNNUMBERED}
    ORDER BY closed_at, user_id
    LIMIT %(limit)s
), before AS MATERIALIZED (
    SELECT greatest(
        (extract(epoch FROM statement_timestamp()) * 1000000)::bigint,
        coalesce((SELECT event_number FROM leadstream.stints WHERE event_number IS NOT NULL
                  ORDER BY event_number DESC LIMIT 1), 0)
    ) AS number
)
UPDATE leadstream.stints SET event_number = before.number + waiting.place
FROM waiting, before
WHERE stints.user_id = waiting.user_id AND stints.number = waiting.number
"""
"""Numbers conversions that are committed and have none: behind all that were given out, and no smaller than the clock
(µs), so that a database restored from a backup gives none out again."""

EVENTS_AFTER: Final = """
SELECT event_number, user_id, number, queue_type, conversion_type, signature,
       (extract(epoch FROM opened_at) * 1000000)::bigint, (extract(epoch FROM closed_at) * 1000000)::bigint
FROM leadstream.stints WHERE event_number > %(after)s ORDER BY event_number LIMIT %(limit)s
"""
"""Numbered conversions behind one of them."""

PUBLISHED_UP_TO: Final = "SELECT event_number FROM leadstream.published_events WHERE topic = %(topic)s"
"""The number up to which everything is in a topic."""

PUBLISHED_EVENTS: Final = """
INSERT INTO leadstream.published_events (topic, event_number) VALUES (%(topic)s, %(number)s)
ON CONFLICT (topic) DO UPDATE
SET event_number = greatest(published_events.event_number, excluded.event_number), published_at = now()
"""
"""Notes that everything up to a number is in a topic."""

TAKE_TOPIC: Final = "SELECT pg_try_advisory_lock(%(kind)s::int, %(topic)s::int)"
"""One publishes to a topic at a time, as long as its session lasts."""

EVENTS_WAITING: Final = f"""
WITH numbered AS MATERIALIZED (
    SELECT event_number FROM leadstream.stints
    WHERE event_number > coalesce(
        (SELECT event_number FROM leadstream.published_events WHERE topic = %(topic)s), 0)
    ORDER BY event_number
    LIMIT %(most)s
), unnumbered AS MATERIALIZED (
    SELECT user_id, number FROM leadstream.stints
    WHERE {_UNNUMBERED}
    ORDER BY closed_at, user_id
    LIMIT %(most)s
)
SELECT least(%(most)s, (SELECT count(*) FROM numbered) + (SELECT count(*) FROM unnumbered)),
       extract(epoch FROM clock_timestamp())::float8 - (SELECT min(event_number) FROM numbered) / 1000000.0::float8,
       one.user_id, one.number,
       EXISTS (SELECT FROM leadstream.stints
               WHERE user_id = %(user_id)s::bigint AND number = %(stint)s::int AND {_UNNUMBERED})
FROM (SELECT) AS always LEFT JOIN (SELECT user_id, number FROM unnumbered LIMIT 1) AS one ON true
"""
"""How many conversions a topic has yet to get, up to so many; for how long (s) the oldest of them has waited since it
had its number, NULL where none waits that has one; one that has none; whether a certain one has none yet."""

# --- queues shown by the present -------------------------------------------------------------------------------------

SHOWN_OF: Final = """
SELECT shown.user_id, shown.queue_type, shown.until_version, shown.until_version <= lane.version
FROM leadstream.shown JOIN leadstream.lanes AS lane ON lane.lane = shown.lane
WHERE shown.user_id = ANY(%(user_id)s::bigint[])
"""
"""Which of these leads are shown by the present, when that was read, and whether their lane has passed it."""

SHOWN_PASSED: Final = """
SELECT passed.user_id
FROM (
    SELECT shown.user_id
    FROM leadstream.lanes AS lane
    CROSS JOIN LATERAL (
        SELECT user_id FROM leadstream.shown
        WHERE shown.lane = lane.lane AND shown.until_version BETWEEN 0 AND lane.version AND shown.user_id > %(after)s
        OFFSET 0
    ) AS shown
    WHERE lane.lane = ANY(%(lane)s::int[])
    ORDER BY shown.user_id
    OFFSET 0
) AS passed
CROSS JOIN LATERAL (SELECT stint, judge_after FROM leadstream.leads WHERE user_id = passed.user_id OFFSET 0) AS lead
WHERE lead.stint > 0 AND lead.judge_after IS DISTINCT FROM 9223372036854775807
ORDER BY passed.user_id
LIMIT %(limit)s
"""
"""Leads behind one, whose lane has passed what was read: history is shown from here on.

OFFSET 0 keeps the planner from reading all leads for a table that is nearly always empty, 5 ms a batch at 30,000 leads,
and from walking all that are shown in the order of customers for the few whose lane has passed them. No version is
below 0: of a range without known bounds the planner expects one row in 200, of a half-open one every third, and then
reads the whole table (clauselist_selectivity in PostgreSQL's clausesel.c).
"""

SHOW: Final = f"""
INSERT INTO leadstream.shown AS held (user_id, lane, queue_type, until_version, score)
SELECT present.user_id, present.lane, present.queue_type, present.until_version, coalesce(score.current_score, 0)
FROM {_batch("present", user_id="bigint", lane="int", queue_type="text", until_version="bigint")}
LEFT JOIN user_call_scores AS score ON score.user_id = present.user_id
ON CONFLICT (user_id) DO UPDATE
SET lane = excluded.lane, queue_type = excluded.queue_type,
    shown_at = CASE WHEN held.queue_type = excluded.queue_type THEN held.shown_at ELSE excluded.shown_at END,
    until_version = greatest(held.until_version, excluded.until_version),
    score = coalesce(held.score, excluded.score)
"""
"""Queues by a live read, and since when; the score is remembered as it was when the first of them was shown.

It is 0 where there was none: what agents bring it to from here on is earned in the queue that they see.
"""

RESTART: Final = f"""
UPDATE leadstream.shown SET score = 0 FROM {_batch("entered", user_id="bigint")} WHERE shown.user_id = entered.user_id
"""
"""Leads shown by the present whose history has begun their score again: what it earns next is earned from 0."""

HIDE: Final = f"""
DELETE FROM leadstream.shown USING {_batch("passed", user_id="bigint")} WHERE shown.user_id = passed.user_id
"""
"""Leads of which history is shown again."""

OWE: Final = f"""
INSERT INTO leadstream.shown AS held (user_id, lane, queue_type, until_version, score)
SELECT user_id, lane, queue_type, 0, CASE WHEN restarted THEN 0 END
FROM {_batch("owed", user_id="bigint", lane="int", queue_type="text", restarted="boolean")}
ON CONFLICT (user_id) DO UPDATE
SET score = CASE WHEN excluded.score IS NOT NULL OR held.until_version > 0 THEN excluded.score ELSE held.score END,
    queue_type = excluded.queue_type, until_version = 0
"""
"""Leads whose rows at the call centre are held by somebody: they are seen there as history has it when that is over.

Until then the score there is the one to copy, or 0 where history has begun it again.
"""

FIRST_SEEN: Final = """
SELECT user_id, extract(epoch FROM opened_at)::float8 FROM leadstream.stints
WHERE number = 1 AND source = 'stream' AND opened_at >= now() - interval '1 day' ORDER BY opened_at DESC LIMIT 20
"""
"""Newest customers that the stream brought, and when (s) their row was committed."""

# --- rechecks ---------------------------------------------------------------------------------------------------------

QUEUE_RECHECKS: Final = f"""
INSERT INTO leadstream.rechecks AS recheck (user_id, reason, asked_at, not_before)
SELECT user_id, reason, clock_timestamp(), now() FROM {_batch("asked", user_id="bigint", reason="text")}
ON CONFLICT (user_id) DO UPDATE
SET reason = excluded.reason, asked_at = excluded.asked_at, not_before = least(recheck.not_before, excluded.not_before)
"""
"""Asks for leads to be read live; one row a lead, however often it is asked for."""

QUEUE_LANE_RECHECKS: Final = """
WITH asked AS (
    INSERT INTO leadstream.rechecks AS recheck (user_id, reason, asked_at, not_before)
    SELECT user_id, %(reason)s, clock_timestamp(), now()
    FROM leadstream.leads
    WHERE lane = ANY(%(lane)s::int[])
    ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE
    SET reason = excluded.reason, asked_at = excluded.asked_at,
        not_before = least(recheck.not_before, excluded.not_before)
    RETURNING 1)
SELECT count(*) FROM asked
"""
"""Asks for every lead of some lanes to be read live; says how many they are."""

DEFER_JUDGEMENT: Final = """
WITH held AS (
    SELECT user_id, floor, at
    FROM leadstream.leads
    JOIN unnest(%(lane)s::int[], %(above)s::bigint[], %(floor)s::bigint[], %(at)s::timestamptz[])
        AS missed (lane, above, floor, at) USING (lane)
    WHERE judge_after > missed.above OR lane = ANY(%(everybody)s::int[])
    ORDER BY user_id FOR UPDATE OF leads)
UPDATE leadstream.leads AS lead
SET judge_after = %(never)s, read_floor = greatest(lead.read_floor, held.floor),
    changed_at = greatest(lead.changed_at, held.at)
FROM held WHERE lead.user_id = held.user_id
"""
"""Has leads of some lanes read live before they are judged again: those that wait for later versions, or everybody.

The read has to hold what was missed, and what that led to is dated by it."""

DUE_RECHECKS: Final = """
SELECT user_id, reason, attempts, asked_at
FROM leadstream.rechecks
WHERE not_before <= now()
ORDER BY not_before, user_id
LIMIT %(limit)s
"""
"""Rechecks whose time has come, longest due first."""

DONE_RECHECKS: Final = f"""
DELETE FROM leadstream.rechecks
USING {_batch("done", user_id="bigint", asked_at="timestamptz")}
WHERE rechecks.user_id = done.user_id AND rechecks.asked_at = done.asked_at
"""
"""Rechecks that are done, unless they were asked for again meanwhile."""

POSTPONE_RECHECKS: Final = """
UPDATE leadstream.rechecks
SET attempts = attempts + 1, last_error = %(error)s,
    not_before = now() + make_interval(secs => least(%(seconds)s * 2 ^ least(attempts * %(doubled)s::int, 10), 3600))
WHERE user_id = ANY(%(user_id)s::bigint[])
"""
"""Rechecks that failed and are tried again later; with `doubled`, each time after twice as long, an hour at most."""

# --- the call centre's tables -----------------------------------------------------------------------------------------

_NOW: Final = "now() AT TIME ZONE 'UTC'"

PLAN_FREELY: Final = "SET LOCAL enable_hashjoin = on"
"""For the call centre's tables, of whose indexes we know little."""

SAID_NEVER: Final = (
    "(lower(btrim(score.last_outcome)) = ANY(%(never)s::text[])"
    " OR btrim(score.last_outcome) = ANY(%(never)s::text[])) IS TRUE"
)
"""Whether a customer must not be called, whatever queue they belong in; `score` is their row."""

LOCK_SCORES: Final = """
SELECT count(*)
FROM (SELECT FROM user_call_scores WHERE user_id = ANY(%(user_id)s::bigint[])
      ORDER BY user_id FOR NO KEY UPDATE) AS held
"""
"""Holds scores, in user order; conversions are about to copy some of them."""

HELD: Final = """
WITH free AS MATERIALIZED (
    SELECT user_id FROM user_call_scores WHERE user_id = ANY(%(user_id)s::bigint[])
    ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED),
free_entries AS MATERIALIZED (
    SELECT id FROM call_queue WHERE user_id = ANY(%(user_id)s::bigint[]) AND status = 'pending'
    ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED)
SELECT user_id FROM user_call_scores WHERE user_id = ANY(%(user_id)s::bigint[]) AND user_id NOT IN (TABLE free)
UNION
SELECT user_id FROM call_queue
WHERE user_id = ANY(%(user_id)s::bigint[]) AND status = 'pending' AND id NOT IN (TABLE free_entries)
"""
"""Leads of whose rows at the call centre another session holds one at the moment; the others are ours from here on."""

HELD_OR_UNSEEN: Final = f"""{HELD}
UNION
SELECT user_id FROM unnest(%(user_id)s::bigint[]) AS wanted (user_id)
WHERE NOT EXISTS (SELECT FROM user_call_scores AS score WHERE score.user_id = wanted.user_id)
   OR NOT EXISTS (SELECT FROM call_queue AS entry WHERE entry.user_id = wanted.user_id AND entry.status = 'pending')
"""
"""The same, and leads that lack a row there which another session may have inserted and not committed: nobody can see
that, and whoever inserts the same one waits."""


PAID_SINCE: Final = """
    paid.user_id = stint.user_id AND paid.conversion_type = 'requirements_completed'
    AND paid.converted_at > (stint.opened_at AT TIME ZONE 'UTC') + interval '1 second'
"""
"""Whether requirements were paid after a stint was opened; the call centre's column may round the time."""


def add_conversions(stamps: Sequence[str], key: Sequence[str]) -> str:
    """Conversions with score, attempts and last call as they were; one that is there already stays as it is.

    The score of a lead that was shown by the present is the one remembered, where it converted before that was read;
    and where it converted after that, without another beginning in between, the one that agents went on with. Where
    only a read found the conversion (no `version`), it is the one remembered.

    What is written `late` holds nothing of the score that is of a later time. With `once`, what was paid already, at
    another moment, is not paid again: history was lost, and a read or other rules made the moment. So it is of a
    signature, at whatever moment it was paid, and of requirements that were each paid since the stint was opened, which
    no stint is that this schema has seen to its end.

    `stamps` are the columns for the time of writing that the table has, `key` is its unique index: without a target,
    ON CONFLICT would hide what any other constraint of the table has against a row.
    """
    names, times = ("".join(f", {part}" for part in parts) for parts in (stamps, [_NOW] * len(stamps)))
    return f"""
INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, conversion_reason, final_score,
                         total_call_attempts, last_call_at, converted_at, documents_received, signature_obtained,
                         requirements_met{names})
SELECT earned.id, earned.user_id, earned.previous, earned.type, earned.reason,
       CASE WHEN shown.until_version >= greatest(earned.reset_version, 1) AND shown.until_version < earned.version
                THEN coalesce(score.current_score, 0)
            WHEN earned.reset_version IS NOT NULL THEN 0
            WHEN %(late)s AND score.last_reset_date > earned.at AT TIME ZONE 'UTC' THEN NULL
            ELSE coalesce(shown.score, score.current_score, 0) END,
       coalesce(score.total_attempts, 0),
       CASE WHEN NOT %(late)s OR score.last_call_at <= earned.at AT TIME ZONE 'UTC' THEN score.last_call_at END,
       earned.at AT TIME ZONE 'UTC', earned.documents::json,
       earned.signed, earned.requirements::json{times}
FROM {
        _batch(
            "earned",
            id="uuid",
            user_id="bigint",
            stint="int",
            previous="text",
            type="text",
            reason="text",
            version="bigint",
            reset_version="bigint",
            at="timestamptz",
            documents="text",
            signed="boolean",
            requirements="text",
        )
    }
LEFT JOIN user_call_scores AS score ON score.user_id = earned.user_id
LEFT JOIN leadstream.shown ON shown.user_id = earned.user_id
WHERE NOT (%(once)s AND earned.signed AND EXISTS (
    SELECT FROM conversions AS paid WHERE paid.user_id = earned.user_id AND paid.conversion_type = earned.type
      AND paid.documents_received::jsonb = earned.documents::jsonb))
  AND NOT (%(once)s AND earned.requirements IS NOT NULL AND NOT EXISTS (
    SELECT FROM jsonb_array_elements(earned.requirements::jsonb) AS settled (id)
    WHERE NOT EXISTS (
        SELECT FROM conversions AS paid, leadstream.stints AS stint
        WHERE {PAID_SINCE} AND stint.user_id = earned.user_id AND stint.number = earned.stint
          AND paid.requirements_met::jsonb @> settled.id)))
ON CONFLICT ({", ".join(key)}) DO NOTHING
RETURNING id
"""


DIFFERING_CONVERSIONS: Final = f"""
SELECT earned.id, there.id IS NOT NULL, there.user_id = earned.user_id AND there.conversion_type = earned.type
       AND there.converted_at BETWEEN (earned.at AT TIME ZONE 'UTC') - interval '1 second'
                                  AND (earned.at AT TIME ZONE 'UTC') + interval '1 second'
FROM {_batch("earned", id="uuid", user_id="bigint", type="text", at="timestamptz")}
LEFT JOIN conversions AS there ON there.id = earned.id
"""
"""Of conversions by their ids: whether there is one, and whether it is that one; columns round the time."""

_PAID: Final = """
WITH paid AS MATERIALIZED (
    SELECT user_id, conversion_type, converted_at, documents_received FROM conversions
    WHERE user_id = ANY(%(user_id)s::bigint[])
)
"""
"""What customers were paid, by one look at the table for all of them, which need have no index by customer.

Without statistics PostgreSQL would look for each customer, and through all the others each time: 0.9 s for 5,000.
"""

PAID_ALREADY: Final = f"""
{_PAID}
SELECT count(*) > 0 FROM {_batch("earned", user_id="bigint", opened="timestamptz", signature="text")}
JOIN paid ON paid.user_id = earned.user_id
WHERE paid.converted_at > (earned.opened AT TIME ZONE 'UTC') + interval '1 second'
   OR paid.conversion_type = 'signature_obtained'
      AND paid.documents_received::jsonb = jsonb_build_array(earned.signature)
"""
"""Whether anything was paid since these stints were opened, or one of their signatures at whatever moment: then a
history is replayed. Counted, because for the first one that is found PostgreSQL would hold each against each."""

PAID_SIGNATURES: Final = f"""
{_PAID}
SELECT DISTINCT paid.user_id, earned.signature
FROM {_batch("earned", user_id="bigint", signature="text")}
JOIN paid ON paid.user_id = earned.user_id AND paid.conversion_type = 'signature_obtained'
     AND paid.documents_received::jsonb = jsonb_build_array(earned.signature)
"""
"""Which of these signatures were paid, at whatever moment."""


PUT_SCORES: Final = f"""
INSERT INTO user_call_scores AS score (id, user_id, current_score, is_active, current_queue_type, last_reset_date,
                                       created_at, updated_at)
SELECT gen_random_uuid(), user_id, 0, queued, label, reset_at AT TIME ZONE 'UTC',
       now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM {_batch("change", user_id="bigint", queued="boolean", label="text", reset_at="timestamptz")}
ON CONFLICT (user_id) DO UPDATE
SET current_queue_type = CASE WHEN {SAID_NEVER} THEN %(none)s ELSE excluded.current_queue_type END,
    is_active = CASE WHEN NOT excluded.is_active OR {SAID_NEVER} THEN false
                     ELSE score.is_active OR score.current_queue_type IS DISTINCT FROM excluded.current_queue_type END,
    current_score = CASE WHEN excluded.last_reset_date > coalesce(score.last_reset_date, '-infinity')
                              AND NOT {SAID_NEVER} THEN 0 ELSE score.current_score END,
    last_reset_date = CASE WHEN {SAID_NEVER} THEN score.last_reset_date
                           ELSE greatest(score.last_reset_date, excluded.last_reset_date) END,
    updated_at = excluded.updated_at
"""
"""The queue a lead is in; the score starts again at 0 where `reset_at` is given and later than its last start: so
a history that is replayed into a schema of ours that was restored resets nothing twice.

`is_active` goes up only where the row's queue changes: where it does not, the call centre has its reasons.
"""

OPENED: Final = (
    "CASE WHEN {id}::text ~ '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-8[0-9a-f]{{3}}-'"
    " THEN ('x' || substr({id}::text, 1, 8) || substr({id}::text, 10, 4) || substr({id}::text, 16, 3))"
    "::bit(60)::bigint END"
)
"""When the stay in a queue began (µs) that an entry of ours is for; NULL for entries that do not say so."""


def entry_id(opened: str) -> str:
    """A new id that says when a stay began (an expression in µs): a UUID of version 8 (RFC 9562), an application's own.

    So an entry is known again where our schema is older than the call centre's tables, and history is replayed.
    """
    moment = f"lpad(to_hex(greatest({opened}, 0)), 15, '0')"
    return (
        f"(overlay({moment} PLACING '8' FROM 13 FOR 0) || right(replace(gen_random_uuid()::text, '-', ''), 16))::uuid"
    )


CLOSE_ENTRIES: Final = f"""
UPDATE call_queue AS entry
SET status = 'closed', updated_at = now() AT TIME ZONE 'UTC'
FROM (
    SELECT pending.id
    FROM {_batch("gone", user_id="bigint", label="text", is_left="boolean", until="bigint")}
    JOIN call_queue AS pending ON pending.user_id = gone.user_id AND pending.queue_type = gone.label
    JOIN user_call_scores AS score ON score.user_id = gone.user_id
    WHERE pending.user_id = ANY(%(user_id)s::bigint[]) AND pending.status = 'pending'
      AND (gone.is_left AND coalesce({OPENED.format(id="pending.id")} <= gone.until, true) OR {SAID_NEVER})
    ORDER BY pending.user_id
    FOR NO KEY UPDATE OF pending
) AS held
WHERE entry.id = held.id
"""
"""Pending entries of queues that were left, and of those who must not be called; held in user order. An entry for a
stay that began later is left alone: it is a past that is replayed."""

ADD_ENTRIES: Final = f"""
INSERT INTO call_queue (id, user_id, queue_type, status, queue_reason, created_at, updated_at)
SELECT {entry_id("opened")}, user_id, label, 'pending', reason,
       now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM {_batch("entered", user_id="bigint", label="text", reason="text", opened="bigint")}
WHERE NOT EXISTS (
    SELECT FROM call_queue AS entry
    WHERE entry.user_id = entered.user_id AND (
        entry.queue_type = entered.label AND entry.status = 'pending'
        OR {OPENED.format(id="entry.id")} > entered.opened
        OR entry.queue_type = entered.label AND {OPENED.format(id="entry.id")} = entered.opened))
  AND NOT EXISTS (SELECT FROM user_call_scores AS score WHERE score.user_id = entered.user_id AND {SAID_NEVER})
"""
"""One pending entry for the queue entered, unless there is one, or the customer must not be called; none for a stay
that has had its entry, or one before a stay that has: it is a past that is replayed."""

RECORD_AUDIT: Final = """
INSERT INTO leadstream.runs
    (name, started_at, window_from, window_to, finished_at, outcome, counts, queries, milliseconds, error, started_by)
VALUES ('audit', %s, %s, %s, now(), %s, %s, 0, %s, %s, 'command line')
"""
"""An audit that is over."""

FORGET_AUDITS: Final = """
DELETE FROM leadstream.runs WHERE name = 'audit' AND started_at < now() - interval '90 days'
"""
"""Audits that nobody needs any more."""
