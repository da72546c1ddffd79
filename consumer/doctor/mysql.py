"""What is judged of the MySQL or MariaDB server whose binlog is read. Pure: facts in, checks out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from math import inf
from typing import Final, NamedTuple
from uuid import NAMESPACE_DNS, uuid5

from consumer.binlog.position import MySQLGtids
from consumer.capture import CAPTURED, REFS
from consumer.doctor import mysql_types
from consumer.doctor.check import Check, State, judged, offset
from consumer.doctor.mysql_facts import MySQLFacts, Row, View
from consumer.local_time import HINT, Created, misdated
from consumer.local_time import sentence as off_sentence
from consumer.mysql.retention import RDS_MOST_HOURS, is_rds, retention_seconds
from consumer.stream.checkpoint import Checkpoint
from consumer.versions import age, ahead_seconds

SERVER: Final = mysql_types.SERVER
OLDEST: Final = {False: (8, 0), True: (10, 5)}
"""The oldest version that is supported, by whether it is MariaDB."""
LOGS_CASCADES: Final = (9, 6)
"""The MySQL from which on the binlog has what foreign keys do."""
ROW_SETTINGS: Final = (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_metadata", "FULL"))
SHORT_RETENTION_SECONDS: Final = 24 * 3600
LATE_REPLICA_SECONDS: Final = 60.0
CLOCK_SECONDS: Final = 5.0
ARMS: Final = 2
"""Binlogs are kept safely when they outlast the reader's lag so many times."""


class ReaderFacts(NamedTuple):
    """Our reader: its id among the replicas, and where it stands (None where that is not known, `problem` says why)."""

    server_id: int
    checkpoint: Checkpoint | None
    now: float
    """Seconds since the epoch."""
    problem: str = ""

    @property
    def lag_seconds(self) -> float | None:
        """How far it is behind; None where that is not known."""
        return age(self.checkpoint.version, self.now) if self.checkpoint else None


def judge(facts: MySQLFacts, reader: ReaderFacts, mentioned: Collection[str] = ()) -> list[Check]:
    """Every precondition of the server. `mentioned` as in `judge_quick`."""
    return [*judge_quick(facts, reader, mentioned), *_indexes(facts), _references(facts), _retention(facts, reader),
            _position(facts, reader), _database(facts, reader),
            _gtid(facts), _zone(facts), _clock(facts), _versions(facts, reader), _replication(facts)]  # fmt: skip


def judge_times(facts: MySQLFacts, rows: Sequence[Created], now: float) -> Check:
    """Whether what new customers' rows say of when they were made is UTC; `now` is in seconds since the epoch."""
    found = misdated(rows, now + facts.clock_seconds)
    sentence = f"created_at of {len(rows)} rows of new customers agrees with when they were committed"
    if not rows:
        sentence = "no customer is new enough to compare created_at with when it was committed"
    if found:
        sentence = "; ".join(off_sentence(table, off) for table, off in found.items()) + ": sweeps miss new rows"
    return _check("created_at", State.WARNING if found else State.OK, sentence, HINT)


def judge_quick(facts: MySQLFacts, reader: ReaderFacts, mentioned: Collection[str] = ()) -> list[Check]:
    """What a reader cannot do without. `mentioned` are informative columns that the rules look at after all."""
    return [_version(facts), _log_bin(facts), *_row_settings(facts), _replica_updates(facts), _filters(facts),
            _privileges(facts), *_columns(facts), *mysql_types.judge(facts, mentioned),
            _server_id(facts, reader)]  # fmt: skip


_check = partial(judged, SERVER)


def _version(facts: MySQLFacts) -> Check:
    kind, oldest = "MariaDB" if facts.mariadb else "MySQL", OLDEST[facts.mariadb]
    found = re.match(r"(\d+)\.(\d+)", facts.version)
    old = found is None or (int(found[1]), int(found[2])) < oldest
    hint = f"upgrade the server to {kind} {oldest[0]}.{oldest[1]} or later"
    return _check("version", old, f"{facts.place} is {kind} {facts.version}", hint)


def _log_bin(facts: MySQLFacts) -> Check:
    off = facts.variables.get("log_bin") != "ON"
    sentence = f"{facts.place} writes {'no' if off else 'a'} binlog"
    hint = "put log_bin=binlog below [mysqld] and restart the server"
    return _check("log_bin", off, sentence, _RDS_BACKUPS if is_rds(facts.variables) else hint)


_RDS_BACKUPS: Final = (
    "have RDS keep automated backups of this instance for a day at least (Aurora: set binlog_format to ROW in the"
    " cluster's parameter group)"
)
"""What makes servers of Amazon's write a binlog, replicas too."""


