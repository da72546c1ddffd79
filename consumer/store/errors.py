"""What can go wrong with PostgreSQL, by what a caller should do about it."""

from __future__ import annotations


class StoreError(Exception):
    """Something about PostgreSQL that a person has to look at; the message says what it is and how to fix it."""


class TransactionConflict(StoreError):
    """A transaction that was rolled back because another one was in its way: load, replay and write once more.

    Raised for deadlocks, serialization failures, locks waited for too long and a lead that two writers created at once.
    """


class RowLocked(TransactionConflict):
    """A row of the call centre's, or of ours, was held by another transaction for longer than we wait."""


class StoreUnavailable(StoreError):
    """A PostgreSQL that cannot be reached or refuses work at present: wait and try again; nothing was half written.

    Where the connection broke during a commit, that commit may have been done or not: read `LeadStore.lanes` again.
    """


class LaneTaken(StoreError):
    """A lane that is not where this process left it: another applier moved it on, so this one must not write."""

    def __init__(self, lanes: list[int]) -> None:
        super().__init__(
            f"lane {', '.join(map(str, lanes))} was moved on by another applier; rejoin the group and read it again"
        )
        self.lanes = lanes


class NotPrepared(StoreError):
    """Tables, ours or the call centre's, or lanes, missing or not fitting; `consumer setup` fixes or explains it."""
