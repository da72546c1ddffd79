"""What the company did: its committed transactions, in a JSONL file per worker, as the oracle reads them back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

Key = int | str
"""A row's id: a number, or a text that stands for all spellings that the column calls equal."""


class Step(msgspec.Struct, array_like=True, frozen=True):
    """One row changed by the company.

    `op` is `c` (created), `u` (updated), `d` (deleted) or `k` (given another id: `values["id"]`). `values` holds the
    columns that changed: signature, enabled; user, status; claim, type, status, reason. What is deleted along with its
    parent is not listed, nor is what belongs to nobody.
    """

    table: str
    op: str
    id: Key
    values: dict[str, Any] = {}

    @property
    def user(self) -> int:
        """The id of a row of `users`."""
        assert isinstance(self.id, int)
        return self.id


class Transaction(msgspec.Struct, array_like=True, frozen=True):
    """A committed transaction; the server committed it between `low` and `high`, in µs since the epoch.

    `initial` ones lay in the tables before anyone looked, whenever that was.
    """

    number: int
    low: int
    high: int
    initial: bool
    steps: list[Step]


class TransactionLog:
    """Appends one worker's transactions to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb", buffering=1 << 16)
        self._encode = msgspec.json.Encoder().encode

    def write(self, transaction: Transaction) -> None:
        """Adds a transaction; it is in the file when `close` returns at the latest."""
        self._file.write(self._encode(transaction) + b"\n")

    def close(self) -> None:
        """Writes out what is buffered."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> Iterator[Transaction]:
    """A worker's transactions in the order in which they were committed."""
    decode = msgspec.json.Decoder(Transaction).decode
    with path.open("rb") as file:
        for line in file:
            yield decode(line)