def _row_settings(facts: MySQLFacts) -> Iterator[Check]:
    for name, wanted in ROW_SETTINGS:
        # MySQL is about to give up binlog_format, because ROW will be all there is.
        found = facts.variables.get(name, "ROW" if name == "binlog_format" else "unknown to this server")
        yield _check(name, found != wanted, f"{name} is {found} on {facts.place}", _set(facts, name, f"'{wanted}'"))


def _set(facts: MySQLFacts, name: str, value: str) -> str:
    """The statement that sets a variable; MariaDB cannot persist it, so it wants a line in its configuration too.

    At Amazon nobody may execute one.
    """
    if is_rds(facts.variables):
        return f"set {name} to {value} in the instance's parameter group (Aurora: in the cluster's)"
    return f"SET {'GLOBAL' if facts.mariadb else 'PERSIST'} {name} = {value}"


def _replica_updates(facts: MySQLFacts) -> Check:
    on = "ON" in (facts.variables.get("log_replica_updates"), facts.variables.get("log_slave_updates"))
    follows = bool(facts.replication)
    if not follows:
        unknown = facts.replication is None and not on
        sentence = (
            f"{facts.place} follows no other server" if not unknown else f"whether {facts.place} follows is hidden"
        )
        return _check("log_replica_updates", State.WARNING if unknown else State.OK, sentence, _grant_monitor(facts))
    sentence = (
        f"{facts.place} is a replica and {'writes' if on else 'does not write'} its source's changes to its binlog"
    )
    name = "log_slave_updates" if facts.mariadb else "log_replica_updates"
    hint = f"put {name}=ON below [mysqld] and restart the server"
    return _check("log_replica_updates", not on, sentence, _RDS_BACKUPS if is_rds(facts.variables) else hint)


def _filters(facts: MySQLFacts) -> Check:
    row = facts.status or {}
    only = {name for name in str(row.get("Binlog_Do_DB", "")).split(",") if name}
    never = {name for name in str(row.get("Binlog_Ignore_DB", "")).split(",") if name}
    left_out = facts.database in never or bool(only and facts.database not in only)
    sentence = f"{facts.place} {'leaves' if left_out else 'does not leave'} {facts.database} out of its binlog"
    return _check(
        "binlog filters", left_out, sentence, "remove binlog_do_db and binlog_ignore_db and restart the server"
    )


def _privileges(facts: MySQLFacts) -> Check:
    client = "BINLOG MONITOR" if facts.mariadb else "REPLICATION CLIENT"
    missing = [
        *([] if facts.may_replicate else ["REPLICATION SLAVE"]),
        *([client] if facts.status is None else []),
    ]
    sentence = f"{facts.account} has {'no ' + ' and no '.join(missing) if missing else 'what reading the binlog takes'}"
    return _check("privileges", bool(missing), sentence, f"GRANT {', '.join(missing)} ON *.* TO {facts.account}")


def _grant_monitor(facts: MySQLFacts) -> str:
    return f"GRANT {'SLAVE MONITOR' if facts.mariadb else 'REPLICATION CLIENT'} ON *.* TO {facts.account}"


def _columns(facts: MySQLFacts) -> Iterator[Check]:
    for table, captured in CAPTURED.items():
        name, full = f"columns of {table}", f"{facts.schema}.{table}"
        view = facts.views.get(table, View.NONE)
        elsewhere = f"set REPLICA_DATABASE_URL to the database that has {', '.join(CAPTURED)}"
        if view is View.ABSENT:
            yield _check(name, True, f"there is no table {full} on {facts.place}", elsewhere)
            continue
        if view is View.QUERY:
            sentence = f"{full} is a view, and no binlog says anything of the rows of one"
            yield _check(name, True, sentence, elsewhere)
            continue
        seen = facts.columns.get(table, {})
        hidden = [column for column in captured.columns if column not in seen]
        needed = [column for column in hidden if column in captured.needed]
        listed = ", ".join(needed or hidden)
        state = State.FAILED if needed else State.WARNING if hidden else State.OK
        sentence = f"{facts.account} reads {full} as it must"
        hint = f"GRANT SELECT ({listed}) ON {full} TO {facts.account}"
        if hidden and view is View.WHOLE:
            state, hint = (State.FAILED if needed else State.OK), elsewhere
            sentence = f"{full} has no column {listed}" + (" and cannot do without" if needed else ", which may be so")
        elif hidden:
            sentence = f"{facts.account} may not read {listed} of {full}, if there is such a thing"
        yield _check(name, state, sentence, hint)


