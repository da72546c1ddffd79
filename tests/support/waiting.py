"""The one way in which tests wait for something: a state or an event, never a number of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 150.0
"""Seconds; what takes longer on a machine five times slower than ours does not happen."""
PAUSE: Final = 0.05
_SHOWN: Final = 4000


class NeverCame(AssertionError):
    """What was waited for did not come; the message says what, for how long, and what was seen last."""


def until(
    condition: Callable[[], T],
    what: str,
    within: float = PATIENCE,
    *,
    seen: Callable[[], object] | None = None,
    pause: float = PAUSE,
) -> T:
    """Waits until `condition` returns something true, and returns that.

    `what` ends the sentence "it never came about that …". Where it does not come about within so many seconds, the
    failure shows what `seen` returns, or what the condition returned last. A condition that was never asked after the
    time was over is asked once more: a machine may have slept meanwhile. Raises NeverCame, and what `condition` raises.
    """
    deadline = time.monotonic() + within
    while True:
        late = time.monotonic() >= deadline
        found = condition()
        if found:
            return found
        if late:
            last = str(found if seen is None else seen())
            raise NeverCame(f"it never came about that {what}, in {within:.0f} s; seen last: {last[-_SHOWN:]}")
        time.sleep(pause)
