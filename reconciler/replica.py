"""Every query that the reconciler makes on the replica, by name; nothing else of it talks to MySQL.

The session is that of `consumer.mysql.session`, read-only; each statement of `reconciler.mysql_statements` has a time
limit, and is put again while the replica is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from math import inf
from threading import Event, RLock
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import structlog
from pymysql.constants import ER

from consumer.capture import CAPTURED, REFS
from consumer.leads.model import Table
from consumer.mysql import retention
from consumer.mysql.errors import (
    ConnectionLost,
    LoginRefused,
    NotThere,
    PreconditionFailed,
    Refused,
    Sentences,
    SourceError,
)
from consumer.mysql.key_folding import Foldings, KeyFolding
from consumer.mysql.live_read import ENDED, WITH_KEYS, LiveRead, folding_of_column, live_read
from consumer.mysql.schema import Schema, readable, schema_of
from consumer.mysql.session import Replica
from consumer.patience import Patience
from consumer.settings import MySQLAddress
from reconciler import mysql_statements
from reconciler.mysql_statements import LARGEST, REPLICATION, Folds, Queries

log = structlog.get_logger(__name__)

KEYS: Final = tuple((table, column) for table, captured in CAPTURED.items() for column in captured.keys)
SCHEMA_SECONDS: Final = 60.0
"""How long the tables are taken for what they were: a column that comes back breaks no statement that does without."""


SENTENCES: Final = Sentences(
    lost="{address} does not answer ({reason}); start it or correct REPLICA_DATABASE_URL",
    silent="{address} does not answer ({reason}); start it or correct REPLICA_DATABASE_URL",
    failed="a query on {address} failed with error {code} ({reason})",
    too_slow="a query on {address} took longer than {seconds} s;"
    " raise REPLICA_QUERY_SECONDS or lower DISCOVERY_BATCH_SIZE",
    of_tls="{address} refuses us ({reason}); correct ssl_mode and ssl_ca in REPLICA_DATABASE_URL",
    refused="{address} refuses us ({reason}); correct REPLICA_DATABASE_URL or our account's grants",
    not_understood="a query on {address} failed with error {code} ({reason})",
    not_there="{address} lacks what a query names ({reason}); consumer doctor says what is missing",
)
"""What goes wrong, as runs and the page say it."""


P = ParamSpec("P")
R = TypeVar("R")

CHANGES_AT_ONCE: Final = 3
"""How often tables may change while one question is put: columns that go, go one after the other."""


def _of_present_tables(ask: Callable[Concatenate[ReplicaReads, P], R]) -> Callable[Concatenate[ReplicaReads, P], R]:
    """A question that is put anew, in the words of the tables as they are now, where they have changed."""

    @wraps(ask)
    def put(replica: ReplicaReads, /, *arguments: P.args, **named: P.kwargs) -> R:
        for _ in range(CHANGES_AT_ONCE):
            try:
                return ask(replica, *arguments, **named)
            except NotThere as error:
                log.info("tables_changed", address=str(replica.address), reason=str(error))
                replica.look_again()
        return ask(replica, *arguments, **named)

    return put


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


class CreatedUsers(NamedTuple):
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


THREADS = ("Replica_IO_Running", "Replica_SQL_Running", "Slave_IO_Running", "Slave_SQL_Running")
PROBED_ROWS: Final = 20
"""Rows that one probe of a bisection looks at."""
CLOCK_SECONDS: Final = 600
"""How long the server's clock is reckoned before it is asked for again."""


