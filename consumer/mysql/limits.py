"""Time limits of single queries, which the server itself keeps."""

from __future__ import annotations


def limited(select: str, seconds: float, *, mariadb: bool) -> str:
    """A SELECT that the server ends after so many seconds (MySQL: MAX_EXECUTION_TIME, MariaDB: max_statement_time)."""
    text = select.strip()
    if mariadb:
        return f"SET STATEMENT max_statement_time={seconds:g} FOR {text}"
    return f"SELECT /*+ MAX_EXECUTION_TIME({round(seconds * 1000)}) */ {text.removeprefix('SELECT')}"
