"""Whether PostgreSQL refused a row, and why: a constraint, a trigger or a policy of the call centre's own."""

from __future__ import annotations

import re
from typing import Final

import psycopg

_OF_A_ROW: Final = ("09", "22", "23", "27", "38", "39", "44", "54", "P0", "XX000")
"""SQLSTATEs by how they begin (PostgreSQL manual, appendix A) that speak of a row, whoever raised them: triggered
actions, data exceptions, constraints, routines in other languages, check options, sizes, PL/pgSQL, and what functions
in C raise without a code."""
_OF_THE_SERVER: Final = ("08", "25006", "25P03", "25P04", "40", "53", "55P03", "57", "58", "XX001", "XX002")
"""Those that speak of the server, or of others at work, even where they come out of a trigger: connections, read-only
servers, deadlocks, resources, locks, shutdowns and timeouts, disks, damaged files."""
_RAISE: Final = "exec_stmt_raise"
"""PostgreSQL's function behind PL/pgSQL's RAISE (pl_exec.c): its author chose the SQLSTATE, and it means the row."""
_POLICY: Final = "ExecWithCheckOptions"
"""PostgreSQL's function that holds rows against row security policies (execMain.c). A privilege that is missing has the
same SQLSTATE, but is noticed elsewhere."""
_DATA: Final = "22"
_VALUE_TYPES: Final = (
    re.compile(r"value too long for type ([\w ]+\(\d+\)[\w ]*)$"),
    re.compile(r"(smallint|integer|bigint) out of range$"),
    re.compile(r"(numeric) field overflow$"),
    re.compile(r'invalid input (?:value|syntax) for (?:type|enum) ("?[\w.]+"?(?: [a-z]+)*)(?::|$)'),
)
"""Messages of class 22 that name a type (varchar.c, int.c, numeric.c, enum.c and the input functions); they are matched
from their beginning, so that no value can pass for a type."""
_PROBLEMS: Final = {"22001": "a value too long for", "22003": "a value out of range for"}
REFUSED: Final = "PostgreSQL refused it with "
"""What every reason of a refusal begins with: by it, rechecks of refused leads are told from others."""
_FUNCTION: Final = re.compile(r"^PL/pgSQL\W.*?([\w.]+)\(", re.MULTILINE)

_QUOTED: Final = re.compile(r'"([^"]+)"')
"""In what PostgreSQL says of a policy: the policy, where it names it, and the table."""


def is_refusal(error: psycopg.Error) -> bool:
    """Whether PostgreSQL refused a row, not the work as such.

    What comes out of a function is a refusal whatever its SQLSTATE: we have no functions, so it is a trigger, check or
    policy of the call centre's, and a trigger that names a dropped column speaks of itself and not of our statement.
    """
    state, source = error.sqlstate, error.diag.source_function
    if state is None:
        return False
    if source == _RAISE:
        return True
    if state.startswith(_OF_THE_SERVER):
        return False
    return state.startswith(_OF_A_ROW) or source == _POLICY or bool(error.diag.context)


def reason_of(error: psycopg.Error) -> str:
    """Why, without a word of what the row holds: SQLSTATE, and table, column, type, constraint, policy, function.

    What PostgreSQL leaves out is in notes on the error (`consumer.store.call_centre.tables.add_columns`).
    """
    diag = error.diag
    notes: list[str] = getattr(error, "__notes__", [])
    if diag.table_name and diag.column_name:
        names = [" ".join((f"{diag.table_name}.{diag.column_name}", *notes)), diag.datatype_name, diag.constraint_name]
    else:
        names = [diag.table_name, diag.column_name, diag.datatype_name, diag.constraint_name]
    if diag.source_function == _POLICY:
        names += _QUOTED.findall(diag.message_primary or "")
    if (kind := value_type(error)) is not None:
        problem = _PROBLEMS.get(error.sqlstate or "", "a value that is no")
        names.append(f"{problem} {kind}{': ' if notes else ''}{' or '.join(notes)}")
    if functions := _FUNCTION.findall(diag.context or ""):
        names.append(f"in {functions[-1]}")
    place = ", ".join(filter(None, names))
    return f"{REFUSED}{error.sqlstate}{f' ({place})' if place else ''}"


def value_type(error: psycopg.Error) -> str | None:
    """The type that a value did not fit; None where the error is of another kind, or in another language than English.

    The message may go on with the value: only the type is taken, from messages of PostgreSQL's own.
    """
    state, primary = error.sqlstate or "", error.diag.message_primary or ""
    if not state.startswith(_DATA) or error.diag.source_function == _RAISE or error.diag.context:
        return None
    found = next(filter(None, (pattern.match(primary) for pattern in _VALUE_TYPES)), None)
    return None if found is None else found[1].strip()
