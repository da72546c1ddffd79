"""What setup does to PostgreSQL, and what it leaves alone."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from consumer.doctor.postgres_facts import newest_revision
from consumer.store.errors import NotPrepared, StoreUnavailable
from consumer.store.leads import LeadStore
from consumer.store.schema.setup import SCHEMA, prepare
from deploy.reference.schema import tables
from tests.integration.store.databases import description, new_database, row, rows, run
from tests.integration.store.replayer import LANES, Replayer

NEWEST = newest_revision()
PUBLIC = "-c search_path=public"
"""The role of these tests has the name of our schema, which so would be its default."""

PRODUCTION = """
CREATE TABLE user_call_scores (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id bigint NOT NULL UNIQUE,
    current_score integer NOT NULL DEFAULT 0,
    next_call_after timestamp,
    last_call_at timestamp,
    total_attempts integer NOT NULL DEFAULT 0,
    successful_calls integer NOT NULL DEFAULT 0,
    last_outcome varchar(50),
    base_score integer NOT NULL DEFAULT 0,
    outcome_penalty_score integer NOT NULL DEFAULT 0,
    time_penalty_score integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    current_queue_type varchar(50),
    last_reset_date timestamp,
    last_queue_check timestamp,
    region text NOT NULL DEFAULT 'uk',
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX idx_user_call_scores_next_call ON user_call_scores (next_call_after);
CREATE TABLE conversions (
    id uuid PRIMARY KEY,
    user_id bigint NOT NULL,
    previous_queue_type varchar(50),
    conversion_type varchar(100) NOT NULL,
    conversion_reason varchar(255),
    final_score integer,
    total_call_attempts integer DEFAULT 0,
    last_call_at timestamp,
    converted_at timestamp NOT NULL,
    primary_agent_id integer,
    contributing_agents jsonb,
    documents_received jsonb,
    signature_obtained boolean NOT NULL DEFAULT false,
    requirements_met jsonb,
    claim_value numeric(10, 2),
    estimated_commission numeric(10, 2),
    campaign text NOT NULL DEFAULT 'none'
);
CREATE TABLE call_queue (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id bigint NOT NULL REFERENCES user_call_scores (user_id) ON DELETE CASCADE,
    claim_id bigint,
    queue_type varchar(50) NOT NULL,
    priority_score integer NOT NULL DEFAULT 0,
    queue_position integer,
    status varchar(20) NOT NULL DEFAULT 'pending',
    queue_reason text,
    assigned_to_agent_id integer,
    assigned_at timestamp,
    callback_id uuid,
    available_from timestamp NOT NULL DEFAULT now(),
    attempts bigint GENERATED ALWAYS AS IDENTITY,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
INSERT INTO user_call_scores (user_id, current_score, current_queue_type) VALUES (1, 33, 'unsigned_users');
"""


def test_a_new_database_gets_everything_and_each_step_is_a_sentence(empty: str) -> None:
    assert prepare(empty, 3, 1) == [
        f"brought schema leadstream from nothing to revision {NEWEST}",
        "put the default rules in force; `consumer rules show` prints them",
        "created table user_call_scores",
        "created table conversions",
        "created table call_queue",
        "added 3 lanes, epoch 1",
    ]
    assert rows(empty, "SELECT lane, epoch, next_seq, version, offsets, owner FROM leadstream.lanes ORDER BY 1") == [
        (lane, 1, 1, 0, {}, None) for lane in range(3)
    ]


def test_the_call_centres_tables_are_created_beside_our_schema_not_in_it(empty: str) -> None:
    prepare(empty, 3, 1)
    theirs = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert rows(empty, theirs) == [("call_queue",), ("conversions",), ("user_call_scores",)]
    ours = "SELECT tablename FROM pg_tables WHERE schemaname = 'leadstream' ORDER BY 1"
    assert [name for (name,) in rows(empty, ours)] == [
        "alembic_version", "claims", "dead_letters", "kept_conversions", "lags", "lanes", "leads", "left_behind",
        "processes", "published_events", "rechecks", "requirements", "rules", "runs", "shown", "stints",
    ]  # fmt: skip


def test_existing_tables_are_found_in_whatever_schema_the_search_path_names(empty: str) -> None:
    run(empty, "CREATE SCHEMA calls")
    with_path = f"{empty}?options=-c%20search_path%3Dcalls,public"
    run(with_path, PRODUCTION)
    done = prepare(with_path, 3, 1)
    assert "added column last_conversion_check_at to user_call_scores" in done
    assert not [sentence for sentence in done if "created table" in sentence]
    assert prepare(with_path, 3, 1) == []
    run(empty, "DROP SCHEMA calls CASCADE")


def test_setting_up_twice_changes_nothing(empty: str) -> None:
    prepare(empty, 3, 1)
    before = description(empty), rows(empty, "SELECT * FROM leadstream.lanes ORDER BY 1")
    assert prepare(empty, 3, 1) == []
    assert (description(empty), rows(empty, "SELECT * FROM leadstream.lanes ORDER BY 1")) == before


def test_the_reference_describes_the_schema_that_migrations_lead_to(empty: str) -> None:
    prepare(empty, 3, 1)
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(empty, options=PUBLIC), poolclass=NullPool
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "version_table_schema": SCHEMA,
                "compare_server_default": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
            },
        )
        assert compare_metadata(context, tables()) == []


def test_storage_parameters_and_partial_indexes_are_as_described(empty: str) -> None:
    prepare(empty, 3, 1)
    options = "SELECT relname, reloptions FROM pg_class WHERE relname = ANY(%s) ORDER BY 1"
    assert rows(empty, options, ["lanes", "leads"]) == [("lanes", ["fillfactor=50"]), ("leads", ["fillfactor=80"])]
    partial = """
        SELECT relname, pg_get_expr(indpred, indrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indpred IS NOT NULL AND relnamespace = 'leadstream'::regnamespace ORDER BY 1"""
    assert rows(empty, partial) == [
        ("dead_letters_unresolved", "(resolved_at IS NULL)"),
        ("leads_to_judge", "(judge_after IS NOT NULL)"),
        ("runs_under_way", "(outcome = 'running'::text)"),
        ("stints_conversions", "(conversion_type IS NOT NULL)"),
        ("stints_events", "(event_number IS NOT NULL)"),
        (
            "stints_events_waiting",
            "((conversion_type IS NOT NULL) AND (in_shadow IS FALSE) AND (event_number IS NULL)"
            " AND (paid_before IS NOT TRUE))",
        ),
        ("stints_first_seen", "((number = 1) AND (source = 'stream'::text))"),
        ("stints_one_conversion_per_signature", "(conversion_type = 'signature_obtained'::text)"),
        ("stints_open", "(closed_at IS NULL)"),
    ]


def test_existing_tables_are_altered_only_by_three_indexes_and_a_column(empty: str) -> None:
    run(empty, PRODUCTION)
    before = set(description(empty))
    assert prepare(empty, 3, 1) == [
        f"brought schema leadstream from nothing to revision {NEWEST}",
        "put the default rules in force; `consumer rules show` prints them",
        "added index idx_user_call_scores_queue_type_last_call to user_call_scores",
        "added column last_conversion_check_at to user_call_scores",
        "added index ix_conversions_user_id to conversions",
        "added index idx_call_queue_user_status to call_queue",
        "added 3 lanes, epoch 1",
    ]
    added = {line for line in set(description(empty)) - before if line[0] == "public" or " public." in line[0]}
    assert added == {
        ("public", "user_call_scores", "last_conversion_check_at", 19, "timestamp without time zone", "YES", None),
        (
            "CREATE INDEX idx_user_call_scores_queue_type_last_call ON public.user_call_scores "
            "USING btree (current_queue_type, last_call_at)",
        ),
        ("CREATE INDEX idx_call_queue_user_status ON public.call_queue USING btree (user_id, status)",),
        ("CREATE INDEX ix_conversions_user_id ON public.conversions USING btree (user_id)",),
    }
    assert before <= set(description(empty))
    assert row(empty, "SELECT current_score, region FROM user_call_scores") == (33, "uk")
    assert prepare(empty, 3, 1) == []


def test_a_schema_that_a_newer_release_has_made_is_left_as_it_is(empty: str) -> None:
    prepare(empty, 3, 1)
    run(empty, "UPDATE leadstream.alembic_version SET version_num = '9999'")
    left = "left schema leadstream at revision 9999, which a newer release has made"
    assert prepare(empty, 3, 1) == [left]
    assert row(empty, "SELECT version_num FROM leadstream.alembic_version") == ("9999",)


def test_effects_fit_the_tables_of_production(empty: str) -> None:
    run(empty, PRODUCTION)
    prepare(empty, LANES, 1)
    with LeadStore(empty, LANES, shadow=False, source="stream") as store:
        replayer = Replayer(store)
        replayer.register(1)
        replayer.register(2)
        replayer.sign(1)
        replayer.sign(2, "file-2")
    assert rows(empty, "SELECT user_id, current_score, is_active, region FROM user_call_scores ORDER BY 1") == [
        (1, 33, False, "uk"),
        (2, 0, False, "uk"),
    ]
    assert rows(empty, "SELECT user_id, final_score, documents_received, campaign FROM conversions ORDER BY 1") == [
        (1, 33, ["file-1"], "none"),
        (2, 0, ["file-2"], "none"),
    ]
    assert rows(empty, "SELECT user_id, status FROM call_queue ORDER BY 1") == [(1, "closed"), (2, "closed")]


def test_shadow_mode_leaves_existing_tables_as_they_are(empty: str) -> None:
    run(empty, PRODUCTION)
    before = set(description(empty))
    assert prepare(empty, 3, 1, shadow=True) == [
        f"brought schema leadstream from nothing to revision {NEWEST}",
        "put the default rules in force; `consumer rules show` prints them",
        "added 3 lanes, epoch 1",
    ]
    assert before == {line for line in description(empty) if line[0] == "public" or " public." in line[0]}


def test_shadow_mode_creates_none_of_the_call_centres_tables(empty: str) -> None:
    prepare(empty, 3, 1, shadow=True)
    assert rows(empty, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    assert prepare(empty, 3, 1) == [
        "created table user_call_scores",
        "created table conversions",
        "created table call_queue",
    ]


@pytest.mark.parametrize(
    ("lanes", "epoch", "message"),
    [
        (4, 1, r"LANES is 4, but leadstream\.lanes in store_\w+ on .* has 3; set LANES=3"),
        (2, 1, r"LANES is 2, but leadstream\.lanes in .* has 3; set LANES=3"),
        (
            3,
            2,
            r"is at epoch 1, the stream at epoch 2: they do not belong together; check DATABASE_URL and TOPIC_PREFIX",
        ),
    ],
)
def test_lanes_that_do_not_fit_are_refused(empty: str, lanes: int, epoch: int, message: str) -> None:
    prepare(empty, 3, 1)
    with pytest.raises(NotPrepared, match=message):
        prepare(empty, lanes, epoch)


@pytest.mark.parametrize("moved", ["next_seq = 2", "epoch = 2"])
def test_lanes_of_another_stream_are_refused_to_one_that_begins(empty: str, moved: str) -> None:
    prepare(empty, 3, 1, begins=True)
    assert prepare(empty, 3, 1, begins=True) == [], "a setup that was cut short can be run again"
    run(empty, f"UPDATE leadstream.lanes SET {moved}")
    with pytest.raises(NotPrepared, match=r"check DATABASE_URL and TOPIC_PREFIX.*DELETE FROM leadstream\.lanes"):
        prepare(empty, 3, 1, begins=True)
    run(empty, "DELETE FROM leadstream.lanes")
    assert prepare(empty, 3, 1, begins=True) == ["added 3 lanes, epoch 1"]


@pytest.mark.parametrize(
    ("alteration", "message"),
    [
        (
            "ALTER TABLE conversions DROP COLUMN requirements_met",
            r"in store_\w+ on .*, conversions has no column requirements_met;"
            r" run ALTER TABLE conversions ADD COLUMN requirements_met json; or set SHADOW_MODE=true",
        ),
        (
            "ALTER TABLE call_queue ALTER COLUMN priority_score DROP DEFAULT",
            r"priority_score of call_queue is NOT NULL without a default.*"
            r"run ALTER TABLE call_queue ALTER COLUMN priority_score DROP NOT NULL",
        ),
        (
            "ALTER TABLE user_call_scores DROP CONSTRAINT user_call_scores_user_id_key CASCADE",
            r"no unique index on user_id; run CREATE UNIQUE INDEX ON user_call_scores \(user_id\)",
        ),
        ("ALTER TABLE conversions DROP CONSTRAINT conversions_pkey", r"no unique index on id"),
    ],
)
def test_existing_tables_that_could_not_be_written_are_refused_and_nothing_is_done(
    empty: str, alteration: str, message: str
) -> None:
    run(empty, PRODUCTION)
    run(empty, alteration)
    before = description(empty)
    with pytest.raises(NotPrepared, match=message):
        prepare(empty, 3, 1)
    assert description(empty) == before


def test_two_setups_at_once_take_turns(empty: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = [future.result(60) for future in [pool.submit(prepare, empty, 3, 1) for _ in range(2)]]
    assert sorted(map(len, results)) == [0, 6]


def test_a_user_without_rights_is_told_what_is_needed(empty: str) -> None:
    run(empty, "DROP ROLE IF EXISTS store_guest")
    run(empty, "CREATE ROLE store_guest LOGIN PASSWORD 'guest'")
    try:
        guest = re.sub(r"//[^@]*@", "//store_guest:guest@", empty)
        with pytest.raises(NotPrepared, match=r"permission denied .*; run setup as a user who may create schemas"):
            prepare(guest, 3, 1)
    finally:
        run(empty, "DROP ROLE store_guest")


def test_a_database_that_cannot_hold_every_text_is_refused(server_url: str) -> None:
    with (
        new_database(server_url, "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0") as url,
        pytest.raises(NotPrepared, match=r"has the encoding LATIN1, .* created with ENCODING 'UTF8'"),
    ):
        prepare(url, 3, 1)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL calls on 127\.0\.0\.1:1 cannot be reached"):
        prepare("postgresql://me:secret@127.0.0.1:1/calls", 3, 1)
