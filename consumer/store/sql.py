"""Every SQL statement of the store, named, with a line that says what it does.

Columns of a batch arrive as arrays (`consumer.store.arrays`) and are unnested: one statement, one round trip, any
number of rows. Statements that touch several leads reach them in user order.
"""

from typing import Final

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

# --- lanes ------------------------------------------------------------------------------------------------------------

READ_LANES: Final = """
SELECT lane, epoch, next_seq, version, offsets FROM leadstream.lanes WHERE lane = ANY(%(lanes)s::int[])
"""
"""Where these lanes stand."""

MOVE_LANES: Final = """
UPDATE leadstream.lanes AS lanes
SET epoch = move.new_epoch, next_seq = move.next_seq, version = move.version, offsets = move.offsets::jsonb,
    owner = move.owner, moved_at = now()
FROM unnest(%(lanes)s::int[], %(epochs)s::int[], %(expected)s::bigint[], %(new_epochs)s::int[],
            %(next_seqs)s::bigint[], %(versions)s::bigint[], %(offsets)s::text[], %(owners)s::text[])
     AS move(lane, epoch, expected, new_epoch, next_seq, version, offsets, owner)
WHERE lanes.lane = move.lane AND lanes.epoch = move.epoch AND lanes.next_seq = move.expected
RETURNING lanes.lane
"""
"""Moves lanes on by compare-and-set; a lane that is not where it was expected is not returned."""

# --- leads ------------------------------------------------------------------------------------------------------------

PENDING_LEADS: Final = """
SELECT leads.user_id
FROM unnest(%(lanes)s::int[], %(versions)s::bigint[]) AS passed(lane, version)
JOIN leadstream.leads ON leads.lane = passed.lane AND leads.judge_after <= passed.version
LIMIT %(limit)s
"""
"""Leads whose judgement waited for a version that their lane has passed."""

CLAIM_OWNERS: Final = """
SELECT id, user_id FROM leadstream.claims WHERE id = ANY(%(claims)s::bigint[]) ORDER BY id, version
"""
"""Which leads hold these claims; of several, the last one holds the newest version."""

LOCK_LEADS: Final = """
SELECT user_id, present, enabled, signature, version, read_floor, judge_after, changed_at, stint, queue_type, rule,
       opened_at, nullif(outstanding_seen, '{}'), nullif(converted_signatures, '{}')
FROM leadstream.leads
WHERE user_id = ANY(%(users)s::bigint[])
ORDER BY user_id
FOR UPDATE
"""
"""Locks leads in user order and reads them."""

CLAIMS_OF: Final = """
SELECT user_id, id, status, version FROM leadstream.claims WHERE user_id = ANY(%(users)s::bigint[])
"""
"""Claims of leads that this transaction has locked."""

REQUIREMENTS_OF: Final = """
SELECT user_id, id, claim_id, type, status, reason, version
FROM leadstream.requirements
WHERE user_id = ANY(%(users)s::bigint[])
"""
"""Requirements of leads that this transaction has locked."""

_LEAD_ROWS: Final = """
unnest(%(users)s::bigint[], %(lanes)s::int[], %(present)s::boolean[], %(enabled)s::boolean[], %(signatures)s::text[],
       %(versions)s::bigint[], %(read_floors)s::bigint[], %(judge_after)s::bigint[], %(changed_at)s::timestamptz[],
       %(stints)s::int[], %(queue_types)s::text[], %(rules)s::text[], %(opened_at)s::timestamptz[],
       %(outstanding_seen)s::text[], %(converted_signatures)s::text[])
    AS lead(user_id, lane, present, enabled, signature, version, read_floor, judge_after, changed_at, stint, queue_type,
            rule, opened_at, outstanding_seen, converted_signatures)
"""

ADD_LEADS: Final = f"""
INSERT INTO leadstream.leads (user_id, lane, present, enabled, signature, version, read_floor, judge_after, changed_at,
                              stint, queue_type, rule, opened_at, outstanding_seen, converted_signatures)
SELECT user_id, lane, present, enabled, signature, version, read_floor, judge_after, changed_at, stint, queue_type,
       rule, opened_at, outstanding_seen::bigint[], converted_signatures::text[]
FROM {_LEAD_ROWS}
ORDER BY user_id
"""  # noqa: S608
"""Leads that nobody held; fails on `leads_pkey` where another writer created one meanwhile."""

