"""The reconciler's own statements for MySQL, in the words of the tables that the server really has.

Those that others send, too, are in `consumer.mysql`: the columns (`schema`) and the live read (`live_read`).
Each is one read-only statement, reads by key ranges or indexed columns, and is a consistent read by itself: InnoDB
takes one snapshot for all parts of a statement. `reconciler.replica` runs them, each with a time limit.
"""

# ruff: noqa: S608 (what is put into statements is our own words and numbers)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from consumer.leads.model import Table
from consumer.mysql import live_read
from consumer.mysql.live_read import CLAIMS, CLOCK, ENDED, REQUIREMENTS, USERS
from consumer.mysql.schema import Schema

UNHELD: Final = "users whose id is 2^63 or more cannot be leads: the call centre's user_id is a bigint"
LARGEST: Final = 2**63 - 1
"""The largest id of a user that PostgreSQL's bigint holds; a user with a larger one cannot be a lead."""
SMALLEST: Final = -(2**63)
"""Below every id."""

REPLICATION = {False: ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"), True: ("SHOW ALL SLAVES STATUS",)}
"""How far each server is behind its source, by whether it is MariaDB; asks for the privilege REPLICATION CLIENT. MySQL
before 8.0.22 knows the second spelling alone."""


def _checksum(*values: str) -> str:
    """How many rows there are, and the sum of the first 60 bits of each row's SHA-256."""
    text = ", '|', ".join(f"IFNULL(CONCAT('=', {value}), '-')" for value in values)
    return f"COUNT(*), COALESCE(SUM(CAST(CONV(LEFT(SHA2(CONCAT({text}), 256), 15), 16, 10) AS UNSIGNED)), 0)"


def _beyond() -> str:
    """How many users no bigint can hold."""
    return f"(SELECT COUNT(*) FROM users WHERE id > {LARGEST})"


class Folds(NamedTuple):
    """What the folding of a text key comes to in SQL, for keys of ASCII; any others are compared one by one."""

    lowers: bool
    trims: bool

    @classmethod
    def of(cls, fold: Callable[[str], str]) -> Self:
        """As a folding does with letters and with blanks at the end."""
        return cls(fold("Aa") == "aa", fold("a ") == "a")

    def folded(self, key: str) -> str:
        """The expression of a key's form."""
        key = f"LOWER({key})" if self.lowers else key
        return f"TRIM(TRAILING ' ' FROM {key})" if self.trims else key


_AS_SPELLED: Final = Folds(lowers=False, trims=False)


class _Summed(NamedTuple):
    """The rows `t` of one table as they are summed up for a user: the part of the statements they are, and their sum.

    `table` is the one whose column `owner` is the user's id; `then` joins the rows to it where they are another's.
    """

    part: int
    table: str
    owner: str
    checksum: str
    then: str = ""

    def by_user(self) -> str:
        """The tables."""
        return f"{self.table} JOIN {self.then}" if self.then else self.table

    def among(self, owners: str) -> str:
        """The tables, joined in this order to rows that have a `user_id`."""
        then = f" STRAIGHT_JOIN {self.then}" if self.then else ""
        return f"{owners} o STRAIGHT_JOIN {self.table} ON {self.owner} = o.user_id{then}"


class Queries:
    """The statements, in the words of the tables that the server really has."""

    def __init__(self, schema: Schema, folds: Mapping[tuple[str, str], Folds] = MappingProxyType({})) -> None:
        self.schema = schema
        self._folds = folds

    def present(self) -> str:
        """The clock, how many users no bigint can hold, and the lowest and highest ids of users and of requirements: 0
        where there are none, or no numbers."""
        ends = ["0", "0"]
        if self.schema.has_numbers():
            ends = [f"(SELECT COALESCE({end}(id), 0) FROM claim_requirements)" for end in ("MIN", "MAX")]
        return (
            f"SELECT {CLOCK}, {_beyond()}, (SELECT COALESCE(MIN(id), 0) FROM users WHERE id <= {LARGEST}),"
            f" {self._highest(Table.USERS)}, {', '.join(ends)}"
        )

    def read_users(self, user_ids: Iterable[int]) -> str:
        """As `consumer.mysql.live_read.statement`."""
        return live_read.statement(self.schema, user_ids)

    def user_page(self, after: int, limit: int) -> str:
        """The next users by primary key."""
        return f"SELECT id FROM users WHERE id > {after} AND id <= {LARGEST} ORDER BY id LIMIT {limit}"

    def created(self, table: Table, condition: str, order: str, since: int, limit: int) -> str:
        """New rows of `users` or `claim_requirements`, and what `checksums` says of their users.

        Rows of (0, user, row's id, time of creation) for each of the next `limit` rows, and of (table, user, rows,
        checksum) for the users of those that were created at or after `since` (µs), or nobody knows when; at last
        (ENDED, users that no bigint holds, highest id, None).
        """
        made = self.schema.moment(table, "created_at")
        if table is Table.USERS:
            fresh = f"SELECT t.id, {made} AS made, t.id AS user_id FROM users t WHERE {condition} AND t.id <= {LARGEST}"
            fresh += f" ORDER BY {order} LIMIT {limit}"
        else:
            fresh = f"SELECT {self.schema.key(table, 'id')} AS id, {made} AS made, c.user_id"
            fresh += " FROM (SELECT t.id, t.created_at, t.claim_id"
            fresh += f" FROM claim_requirements t WHERE {condition} ORDER BY {order} LIMIT {limit}) t"
            fresh += " LEFT JOIN claims c ON c.id = t.claim_id"
        young = f"f.user_id <= {LARGEST} AND (f.made IS NULL OR f.made >= {since})"
        owners = f"(SELECT DISTINCT f.user_id FROM ({fresh}) f WHERE {young})"
        return _united(
            f"SELECT 0, f.user_id, f.id, f.made FROM ({fresh}) f",
            *(
                f"SELECT {rows.part}, o.user_id, {rows.checksum} FROM {rows.among(owners)} GROUP BY o.user_id"
                for rows in self._summed()
            ),
            f"SELECT {ENDED}, {_beyond()}, {self._highest(table)}, NULL",
        )

    def _highest(self, table: Table) -> str:
        if not self.schema.has_numbers(table):
            return "0"
        held = f" WHERE id <= {LARGEST}" if table is Table.USERS else ""
        return f"(SELECT COALESCE(MAX(id), 0) FROM {table.value}{held})"

    def newest_from(self, table: Table, row_id: int, limit: int) -> str:
        """When the newest of the next rows was created, and the last of their ids: one probe of a bisection."""
        created_at = self.schema.moment(table, "created_at")
        held = f" AND id <= {LARGEST}" if table is Table.USERS else ""
        return (
            f"SELECT MAX({created_at}), MAX(t.id) FROM"
            f" (SELECT id, created_at FROM {table.value} WHERE id >= {row_id}{held} ORDER BY id LIMIT {limit}) t"
        )

    def end_of_range(self, after: int, users: int) -> str:
        """The highest id among the next so many users."""
        return (
            f"SELECT MAX(id) FROM"
            f" (SELECT id FROM users WHERE id > {after} AND id <= {LARGEST} ORDER BY id LIMIT {users}) t"
        )

    def fingerprints(self, after: int, upto: int) -> str:
        """Rows and checksum of each table for a range of users: `reconciler.postgres.FINGERPRINTS` here."""
        return _united(
            *(
                f"SELECT {rows.part}, {rows.checksum} FROM {rows.by_user()}"
                f" WHERE {rows.owner} > {after} AND {rows.owner} <= {upto}"
                for rows in self._summed()
            )
        )

    def checksums(self, user_ids: Iterable[int]) -> str:
        """Rows and checksum of each table for each of these users: `reconciler.postgres.CHECKSUMS` here."""
        ids = ",".join(map(str, user_ids))
        return _united(
            *(
                f"SELECT {rows.part}, {rows.owner}, {rows.checksum} FROM {rows.by_user()}"
                f" WHERE {rows.owner} IN ({ids}) GROUP BY {rows.owner}"
                for rows in self._summed()
            )
        )

    def _summed(self) -> tuple[_Summed, ...]:
        """What `reconciler.postgres` sums up of the same tables, in the same order and of the same columns."""
        claim, requirement = self._folded("claims", "id"), self._folded("claim_requirements", "id")
        of_claim = self._folded("claim_requirements", "claim_id")
        enabled = f"IFNULL({self.schema.enabled()}, 1) <> 0"
        kind = self.schema.words("claim_requirements", "type")
        status = self.schema.words("claim_requirements", "status")
        reason = self.schema.words("claim_requirements", "claim_requirement_reason")
        return (
            _Summed(USERS, "users t", "t.id", _checksum("t.id", self.schema.signature(), enabled)),
            _Summed(
                CLAIMS, "claims t", "t.user_id", _checksum(claim, "t.user_id", self.schema.words("claims", "status"))
            ),
            _Summed(
                REQUIREMENTS,
                "claims c",
                "c.user_id",
                _checksum(requirement, "c.user_id", of_claim, kind, status, reason),
                "claim_requirements t ON t.claim_id = c.id",
            ),
        )

    def _folded(self, table: str, column: str) -> str:
        return self._folds.get((table, column), _AS_SPELLED).folded(self.schema.key(table, column))


def _united(*statements: str) -> str:
    return "\nUNION ALL\n".join(statements)


def since(moment: int) -> str:
    """Rows `t` created at or after a time (µs), for `created`."""
    return f"t.created_at >= {_time(moment)}"


def following(moment: int, row_id: int) -> str:
    """Rows `t` after this one in the order of `created_at` and `id`, for `created`."""
    return f"(t.created_at > {_time(moment)} OR (t.created_at = {_time(moment)} AND t.id > {row_id}))"


def _time(moment: int) -> str:
    """A time in µs as the server's expression."""
    return f"FROM_UNIXTIME({moment // 1_000_000}.{moment % 1_000_000:06d})"
