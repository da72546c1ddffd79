"""Whether the call centre's tables, as they are, fit what we do with them. Pure: facts in, findings out.

`setup` refuses to begin where one fails, `doctor` reports all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote

from consumer.store.call_centre.needs import (
    ADDED_COLUMN,
    ADDED_INDEX,
    BY_CUSTOMER,
    LABELS,
    TABLES,
    Labels,
    Need,
    TableNeeds,
    Use,
    words,
)

_TEXTS: Final = frozenset({"text", "character varying", "citext"})
_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
_NUMBERS: Final = _INTEGERS | {"numeric", "real", "double precision"}
_FITS: Final[Mapping[str, frozenset[str]]] = {
    "uuid": frozenset({"uuid"}),
    "bigint": frozenset({"bigint"}),
    "integer": frozenset({"integer", "bigint"}),
    "boolean": frozenset({"boolean"}),
    "text": _TEXTS,
    "timestamp": frozenset({"timestamp without time zone"}),
    "json": frozenset({"json", "jsonb"}),
}
"""Types that do for a kind of column, whatever their precision. Times with a zone do not: whatever else reads these
tables takes what they hold for UTC without one."""
_DECIDING: Final = frozenset({"id", "user_id", "conversion_type", "converted_at"})
"""Columns of `conversions` that are the same whenever the same conversion is written again."""
_ORDINARY: Final = frozenset({"r", "p"})


class TheirColumn(NamedTuple):
    """A column as it is; `type` as PostgreSQL writes it, `base` that type without domain, precision or length."""

    type: str
    base: str
    limit: int | None = None
    """How many characters it holds at most; None: any number, or no text."""
    is_enum: bool = False
    not_null: bool = False
    has_default: bool = False
    """Whether it gets a value by itself where a new row does not name it."""
    generated: bool = False
    """Whether nobody else can give it a value."""


class Theirs(NamedTuple):
    """A table of the call centre's as it is.

    `name` is qualified where the search path makes it necessary; `kind` is pg_class.relkind; `unique` are the sets of
    columns that no two rows share, and `deferrable` those of them where that is checked later, by constraint;
    `partitioned_by` are the columns of its partition key, None: it has no partitions.
    """

    name: str
    columns: Mapping[str, TheirColumn]
    unique: frozenset[tuple[str, ...]]
    indexes: frozenset[str]
    led_by: frozenset[str] = frozenset()
    """First columns of its indexes."""
    kind: str = "r"
    partitioned_by: tuple[str, ...] | None = None
    deferrable: Mapping[tuple[str, ...], str] = MappingProxyType({})


class Finding(NamedTuple):
    """One thing that was looked at: what is, and, where that does not fit, what helps.

    `hint` is a statement or a command; `works` says that we can do without it.
    """

    aspect: str
    fits: bool
    sentence: str
    hint: str = ""
    works: bool = False


def judge(table: str, theirs: Theirs, labels: Labels = LABELS) -> list[Finding]:
    """Everything about a table that is there. `labels` are the names of queues by the rules in force."""
    if theirs.kind not in _ORDINARY:
        sentence = f"{table} is no table that rows can be added to (relkind {theirs.kind})"
        return [Finding(table, False, sentence, "name the schema of the table proper in the search path of our role")]
    needs = TABLES[table]
    return [
        _columns(table, theirs, needs),
        *_types(table, theirs, needs, labels),
        _nulls(table, theirs, needs, labels),
        _demanded(table, theirs, needs),
        *(() if needs.key is None else [_key(table, theirs, needs.key)]),
    ]


def additions(table: str, theirs: Theirs) -> list[Finding]:
    """What `setup` adds to a table that is there."""
    if table in BY_CUSTOMER:
        return [index_by_customer(table, theirs)]
    column, has_index = ADDED_COLUMN in theirs.columns, ADDED_INDEX in theirs.indexes
    add_column = f"ALTER TABLE {theirs.name} ADD COLUMN {ADDED_COLUMN} timestamp"
    indexed = ", ".join(TABLES[table].indexes[ADDED_INDEX])
    add_index = f"CREATE INDEX CONCURRENTLY {ADDED_INDEX} ON {theirs.name} ({indexed})"
    return [
        Finding("checked at", column, f"{table} has {'the' if column else 'no'} column {ADDED_COLUMN}", add_column),
        Finding(
            "score index", has_index, f"{table} has {'the' if has_index else 'no'} index {ADDED_INDEX}", add_index, True
        ),
    ]


def index_by_customer(table: str, theirs: Theirs) -> Finding:
    """Whether a customer's rows in a table of BY_CUSTOMER are found by index."""
    name, without = BY_CUSTOMER[table]
    columns = TABLES[table].indexes[name]
    found = columns[0] in theirs.led_by
    create = "CREATE INDEX CONCURRENTLY" if theirs.partitioned_by is None else "CREATE INDEX"
    return Finding(
        f"index of {table}",
        found,
        f"{table} has an index that begins with {columns[0]}"
        if found
        else f"{table} has no index that begins with {columns[0]}: {without}",
        f"{create} {name} ON {theirs.name} ({', '.join(columns)})",
        works=True,
    )


