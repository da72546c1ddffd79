"""What glibc's allocator keeps: large blocks go back to the system as soon as they are free."""

from __future__ import annotations

import ctypes
from typing import Final

LARGE_BYTES: Final = 65_536
_M_MMAP_THRESHOLD: Final = -3
"""malloc.h; once set, the threshold no longer grows with the blocks that were freed (mallopt(3))."""


def give_back_large_blocks() -> None:
    """Where the C library is glibc; on others nothing happens.

    Batches come and go as a few large blocks each, and by default glibc keeps ever larger ones in its arenas.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
