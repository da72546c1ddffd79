"""Queues shown by the present, until the stream has brought how the customers came there."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "shown",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("queue_type", sa.Text(), nullable=False),
        sa.Column("until_version", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Integer()),
        sa.Column("shown_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
        schema="leadstream",
    )
    op.create_index("shown_until", "shown", ["lane", "until_version"], schema="leadstream")