def conflict_target(theirs: Theirs) -> tuple[str, ...] | None:
    """The unique index of `conversions` by which one that is written again is found; None where there is none.

    A table with partitions can have none on `id` alone: there one does that holds besides it what follows from it.
    """
    if ("id",) in theirs.unique:
        return ("id",)
    if theirs.partitioned_by is None:
        return None
    found = sorted(key for key in theirs.unique if "id" in key and _DECIDING.issuperset(key))
    return min(found, key=len, default=None)


def elsewhere(place: str, role: str, schemas: Mapping[str, list[str]], closed: Collection[str]) -> Finding | None:
    """What there is to decide where tables that the search path does not find are in other schemas (by table).

    Nothing is found in those that are `closed` to our role, whatever the search path says.
    """
    if not schemas:
        return None
    names = sorted({name for found in schemas.values() for name in found})
    first = names[0]
    held = {name: ", ".join(table for table in sorted(schemas) if name in schemas[table]) for name in names}
    where = " and ".join(f"{tables} in schema {name}" for name, tables in held.items())
    escaped = first.replace("\\", "\\\\").replace(" ", "\\ ")
    is_closed = first in closed
    why = f"{role} may not use" if is_closed else f"the search path of {role} does not name"
    sentence = f"{place} has {where}, which {why}"
    grant = f"run GRANT USAGE ON SCHEMA {first} TO {role}, and unless the search path names it, " if is_closed else ""
    hint = (
        f"{grant}add ?options={quote(f'-csearch_path={escaped}', safe='-')} to DATABASE_URL, or run"
        f" ALTER ROLE {role} SET search_path = {first}; to have empty tables made beside them nevertheless, run"
        " consumer setup --create-call-centre"
    )
    return Finding("search path", False, sentence, hint)


def _columns(table: str, theirs: Theirs, needs: TableNeeds) -> Finding:
    needed = needs.needed().items()
    missing = {name: need.kind for name, need in needed if name not in theirs.columns and name != ADDED_COLUMN}
    sentence = f"{table} has {'no column ' + ', '.join(missing) if missing else 'the columns we name'}"
    actions = [f"ADD COLUMN {name} {kind}" for name, kind in missing.items()]
    return Finding(f"columns of {table}", not missing, sentence, _alter(theirs, actions))


class _Misfit(NamedTuple):
    """A column whose type does not do, and the action of ALTER TABLE that helps."""

    problem: str
    action: str
    works: bool = False


def _types(table: str, theirs: Theirs, needs: TableNeeds, labels: Labels) -> Iterator[Finding]:
    found = [
        misfit
        for name, need in needs.columns.items()
        if need.use is not Use.THEIRS and name in theirs.columns
        if (misfit := _misfit(name, need, theirs.columns[name], words(table, name, labels))) is not None
    ]
    aspect = f"types of {table}"
    for misfits in ([misfit for misfit in found if misfit.works is works] for works in (False, True)):
        if misfits:
            sentence = ", ".join(f"{table}.{misfit.problem}" for misfit in misfits)
            yield Finding(
                aspect, False, sentence, _alter(theirs, [misfit.action for misfit in misfits]), misfits[0].works
            )
    if not found:
        yield Finding(aspect, True, f"the columns of {table} have types that hold what we write")


def _misfit(name: str, need: Need, column: TheirColumn, written: Sequence[str]) -> _Misfit | None:
    if column.generated and need.use is Use.INSERTED_IF_THERE:
        return None
    if column.generated and need.use is not Use.READ:
        return _Misfit(f"{name} is generated, so nobody can write it", f"ALTER COLUMN {name} DROP EXPRESSION")
    if column.base in _FITS[need.kind] and not column.is_enum:
        if column.limit is None or need.use is Use.READ:
            return None
        long = max(written, key=len, default="")
        if len(long) <= column.limit:
            return None
        problem = f"{name} is {column.type}, too short for {long} ({len(long)} characters)"
        return _Misfit(problem, f"ALTER COLUMN {name} TYPE text")
    if need.kind == "integer" and column.base == "smallint":
        problem = f"{name} is smallint, which ends at 32767"
        return None if need.use is Use.READ else _Misfit(problem, f"ALTER COLUMN {name} TYPE integer", works=True)
    kind = {"json": "jsonb", "timestamp": "timestamp(3)"}.get(need.kind, need.kind)
    shown = f"the enum {column.type}" if column.is_enum else column.type
    return _Misfit(f"{name} is {shown} where it must be {_ASKED[need.kind]}", _retype(name, kind, column))


