"""Every query that the reconciler makes on the replica, by name; nothing else of it talks to MySQL.

The session is read-only, and each statement of `reconciler.mysql_statements` has a time limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from math import inf
from threading import Event, RLock
from types import MappingProxyType
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import pymysql
import structlog
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from consumer.capture import CAPTURED, MOMENTS, REFS, Declared
from consumer.leads.model import ClaimRow, Key, RequirementRow, Table, UserRow
from consumer.mysql import retention
from consumer.mysql.key_folding import Foldings, KeyFolding, unchanged
from consumer.mysql.keys import KeyKind
from consumer.mysql.login import login
from consumer.mysql.session import is_of_tls, limited
from consumer.mysql.weights import UnsupportedCollation
from consumer.patience import Patience
from consumer.settings import MySQLAddress
from reconciler import mysql_statements
from reconciler.mysql_statements import (
    CLAIMS,
    ENDED,
    LARGEST,
    REPLICATION,
    REQUIREMENTS,
    SCHEMA,
    USERS,
    Folds,
    Queries,
    Schema,
)

log = structlog.get_logger(__name__)

TABLES: Final = tuple(table.value for table in Table)
KEYS: Final = (("claims", "id"), ("claim_requirements", "id"), ("claim_requirements", "claim_id"))
UNLIMITED: Final = ("SHOW", "WITH")
"""How statements begin that no hint of MySQL's fits into; the second ask for weights of a few hundred texts."""
CONNECTION_LOST: Final = (
    2002,
    2003,
    2006,
    2013,
    2055,
    1053,
    1077,
    1079,
    1080,
    1152,
    1158,
    1159,
    1160,
    1161,
    1927,
    4031,
)
"""Client errors of a connection that is gone, and server errors of one that is ending."""
TOO_SLOW: Final = (3024, 1969)
"""ER_QUERY_TIMEOUT of MySQL, ER_STATEMENT_TIMEOUT of MariaDB."""
REFUSED: Final = (1044, 1045, 1049, 1227, 1698, 3118)
"""Access denied to account or database, or there is no such database."""
NOT_THERE: Final = (1054, 1142, 1143, 1146)
"""There is no such table or column, or we may not see it, which with grants on single columns is the same answer."""
SCHEMA_SECONDS: Final = 60.0
"""How long the tables are taken for what they were: a column that comes back breaks no statement that does without."""


class ReplicaError(Exception):
    """A query on the replica failed."""


class ReplicaAway(ReplicaError):
    """The replica does not answer."""


class ReplicaUnfit(ReplicaError):
    """The replica lacks a table, column, index or privilege that we need."""


class TablesChanged(ReplicaUnfit):
    """A statement names a table or column that is not there, or not for us."""


P = ParamSpec("P")
R = TypeVar("R")


def _of_present_tables(ask: Callable[Concatenate[Replica, P], R]) -> Callable[Concatenate[Replica, P], R]:
    """A question that is put once more, in the words of the tables as they are now, where they have changed."""

    @wraps(ask)
    def put(replica: Replica, /, *arguments: P.args, **named: P.kwargs) -> R:
        try:
            return ask(replica, *arguments, **named)
        except TablesChanged as error:
            log.info("tables_changed", replica=str(replica.address), reason=str(error))
            replica.look_again()
            return ask(replica, *arguments, **named)

    return put


class LiveLead(NamedTuple):
    """What MySQL holds of one user; when rows were created (µs, None where unknown) is by table and row id."""

    user: UserRow | None
    claims: dict[Key, ClaimRow]
    requirements: dict[Key, RequirementRow]
    created_at: Mapping[tuple[Table, Key | int], int | None] = MappingProxyType({})


class LiveRead(NamedTuple):
    """One consistent read of many users: the server's clock (µs) before and after it, and every user asked for."""

    started: int
    ended: int
    leads: dict[int, LiveLead]


class Present(NamedTuple):
    """The server's clock (µs), the lowest and highest ids at that moment (0 where a table is empty or has no numbers),
    and how many users have ids that no bigint holds."""

    clock: int
    beyond: int
    first_user: int
    last_user: int
    first_requirement: int
    last_requirement: int


class LagReading(NamedTuple):
    """How far (s) the replica was behind its source, None where it has none, and our clock (monotonic s) then."""

    behind: float | None
    at: float


