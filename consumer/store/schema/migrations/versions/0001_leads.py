"""Leads, claims, requirements, stints, lanes, rechecks and runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_SCHEMA = "leadstream"


def upgrade() -> None:
    op.create_table(
        "leads",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("signature", sa.Text()),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("read_floor", sa.BigInteger(), nullable=False),
        sa.Column("judge_after", sa.BigInteger()),
        sa.Column("changed_at", sa.DateTime(timezone=True)),
        sa.Column("stint", sa.Integer(), nullable=False),
        sa.Column("queue_type", sa.Text()),
        sa.Column("rule", sa.Text()),
        sa.Column("opened_at", sa.DateTime(timezone=True)),
        sa.Column(
            "outstanding_seen", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("converted_signatures", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
        schema=_SCHEMA,
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(
        "leads_to_judge",
        "leads",
        ["lane", "judge_after"],
        schema=_SCHEMA,
        postgresql_where=sa.text("judge_after IS NOT NULL"),
    )
    op.create_table(
        "claims",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text()),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id"),
        schema=_SCHEMA,
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("claims_id", "claims", ["id"], schema=_SCHEMA)
    op.create_table(
        "requirements",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("claim_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text()),
        sa.Column("status", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id"),
        schema=_SCHEMA,
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "stints",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("queue_type", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_reason", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("closed_reason", sa.Text()),
        sa.Column("conversion_type", sa.Text()),
        sa.Column("signature", sa.Text()),
        sa.Column("source", sa.Text(), server_default=sa.text("'stream'"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "number"),
        schema=_SCHEMA,
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(
        "stints_open",
        "stints",
        ["user_id"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "stints_one_conversion_per_signature",
        "stints",
        ["user_id", "signature"],
        unique=True,
        schema=_SCHEMA,
        postgresql_where=sa.text("conversion_type = 'signature_obtained'"),
    )
    op.create_table(
        "lanes",
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("offsets", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("moved_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("lane"),
        schema=_SCHEMA,
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "rechecks",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("user_id"),
        schema=_SCHEMA,
    )
    op.create_index("rechecks_due", "rechecks", ["not_before"], schema=_SCHEMA)
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.Text(), server_default=sa.text("'running'"), nullable=False),
        sa.Column("window_from", sa.DateTime(timezone=True)),
        sa.Column("window_to", sa.DateTime(timezone=True)),
        sa.Column("cursor", sa.BigInteger()),
        sa.Column("counts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("queries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("milliseconds", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        schema=_SCHEMA,
    )
    op.create_index("runs_name_started", "runs", ["name", "started_at"], schema=_SCHEMA)
