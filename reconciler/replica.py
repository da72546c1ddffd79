"""Every query that the reconciler makes on the replica, by name; nothing else of it talks to MySQL.

Each is one read-only statement with a time limit, reads by key ranges or indexed columns, and is a consistent read by
itself: InnoDB takes one snapshot for all parts of a statement.
"""

# ruff: noqa: S608 (what is put into statements is our own words and numbers)

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from threading import Event
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pymysql
import structlog
from pymysql.connections import Connection
from pymysql.cursors import Cursor
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_exponential,
)

from consumer.leads.model import ClaimRow, RequirementRow, Table, UserRow
from consumer.replica_login import login
from consumer.settings import MySQLAddress

log = structlog.get_logger(__name__)

TABLES: Final = tuple(table.value for table in Table)
BINARY_TYPES: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")

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
REFUSED: Final = (1044, 1045, 1049, 1054, 1142, 1143, 1146, 1227, 1698, 3118)
"""Access denied to account, database, table or column, or one of them does not exist."""


class ReplicaError(Exception):
    """A query on the replica failed."""


class ReplicaAway(ReplicaError):
    """The replica does not answer."""


class QueryTooSlow(ReplicaError):
    """A query took longer than REPLICA_QUERY_SECONDS."""


class ReplicaUnfit(ReplicaError):
    """The replica lacks a table, column, index or privilege that we need."""


class LiveLead(NamedTuple):
    """What MySQL holds of one user; the times (µs, None where unknown) are by table and row id."""

    user: UserRow | None
    claims: dict[int, ClaimRow]
    requirements: dict[int, RequirementRow]
    updated_at: Mapping[tuple[Table, int], int | None]
    created_at: Mapping[tuple[Table, int], int | None] = MappingProxyType({})


class LiveRead(NamedTuple):
    """One consistent read of many users: the server's clock (µs) before and after it, and every user asked for."""

    started: int
    ended: int
    leads: dict[int, LiveLead]


class Present(NamedTuple):
    """The server's clock (µs) and the highest ids at that moment; 0 where a table is empty."""

    clock: int
    last_user: int
    last_requirement: int


class ClockReading(NamedTuple):
    """The server's clock (µs) and ours (monotonic seconds) when it was seen."""

    server: int
    seen: float


class Created(NamedTuple):
    """Users of new rows, each once; with `last_id`, every row up to that primary key has been looked at."""

    users: list[int]
    last_id: int | None


class Fingerprints(NamedTuple):
    """(rows, checksum) of each table for a range of users: equal on both sides where all rows are equal."""

    users: tuple[int, int]
    claims: tuple[int, int]
    requirements: tuple[int, int]


Checksums = dict[int, frozenset[tuple[int, int, int]]]
"""(table, rows, checksum) by user: equal on both sides where all rows of the user are equal."""


def condensed(rows: Iterable[tuple[Any, ...]]) -> Checksums:
    """Checksums from rows of (user, table, rows, checksum)."""
    found: dict[int, set[tuple[int, int, int]]] = {}
    for user_id, table, count, checksum in rows:
        found.setdefault(int(user_id), set()).add((int(table), int(count), int(checksum)))
    return {user_id: frozenset(parts) for user_id, parts in found.items()}


class Schema(NamedTuple):
    """Which columns the company's tables have, with their data types, and which columns lead an index."""

    columns: dict[tuple[str, str], str]
    indexed: frozenset[tuple[str, str]]


def user_row(user_id: int, signature: object, enabled: object) -> UserRow:
    """A row of `users` as the stream's messages are read (consumer.stream.envelope.Users.row)."""
    return UserRow(user_id, None if signature is None or signature == "" else str(signature), enabled != 0)


def claim_row(claim_id: int, user_id: int, status: object) -> ClaimRow:
    """A row of `claims` as the stream's messages are read (consumer.stream.envelope.Claims.row)."""
    return ClaimRow(claim_id, user_id, _text(status))


def requirement_row(requirement_id: int, claim_id: int, kind: object, status: object, reason: object) -> RequirementRow:
    """A row of `claim_requirements` as the stream's messages are read (consumer.stream.envelope.ClaimRequirements)."""
    return RequirementRow(requirement_id, claim_id, _text(kind), _text(status), _text(reason))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


CLOCK_SECONDS: Final = 600
"""How long the server's clock is reckoned before it is asked for again."""
USERS, CLAIMS, REQUIREMENTS, ENDED = 1, 2, 3, 4
"""First column of the parts of `read_users`; 0 is the clock before them."""