_ASKED: Final[Mapping[str, str]] = {
    "uuid": "uuid",
    "bigint": "bigint",
    "integer": "integer or bigint",
    "boolean": "boolean",
    "text": "text or varchar",
    "timestamp": "timestamp without time zone, in UTC",
    "json": "json or jsonb",
}


def _retype(name: str, kind: str, column: TheirColumn) -> str:
    """The action that changes a column's type and keeps what it holds, where that can be kept."""
    alter = f"ALTER COLUMN {name}"
    if column.base in _INTEGERS and kind in _INTEGERS:
        return f"{alter} TYPE {kind}"
    if column.base == "timestamp with time zone":
        return f"{alter} TYPE {kind} USING {name} AT TIME ZONE 'UTC'"
    through = {"jsonb": f"{name}::text::"} | ({} if column.base in _TEXTS else {"boolean": f"{name}::integer::"})
    direct = column.base in _TEXTS | _NUMBERS or kind == "text"
    value = through.get(kind, f"{name}::" if direct else f"{name}::text::")
    # A default of another type is in the way of most such changes, and a new row of ours names the column.
    before = f"{alter} DROP DEFAULT, " if column.has_default and kind != "text" else ""
    return f"{before}{alter} TYPE {kind} USING {value}{kind}"


def _nulls(table: str, theirs: Theirs, needs: TableNeeds, labels: Labels) -> Finding:
    def writes_null(name: str, need: Need) -> bool:
        return need.writes_null or (name == "current_queue_type" and None in labels)

    wrong = [
        name
        for name, need in needs.columns.items()
        if writes_null(name, need) and name in theirs.columns and theirs.columns[name].not_null
    ]
    sentence = f"every column of {table} that we may leave empty allows it"
    if wrong:
        sentence = f"{', '.join(wrong)} of {table} is NOT NULL, and for some rows there is nothing to write there"
    actions = [f"ALTER COLUMN {name} DROP NOT NULL" for name in wrong]
    return Finding(f"empty values of {table}", not wrong, sentence, _alter(theirs, actions))


def _demanded(table: str, theirs: Theirs, needs: TableNeeds) -> Finding:
    def is_named(name: str) -> bool:
        return name in needs.columns and needs.columns[name].use in (Use.INSERTED, Use.INSERTED_IF_THERE)

    extra = sorted(
        name for name, column in theirs.columns.items() if column.not_null and not column.has_default
        if not column.generated and not is_named(name)
    )  # fmt: skip
    sentence = f"a row can be added to {table} without naming other columns than ours"
    if extra:
        sentence = f"{', '.join(extra)} of {table} is NOT NULL without a default, so no row can be added"
    actions = [f"ALTER COLUMN {name} DROP NOT NULL" for name in extra]
    return Finding(f"rows of {table}", not extra, sentence, _alter(theirs, actions))


def _key(table: str, theirs: Theirs, key: str) -> Finding:
    aspect, partitions = f"key of {table}", theirs.partitioned_by
    found = conflict_target(theirs) if table == "conversions" else (key,) if (key,) in theirs.unique else None
    if found and found in theirs.deferrable:
        constraint, names = theirs.deferrable[found], ", ".join(found)
        sentence = f"{constraint} of {table} is deferrable, so ON CONFLICT cannot go by it"
        actions = [f"DROP CONSTRAINT {constraint}", f"ADD UNIQUE ({names})"]
        return Finding(aspect, False, sentence, _alter(theirs, actions))
    if found:
        return Finding(aspect, True, f"{table} has a unique index on {', '.join(found)}")
    wanted = (key, *(column for column in partitions or () if column != key))
    hint = f"CREATE UNIQUE INDEX ON {theirs.name} ({', '.join(wanted)})"
    sentence = f"{table} has no unique index on {', '.join(wanted)}"
    if partitions is not None and not (_DECIDING if table == "conversions" else {key}).issuperset(wanted):
        sentence = (
            f"{table} is partitioned by {', '.join(partitions) or 'an expression'}, so no unique index can keep a row"
            " from being written twice"
        )
        hint = f"partition {theirs.name} by {'converted_at' if table == 'conversions' else key}"
    return Finding(aspect, False, sentence, hint)


def _alter(theirs: Theirs, actions: Sequence[str]) -> str:
    return f"ALTER TABLE {theirs.name} {', '.join(actions)}" if actions else ""
