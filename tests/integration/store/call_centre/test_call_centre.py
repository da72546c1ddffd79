"""Call centres as they are: their types, schemas and partitions, each taken as it is or refused with what helps."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from consumer.doctor import postgres, postgres_facts
from consumer.doctor.check import Check, State
from consumer.leads.model import Conversion, ConversionType, QueueType
from consumer.leads.outcome import Outcome
from consumer.leads.rule_file import Labels, RuleFile
from consumer.store.call_centre.effects import conversion_id
from consumer.store.call_centre.needs import TABLES
from consumer.store.errors import NotPrepared
from consumer.store.leads import LeadStore
from consumer.store.refusal import reason_of
from consumer.store.schema.setup import prepare
from tests.integration.store.company import COMPANY, PARTITIONED, STAMPED
from tests.integration.store.databases import row, rows, run
from tests.integration.store.replayer import LANES, Replayer, requirement
from tests.support.company_tables import key

DEPLOYED = Path(__file__).parents[4] / "deploy/postgres/05-callcentre.sql"
GRANTS = DEPLOYED.with_name("10-grants.sql")


def failed(url: str) -> list[Check]:
    """What the doctor finds wrong."""
    checks = postgres.judge(postgres_facts.collect(url, 10), LANES, shadow=False)
    return [check for check in checks if check.state is State.FAILED]


def life_of_two(url: str) -> None:
    """Two customers: one signs and then owes a document, the other hands in what is asked for."""
    with LeadStore(url, LANES, shadow=False, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        replayer.sign(1)
        replayer.commit(1, [(None, requirement(1, 10))])
        replayer.register(2, "file-2")
        replayer.commit(2, [(None, requirement(2, 20))])
        tx = replayer.commit(2, [(requirement(2, 20), requirement(2, 20, "approved"))])
        assert (tx.conversions_added, tx.conversions_there) == (1, 0)
    assert rows(url, "SELECT user_id, current_queue_type, is_active FROM user_call_scores ORDER BY 1") == [
        (1, "requirements_outstanding", True),
        (2, "none", False),
    ]
    assert rows(url, "SELECT user_id, queue_type, status FROM call_queue ORDER BY 1, 2") == [
        (1, "requirements_outstanding", "pending"),
        (1, "unsigned_users", "closed"),
        (2, "requirements_outstanding", "closed"),
    ]
    won = (
        "SELECT user_id, previous_queue_type, conversion_type, documents_received, requirements_met FROM conversions"
        " ORDER BY 1"
    )
    assert rows(url, won) == [
        (1, "unsigned_users", "signature_obtained", ["file-1"], None),
        (2, "requirements_outstanding", "requirements_completed", None, [key(20)]),
    ]


@pytest.mark.parametrize("more", ["", STAMPED, PARTITIONED, STAMPED + ";" + PARTITIONED], ids=[
    "plain", "stamped", "partitioned", "both"])  # fmt: skip
def test_everything_runs_on_the_companys_tables(empty: str, more: str) -> None:
    run(empty, COMPANY)
    if more:
        run(empty, more)
    done = prepare(empty, LANES, 1)
    assert not [sentence for sentence in done if "created table" in sentence]
    life_of_two(empty)
    assert failed(empty) == []
    if STAMPED in more:
        fresh = (
            "SELECT bool_and(now() AT TIME ZONE 'utc' - created_at < interval '1 minute' AND updated_at = created_at)"
        )
        assert row(empty, f"{fresh} FROM conversions") == (True,)


def test_what_the_compose_file_creates_fits(empty: str) -> None:
    run(empty, DEPLOYED.read_text())
    assert not [sentence for sentence in prepare(empty, LANES, 1) if "created table" in sentence]
    life_of_two(empty)
    assert failed(empty) == []


def test_a_conversion_is_written_once_whatever_partition_it_is_in(empty: str) -> None:
    run(empty, COMPANY + PARTITIONED)
    prepare(empty, LANES, 1)
    outcome = Outcome()
    outcome.conversions = [
        Conversion(1, 1, QueueType.UNSIGNED_USERS, ConversionType.SIGNATURE_OBTAINED, 1_700_000_000_123_456, "f", (),
                   reset_at=None)
    ]  # fmt: skip
    with LeadStore(empty, LANES, shadow=False, source="stream") as store:
        Replayer(store).register(1)
        for added in (1, 0):
            with store.transaction() as tx:
                tx.load([1])
                tx.write(outcome)
            assert (tx.conversions_added, tx.conversions_there) == (added, 1 - added)
    assert rows(empty, "SELECT id FROM conversions") == [
        (conversion_id(1, ConversionType.SIGNATURE_OBTAINED, 1_700_000_000_123_456),)
    ]


def test_a_unique_index_of_their_own_hides_no_conversion_of_ours(empty: str) -> None:
    run(empty, COMPANY + PARTITIONED)
    run(empty, "CREATE UNIQUE INDEX once_a_day ON conversions (user_id, converted_at)")
    prepare(empty, LANES, 1)
    with LeadStore(empty, LANES, shadow=False, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        run(
            empty,
            "INSERT INTO conversions (id, user_id, previous_queue_type, conversion_type, converted_at)"
            " VALUES (gen_random_uuid(), 1, 'theirs', 'theirs', to_timestamp(%s) AT TIME ZONE 'UTC')",
            replayer.now // 1_000_000 + 1,
        )
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            replayer.sign(1)
    assert "conversions_2023" in reason_of(caught.value)


MISFITS = {
    "user_id integer": ("ALTER TABLE user_call_scores ALTER user_id TYPE int", "user_id is integer"),
    "user_id smallint": ("ALTER TABLE call_queue ALTER user_id TYPE smallint", "user_id is smallint"),
    "user_id text": ("ALTER TABLE conversions ALTER user_id TYPE text", "user_id is text"),
    "user_id numeric": ("ALTER TABLE conversions ALTER user_id TYPE numeric(20)", r"user_id is numeric\(20,0\)"),
    "id text": ("ALTER TABLE conversions ALTER id TYPE varchar(36)", r"id is character varying\(36\)"),
    "id text with default": (
        "DROP TABLE call_sessions;"
        " ALTER TABLE call_queue ALTER id TYPE text, ALTER id SET DEFAULT gen_random_uuid()::text",
        "id is text",
    ),
    "queue enum": (
        "CREATE TYPE queue_kind AS ENUM ('unsigned_users', 'requirements_outstanding', 'none');"
        " ALTER TABLE call_queue ALTER queue_type TYPE queue_kind USING queue_type::queue_kind",
        "queue_type is the enum queue_kind",
    ),
    "status enum with default": (
        "CREATE TYPE stand AS ENUM ('pending', 'closed'); ALTER TABLE call_queue ALTER status DROP DEFAULT,"
        " ALTER status TYPE stand USING status::stand, ALTER status SET DEFAULT 'pending'",
        "status is the enum stand",
    ),
    "domain over an enum": (
        "CREATE TYPE queue_kind AS ENUM ('unsigned_users', 'requirements_outstanding', 'none');"
        " CREATE DOMAIN queue_name AS queue_kind;"
        " ALTER TABLE call_queue ALTER queue_type TYPE queue_name USING queue_type::queue_name",
        "queue_type is the enum queue_name",
    ),
    "short varchar": (
        "ALTER TABLE user_call_scores ALTER current_queue_type TYPE varchar(20)",
        r"current_queue_type is character varying\(20\), too short for requirements_outstanding \(24 characters\)",
    ),
    "short domain": (
        "CREATE DOMAIN label AS varchar(20); ALTER TABLE conversions ALTER conversion_type TYPE label",
        r"conversion_type is label, too short for requirements_completed \(22 characters\)",
    ),
    "char": ("ALTER TABLE call_queue ALTER queue_type TYPE char(40)", r"queue_type is character\(40\)"),
    "timestamptz": (
        "ALTER TABLE conversions ALTER converted_at TYPE timestamptz", "converted_at is timestamp with time zone",
    ),
    "timestamptz that is only read": (
        "ALTER TABLE user_call_scores ALTER last_call_at TYPE timestamptz(3)", "last_call_at is timestamp",
    ),
    "date": ("ALTER TABLE user_call_scores ALTER last_reset_date TYPE date", "last_reset_date is date"),
    "stamp of another type": (
        "ALTER TABLE conversions ADD created_at timestamptz NOT NULL DEFAULT now()", "created_at is timestamp with",
    ),
    "documents text": ("ALTER TABLE conversions ALTER documents_received TYPE text", "documents_received is text"),
    "active as a number": (
        "ALTER TABLE user_call_scores ALTER is_active DROP DEFAULT,"
        " ALTER is_active TYPE smallint USING is_active::int, ALTER is_active SET DEFAULT 1",
        "is_active is smallint where it must be boolean",
    ),
    "score numeric": (
        "ALTER TABLE user_call_scores ALTER current_score TYPE numeric(5, 2)", r"current_score is numeric\(5,2\)",
    ),
    "not null": (
        "ALTER TABLE conversions ALTER last_call_at SET NOT NULL, ALTER requirements_met SET NOT NULL",
        "last_call_at, requirements_met of conversions is NOT NULL",
    ),
    "demanded": ("ALTER TABLE call_queue ADD region text NOT NULL", "region of call_queue is NOT NULL without"),
    "no key": ("ALTER TABLE conversions DROP CONSTRAINT conversions_pkey", "conversions has no unique index on id"),
    "a key checked at the commit": (
        "ALTER TABLE conversions DROP CONSTRAINT conversions_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
        "conversions_pkey of conversions is deferrable",
    ),
    "missing": ("ALTER TABLE conversions DROP COLUMN requirements_met", "conversions has no column requirements_met"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_a_table_that_does_not_fit_is_refused_with_a_statement_that_makes_it_fit(empty: str, case: str) -> None:
    alteration, problem = MISFITS[case]
    run(empty, COMPANY)
    run(
        empty,
        "INSERT INTO user_call_scores (id, user_id, current_score, updated_at) VALUES (gen_random_uuid(), 9, 7, now())",
    )
    run(empty, alteration)
    with pytest.raises(NotPrepared, match=problem) as caught:
        prepare(empty, LANES, 1)
    found = re.search(r"; run ((?:ALTER|CREATE) .*); or set SHADOW_MODE=true$", str(caught.value))
    assert found is not None, str(caught.value)
    (check,) = [check for check in failed(empty) if check.name not in ("migrations", "checked at")]
    assert re.search(problem, check.sentence)
    assert check.hint == found[1]
    run(empty, check.hint)
    prepare(empty, LANES, 1)
    assert row(empty, "SELECT user_id, current_score, is_active FROM user_call_scores") == (9, 7, True)
    run(empty, "DELETE FROM user_call_scores")
    life_of_two(empty)
    assert failed(empty) == []


def test_everything_that_does_not_fit_is_named_at_once(empty: str) -> None:
    run(empty, COMPANY)
    run(empty, "ALTER TABLE user_call_scores ALTER user_id TYPE int, ALTER current_queue_type TYPE varchar(20)")
    run(empty, "ALTER TABLE call_queue ALTER user_id TYPE int; ALTER TABLE conversions DROP COLUMN final_score")
    with pytest.raises(NotPrepared) as caught:
        prepare(empty, LANES, 1)
    for word in ("call_queue.user_id is", "final_score", "user_call_scores.user_id is", "current_queue_type is"):
        assert word in str(caught.value)
    for statement in re.findall(r"run (ALTER TABLE .*?);", str(caught.value)):
        run(empty, statement)
    prepare(empty, LANES, 1)


def test_labels_in_force_decide_what_is_long_enough(empty: str) -> None:
    run(empty, COMPANY)
    run(empty, "ALTER TABLE call_queue ALTER queue_type TYPE varchar(20)")
    run(empty, "ALTER TABLE user_call_scores ALTER current_queue_type SET NOT NULL")
    short = RuleFile(labels=Labels(outstanding="outstanding_requests"))
    with_null = RuleFile(labels=Labels(outstanding="outstanding_requests", none=None))
    with pytest.raises(NotPrepared, match="requirements_outstanding"):
        prepare(empty, LANES, 1)
    with pytest.raises(NotPrepared, match="current_queue_type of user_call_scores is NOT NULL"):
        prepare(empty, LANES, 1, first_rules=with_null)
    prepare(empty, LANES, 1, first_rules=short)
    assert failed(empty) == []


@pytest.mark.parametrize(
    "alteration",
    [
        "ALTER TABLE user_call_scores ALTER current_score TYPE bigint, ALTER total_attempts TYPE smallint",
        "ALTER TABLE conversions ALTER documents_received TYPE json, ALTER conversion_type TYPE varchar(22)",
        "ALTER TABLE conversions ALTER converted_at TYPE timestamp(0), ALTER last_call_at TYPE timestamp",
        "CREATE DOMAIN label AS varchar(30) NOT NULL; ALTER TABLE call_queue ALTER queue_type TYPE label",
        "CREATE EXTENSION IF NOT EXISTS citext; ALTER TABLE call_queue ALTER queue_type TYPE citext",
        "ALTER TABLE call_queue ADD number bigint GENERATED ALWAYS AS IDENTITY,"
        " ADD twice int GENERATED ALWAYS AS (priority_score * 2) STORED NOT NULL",
        "ALTER TABLE conversions ADD created_at timestamp GENERATED ALWAYS AS (converted_at) STORED",
    ],
)
def test_other_shapes_that_can_be_written_are_taken_as_they_are(empty: str, alteration: str) -> None:
    run(empty, COMPANY)
    run(empty, alteration)
    prepare(empty, LANES, 1)
    life_of_two(empty)
    assert failed(empty) == []


def test_tables_partitioned_by_what_changes_are_refused(empty: str) -> None:
    run(empty, COMPANY)
    run(empty, STAMPED)
    run(empty, PARTITIONED.replace("converted_at", "created_at"))
    with pytest.raises(
        NotPrepared, match=r"partitioned by created_at, so no unique index .* partition conversions by converted_at"
    ):
        prepare(empty, LANES, 1)


def test_a_partitioned_table_without_a_key_gets_one_by_the_statement_named(empty: str) -> None:
    run(empty, COMPANY + PARTITIONED)
    run(empty, "ALTER TABLE conversions DROP CONSTRAINT conversions_pkey1")
    with pytest.raises(NotPrepared, match=r"run CREATE UNIQUE INDEX ON conversions \(id, converted_at\)"):
        prepare(empty, LANES, 1)
    run(empty, "CREATE UNIQUE INDEX ON conversions (id, converted_at)")
    prepare(empty, LANES, 1)
    life_of_two(empty)


def test_a_column_that_comes_while_a_session_lasts_is_filled_from_the_next_one_on(empty: str) -> None:
    run(empty, COMPANY)
    prepare(empty, LANES, 1)
    with LeadStore(empty, LANES, shadow=False, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        run(empty, "ALTER TABLE conversions ADD COLUMN created_at timestamp(3)")
        replayer.sign(1)
        store.close()
        replayer.register(2)
        replayer.sign(2, "file-2")
    assert rows(empty, "SELECT user_id, created_at IS NULL FROM conversions ORDER BY 1") == [(1, True), (2, False)]


# --- another schema ---------------------------------------------------------------------------------------------------


@pytest.fixture
def dialler(empty: str) -> str:
    """A database whose tables lie in a schema that nobody told our role of."""
    run(empty, "DROP SCHEMA IF EXISTS dialler CASCADE")
    run(empty, "CREATE SCHEMA dialler")
    run(f"{empty}?options=-csearch_path%3Ddialler", COMPANY)
    return empty


def test_tables_in_a_schema_that_the_search_path_does_not_name_are_asked_about(dialler: str) -> None:
    with pytest.raises(NotPrepared) as caught:
        prepare(dialler, LANES, 1)
    assert "has call_queue, conversions, user_call_scores in schema dialler, which the search" in str(caught.value)
    assert rows(dialler, "SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'leadstream')") == []
    found = re.search(r"add \?(options=\S+) to DATABASE_URL", str(caught.value))
    assert found is not None
    assert "search path" in {check.name for check in failed(dialler)}

    url = f"{dialler}?{found[1]}"
    assert not [sentence for sentence in prepare(url, LANES, 1) if "created table" in sentence]
    with LeadStore(url, LANES, shadow=False, source="stream") as store:
        Replayer(store).register(1)
    assert failed(url) == []
    assert rows(dialler, "SELECT user_id FROM dialler.user_call_scores") == [(1,)]
    run(dialler, "DROP SCHEMA dialler CASCADE")


def test_a_plain_role_is_told_of_the_schema_that_it_may_not_use(dialler: str) -> None:
    """PostgreSQL leaves it out of whatever search path names it."""
    role = "store_plain"
    grants = re.sub(r"(TO|ROLE|rolname =) ('?)leadstream", rf"\1 \2{role}", GRANTS.read_text()).replace("%", "%%")
    run(dialler, f"DROP ROLE IF EXISTS {role}")
    run(f"{dialler}?options=-csearch_path%3Ddialler", grants)
    theirs = re.sub(r"//[^@]*@", f"//{role}:leadstream@", dialler)
    named = f"{theirs}?options=-csearch_path%3Ddialler"
    try:
        run(dialler, f"REVOKE USAGE ON SCHEMA dialler FROM {role}")
        for url in (theirs, named):
            with pytest.raises(NotPrepared, match=f"user_call_scores in schema dialler, which {role} may not use"):
                prepare(url, LANES, 1)
            (astray,) = [check for check in failed(url) if check.name == "search path"]
            found = re.match(r"run (GRANT USAGE ON SCHEMA dialler TO \w+), and ", astray.hint)
            assert found is not None, astray.hint
            grant = found[1]
        run(dialler, grant)
        with pytest.raises(NotPrepared, match="which the search path of"):
            prepare(theirs, LANES, 1)
        assert not [sentence for sentence in prepare(named, LANES, 1) if "created table" in sentence]
        assert failed(named) == []

        run(dialler, f"REVOKE USAGE ON SCHEMA dialler FROM {role}")
        run(f"{dialler}?options=-csearch_path%3Ddialler", grants)
        assert failed(named) == [], "the file of grants gives it, too"
    finally:
        run(dialler, "DROP SCHEMA dialler CASCADE")
        run(dialler, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        run(dialler, f"DROP OWNED BY {role}")
        run(dialler, f"DROP ROLE {role}")


def test_a_role_that_is_given_the_schema_finds_its_tables(dialler: str) -> None:
    run(dialler, "DROP ROLE IF EXISTS store_dialler")
    run(dialler, "CREATE ROLE store_dialler LOGIN SUPERUSER PASSWORD 'dialler'")
    theirs = re.sub(r"//[^@]*@", "//store_dialler:dialler@", dialler)
    try:
        with pytest.raises(NotPrepared) as caught:
            prepare(theirs, LANES, 1)
        found = re.search(r"or run (ALTER ROLE .*?);", str(caught.value))
        assert found is not None
        run(dialler, found[1])
        assert not [sentence for sentence in prepare(theirs, LANES, 1) if "created table" in sentence]
    finally:
        run(dialler, "DROP SCHEMA dialler CASCADE")
        run(dialler, "REASSIGN OWNED BY store_dialler TO CURRENT_USER")
        run(dialler, "DROP OWNED BY store_dialler")
        run(dialler, "DROP ROLE store_dialler")


def test_whoever_wants_new_tables_beside_them_says_so(dialler: str) -> None:
    done = prepare(dialler, LANES, 1, create=True)
    assert [sentence for sentence in done if "created table" in sentence] == [
        f"created table {name}" for name in TABLES
    ]
    assert prepare(dialler, LANES, 1) == [], "now the search path finds some"
    run(dialler, "DROP SCHEMA dialler CASCADE")


def test_one_table_elsewhere_is_enough_to_ask(empty: str) -> None:
    run(empty, COMPANY)
    run(empty, "CREATE SCHEMA archive; ALTER TABLE conversions SET SCHEMA archive")
    with pytest.raises(NotPrepared, match="conversions in schema archive, which the search path of"):
        prepare(empty, LANES, 1)
    run(empty, "DROP SCHEMA archive CASCADE")


def test_what_another_database_user_keeps_apart_from_the_three_concerns_nobody(empty: str) -> None:
    run(empty, COMPANY)
    run(empty, "CREATE SCHEMA backup; CREATE TABLE backup.conversions (id int)")
    prepare(empty, LANES, 1)
    run(empty, "DROP SCHEMA backup CASCADE")


def test_shadow_mode_asks_nothing(dialler: str) -> None:
    prepare(dialler, LANES, 1, shadow=True)
    run(dialler, "DROP SCHEMA dialler CASCADE")
