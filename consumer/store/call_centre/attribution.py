"""What it takes to note whose calls earned a conversion: columns, types and rights, for the run and for `doctor`.

It is optional: a role without any right there leaves it to others, and nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import psycopg

from consumer.store.call_centre.fit import Finding

SESSIONS: Final = "call_sessions"
CONVERSIONS: Final = "conversions"
_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
_AGENTS: Final = frozenset({"integer", "bigint"})
_TIMES: Final = frozenset({"timestamp without time zone"})
JSON: Final = frozenset({"json", "jsonb"})
COLUMNS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    (SESSIONS, "user_id"): _INTEGERS,
    (SESSIONS, "agent_id"): _AGENTS,
    (SESSIONS, "talk_time_seconds"): _INTEGERS,
    (SESSIONS, "started_at"): _TIMES,
    (SESSIONS, "ended_at"): _TIMES,
    (CONVERSIONS, "primary_agent_id"): _AGENTS,
    (CONVERSIONS, "contributing_agents"): JSON,
}
"""Columns of both tables, and the types that do for each."""
_WORDS: Final = {
    _INTEGERS: "an integer", _AGENTS: "integer or bigint", _TIMES: "timestamp without time zone, in UTC",
    JSON: "json or jsonb",
}  # fmt: skip

FACTS: Final = """
SELECT wanted.of_table, wanted.name, class.oid::regclass::text,
       format_type(type.oid, NULL),
       coalesce(has_column_privilege(class.oid, attribute.attnum, 'SELECT'), false),
       coalesce(has_column_privilege(class.oid, attribute.attnum, 'UPDATE'), false),
       quote_ident(current_user)
FROM unnest(%s::text[], %s::text[]) AS wanted (of_table, name)
LEFT JOIN pg_class AS class ON class.oid = to_regclass(wanted.of_table)
LEFT JOIN pg_attribute AS attribute
     ON attribute.attrelid = class.oid AND attribute.attname = wanted.name AND NOT attribute.attisdropped
LEFT JOIN LATERAL (
    WITH RECURSIVE based AS (
        SELECT oid, typtype, typbasetype FROM pg_type WHERE oid = attribute.atttypid
        UNION ALL
        SELECT pg_type.oid, pg_type.typtype, pg_type.typbasetype
        FROM based JOIN pg_type ON pg_type.oid = based.typbasetype
    )
    SELECT oid FROM based WHERE typtype <> 'd') AS type ON true
"""
"""Each column that it takes: its table where that is there, its type without domain, and what we may do with it."""


class Column(NamedTuple):
    """A column that it takes; `base` is its type without domain, None: there is no such column."""

    base: str | None
    may_read: bool
    may_write: bool


class AttributionFacts(NamedTuple):
    """What there is. `names` are the tables that the search path finds, as statements name them."""

    role: str
    names: Mapping[str, str]
    columns: Mapping[tuple[str, str], Column]

    @property
    def has_calls(self) -> bool:
        """Whether there are calls, and conversions to attribute by them."""
        return {SESSIONS, CONVERSIONS} <= self.names.keys()

    @property
    def has_rights(self) -> bool:
        """Whether anybody meant us to do it: some right that nothing else of ours takes."""
        return any(
            column.may_read if table == SESSIONS else column.may_write for (table, _), column in self.columns.items()
        )

    @property
    def is_readable(self) -> bool:
        """Whether there are calls, and who earned what can be read of conversions."""
        theirs = [(of, column) for of, column in self.columns.items() if of[0] == CONVERSIONS]
        return self.has_calls and all(column.may_read and column.base in COLUMNS[of] for of, column in theirs)

    @property
    def grants(self) -> str:
        """The statements that give what is missing; "" where nothing is."""
        missing = []
        if not all(column.may_read for (table, _), column in self.columns.items() if table == SESSIONS):
            missing.append(f"GRANT SELECT ON {self.names[SESSIONS]} TO {self.role}")
        theirs = [(name, column) for (table, name), column in self.columns.items() if table == CONVERSIONS]
        if not all(column.may_write for _, column in theirs):
            missing.append(
                f"GRANT UPDATE ({', '.join(name for name, _ in theirs)}) ON {self.names[CONVERSIONS]} TO {self.role}"
            )
        if not all(column.may_read for _, column in theirs):
            missing.append(f"GRANT SELECT ON {self.names[CONVERSIONS]} TO {self.role}")
        return "; ".join(missing)


def collect(connection: psycopg.Connection[tuple[Any, ...]]) -> AttributionFacts:
    """Asks for what there is. Raises psycopg.Error."""
    tables, names = zip(*COLUMNS, strict=True)
    rows = connection.execute(FACTS.encode(), [list(tables), list(names)]).fetchall()
    columns = {(table, name): Column(*rest) for table, name, _, *rest, _ in rows}
    return AttributionFacts(
        role=rows[0][-1],
        names={table: found for table, _, found, *_ in rows if found is not None},
        columns={of: columns[of] for of in COLUMNS},
    )


def judge(facts: AttributionFacts) -> Finding | None:
    """Whether it can be done; None where there are no calls, or where it is not ours to do."""
    if not facts.has_calls or not facts.has_rights:
        return None
    aspect = "attribution"
    found = {of: facts.columns[of].base for of in COLUMNS}
    missing = [".".join(of) for of, base in found.items() if base is None]
    wrong = {
        ".".join(of): f"{'.'.join(of)} is {base} where it must be {_WORDS[COLUMNS[of]]}"
        for of, base in found.items()
        if base is not None and base not in COLUMNS[of]
    }
    if missing or wrong:
        sentences = [*([f"there is no column {', '.join(missing)}"] if missing else []), *wrong.values()]
        hints = [*([f"add {', '.join(missing)}"] if missing else []), *(f"change the type of {name}" for name in wrong)]
        sentence = f"conversions cannot be attributed: {', '.join(sentences)}"
        return Finding(aspect, False, sentence, ", ".join(hints), works=True)
    if facts.grants:
        return Finding(aspect, False, f"{facts.role} may not attribute conversions", facts.grants, works=True)
    return Finding(aspect, True, f"{facts.role} may attribute conversions by {facts.names[SESSIONS]}")
