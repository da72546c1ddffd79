"""What MySQL holds of leads at one moment: one statement, and so one consistent read, for one customer or for many."""

# ruff: noqa: S608 (what is put into statements is our own words and numbers)

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from consumer.capture import CAPTURED
from consumer.leads.model import ClaimRow, Key, LiveState, RequirementRow, Table, UserRow
from consumer.mysql.errors import NotThere, PreconditionFailed
from consumer.mysql.key_folding import Foldings, KeyFolding, unchanged
from consumer.mysql.keys import KeyKind
from consumer.mysql.schema import Schema, columns_of, readable
from consumer.mysql.session import Replica
from consumer.mysql.weights import UnsupportedCollation
from consumer.settings import MySQLAddress

USERS, CLAIMS, REQUIREMENTS, ENDED = 1, 2, 3, 4
"""First column of the parts of statements that tell of several tables; 0 is what stands before them."""
CLOCK: Final = "CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000000 AS UNSIGNED)"
_CLOCK_NOW: Final = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)"


WITH_KEYS: Final = tuple(table for table in Table if "id" in CAPTURED[table].keys)
"""Tables whose ids may be texts, of which several spellings are one."""


class LiveLead(NamedTuple):
    """What MySQL holds of one user; when rows were created (µs, None where unknown) is by table and row id."""

    user: UserRow | None
    claims: dict[Key, ClaimRow]
    requirements: dict[Key, RequirementRow]
    created_at: Mapping[tuple[Table, Key | int], int | None] = MappingProxyType({})

    @property
    def state(self) -> LiveState:
        """As the ledger takes it; claims of a user that is gone are there where nothing took them along."""
        return LiveState(self.user, list(self.claims.values()), list(self.requirements.values()))


class LiveRead(NamedTuple):
    """One consistent read of many users: the server's clock (µs) before and after it, and every user asked for."""

    started: int
    ended: int
    leads: dict[int, LiveLead]


def statement(schema: Schema, user_ids: Iterable[int]) -> str:
    """Everything about these users in one snapshot, between two looks at the clock."""
    ids = ",".join(map(str, user_ids))
    return f"""
        SELECT 0, {CLOCK}, NULL, NULL, NULL, NULL, NULL, NULL
        UNION ALL
        SELECT {USERS}, t.id, NULL, {schema.signature()}, NULL, NULL,
               {schema.enabled()}, {schema.moment("users", "created_at")}
          FROM users t WHERE t.id IN ({ids})
        UNION ALL
        SELECT {CLAIMS}, {schema.key("claims", "id")}, t.user_id, {schema.words("claims", "status")}, NULL, NULL,
               NULL, {schema.moment("claims", "created_at")}
          FROM claims t WHERE t.user_id IN ({ids})
        UNION ALL
        SELECT {REQUIREMENTS}, {schema.key("claim_requirements", "id")},
               {schema.key("claim_requirements", "claim_id")}, {schema.words("claim_requirements", "type")},
               {schema.words("claim_requirements", "status")},
               {schema.words("claim_requirements", "claim_requirement_reason")},
               NULL, {schema.moment("claim_requirements", "created_at")}
          FROM claims c JOIN claim_requirements t ON t.claim_id = c.id WHERE c.user_id IN ({ids})
        UNION ALL
        SELECT {ENDED}, {_CLOCK_NOW}, NULL, NULL, NULL, NULL, NULL, NULL
    """


def live_read(rows: Iterable[Sequence[Any]], user_ids: Collection[int], folds: Mapping[Table, KeyFolding]) -> LiveRead:
    """What `statement` gave for these users; `folds` are of the ids of tables WITH_KEYS. Raises what folding raises.

    It ended no later than it began where the server runs with sysdate-is-now.
    """
    started = ended = 0
    fold_claim, fold_requirement = folds[Table.CLAIMS], folds[Table.CLAIM_REQUIREMENTS]
    users: dict[int, UserRow] = {}
    claims: dict[int, dict[Key, ClaimRow]] = {user_id: {} for user_id in user_ids}
    requirements: dict[int, dict[Key, RequirementRow]] = {user_id: {} for user_id in user_ids}
    created: dict[int, dict[tuple[Table, Key | int], int | None]] = {user_id: {} for user_id in user_ids}
    owners: dict[Key, int] = {}
    for part, row_id, parent, first, second, third, enabled, made in rows:
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
    leads = {
        user_id: LiveLead(users.get(user_id), claims[user_id], requirements[user_id], created[user_id])
        for user_id in user_ids
    }
    return LiveRead(started, ended, leads)


# The rows as the stream's messages are read (`row` in consumer.stream.envelope), which tests hold these against. Two
# ways, because what they begin with differs: Kafka's JSON has each value in its column's own type, a thousand for every
# one that is read live, so that `row` looks at no more than that type needs; here the statement has made texts and
# numbers of them, and has said NULL for what is no signature.


def user_row(user_id: int, signature: object, enabled: object) -> UserRow:
    """A row of `users`."""
    return UserRow(user_id, _text(signature), enabled != 0)


def claim_row(claim_id: Key, user_id: int, status: object) -> ClaimRow:
    """A row of `claims`."""
    return ClaimRow(claim_id, user_id, _text(status))


def requirement_row(requirement_id: Key, claim_id: Key, kind: object, status: object, reason: object) -> RequirementRow:
    """A row of `claim_requirements`."""
    return RequirementRow(requirement_id, claim_id, _text(kind), _text(status), _text(reason))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def folding_of_column(foldings: Foldings, schema: Schema, column: tuple[str, str], address: MySQLAddress) -> KeyFolding:
    """What folds the ids of a column (table, name). Raises PreconditionFailed, and what `foldings` raise."""
    declared = schema.columns.get(column)
    if declared is None or not declared.collation or schema.kind(*column) is not KeyKind.TEXT:
        return unchanged
    try:
        return foldings.of(declared.collation, declared.charset)
    except UnsupportedCollation as error:
        raise PreconditionFailed(f"{'.'.join(column)} on {address}: {error}") from error


def read_leads(replica: Replica, user_ids: Collection[int]) -> LiveRead:
    """Customers as they stood at one moment, for who asks once; `started` is a clock's before the snapshot.

    Raises Passing, LoginRefused and PreconditionFailed.
    """
    try:
        return _read(replica, user_ids)
    except NotThere:  # a column went between our looking at the tables and our asking
        return _read(replica, user_ids)


def _read(replica: Replica, user_ids: Collection[int]) -> LiveRead:
    schema = Schema(readable(columns_of(replica.query), replica.address))
    foldings = Foldings(replica.query)
    folds = {table: folding_of_column(foldings, schema, (table, "id"), replica.address) for table in WITH_KEYS}
    started = replica.clock()
    with replica.snapshot():  # the server's default may let a statement see changes that are not committed
        read = live_read(replica.query(statement(schema, user_ids)), user_ids, folds)
    return read._replace(started=started)
