"""What the doctor says of a MySQL or MariaDB server, from facts alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from consumer.capture import CAPTURED, REFS, Declared
from consumer.doctor.check import Check, State
from consumer.doctor.mysql import ReaderFacts, judge, judge_times
from consumer.doctor.mysql_facts import MySQLFacts, Registered, View
from consumer.local_time import Created
from consumer.mysql.foreign_keys import Reference
from consumer.stream.checkpoint import Checkpoint

NOW = 1_800_000_000.0
UUID = "b5eb23fe-e844-11f1-904d-02fc00000001"


def checkpoint(behind: float = 1.0, gtid_set: str = f"{UUID}:1-50", file: str = "binlog.000007") -> Checkpoint:
    version = round((NOW - behind) * 1e6)
    return Checkpoint(
        epoch=1, flavor="mysql", server=UUID, gtid_set=gtid_set, file=file, pos=4, version=version, next_seqs=[1]
    )


def declared(column_type: str, collation: str = "", **more: Any) -> Declared:
    """A column as information_schema has it."""
    return Declared(re.split(r"[ (]", column_type)[0], column_type, collation.partition("_")[0], collation, **more)


ID = declared("bigint unsigned", nullable=False, extra="auto_increment")
UNICODE = "utf8mb4_unicode_ci"
WORD = declared("varchar(40)", UNICODE)
TIMES = {"created_at": declared("datetime"), "updated_at": declared("timestamp(6)")}
COLUMNS = {
    "users": {
        "id": ID,
        "current_signature_file_id": declared("varchar(36)", UNICODE),
        "is_enabled": declared("tinyint(1)", nullable=False, default="1"),
        **TIMES,
    },
    "claims": {"id": ID, "user_id": declared("bigint unsigned"), "status": WORD, **TIMES},
    "claim_requirements": {
        "id": declared("char(36)", UNICODE, nullable=False),
        "claim_id": declared("bigint unsigned"),
        "type": WORD,
        "status": declared("enum('PENDING','approved')", UNICODE),
        "claim_requirement_reason": declared("text", UNICODE),
        **TIMES,
    },
}
READER = ReaderFacts(4711, checkpoint(), NOW)
WELL = MySQLFacts(
    place="replica:3306",
    database="company",
    account="'leadstream'@'%'",
    mariadb=False,
    version="8.4.3",
    variables={
        "log_bin": "ON",
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_metadata": "FULL",
        "log_replica_updates": "ON",
        "binlog_expire_logs_seconds": "604800",
        "gtid_mode": "ON",
        "server_id": "1",
        "time_zone": "+00:00",
        "basedir": "/usr/",
    },
    rds_hours=None,
    status={"File": "binlog.000009", "Position": 4, "Binlog_Do_DB": "", "Binlog_Ignore_DB": ""},
    may_replicate=True,
    columns=COLUMNS,
    views=dict.fromkeys(CAPTURED, View.GRANTED),
    indexed=frozenset(REFS),
    highest_user=70_000,
    zone_seconds=0,
    clock_seconds=0.1,
    logs=["binlog.000007", "binlog.000008", "binlog.000009"],
    purged_gtids=f"{UUID}:1-40",
    replication=[{"Seconds_Behind_Source": 2}],
    replicas=[],
    references=[Reference("claims", "user_id", "users", "CASCADE", "CASCADE")],
)
UNINDEXED = WELL.indexed - {("claim_requirements", "claim_id")}


def with_variables(**changed: str) -> MySQLFacts:
    return replace(WELL, variables={**WELL.variables, **changed})


def seen(view: View, columns: Mapping[str, Mapping[str, Declared]]) -> MySQLFacts:
    """Facts with other columns, and another view of `users`."""
    return replace(WELL, columns=columns, views={**WELL.views, "users": view})


def wrong(facts: MySQLFacts, reader: ReaderFacts = READER) -> list[Check]:
    return [check for check in judge(facts, reader) if check.state is not State.OK]


def test_a_server_as_it_should_be_has_nothing_to_repair() -> None:
    checks = judge(WELL, READER)
    assert wrong(WELL) == []
    assert all(check.hint == "" for check in checks)
    assert len({check.name for check in checks}) == len(checks) == 18 + 2 * len(CAPTURED) + len(REFS)


WITHOUT_STATUS = replace(WELL, status=None, may_replicate=False)
NO_SIGNATURE = {**WELL.columns, "users": {"id": ID}}
NO_FLAG = {
    **WELL.columns,
    "users": {name: kind for name, kind in WELL.columns["users"].items() if name != "is_enabled"},
}


@pytest.mark.parametrize(
    ("facts", "name", "state", "repair"),
    [
        (replace(WELL, version="5.7.44"), "version", "failed", "upgrade the server to MySQL 8.0 or later"),
        (
            with_variables(log_bin="OFF"), "log_bin", "failed",
            "put log_bin=binlog below [mysqld] and restart the server",
        ),
        (with_variables(binlog_format="MIXED"), "binlog_format", "failed", "SET PERSIST binlog_format = 'ROW'"),
        (
            with_variables(binlog_row_image="NOBLOB"), "binlog_row_image", "failed",
            "SET PERSIST binlog_row_image = 'FULL'",
        ),
        (
            with_variables(binlog_row_metadata="MINIMAL"), "binlog_row_metadata", "failed",
            "SET PERSIST binlog_row_metadata = 'FULL'",
        ),
        (
            with_variables(log_replica_updates="OFF"), "log_replica_updates", "failed",
            "put log_replica_updates=ON below [mysqld] and restart the server",
        ),
        (
            replace(WELL, status={"Binlog_Do_DB": "shop,other", "Binlog_Ignore_DB": ""}), "binlog filters", "failed",
            "remove binlog_do_db and binlog_ignore_db and restart the server",
        ),
        (
            replace(WELL, status={"Binlog_Do_DB": "", "Binlog_Ignore_DB": "company"}), "binlog filters", "failed",
            "remove binlog_do_db and binlog_ignore_db and restart the server",
        ),
        (
            WITHOUT_STATUS, "privileges", "failed",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'leadstream'@'%'",
        ),
        (
            replace(WELL, columns=NO_SIGNATURE), "columns of users", "failed",
            "GRANT SELECT (current_signature_file_id) ON company.users TO 'leadstream'@'%'",
        ),
        (
            replace(WELL, columns=NO_FLAG), "columns of users", "warning",
            "GRANT SELECT (is_enabled) ON company.users TO 'leadstream'@'%'",
        ),
        (
            seen(View.WHOLE, NO_SIGNATURE), "columns of users", "failed",
            f"set REPLICA_DATABASE_URL to the database that has {', '.join(CAPTURED)}",
        ),
        (
            seen(View.ABSENT, NO_SIGNATURE), "columns of users", "failed",
            f"set REPLICA_DATABASE_URL to the database that has {', '.join(CAPTURED)}",
        ),
        (
            replace(WELL, indexed=UNINDEXED), "index of claim_requirements", "failed",
            "CREATE INDEX claim_requirements_claim_id ON company.claim_requirements (claim_id)",
        ),
        (
            with_variables(binlog_expire_logs_seconds="3600"), "retention", "warning",
            "SET PERSIST binlog_expire_logs_seconds = 604800",
        ),
        (
            replace(WELL, purged_gtids=f"{UUID}:1-51"), "position", "failed",
            "ON_PURGED=reconcile consumer read goes on at the present and has every lead read anew",
        ),
        (
            with_variables(gtid_mode="OFF_PERMISSIVE"), "gtid", "warning",
            "SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = 'ON_PERMISSIVE';"
            " SET PERSIST gtid_mode = 'ON'",
        ),
        (
            with_variables(server_id="4711"), "server_id", "failed",
            "set REPLICA_SERVER_ID to an id that no replica has",
        ),
        (
            replace(WELL, replicas=[Registered(4711, "backup", UUID)]), "server_id", "failed",
            "set REPLICA_SERVER_ID to an id that no replica has",
        ),
        (replace(WELL, zone_seconds=7200), "time zone", "warning", "SET PERSIST time_zone = '+00:00'"),
        (replace(WELL, clock_seconds=31.0), "clock", "warning", "chronyc makestep"),
        (replace(WELL, replication=[{"Seconds_Behind_Source": 900}]), "replica lag", "warning", "SHOW REPLICA STATUS"),
        (replace(WELL, replication=[{"Seconds_Behind_Source": None}]), "replica lag", "failed", "START REPLICA"),
        (
            replace(WELL, replication=None), "replica lag", "warning",
            "GRANT REPLICATION CLIENT ON *.* TO 'leadstream'@'%'",
        ),
    ],
)  # fmt: skip
def test_each_wrong_thing_is_named_alone_with_its_repair(facts: MySQLFacts, name: str, state: str, repair: str) -> None:
    (check,) = wrong(facts)
    assert (check.name, check.state.value, check.hint) == (name, state, repair)


def test_what_is_missing_is_told_apart_from_what_may_not_be_seen() -> None:
    def said(view: View, columns: Mapping[str, Mapping[str, Declared]]) -> str:
        checks = judge(seen(view, columns), READER)
        return next(check.sentence for check in checks if check.name == "columns of users")

    assert said(View.ABSENT, {}) == "there is no table company.users on replica:3306"
    assert said(View.WHOLE, NO_SIGNATURE) == (
        "company.users has no column current_signature_file_id and cannot do without"
    )
    assert said(View.GRANTED, NO_SIGNATURE).startswith("'leadstream'@'%' may not read current_signature_file_id of")


@pytest.mark.parametrize(
    ("database", "named"),
    [("company", "company"), ("claims-prod", "`claims-prod`"), ("2024", "`2024`"), ("a`b", "`a``b`"), ("c1_$", "c1_$")],
)
def test_a_database_is_named_as_statements_have_it(database: str, named: str) -> None:
    columns = {**COLUMNS, "users": {"id": ID}, "claims": {**COLUMNS["claims"], "id": declared("float")}}
    found = wrong(replace(WELL, database=database, columns=columns, indexed=UNINDEXED))
    assert [check.hint for check in found] == [
        f"GRANT SELECT (current_signature_file_id) ON {named}.users TO 'leadstream'@'%'",
        f"ALTER TABLE {named}.claims MODIFY id BIGINT NULL",
        f"CREATE INDEX claim_requirements_claim_id ON {named}.claim_requirements (claim_id)",
    ]


def test_a_view_is_no_table_whatever_columns_it_has() -> None:
    """Its rows are in no binlog, and it has no indexes to miss."""
    for table in CAPTURED:
        views = {**WELL.views, table: View.QUERY}
        indexed = frozenset(place for place in WELL.indexed if place[0] != table)
        (check,) = wrong(replace(WELL, views=views, indexed=indexed))
        assert (check.name, check.state) == (f"columns of {table}", State.FAILED)
        assert check.sentence == f"company.{table} is a view, and no binlog says anything of the rows of one"


def test_an_optional_column_that_is_not_there_is_nothing_to_repair() -> None:
    assert wrong(seen(View.WHOLE, NO_FLAG)) == []


def test_a_clock_that_is_hardly_off_is_not_off_by_less_than_nothing() -> None:
    (clock,) = (check for check in judge(replace(WELL, clock_seconds=-0.04), READER) if check.name == "clock")
    assert clock.sentence == "the clock of replica:3306 is +0.0 s from ours"


def test_mariadb_is_repaired_in_its_own_words() -> None:
    variables = {
        "log_bin": "ON", "binlog_format": "MIXED", "binlog_row_image": "FULL", "binlog_row_metadata": "NO_LOG",
        "log_slave_updates": "OFF", "expire_logs_days": "0.250000", "server_id": "1", "time_zone": "SYSTEM",
    }  # fmt: skip
    server = replace(
        WELL, mariadb=True, version="10.4.1-MariaDB", variables=variables, status=None,
        replication=[{"Seconds_Behind_Master": None}], purged_gtids="",
    )  # fmt: skip
    repairs = {check.name: check.hint for check in wrong(server)}
    assert repairs == {
        "version": "upgrade the server to MariaDB 10.5 or later",
        "binlog_format": "SET GLOBAL binlog_format = 'ROW'",
        "binlog_row_metadata": "SET GLOBAL binlog_row_metadata = 'FULL'",
        "log_replica_updates": "put log_slave_updates=ON below [mysqld] and restart the server",
        "privileges": "GRANT BINLOG MONITOR ON *.* TO 'leadstream'@'%'",
        "retention": "SET GLOBAL expire_logs_days = 7",
        "replica lag": "START ALL SLAVES",
    }


def at_amazon(hours: float | None, **changed: str) -> MySQLFacts:
    """Facts of a server of RDS', whose variables say what they say of any server."""
    return replace(with_variables(basedir="/rdsdbbin/mysql/", **changed), rds_hours=hours)


