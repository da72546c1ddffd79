"""Random DDL and DML, drawn by hypothesis, and the stream compared three ways.

With the tables themselves, by replaying it; with `mysql-replication`; and with the server's own `mysqlbinlog` or
`mariadb-binlog --verbose`. The statements of an example that fails are printed with it.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from consumer.binlog.events import RowChange, SchemaChange
from tests.integration.binlog.source import Source, compression, replayed
from tests.integration.binlog.test_differential import (
    SKIPPED_BY_THE_LIBRARY,
    SKIPPED_BY_THE_TOOL,
    library,
    ours,
    shown_by_the_tool,
)
from tests.integration.binlog.test_types import MARIADB_TYPES, MYSQL_TYPES, TYPES, Value
from tests.servers import ensure
from tests.unit.binlog.damage import examples

REFS = {"users": "current_signature_file_id", "claims": "user_id", "claim_requirements": "claim_id"}
KINDS = {
    table: {"id": "INT UNSIGNED", ref: "BIGINT", "created_at": "DATETIME(3)", "updated_at": "TIMESTAMP(6) NULL"}
    for table, ref in REFS.items()
}
"""Columns that stay, though they move; the first two are always the first two."""
MOVABLE = ("created_at", "updated_at")
STEPS = ("add", "drop", "retype", "rename", "move", "recreate", "swap", "truncate")
CHANGES = ("replace", "upsert", "select", "update", "delete", "several tables", "undone", "savepoint")


class Company:
    """The three tables, with columns that come and go around those that stay."""

    def __init__(self, source: Source, dice: random.Random) -> None:
        self.source = source
        self._dice = dice
        skipped = (*SKIPPED_BY_THE_LIBRARY, *SKIPPED_BY_THE_TOOL[source.is_mariadb])
        known = {**TYPES, **(MARIADB_TYPES if source.is_mariadb else MYSQL_TYPES)}
        self._types = {name: value for name, value in known.items() if not any(word in name for word in skipped)}
        self._others: dict[str, dict[str, Value]] = {table: {} for table in KINDS}
        self._names = 0
        self.run("SET sql_mode = ''", *(self._create(table) for table in KINDS))

    def run(self, *statements: str) -> None:
        """Executes and notes statements."""
        for statement in statements:
            note(statement[:300])
            self.source.run(statement)

    def _create(self, table: str) -> str:
        self._others[table] = {}
        columns = ", ".join(f"{name} {kind}" for name, kind in KINDS[table].items())
        return f"CREATE TABLE {table} ({columns}, PRIMARY KEY (id)) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"

    def alter(self, step: str, table: str) -> None:
        """One change of a table's shape."""
        others, dice = self._others[table], self._dice
        name = dice.choice(sorted(others)) if others else ""
        kind = dice.choice(sorted(self._types))
        if step == "add" or (step in ("drop", "retype", "rename") and not name):
            self._names += 1
            name = f"o{self._names}"
            where = dice.choice(("", f" AFTER {list(KINDS[table])[1]}", " AFTER created_at"))
            self.run(f"ALTER TABLE {table} ADD COLUMN {name} {kind}{where}")
            others[name] = self._types[kind]
        elif step == "drop":
            self.run(f"ALTER TABLE {table} DROP COLUMN {name}")
            del others[name]
        elif step == "retype":
            self.run(f"ALTER TABLE {table} DROP COLUMN {name}, ADD COLUMN {name} {kind}")
            others[name] = self._types[kind]
        elif step == "rename":
            self._names += 1
            self.run(f"ALTER TABLE {table} RENAME COLUMN {name} TO o{self._names}")
            others[f"o{self._names}"] = others.pop(name)
        elif step == "move":
            moved = dice.choice(MOVABLE)
            behind = dice.choice([list(KINDS[table])[1], *others])
            self.run(f"ALTER TABLE {table} MODIFY {moved} {KINDS[table][moved]} AFTER {behind}")
        elif step == "recreate":
            self.run(f"DROP TABLE {table}", self._create(table))
        elif step == "swap":
            self.run(
                f"CREATE TABLE _{table}_new LIKE {table}",
                f"INSERT INTO _{table}_new SELECT * FROM {table}",
                f"RENAME TABLE {table} TO _{table}_old, _{table}_new TO {table}",
                f"DROP TABLE _{table}_old",
            )
        else:
            self.run(f"TRUNCATE TABLE {table}")

    def change(self, step: str, table: str) -> None:
        """One transaction."""
        ref = list(KINDS[table])[1]
        some = f"WHERE id % {self._dice.randint(2, 4)} = 0"
        if step == "replace":
            self.run(f"REPLACE INTO {table} {self._rows(table)}")
        elif step == "upsert":
            self.run(f"INSERT INTO {table} {self._rows(table)} ON DUPLICATE KEY UPDATE {ref} = {ref} + 1")
        elif step == "select":
            self.run(f"INSERT IGNORE INTO {table} (id, {ref}) SELECT id + 7, {ref} FROM {table} AS other")
        elif step == "update":
            self.run(f"UPDATE IGNORE {table} SET {ref} = {self._dice.randint(-9, 9)}, id = id + 1000 {some}")
        elif step == "delete":
            self.run(f"DELETE FROM {table} {some}")
        elif step == "several tables":
            self.run("BEGIN", *(f"REPLACE INTO {each} {self._rows(each)}" for each in KINDS), "COMMIT")
        elif step == "undone":
            self.run("BEGIN", f"REPLACE INTO {table} {self._rows(table)}", "ROLLBACK")
        else:
            self.run(
                *("BEGIN", f"REPLACE INTO {table} {self._rows(table)}", "SAVEPOINT a"),
                *(f"DELETE FROM {table} {some}", "ROLLBACK TO a", f"UPDATE {table} SET {ref} = 5 {some}", "COMMIT"),
            )

    def _rows(self, table: str) -> str:
        """Columns and one to four rows of values."""
        dice, others = self._dice, self._others[table]
        ref = list(KINDS[table])[1]

        def row() -> str:
            values = [f"{dice.randint(1, 30)}", f"{dice.randint(-(2**62), 2**62)}"]
            values += ["'2026-02-03 04:05:06.789123'" if dice.random() < 0.7 else "NULL" for _ in MOVABLE]
            values += [value(dice) if dice.random() < 0.8 else "NULL" for value in others.values()]
            return f"({', '.join(values)})"

        names = ", ".join(["id", ref, *MOVABLE, *others])
        return f"({names}) VALUES {', '.join(row() for _ in range(dice.randint(1, 4)))}"


