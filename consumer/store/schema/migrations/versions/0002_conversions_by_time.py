"""Conversions by the time they happened: what the status page shows of today and yesterday."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "stints_conversions",
        "stints",
        ["closed_at"],
        schema="leadstream",
        postgresql_where=sa.text("conversion_type IS NOT NULL"),
    )
