"""PostgreSQL made ready: our schema by migrations, the call centre's tables where absent, one row a lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from consumer.leads.rule_file import DEFAULT, RuleFile
from consumer.store import lanes as store_lanes
from consumer.store import rule_changes, rules, sql
from consumer.store.call_centre import fit, needs, tables
from consumer.store.call_centre.needs import Labels
from consumer.store.connection import Connection as Session
from consumer.store.connection import classified, open_session, place
from consumer.store.errors import NotPrepared

SCHEMA: Final = "leadstream"
_SETUP_LOCK: Final = 0x6C65616473
"""Advisory lock that two setups at once take turns on."""

_THEIR_SCHEMAS: Final = """
SELECT set_config('search_path', coalesce(string_agg(quote_ident(name), ', '), 'public'), true)
FROM unnest(current_schemas(false)) AS name WHERE name <> 'leadstream'
"""
"""Where the call centre's tables are found or created: never in our schema, which a role of the same name has first in
its search path."""

_ADD_LANES: Final = """
INSERT INTO leadstream.lanes (lane, epoch, next_seq, version)
SELECT lane, %(epoch)s, 1, 0 FROM generate_series(0, %(count)s - 1) AS lane
"""

_ANOTHERS: Final = (
    "has moved, while this stream has no checkpoint: either that was lost, and consumer setup --repair finds it again;"
    " or the lanes belong to another stream, so check DATABASE_URL and TOPIC_PREFIX, and, where that one is gone for"
    " good, run DELETE FROM leadstream.lanes"
)


_HINT: Final = {"ALTER": "run ", "CREATE": "run "}
"""What stands before a hint that is a statement."""


def plainly(_: RuleFile) -> rules.Comparisons:
    """Words compare plainly: for where MySQL cannot be asked."""
    return {}


def prepare(
    conninfo: str,
    lanes: int,
    epoch: int,
    *,
    shadow: bool = False,
    begins: bool = False,
    create: bool = False,
    first_rules: RuleFile = DEFAULT,
    compare: Callable[[RuleFile], rules.Comparisons] = plainly,
) -> list[str]:
    """Makes the database fit and returns a sentence for each thing done; an empty list where nothing was to do.

    All of it happens in one transaction. With `shadow` the call centre's tables are neither created nor altered.
    `begins` says that the stream's numbers are yet to begin: then lanes that have moved are another stream's.
    `create` has the call centre's tables created though another schema has tables of these names. Where
    there are no rules yet, `first_rules` are put in force; `compare` says how the columns compare that they speak of.
    Raises NotPrepared where something stands in the way that a person has to decide, StoreUnavailable,
    TransactionConflict.
    """
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: open_session(conninfo, "leadstream setup"), poolclass=NullPool
    )
    with _errors(conninfo), engine.begin() as connection:
        connection.execute(text("SET LOCAL TimeZone = 'UTC'"))
        connection.execute(text("SET LOCAL lock_timeout = '20s'"))
        connection.execute(text(_THEIR_SCHEMAS))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SETUP_LOCK})"))
        _check_encoding(connection, conninfo)
        done = _migrate(connection)
        session = connection.connection.driver_connection  # the one behind SQLAlchemy's, in the same transaction
        assert isinstance(session, psycopg.Connection)
        done += _rules(session, first_rules, compare)
        if not shadow:
            labels = rules.newest(session).file.labels.every()
            done += _call_centre(session, conninfo, labels, create=create)
        done += _lanes(session, conninfo, lanes, epoch, begins=begins)
    return done


@contextmanager
def _errors(conninfo: str) -> Iterator[None]:
    """SQLAlchemy wraps psycopg's errors; here they are unwrapped and named as everywhere in the store."""
    with classified(conninfo):
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise NotPrepared(
                    f"{error.orig.diag.message_primary} in {place(conninfo)}; "
                    "run setup as a user who may create schemas and tables there"
                ) from error
            if isinstance(error.orig, psycopg.Error):
                raise error.orig from error
            raise


