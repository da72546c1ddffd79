"""The rules in force: read from PostgreSQL, where every process finds the same ones, and put there.

A transaction that judges holds a lock, shared with its like, from before it learns which version is in force until it
commits; whoever adopts another version waits for all of these and holds off new ones. So nothing is ever written by
rules that were replaced meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from consumer.leads.rule_file import RuleFile, RuleFileError, from_json
from consumer.leads.rules import Rules
from consumer.leads.words import Comparison
from consumer.store import sql
from consumer.store.connection import Connection, Rows
from consumer.store.errors import NotPrepared

LOCK: Final = 0x6C6561647275
"""The advisory lock around the version in force."""

BY_SETUP: Final = "setup"
"""Who adopted the first rules."""

Comparisons = Mapping[str, Comparison]


@dataclass(frozen=True, slots=True)
class Adopted:
    """One version as it was adopted; `rejudged_at` None: leads are still to be brought to it."""

    version: int
    fingerprint: str
    file: RuleFile
    comparisons: Comparisons
    adopted_by: str
    adopted_at: datetime
    rejudged_at: datetime | None


class InForce:
    """The rules in force as a session saw them last; read again only where others are in force now."""

    def __init__(self) -> None:
        self.last: Rules | None = None
        self._adoption: str | None = None

    def at(self, adoption: str | None, read: Callable[[], Rows]) -> Rules:
        """The rules that RULES_IN_FORCE names; `read` brings all rows of READ_RULES. Raises NotPrepared."""
        if adoption is None:
            raise NotPrepared("leadstream.rules holds no rules yet; run `consumer setup`")
        if self.last is None or self._adoption != adoption:
            self.last, self._adoption = _built(read()), adoption
        return self.last

    def read(self, connection: psycopg.Connection[tuple[Any, ...]]) -> Rules:
        """The rules in force, for whoever only reads. Raises NotPrepared and psycopg.Error."""
        row = connection.execute(sql.RULES_IN_FORCE).fetchone()
        return self.at(None if row is None else row[0], lambda: connection.execute(sql.READ_RULES).fetchall())


def _built(rows: Rows) -> Rules:
    earlier: dict[int, Rules] = {}
    for version, content, comparisons, adopted_at in rows:
        rules = Rules(
            _file(version, content), compared(json.loads(comparisons)), version, adopted_at, earlier=dict(earlier)
        )
        earlier[version] = rules
    return rules


def _file(version: int, content: str) -> RuleFile:
    try:
        return from_json(json.loads(content))
    except RuleFileError as error:
        raise NotPrepared(
            f"version {version} in leadstream.rules is not for this release ({error}); start the one that adopted it"
        ) from error


def compared(content: Mapping[str, Mapping[str, Any]]) -> Comparisons:
    """Comparisons by table and column, from what the table holds."""
    return {name: Comparison.from_json(comparison) for name, comparison in content.items()}


def held_as(comparisons: Comparisons) -> dict[str, dict[str, Any]]:
    """Comparisons as the table holds them; two of them are the same where these are."""
    return {name: comparison.as_json() for name, comparison in comparisons.items()}


def newest(connection: Connection) -> Adopted:
    """The version in force. Raises NotPrepared and psycopg.Error."""
    row = connection.execute(sql.NEWEST_RULES).fetchone()
    if row is None:
        raise NotPrepared("leadstream.rules holds no rules yet; run `consumer setup`")
    version, fingerprint, content, comparisons, *adoption = row
    return Adopted(version, fingerprint, _file(version, content), compared(json.loads(comparisons)), *adoption)


def adopt(connection: Connection, file: RuleFile, comparisons: Comparisons, by: str) -> int:
    """Puts rules in force and returns their version; leads are still to be brought to them.

    Waits until no transaction judges by the ones before. The connection is in autocommit mode. Raises psycopg.Error.
    """
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '20s'")
        connection.execute(sql.LOCK_RULES, {"key": LOCK})
        row = connection.execute(
            sql.ADD_RULES,
            {
                "fingerprint": file.fingerprint,
                "content": Jsonb(file.as_json()),
                "comparisons": Jsonb(held_as(comparisons)),
                "by": by,
            },
        ).fetchone()
    assert row is not None
    return int(row[0])
