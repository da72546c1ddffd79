"""Users by the time the stream saw them first, and runs under way: what the health page and every run ask for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(
        "stints_first_seen",
        "stints",
        ["opened_at"],
        schema="leadstream",
        postgresql_where=sa.text("number = 1 AND source = 'stream'"),
    )
    op.create_index(
        "runs_under_way", "runs", ["name"], schema="leadstream", postgresql_where=sa.text("outcome = 'running'")
    )