def _check_encoding(connection: Connection, conninfo: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise NotPrepared(
            f"database {place(conninfo)} has the encoding {encoding}, which cannot hold every text of MySQL's; "
            "use one that was created with ENCODING 'UTF8'"
        )


def _migrate(connection: Connection) -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    before = _revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        return [f"left schema {SCHEMA} at revision {before}, which a newer release has made"]
    command.upgrade(config, "head")
    after = _revision(connection)
    if before == after:
        return []
    return [f"brought schema {SCHEMA} from {f'revision {before}' if before else 'nothing'} to revision {after}"]


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()


def _rules(session: Session, file: RuleFile, compare: Callable[[RuleFile], rules.Comparisons]) -> list[str]:
    """Puts rules in force where there are none yet; leads judged before need not be judged again."""
    if session.execute(sql.RULES_IN_FORCE).fetchone() != (None,):
        return []
    rule_changes.rejudged(session, rules.adopt(session, file, compare(file), rules.BY_SETUP))
    whose = "the default" if file == DEFAULT else "these"
    return [f"put {whose} rules in force; `consumer rules show` prints them"]


def _call_centre(session: Session, conninfo: str, labels: Labels, *, create: bool) -> list[str]:
    """Creates the tables that are absent; to existing ones it adds the column and index that sweeps and dialler need,
    after checking what we rely on.
    """
    existing = tables.tables(session)
    astray = {} if create else tables.elsewhere(session)
    _refuse([fit.elsewhere(place(conninfo), tables.role(session), astray, tables.closed(session))], "")
    findings = [finding for table, theirs in existing.items() for finding in fit.judge(table, theirs, labels)]
    _refuse(findings, f"in {place(conninfo)}, ")
    done = []
    for table in needs.TABLES:
        if table in existing:
            done += _add(session, table, existing[table])
        else:
            for statement in needs.definition(table):
                session.execute(statement.encode())
            done.append(f"created table {table}")
    return done


def _add(session: Session, table: str, theirs: fit.Theirs) -> list[str]:
    done = []
    if table == "user_call_scores":
        if needs.ADDED_INDEX not in theirs.indexes:
            session.execute(needs.index(table, needs.ADDED_INDEX).encode())
            done.append(f"added index {needs.ADDED_INDEX} to {table}")
        if needs.ADDED_COLUMN not in theirs.columns:
            session.execute(f"ALTER TABLE {table} ADD COLUMN {needs.ADDED_COLUMN} timestamp NULL".encode())
            done.append(f"added column {needs.ADDED_COLUMN} to {table}")
    if table in needs.BY_CUSTOMER and not fit.index_by_customer(table, theirs).fits:
        name, _ = needs.BY_CUSTOMER[table]
        with suppress(psycopg.errors.InsufficientPrivilege), session.transaction():  # `doctor` reports it to its owner
            session.execute(needs.index(table, name).encode())
            done.append(f"added index {name} to {table}")
    return done


def _refuse(findings: Iterable[fit.Finding | None], where: str) -> None:
    """Raises NotPrepared for what does not fit and what we cannot do without."""
    wrong = [finding for finding in findings if finding is not None and not finding.fits and not finding.works]
    if wrong:
        raise NotPrepared(
            "; ".join(
                f"{where}{finding.sentence}; {_HINT.get(finding.hint.split()[0], '')}{finding.hint}"
                for finding in wrong
            )
            + ("; or set SHADOW_MODE=true" if where else "")
        )


def _lanes(session: Session, conninfo: str, count: int, epoch: int, *, begins: bool) -> list[str]:
    held = store_lanes.lanes(session)
    if not held:
        session.execute(_ADD_LANES, {"count": count, "epoch": epoch})
        return [f"added {count} lanes, epoch {epoch}"]
    if begins and any(lane.next_seq > 1 or lane.epoch != epoch for lane in held.values()):
        raise NotPrepared(f"leadstream.lanes in {place(conninfo)} {_ANOTHERS}")
    if list(held) != list(range(count)):
        raise NotPrepared(
            f"LANES is {count}, but leadstream.lanes in {place(conninfo)} has {len(held)}; set LANES={len(held)}"
        )
    epochs = {lane.epoch for lane in held.values()}
    if epochs != {epoch}:
        raise NotPrepared(
            f"leadstream.lanes in {place(conninfo)} is at epoch {', '.join(map(str, sorted(epochs)))}, the stream at "
            f"epoch {epoch}: they do not belong together; check DATABASE_URL and TOPIC_PREFIX"
        )
    return []