class Known:
    """What sessions of one process know of the replica together, so that each need not ask."""

    def __init__(self) -> None:
        self.lag: LagReading | None = None
        self.foldings: dict[str, KeyFolding] = {}
        """What was learnt of collations, by name."""
        self.texts: Queries | None = None
        self.texts_until = 0.0
        """Our clock (monotonic s) from which on the tables are looked at anew."""
        self.learning = RLock()
        """Held by the session that looks at the tables, so that sessions which begin together do not all ask."""

    def fresh_texts(self) -> Queries | None:
        """The statements for the tables; None where these are to be looked at."""
        return self.texts if time.monotonic() < self.texts_until else None


class ClockReading(NamedTuple):
    """The server's clock (µs) and ours (monotonic seconds) when it was seen."""

    server: int
    seen: float


Checksums = dict[int, frozenset[tuple[int, int, int]]]
"""(table, rows, checksum) by user: equal on both sides where all rows of the user are equal."""


def checksums_of(rows: Iterable[tuple[Any, ...]]) -> Checksums:
    """Checksums from rows of (table, user, rows, checksum)."""
    found: dict[int, set[tuple[int, int, int]]] = {}
    for table, user_id, count, checksum in rows:
        found.setdefault(int(user_id), set()).add((int(table), int(count), int(checksum)))
    return {user_id: frozenset(parts) for user_id, parts in found.items()}


class Created(NamedTuple):
    """Users of new rows, each once; with `last_id`, every row up to that primary key has been looked at."""

    users: list[int]
    last_id: int | None
    checksums: Checksums
    """What the replica holds of these users, as checksums."""
    unheld: int = 0
    """How many users of the whole table no bigint can hold; none of them is among `users`."""


class _Fresh(NamedTuple):
    """A new row, whose it is and when (µs) it was made, where that is known."""

    user_id: int | None
    row_id: str
    made: int | None


class _Page(NamedTuple):
    """New rows, their users' checksums, the highest primary key of the table, and how many users no bigint can
    hold."""

    rows: list[_Fresh]
    checksums: Checksums
    last_id: int
    unheld: int


class Fingerprints(NamedTuple):
    """(rows, checksum) of each table for a range of users: equal on both sides where all rows are equal."""

    users: tuple[int, int]
    claims: tuple[int, int]
    requirements: tuple[int, int]


NO_ROWS: Final = Fingerprints(*[(0, 0)] * len(Fingerprints._fields))
"""Of a range without users."""


def user_row(user_id: int, signature: object, enabled: object) -> UserRow:
    """A row of `users` as the stream's messages are read (consumer.stream.envelope.Users.row)."""
    return UserRow(user_id, _text(signature), enabled != 0)


def claim_row(claim_id: Key, user_id: int, status: object) -> ClaimRow:
    """A row of `claims` as the stream's messages are read (consumer.stream.envelope.Claims.row)."""
    return ClaimRow(claim_id, user_id, _text(status))


def requirement_row(requirement_id: Key, claim_id: Key, kind: object, status: object, reason: object) -> RequirementRow:
    """A row of `claim_requirements` as the stream's messages are read (consumer.stream.envelope.ClaimRequirements)."""
    return RequirementRow(requirement_id, claim_id, _text(kind), _text(status), _text(reason))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


THREADS = ("Replica_IO_Running", "Replica_SQL_Running", "Slave_IO_Running", "Slave_SQL_Running")
CLOCK_SECONDS: Final = 600
"""How long the server's clock is reckoned before it is asked for again."""


