"""The index of conversions that wait for a number, without those that never get one."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.drop_index("stints_events_waiting", "stints", schema="leadstream")
    op.create_index(
        "stints_events_waiting",
        "stints",
        ["closed_at", "user_id"],
        schema="leadstream",
        postgresql_where=sa.text(
            "conversion_type IS NOT NULL AND in_shadow IS FALSE AND event_number IS NULL AND paid_before IS NOT TRUE"
        ),
    )