SCHEMA = """
    SELECT 'column', table_name, column_name, data_type FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name IN ('users', 'claims', 'claim_requirements')
    UNION ALL
    SELECT 'index', table_name, column_name, '' FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name IN ('users', 'claims', 'claim_requirements') AND seq_in_index = 1
"""
REPLICATION = {False: "SHOW REPLICA STATUS", True: "SHOW ALL SLAVES STATUS"}
"""How far each server is behind its source, by whether it is MariaDB; asks for the privilege REPLICATION CLIENT."""
THREADS = ("Replica_IO_Running", "Replica_SQL_Running", "Slave_IO_Running", "Slave_SQL_Running")
CLOCK = "CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000000 AS UNSIGNED)"
CLOCK_NOW = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)"


def _checksum(*values: str) -> str:
    """How many rows there are, and the sum of the first 60 bits of each row's SHA-256."""
    text = ", '|', ".join(f"IFNULL(CONCAT('=', {value}), '-')" for value in values)
    return f"COUNT(*), COALESCE(SUM(CAST(CONV(LEFT(SHA2(CONCAT({text}), 256), 15), 16, 10) AS UNSIGNED)), 0)"


class Queries:
    """The statements, in the words of the tables that the server really has."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def present(self) -> str:
        """The clock and the highest ids: the end of a sweep's window."""
        return (
            f"SELECT {CLOCK}, (SELECT COALESCE(MAX(id), 0) FROM users),"
            " (SELECT COALESCE(MAX(id), 0) FROM claim_requirements)"
        )

    def read_users(self, user_ids: Iterable[int]) -> str:
        """Everything about these users in one snapshot, between two looks at the clock."""
        ids = ",".join(map(str, user_ids))
        return f"""
            SELECT 0, {CLOCK}, NULL, NULL, NULL, NULL, NULL, NULL, NULL
            UNION ALL
            SELECT {USERS}, t.id, NULL, {self._words("users", "current_signature_file_id")}, NULL, NULL,
                   {self._number("users", "is_enabled")}, {self._moment("users", "updated_at")},
                   {self._moment("users", "created_at")}
              FROM users t WHERE t.id IN ({ids})
            UNION ALL
            SELECT {CLAIMS}, t.id, t.user_id, {self._words("claims", "status")}, NULL, NULL,
                   NULL, {self._moment("claims", "updated_at")}, {self._moment("claims", "created_at")}
              FROM claims t WHERE t.user_id IN ({ids})
            UNION ALL
            SELECT {REQUIREMENTS}, t.id, t.claim_id, {self._words("claim_requirements", "type")},
                   {self._words("claim_requirements", "status")},
                   {self._words("claim_requirements", "claim_requirement_reason")},
                   NULL, {self._moment("claim_requirements", "updated_at")},
                   {self._moment("claim_requirements", "created_at")}
              FROM claims c JOIN claim_requirements t ON t.claim_id = c.id WHERE c.user_id IN ({ids})
            UNION ALL
            SELECT {ENDED}, {CLOCK_NOW}, NULL, NULL, NULL, NULL, NULL, NULL, NULL
        """

    def user_page(self, after: int, limit: int) -> str:
        """The next users by primary key."""
        return f"SELECT id FROM users WHERE id > {after} ORDER BY id LIMIT {limit}"

    def created(self, table: Table, condition: str, order: str, limit: int) -> str:
        """Id, time of creation and user of rows of `users` or `claim_requirements`."""
        created_at = self._moment(table, "created_at")
        if table is Table.USERS:
            return f"SELECT t.id, {created_at}, t.id FROM users t WHERE {condition} ORDER BY {order} LIMIT {limit}"
        return (
            f"SELECT t.id, {created_at}, c.user_id FROM (SELECT id, created_at, claim_id FROM {table.value} t"
            f" WHERE {condition} ORDER BY {order} LIMIT {limit}) t"
            f" LEFT JOIN claims c ON c.id = t.claim_id ORDER BY {order}"
        )

    def newest_from(self, table: Table, row_id: int, limit: int) -> str:
        """When the newest of the next rows was created, and the last of their ids: one probe of a bisection."""
        created_at = self._moment(table, "created_at")
        return (
            f"SELECT MAX({created_at}), MAX(t.id) FROM"
            f" (SELECT id, created_at FROM {table.value} WHERE id >= {row_id} ORDER BY id LIMIT {limit}) t"
        )

    def end_of_range(self, after: int, users: int) -> str:
        """The highest id among the next so many users."""
        return f"SELECT MAX(id) FROM (SELECT id FROM users WHERE id > {after} ORDER BY id LIMIT {users}) t"

    def fingerprints(self, after: int, upto: int) -> str:
        """Rows and checksum of each table for a range of users: `reconciler.book.FINGERPRINTS` here."""
        users, claims, requirements = self._checksums()
        return f"""
            SELECT {USERS}, {users} FROM users t WHERE t.id > {after} AND t.id <= {upto}
            UNION ALL
            SELECT {CLAIMS}, {claims} FROM claims t WHERE t.user_id > {after} AND t.user_id <= {upto}
            UNION ALL
            SELECT {REQUIREMENTS}, {requirements} FROM claims c JOIN claim_requirements t ON t.claim_id = c.id
             WHERE c.user_id > {after} AND c.user_id <= {upto}
        """

    def checksums(self, user_ids: Iterable[int]) -> str:
        """Rows and checksum of each table for each of these users: `reconciler.book.CHECKSUMS` here."""
        ids = ",".join(map(str, user_ids))
        users, claims, requirements = self._checksums()
        return f"""
            SELECT t.id, {USERS}, {users} FROM users t WHERE t.id IN ({ids}) GROUP BY t.id
            UNION ALL
            SELECT t.user_id, {CLAIMS}, {claims} FROM claims t WHERE t.user_id IN ({ids}) GROUP BY t.user_id
            UNION ALL
            SELECT c.user_id, {REQUIREMENTS}, {requirements}
              FROM claims c JOIN claim_requirements t ON t.claim_id = c.id WHERE c.user_id IN ({ids}) GROUP BY c.user_id
        """

    def _checksums(self) -> tuple[str, str, str]:
        signature = f"NULLIF({self._words('users', 'current_signature_file_id')}, '')"
        enabled = f"IFNULL({self._number('users', 'is_enabled')}, 1) <> 0"
        kind, status = self._words("claim_requirements", "type"), self._words("claim_requirements", "status")
        reason = self._words("claim_requirements", "claim_requirement_reason")
        return (
            _checksum("t.id", signature, enabled),
            _checksum("t.id", "t.user_id", self._words("claims", "status")),
            _checksum("t.id", "c.user_id", "t.claim_id", kind, status, reason),
        )

    def _words(self, table: str, column: str) -> str:
        data_type = self.schema.columns.get((table, column))
        if data_type is None:
            return "NULL"
        if data_type in BINARY_TYPES:
            return f"CAST(LOWER(HEX(t.{column})) AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"
        return f"CAST(t.{column} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"

    def _number(self, table: str, column: str) -> str:
        return f"t.{column} + 0" if (table, column) in self.schema.columns else "1"

    def _moment(self, table: str, column: str) -> str:
        known = (table, column) in self.schema.columns
        return f"CAST(UNIX_TIMESTAMP(t.{column}) * 1000000 AS SIGNED)" if known else "NULL"


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
    ) -> None:
        """`query_seconds` limits each statement, `retry_seconds` how long a replica that is away is tried again;
        `stop` ends such waiting. `connect_seconds` limits logging in, and a server that says nothing for
        `grace_seconds` longer than a statement may take is away.
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
        self._texts: Queries | None = None
        self._names: list[str] = []

    def close(self) -> None:
        """Ends the session."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_open(self) -> bool:
        """Whether there is a session already, which may have died since."""
        return self._connection is not None

    def lag(self) -> float | None:
        """Seconds that the replica is behind its own source; None where it has no source, or does not tell us.

        Infinite where replication stands still: one of its threads does not run. Raises ReplicaAway.
        """
        if not self.is_open:
            self.present()
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
        """Finds out whether the replica answers; no statement is run. Raises ReplicaAway."""
        try:
            self._open().ping(reconnect=False)
        except (pymysql.err.MySQLError, TimeoutError, ConnectionError) as error:
            self._drop()
            raise self._away(error.args[-1] if error.args else error) from error

    def present(self) -> Present:
        """The server's clock and the highest ids. Raises ReplicaError."""
        ((clock, last_user, last_requirement),) = self._run(self.texts.present())
        self._clock = ClockReading(int(clock), time.monotonic())
        return Present(int(clock), int(last_user), int(last_requirement))

    def read_users(self, user_ids: Iterable[int]) -> LiveRead:
        """What the replica holds of these users, all in one snapshot. Raises ReplicaError."""
        wanted = sorted(set(user_ids))
        started = ended = 0
        users: dict[int, UserRow] = {}
        claims: dict[int, dict[int, ClaimRow]] = {user_id: {} for user_id in wanted}
        requirements: dict[int, dict[int, RequirementRow]] = {user_id: {} for user_id in wanted}
        updated: dict[int, dict[tuple[Table, int], int | None]] = {user_id: {} for user_id in wanted}
        created: dict[int, dict[tuple[Table, int], int | None]] = {user_id: {} for user_id in wanted}
        owners: dict[int, int] = {}
        for part, row_id, parent, first, second, third, enabled, *times in self._run(self.texts.read_users(wanted)):
            key = int(row_id)
            if part == USERS:
                owner, table = key, Table.USERS
                users[key] = user_row(key, first, enabled)
            elif part == CLAIMS:
                owner, table = int(parent), Table.CLAIMS
                owners[key] = owner
                claims[owner][key] = claim_row(key, owner, first)
            elif part == REQUIREMENTS:
                owner, table = owners[int(parent)], Table.CLAIM_REQUIREMENTS
                requirements[owner][key] = requirement_row(key, int(parent), first, second, third)
            else:
                started, ended = (started, key) if part == ENDED else (key, ended)
                continue
            updated[owner][table, key], created[owner][table, key] = (int(time) if time else None for time in times)
        if ended <= started:  # the server runs with sysdate-is-now
            ended = self.present().clock
        self._clock = ClockReading(ended, time.monotonic())
        leads = {
            user_id: LiveLead(
                users.get(user_id), claims[user_id], requirements[user_id], updated[user_id], created[user_id]
            )
            for user_id in wanted
        }
        return LiveRead(started, ended, leads)

    def user_page(self, after: int, limit: int) -> list[int]:
        """Ids of the next `limit` users above `after`, ascending. Raises ReplicaError."""
        return [int(user_id) for (user_id,) in self._run(self.texts.user_page(after, limit))]

    def end_of_range(self, after: int, users: int) -> int | None:
        """The highest id among the next `users` users above `after`; None where there are none. Raises ReplicaError."""
        ((last,),) = self._run(self.texts.end_of_range(after, users))
        return None if last is None else int(last)

    def fingerprints(self, after: int, upto: int) -> Fingerprints:
        """What the replica holds of the users in (`after`, `upto`], condensed. Raises ReplicaError."""
        rows = self._run(self.texts.fingerprints(after, upto))
        return Fingerprints(*((int(count), int(checksum)) for _, count, checksum in sorted(rows)))

    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        """What the replica holds of these users, condensed user by user. Raises ReplicaError."""
        return condensed(self._run(self.texts.checksums(user_ids)))

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
                f"{table} on {self.address} has no created_at, so a window cannot be found; use reconciler verify"
            )
        if (table, "created_at") in self.texts.schema.indexed:
            return self._created_by_index(table, since, limit)
        return self._created_by_key(table, since, limit, after)

    def _created_by_index(self, table: Table, since: int, limit: int) -> Iterator[Created]:
        condition = f"t.created_at >= {_time(since)}"
        while True:
            rows = self._run(self.texts.created(table, condition, "t.created_at, t.id", limit))
            yield Created(_users(rows), None)
            if len(rows) < limit:
                return
            row_id, created_at, _ = rows[-1]
            moment = _time(int(created_at))
            condition = f"(t.created_at > {moment} OR (t.created_at = {moment} AND t.id > {int(row_id)}))"

    def _created_by_key(self, table: Table, since: int, limit: int, after: int | None) -> Iterator[Created]:
        remembered = after is not None
        position = self.first_created(table, since) - 1 if after is None else after
        while True:
            rows = self._run(self.texts.created(table, f"t.id > {position}", "t.id", limit))
            if remembered and not rows and self._last(table) < position:  # emptied and begun anew
                remembered, position = False, self.first_created(table, since) - 1
                continue
            remembered = False
            position = int(rows[-1][0]) if rows else position
            yield Created(_users([row for row in rows if row[1] is None or int(row[1]) >= since]), position)
            if len(rows) < limit:
                return

    def _last(self, table: Table) -> int:
        present = self.present()
        return present.last_user if table is Table.USERS else present.last_requirement

    def first_created(self, table: Table, since: int, probe: int = 20) -> int:
        """The primary key from which on rows were created at or after `since` (µs): found by bisecting it.

        Each probe looks at the next `probe` rows, so that a few rows out of order do not mislead it.
        One above the highest where there is no such row. Raises ReplicaError.
        """
        low, high = 0, self._last(table) + 1
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
        """The statements for this server's tables; asks for them once."""
        if self._texts is None:
            self._texts = Queries(self._schema())
        return self._texts

    def _schema(self) -> Schema:
        columns: dict[tuple[str, str], str] = {}
        indexed: set[tuple[str, str]] = set()
        for kind, table, column, data_type in self._run(SCHEMA):
            if kind == "column":
                columns[table.lower(), column.lower()] = data_type.lower()
            elif column is not None:
                indexed.add((table.lower(), column.lower()))
        for table in TABLES:
            if (table, "id") not in columns:
                raise ReplicaUnfit(
                    f"there is no table {table} in {self.address.database} on {self.address} that we may read;"
                    f" run GRANT SELECT ON {self.address.database}.* TO our account"
                )
        for table, column in (("claims", "user_id"), ("claim_requirements", "claim_id")):
            if (table, column) not in indexed:
                raise ReplicaUnfit(
                    f"{table}.{column} has no index on {self.address}, so every look at a user would read the whole"
                    f" table; run CREATE INDEX {table}_{column} ON {table} ({column}) on the primary server"
                )
        return Schema(columns, frozenset(indexed))

    def _run(self, text: str) -> Sequence[tuple[Any, ...]]:
        retrying = Retrying(
            retry=retry_if_exception_type(ReplicaAway),
            stop=stop_any(stop_after_delay(self._retry_seconds), stop_when_event_set(self._stop)),
            wait=wait_exponential(0.1, max=5),
            sleep=sleep_using_event(self._stop),
            before_sleep=self._say_retry,
            reraise=True,
        )
        return retrying(self._run_once, text)

    def _say_retry(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
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
            raise ReplicaAway(
                f"{self.address} does not answer ({error}); start it or mend REPLICA_DATABASE_URL"
            ) from error
        except pymysql.err.MySQLError as error:
            self._drop()
            raise self._named(error) from error

    def _named(self, error: pymysql.err.MySQLError) -> ReplicaError:
        code, said = (error.args[0], error.args[-1]) if error.args else (0, error)
        if code in CONNECTION_LOST:
            return self._away(said)
        if code in TOO_SLOW:
            return QueryTooSlow(
                f"a query on {self.address} took longer than {self.query_seconds:g} s;"
                " raise REPLICA_QUERY_SECONDS or lower DISCOVERY_BATCH_SIZE"
            )
        if code in REFUSED:
            return ReplicaUnfit(
                f"{self.address} refuses us ({said}); mend REPLICA_DATABASE_URL or our account's grants"
            )
        return ReplicaError(f"a query on {self.address} failed with error {code} ({said})")

    def _away(self, said: object) -> ReplicaAway:
        return ReplicaAway(f"{self.address} does not answer ({said}); start it or mend REPLICA_DATABASE_URL")

    def _limited(self, text: str) -> str:
        text = text.strip()
        if text.startswith("SHOW"):
            return text
        if self.mariadb:
            return f"SET STATEMENT max_statement_time={self.query_seconds:g} FOR {text}"
        return f"SELECT /*+ MAX_EXECUTION_TIME({round(self.query_seconds * 1000)}) */ {text.removeprefix('SELECT')}"

    def _open(self) -> Connection[Cursor]:
        if self._connection is None:
            answer_seconds = self.query_seconds + self._grace_seconds
            connection = login(self.address, self._connect_seconds, answer_seconds)
            self.mariadb = "mariadb" in connection.get_server_info().lower()  # type: ignore[no-untyped-call]
            with connection.cursor() as cursor:
                self.queries += 1
                read_only = "tx_read_only" if self.mariadb else "transaction_read_only"
                cursor.execute(f"SET time_zone = '+00:00', SESSION {read_only} = 1")
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        self._texts = None  # the tables may have changed
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


def _users(rows: Iterable[tuple[Any, ...]]) -> list[int]:
    return sorted({int(user_id) for _, _, user_id in rows if user_id is not None})


def _time(moment: int) -> str:
    """A time in µs as the server's expression."""
    return f"FROM_UNIXTIME({moment // 1_000_000}.{moment % 1_000_000:06d})"