class Replica:
    """A read-only session on the replica that reconnects by itself; `queries` counts the statements sent."""

    def __init__(
        self,
        address: MySQLAddress,
        query_seconds: float = 30.0,
        retry_seconds: float = 60.0,
        stop: Event | None = None,
        connect_seconds: float = 10.0,
        grace_seconds: float = 5.0,
        known: Known | None = None,
    ) -> None:
        """`query_seconds` limits each statement, `retry_seconds` how long a replica that is away is tried again;
        `stop` ends such waiting. `connect_seconds` limits logging in, and a server that says nothing for
        `grace_seconds` longer than a statement may take is away. `known` is what other sessions know too.
        """
        self._stop = stop or Event()
        self.address = address
        self.queries = 0
        self.mariadb = False
        self.query_seconds = query_seconds
        self._retry_seconds = retry_seconds
        self._connect_seconds = connect_seconds
        self._grace_seconds = grace_seconds
        self._connection: Connection[Cursor] | None = None
        self._clock: ClockReading | None = None
        self._known = known or Known()
        self._names: list[str] = []
        self._foldings = Foldings(self._ask, self._known.foldings)

    def close(self) -> None:
        """Ends the session."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def is_open(self) -> bool:
        """Whether there is a session already, which may have died since."""
        return self._connection is not None

    def lag(self) -> float | None:
        """Seconds that the replica is behind its own source; None where it has no source, or does not tell us.

        Infinite where replication stands still: one of its threads does not run. Raises ReplicaAway.
        """
        behind = self._lag()
        self._known.lag = LagReading(behind, time.monotonic())
        return behind

    def binlog_retention(self) -> float | None:
        """For how long (s) the server keeps its binlogs; None where it does not tell. Raises ReplicaAway."""
        try:
            return retention.retention_seconds(dict(self._run(retention.STATEMENT)))
        except ReplicaUnfit:
            return None

    def lag_lately(self, seconds: float) -> LagReading | None:
        """The lag as some session of this process saw it not longer ago than so many seconds."""
        lag = self._known.lag
        return lag if lag is not None and time.monotonic() - lag.at <= seconds else None

    def _lag(self) -> float | None:
        if not self.is_open():
            self.ping()
        try:
            rows = self._run(REPLICATION[self.mariadb])
        except ReplicaUnfit:
            return None
        if not rows:
            return None
        channels = [dict(zip(self._names, row, strict=True)) for row in rows]
        if any(channel[name] != "Yes" for channel in channels for name in THREADS if name in channel):
            return inf
        return max(_seconds_behind(channel) for channel in channels)

    def ping(self) -> None:
        """Finds out whether the replica answers; no statement is run. Raises ReplicaAway, ReplicaUnfit."""
        try:
            self._open().ping(reconnect=False)
        except (pymysql.err.MySQLError, TimeoutError, ConnectionError) as error:
            self._drop()
            found = self._named(error) if isinstance(error, pymysql.err.MySQLError) else None
            if isinstance(found, ReplicaUnfit):
                raise found from error
            raise self._away(error.args[-1] if error.args else error) from error

    @_of_present_tables
    def present(self) -> Present:
        """The server's clock and the highest ids. Raises ReplicaError."""
        ((clock, *counts),) = self._run(self.texts.present())
        self._clock = ClockReading(int(clock), time.monotonic())
        return Present(int(clock), *map(int, counts))

    def read_users(self, user_ids: Iterable[int]) -> LiveRead:
        """What the replica holds of these users, all in one snapshot. Raises ReplicaError."""
        return self._read_users(sorted(set(user_ids)))

    @_of_present_tables
    def _read_users(self, wanted: list[int]) -> LiveRead:
        fold_claim, fold_requirement = self._fold("claims"), self._fold("claim_requirements")
        started = ended = 0
        users: dict[int, UserRow] = {}
        claims: dict[int, dict[Key, ClaimRow]] = {user_id: {} for user_id in wanted}
        requirements: dict[int, dict[Key, RequirementRow]] = {user_id: {} for user_id in wanted}
        created: dict[int, dict[tuple[Table, Key | int], int | None]] = {user_id: {} for user_id in wanted}
        owners: dict[Key, int] = {}
        for part, row_id, parent, first, second, third, enabled, made in self._run(self.texts.read_users(wanted)):
            key: Key | int
            if part == USERS:
                key = owner = int(row_id)
                table = Table.USERS
                users[key] = user_row(key, first, enabled)
            elif part == CLAIMS:
                key, owner, table = fold_claim(str(row_id)), int(parent), Table.CLAIMS
                owners[key] = owner
                claims[owner][key] = claim_row(key, owner, first)
            elif part == REQUIREMENTS:
                key, claim = fold_requirement(str(row_id)), fold_claim(str(parent))
                owner, table = owners[claim], Table.CLAIM_REQUIREMENTS
                requirements[owner][key] = requirement_row(key, claim, first, second, third)
            else:
                started, ended = (started, int(row_id)) if part == ENDED else (int(row_id), ended)
                continue
            created[owner][table, key] = int(made) if made else None
        if ended <= started:  # the server runs with sysdate-is-now
            ended = self.present().clock
        self._clock = ClockReading(ended, time.monotonic())
        leads = {
            user_id: LiveLead(users.get(user_id), claims[user_id], requirements[user_id], created[user_id])
            for user_id in wanted
        }
        return LiveRead(started, ended, leads)

    @_of_present_tables
    def user_page(self, after: int, limit: int) -> list[int]:
        """Ids of the next `limit` users above `after`, ascending. Raises ReplicaError."""
        return [int(user_id) for (user_id,) in self._run(self.texts.user_page(after, limit))]

    @_of_present_tables
    def end_of_range(self, after: int, users: int) -> int | None:
        """The highest id among the next `users` users above `after`; None where there are none. Raises ReplicaError."""
        ((last,),) = self._run(self.texts.end_of_range(after, users))
        return None if last is None else int(last)

    @_of_present_tables
    def fingerprints(self, after: int, upto: int) -> Fingerprints:
        """What the replica holds of the users in (`after`, `upto`] as checksums. Raises ReplicaError."""
        rows = self._run(self.texts.fingerprints(after, upto))
        return Fingerprints(*((int(count), int(checksum)) for _, count, checksum in sorted(rows)))

    @_of_present_tables
    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        """What the replica holds of these users as checksums, user by user. Raises ReplicaError."""
        return checksums_of(self._run(self.texts.checksums(user_ids)))

    def clock(self) -> int:
        """The server's clock (µs), asked for or reckoned from an answer of the last minutes. Raises ReplicaError."""
        if self._clock is None or time.monotonic() - self._clock.seen > CLOCK_SECONDS:
            return self.present().clock
        return self._clock.server + round((time.monotonic() - self._clock.seen) * 1_000_000)

    def created(self, table: Table, since: int, limit: int, after: int | None = None) -> Iterator[Created]:
        """Users of rows of `users` or `claim_requirements` that were created at or after `since` (µs).

        `limit` rows at a time, by the index on `created_at`, or where there is none by primary key: from `after` on,
        where the caller knows that no row up to it is so young, or else from where a bisection finds the first one.
        Raises ReplicaError.
        """
        if (table, "created_at") not in self.texts.schema.columns:
            raise ReplicaUnfit(
                f"{table} on {self.address} has no created_at that is a time, so a window cannot be found;"
                " use reconciler verify"
            )
        if not self.texts.schema.has_numbers(table):
            return self._created_by_time(table, since, limit)
        if (table, "created_at") in self.texts.schema.indexed:
            return self._created_by_index(table, since, limit)
        return self._created_by_key(table, since, limit, after)

    def _created_by_index(self, table: Table, since: int, limit: int) -> Iterator[Created]:
        condition = mysql_statements.since(since)
        while True:
            page = self._page(table, condition, "t.created_at, t.id", since, limit)
            rows = sorted(page.rows, key=lambda row: (row.made or 0, int(row.row_id)))
            yield Created(_users(rows), None, page.checksums, page.unheld)
            if len(rows) < limit:
                return
            condition = mysql_statements.following(rows[-1].made or 0, int(rows[-1].row_id))

    def _created_by_time(self, table: Table, since: int, limit: int) -> Iterator[Created]:
        """Rows whose keys say nothing of their age, such as UUIDs: page by page of `created_at`.

        A page begins where the one before ended, at the same moment, so some of its rows are looked at twice. Without
        an index on `created_at` each page reads the table once.
        """
        begin, wanted = since, limit
        while True:
            page = self._page(table, mysql_statements.since(begin), "t.created_at", since, wanted)
            yield Created(_users(page.rows), None, page.checksums, page.unheld)
            if len(page.rows) < wanted:
                return
            newest = max(row.made or 0 for row in page.rows)
            wanted = 2 * wanted if newest <= begin else limit  # more rows of one moment than a page holds
            begin = max(begin, newest)

    def _created_by_key(self, table: Table, since: int, limit: int, after: int | None) -> Iterator[Created]:
        remembered = after is not None
        position = self.first_created(table, since) - 1 if after is None else after
        while True:
            page = self._page(table, f"t.id > {position}", "t.id", since, limit)
            if remembered and not page.rows and page.last_id < position:  # emptied and begun anew
                remembered, position = False, self.first_created(table, since) - 1
                continue
            remembered = False
            position = max((int(row.row_id) for row in page.rows), default=position)
            young = [row for row in page.rows if row.made is None or row.made >= since]
            yield Created(_users(young), position if position <= LARGEST else None, page.checksums, page.unheld)
            if len(page.rows) < limit:
                return

    @_of_present_tables
    def _page(self, table: Table, condition: str, order: str, since: int, limit: int) -> _Page:
        fresh: list[_Fresh] = []
        condensed_rows: list[tuple[Any, ...]] = []
        last_id = unheld = 0
        for row in self._run(self.texts.created(table, condition, order, since, limit)):
            part, user_id, row_id, made = row
            if part == ENDED:
                last_id, unheld = int(row_id), int(user_id)
            elif part:
                condensed_rows.append(row)
            else:
                owner = None if user_id is None else int(user_id)
                fresh.append(_Fresh(owner, str(row_id), None if made is None else int(made)))
        return _Page(fresh, checksums_of(condensed_rows), last_id, unheld)

    def _ends(self, table: Table) -> tuple[int, int]:
        present = self.present()
        if table is Table.USERS:
            return present.first_user, present.last_user
        return present.first_requirement, present.last_requirement

    @_of_present_tables
    def first_created(self, table: Table, since: int, probe: int = 20) -> int:
        """The primary key from which on rows were created at or after `since` (µs): found by bisecting it.

        Each probe looks at the next `probe` rows, so that a few rows out of order do not mislead it.
        One above the highest where there is no such row. Raises ReplicaError.
        """
        low, high = self._ends(table)
        high += 1
        while low < high:
            middle = (low + high) // 2
            ((newest, last),) = self._run(self.texts.newest_from(table, middle, probe))
            if last is None or (newest is not None and int(newest) >= since):
                high = middle
            else:
                low = min(max(middle, int(last)) + 1, high)
        return high

    @property
    def texts(self) -> Queries:
        """The statements for this server's tables; looks at these now and then."""
        known = self._known.fresh_texts()
        if known is not None:
            return known
        held = self._known.learning.acquire(timeout=self.query_seconds)
        try:
            return self._known.fresh_texts() or self._learn_texts()
        finally:
            if held:
                self._known.learning.release()

    def _learn_texts(self) -> Queries:
        schema = self._schema()
        folds = {key: Folds.of(self._folding(schema, key)) for key in KEYS if key in schema.collations}
        texts = self._known.texts = Queries(schema, folds)
        self._known.texts_until = time.monotonic() + SCHEMA_SECONDS
        return texts

    def look_again(self) -> None:
        """Has the tables looked at anew before the next statement is written."""
        self._known.texts = None

    def _schema(self) -> Schema:
        columns: dict[tuple[str, str], str] = {}
        sizes: dict[tuple[str, str], int | None] = {}
        collations: dict[tuple[str, str], tuple[str, str]] = {}
        indexed: set[tuple[str, str]] = set()
        for kind, table, column, data_type, size, column_type, collation, charset in self._run(SCHEMA):
            if kind == "column":
                declared = Declared(data_type.lower(), str(column_type))
                if self._is_readable(table.lower(), column.lower(), declared):
                    columns[table.lower(), column.lower()] = declared.data_type
                    sizes[table.lower(), column.lower()] = size
                    if collation:
                        collations[table.lower(), column.lower()] = str(collation), str(charset)
            elif column is not None:
                indexed.add((table.lower(), column.lower()))
        for table in TABLES:
            if (table, "id") not in columns:
                raise ReplicaUnfit(
                    f"there is no table {table} in {self.address.database} on {self.address} that we may read;"
                    f" run GRANT SELECT ON {self.address.database}.* TO our account"
                )
            for column in CAPTURED[table].needed:
                if (table, column) not in columns:
                    raise ReplicaUnfit(
                        f"{self.address.database}.{table} on {self.address} has no column {column} that we may read,"
                        " without which no lead can be judged; put it back, or run"
                        f" GRANT SELECT ({column}) ON {self.address.database}.{table} TO our account"
                    )
        for table, column in REFS:
            if (table, column) not in indexed:
                raise ReplicaUnfit(
                    f"{table}.{column} has no index on {self.address}, so every look at a user would read the whole"
                    f" table; run CREATE INDEX {table}_{column} ON {table} ({column}) on the primary server"
                )
        return Schema(columns, frozenset(indexed), sizes, collations)

    def _fold(self, table: str) -> KeyFolding:
        """What folds the ids of a table."""
        return self._folding(self.texts.schema, (table, "id"))

    def _folding(self, schema: Schema, column: tuple[str, str]) -> KeyFolding:
        collation = schema.collations.get(column)
        if collation is None or schema.kind(*column) is not KeyKind.TEXT:
            return unchanged
        try:
            return self._foldings.of(*collation)
        except UnsupportedCollation as error:
            raise ReplicaUnfit(f"{'.'.join(column)} on {self.address}: {error}") from error

    def _ask(self, text: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._open().cursor() as cursor:
            weights = cursor.mogrify(text, arguments)
        return list(self._run(weights))

    def _is_readable(self, table: str, column: str, declared: Declared) -> bool:
        """False for a time that is none, which is done without. Raises ReplicaUnfit where a value would be guessed."""
        kinds = CAPTURED[table].kinds.get(column)
        if kinds is None or declared.kind in kinds:
            return True
        if kinds is MOMENTS:
            return False
        raise ReplicaUnfit(
            f"{self.address.database}.{table}.{column} on {self.address} is {declared.column_type}, which cannot be"
            " read exactly; run consumer doctor, which says what it has to be and how"
        )

    def _run(self, text: str) -> Sequence[tuple[Any, ...]]:
        return Patience(
            lambda error: isinstance(error, ReplicaAway), self._stop, self._report_away, self._retry_seconds
        )(self._run_once, text)

    def _report_away(self, _error: BaseException, attempt: int, _pause: float) -> None:
        if attempt == 1:
            log.warning("replica_away", replica=str(self.address), retry_seconds=self._retry_seconds)

    def _run_once(self, text: str) -> Sequence[tuple[Any, ...]]:
        try:
            connection = self._open()
            with connection.cursor() as cursor:
                self.queries += 1
                cursor.execute(self._limited(text))
                self._names = [column[0] for column in cursor.description or ()]
                return cursor.fetchall()
        except (pymysql.err.InterfaceError, TimeoutError, ConnectionError) as error:
            self._drop()
            raise self._away(error) from error
        except pymysql.err.MySQLError as error:
            self._drop()
            raise self._named(error) from error

    def _named(self, error: pymysql.err.MySQLError) -> ReplicaError:
        code, said = (error.args[0], error.args[-1]) if error.args else (0, error)
        if is_of_tls(error):
            return ReplicaUnfit(
                f"{self.address} refuses us ({said}); correct ssl_mode and ssl_ca in REPLICA_DATABASE_URL"
            )
        if code in CONNECTION_LOST:
            return self._away(said)
        if code in TOO_SLOW:
            return ReplicaError(
                f"a query on {self.address} took longer than {self.query_seconds:g} s;"
                " raise REPLICA_QUERY_SECONDS or lower DISCOVERY_BATCH_SIZE"
            )
        if code in NOT_THERE:
            return TablesChanged(
                f"{self.address} lacks what a query names ({said}); consumer doctor says what is missing"
            )
        if code in REFUSED:
            return ReplicaUnfit(
                f"{self.address} refuses us ({said}); correct REPLICA_DATABASE_URL or our account's grants"
            )
        return ReplicaError(f"a query on {self.address} failed with error {code} ({said})")

    def _away(self, said: object) -> ReplicaAway:
        return ReplicaAway(f"{self.address} does not answer ({said}); start it or correct REPLICA_DATABASE_URL")

    def _limited(self, text: str) -> str:
        text = text.strip()
        return text if text.startswith(UNLIMITED) else limited(text, self.query_seconds, mariadb=self.mariadb)

    def _open(self) -> Connection[Cursor]:
        if self._connection is None:
            answer_seconds = self.query_seconds + self._grace_seconds
            connection = login(self.address, self._connect_seconds, answer_seconds)
            self.mariadb = "mariadb" in connection.get_server_info().lower()  # type: ignore[no-untyped-call]
            with connection.cursor() as cursor:
                self.queries += 1
                read_only = "tx_read_only" if self.mariadb else "transaction_read_only"
                cursor.execute(f"SET SESSION {read_only} = 1")
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        self.look_again()  # the tables may have changed
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _seconds_behind(channel: Mapping[str, Any]) -> float:
    """How far one channel is behind, by time and by position: what waits for SQL_Delay does not count as time yet."""
    source = "Source" if "Source_Log_File" in channel else "Master"
    seconds = channel[f"Seconds_Behind_{source}"]
    if seconds is None:
        return inf
    got = channel[f"{source}_Log_File"], channel[f"Read_{source}_Log_Pos"]
    done = channel[f"Relay_{source}_Log_File"], channel[f"Exec_{source}_Log_Pos"]
    return float(seconds) if got == done else max(float(seconds), float(channel["SQL_Delay"] or 0))


def _users(rows: Iterable[_Fresh]) -> list[int]:
    return sorted({row.user_id for row in rows if row.user_id is not None and row.user_id <= LARGEST})
