"""Shapes a company's tables may have: types of ids, flags and signatures, foreign keys, and the words written in them.

Everything personal carries a marker (`PERSONAL_DATA`), so that a test can look for it where it must never be.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.demo.oracle import Words
from tests.demo.transaction_log import Key

CAPTURED: Final = {
    "users": {"id", "current_signature_file_id", "is_enabled", "created_at", "updated_at"},
    "claims": {"id", "user_id", "status", "created_at", "updated_at"},
    "claim_requirements": {
        "id",
        "claim_id",
        "type",
        "status",
        "claim_requirement_reason",
        "created_at",
        "updated_at",
    },
}
"""The only columns that may leave MySQL."""

PERSONAL_DATA: Final = (
    rb"pii-",  # names, addresses, hashes, free text, blobs
    rb"cGlpL",  # the same in base64
    rb"7069692[dD]",  # the same in hexadecimal
    rb"\+99955\d",  # telephone numbers
    rb"191\d-[01]\d-[0-3]\d",  # birth dates
    rb"7770077\d\.\d\d",  # incomes
)
"""Patterns of which every personal value matches one, however it is encoded."""

ACTIVITY_LOG: Final = """
    CREATE TABLE activity_log (
        worker INT NOT NULL,
        number BIGINT NOT NULL,
        details JSON NULL,
        created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        PRIMARY KEY (worker, number)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    """
"""A table that is not captured: every transaction of the company leaves its number there."""

_BEYOND_32_BITS: Final = 5_000_000_000


def literal(value: object) -> str:
    """A value as SQL text: None, numbers, bytes and strings (under the server's default sql_mode)."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"


def canonical(value: object) -> Key:
    """The one spelling of an id that stands for all that its column calls equal; bytes are a UUID's.

    The demo's texts are ASCII in a column that ignores case and trailing blanks.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    return str(value).rstrip(" ").lower()


class KeyType(Enum):
    """Types of the id of a claim or a requirement, by their name in SQL."""

    INT = "INT"
    BIGINT = "BIGINT"
    UNSIGNED = "BIGINT UNSIGNED"
    CHAR = "CHAR(36)"
    VARCHAR = "VARCHAR(64)"
    BINARY = "BINARY(16)"
    UUID = "UUID"
    """MariaDB's."""

    @property
    def is_integer(self) -> bool:
        """Whether ids are numbers."""
        return self in (KeyType.INT, KeyType.BIGINT, KeyType.UNSIGNED)

    def make(self, random: Random, number: int) -> Key:
        """A new id, `number` being one that no other row of the table was made with; signed ones may be negative."""
        sign = -1 if self is not KeyType.UNSIGNED and number % 3 == 0 else 1
        if self is KeyType.INT:
            return sign * number
        if self.is_integer:
            return sign * (_BEYOND_32_BITS + number)
        if self is KeyType.VARCHAR:
            return f"doc-{random.randrange(16**4):04x}-{number:06x}"
        bits = random.getrandbits(128)
        if self in (KeyType.BINARY, KeyType.UUID) and number % 4 == 0:
            return str(uuid.UUID(int=bits >> 16 << 16, version=4))  # ends in zero bytes, which a binlog does not hold
        return str(uuid.UUID(int=bits, version=1 if number % 2 else 4))

    def literal(self, key: Key) -> str:
        """An id in SQL."""
        if self is KeyType.BINARY:
            return f"x'{uuid.UUID(str(key)).hex}'"
        return literal(key)


class Flag(NamedTuple):
    """A type that `is_enabled` may have: its SQL, what is written for yes and for no, and how it is asked."""

    sql: str
    yes: tuple[str, ...]
    no: str
    asked: str = "is_enabled <> 0"


TINYINT: Final = Flag("TINYINT(1) NOT NULL DEFAULT 1", ("1",), "0")
NULLABLE: Final = Flag("TINYINT(1) NULL", ("1", "NULL"), "0", "COALESCE(is_enabled, 1) <> 0")
BIT: Final = Flag("BIT(1) NOT NULL DEFAULT b'1'", ("b'1'",), "b'0'")
ENUM: Final = Flag("ENUM('0', '1') NOT NULL DEFAULT '1'", ("'1'",), "'0'", "is_enabled = '1'")
DECIMAL: Final = Flag("DECIMAL(1, 0) NOT NULL DEFAULT 1", ("1",), "0")


class Signature(Enum):
    """Types that `current_signature_file_id` may have, by their name in SQL."""

    VARCHAR = "VARCHAR(36)"
    BIGINT = "BIGINT"
    BINARY = "BINARY(16)"

    def make(self, random: Random) -> str:
        """A new file's id."""
        if self is Signature.VARCHAR:
            return f"{random.getrandbits(64):016x}"
        if self is Signature.BIGINT:
            return str(random.randrange(1, 1 << 40))
        return str(uuid.UUID(int=random.getrandbits(128), version=4))

    def literal(self, file: str) -> str:
        """A file's id in SQL."""
        if self is Signature.BINARY:
            return f"x'{uuid.UUID(file).hex}'"
        return file if self is Signature.BIGINT else literal(file)

    @property
    def none(self) -> tuple[str, ...]:
        """What is written where there is no signature."""
        return {Signature.VARCHAR: ("NULL", "NULL", "''"), Signature.BIGINT: ("NULL", "0")}.get(self, ("NULL",))

    def read(self, value: object) -> str | None:
        """A file's id as the driver gives it."""
        if isinstance(value, bytes):
            return str(uuid.UUID(bytes=value))
        return str(value) if value else None


class Vocabulary(NamedTuple):
    """Words that the company writes; what they mean is the rules'."""

    open_claim: tuple[str | None, ...]
    closed_claim: tuple[str, ...]
    owed: tuple[str | None, ...]
    """Statuses of documents still to be handed in."""
    asked: tuple[str, ...]
    """Statuses of documents just asked for."""
    handed_in: str
    approved: tuple[str, ...]
    refused: tuple[str | None, ...]
    """Statuses of documents that turned out to be no good."""
    kinds: tuple[str | None, ...]
    reasons: tuple[str | None, ...]


class Requested(NamedTuple):
    """A requirement to be written; key and claim are in SQL already."""

    key: str
    claim: str
    kind: str | None
    status: str | None
    reason: str | None


class Layout(NamedTuple):
    """Tables with all the columns a company has around the captured ones, and how their rows are invented.

    The writers of rows return what follows INSERT INTO: table, columns and VALUES.
    """

    tables: Callable[[Shape], tuple[str, ...]]
    """The three tables in the order in which they can be created."""
    user: Callable[[Random, int, str, str], str]
    """Of an id, and signature and flag in SQL."""
    claim: Callable[[Random, str, int, str | None], str]
    """Of an id in SQL, a user and a status."""
    requirement: Callable[[Random, Requested], str]
    personal_change: Callable[[Random, int], str]
    """Assignments that change personal columns only."""


@dataclass(frozen=True)
class Shape:
    """The tables of one company, its words and its rules."""

    name: str
    layout: Layout
    vocabulary: Vocabulary
    words: Words
    """The rules, for the oracle."""
    rules_file: Path
    """The same rules, for the pipeline."""
    claim_id: KeyType = KeyType.UNSIGNED
    requirement_id: KeyType = KeyType.CHAR
    user_id: str = "BIGINT UNSIGNED"
    signature: Signature = Signature.VARCHAR
    enabled: Flag = TINYINT
    foreign_keys: bool = True
    own_times: bool = True
    """Whether the application sets `created_at` and `updated_at`, the latter not always; else the server does."""
    respelled: bool = False
    """Whether ids in text are written in other letters now and then, which their column calls equal."""
    claimless: bool = False
    """Whether some requirements have no claim."""
    low_ids: bool = False
    """Whether some users have ids of 0 and below."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Statements that create everything, in their order."""
        return (*self.layout.tables(self), ACTIVITY_LOG)

    def cascade(self, name: str, column: str, parent: str) -> str:
        """A constraint of a table in SQL, with a comma before it; empty where there are no foreign keys."""
        if not self.foreign_keys:
            return ""
        return f",\n        CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {parent} (id) ON DELETE CASCADE"

    def spelled(self, kind: KeyType, key: Key, random: Random) -> str:
        """An id in SQL, in whatever spelling this company may use for it."""
        if not self.respelled or kind.is_integer or kind is KeyType.BINARY:
            return kind.literal(key)
        text = str(key)
        other = random.choice((text, text.upper(), text.capitalize(), text.swapcase()))
        blanks = "" if kind is KeyType.UUID else " " * random.choice((0, 0, 1, 2))
        return literal(other + blanks)
