"""How far the stream lagged, by quarter of an hour."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "lags",
        sa.Column("began_at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("worst_seconds", sa.Double(), nullable=False),
        schema="leadstream",
    )
