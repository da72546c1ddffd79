"""Transactions that another one was in the way of, tried again; `consumer.patience` waits for servers that are away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from consumer.store.errors import RowLocked, TransactionConflict

ATTEMPTS: Final = 8
LONGEST_SECONDS: Final = 2.0

T = TypeVar("T")


def again_if_in_the_way(work: Callable[..., T], *arguments: object, locked: bool = False) -> T:
    """Repeats a transaction until nothing is in its way. Raises TransactionConflict after ATTEMPTS.

    RowLocked, which took a lock's whole time limit to find out, is raised at once, but for work that only a row in
    somebody's hands can stop (`locked`).
    """
    retrying = Retrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, TransactionConflict) and (locked or not isinstance(error, RowLocked))
        ),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(0.05, max=LONGEST_SECONDS),
        reraise=True,
    )
    return retrying(work, *arguments)