UPDATE_LEADS: Final = f"""
UPDATE leadstream.leads
SET present = lead.present, enabled = lead.enabled, signature = lead.signature, version = lead.version,
    read_floor = lead.read_floor, judge_after = lead.judge_after, changed_at = lead.changed_at, stint = lead.stint,
    queue_type = lead.queue_type, rule = lead.rule, opened_at = lead.opened_at,
    outstanding_seen = lead.outstanding_seen::bigint[], converted_signatures = lead.converted_signatures::text[]
FROM {_LEAD_ROWS}
WHERE leads.user_id = lead.user_id
"""  # noqa: S608
"""Leads that this transaction has locked."""

PUT_CLAIMS: Final = """
INSERT INTO leadstream.claims (user_id, id, status, version)
SELECT * FROM unnest(%(users)s::bigint[], %(ids)s::bigint[], %(statuses)s::text[], %(versions)s::bigint[])
ON CONFLICT (user_id, id) DO UPDATE SET status = excluded.status, version = excluded.version
"""
"""Claims as their leads have them."""

DELETE_CLAIMS: Final = """
DELETE FROM leadstream.claims
USING unnest(%(users)s::bigint[], %(ids)s::bigint[]) AS gone(user_id, id)
WHERE claims.user_id = gone.user_id AND claims.id = gone.id
"""
"""Claims that their leads have no longer."""

PUT_REQUIREMENTS: Final = """
INSERT INTO leadstream.requirements (user_id, id, claim_id, type, status, reason, version)
SELECT * FROM unnest(%(users)s::bigint[], %(ids)s::bigint[], %(claims)s::bigint[], %(types)s::text[],
                     %(statuses)s::text[], %(reasons)s::text[], %(versions)s::bigint[])
ON CONFLICT (user_id, id) DO UPDATE
SET claim_id = excluded.claim_id, type = excluded.type, status = excluded.status, reason = excluded.reason,
    version = excluded.version
"""
"""Requirements as their leads have them."""

DELETE_REQUIREMENTS: Final = """
DELETE FROM leadstream.requirements
USING unnest(%(users)s::bigint[], %(ids)s::bigint[]) AS gone(user_id, id)
WHERE requirements.user_id = gone.user_id AND requirements.id = gone.id
"""
"""Requirements that their leads have no longer."""

# --- stints -----------------------------------------------------------------------------------------------------------

CLOSE_STINTS: Final = """
UPDATE leadstream.stints
SET closed_at = closing.closed_at, closed_reason = closing.reason, conversion_type = closing.conversion_type,
    signature = closing.signature, source = %(source)s
FROM unnest(%(users)s::bigint[], %(numbers)s::int[], %(closed_at)s::timestamptz[], %(closed_reasons)s::text[],
            %(conversion_types)s::text[], %(signatures)s::text[])
     AS closing(user_id, number, closed_at, reason, conversion_type, signature)
WHERE stints.user_id = closing.user_id AND stints.number = closing.number
"""
"""Closes stints that were open when their leads were loaded."""

ADD_STINTS: Final = """
INSERT INTO leadstream.stints (user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason,
                               conversion_type, signature, source)
SELECT user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason, conversion_type, signature,
       %(source)s
FROM unnest(%(users)s::bigint[], %(numbers)s::int[], %(queue_types)s::text[], %(opened_at)s::timestamptz[],
            %(opened_reasons)s::text[], %(closed_at)s::timestamptz[], %(closed_reasons)s::text[],
            %(conversion_types)s::text[], %(signatures)s::text[])
     AS stint(user_id, number, queue_type, opened_at, opened_reason, closed_at, closed_reason, conversion_type,
              signature)
"""
"""Stints opened by this transaction, some of them closed again."""

# --- rechecks ---------------------------------------------------------------------------------------------------------

QUEUE_RECHECKS: Final = """
INSERT INTO leadstream.rechecks AS recheck (user_id, reason, asked_at, not_before)
SELECT user_id, reason, clock_timestamp(), now()
FROM unnest(%(users)s::bigint[], %(reasons)s::text[]) AS asked(user_id, reason)
ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
SET reason = excluded.reason, asked_at = excluded.asked_at, not_before = least(recheck.not_before, excluded.not_before)
"""
"""Asks for leads to be read live; one row a lead, however often it is asked for."""

QUEUE_LANE_RECHECKS: Final = """
WITH asked AS (
    INSERT INTO leadstream.rechecks AS recheck (user_id, reason, asked_at, not_before)
    SELECT user_id, %(reason)s, clock_timestamp(), now()
    FROM leadstream.leads
    WHERE lane = ANY(%(lanes)s::int[])
    ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE
    SET reason = excluded.reason, asked_at = excluded.asked_at,
        not_before = least(recheck.not_before, excluded.not_before)
    RETURNING 1)
SELECT count(*) FROM asked
"""
"""Asks for every lead of some lanes to be read live; says how many they are."""