@pytest.mark.parametrize(
    ("hours", "state", "sentence", "hint"),
    [
        (
            None, State.WARNING,
            "replica:3306 is Amazon's and keeps binlogs by a setting of its own, which 'leadstream'@'%' may not see",
            "GRANT SELECT ON mysql.rds_configuration TO 'leadstream'@'%'",
        ),
        (
            0, State.FAILED,
            "replica:3306 purges binlogs once it does not need them itself; the reader is 1 s behind",
            "CALL mysql.rds_set_configuration('binlog retention hours', 168)",
        ),
        (
            12, State.WARNING,
            "replica:3306 keeps binlogs for 12 hours; the reader is 1 s behind",
            "CALL mysql.rds_set_configuration('binlog retention hours', 168)",
        ),
    ],
)  # fmt: skip
def test_amazons_servers_keep_binlogs_as_their_own_setting_says(
    hours: float | None, state: State, sentence: str, hint: str
) -> None:
    (check,) = wrong(at_amazon(hours))
    assert (check.name, check.state, check.sentence, check.hint) == ("retention", state, sentence, hint)
    assert wrong(at_amazon(168)) == []


def test_what_is_wrong_with_a_server_of_amazons_is_repaired_where_amazon_has_it() -> None:
    server = at_amazon(168, log_bin="OFF", binlog_row_image="MINIMAL", log_replica_updates="OFF")
    hints = {check.name: check.hint for check in wrong(server)}
    group = "in the instance's parameter group (Aurora: in the cluster's)"
    assert hints["binlog_row_image"] == f"set binlog_row_image to 'FULL' {group}"
    assert hints["log_bin"] == hints["log_replica_updates"]
    assert hints["log_bin"].startswith("have RDS keep automated backups of this instance for a day at least")


