"""The call centre's tables as PostgreSQL's catalog has them, and what follows from that.

It is the statement that adds conversions, and which columns a refusal may speak of.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

from consumer.store import sql
from consumer.store.call_centre.fit import TheirColumn, Theirs, conflict_target
from consumer.store.call_centre.needs import STAMPS, TABLES, Use
from consumer.store.refusal import value_type

Connection = psycopg.Connection[tuple[Any, ...]]

FOUND: Final = """
SELECT wanted.name, class.oid, class.oid::regclass::text, class.relkind::text,
       CASE WHEN partitioned.partrelid IS NOT NULL THEN
            ARRAY(SELECT attname::text FROM pg_attribute
                  WHERE attrelid = class.oid AND attnum = ANY(partitioned.partattrs)) END,
       0 = ANY(partitioned.partattrs)
FROM unnest(%s::text[]) AS wanted(name)
JOIN pg_class AS class ON class.oid = to_regclass(wanted.name)
LEFT JOIN pg_partitioned_table AS partitioned ON partitioned.partrelid = class.oid
"""
"""The tables that the search path finds: oid, name, kind, columns of the partition key, and whether it has others."""

COLUMNS: Final = """
WITH RECURSIVE based AS (
    SELECT attrelid, attnum, attname, atttypid, atttypmod, attnotnull, atthasdef OR attidentity <> '' AS has_default,
           attgenerated <> '' OR attidentity = 'a' AS generated, atttypid AS type, atttypmod AS modifier
    FROM pg_attribute WHERE attrelid = ANY(%s::oid[]) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT attrelid, attnum, attname, atttypid, atttypmod, attnotnull OR typnotnull,
           has_default OR typdefault IS NOT NULL, generated, typbasetype, typtypmod
    FROM based JOIN pg_type ON pg_type.oid = based.type WHERE typtype = 'd'
)
SELECT attrelid, attname::text, format_type(atttypid, atttypmod), format_type(type, NULL),
       CASE WHEN type IN ('varchar'::regtype, 'bpchar'::regtype) AND modifier >= 0 THEN modifier - 4 END,
       typtype = 'e', attnotnull, has_default, generated
FROM based JOIN pg_type ON pg_type.oid = based.type
WHERE typtype <> 'd' ORDER BY attrelid, attnum
"""
"""Columns, with what is behind their domains."""

INDEXES: Final = """
SELECT index.indrelid, relation.relname::text,
       index.indisunique AND index.indpred IS NULL AND index.indexprs IS NULL, index.indimmediate,
       ARRAY(SELECT attname::text FROM unnest(index.indkey::int2[]) WITH ORDINALITY AS part(number, place)
             JOIN pg_attribute ON attrelid = index.indrelid AND attnum = part.number
             WHERE part.place <= index.indnkeyatts ORDER BY part.place)
FROM pg_index AS index JOIN pg_class AS relation ON relation.oid = index.indexrelid
WHERE index.indrelid = ANY(%s::oid[]) AND index.indisvalid
"""
"""Indexes: name, whether they are unique over all rows, whether they are so at every moment, and columns."""

ELSEWHERE: Final = """
SELECT class.relname::text, array_agg(quote_ident(namespace.nspname) ORDER BY namespace.nspname)
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.relname = ANY(%s::text[]) AND class.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND namespace.nspname NOT IN ('leadstream', 'information_schema') AND namespace.nspname !~ '^pg_'
  AND to_regclass(class.relname::text) IS NULL
GROUP BY class.relname ORDER BY class.relname
"""
"""Schemas that hold tables of these names which the search path does not find."""

CLOSED: Final = """
SELECT DISTINCT quote_ident(namespace.nspname)
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.relname = ANY(%s::text[]) AND NOT has_schema_privilege(namespace.oid, 'USAGE')
"""
"""Schemas with tables of these names that we may not use: no search path finds anything in them."""

_ROLE: Final = "SELECT quote_ident(current_user)"


def tables(connection: Connection) -> dict[str, Theirs]:
    """Those of the three tables that the search path finds, as they are."""
    found = connection.execute(FOUND.encode(), [list(TABLES)]).fetchall()
    oids = [row[1] for row in found]
    columns = connection.execute(COLUMNS.encode(), [oids]).fetchall()
    indexes = connection.execute(INDEXES.encode(), [oids]).fetchall()
    return {
        name: Theirs(
            name=full,
            kind=kind,
            columns={column: TheirColumn(*rest) for table, column, *rest in columns if table == oid},
            unique=frozenset(tuple(names) for table, _, unique, _, names in indexes if table == oid and unique),
            deferrable={
                tuple(names): index
                for table, index, unique, immediate, names in indexes
                if table == oid and unique and not immediate
            },
            indexes=frozenset(index for table, index, *_ in indexes if table == oid),
            led_by=frozenset(names[0] for table, *_, names in indexes if table == oid and names),
            partitioned_by=None if key is None else (*key, *(("an expression",) if expressions else ())),
        )
        for name, oid, full, kind, key, expressions in found
    }


def elsewhere(connection: Connection) -> dict[str, list[str]]:
    """Schemas (quoted) of those of the three tables that the search path does not find."""
    return dict(connection.execute(ELSEWHERE.encode(), [list(TABLES)]).fetchall())


def closed(connection: Connection) -> frozenset[str]:
    """Schemas (quoted) with any of the three tables, or with tables of their names, that we may not use."""
    return frozenset(name for (name,) in connection.execute(CLOSED.encode(), [list(TABLES)]))


def role(connection: Connection) -> str:
    """Who we are, quoted."""
    row = connection.execute(_ROLE).fetchone()
    assert row is not None
    return str(row[0])


def insert_conversions(connection: Connection) -> str:
    """The statement that adds conversions to the table as it is now; the usual one where there is none yet."""
    theirs = tables(connection).get("conversions")
    if theirs is None:
        return sql.add_conversions((), ("id",))
    stamps = [name for name in STAMPS if name in theirs.columns and not theirs.columns[name].generated]
    return sql.add_conversions(stamps, conflict_target(theirs) or ("id",))


def add_columns(connection: Connection, error: BaseException) -> None:
    """Notes on a refusal what PostgreSQL leaves out, for `consumer.store.refusal.reason_of` to read: the type of the
    column that it names, or, where it names only a type, the columns of that type that we write.

    The connection must be fit for use and outside a transaction.
    """
    if not isinstance(error, psycopg.Error) or connection.closed:
        return
    table, column, kind = error.diag.table_name, error.diag.column_name, value_type(error)
    if kind is None and column is None:
        return
    try:
        found = tables(connection)
        connection.rollback()
    except psycopg.Error:
        connection.close()  # the refusal is what counts; the next session is a new one
        return
    if kind is None:
        if table in found and column is not None and column in found[table].columns:
            error.add_note(found[table].columns[column].type)
        return
    for name, theirs in found.items():
        for written, need in TABLES[name].columns.items():
            known = theirs.columns.get(written)
            if need.use not in (Use.THEIRS, Use.READ) and known is not None and kind in (known.type, known.base):
                error.add_note(f"{name}.{written}")
