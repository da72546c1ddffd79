"""What is said of the call centre's tables, column by column; statements that help are run in the integration tests."""

from __future__ import annotations

import pytest

from consumer.store.call_centre.fit import Finding, TheirColumn, Theirs, conflict_target, elsewhere, judge
from consumer.store.call_centre.needs import LABELS, TABLES, Labels, Use, definition
from tests.unit.store.call_centre.theirs import theirs

VARCHAR = "character varying"


def altered(table: str, name: str, column: TheirColumn) -> Theirs:
    """The table with another column of that name."""
    found = theirs(table)
    return found._replace(columns={**found.columns, name: column})


def wrong(table: str, found: Theirs, labels: Labels = LABELS) -> list[Finding]:
    return [finding for finding in judge(table, found, labels) if not finding.fits]


@pytest.mark.parametrize("table", TABLES)
def test_what_setup_creates_fits(table: str) -> None:
    assert wrong(table, theirs(table)) == []


@pytest.mark.parametrize(
    ("table", "name", "column"),
    [
        ("user_call_scores", "current_score", TheirColumn("bigint", "bigint")),
        ("user_call_scores", "total_attempts", TheirColumn("smallint", "smallint")),
        ("user_call_scores", "current_queue_type", TheirColumn(VARCHAR, VARCHAR)),
        ("user_call_scores", "current_queue_type", TheirColumn("character varying(24)", VARCHAR, 24)),
        ("user_call_scores", "current_queue_type", TheirColumn("queue_name", "text")),
        ("call_queue", "status", TheirColumn("character varying(20)", VARCHAR, 20)),
        ("call_queue", "updated_at", TheirColumn("timestamp(3) without time zone", "timestamp without time zone")),
        ("conversions", "documents_received", TheirColumn("jsonb", "jsonb")),
        ("conversions", "previous_queue_type", TheirColumn("text", "text", not_null=True)),
        ("conversions", "created_at", TheirColumn("timestamp(3) without time zone", "timestamp without time zone",
                                                  not_null=True)),
        ("conversions", "claim_value", TheirColumn("money", "money")),
        ("user_call_scores", "id", TheirColumn("uuid", "uuid", not_null=True)),
    ],
)  # fmt: skip
def test_other_types_that_hold_what_we_write_fit(table: str, name: str, column: TheirColumn) -> None:
    assert wrong(table, altered(table, name, column)) == []


@pytest.mark.parametrize(
    ("table", "name", "column", "problem"),
    [
        ("call_queue", "user_id", TheirColumn("integer", "integer"), "user_id is integer where it must be bigint"),
        ("call_queue", "user_id", TheirColumn("smallint", "smallint"), "user_id is smallint where it must be bigint"),
        ("conversions", "id", TheirColumn("text", "text"), "id is text where it must be uuid"),
        (
            "call_queue", "queue_type", TheirColumn("character varying(20)", VARCHAR, 20),
            "queue_type is character varying(20), too short for requirements_outstanding (24 characters)",
        ),
        (
            "conversions", "conversion_type", TheirColumn("character varying(20)", VARCHAR, 20),
            "conversion_type is character varying(20), too short for requirements_completed (22 characters)",
        ),
        (
            "user_call_scores", "current_queue_type", TheirColumn("queue_kind", "queue_kind", is_enum=True),
            "current_queue_type is the enum queue_kind where it must be text or varchar",
        ),
        (
            "conversions", "converted_at", TheirColumn("timestamp with time zone", "timestamp with time zone"),
            "converted_at is timestamp with time zone where it must be timestamp without time zone, in UTC",
        ),
        (
            "conversions", "updated_at", TheirColumn("timestamp with time zone", "timestamp with time zone"),
            "updated_at is timestamp with time zone where it must be timestamp without time zone, in UTC",
        ),
        (
            "conversions", "requirements_met", TheirColumn("text[]", "text[]"),
            "requirements_met is text[] where it must be json or jsonb",
        ),
        (
            "conversions", "final_score", TheirColumn("integer", "integer", generated=True),
            "final_score is generated, so nobody can write it",
        ),
    ],
)  # fmt: skip
def test_types_that_do_not_are_named(table: str, name: str, column: TheirColumn, problem: str) -> None:
    (finding,) = wrong(table, altered(table, name, column))
    assert (finding.aspect, finding.sentence) == (f"types of {table}", f"{table}.{problem}")
    assert finding.hint.startswith(f"ALTER TABLE {table} ALTER COLUMN {name} ")
    assert not finding.works


def test_a_column_is_long_enough_for_the_names_in_force_not_for_the_plans() -> None:
    found = altered("call_queue", "queue_type", TheirColumn("character varying(20)", VARCHAR, 20))
    assert wrong("call_queue", found, ("unsigned_users", "outstanding_requests", None)) == []
    (finding,) = wrong("call_queue", found, ("unsigned_users", "documents_still_outstanding", "none"))
    assert "too short for documents_still_outstanding (27 characters)" in finding.sentence


