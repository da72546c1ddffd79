"""Waiting for a server that is away: growing pauses, an end to them, and no sleep beyond the signal to stop.

One of the two ways in which a step that failed is tried again; the other is `consumer.store.conflicts`. These loops are
none of them, because nothing failed that would be done again: `topics.partitions_of` and `ReaderTransactions` cut a
wait in Kafka's own client into short ones, so that a signal to stop ends it; `topic_repair.await_shown` waits until
brokers show what was granted; `Reader._look_for_successor` waits until another reader's name is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, sleep_using_event, wait_exponential_jitter

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 10.0

T = TypeVar("T")


def _always() -> bool:
    return True


class Patience:
    """A step repeated while what it raises is passing; for one thread."""

    def __init__(
        self,
        is_passing: Callable[[BaseException], bool],
        stop: threading.Event,
        report: Callable[[BaseException, int, float], None] = lambda *_: None,
        seconds: float | None = None,
    ) -> None:
        """`report` gets the error, the number of the attempt and the pause (s) that follows.

        After `seconds` of attempts the last error is raised; None: only the signal to stop ends the patience.
        """
        self._is_passing = is_passing
        self._stop = stop
        self._report = report
        self._seconds = seconds
        self._attempt: RetryCallState | None = None

    def __call__(self, step: Callable[..., T], *arguments: object, wanted: Callable[[], bool] = _always) -> T:
        """The step's result. Raises its last error where nobody wants the result any more.

        A `Retrying` is garbage in a cycle, and stays in memory for long: nothing in it refers to `arguments`.
        """

        def enough(state: RetryCallState) -> bool:
            if self._stop.is_set() or not wanted():
                return True
            return self._seconds is not None and (state.seconds_since_start or 0.0) > self._seconds

        retrying = Retrying(
            retry=retry_if_exception(self._is_passing),
            wait=wait_exponential_jitter(multiplier=FIRST_SECONDS, max=LONGEST_SECONDS, jitter=FIRST_SECONDS),
            stop=enough,
            sleep=sleep_using_event(self._stop),
            before_sleep=self._before_sleep,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    self._attempt = attempt.retry_state
                    return step(*arguments)
        finally:
            self._attempt = None
        raise AssertionError("tenacity ends by returning or raising")

    def progressed(self) -> None:
        """The step got on: its next failure is a new one, and is not waited for long."""
        if self._attempt is not None:
            self._attempt.attempt_number = 1

    def _before_sleep(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        pause = state.next_action.sleep if state.next_action is not None else 0.0
        if error is not None:
            self._report(error, state.attempt_number, pause)
