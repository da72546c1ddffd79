"""Messages that could not be applied, in the transaction of the batch that met them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("message_offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger()),
        sa.Column("key", sa.LargeBinary()),
        sa.Column("value", sa.LargeBinary()),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("set_aside_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("resolution", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        schema="leadstream",
    )
    op.create_index(
        "dead_letters_message",
        "dead_letters",
        ["topic", "partition", "message_offset", "digest"],
        unique=True,
        schema="leadstream",
    )
    op.create_index("dead_letters_set_aside", "dead_letters", ["set_aside_at"], schema="leadstream")
    op.create_index(
        "dead_letters_unresolved",
        "dead_letters",
        ["reason"],
        schema="leadstream",
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
