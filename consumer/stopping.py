"""Ending in good order: the first SIGTERM or SIGINT asks the process to stop, a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Self

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether to stop, and what to wake for it.

    As a context manager it installs the signal handlers (main thread only). `event` is set when a signal came;
    `by` is its number, 0 before.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.by = 0
        self._wakers: list[Callable[[], None]] = []
        self._before: dict[int, signal._HANDLER] = {}

    def __bool__(self) -> bool:
        return self.event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleeps, but not beyond the signal."""
        self.event.wait(seconds)

    def request(self) -> None:
        """Asks to stop, and wakes those who block."""
        self.event.set()
        for waker in list(self._wakers):
            waker()

    @contextmanager
    def waking(self, waker: Callable[[], None]) -> Iterator[None]:
        """Calls `waker` (from another thread) when a stop is asked for inside the block; at once if it was before."""
        self._wakers.append(waker)
        try:
            if self:
                waker()
            yield
        finally:
            self._wakers.remove(waker)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.by = number
        self._restore()
        # An Event's lock may be held by the very thread that a handler interrupts, so setting it is another thread's.
        threading.Thread(target=self.request, name="stop", daemon=True).start()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()


class EssentialThread(threading.Thread):
    """A thread that its process cannot do without: an error in it that nobody foresaw asks the process to stop.

    Whoever starts the process anew sees that it failed, and nobody takes a process without it for a whole one.
    """

    def __init__(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(name=name)
        self._work = work
        self._stop_asked = stop

    def run(self) -> None:
        """Works until its work ends."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - it ends the process
            import structlog  # which `--help` does without

            structlog.get_logger(__name__).exception(
                "thread_failed", thread=self.name, kind=type(error).__name__,
                reason=f"an error that nobody foresaw ended the thread {self.name!r}, and so ends this process",
            )  # fmt: skip
            self._stop_asked.set()
