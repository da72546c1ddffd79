"""The versions of the rules, and by which of them each lead was judged last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_SCHEMA = "leadstream"


def upgrade() -> None:
    op.create_table(
        "rules",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("comparisons", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("adopted_by", sa.Text(), nullable=False),
        sa.Column("adopted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("rejudged_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("version"),
        schema=_SCHEMA,
    )
    op.add_column(
        "leads",
        sa.Column("rules_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        schema=_SCHEMA,
    )
