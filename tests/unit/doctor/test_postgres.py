"""What the doctor says of PostgreSQL, from facts alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from alembic.script import ScriptDirectory

from consumer.doctor.check import Check, State
from consumer.doctor.postgres import judge, judge_quick
from consumer.doctor.postgres_facts import PostgresFacts, newest_revision
from consumer.leads.rule_file import RuleFile
from consumer.store.call_centre.fit import TheirColumn
from consumer.store.call_centre.needs import ADDED_INDEX, TABLES
from consumer.store.pooler import HINT, Pooling
from consumer.store.rules import BY_SETUP, Adopted
from consumer.store.schema import migrations
from tests.unit.store.call_centre.theirs import theirs

ADOPTED_AT = datetime(2026, 11, 1, tzinfo=UTC)
ALL = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
THEIRS = {table: theirs(table) for table in TABLES}
WELL = PostgresFacts(
    place="centre on pg:5432",
    database="centre",
    role="leadstream",
    version=150_010,
    encoding="UTF8",
    read_only=False,
    clock_seconds=0.0,
    has_schema=True,
    may_create_schema=True,
    may_use_schema=True,
    revision="0001",
    newest_revision="0001",
    ours={"leads": ALL, "lanes": ALL},
    theirs=THEIRS,
    privileges={table: frozenset(needs.privileges) for table, needs in TABLES.items()},
    elsewhere={},
    closed=(),
    lanes=(6, [1]),
    rules=Adopted(1, "", RuleFile(), {}, BY_SETUP, ADOPTED_AT, ADOPTED_AT),
)
SCHEMA_GRANT = (
    "GRANT USAGE ON SCHEMA leadstream TO leadstream;"
    " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA leadstream TO leadstream"
)


def scores(**changed: object) -> PostgresFacts:
    return replace(WELL, theirs={**THEIRS, "user_call_scores": THEIRS["user_call_scores"]._replace(**changed)})  # type: ignore[arg-type]


def columns(name: str, column: TheirColumn | None) -> PostgresFacts:
    """With another column of that name, or without."""
    others = {key: value for key, value in THEIRS["user_call_scores"].columns.items() if key != name}
    return scores(columns=others if column is None else {**others, name: column})


def led(table: str, by: str, **changed: object) -> PostgresFacts:
    """With a table whose indexes begin with this column alone."""
    changed_table = THEIRS[table]._replace(led_by=frozenset({by}), **changed)  # type: ignore[arg-type]
    return replace(WELL, theirs={**THEIRS, table: changed_table})


def wrong(facts: PostgresFacts, *, shadow: bool = False) -> list[Check]:
    return [check for check in judge(facts, 6, shadow=shadow) if check.state is not State.OK]


def test_a_database_of_another_encoding_has_a_name_beside_it_whatever_its_own_is() -> None:
    (check,) = wrong(replace(WELL, encoding="LATIN1", database='"call-centre"'))
    assert check.hint == "CREATE DATABASE \"call-centre_utf8\" ENCODING 'UTF8' TEMPLATE template0"


def test_a_database_as_it_should_be_has_nothing_to_repair() -> None:
    assert wrong(WELL) == []


@pytest.mark.parametrize(
    ("facts", "name", "state", "repair"),
    [
        (replace(WELL, read_only=True), "writable", "failed", "set DATABASE_URL to the primary server"),
        (replace(WELL, pooling=Pooling.TRANSACTIONS), "pooler", "failed", HINT),
        (
            columns("user_id", TheirColumn("integer", "integer", not_null=True)), "types of user_call_scores", "failed",
            "ALTER TABLE user_call_scores ALTER COLUMN user_id TYPE bigint",
        ),
        (
            columns("current_score", TheirColumn("smallint", "smallint", not_null=True)), "types of user_call_scores",
            "warning", "ALTER TABLE user_call_scores ALTER COLUMN current_score TYPE integer",
        ),
        (
            replace(WELL, theirs={}, elsewhere={table: ["dialler"] for table in TABLES}), "search path", "failed",
            "add ?options=-csearch_path%3Ddialler to DATABASE_URL, or run ALTER ROLE leadstream SET search_path ="
            " dialler; to have empty tables made beside them nevertheless, run consumer setup --create-call-centre",
        ),
        (
            replace(WELL, theirs={}, elsewhere={table: ["dialler"] for table in TABLES}, closed={"dialler", "other"}),
            "search path", "failed",
            "run GRANT USAGE ON SCHEMA dialler TO leadstream, and unless the search path names it,"
            " add ?options=-csearch_path%3Ddialler to DATABASE_URL, or run ALTER ROLE leadstream SET search_path ="
            " dialler; to have empty tables made beside them nevertheless, run consumer setup --create-call-centre",
        ),
        (replace(WELL, version=120_001), "version", "failed", "upgrade the server to PostgreSQL 13 or later"),
        (
            replace(WELL, encoding="LATIN1"), "encoding", "failed",
            "CREATE DATABASE centre_utf8 ENCODING 'UTF8' TEMPLATE template0",
        ),
        (replace(WELL, clock_seconds=60.0), "clock", "warning", "chronyc makestep"),
        (replace(WELL, has_schema=False, revision=None, ours={}, lanes=None), "migrations", "failed", "consumer setup"),
        (
            replace(WELL, has_schema=False, revision=None, ours={}, lanes=None, may_create_schema=False), "migrations",
            "failed", "GRANT CREATE ON DATABASE centre TO leadstream",
        ),
        (replace(WELL, newest_revision="0002"), "migrations", "failed", "consumer setup"),
        (replace(WELL, revision="0003"), "migrations", "warning", "start the release that the schema was made for"),
        (replace(WELL, ours={"leads": ALL - {"UPDATE"}}), "our tables", "failed", SCHEMA_GRANT),
        (replace(WELL, lanes=(4, [1])), "lanes", "failed", "export LANES=4"),
        (
            replace(WELL, lanes=(6, [1, 2])), "epochs", "warning",
            "lanes change their epoch together: restore table leadstream.lanes as a whole",
        ),
        (
            replace(WELL, theirs={name: table for name, table in THEIRS.items() if name != "call_queue"}), "call_queue",
            "failed", "consumer setup",
        ),
        (
            columns("is_active", None), "columns of user_call_scores", "failed",
            "ALTER TABLE user_call_scores ADD COLUMN is_active boolean",
        ),
        (
            replace(WELL, privileges={**WELL.privileges, "user_call_scores": frozenset({"SELECT"})}),
            "privileges on user_call_scores", "failed",
            "GRANT INSERT, UPDATE ON user_call_scores TO leadstream",
        ),
        (
            columns("region", TheirColumn("text", "text", not_null=True)), "rows of user_call_scores", "failed",
            "ALTER TABLE user_call_scores ALTER COLUMN region DROP NOT NULL",
        ),
        (
            scores(unique=frozenset({("id",), ("user_id", "region")})), "key of user_call_scores", "failed",
            "CREATE UNIQUE INDEX ON user_call_scores (user_id)",
        ),
        (
            columns("last_conversion_check_at", None), "checked at", "failed",
            "ALTER TABLE user_call_scores ADD COLUMN last_conversion_check_at timestamp",
        ),
        (
            scores(indexes=frozenset()), "score index", "warning",
            f"CREATE INDEX CONCURRENTLY {ADDED_INDEX} ON user_call_scores (current_queue_type, last_call_at)",
        ),
        (
            led("call_queue", by="status"), "index of call_queue", "warning",
            "CREATE INDEX CONCURRENTLY idx_call_queue_user_status ON call_queue (user_id, status)",
        ),
        (
            led("conversions", by="converted_at"), "index of conversions", "warning",
            "CREATE INDEX CONCURRENTLY ix_conversions_user_id ON conversions (user_id)",
        ),
        (
            led("conversions", by="id", partitioned_by=("converted_at",), unique=frozenset({("id", "converted_at")})),
            "index of conversions", "warning", "CREATE INDEX ix_conversions_user_id ON conversions (user_id)",
        ),
    ],
)  # fmt: skip
def test_each_wrong_thing_is_named_alone_with_its_repair(
    facts: PostgresFacts, name: str, state: str, repair: str
) -> None:
    (check,) = wrong(facts)
    assert (check.name, check.state.value, check.hint) == (name, state, repair)


def test_in_shadow_mode_the_call_centre_is_none_of_our_business() -> None:
    alone = replace(WELL, theirs={})
    assert len(wrong(alone)) == 3
    assert wrong(alone, shadow=True) == []
    assert {check.state for check in judge_quick(alone, 6, shadow=True)} == {State.OK}


def test_the_newest_migration_is_told_by_its_file() -> None:
    (check,) = (check for check in judge(WELL, 6, shadow=False) if check.name == "migrations")
    assert (check.state, check.sentence) == (State.OK, "schema leadstream is at revision 0001")
    assert newest_revision() == ScriptDirectory(migrations.__path__[0]).get_current_head()
