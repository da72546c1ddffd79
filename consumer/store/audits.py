"""Outcomes of `consumer audit` in the log of runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from psycopg.types.json import Jsonb

from consumer.store import sql
from consumer.store.connection import classified, open_session


def record(
    conninfo: str,
    started: datetime,
    window: tuple[datetime, datetime],
    outcome: str,
    counts: Mapping[str, int],
    error: str | None,
) -> None:
    """Records an audit that ended now, as the reconciler's runs are, and forgets those older than 90 days.

    Raises StoreUnavailable and NotPrepared.
    """
    milliseconds = max(0, round((datetime.now(started.tzinfo) - started).total_seconds() * 1000))
    with classified(conninfo), open_session(conninfo, "leadstream audit", autocommit=True) as connection:
        connection.execute(sql.RECORD_AUDIT, [started, *window, outcome, Jsonb(dict(counts)), milliseconds, error])
        connection.execute(sql.FORGET_AUDITS)
