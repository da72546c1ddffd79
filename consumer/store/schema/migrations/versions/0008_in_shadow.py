"""Conversions that were recorded in shadow mode, which the call centre's table does not hold by our doing."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stints", sa.Column("in_shadow", sa.Boolean()), schema="leadstream")


def downgrade() -> None:
    op.drop_column("stints", "in_shadow", schema="leadstream")