def test_smallint_holds_todays_scores_and_is_a_warning() -> None:
    (finding,) = wrong(
        "user_call_scores", altered("user_call_scores", "current_score", TheirColumn("smallint", "smallint"))
    )
    assert finding.works


def test_what_is_wrong_in_one_table_is_one_statement() -> None:
    found = altered("call_queue", "user_id", TheirColumn("integer", "integer"))
    found = found._replace(columns={**found.columns, "queue_type": TheirColumn("kind", "kind", is_enum=True)})
    (finding,) = wrong("call_queue", found)
    assert finding.hint == (
        "ALTER TABLE call_queue ALTER COLUMN user_id TYPE bigint,"
        " ALTER COLUMN queue_type TYPE text USING queue_type::text"
    )


@pytest.mark.parametrize(
    ("table", "name", "labels"),
    [
        ("user_call_scores", "last_reset_date", LABELS),
        ("user_call_scores", "current_queue_type", ("a", "b", None)),
        ("conversions", "last_call_at", LABELS),
        ("conversions", "documents_received", LABELS),
        ("conversions", "requirements_met", LABELS),
    ],
)
def test_a_column_that_we_leave_empty_for_some_must_allow_it(table: str, name: str, labels: Labels) -> None:
    found = theirs(table)
    found = altered(table, name, found.columns[name]._replace(not_null=True))
    (finding,) = wrong(table, found, labels)
    assert finding.hint == f"ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL"


def test_a_queue_column_may_forbid_null_while_no_label_is_null() -> None:
    column = TheirColumn("text", "text", not_null=True)
    assert wrong("user_call_scores", altered("user_call_scores", "current_queue_type", column)) == []


@pytest.mark.parametrize("table", TABLES)
def test_a_column_that_only_updates_name_must_have_no_need_of_a_value(table: str) -> None:
    for name, need in TABLES[table].columns.items():
        if need.use in (Use.UPDATED, Use.READ, Use.THEIRS):
            column = theirs(table).columns[name]._replace(not_null=True, has_default=False)
            (finding,) = wrong(table, altered(table, name, column))
            assert finding.aspect == f"rows of {table}"


@pytest.mark.parametrize(
    ("unique", "partitioned_by", "target"),
    [
        ([("id",)], None, ("id",)),
        ([("id", "converted_at")], None, None),
        ([("id", "converted_at")], ("converted_at",), ("id", "converted_at")),
        ([("converted_at", "id")], ("converted_at",), ("converted_at", "id")),
        ([("id",)], ("id",), ("id",)),
        ([("id", "created_at")], ("created_at",), None),
        ([("user_id", "converted_at")], ("converted_at",), None),
        ([], ("converted_at",), None),
    ],
)
def test_conversions_are_found_again_by_what_is_the_same_whenever_they_are_written(
    unique: list[tuple[str, ...]], partitioned_by: tuple[str, ...] | None, target: tuple[str, ...] | None
) -> None:
    found = theirs("conversions")._replace(unique=frozenset(unique), partitioned_by=partitioned_by)
    assert conflict_target(found) == target
    assert [finding.aspect for finding in wrong("conversions", found)] == ([] if target else ["key of conversions"])


def test_a_key_that_is_impossible_is_not_asked_for() -> None:
    found = theirs("conversions")._replace(unique=frozenset(), partitioned_by=("converted_at",))
    (finding,) = wrong("conversions", found)
    assert finding.hint == "CREATE UNIQUE INDEX ON conversions (id, converted_at)"
    (finding,) = wrong("conversions", found._replace(partitioned_by=("created_at",)))
    assert finding.hint == "partition conversions by converted_at"


def test_a_view_of_the_name_is_no_table() -> None:
    (finding,) = wrong("conversions", theirs("conversions")._replace(kind="v"))
    assert "relkind v" in finding.sentence


def test_a_schema_with_a_name_of_its_own_is_spelt_as_libpq_wants_it() -> None:
    finding = elsewhere("calls on pg:5432", "leadstream", {"conversions": ['"Call Centre"']}, ())
    assert finding is not None
    assert "options=-csearch_path%3D%22Call%5C%20Centre%22" in finding.hint
    assert 'SET search_path = "Call Centre"' in finding.hint
    assert elsewhere("calls on pg:5432", "leadstream", {}, ()) is None


def test_what_is_created_holds_no_column_that_is_only_filled_where_it_is() -> None:
    create, *indexes = definition("conversions")
    assert "created_at" not in create
    assert indexes == ["CREATE INDEX ix_conversions_user_id ON conversions (user_id)"]
