"""Our tables in the schema `leadstream`; the call centre's three are in `consumer.store.call_centre.needs`.

All times of ours are `timestamptz`, theirs are `timestamp` and hold UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMA = "leadstream"
KEY = Text(collation="C")
"""Ids of claims and requirements: whatever the company has, compared byte by byte."""

ABOUT = {
    "leads": "Every customer as the rules see them, and the queue that they are in.",
    "claims": "Claims of customers, as far as the rules look at them.",
    "requirements": "What customers are asked for, as far as the rules look at it.",
    "left_behind": "What stayed behind where a claim or a user went elsewhere, until its new place asks for it.",
    "stints": "The audit trail: each stay of a customer in a queue, with the reasons for its beginning and end, and the"
    " one conversion that it may have earned.",
    "lanes": "How far each lane is applied: the next number, its version, and the offsets in Kafka.",
    "rechecks": "Customers who are to be read live.",
    "shown": "Customers whose queue the call centre sees by the present, while the stream has yet to bring how they"
    " came there.",
    "published_events": "Up to which number of a conversion each topic holds everything.",
    "dead_letters": "Messages that could not be applied, as they came; a topic that was created anew gives its offsets"
    " out again, so the digest of key and value tells them apart.",
    "runs": "Each run of a sweep, verify, backfill or aging: when, how far, what it found, and who started it.",
    "rules": "The rules of the business, every version that was in force.",
    "kept_conversions": "Conversions of ours that no stint earned, and that stay: `reconciler verify --repair` named"
    " them once.",
    "lags": "How far the slowest lane was behind MySQL at its worst, by quarter of an hour, for eight days; a quarter"
    " in which nobody measured has no row.",
    "processes": "Appliers and reconcilers, as they tell of themselves every 15 s; the reader, which needs no"
    " PostgreSQL, does so in Kafka, beside its checkpoints.",
}
"""What each table is for."""

metadata = MetaData(schema=SCHEMA)

leads = Table(
    "leads",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lane", SmallInteger, nullable=False),
    Column("present", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("signature", Text),
    Column("version", BigInteger, nullable=False),
    Column("read_floor", BigInteger, nullable=False),
    Column("judge_after", BigInteger),
    Column("changed_at", DateTime(timezone=True)),
    Column("stint", Integer, nullable=False),
    Column("queue_type", Text),
    Column("rule", Text),
    Column("opened_at", DateTime(timezone=True)),
    Column("outstanding_seen", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("converted_signatures", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("rules_version", Integer, nullable=False, server_default=text("1")),
    Index("leads_to_judge", "lane", "judge_after", postgresql_where=text("judge_after IS NOT NULL")),
    postgresql_with={"fillfactor": 80},
)

claims = Table(
    "claims",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", KEY, primary_key=True),
    Column("status", Text),
    Column("version", BigInteger, nullable=False),
    Index("claims_id", "id"),
    postgresql_with={"fillfactor": 80},
)

requirements = Table(
    "requirements",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", KEY, primary_key=True),
    Column("claim_id", KEY),
    Column("type", Text),
    Column("status", Text),
    Column("reason", Text),
    Column("version", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 80},
)

left_behind = Table(
    "left_behind",
    metadata,
    Column("name", KEY, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
)

stints = Table(
    "stints",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("queue_type", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("opened_reason", Text, nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("closed_reason", Text),
    Column("conversion_type", Text),
    Column("signature", Text),
    Column("source", Text, nullable=False, server_default=text("'stream'")),
    Column("in_shadow", Boolean),
    Column("event_number", BigInteger),
    Column("paid_before", Boolean),
    Index("stints_open", "user_id", unique=True, postgresql_where=text("closed_at IS NULL")),
    Index(
        "stints_one_conversion_per_signature",
        "user_id",
        "signature",
        unique=True,
        postgresql_where=text("conversion_type = 'signature_obtained'"),
    ),
    Index("stints_conversions", "closed_at", postgresql_where=text("conversion_type IS NOT NULL")),
    Index("stints_events", "event_number", unique=True, postgresql_where=text("event_number IS NOT NULL")),
    Index(
        "stints_events_waiting",
        "closed_at",
        "user_id",
        postgresql_where=text(
            "conversion_type IS NOT NULL AND in_shadow IS FALSE AND event_number IS NULL AND paid_before IS NOT TRUE"
        ),
    ),
    Index("stints_first_seen", "opened_at", postgresql_where=text("number = 1 AND source = 'stream'")),
    postgresql_with={"fillfactor": 80},
)

published_events = Table(
    "published_events",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("event_number", BigInteger, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

lanes = Table(
    "lanes",
    metadata,
    Column("lane", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("next_seq", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("offsets", JSONB, nullable=False, server_default=text("'{}'")),
    Column("owner", Text),
    Column("moved_at", DateTime(timezone=True)),
    postgresql_with={"fillfactor": 50},
)

rechecks = Table(
    "rechecks",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("last_error", Text),
    Index("rechecks_due", "not_before"),
)

shown = Table(
    "shown",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lane", SmallInteger, nullable=False),
    Column("queue_type", Text, nullable=False),
    Column("until_version", BigInteger, nullable=False),
    Column("score", Integer),
    Column("shown_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Index("shown_until", "lane", "until_version"),
)
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("message_offset", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("user_id", BigInteger),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("set_aside_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolution", Text),
    Index("dead_letters_message", "topic", "partition", "message_offset", "digest", unique=True),
    Index("dead_letters_set_aside", "set_aside_at"),
    Index("dead_letters_unresolved", "reason", postgresql_where=text("resolved_at IS NULL")),
)
runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("outcome", Text, nullable=False, server_default=text("'running'")),
    Column("window_from", DateTime(timezone=True)),
    Column("window_to", DateTime(timezone=True)),
    Column("cursor", BigInteger),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("queries", Integer, nullable=False, server_default=text("0")),
    Column("milliseconds", Integer),
    Column("error", Text),
    Column("started_by", Text),
    Index("runs_name_started", "name", "started_at"),
    Index("runs_under_way", "name", postgresql_where=text("outcome = 'running'")),
)

rules = Table(
    "rules",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("comparisons", JSONB, nullable=False, server_default=text("'{}'")),
    Column("adopted_by", Text, nullable=False),
    Column("adopted_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("rejudged_at", DateTime(timezone=True)),
)

kept_conversions = Table(
    "kept_conversions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("kept_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

lags = Table(
    "lags",
    metadata,
    Column("began_at", DateTime(timezone=True), primary_key=True),
    Column("worst_seconds", Double, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("memory", BigInteger),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