DUE_RECHECKS: Final = """
SELECT user_id, reason, attempts, asked_at
FROM leadstream.rechecks
WHERE not_before <= now()
ORDER BY not_before, user_id
LIMIT %(limit)s
"""
"""Rechecks whose time has come, longest due first."""

DONE_RECHECKS: Final = """
DELETE FROM leadstream.rechecks
USING unnest(%(users)s::bigint[], %(asked_at)s::timestamptz[]) AS done(user_id, asked_at)
WHERE rechecks.user_id = done.user_id AND rechecks.asked_at = done.asked_at
"""
"""Rechecks that are done, unless they were asked for again meanwhile."""

POSTPONE_RECHECKS: Final = """
UPDATE leadstream.rechecks
SET attempts = attempts + 1, last_error = %(error)s, not_before = now() + make_interval(secs => %(seconds)s)
WHERE user_id = ANY(%(users)s::bigint[])
"""
"""Rechecks that failed and are tried again later."""

# --- the call centre's tables -----------------------------------------------------------------------------------------

PLAN_FREELY: Final = "SET LOCAL enable_hashjoin = on"
"""For the call centre's tables, of whose indexes we know little."""

LOCK_SCORES: Final = """
SELECT user_id FROM user_call_scores WHERE user_id = ANY(%(users)s::bigint[]) ORDER BY user_id FOR NO KEY UPDATE
"""
"""Holds the scores that conversions are about to copy."""

ADD_CONVERSIONS: Final = """
INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, conversion_reason, final_score,
                         total_call_attempts, last_call_at, converted_at, documents_received, signature_obtained,
                         requirements_met)
SELECT won.id, won.user_id, won.previous, won.type, won.reason,
       CASE WHEN won.after_reset THEN 0 ELSE coalesce(score.current_score, 0) END, coalesce(score.total_attempts, 0),
       score.last_call_at, won.at AT TIME ZONE 'UTC', won.documents::json, won.signed, won.requirements::json
FROM unnest(%(ids)s::uuid[], %(users)s::bigint[], %(previous)s::text[], %(types)s::text[], %(reasons)s::text[],
            %(after_reset)s::boolean[], %(converted_at)s::timestamptz[], %(documents)s::text[], %(signed)s::boolean[],
            %(requirements)s::text[])
     AS won(id, user_id, previous, type, reason, after_reset, at, documents, signed, requirements)
LEFT JOIN user_call_scores AS score ON score.user_id = won.user_id
ON CONFLICT (id) DO NOTHING
"""
"""Conversions with score, attempts and last call as they were; one that is there already stays as it is."""

PUT_SCORES: Final = """
INSERT INTO user_call_scores AS score (id, user_id, current_score, is_active, current_queue_type, last_reset_date,
                                       created_at, updated_at)
SELECT gen_random_uuid(), user_id, 0, queue_type <> 'none', queue_type, reset_at AT TIME ZONE 'UTC',
       now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM unnest(%(users)s::bigint[], %(queue_types)s::text[], %(reset_at)s::timestamptz[])
     AS change(user_id, queue_type, reset_at)
ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
SET current_queue_type = excluded.current_queue_type, is_active = excluded.is_active,
    current_score = CASE WHEN excluded.last_reset_date IS NULL THEN score.current_score ELSE 0 END,
    last_reset_date = coalesce(excluded.last_reset_date, score.last_reset_date), updated_at = excluded.updated_at
"""
"""The queue a lead is in; the score starts again at 0 where `reset_at` is given."""

CLOSE_ENTRIES: Final = """
UPDATE call_queue AS entry
SET status = 'closed', updated_at = now() AT TIME ZONE 'UTC'
FROM unnest(%(users)s::bigint[], %(queue_types)s::text[]) AS gone(user_id, queue_type)
WHERE entry.user_id = gone.user_id AND entry.queue_type = gone.queue_type AND entry.status = 'pending'
"""
"""Pending entries of queues that were left."""

ADD_ENTRIES: Final = """
INSERT INTO call_queue (id, user_id, queue_type, status, queue_reason, created_at, updated_at)
SELECT gen_random_uuid(), user_id, queue_type, 'pending', reason, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM unnest(%(users)s::bigint[], %(queue_types)s::text[], %(reasons)s::text[]) AS entered(user_id, queue_type, reason)
WHERE NOT EXISTS (
    SELECT FROM call_queue AS entry
    WHERE entry.user_id = entered.user_id AND entry.queue_type = entered.queue_type AND entry.status = 'pending')
ORDER BY user_id
"""
"""One pending entry for the queue entered, unless there is one."""