def test_binlogs_that_the_reader_will_hardly_reach_in_time_fail() -> None:
    late = ReaderFacts(4711, checkpoint(behind=400_000), NOW)
    (check,) = wrong(WELL, late)
    assert (check.name, check.state) == ("retention", State.FAILED)
    assert check.sentence == "replica:3306 keeps binlogs for 7 days; the reader is 5 days behind"
    assert check.hint == "SET PERSIST binlog_expire_logs_seconds = 1600000"


def test_a_position_without_gtids_is_there_as_long_as_its_file() -> None:
    server = with_variables(gtid_mode="OFF")
    for file, names in (("binlog.000007", ["gtid"]), ("binlog.000006", ["position", "gtid"])):
        found = wrong(server, ReaderFacts(4711, checkpoint(gtid_set="", file=file), NOW))
        assert [check.name for check in found] == names


def test_our_own_reader_may_be_connected() -> None:
    ours = Registered(4711, "leadstream", "f0d1e4f0-0000-5000-8000-000000000000")
    assert [check.name for check in wrong(replace(WELL, replicas=[ours]))] == ["server_id"]
    same = Registered(4711, "leadstream", "")
    assert wrong(replace(WELL, replicas=[same])) == []


def test_a_clock_that_was_put_back_behind_the_stream_is_reported_and_the_lag_is_not_known() -> None:
    reader = READER._replace(checkpoint=checkpoint(behind=-600))
    assert [check.name for check in wrong(WELL, reader)] == ["put back"]
    (check,) = wrong(WELL, reader)
    assert check.state is State.WARNING
    assert "is 10 minutes behind" in check.sentence
    assert reader.lag_seconds is None


