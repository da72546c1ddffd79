"""Conversions that were recorded in shadow mode, which the call centre's table does not hold by our doing."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("stints", sa.Column("in_shadow", sa.Boolean()), schema="leadstream")
