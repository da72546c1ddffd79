"""The call centre's tables as a real company has them: made by Prisma, with agents, callbacks and sessions."""

from __future__ import annotations

from typing import Final

from tests.support.company_tables import CALL_CENTRE

COMPANY: Final = CALL_CENTRE.read_text()
STAMPED: Final = """
ALTER TABLE conversions ADD COLUMN created_at timestamp(3) NOT NULL, ADD COLUMN updated_at timestamp(3) NOT NULL
"""
"""Such a call centre has them in every table."""
PARTITIONED: Final = """
ALTER TABLE conversions RENAME TO whole;
CREATE TABLE conversions (LIKE whole INCLUDING DEFAULTS) PARTITION BY RANGE (converted_at);
ALTER TABLE conversions ADD PRIMARY KEY (id, converted_at);
CREATE TABLE conversions_2023 PARTITION OF conversions FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE conversions_rest PARTITION OF conversions DEFAULT;
DROP TABLE whole
"""
"""Conversions by year."""
