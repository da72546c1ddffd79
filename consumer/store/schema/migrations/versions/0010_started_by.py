"""Who started a run of the reconciler."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("runs", sa.Column("started_by", sa.Text()), schema="leadstream")