class ReplicaReads:
    """What the reconciler asks of the replica, in a read-only session that is opened again while the replica is away.

    Where a docstring says SourceError: ConnectionLost is a replica that stays away, LoginRefused and PreconditionFailed
    are one that cannot serve us, and QueryFailed and Refused are about the statement alone.
    """

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
        self.address = address
        self.mariadb = False
        self.query_seconds = query_seconds
        self._retry_seconds = retry_seconds
        self._patience = Patience(
            lambda error: isinstance(error, ConnectionLost), stop or Event(), self._report_away, retry_seconds
        )
        self._session = Replica(
            address,
            query_seconds + grace_seconds,
            connect_seconds=connect_seconds,
            limit_seconds=query_seconds,
            read_only=True,
            sentences=SENTENCES,
        )
        self._clock: ClockReading | None = None
        self._known = known or Known()
        self._foldings = Foldings(self._run, self._known.foldings)

    def close(self) -> None:
        """Ends the session."""
        self._session.close()

    def is_open(self) -> bool:
        """Whether there is a session already, which may have died since."""
        return self._session.is_open()

    @property
    def queries(self) -> int:
        """How many statements were sent."""
        return self._session.queries

    def lag(self) -> float | None:
        """Seconds that the replica is behind its own source; None where it has no source, or does not tell us.

        Infinite where replication stands still: one of its threads does not run. Raises ConnectionLost.
        """
        behind = self._lag()
        self._known.lag = LagReading(behind, time.monotonic())
        return behind

    def binlog_retention(self) -> float | None:
        """For how long (s) the server keeps its binlogs; None where it does not tell. Raises ConnectionLost."""
        try:
            variables = dict(self._run(retention.STATEMENT))
            if not retention.is_rds(variables):
                return retention.retention_seconds(variables)
            rows = self._run(retention.RDS_HOURS)
            return retention.retention_seconds(variables, retention.hours_of(rows[0][0] if rows else None))
        except (LoginRefused, NotThere):
            return None

    def lag_lately(self, seconds: float) -> LagReading | None:
        """The lag as some session of this process saw it not longer ago than so many seconds."""
        lag = self._known.lag
        return lag if lag is not None and time.monotonic() - lag.at <= seconds else None

    def _lag(self) -> float | None:
        if not self.is_open():
            self.ping()
        try:
            channels = self._channels()
        except (LoginRefused, NotThere):
            return None
        if not channels:
            return None
        if any(channel[name] != "Yes" for channel in channels for name in THREADS if name in channel):
            return inf
        return max(_seconds_behind(channel) for channel in channels)

    def _channels(self) -> list[dict[str, Any]]:
        """What the server follows, in the first spelling that it understands."""
        *newer, oldest = REPLICATION[self.mariadb]
        for spelling in newer:
            try:
                return self._records(spelling)
            except Refused as error:
                if error.code != ER.PARSE_ERROR:
                    raise
        return self._records(oldest)

    def ping(self) -> None:
        """Finds out whether the replica answers; no statement is run. Raises SourceError."""
        self._attempt(self._session.ping)

    @_of_present_tables
    def present(self) -> Present:
        """The server's clock and the highest ids. Raises SourceError."""
        ((clock, *counts),) = self._run(self.texts.present())
        self._clock = ClockReading(int(clock), time.monotonic())
        return Present(int(clock), *map(int, counts))

    def read_users(self, user_ids: Iterable[int]) -> LiveRead:
        """What the replica holds of these users, all in one snapshot. Raises SourceError."""
        return self._read_users(sorted(set(user_ids)))

    @_of_present_tables
    def _read_users(self, wanted: list[int]) -> LiveRead:
        folds = {table: self._folding(self.texts.schema, (table, "id")) for table in WITH_KEYS}
        read = live_read(self._run(self.texts.read_users(wanted)), wanted, folds)
        if read.ended <= read.started:  # the server runs with sysdate-is-now
            read = read._replace(ended=self.present().clock)
        self._clock = ClockReading(read.ended, time.monotonic())
        return read

    @_of_present_tables
    def user_page(self, after: int, limit: int) -> list[int]:
        """Ids of the next `limit` users above `after`, ascending. Raises SourceError."""
        return [int(user_id) for (user_id,) in self._run(self.texts.user_page(after, limit))]

    @_of_present_tables
    def end_of_range(self, after: int, users: int) -> int | None:
        """The highest id among the next `users` users above `after`; None where there are none. Raises SourceError."""
        ((last,),) = self._run(self.texts.end_of_range(after, users))
        return None if last is None else int(last)

    @_of_present_tables
    def fingerprints(self, after: int, upto: int) -> Fingerprints:
        """What the replica holds of the users in (`after`, `upto`] as checksums. Raises SourceError."""
        rows = self._run(self.texts.fingerprints(after, upto))
        return Fingerprints(*((int(count), int(checksum)) for _, count, checksum in sorted(rows)))

    @_of_present_tables
    def checksums(self, user_ids: Sequence[int]) -> Checksums:
        """What the replica holds of these users as checksums, user by user. Raises SourceError."""
        return checksums_of(self._run(self.texts.checksums(user_ids)))

    def clock(self) -> int:
        """The server's clock (µs), asked for or reckoned from an answer of the last minutes. Raises SourceError."""
        if self._clock is None or time.monotonic() - self._clock.seen > CLOCK_SECONDS:
            return self.present().clock
        return self._clock.server + round((time.monotonic() - self._clock.seen) * 1_000_000)

    def created(self, table: Table, since: int, limit: int, after: int | None = None) -> Iterator[CreatedUsers]:
        """Users of rows of `users` or `claim_requirements` that were created at or after `since` (µs).

        `limit` rows at a time, by the index on `created_at`, or where there is none by primary key: from `after` on,
        where the caller knows that no row up to it is so young, or else from where a bisection finds the first one.
        Raises SourceError.
        """
        if (table, "created_at") not in self.texts.schema.columns:
            raise PreconditionFailed(
                f"{table} on {self.address} has no created_at that is a time, so a window cannot be found;"
                " use reconciler verify"
            )
        if not self.texts.schema.has_numbers(table):
            return self._created_by_time(table, since, limit)
        if (table, "created_at") in self.texts.schema.indexed:
            return self._created_by_index(table, since, limit)
        return self._created_by_key(table, since, limit, after)

    def _created_by_index(self, table: Table, since: int, limit: int) -> Iterator[CreatedUsers]:
        condition = mysql_statements.since(since)
        while True:
            page = self._page(table, condition, "t.created_at, t.id", since, limit)
            rows = sorted(page.rows, key=lambda row: (row.made or 0, int(row.row_id)))
            yield CreatedUsers(_users(rows), None, page.checksums, page.unheld)
            if len(rows) < limit:
                return
            condition = mysql_statements.following(rows[-1].made or 0, int(rows[-1].row_id))

    def _created_by_time(self, table: Table, since: int, limit: int) -> Iterator[CreatedUsers]:
        """Rows whose keys say nothing of their age, such as UUIDs: page by page of `created_at`.

        A page begins where the one before ended, at the same moment, so some of its rows are looked at twice. Without
        an index on `created_at` each page reads the table once.
        """
        begin, wanted = since, limit
        while True:
            page = self._page(table, mysql_statements.since(begin), "t.created_at", since, wanted)
            yield CreatedUsers(_users(page.rows), None, page.checksums, page.unheld)
            if len(page.rows) < wanted:
                return
            newest = max(row.made or 0 for row in page.rows)
            wanted = 2 * wanted if newest <= begin else limit  # more rows of one moment than a page holds
            begin = max(begin, newest)

    def _created_by_key(self, table: Table, since: int, limit: int, after: int | None) -> Iterator[CreatedUsers]:
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
            yield CreatedUsers(_users(young), position if position <= LARGEST else None, page.checksums, page.unheld)
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
    def first_created(self, table: Table, since: int) -> int:
        """The primary key from which on rows were created at or after `since` (µs): found by bisecting it.

        Each probe looks at the next PROBED_ROWS, so that a few rows out of order do not mislead it.
        One above the highest where there is no such row. Raises SourceError.
        """
        low, high = self._ends(table)
        high += 1
        while low < high:
            middle = (low + high) // 2
            ((newest, last),) = self._run(self.texts.newest_from(table, middle, PROBED_ROWS))
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
        folds = {key: Folds.of(self._folding(schema, key)) for key in KEYS if schema.columns[key].collation}
        texts = self._known.texts = Queries(schema, folds)
        self._known.texts_until = time.monotonic() + SCHEMA_SECONDS
        return texts

    def look_again(self) -> None:
        """Has the tables looked at anew before the next statement is written."""
        self._known.texts = None

    def _schema(self) -> Schema:
        found = schema_of(self._run)
        columns = readable(found.columns, self.address)
        for table, column in REFS:
            if (table, column) not in found.indexed:
                raise PreconditionFailed(
                    f"{table}.{column} has no index on {self.address}, so every look at a user would read the whole"
                    f" table; run CREATE INDEX {table}_{column} ON {table} ({column}) on the primary server"
                )
        return found._replace(columns=columns)

    def _fold(self, table: str) -> KeyFolding:
        """What folds the ids of a table."""
        return self._folding(self.texts.schema, (table, "id"))

    def _folding(self, schema: Schema, column: tuple[str, str]) -> KeyFolding:
        return folding_of_column(self._foldings, schema, column, self.address)

    def _run(self, text: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return self._patience(self._attempt, self._session.once, text, arguments)

    def _records(self, text: str) -> list[dict[str, Any]]:
        return self._patience(self._attempt, self._session.records, text)

    def _attempt(self, ask: Callable[..., R], *arguments: object) -> R:
        """One question; whatever it fails of, the next one begins a session of its own."""
        try:
            answer = ask(*arguments)
        except SourceError:
            self.look_again()  # the tables may have changed
            self._session.close()
            raise
        self.mariadb = self._session.is_mariadb()
        return answer

    def _report_away(self, error: BaseException, attempt: int, _pause: float) -> None:
        if attempt == 1:
            log.warning(
                "server_away",
                server="mysql",
                address=str(self.address),
                reason=str(error),
                wait_seconds=self._retry_seconds,
            )


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
