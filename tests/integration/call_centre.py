"""The call centre's tables as somebody else's: watched, and guarded against every write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TABLES = ("user_call_scores", "conversions", "call_queue")

GUARD = """
CREATE FUNCTION hands_off() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = TG_OP || ' on ' || TG_TABLE_NAME || ' in shadow mode'; END $$
"""

Query = Callable[[str], list[tuple[Any, ...]]]


def guard(query: Query) -> None:
    """From now on PostgreSQL raises an error at every statement that would write to one of the tables."""
    query(GUARD)
    for table in TABLES:
        query(
            f"CREATE TRIGGER hands_off BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION hands_off()"
        )


def unguard(query: Query) -> None:
    """The tables may be written again."""
    query("DROP FUNCTION hands_off CASCADE")


def everything(query: Query) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the tables."""
    return {table: query(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}