def _server_id(facts: MySQLFacts, reader: ReaderFacts) -> Check:
    ours, name, hint = reader.server_id, "server_id", "set REPLICA_SERVER_ID to an id that no replica has"
    if facts.variables.get("server_id") == str(ours):
        return _check(name, True, f"our id {ours} is that of {facts.place} itself", hint)
    uuid = str(uuid5(NAMESPACE_DNS, f"leadstream.{ours}"))
    for other in facts.replicas or ():
        if other.server_id == ours and (other.uuid or uuid) != uuid:
            return _check(name, True, f"our id {ours} is that of the replica {other.host or other.uuid}", hint)
    others = "and no other replica's" if facts.replicas is not None else "(other replicas are hidden from us)"
    return _check(name, False, f"our id {ours} is not {facts.place}'s own {others}", hint)


def _indexes(facts: MySQLFacts) -> Iterator[Check]:
    for table, column in REFS:
        is_table = facts.views.get(table) is not View.QUERY
        missing = is_table and column in facts.columns.get(table, {}) and (table, column) not in facts.indexed
        sentence = f"{facts.schema}.{table} has {'no' if missing else 'an'} index that begins with {column}"
        hint = f"CREATE INDEX {table}_{column} ON {facts.schema}.{table} ({column})"
        yield _check(f"index of {table}", missing, sentence, hint)


