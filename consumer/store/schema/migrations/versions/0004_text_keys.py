"""Ids of claims and requirements as text: the company's may be integers, texts or bytes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

_KEY = sa.Text(collation="C")


def upgrade() -> None:
    for table, column in (("claims", "id"), ("requirements", "id"), ("requirements", "claim_id")):
        op.alter_column(table, column, type_=_KEY, schema="leadstream", postgresql_using=f"{column}::text")
    op.alter_column("requirements", "claim_id", nullable=True, schema="leadstream")
    op.execute("ALTER TABLE leadstream.leads ALTER COLUMN outstanding_seen DROP DEFAULT")
    op.alter_column(
        "leads",
        "outstanding_seen",
        type_=postgresql.ARRAY(sa.Text()),
        server_default=sa.text("'{}'"),
        schema="leadstream",
        postgresql_using="outstanding_seen::text[]",
    )