def rebuilt(source: Source) -> dict[tuple[str, int], dict[str, object]]:
    """The tables as the stream tells them; those that a schema change empties begin anew."""
    changes: list[RowChange] = []
    for event in source.events():
        if isinstance(event, SchemaChange) and event.verb in ("TRUNCATE", "DROP"):
            changes = [change for change in changes if change.table != event.table]
        elif isinstance(event, RowChange):
            changes.append(event)
    return dict(replayed(changes))


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from([*STEPS, *CHANGES, *CHANGES]), st.sampled_from(list(KINDS))), min_size=8),
)
def test_random_histories_are_read_alike_three_ways(flavor: str, seed: int, steps: list[tuple[str, str]]) -> None:
    servers = ensure([flavor])
    with Source(servers.mysql_url if flavor == "mysql" else servers.mariadb_url) as source:
        with compression(source, False):
            company = Company(source, random.Random(seed))
            for step, table in steps:
                (company.alter if step in STEPS else company.change)(step, table)
        held = {
            (table, row[0]): list(row[1:])
            for table, kinds in KINDS.items()
            for row in source.ask(f"SELECT {', '.join(list(kinds)[:2])} FROM {table}")
        }
        told = rebuilt(source)
        assert {place: [row[list(KINDS[place[0]])[1]]] for place, row in told.items()} == held
        assert ours(source) == list(library(source, KINDS))
        positions = {(table, name): at for table, kinds in KINDS.items() for at, name in enumerate(kinds, 1)}
        assert shown_by_the_tool(source, positions, {(table, "id") for table in KINDS}) == [
            (change.table, change.op, change.before_id, change.after_id, change.before_ref, change.after_ref)
            for change in source.changes()
        ]
