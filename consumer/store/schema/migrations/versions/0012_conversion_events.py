"""Numbers of conversions in the order in which others are told of them, and how far each topic has been told."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("stints", sa.Column("event_number", sa.BigInteger()), schema="leadstream")
    op.add_column("stints", sa.Column("paid_before", sa.Boolean()), schema="leadstream")
    op.create_index(
        "stints_events",
        "stints",
        ["event_number"],
        unique=True,
        schema="leadstream",
        postgresql_where=sa.text("event_number IS NOT NULL"),
    )
    op.create_index(
        "stints_events_waiting",
        "stints",
        ["closed_at", "user_id"],
        schema="leadstream",
        postgresql_where=sa.text("conversion_type IS NOT NULL AND in_shadow IS FALSE AND event_number IS NULL"),
    )
    op.create_table(
        "published_events",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("event_number", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("topic"),
        schema="leadstream",
    )
