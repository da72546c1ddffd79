"""What glibc's allocator keeps, and how often Python looks for cycles."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

LARGE_BYTES: Final = 65_536
_M_MMAP_THRESHOLD: Final = -3
"""malloc.h; once set, the threshold no longer grows with the blocks that were freed (mallopt(3))."""
_M_ARENA_MAX: Final = -8
"""malloc.h: how many arenas there may be (mallopt(3)); by default eight for each processor."""
ARENAS: Final = 2

_GARBAGE: Final = (250_000, 20, 100)
"""Thresholds of the cycle collector: a batch is very many small objects in hardly any cycles, and looking through them
after every 700 new ones took as much time as all the work on them, after every 50,000 half a µs a change. No batch
holds 250,000; if all of them were cycles, they would be some 25 MB."""


def keep_what_is_there() -> None:
    """Nothing that is there by now is ever looked through again."""
    gc.freeze()


def collect_seldom() -> None:
    """What is there by now is never looked through again, and what comes seldom."""
    keep_what_is_there()
    gc.set_threshold(*_GARBAGE)


def give_back_large_blocks() -> None:
    """Where the C library is glibc; on others nothing happens.

    Batches come and go as a few large blocks each, and by default glibc keeps ever larger ones in its arenas.
    """
    _mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def share_arenas() -> None:
    """Has many threads share ARENAS arenas; to be called before they begin, and of no effect beside another libc.

    What a thread frees stays in its arena. Behind outages with some 90,000 rechecks `reconciler serve` had 217 MB with
    as many as it liked, 167 with two, in one run each (`make soak HOURS=2`).
    """
    _mallopt(_M_ARENA_MAX, ARENAS)


def give_back_freed() -> None:
    """Gives whole pages that were freed back to the system, all arenas' (malloc_trim(3)); nothing beside another libc.

    Of itself glibc gives back only what lies at an arena's end. An applier that had caught up with 100 s of outage
    had 194 MB, one beside it that did this every five seconds 123 MB, for 0.3 to 1.1 ms each time (one run of both).
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _mallopt(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