def test_created_at_that_is_no_utc_is_a_warning_and_too_little_to_compare_is_none() -> None:
    rows = [Created("users", NOW - 5 * 3600 - number, NOW - number) for number in range(3)]
    check = judge_times(WELL, rows, NOW)
    assert (check.name, check.state) == ("created_at", State.WARNING)
    assert check.sentence == "users.created_at holds times 5 h behind UTC: sweeps miss new rows"
    assert judge_times(WELL, rows[:2], NOW).state is State.OK
    assert judge_times(WELL, [], NOW).state is State.OK


def test_a_stream_of_another_database_is_a_failure() -> None:
    reader = READER._replace(checkpoint=msgspec.structs.replace(checkpoint(), database="elsewhere"))
    (check,) = wrong(WELL, reader)
    assert (check.name, check.state) == ("database", State.FAILED)
    assert "elsewhere" in check.hint


@pytest.mark.parametrize(
    ("key", "is_told"),
    [
        (Reference("users", "current_signature_file_id", "files", "SET NULL", "NO ACTION"), True),
        (Reference("users", "current_signature_file_id", "files", "RESTRICT", "NO ACTION"), False),
        (Reference("users", "address_id", "addresses", "SET NULL", "CASCADE"), False),
        (Reference("claims", "lender_id", "lenders", "CASCADE", "NO ACTION"), True),
        (Reference("claims", "", "lenders", "SET NULL", "NO ACTION"), True),
        (Reference("claims", "user_id", "customers", "NO ACTION", "CASCADE"), True),
        (Reference("claim_requirements", "claim_id", "claims", "SET NULL", "CASCADE"), False),
    ],
)
def test_what_foreign_keys_do_unseen_is_told(key: Reference, is_told: bool) -> None:
    """A signature file that is deleted empties its user's column, and no event says so."""
    found = [check.name for check in wrong(replace(WELL, references=[key]))]
    assert found == (["foreign keys"] if is_told else [])
    assert wrong(replace(WELL, references=[key], version="9.6.0")) == []


def test_a_column_that_may_not_be_seen_is_not_named() -> None:
    hidden = Reference("claims", "", "lenders", "CASCADE", "NO ACTION")
    (check,) = wrong(replace(WELL, references=[hidden]))
    assert "claims (a column leads to lenders)" in check.sentence