def _retention(facts: MySQLFacts, reader: ReaderFacts) -> Check:
    seconds = retention_seconds(facts.variables, facts.rds_hours)
    lag = reader.lag_seconds
    if seconds is None:
        account = facts.account
        sentence = f"{facts.place} is Amazon's and keeps binlogs by a setting of its own, which {account} may not see"
        return _check("retention", State.WARNING, sentence, f"GRANT SELECT ON mysql.rds_configuration TO {account}")
    if seconds == inf:
        return _check("retention", False, f"{facts.place} never purges binlogs by itself", "")
    behind = "" if lag is None else f"; the reader is {_span(lag)} behind"
    state = State.WARNING if seconds < SHORT_RETENTION_SECONDS else State.OK
    if not seconds or (lag is not None and lag * ARMS > seconds):
        state = State.FAILED
    wanted = max(7 * 86_400, round(ARMS * 2 * (lag or 0)))
    days = f"SET GLOBAL expire_logs_days = {-(-wanted // 86_400)}"
    hint = _set(facts, "binlog_expire_logs_seconds", str(wanted))
    if "binlog_expire_logs_seconds" not in facts.variables:
        hint = days
    if is_rds(facts.variables):
        hours = min(-(-wanted // 3600), RDS_MOST_HOURS)
        hint = f"CALL mysql.rds_set_configuration('binlog retention hours', {hours})"
    kept = f"keeps binlogs for {_span(seconds)}" if seconds else "purges binlogs once it does not need them itself"
    return _check("retention", state, f"{facts.place} {kept}{behind}", hint)


_NO_POSITION: Final = "consumer setup; where Kafka lost the checkpoint, consumer setup --repair"


def _position(facts: MySQLFacts, reader: ReaderFacts) -> Check:
    point, name = reader.checkpoint, "position"
    if reader.problem:
        sentence = f"where the reader stands is not known: {reader.problem}"
        return _check(name, State.WARNING, sentence, "see what is said of Kafka")
    if point is None:
        return _check(name, State.WARNING, "where the reader stands is not known", _NO_POSITION)
    where = f"{point.file}:{point.pos}"
    gone = facts.logs is not None and point.file not in facts.logs
    if point.gtid_set and not facts.mariadb and facts.variables.get("gtid_mode") == "ON":
        gone = not MySQLGtids(point.gtid_set).contains(MySQLGtids(facts.purged_gtids))
        where = f"GTID set {point.gtid_set}"
    elif point.gtid_set and facts.mariadb:
        gone = False  # only the server knows, when it is asked for them
    sentence = f"{facts.place} {'no longer has' if gone else 'still has'} what follows {where}"
    hint = "ON_PURGED=reconcile consumer read goes on at the present and has every lead read anew"
    return _check(name, gone, sentence, hint)


def _database(facts: MySQLFacts, reader: ReaderFacts) -> Check:
    theirs = reader.checkpoint.database if reader.checkpoint else ""
    other = theirs.casefold() not in ("", facts.database.casefold())
    sentence = f"the stream is that of database {theirs or facts.database}"
    if other:
        sentence += f", and REPLICA_DATABASE_URL names {facts.database}"
    return _check("database", other, sentence, f"set REPLICA_DATABASE_URL to {theirs}, or another TOPIC_PREFIX")


def _references(facts: MySQLFacts) -> Check:
    """Whether rows of captured tables go or change with rows of others, and nothing in the binlog says so."""
    unseen = [] if _logs_cascades(facts) else [key for key in facts.references if key.acts_unseen]
    sentence = f"rows that {facts.place} deletes or changes by foreign keys are in its binlog, or known without"
    if unseen:
        told = ", ".join(f"{key.table} ({key.column or 'a column'} leads to {key.parent})" for key in unseen)
        sentence = f"what foreign keys do to {told} is not in the binlog of {facts.place}: it is found by sweeps only"
    hint = "have the application delete or empty such rows itself, or upgrade to MySQL 9.6; see docs, limits"
    return _check("foreign keys", State.WARNING if unseen else State.OK, sentence, hint)


def _logs_cascades(facts: MySQLFacts) -> bool:
    found = re.match(r"(\d+)\.(\d+)", facts.version)
    return not facts.mariadb and found is not None and (int(found[1]), int(found[2])) >= LOGS_CASCADES


def _gtid(facts: MySQLFacts) -> Check:
    if facts.mariadb:
        return _check("gtid", False, f"{facts.place} writes GTIDs, as every MariaDB", "")
    mode = facts.variables.get("gtid_mode", "OFF")
    steps = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"]
    left = steps[steps.index(mode) + 1 :] if mode in steps else []
    hint = "; ".join(
        [_set(facts, "enforce_gtid_consistency", "ON"), *(_set(facts, "gtid_mode", f"'{step}'") for step in left)]
    )
    sentence = f"gtid_mode is {mode} on {facts.place}"
    if mode != "ON":
        sentence += ", so the reader cannot move to another replica"
    return _check("gtid", State.OK if mode == "ON" else State.WARNING, sentence, hint)


def _zone(facts: MySQLFacts) -> Check:
    local = sorted(
        f"{table}.{column}"
        for table, columns in facts.columns.items()
        for column in ("created_at", "updated_at")
        if column in columns and columns[column].data_type == "datetime"
    )
    zone, away = facts.variables.get("time_zone", "SYSTEM"), facts.zone_seconds != 0
    sentence = f"times are UTC for {facts.place} (time_zone {zone})"
    if away:
        sentence = f"time_zone is {zone} on {facts.place}" + (
            f", and {', '.join(local)} without a zone are taken for UTC"
            if local
            else ", which matters to no column here"
        )
    state = State.WARNING if away and local else State.OK
    return _check("time zone", state, sentence, _set(facts, "time_zone", "'+00:00'"))


def _clock(facts: MySQLFacts) -> Check:
    off = abs(facts.clock_seconds) > CLOCK_SECONDS
    sentence = f"the clock of {facts.place} is {offset(facts.clock_seconds)} from ours"
    return _check("clock", State.WARNING if off else State.OK, sentence, "chronyc makestep")


def _versions(facts: MySQLFacts, reader: ReaderFacts) -> Check:
    """Whether the clock was put back behind what the stream has seen of it."""
    version = reader.checkpoint.version if reader.checkpoint else 0
    ahead = ahead_seconds(version, reader.now + facts.clock_seconds)
    behind = f"is {_span(ahead)}" if ahead else "is not"
    sentence = f"the clock of {facts.place} {behind} behind what the reader has seen of it"
    hint = f"until it has caught up, in {_span(ahead)}, no drift is repaired: see who put it back, and chronyc tracking"
    return _check("put back", State.WARNING if ahead else State.OK, sentence, hint)


def _replication(facts: MySQLFacts) -> Check:
    name = "replica lag"
    if facts.replication is None:
        return _check(
            name, State.WARNING, f"{facts.account} may not ask how far {facts.place} is behind", _grant_monitor(facts)
        )
    if not facts.replication:
        return _check(name, False, f"{facts.place} follows no other server", "")
    behind = [_behind(row) for row in facts.replication]
    start = "START ALL SLAVES" if facts.mariadb else "START REPLICA"
    if None in behind:
        return _check(name, True, f"{facts.place} has stopped following its source", start)
    most = max(seconds for seconds in behind if seconds is not None)
    late = State.WARNING if most > LATE_REPLICA_SECONDS else State.OK
    status = "SHOW ALL SLAVES STATUS" if facts.mariadb else "SHOW REPLICA STATUS"
    return _check(name, late, f"{facts.place} is {_span(most)} behind its source", status)


def _behind(row: Row) -> float | None:
    """Seconds behind one source; None where it does not follow."""
    seconds = row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master"))
    return None if seconds is None else float(seconds)


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
